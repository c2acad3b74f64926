"""Basins of a mode of a deep encoder: which starts of a plane learn and which collapse, against R320 and R322.

Every start is followed until its fate is decided (`dynamics.integration.deep_kernels.arrived`), never predicted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from analysis.depth.decay import balanced_speed, decay_rest, decay_threshold
from analysis.depth.fates import deep_margin
from analysis.depth.predictions import predict_deep_fates
from analysis.depth.rest import deep_jacobian
from analysis.fates.basins import FATES, UNPREDICTED, BasinMap
from analysis.fates.windows import checked_window, places_in
from dynamics.fields.deep import DEEP_FIELDS, DeepState, DeepSystem
from dynamics.fields.vector_field import VectorField
from dynamics.integration.deep_ensemble import DeepEnsemble, integrate_deep_ensemble

_LAYERS, _PREDICTOR = (-1.5, 1.5), (-1.0, 1.5)  # as `analysis.fates.basins.WINDOW`
_CHUNK = 2**15  # starts at once: what theory says of them comes with words
_MAX_STEPS = 20_000  # starts off the boundary take a few thousand at most


@dataclass(frozen=True, eq=False)
class DeepBasinMap(BasinMap):
    """Fates of starts of one mode of a deep encoder in a plane; as `BasinMap`, with states of layers.

    Parameters
    ----------
    layers
        w_1 … w_L where the plane says nothing of them.

    Notes
    -----
    `start` and `final` are `DeepState`s: layers and targets of shape (L, N), the predictor (N,). `final` is where a
    fate was decided.
    """

    layers: tuple[float, ...]

    @property
    def depth(self) -> int:
        """L, the number of layers."""
        return len(self.layers)

    @property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates of the starts in the plane, each of shape (N,)."""
        first, second = (_coordinate(name, self.start) for name in self.plane)
        return first, second

    @property
    def encoder_end(self) -> np.ndarray:
        """ω = w_L ⋯ w_1 at the end, shape (N,)."""
        final: Any = self.final
        end: np.ndarray = np.prod(final.layers, axis=0)
        return end

    def follow(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As of a `BasinMap`: ω at the end, and fates, of more points (n, 2) of the plane."""
        start = _starts(self.plane, points.T, self.at, self.layers)
        found = _followed(start, cast(DeepSystem, self.system), self.vector_field, self.t_end, self.rtol)
        return np.prod(found.final.layers, axis=0), found.fate

    @property
    def rule(self) -> str | None:
        """R320 without weight decay."""
        return "R320" if np.max(self.system.weight_decay) == 0 else None

    def learned_above(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Positive where R320 says that a place is learned: c_min + τp r² where v > 0, and c_min elsewhere."""
        start = _starts(self.plane, np.stack([u.ravel(), v.ravel()]), self.at, self.layers)
        return deep_margin(start, cast(DeepSystem, self.system)).reshape(u.shape)

    def report(self) -> dict[str, Any]:
        """Return the shares as a dictionary of plain numbers, as `dyn basins --json` prints it."""
        return {**super().report(), "depth": self.depth, "layers": list(self.layers)}


def plane_names(depth: int) -> dict[str, tuple[float, float]]:
    """Coordinates that a plane of starts may have, and their default ranges.

    >>> list(plane_names(2))
    ['layers', 'layer1', 'layer2', 'predictor', 'targets']
    """
    each = {f"layer{k}": _LAYERS for k in range(1, depth + 1)}
    return {"layers": _LAYERS, **each, "predictor": _PREDICTOR, "targets": _LAYERS}


def deep_basins(
    system: DeepSystem,
    vector_field: VectorField,
    *,
    plane: Sequence[str] = ("layers", "predictor"),
    ranges: Sequence[tuple[float, float] | None] = (None, None),
    layers: Sequence[float] | None = None,
    at: float = 0.3,
    grid: int | tuple[int, int] | None = None,
    random: int | None = None,
    seed: int = 0,
    t_end: float = np.inf,
    rtol: float = 1e-7,
    progress: Callable[[int, int], None] | None = None,
    notice: Callable[[str], None] | None = None,
) -> DeepBasinMap:
    """Follow starts of a plane of one mode of a deep encoder to their ends, and compare their fates with theory.

    Parameters
    ----------
    system
        One mode, λs, λd > 0.
    vector_field
        With averages or without, one of `DEEP_FIELDS`.
    plane
        Two of `plane_names`: layers, which is all layers at one value; layer1 … layerL, one of them; predictor;
        targets, all at one value, where the field has averages. Targets begin at their layers elsewhere.
    ranges, grid, random, seed, t_end, progress, notice
        As for `analysis.fates.basins.basins`.
    layers
        w_1 … w_L where the plane says nothing of them; `at` where left out.
    at
        Every other coordinate that is not given.
    rtol
        Relative tolerance of the integration.

    Returns
    -------
    DeepBasinMap
        Fates by trajectory and by theory.

    Raises
    ------
    ValueError
        An argument is out of range (the message names it), or a plane that names a weight twice.

    Notes
    -----
    Source of the comparison: R320, R322.

    Examples
    --------
    >>> from dynamics.fields.deep import deep_field
    >>> found = deep_basins(DeepSystem(1.0, 0.5, depth=3), deep_field, grid=10)
    >>> int(found.mismatches.sum()), found.report()["fractions"]["undecided"]
    (0, 0.0)
    """
    if system.n_modes != 1:
        raise ValueError(f"basins are those of one mode, got {system.n_modes} modes")
    names = plane_names(system.depth)
    if vector_field is not DEEP_FIELDS["full"]:
        del names["targets"]
    window = checked_window(plane, ranges, names)
    axes = (plane[0], plane[1])
    if "layers" in axes and any(name.removeprefix("layer").isdigit() for name in axes):
        raise ValueError(f"`plane` must not hold layers and one of them, got {', '.join(axes)}")
    if not np.isfinite(at):
        raise ValueError(f"`at` must be finite, got {at}")
    others = tuple(float(x) for x in ((at,) * system.depth if layers is None else layers))
    if len(others) != system.depth or not np.all(np.isfinite(others)):
        raise ValueError(
            f"`layers` must be finite, one number per layer ({system.depth}), got {list(others)}"
        )
    points, shape = places_in(window, grid, random, seed)
    start = _starts(axes, points, at, others)
    parts, n = [], points.shape[1]
    for first in range(0, n, _CHUNK):
        chunk = DeepState(*(part[..., first : first + _CHUNK] for part in start))
        found = _followed(chunk, system, vector_field, t_end, rtol, notice)
        said = predict_deep_fates(chunk, _copies(system, chunk.predictor.size), vector_field).fate
        codes = np.select([said == fate for fate in FATES], range(len(FATES)), UNPREDICTED)
        parts.append((*found.final, found.fate, codes.astype(np.uint8), found.status))
        if progress is not None:
            progress(min(n, first + _CHUNK), n)
    w, v, th, fate, codes, status = (np.concatenate(part, axis=-1) for part in zip(*parts, strict=True))
    ends: Any = DeepState(w, v, th)
    begins: Any = start
    settings = (system, vector_field, axes, window, at, t_end, rtol, shape)
    return DeepBasinMap(*settings, begins, ends, fate, codes, status, others)


def _coordinate(name: str, state: Any) -> np.ndarray:
    """Value of a coordinate of a plane."""
    if name == "predictor":
        found: np.ndarray = state.predictor
    elif name == "targets":
        found = state.targets[0]
    else:
        found = state.layers[int(name.removeprefix("layer")) - 1 if name != "layers" else 0]
    return found


def _starts(plane: tuple[str, str], points: np.ndarray, at: float, layers: Sequence[float]) -> DeepState:
    """States of the places of a plane, shape (2, N)."""
    given = dict(zip(plane, points, strict=True))
    n = points.shape[1]
    w = np.repeat(np.array(layers)[:, None], n, axis=1)
    for name, values in given.items():
        if name == "layers":
            w[:] = values
        elif name not in ("predictor", "targets"):
            w[int(name.removeprefix("layer")) - 1] = values
    targets = np.repeat(given["targets"][None], len(w), axis=0) if "targets" in given else w.copy()
    return DeepState(w, given.get("predictor", np.full(n, float(at))), targets)


def _copies(system: DeepSystem, n: int) -> DeepSystem:
    rates = {
        name: np.full(n, np.max(getattr(system, name)))
        for name in ("tau_predictor", "tau_target", "weight_decay")
    }
    lambdas = (np.full(n, value) for value in (system.lambda_s, system.lambda_d))
    return DeepSystem(*lambdas, depth=system.depth, tau_online=system.layer_times[:, 0], **rates)


def _followed(
    start: DeepState,
    system: DeepSystem,
    vector_field: VectorField,
    t_end: float,
    rtol: float,
    notice: Callable[[str], None] | None = None,
) -> DeepEnsemble:
    return integrate_deep_ensemble(
        *(start, _copies(system, start.predictor.size), vector_field, t_end),
        attractor=attracting_rest(system, vector_field),
        rtol=rtol,
        max_steps=_MAX_STEPS,
        notice=notice,
    )


def attracting_rest(system: DeepSystem, vector_field: VectorField) -> np.ndarray | None:
    """|w_1| … |w_L| and v of the fixed point that one mode learns under weight decay (R322); None where none attracts.

    >>> from dynamics.fields.deep import deep_field
    >>> attracting_rest(DeepSystem(1.0, 0.8, depth=2, weight_decay=0.99 * 0.0432), deep_field).round(4)
    array([0.6239, 0.6239, 0.6239])
    >>> attracting_rest(DeepSystem(1.0, 0.8, depth=2, weight_decay=0.05), deep_field) is None
    True
    """
    s, d, eta = float(system.lambda_s[0]), float(system.lambda_d[0]), float(np.max(system.weight_decay))
    tp = float(np.max(system.tau_predictor))
    speed = balanced_speed(system.layer_times, tp)
    if not 0 < eta < decay_threshold(system.depth, s, d, speed):
        return None
    v = decay_rest(system.depth, s, d, eta, speed).upper
    weights = v * np.sqrt(tp / system.layer_times[:, 0])
    values = np.linalg.eigvals(deep_jacobian(system.deep_state(weights, v), system, vector_field))
    return np.append(weights, v) if np.max(values.real) < 0 else None
