"""Random systems of every variant, brought to rest by the ensemble integrator and judged by theory.

python benchmarks/campaign_fates.py [--n N] [--decay] [--silent] [--seed SEED] [VARIANT ...]: one row for each variant.

What a trajectory did is compared with `analysis.fates.predict_fates`, which follows no flow; the end of a trajectory
called steady also with the vector field, which must vanish there. Where theory is silent, as for many starts with
weight decay and for some signs without, `--silent` compares a sample with `reference_fate`: LSODA at rtol 1e-11.
"""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from analysis.fates.predictions import predict_fates
from dynamics.exact.fixed_points import weight_decay_fixed_points
from dynamics.integration.ensemble import FATES, STATUSES, Ensemble, integrate_ensemble
from dynamics.integration.trajectory import Status
from dynamics.states import ModeState
from dynamics.system import ModeSystem
from dynamics.variants import VARIANTS

BLOCK = 100_000
RATES = ("lambda_s", "lambda_d", "tau_online", "tau_predictor", "tau_target", "weight_decay")
_EPS = float(np.finfo(np.float64).eps)
LOOSEST = 1e4
"""Largest factor by which `reference_fate` loosens its tolerances."""
ROUNDINGS = 1000 * _EPS
"""Relative accuracy of an end: it is computed from the start by a dozen operations, some of them ill-conditioned."""


@dataclass
class Row:
    """What came of the trajectories of one variant.

    Parameters
    ----------
    variant, n
        Name, and number of trajectories.
    predicted
        For how many theory predicts the fate.
    wrong_fates
        Learned for collapsed, or the other way round.
    wrong_ends
        Steady somewhere else than at the predicted point, signs apart.
    wrong_signs
        Steady at an end of the wrong sign, where the sign is predicted.
    wrong_steady
        Steady where the vector field does not vanish.
    undecided
        Trajectories of which the run has not shown what they do.
    statuses
        How many ended with each status.
    undecided_statuses
        How many of the undecided ended with each status.
    """

    variant: str
    n: int = 0
    predicted: int = 0
    wrong_fates: int = 0
    wrong_ends: int = 0
    wrong_signs: int = 0
    wrong_steady: int = 0
    undecided: int = 0
    statuses: dict[str, int] | None = None
    undecided_statuses: dict[str, int] | None = None

    @property
    def wrong(self) -> int:
        """All faults together."""
        return self.wrong_fates + self.wrong_ends + self.wrong_signs + self.wrong_steady

    def __add__(self, other: Row) -> Row:
        """Counts of both."""
        sums: dict[str, Any] = {}
        for item in fields(self)[1:]:
            one, two = getattr(self, item.name), getattr(other, item.name)
            if isinstance(two, dict):
                two = {key: (one or {}).get(key, 0) + value for key, value in two.items()}
                sums[item.name] = two
            else:
                sums[item.name] = one + two
        return Row(self.variant, **sums)


def draw(variant: str, n: int, seed: int, *, decay: bool) -> tuple[ModeState, ModeSystem]:
    """Starts of 1e-4 to 1e2 with all signs, λs and all τ within e^±4, r from 1e-6 to 1; η = 0, or 1e-6 to 1."""
    rng = np.random.default_rng([seed, list(VARIANTS).index(variant), decay])
    lambda_s = np.exp(rng.uniform(-4, 4, n))
    tau = np.exp(rng.uniform(-4, 4, (3, n)))
    w1, w2, th = 10 ** rng.uniform(-4, 2, (3, n)) * rng.choice([-1.0, 1.0], (3, n))
    tied = variant == "tied"
    system = ModeSystem(
        lambda_s,
        lambda_s * 10 ** rng.uniform(-6, 0, n),
        tau_online=tau[0],
        tau_predictor=tau[0] if tied else tau[1],
        tau_target=tau[2],
        weight_decay=10 ** rng.uniform(-6, 0, n) if decay else 0.0,
    )
    return system.state(w1, w1 if tied else w2, th), system


