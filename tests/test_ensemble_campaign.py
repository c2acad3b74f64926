"""Random systems of every variant through the ensemble, judged by theory, and the stiff path that many of them take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import campaign_fates as campaigns
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from dynamics.integration import explicit_pair as kernels
from dynamics.integration.ensemble import FATES, Ensemble, integrate_ensemble
from dynamics.integration.integrate import Status
from dynamics.states import ModeState
from dynamics.system import ModeSystem
from dynamics.variants import VARIANTS

ROOT = Path(__file__).resolve().parents[1]

SILENT = ("full", "no-ema", "tied", "symmetric-predictor", "directpred", "directset")
"""Variants of which theory does not predict every fate under weight decay."""


def check(row: campaigns.Row) -> None:
    assert row.wrong == 0, campaigns.table([row])
    # a mode that sinks below the smallest float with a large θ of the other sign, and would come back, is given up
    assert row.undecided <= 0.05 * row.n, campaigns.table([row])


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_fate_no_end_and_no_rest_is_wrong(variant: str) -> None:
    row = campaigns.campaign(variant, 20_000)
    check(row)
    assert row.predicted == row.n


@pytest.mark.parametrize("variant", VARIANTS)
def test_nor_with_weight_decay(variant: str) -> None:
    row = campaigns.campaign(variant, 5_000, decay=True)
    check(row)
    assert row.predicted > 0.7 * row.n
    assert (row.predicted < row.n) == (variant in SILENT)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_million_systems(variant: str) -> None:
    check(campaigns.campaign(variant, 1_000_000, seed=1))
    check(campaigns.campaign(variant, 100_000, seed=1, decay=True))


@pytest.mark.parametrize("variant", SILENT)
def test_where_theory_is_silent_another_method_agrees(variant: str) -> None:
    row = campaigns.silent_sample(variant, 20, seed=2)
    assert row.n == 20
    assert row.wrong == 0, row
    assert len(row.unsettled) <= 1, row


@pytest.mark.slow
@pytest.mark.parametrize("variant", SILENT)
def test_where_theory_is_silent_many(variant: str) -> None:
    row = campaigns.silent_sample(variant, 1000, seed=3)
    assert row.wrong == 0, row
    assert len(row.unsettled) <= 0.02 * row.n, row


@pytest.mark.slow
def test_signs_without_decay_are_those_of_another_method() -> None:
    row = campaigns.silent_sample("full", 1000, seed=3, decay=False)
    assert row.n == 1000
    assert row.wrong == 0, row
    assert len(row.unsettled) <= 0.02 * row.n, row


def test_the_sample_sees_a_wrong_fate_and_a_wrong_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = campaigns.run

    def turned(*args: Any, **options: Any) -> Ensemble:
        found = plain(*args, **options)
        return replace(found, final=found.final._replace(online=-found.final.online))

    def swapped(*args: Any, **options: Any) -> Ensemble:
        found = plain(*args, **options)
        return replace(found, fate=1 - found.fate)

    assert campaigns.silent_sample("full", 10, seed=2, decay=False).wrong == 0
    monkeypatch.setattr(campaigns, "run", turned)
    assert campaigns.silent_sample("full", 10, seed=2, decay=False).wrong == 10
    monkeypatch.setattr(campaigns, "run", swapped)
    row = campaigns.silent_sample("no-ema", 10, seed=2)
    assert row.wrong == row.n - len(row.unsettled) > 0


def leaf_starts(n: int) -> tuple[ModeState, ModeSystem]:
    """Starts with −τp r² < c < 0 and w2 > 0, where the sign of w1 is decided by the saddle's stable manifold."""
    rng = np.random.default_rng(5)
    to, tp, tt = np.exp(rng.uniform(-1, 1, (3, n)))
    ls, r = np.exp(rng.uniform(-1, 1, n)), 10 ** rng.uniform(-1, 0, n)
    c = -tp * r * r * rng.uniform(0.01, 0.99, n)
    w1 = rng.choice([-1.0, 1.0], n) * r * 10 ** rng.uniform(-2, 0.5, n)
    w2 = np.sqrt((to * w1 * w1 - c) / tp)
    th = -np.sign(w1) * r * 10 ** rng.uniform(-2, 1, n)
    system = ModeSystem(ls, ls * r, tau_online=to, tau_predictor=tp, tau_target=tt)
    return system.state(w1, w2, th), system


def test_signs_are_those_of_the_stable_manifold() -> None:
    start, system = leaf_starts(40)
    row = campaigns.judge("full", start, system, campaigns.run("full", start, system), decide_sign=True)
    check(row)
    assert row.undecided == 0


