"""Page `portrait`: the phase plane of any variant that has one, with starts of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from analysis.fixed_points.one_mode import fixed_points
from analysis.phase_planes.orbits import Orbit, orbit
from analysis.phase_planes.planes import ON_LEAVES, plane_of_variant
from analysis.phase_planes.portraits import Portrait, phase_portrait
from dynamics.data.moments import Moments
from dynamics.data.systems import mode_system
from dynamics.objectives import OBJECTIVES, linear_objectives
from dynamics.variants import MODE_FIELDS
from figures.gallery.captions import described
from figures.gallery.portraits import places, square_window
from figures.gallery.registry import Page
from figures.layout.legends import legend_below
from figures.layout.sheets import panels
from figures.panels.portrait import draw_orbits, draw_portrait, orbit_handles, portrait_handles
from figures.style import style

WITH_PLANE = tuple(name for name in MODE_FIELDS if name != "fast-predictor")
"""Variants that a portrait can be drawn of; the fast predictor keeps w1, and moves along a line."""
_INVARIANT, _TARGET = -0.1, 1.0  # where none is given


@dataclass(frozen=True)
class OwnPortrait:
    """A portrait and orbits in it.

    Parameters
    ----------
    parameters
        As given, without what was left out.
    portrait
        Of the plane.
    orbits
        One for each start.
    """

    parameters: dict[str, Any]
    portrait: Portrait
    orbits: tuple[Orbit, ...]


def compute_portrait(
    *,
    variant: str = "no-ema",
    objective: str = "byol",
    lambda_s: float = 1.0,
    lambda_d: float = 0.5,
    alpha: float | None = None,
    beta: float | None = None,
    tau_online: float = 1.0,
    tau_predictor: float = 1.0,
    tau_target: float = 1.0,
    weight_decay: float = 0.0,
    invariant: float | None = None,
    sheet: int | None = None,
    target: float | None = None,
    start: tuple[tuple[float, float], ...] = ((0.6, -0.2), (-0.2, 0.8), (0.4, -0.8)),
    extent: float = 1.0,
) -> OwnPortrait:
    """Find the portrait of a variant's plane, and the orbits through starts in it.

    Parameters
    ----------
    variant
        A name in `WITH_PLANE`; left out, no-ema, whose plane is (w1, w2), as that of fixed-target and
        no-stop-gradient. full and symmetric-predictor have leaves of constant c, and under weight decay the balanced
        sheet, in (w1, θ), as all others.
    objective, alpha, beta
        BYOL, or an objective whose flow is BYOL's with moments of its own (R24, R26), and its weights.
    lambda_s, lambda_d
        λs and λd of the views.
    tau_online, tau_predictor, tau_target, weight_decay
        τo, τp, τt > 0 and η >= 0.
    invariant
        c of the leaf; left out, −0.1. On leaves c > 0 the plane is (w2, θ).
    sheet
        1 or −1, the sheet of the leaf; left out, the sign of the flow's λd.
    target
        θ of fixed-target; left out, 1.
    start
        Pairs of the plane's coordinates, any number of them; on the command line, ``none`` for none.
    extent
        Half the width of the window, > 0.

    Raises
    ------
    ValueError
        A name is unknown, a number is out of range, or an option does not apply to the variant.

    Examples
    --------
    >>> found = compute_portrait(variant="full", start=((0.6, -0.2),))
    >>> found.portrait.stability, found.orbits[0].fate
    (('stable', 'stable', 'saddle'), 'learned')
    """
    parameters = {name: value for name, value in locals().items() if value is not None}
    if variant not in WITH_PLANE:
        raise ValueError(f"`variant` must be one of {', '.join(WITH_PLANE)}, got {variant!r}")
    if objective not in linear_objectives():
        raise ValueError(f"`objective` must be one of {', '.join(linear_objectives())}, got {objective!r}")
    on_leaf = variant in ON_LEAVES
    if invariant is not None and not (on_leaf and weight_decay == 0):
        raise ValueError(
            f"`invariant` must go with variant {' or '.join(ON_LEAVES)} and weight_decay 0, got variant {variant}"
            f" and {weight_decay:g}"
        )
    if sheet is not None and not on_leaf:
        raise ValueError(f"`sheet` must go with variant {' or '.join(ON_LEAVES)}, got {variant}")
    if target is not None and variant != "fixed-target":
        raise ValueError(f"`target` must go with variant fixed-target, got {variant}")
    window = square_window(extent)
    system = mode_system(
        Moments.from_eigenvalues([lambda_s], [lambda_d]),
        OBJECTIVES[objective],
        variant,
        alpha=alpha,
        beta=beta,
        tau_online=tau_online,
        tau_predictor=tau_predictor,
        tau_target=tau_target,
        weight_decay=weight_decay,
    )
    given: dict[str, float] = {}
    if on_leaf and weight_decay == 0:
        given["invariant"] = parameters["invariant"] = _INVARIANT if invariant is None else invariant
    if variant == "fixed-target":
        given["target"] = parameters["target"] = _TARGET if target is None else target
    plane = plane_of_variant(variant, system, sheet=sheet, **given)
    portrait = phase_portrait(plane, *window, fixed_points(system, variant, **given))
    return OwnPortrait(parameters, portrait, tuple(orbit(plane, one, *window) for one in start))


def figure_own_portrait(result: OwnPortrait) -> Figure:
    """Draw the portrait, and the orbits in the colours of their fates."""
    with style():
        figure, (ax,) = panels(_headline(result), 1, columns=1, aspect=1.3)
        draw_portrait(ax, result.portrait)
        draw_orbits(ax, result.orbits)
        legend_below(figure, [*portrait_handles([result.portrait]), *orbit_handles(result.orbits)])
        return figure


def _headline(result: OwnPortrait) -> str:
    fates = [one.fate for one in result.orbits]
    counts = [f"{fates.count(fate)} of {len(fates)} starts {fate}" for fate in dict.fromkeys(fates)]
    name = result.portrait.name.replace("c = -", "c = −")
    for letter, symbol in (("w1", "$w_1$"), ("w2", "$w_2$"), ("c =", "$c$ =")):
        name = name.replace(letter, symbol)
    return f"{name[0].upper()}{name[1:]}" + (f": {', '.join(counts)}" if counts else "")


def caption_own_portrait(result: OwnPortrait) -> str:
    """Every parameter, the fixed points, and each start's fate beside what theory says."""
    told = [
        f"({one.start[0]:g}, {one.start[1]:g}) {one.fate}, "
        + (f"predicted {one.predicted}" if one.predicted else "no prediction")
        + (f" ({one.reason})" if one.reason else "")
        for one in result.orbits
    ]
    orbits = " Orbits have the colour of what the run did, dotted before the start."
    starts = f"{orbits} Starts: {'; '.join(told)}." if told else ""
    given = {name: value for name, value in result.parameters.items() if name != "start"}
    return (
        f"Phase portrait of one mode, {result.portrait.name}, in the plane of"
        f" {' and '.join(result.portrait.axes)}; {described(given)}. Fixed points shown:"
        f" {places(result.portrait)}. Arrows have one length and show the direction of the flow alone; the grey band is"
        f" the stable manifold of a saddle or half-stable point.{starts}"
    )


PORTRAIT = Page(
    "portrait",
    "Phase portrait of any variant that has a plane, with orbits through starts of one's own",
    compute_portrait,
    figure_own_portrait,
    caption_own_portrait,
    size="single",
)
"""A portrait to be asked for."""