def part(system: ModeSystem, chosen: Any) -> ModeSystem:
    """The chosen modes of a system."""
    return ModeSystem(
        **{name: np.broadcast_to(getattr(system, name), (system.n_modes,))[chosen] for name in RATES}
    )


def run(variant: str, start: ModeState, system: ModeSystem, t_end: Any = np.inf, **options: Any) -> Ensemble:
    """Bring starts to rest on the CPU."""
    return integrate_ensemble(
        start, system, VARIANTS[variant].mode_field, t_end, **({"device": "cpu"} | options)
    )


def _far(found: Any, expected: Any, size: Any, tolerance: float) -> Any:
    """Whether squares differ by more than the rounding of the squares of the given size; false where NaN."""
    with np.errstate(invalid="ignore", under="ignore"):
        return np.abs(found**2 - expected**2) > tolerance * size**2


def rest_error(variant: str, state: ModeState, system: ModeSystem) -> np.ndarray:
    """Largest rate of change of a state over the sum of the moduli of the terms that make up that rate."""
    field = VARIANTS[variant].mode_field
    rates = field(0.0, state, system)
    w1, w2, th = state
    ls, ld, eta = np.abs(system.lambda_s), np.abs(system.lambda_d), system.weight_decay
    e = np.abs(th) * ld + np.abs(w2 * w1) * ls
    pull = np.abs(w2) * e + (np.abs(w2 * w1) * ld + np.abs(w1) * ls if variant == "no-stop-gradient" else 0.0)
    own = pull / system.tau_online + eta * np.abs(w1)
    follower = (np.abs(w1) + np.abs(th)) / system.tau_target
    if variant in ("no-ema", "no-stop-gradient"):
        follower = own
    terms = own, np.abs(w1) * e / system.tau_predictor + eta * np.abs(w2), follower
    return np.maximum.reduce(
        [
            np.where(rate == 0, 0.0, np.abs(rate) / np.where(term == 0, 1.0, term))
            for rate, term in zip(rates, terms, strict=True)
        ]
    )


def judge(
    variant: str, start: ModeState, system: ModeSystem, ensemble: Ensemble, *, decide_sign: bool = False
) -> Row:
    """Compare an ensemble that was run to rest with theory, trajectory by trajectory."""
    predicted = predict_fates(start, system, variant, decide_sign=decide_sign)
    fate = np.array(FATES)[ensemble.fate]
    undecided, steady, known = fate == "undecided", ensemble.ended(Status.STEADY), predicted.fate != ""
    final = ensemble.final
    size = np.maximum(
        np.sqrt(system.tau_online) * np.maximum(np.abs(start.online), np.abs(start.target)),
        np.sqrt(system.tau_predictor) * np.maximum(np.abs(start.predictor), system.ratio),
    )
    amplitude = np.where(np.isnan(predicted.amplitude), 0.0, predicted.amplitude)
    size = np.maximum(size, np.sqrt(system.tau_online) * amplitude)
    off = np.zeros(len(fate), bool)
    for found, expected, tau in (
        (final.online, predicted.amplitude, system.tau_online),
        (final.predictor, predicted.predictor, system.tau_predictor),
        (
            final.target,
            np.where(np.isnan(predicted.target), predicted.amplitude, predicted.target),
            system.tau_online,
        ),
    ):
        if variant == "fast-predictor" and expected is predicted.predictor:
            # 1 − η τt is found with three roundings, half an epsilon each, and the end is r over it
            lag = np.abs(1 - system.weight_decay * system.tau_target)
            off |= np.abs(found - expected) * lag > (ROUNDINGS * lag + 2 * _EPS) * np.abs(expected)
        else:
            off |= _far(np.sqrt(tau) * found, np.sqrt(tau) * expected, size, ROUNDINGS)
    signed = np.isfinite(predicted.online) & (predicted.online != 0)
    names = [status.value for status in STATUSES]
    return Row(
        variant,
        len(fate),
        int(np.sum(known)),
        int(np.sum(known & ~undecided & (fate != predicted.fate))),
        int(np.sum(steady & off)),
        int(np.sum(steady & signed & (np.sign(final.online) != np.sign(predicted.online)))),
        int(np.sum(steady & (rest_error(variant, final, system) > ROUNDINGS))),
        int(np.sum(undecided)),
        {name: int(np.sum(ensemble.status == k)) for k, name in enumerate(names)},
        {name: int(np.sum(undecided & (ensemble.status == k))) for k, name in enumerate(names)},
    )