@pytest.mark.slow
def test_five_hundred_signs_are_those_of_the_stable_manifold() -> None:
    start, system = leaf_starts(500)
    check(campaigns.judge("full", start, system, campaigns.run("full", start, system), decide_sign=True))


# --- the judge can see ----------------------------------------------------------------------------------------


def test_the_judge_sees_every_kind_of_fault() -> None:
    start, system = campaigns.draw("full", 2000, 4, decay=False)
    good = campaigns.run("full", start, system)
    assert campaigns.judge("full", start, system, good).wrong == 0
    learned = int(np.flatnonzero(good.fate == FATES.index("learned"))[0])

    def spoilt(**changes: Any) -> campaigns.Row:
        return campaigns.judge("full", start, system, replace(good, **changes))

    fate = good.fate.copy()
    fate[learned] = FATES.index("collapsed")
    assert spoilt(fate=fate).wrong_fates == 1
    final = ModeState(*(values.copy() for values in good.final))
    final.online[learned] *= 1 + 1e-9
    assert spoilt(final=final).wrong_ends == 1
    assert spoilt(final=final).wrong_steady == 1
    final = ModeState(*(values.copy() for values in good.final))
    known = np.isfinite(campaigns.predict_fates(start, system, "full").online) & (final.online != 0)
    signed = int(np.flatnonzero(known)[0])
    final.online[signed] *= -1
    final.target[signed] *= -1
    found = spoilt(final=final)
    assert (found.wrong_signs, found.wrong_steady, found.wrong_ends) == (1, 0, 0)


# --- the stiff path -------------------------------------------------------------------------------------------


def stiff(n: int = 40) -> tuple[ModeState, ModeSystem]:
    """Modes whose rates lie 8 decades apart, each of which needs the stiff method."""
    rng = np.random.default_rng(6)
    ls = 10 ** rng.uniform(8, 10, n)
    system = ModeSystem(ls, ls * rng.uniform(0.2, 0.9, n), tau_target=np.exp(rng.uniform(-1, 1, n)))
    return system.state(*rng.uniform(0.1, 1.0, (3, n))), system


def slow_manifold(start: ModeState, system: ModeSystem, t: float) -> np.ndarray:
    """√θ of the limit λs → ∞: w1 w2 = θ r on the leaf, then dθ/dt = (w1 − θ)/τt.

    Only for w1 = w2 at the start: then w1² = θ r, and d√θ/dt = (√r − √θ)/(2τt).
    """
    r = system.ratio
    return np.sqrt(r) + (np.sqrt(start.target) - np.sqrt(r)) * np.exp(
        -t / (2 * np.asarray(system.tau_target))
    )


def test_a_rate_far_beyond_the_others_is_followed_to_a_finite_time() -> None:
    start, system = stiff()
    start = system.state(start.online, start.online, start.target)
    times = [0.3, 1.0]
    found = campaigns.run("full", start, system, 2.0, save_at=times)
    assert found.saved is not None
    assert np.all(found.n_accepted + found.n_rejected > kernels.HANDOVER)
    for values, t in ((found.saved.target[0], 0.3), (found.saved.target[1], 1.0), (found.final.target, 2.0)):
        # the fast motion takes 1e-8 of a unit of time; tolerance 1e-6 and some steps of it
        assert_allclose(np.sqrt(values), slow_manifold(start, system, t), rtol=0, atol=2e-6)
    assert np.all(found.ended(Status.END_TIME))


def test_the_stiff_path_depends_neither_on_threads_nor_on_company() -> None:
    start, system = stiff(130)
    together, apart = (
        campaigns.run("full", start, system, 3.0, threads=threads, save_at=[1.0]) for threads in (1, 3)
    )
    assert together.saved is not None
    assert apart.saved is not None
    assert_array_equal(np.array(together.final), np.array(apart.final))
    assert_array_equal(np.array(together.saved), np.array(apart.saved))
    for k in (0, 64, 129):
        alone = campaigns.run("full", ModeState(*(x[[k]] for x in start)), campaigns.part(system, [k]), 3.0)
        without = campaigns.run("full", start, system, 3.0)
        assert_array_equal(np.ravel(alone.final), [x[k] for x in without.final])


