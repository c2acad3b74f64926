"""Basins: which starts of a plane learn and which collapse, decided by following every one of them.

The fate is read from the trajectory (`dynamics.integration.mode_ends.arrived`), never from the prediction at its
start. A trajectory is followed until its fate is decided, its steps are spent, or the end time is reached.
`theory_mismatches` then counts the starts for which theory predicts something else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from analysis.fates.fate import Fate
from analysis.fates.margins import leaf_margin
from analysis.fates.predictions import predict_fates
from analysis.fates.windows import centres, checked_window, places_in
from dynamics.fields.vector_field import VectorField
from dynamics.integration.ensemble import STATUSES, Ensemble, integrate_ensemble
from dynamics.states import ModeState
from dynamics.system import ModeSystem

FATES = (Fate.LEARNED, Fate.COLLAPSED, Fate.UNDECIDED)
"""What the numbers in `BasinMap.fate` stand for, by index."""
UNPREDICTED = 255
"""In `BasinMap.predicted`: no result applies."""
WINDOW = {"online": (-1.5, 1.5), "predictor": (-1.0, 1.5), "target": (-1.5, 1.5)}
"""Default ranges. Their lattices do not meet c = 0, where no trajectory decides in finite time."""

_UNDECIDED = FATES.index(Fate.UNDECIDED)
_CHUNK = 2**17  # starts at once: what theory says of them comes with words, a hundred bytes each
_MAX_STEPS = 100_000
_CONFIDENCE = 1.959963984540054  # standard deviations of 95 %
_TIMES = 65  # among which a leaving is looked for first
_NARROWINGS = 14  # the error is then that of the integration, even of a curve that is not nearly straight


class Fraction(NamedTuple):
    """A share of the starts and, for random ones, its 95 % interval of Wilson; NaN on a lattice."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class BasinMap:
    """Fates of starts in a plane.

    Parameters
    ----------
    system, vector_field
        One mode and the variant that was followed.
    plane
        Names of the coordinates that vary; the first runs along the columns of a lattice.
    ranges
        Smaller and larger bound of each.
    at, t_end, rtol
        Third coordinate, end time (infinite: until decided) and relative tolerance of the runs.
    shape
        (rows, columns) of a lattice of cell centres; None for random starts.
    start, final
        w1, w2, θ at the start and at the end, each of shape (N,), lattices row by row.
    fate
        Index into `FATES`, shape (N,), uint8.
    predicted
        What theory says (`analysis.fates.predictions.predict_fates`), index into `FATES` or `UNPREDICTED`, shape
        (N,), uint8.
    status
        Index into `dynamics.integration.ensemble.STATUSES`, shape (N,).
    """

    system: ModeSystem
    vector_field: VectorField
    plane: tuple[str, str]
    ranges: tuple[tuple[float, float], tuple[float, float]]
    at: float
    t_end: float
    rtol: float
    shape: tuple[int, int] | None
    start: ModeState
    final: ModeState
    fate: np.ndarray
    predicted: np.ndarray
    status: np.ndarray

    @property
    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Cell centres of a lattice along its columns and rows."""
        if self.shape is None:
            raise ValueError("axes belong to a lattice, got random starts")
        rows, columns = self.shape
        return centres(self.ranges[0], columns), centres(self.ranges[1], rows)

    @property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates of the starts in the plane, each of shape (N,)."""
        first, second = (np.asarray(getattr(self.start, name)) for name in self.plane)
        return first, second

    @property
    def encoder_end(self) -> np.ndarray:
        """Weight of the encoder at the end, shape (N,)."""
        end: np.ndarray = self.final.online
        return end

    def follow(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weight of the encoder at the end, and fate (index into `FATES`), of more points (n, 2) of the plane."""
        final, fate = follow_points(self, points)
        return final.online, fate

    @property
    def rule(self) -> str | None:
        """Result that says which starts of the plane collapse; None where its boundary is not known.

        R6, of the full flow without weight decay, λs and λd positive.
        """
        positive = bool(self.system.lambda_s[0] > 0 and self.system.lambda_d[0] > 0)
        full = self.vector_field.name == "full" and np.max(self.system.weight_decay) == 0
        return "R6" if full and positive else None

    def learned_above(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Positive where `rule` says that a place is learned: c + τp r² where w2 > 0, and c elsewhere (R6)."""
        place = dict(zip(self.plane, (u, v), strict=True))
        w1, w2 = (place.get(name, np.full_like(u, self.at)) for name in ("online", "predictor"))
        return leaf_margin(w1, w2, self.system.ratio[0], self.system.tau_online, self.system.tau_predictor)

    @property
    def mismatches(self) -> np.ndarray:
        """Starts that are decided and for which theory says something else, shape (N,)."""
        told = (self.predicted != UNPREDICTED) & (self.fate != _UNDECIDED)
        return told & (self.fate != self.predicted)

    @property
    def fractions(self) -> dict[Fate, Fraction]:
        """Share of each fate."""
        counts = np.bincount(self.fate, minlength=len(FATES))
        return {
            fate: _fraction(int(count), self.fate.size, lattice=self.shape is not None)
            for fate, count in zip(FATES, counts, strict=True)
        }

    @property
    def reasons(self) -> dict[str, int]:
        """Why trajectories are undecided: number of starts for each status that left one so."""
        counts = np.bincount(self.status[self.fate == _UNDECIDED], minlength=len(STATUSES))
        return {str(status): int(n) for status, n in zip(STATUSES, counts, strict=True) if n}

    def report(self) -> dict[str, Any]:
        """Return the shares as a dictionary of plain numbers, as `dyn basins --json` prints it."""
        shares = self.fractions
        intervals = None
        if self.shape is None:
            intervals = {str(fate): [share.low, share.high] for fate, share in shares.items()}
        told = self.predicted != UNPREDICTED
        return {
            "fractions": {str(fate): share.value for fate, share in shares.items()},
            "intervals": intervals,
            "starts": "random" if self.shape is None else "lattice",
            "theory_mismatches": int(np.sum(self.mismatches)),
            "predicted_by_theory": int(np.sum(told)),
            "undecided_by_trajectory": int(np.sum(told & (self.fate == _UNDECIDED))),
            "undecided_because": self.reasons,
            "trajectories": int(self.fate.size),
            "plane": list(self.plane),
            "ranges": [list(bounds) for bounds in self.ranges],
            "variant": self.vector_field.name,
        }


def basins(
    system: ModeSystem,
    vector_field: VectorField,
    *,
    plane: Sequence[str] = ("online", "predictor"),
    ranges: Sequence[tuple[float, float] | None] = (None, None),
    at: float = 0.3,
    grid: int | tuple[int, int] | None = None,
    random: int | None = None,
    seed: int = 0,
    t_end: float = np.inf,
    rtol: float = 1e-7,
    progress: Callable[[int, int], None] | None = None,
    notice: Callable[[str], None] | None = None,
) -> BasinMap:
    """Follow starts of a plane to their ends, and compare their fates with theory.

    Parameters
    ----------
    system
        One mode.
    vector_field
        The mode field of a variant of `dynamics.variants.VARIANTS`.
    plane
        Two of online, predictor and target: the coordinates that vary, columns first.
    ranges
        Range of each, smaller bound first; `WINDOW` where left out.
    at
        The third coordinate.
    grid, random
        One of them: cells a side (or rows and columns) of a lattice, whose centres are the starts; or the number
        of starts drawn evenly from the window.
    seed
        Of the random starts.
    t_end
        How long a trajectory is followed at most; left out, until its fate is decided or its steps are spent.
    rtol
        Relative tolerance of the integration; the absolute one is a thousandth of it.
    progress, notice
        As for `dynamics.integration.ensemble.integrate_ensemble`.

    Returns
    -------
    BasinMap
        Fates by trajectory and by theory.

    Raises
    ------
    ValueError
        An argument is out of range (the message names it), or a plane with a coordinate that the variant sets itself.

    Notes
    -----
    Source of the comparison: R6, R7, R11 to R15, R21, R22.

    Examples
    --------
    >>> from dynamics.fields.modes import full_mode_field
    >>> found = basins(ModeSystem(1.0, 0.5), full_mode_field, grid=15)
    >>> int(found.mismatches.sum()), round(found.fractions[Fate.COLLAPSED].value, 2)
    (0, 0.35)
    """
    window = checked_window(plane, ranges, WINDOW)
    if not np.isfinite(at):
        raise ValueError(f"`at` must be finite, got {at}")
    if not t_end > 0:
        raise ValueError(f"`t_end` must be > 0, got {t_end}")
    axes = (plane[0], plane[1])
    points, shape = places_in(window, grid, random, seed)
    start = _start(axes, points, at, system, vector_field)
    parts = []
    n = start.online.size
    for first in range(0, n, _CHUNK):
        chunk = ModeState(*(part[first : first + _CHUNK] for part in start))
        ensemble = follow_starts(chunk, system, vector_field, t_end, rtol, notice)
        predicted = predict_fates(chunk, system, vector_field.name).fate
        codes = np.select([predicted == fate for fate in FATES], range(len(FATES)), UNPREDICTED)
        parts.append((*ensemble.final, ensemble.fate, codes.astype(np.uint8), ensemble.status))
        if progress is not None:
            progress(min(n, first + _CHUNK), n)
    w1, w2, th, fate, codes, status = (np.concatenate(part) for part in zip(*parts, strict=True))
    settings = (system, vector_field, axes, window, at, t_end, rtol, shape)
    return BasinMap(*settings, start, ModeState(w1, w2, th), fate, codes, status)


def follow_points(found: BasinMap, points: np.ndarray) -> tuple[ModeState, np.ndarray]:
    """Ends and fates (index into `FATES`) of more points (n, 2) of the plane of a basin map.

    >>> from dynamics.fields.modes import full_mode_field
    >>> found = basins(ModeSystem(1.0, 0.5), full_mode_field, grid=2)
    >>> follow_points(found, np.array([[0.1, 0.1], [0.1, 0.6]]))[1].tolist()
    [0, 1]
    """
    start = _start(found.plane, points.T, found.at, found.system, found.vector_field)
    ensemble = follow_starts(start, found.system, found.vector_field, found.t_end, found.rtol)
    return ensemble.final, ensemble.fate


def follow_starts(
    start: ModeState,
    system: ModeSystem,
    vector_field: VectorField,
    t_end: float = np.inf,
    rtol: float = 1e-7,
    notice: Callable[[str], None] | None = None,
) -> Ensemble:
    """Follow starts (n,) of one mode until their fates are decided, as every cell of a basin map is.

    >>> from dynamics.fields.modes import full_mode_field
    >>> start = ModeState(np.full(2, 0.1), np.array([0.1, 0.6]), np.full(2, 0.1))
    >>> follow_starts(start, ModeSystem(1.0, 0.5), full_mode_field).fate.tolist()
    [0, 1]
    """
    return integrate_ensemble(
        *(start, _copies(system, start.online.size), vector_field, t_end),
        rtol=rtol,
        atol=1e-3 * rtol,
        max_steps=_MAX_STEPS,
        notice=notice,
    )


def leaving_times(
    start: ModeState,
    system: ModeSystem,
    vector_field: VectorField,
    *,
    threshold: float,
    t_end: float,
    rtol: float = 1e-8,
) -> np.ndarray:
    """Time at which a start leaves the neighbourhood of collapse: the first with |w1| > threshold.

    Parameters
    ----------
    start
        w1, w2 and θ, each of shape (n,).
    system
        One mode.
    vector_field
        The mode field of a variant of `dynamics.variants.VARIANTS`.
    threshold
        > 0.
    t_end
        Longest time, finite and > 0.
    rtol
        Relative tolerance of the integration.

    Returns
    -------
    array (n,)
        0 for a start that is outside, NaN for one that is not seen outside by t_end. It is looked for at 64 times,
        evenly spaced in log t over six decades, so one that is back within a tenth of its time may be missed.

    Raises
    ------
    ValueError
        An argument is out of range; the message names it.

    Notes
    -----
    Source: R14, by which a tied start at w0 needs a time like 1/(λd w0).

    Examples
    --------
    >>> from dynamics.fields.modes import no_ema_mode_field
    >>> system, small = ModeSystem(1.0, 0.5), np.array([1e-3, 1e-4])
    >>> start = ModeState(small, small, small)
    >>> leaving_times(start, system, no_ema_mode_field, threshold=0.1, t_end=1e5).round(-2)
    array([ 2000., 20000.])
    """
    for name, value in (("threshold", threshold), ("t_end", t_end)):
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"`{name}` must be finite and > 0, got {value}")

    def run(state: ModeState, span: Any, save_at: Any = None) -> Ensemble:
        many = _copies(system, state.online.size)
        return integrate_ensemble(
            *(state, many, vector_field, span),
            rtol=rtol,
            atol=1e-3 * rtol,
            save_at=save_at,
            max_steps=_MAX_STEPS,
        )

    times = np.append(0.0, t_end * np.logspace(-6, 0, _TIMES - 1))
    saved = run(start, t_end, times).saved
    assert saved is not None
    outside = np.abs(saved.online) > threshold
    left = np.where(outside[0], 0.0, np.nan)
    found = np.flatnonzero(np.any(outside, axis=0) & ~outside[0])
    after = np.argmax(outside[:, found], axis=0)
    begin = ModeState(*(part[after - 1, found] for part in saved))
    # ln |w1| is nearly linear in time: regula falsi as modified in Illinois, with runs from the last time inside
    low, high = np.zeros(found.size), times[after] - times[after - 1]
    height_low, height_high = (
        np.log(np.maximum(np.abs(part), 1e-300) / threshold)
        for part in (begin.online, saved.online[after, found])
    )
    for _ in range(_NARROWINGS if found.size else 0):
        middle = low - height_low * (high - low) / (height_high - height_low)
        # a span has to be positive
        middle = np.clip(middle, low + 1e-12 * high, high)
        height = np.log(np.maximum(np.abs(run(begin, middle).final.online), 1e-300) / threshold)
        inside = height <= 0
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
        height_low, height_high = (
            np.where(inside, height, height_low / 2),
            np.where(inside, height_high / 2, height),
        )
    left[found] = times[after - 1] + high
    return left