def campaign(variant: str, n: int, seed: int = 0, *, decay: bool = False, **options: Any) -> Row:
    """Draw, run and judge n trajectories, in blocks that need little memory."""
    row = Row(variant)
    for first in range(0, n, BLOCK):
        start, system = draw(variant, min(BLOCK, n - first), seed + first, decay=decay)
        row += judge(variant, start, system, run(variant, start, system, **options))
    return row


class Reference(NamedTuple):
    """Where a tight integration by another method ends.

    Parameters
    ----------
    fate
        "learned" or "collapsed"; empty where the integration has not come to rest.
    sign
        Sign of w1 at the end; 0 unless learned.
    reason
        Why it has not come to rest.
    """

    fate: str
    sign: float
    reason: str = ""


def reference_fate(variant: str, start: ModeState, system: ModeSystem, most: int = 20_000) -> Reference:
    """Follow one mode to rest with LSODA at rtol 1e-11, in two unknowns that keep the signs of the flow.

    With a = √τo w1, b = √τp w2, g = √τo θ, the law a² − b² = c e^{−2ηt} (R2) leaves two unknowns: (b, g) for c > 0,
    and (ln s, φ) with (a, g) = s (sin φ, cos φ) for c < 0, where the encoder may sink by any number of decades and
    come back. The flow is odd in (a, g), and g > 0 at the start of every stage, for a/g may be tiny. Slaved predictors
    have (ln |a|, g).

    Every stage goes on to four times the time that the one before went to, so that a slow system takes little longer
    than a quick one. A stage that fails, for rounding of a fast rate keeps the steps of a slow one short, is tried
    again at rtol 1e-9, then 1e-7.

    At rest is η > 0: w1, w2 and θ within a thousandth of the learned points of R15 (less where the saddle is close), or
    within a hundredth of the box below the saddle, which holds the origin; η = 0: within a thousandth of R6's points.

    Parameters
    ----------
    variant
        One of those on which theory is silent: full, symmetric-predictor, no-ema, tied, directpred, directset.
    start, system
        One mode with λs, λd > 0; c ≠ 0 for variants that conserve it; c < 0 < w2 if η = 0.
    most
        Largest number of steps of one try of a stage.
    """
    from scipy.integrate import odeint

    w1, w2, th = (float(values[0]) for values in VARIANTS[variant].mode_field.constrain(0.0, start, system))
    ls, ld, to, tp, tt, eta = (float(np.ravel(getattr(system, name))[0]) for name in RATES)
    a, b, g = np.sqrt(to) * w1, np.sqrt(tp) * w2, np.sqrt(to) * th
    c = (a - b) * (a + b)
    half, one = VARIANTS[variant].direct
    kind = variant if variant in ("tied", "no-ema") else "direct" if half or one else "full"
    chart = "slaved" if kind in ("tied", "direct") else "above" if c > 0 else "below"
    given = (
        *(ld / to / np.sqrt(tp), ls / to / tp, 1 / tt, eta, abs(c), np.sign(a), np.sign(b)),
        *(half * np.sqrt(ls / to * tp), one * ls / to * np.sqrt(tp)),
    )
    flow, jacobian, weights = _reduced(kind, chart)
    least = np.sqrt(tp) * ld / ls
    if eta > 0:
        points = np.asarray(weight_decay_fixed_points(system).points.predictor)[:, 0]
        lower, upper = points[1], points[3]
        near, least = min(1e-3, (upper - lower) / upper / 10), np.sqrt(tp) * lower
    y = {
        "slaved": (np.log(abs(a)), g),
        "above": (b, 0.0 if kind == "no-ema" else g),
        "below": (np.log(abs(a)), 0.0) if kind == "no-ema" else (np.log(np.hypot(a, g)), np.arctan2(a, g)),
    }[chart]
    atol = {"slaved": (1e-11, 1e-12 * least), "above": (1e-12 * least,) * 2, "below": (1e-11, 1e-18)}[chart]
    t, later, turned, loose = 0.0, 1e-3 * tt, 1.0, 1.0
    polar = chart == "below" and kind == "full"
    last = 1e30
    if eta > 0:  # beyond, e^{−2ηt} is no number; slaved predictors need none, but θ needs its time
        last = 300 / eta + (100 * tt if chart == "slaved" else 0.0)
    while later < 4 * last:
        later = min(later, last)
        if polar and np.cos(y[1]) < 0:
            y, turned = (y[0], np.arctan2(-np.sin(y[1]), -np.cos(y[1]))), -turned
        with warnings.catch_warnings(record=True):  # its words are in `report`
            warnings.simplefilter("always")
            path, report = odeint(
                lambda y, t: flow(t, *y, *given),
                y,
                (t, later),
                Dfun=lambda y, t: jacobian(t, *y, *given),
                full_output=True,
                rtol=1e-11 * loose,
                atol=loose * np.array(atol),
                mxstep=most,
            )
        if report["message"] != "Integration successful.":
            if loose < LOOSEST:
                loose *= 100
                continue
            return Reference("", 0.0, f"{report['message']} at η t = {eta * t:.2g}, t/τt = {t / tt:.2g}")
        y, t, later = path[1], later, 4 * later if later < last else np.inf
        a, b, g = weights(t, *y, *given)
        w1, w2, th = a / np.sqrt(to), b / np.sqrt(tp), g / np.sqrt(to)
        if eta == 0:
            r, amplitude = ld / ls, np.sqrt((tp * (ld / ls) ** 2 + c) / to)
            if max(abs(w2 / r - 1), abs(abs(w1) / amplitude - 1), abs(th - w1) / amplitude) < 1e-3:
                return Reference("learned", turned * float(np.sign(w1)))
            continue
        floor = np.sqrt(tp / to) * lower
        if kind == "direct":
            floor = 2 * lower / (half + np.sqrt(half * half + 4 * one * lower)) / np.sqrt(ls)
        if abs(w2) < 1e-2 * lower and max(abs(w1), abs(th)) < 1e-2 * floor:
            return Reference("collapsed", 0.0)
        sheet = 0.0 if kind == "direct" else abs(w1) * np.sqrt(to / tp) / upper - 1
        if max(abs(w2 / upper - 1), abs(sheet)) < near and abs(th - w1) < near * abs(w1):
            return Reference("learned", turned * float(np.sign(w1)))
    return Reference("", 0.0, "still moving at the end of the time given")