@pytest.mark.parametrize("variant", ["full", "fixed-target", "directset"])  # each compiles for seconds
def test_single_precision_comes_to_the_same_ends(variant: str) -> None:
    rng = np.random.default_rng(7)
    n = 500
    system = ModeSystem(np.ones(n), rng.uniform(0.2, 0.9, n))
    w1, w2, th = rng.normal(size=(3, n))
    start = system.state(w1, w1 if variant == "tied" else w2, th)
    double, single = (
        campaigns.run(variant, start, system, rtol=1e-5, dtype=dtype) for dtype in (np.float64, np.float32)
    )
    assert single.final.online.dtype == np.float32
    both = double.ended(Status.STEADY) & single.ended(Status.STEADY)
    assert np.mean(both | double.ended(Status.SLOW)) > 0.98
    for one, other in zip(double.final, single.final, strict=True):
        # a start is rounded to 6e-8; the amplitude beside a boundary moves as the root of that
        off = np.abs(one - other)[both] > 1e-3
        assert np.mean(off) < 0.01
    agree = double.fate == single.fate
    assert np.mean(agree) > 0.99


CUDA = """
import json
import numpy as np
from dynamics.integration.ensemble import integrate_ensemble
from dynamics.system import ModeSystem
from dynamics.variants import VARIANTS
system = ModeSystem([1e9, 1e9, 1.0], [5e8, 3e8, 0.5], tau_target=[1.0, 2.0, 20.0])
start = system.state([0.1, 0.7, 0.3], [0.1, 0.2, 0.3], [0.1, 0.4, -2.0])
runs = [
    integrate_ensemble(start, system, VARIANTS["full"].mode_field, [1.5, np.inf, np.inf], device=device, save_at=[1.0])
    for device in ("cpu", "cuda")
]
print(json.dumps([
    [np.array(r.final).tolist(), np.array(r.saved).tolist(), r.status.tolist(), r.fate.tolist()] for r in runs
]))
"""


def test_the_cuda_kernel_takes_the_stiff_path_too() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CUDA],
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    cpu, cuda = json.loads(done.stdout)
    assert cpu[2:] == cuda[2:]
    # differences of rounding move step sizes: errors of the size of the tolerance differ
    assert_allclose(cuda[0], cpu[0], rtol=0, atol=1e-6)
    assert_allclose(cuda[1], cpu[1], rtol=0, atol=1e-6)


# --- faults that have been -----------------------------------------------------------------------------------


def one(variant: str, state: Any, t_end: Any = np.inf, **rates: Any) -> Ensemble:
    system = ModeSystem(
        **(
            {"lambda_s": [1.0], "lambda_d": [0.5]}
            | {name: np.array([value]) for name, value in rates.items()}
        )
    )
    return integrate_ensemble(system.state(*state), system, VARIANTS[variant].mode_field, t_end, device="cpu")


@pytest.mark.parametrize(
    ("variant", "state", "rates", "end"),
    [
        ("full", (0.3, 0.3, -2.0), {"tau_target": 20.0}, 0.5),
        ("tied", (0.3, 0.3, -2.0), {"tau_target": 20.0}, 0.5),
        ("full", (0.3, 0.3, -30.0), {}, 0.5),
        ("full", (0.3, 0.7, 0.3), {"weight_decay": 1e-5}, 0.49998),
    ],
)
def test_what_passes_close_to_zero_and_returns_is_learned(
    variant: str, state: Any, rates: dict[str, float], end: float
) -> None:
    found = one(variant, state, **rates)
    assert FATES[found.fate[0]] == "learned"
    assert found.ended(Status.STEADY)[0]
    assert found.final.predictor[0] == pytest.approx(end, abs=1e-6)


@pytest.mark.parametrize("variant", ["tied", "directpred"])
def test_what_a_target_has_sunk_beneath_the_smallest_float_has_collapsed_under_decay(variant: str) -> None:
    # ln w1 falls by 1000 and more under θ; then θ decays towards w1, and both are below the saddle
    found = one(variant, (0.3, 0.3, -2000.0), tau_target=20.0, weight_decay=1e-3)
    assert FATES[found.fate[0]] == "collapsed"
    assert found.ended(Status.STEADY)[0]
    still = one(variant, (0.3, 0.3, -2000.0), tau_target=20.0)  # without decay it is learned after e^1000
    assert FATES[still.fate[0]] == "undecided"
    assert still.ended(Status.MAX_STEPS)[0]


def test_the_sign_survives_a_passage_at_a_hundred_decades() -> None:
    # w1, θ > 0 with w2 > 0 is invariant
    assert one("full", (0.3, 0.7, 0.3), 2e5, weight_decay=1e-5).final.online[0] > 0.4


def test_a_fast_predictor_ends_at_its_ratio_though_the_encoder_underflows() -> None:
    # η τt = .995: w2 → r/(1 − η τt), two hundred times r, and gets there long after w1 is 0
    found = one("fast-predictor", (1e-3, 0.0, -2.0), weight_decay=0.995)
    assert FATES[found.fate[0]] == "collapsed"
    assert found.final.predictor[0] == pytest.approx(100.0, rel=1e-12)