def _start(
    plane: tuple[str, str], points: np.ndarray, at: float, system: ModeSystem, vector_field: VectorField
) -> ModeState:
    """Starts on the variant's own states; a plane with a coordinate that the variant sets is refused."""
    if system.n_modes != 1:
        raise ValueError(f"basins are those of one mode, got {system.n_modes} modes")
    given = {name: np.full(points.shape[1], float(at)) for name in ModeState._fields}
    given |= dict(zip(plane, points, strict=True))
    start = vector_field.constrain(0.0, ModeState(**given), system)
    if not all(np.all(np.isfinite(part)) for part in start):
        raise ValueError(
            f"`range` and `at` must leave what {vector_field.name} sets a number that a float can hold, got starts"
            f" whose predictor is beyond {np.finfo(np.float64).max:.2g}"
        )
    for name in plane:
        if not np.array_equal(getattr(start, name), given[name]):
            raise ValueError(f"`plane` must not hold {name}: the variant {vector_field.name} sets it")
    return start


def _copies(system: ModeSystem, n: int) -> ModeSystem:
    rates = {item.name: getattr(system, item.name) for item in fields(system)}
    return ModeSystem(**{name: np.full(n, value) for name, value in rates.items()})


def _fraction(count: int, n: int, *, lattice: bool) -> Fraction:
    """Wilson's interval: the shares p with |count/n − p| <= z sqrt(p (1 − p)/n)."""
    p, z = count / n, _CONFIDENCE
    if lattice:
        return Fraction(p, np.nan, np.nan)
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return Fraction(p, max(0.0, float(middle - half)), min(1.0, float(middle + half)))