@cache
def _reduced(kind: str, chart: str) -> tuple[Any, Any, Any]:
    """Rates of the two unknowns, their Jacobian, and (a, b, g), as functions of t, the unknowns and the rest."""
    import sympy as sp

    t, x, y = sp.symbols("t x y", real=True)
    A, B, zeta, eta, c, sign_a, sign_b, c1, c2 = given = sp.symbols("A B zeta eta c sa sb c1 c2", real=True)
    leaf = c * sp.exp(-2 * eta * t)
    if chart == "slaved":
        size = sp.exp(x)
        a, g = sign_a * size, y
        slope = sp.Integer(1) if kind == "tied" else sign_a * (c1 + c2 * size)  # b/a
        b = slope * a
        rates = [slope * A * g - B * b**2 - eta, zeta * (a - g)]
    elif chart == "above":
        b = x
        a = sign_a * sp.sqrt(b**2 + leaf)
        g = a if kind == "no-ema" else y
        rates = [a * (A * g - B * a * b) - eta * b, 0 if kind == "no-ema" else zeta * (a - g)]
    elif kind == "no-ema":
        a = g = sign_a * sp.exp(x)
        b = sign_b * sp.sqrt(a**2 + leaf)
        rates = [b * (A - B * b) - eta, 0]
    else:
        cos, sin = sp.cos(y), sp.sin(y)
        a, g = sp.exp(x) * sin, sp.exp(x) * cos
        b = sign_b * sp.sqrt(a**2 + leaf)
        pull, follow = b * (A * cos - B * sin * b) - eta * sin, zeta * (sin - cos)
        rates = [sin * pull + cos * follow, cos * pull - sin * follow]
    arguments = (t, x, y, *given)

    def bounded_exp(x: float) -> float:
        return math.exp(min(x, 200.0))  # Newton's method may try any state; e^200 is far beyond all weights

    jacobian = sp.Matrix(rates).jacobian([x, y]).tolist()
    first, second, third = (
        sp.lambdify(arguments, expressions, [{"exp": bounded_exp}, "math"], cse=True)
        for expressions in (rates, jacobian, [a, b, g])
    )
    return first, second, third


