"""Random systems of every variant, brought to rest by the ensemble integrator and judged by theory.

python benchmarks/campaign_fates.py [--n N] [--decay] [--seed SEED] [VARIANT ...] prints one row for each variant.

What a trajectory did is compared with `analysis.fates.predictions.predict_fates`, which follows no flow; the end of
a trajectory called steady also with the vector field, which must vanish there. Where theory is silent, as for most
starts with weight decay, a sample is compared with `reference_end`: SciPy's Radau method in logarithmic variables.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from analysis.fates.predictions import predict_fates
from dynamics.integration.ensemble import FATES, STATUSES, Ensemble, integrate_ensemble
from dynamics.integration.modes import integrate_modes
from dynamics.integration.trajectory import Status
from dynamics.states import ModeState
from dynamics.system import ModeSystem
from dynamics.variants import VARIANTS

BLOCK = 100_000
RATES = ("lambda_s", "lambda_d", "tau_online", "tau_predictor", "tau_target", "weight_decay")
_EPS = float(np.finfo(np.float64).eps)
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
            off |= np.abs(found - expected) > ROUNDINGS * np.abs(expected)
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


def reference_end(
    variant: str, start: Any, rates: Any, t: float, most: int = 1000
) -> tuple[float, float, float, float]:
    """Time, ln |(w1, θ)|, its angle atan2(θ, w1) and w2 at the time t, or after `most` steps of SciPy's Radau method.

    In these variables an encoder that sinks by a thousand decades and comes back keeps its sign and its size.

    Parameters
    ----------
    variant
        One whose encoder obeys dw1/dt = w2 (θ λd − w1 w2 λs)/τo − η w1.
    start
        w1, w2, θ; not w1 = θ = 0.
    rates
        λs, λd, τo, τp, τt, η.
    t
        Time > 0.
    """
    from scipy.integrate import Radau

    w1, w2, th = start
    th = w1 if variant == "no-ema" else th
    flow, jacobian = _logarithmic(
        variant if variant in ("tied", "no-ema", "directpred", "directset") else "full"
    )
    given = (float(np.sign(w1)), *rates)
    solver = Radau(
        *(
            lambda _, y: np.array(flow(*y, *given)),
            0.0,
            [np.log(np.hypot(w1, th)), np.arctan2(th, w1), w2],
            t,
        ),
        jac=lambda _, y: np.array(jacobian(*y, *given), dtype=np.float64),
        rtol=1e-9,
        atol=[1e-9, 1e-11, 1e-13],
    )
    while solver.status == "running" and most > 0:
        solver.step()
        most -= 1
    if solver.status == "failed":
        raise ArithmeticError("Radau's step became too small")
    log_size, angle, w2 = solver.y
    return float(solver.t), float(log_size), float(angle), float(w2)


@cache
def _logarithmic(kind: str) -> tuple[Any, Any]:
    """The flow of (ln |(w1, θ)|, atan2(θ, w1), w2) and its Jacobian; slaved predictors leave the third unknown be."""
    import sympy as sp

    log_size, angle, w2 = sp.symbols("log_size angle w2", real=True)
    sign, ls, ld, to, tp, tt, eta = given = sp.symbols("sign ls ld to tp tt eta", real=True)
    half, one = VARIANTS[kind].direct
    cos, sin = sp.cos(angle), sp.sin(angle)
    w1 = sp.exp(log_size) * cos
    b = w2
    if kind == "tied":
        b = w1
    elif kind in ("directpred", "directset"):
        b = half * sp.sqrt(ls) * sign * w1 + one * ls * w1**2
    e = sin * ld - cos * b * ls  # over the size of the encoder
    d_cos = b * e / to - eta * cos
    d_sin = d_cos if kind == "no-ema" else (cos - sin) / tt
    rates = sp.Matrix(
        [
            cos * d_cos + sin * d_sin,
            cos * d_sin - sin * d_cos,
            w1 * sp.exp(log_size) * e / tp - eta * b if kind in ("full", "no-ema") else 0,
        ]
    )
    unknowns = (log_size, angle, w2)
    arguments = (*unknowns, *given)
    return (
        sp.lambdify(arguments, list(rates), "numpy", cse=True),
        sp.lambdify(arguments, rates.jacobian(unknowns).tolist(), "numpy", cse=True),
    )


@dataclass
class Silent:
    """A sample of trajectories on which theory is silent, against two other integrations.

    Parameters
    ----------
    variant, n
        Name, and size of the sample.
    wrong_radau, wrong_modes
        Other fate, or other sign of w1, than SciPy's Radau method, and than `integrate_modes` at the tolerance `rtol`.
    unsettled
        Trajectories that one of the two did not follow as far as the ensemble, within its budget of steps.
    """

    variant: str
    n: int = 0
    wrong_radau: int = 0
    wrong_modes: int = 0
    unsettled: int = 0


def silent_sample(
    variant: str, n: int, seed: int = 0, *, rtol: float = 1e-8, max_steps: int = 5000
) -> Silent:
    """Compare n decided trajectories with weight decay, of which theory says nothing, with two other methods."""
    start, system = draw(variant, max(1000, 10 * n), seed, decay=True)
    ensemble = run(variant, start, system)
    silent = (predict_fates(start, system, variant).fate == "") & (
        np.array(FATES)[ensemble.fate] != "undecided"
    )
    row = Silent(variant)
    for k in np.flatnonzero(silent)[:n]:
        row.n += 1
        one = part(system, [k])
        begin = ModeState(*(values[[k]] for values in start))
        found = np.sign(ensemble.final.online[k])
        options: dict[str, Any] = {"rtol": rtol, "atol": rtol / 100, "max_steps": max_steps}
        trajectory, fates = integrate_modes(begin, one, VARIANTS[variant].mode_field, **options)
        if fates[0] == "undecided":
            row.unsettled += 1
        elif fates[0] != FATES[ensemble.fate[k]] or np.sign(trajectory.final.online[0]) * found < 0:
            row.wrong_modes += 1
        rates = [float(np.ravel(getattr(one, name))[0]) for name in RATES]
        # the end attracts at η or 1/τt at least, but for the few that are near the saddle-node
        later = 2 * ensemble.t[k] + 20 * (1 / rates[5] + rates[4])
        reached, log_size, angle, _ = reference_end(
            variant, [float(values[0]) for values in begin], rates, later
        )
        size = np.hypot(ensemble.final.online[k], ensemble.final.target[k])
        if reached < ensemble.t[k]:
            row.unsettled += 1
        elif found == 0:
            row.wrong_radau += bool(
                log_size > np.log(np.hypot(begin.online[0], begin.target[0])) + np.log(1e-2)
            )
        else:
            row.wrong_radau += bool(np.sign(np.cos(angle)) != found or abs(log_size - np.log(size)) > 0.1)
    return row


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
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    for k, variant in enumerate(chosen.variants):
        row = table([campaign(variant, chosen.n, chosen.seed, decay=chosen.decay)])
        print(row if k == 0 else row.splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
