"""Page `stability-plane`: which fixed points of one mode are stable, over two parameters (R15, R303)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.steps.balanced_points import balanced_bounds, balanced_stability
from dynamics.integration.discrete import EmaOrder
from dynamics.system import ModeSystem
from figures.gallery.captions import described
from figures.gallery.registry import Page
from figures.layout.legends import legend_below
from figures.layout.sheets import panels
from figures.panels import maps
from figures.style import style

FIXED = {
    "lambda-s": 1.0,
    "lambda-d": 0.5,
    "tau-online": 1.0,
    "tau-predictor": 1.0,
    "tau-target": 1.0,
    "weight-decay": 0.0,
    "step": 0.0,
}
"""What can be an axis, and its value where it is none."""
RANGES = {
    "lambda-s": (0.1, 2.0),
    "lambda-d": (0.0, 1.0),
    "tau-online": (0.1, 4.0),
    "tau-predictor": (0.1, 4.0),
    "tau-target": (0.1, 4.0),
    "weight-decay": (0.0, 0.15),
    "step": (0.0, 12.0),
}
"""Range of each as an axis."""
_LABELS = {
    "lambda-s": r"$\lambda_s$",
    "lambda-d": r"$\lambda_d$",
    "tau-online": r"$\tau_o$",
    "tau-predictor": r"$\tau_p$",
    "tau-target": r"$\tau_t$",
    "weight-decay": r"weight decay $\eta$",
    "step": r"step $\varepsilon$",
}


@dataclass(frozen=True, eq=False)
class StabilityPlane:
    """Stable fixed points over a plane of parameters.

    Parameters
    ----------
    parameters
        As given, without what was left out; x and y among them.
    x, y
        Values along the axes, shapes (n,) and (m,).
    stable
        0 to 3, shape (m, n): 1 where the origin is stable, and 2 more where the learned points are.
    folded, flipped, crossed, origin
        Closed forms that change sign at the fold, at R303's step, at the step 1/η across the sheet and at the step 2/η
        of the origin, shape (m, n); of the two steps of learned points the smaller, NaN the other.
    """

    parameters: dict[str, Any]
    x: np.ndarray
    y: np.ndarray
    stable: np.ndarray
    folded: np.ndarray
    flipped: np.ndarray
    crossed: np.ndarray
    origin: np.ndarray


def compute_stability_plane(
    *,
    x: str = "weight-decay",
    y: str = "lambda-d",
    x_from: float | None = None,
    x_to: float | None = None,
    y_from: float | None = None,
    y_to: float | None = None,
    lambda_s: float | None = None,
    lambda_d: float | None = None,
    tau_online: float | None = None,
    tau_predictor: float | None = None,
    tau_target: float | None = None,
    weight_decay: float | None = None,
    step: float | None = None,
    ema_rate: float = 0.2,
    order: str = "practical",
    resolution: int = 241,
) -> StabilityPlane:
    """Judge the balanced points of one mode at every point of a lattice of two parameters.

    Parameters
    ----------
    x, y
        What varies, two of `FIXED`.
    x_from, x_to, y_from, y_to
        Ends of the axes; left out, as in `RANGES`.
    lambda_s, lambda_d, tau_online, tau_predictor, tau_target, weight_decay, step
        What does not vary; left out, as in `FIXED`. Step 0 is the flow.
    ema_rate, order
        h in (0, 1], and "practical" or "lagged", of steps alone: τt counts for the flow alone.
    resolution
        Points along each axis, >= 2.

    Raises
    ------
    ValueError
        A name is unknown, a number is out of range, or a parameter is given that varies or has no effect.

    Examples
    --------
    >>> compute_stability_plane(resolution=3).stable
    array([[0, 1, 1],
           [2, 1, 1],
           [2, 3, 3]])
    """
    given = {name: value for name, value in locals().items() if value is not None}
    values = {name: given.get(name.replace("-", "_"), default) for name, default in FIXED.items()}
    for which, name in (("x", x), ("y", y)):
        if name not in FIXED:
            raise ValueError(f"`{which}` must be one of {', '.join(FIXED)}, got {name!r}")
        if name.replace("-", "_") in given:
            raise ValueError(
                f"`{name.replace('-', '_')}` must be left out where it is an axis, got {values[name]}"
            )
    if x == y:
        raise ValueError(f"`x` and `y` must differ, got {x} twice")
    if order not in tuple(EmaOrder):
        raise ValueError(f"`order` must be one of {', '.join(EmaOrder)}, got {order!r}")
    stepped = "step" in (x, y) or values["step"] != 0
    if stepped and ("tau-target" in (x, y) or tau_target is not None):
        raise ValueError(
            "`ema_rate` must be given in place of tau_target for steps, whose target follows at the rate h, got"
            " tau_target"
        )
    if resolution < 2:
        raise ValueError(f"`resolution` must be an integer >= 2, got {resolution}")
    axes = []
    for which, name in (("x", x), ("y", y)):
        low, high = (given.get(f"{which}_{end}", RANGES[name][k]) for k, end in enumerate(("from", "to")))
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            raise ValueError(f"`{which}_from` must be below `{which}_to`, both finite, got {low} and {high}")
        axes.append(np.linspace(low, high, resolution))
        given[f"{which}_from"], given[f"{which}_to"] = float(low), float(high)
    lattice = dict(zip((x, y), np.meshgrid(*axes), strict=True))
    full = {
        name: np.ravel(lattice.get(name, np.full((resolution,) * 2, value))) for name, value in values.items()
    }
    steps = full.pop("step")
    system = ModeSystem(**{name.replace("-", "_"): value for name, value in full.items()})
    origin, learned = balanced_stability(system, steps, ema_rate, EmaOrder(order))
    bounds = balanced_bounds(system, ema_rate, EmaOrder(order))
    shape = (resolution, resolution)
    parameters = given | {
        name.replace("-", "_"): value for name, value in values.items() if name not in (x, y, "tau-target")
    }
    if not stepped:
        parameters["tau_target"] = values["tau-target"] if "tau-target" not in (x, y) else "an axis"
    return StabilityPlane(
        {name: value for name, value in parameters.items() if value != "an axis"},
        axes[0],
        axes[1],
        (origin + 2 * learned).reshape(shape),
        (bounds.fold - np.broadcast_to(system.weight_decay, steps.shape)).reshape(shape),
        np.where(bounds.flip <= bounds.across, bounds.flip - steps, np.nan).reshape(shape),
        np.where(bounds.across < bounds.flip, bounds.across - steps, np.nan).reshape(shape),
        (bounds.origin - steps).reshape(shape),
    )


def figure_stability_plane(found: StabilityPlane) -> Figure:
    """Draw the map, and the closed forms over it."""
    with style():
        figure, (ax,) = panels("Where learned points and collapse are stable", 1, columns=1, aspect=0.85)
        maps.draw_kinds(ax, found.x, found.y, found.stable)
        curves = [
            (label, look)
            for label, values, look in (
                (r"fold $\eta^*$ (R15)", found.folded, "solid"),
                (r"critical step $\varepsilon^*$ (R303)", found.flipped, "dashed"),
                (r"$\varepsilon\eta = 1$", found.crossed, "dashdot"),
                (r"$\varepsilon\eta = 2$", found.origin, "dotted"),
            )
            if maps.draw_zero(ax, found.x, found.y, values, look)
        ]
        ax.set_xlabel(_LABELS[found.parameters["x"]])
        ax.set_ylabel(_LABELS[found.parameters["y"]])
        legend_below(figure, [*maps.kind_handles(found.stable), *maps.zero_handles(curves)])
        return figure


def caption_stability_plane(found: StabilityPlane) -> str:
    """Say what is mapped, and what the curves are."""
    return (
        f"Stable fixed points of one mode with balanced weights, {described(found.parameters)}. The map is"
        " computed at each point from the eigenvalues of the flow, or the multipliers of a step where ε > 0; learned"
        " points come in pairs ± (w1, p+, w1). Curves are closed forms: the fold η* = λd²/(4 τo λs) beyond which there"
        " are no learned points (R15), the critical step of R303 at w2 = p+ or, where that is smaller,"
        " the step 1/η across the balanced sheet, and the step 2/η beyond which collapse is unstable. At η = 0"
        " collapse has no linear rate, and is not called stable."
    )


STABILITY_PLANE = Page(
    "stability-plane",
    "Which fixed points are stable over two parameters, with the exact boundaries",
    compute_stability_plane,
    figure_stability_plane,
    caption_stability_plane,
    size="single",
)
"""Two parameters."""