@dataclass
class Silent:
    """A sample of trajectories on which theory is silent, against `reference_fate`.

    Parameters
    ----------
    variant, n
        Name, and size of the sample.
    wrong
        Other fate, or other sign of w1.
    faults
        Indices of these in the draw.
    unsettled
        Why references did not come to rest, one reason for each that did not.
    """

    variant: str
    n: int
    wrong: int
    faults: list[int]
    unsettled: list[str]


def silent_sample(variant: str, n: int, seed: int = 0, *, decay: bool = True) -> Silent:
    """Compare n decided trajectories of which theory says nothing with LSODA.

    Without weight decay theory predicts every fate, and what it leaves open is the sign of w1 where w1 and θ begin with
    different signs, w2 > 0 and −τp r² < c < 0.
    """
    start, system = draw(variant, 1000 + 200 * n, seed, decay=decay)
    predicted = predict_fates(start, system, variant)
    silent = predicted.fate == ""
    if not decay:
        silent = (
            (predicted.fate == "learned") & np.isnan(predicted.online) & (start.online * start.target < 0)
        )
    chosen = np.flatnonzero(silent)[:n]
    begin = ModeState(*(values[chosen] for values in start))
    systems = part(system, chosen)
    ensemble = run(variant, begin, systems)
    faults, unsettled, compared = [], [], 0
    for k, index in enumerate(chosen):
        fate = FATES[ensemble.fate[k]]
        if fate == "undecided":
            continue
        compared += 1
        sign = float(np.sign(ensemble.final.online[k])) if fate == "learned" else 0.0
        reference = reference_fate(variant, ModeState(*(values[[k]] for values in begin)), part(systems, [k]))
        if reference.fate == "":
            unsettled.append(reference.reason)
        elif (reference.fate, reference.sign) != (fate, sign):
            faults.append(int(index))
    return Silent(variant, compared, len(faults), faults, unsettled)


def table(rows: list[Row]) -> str:
    """Rows as a table in Markdown."""
    head = ("variant", "systems", "predicted", "wrong fates", "wrong ends", "wrong signs", "wrong steady")
    lines = ["| " + " | ".join((*head, "undecided", "of these", "statuses")) + " |", "| --- " * 10 + "|"]
    for row in rows:
        of = ", ".join(f"{v} {k}" for k, v in (row.undecided_statuses or {}).items() if v) or "none"
        ends = ", ".join(f"{v} {k}" for k, v in (row.statuses or {}).items() if v)
        counts = (row.n, row.predicted, row.wrong_fates, row.wrong_ends, row.wrong_signs, row.wrong_steady)
        cells = (row.variant, *map(str, counts), f"{row.undecided} ({row.undecided / row.n:.2%})", of, ends)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variants", nargs="*", default=list(VARIANTS))
    parser.add_argument("--n", type=lambda text: int(float(text)), default=20_000)
    parser.add_argument("--decay", action="store_true")
    parser.add_argument(
        "--silent", action="store_true", help="compare N of which theory says nothing with LSODA"
    )
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    for k, variant in enumerate(chosen.variants):
        if chosen.silent:
            print(silent_sample(variant, chosen.n, chosen.seed, decay=chosen.decay), flush=True)
            continue
        row = table([campaign(variant, chosen.n, chosen.seed, decay=chosen.decay)])
        print(row if k == 0 else row.splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
