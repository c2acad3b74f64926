"""The compiled ensemble integrator against the vector fields, the reference integrator, closed forms and theory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import expm

from analysis.fates.predictions import predict_fates
from dynamics.fields.modes import (
    fixed_target_mode_field,
    full_mode_field,
    no_predictor_mode_field,
    proportional_ema_mode_field,
)
from dynamics.integration import explicit_pair as kernels
from dynamics.integration import lane_kernels
from dynamics.integration.ensemble import Ensemble, integrate_ensemble
from dynamics.integration.integrate import Status, integrate
from dynamics.integration.lane_kernels import lane_kernel
from dynamics.states import ModeState
from dynamics.system import ModeSystem
from dynamics.variants import BALANCED_MODE_VARIANTS, MODE_FIELDS, VARIANTS

RTOL, ATOL = 1e-6, 1e-9
FORMS = {name: (row.kind, *row.direct) for name, row in VARIANTS.items() if row.kind is not None}
COMPILED = tuple(FORMS)


def draw_system(n: int, seed: int, *, decay: bool, tied: bool = False) -> ModeSystem:
    rng = np.random.default_rng(seed)
    lambda_s, tau_online = rng.uniform(0.5, 2, n), rng.uniform(0.5, 2, n)
    return ModeSystem(
        lambda_s,
        lambda_s * rng.uniform(0.2, 0.9, n),
        tau_online=tau_online,
        tau_predictor=tau_online if tied else rng.uniform(0.5, 2, n),
        tau_target=rng.uniform(0.5, 2, n),
        weight_decay=rng.uniform(0.005, 0.02, n) if decay else 0.0,
    )


def draw_start(system: ModeSystem, seed: int, *, tied: bool = False) -> ModeState:
    w1, w2, th = np.random.default_rng(seed).normal(0, 0.7, (3, system.n_modes))
    return system.state(w1, w1 if tied else w2, th)


def run(start: ModeState, system: ModeSystem, t_end: Any, variant: str = "full", **options: Any) -> Ensemble:
    return integrate_ensemble(start, system, MODE_FIELDS[variant], t_end, device="cpu", **options)


def kernel_arguments(system: ModeSystem, k: int) -> tuple[float, ...]:
    names = ("lambda_s", "lambda_d", "tau_online", "tau_predictor", "tau_target", "weight_decay")
    values = (np.broadcast_to(getattr(system, name), (system.n_modes,)) for name in names)
    ls, ld, to, tp, tt, eta = (float(value[k]) for value in values)
    return ls, ld, 1 / to, 1 / tp, 1 / tt, eta


# --- the flow and the step ----------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", COMPILED)
def test_the_compiled_flow_is_the_vector_field(variant: str) -> None:
    system = draw_system(50, 1, decay=True)
    state, field, kind = draw_start(system, 2), MODE_FIELDS[variant], FORMS[variant]
    constrained = field.constrain(0.0, state, system)
    expected = np.array(field.derivative(0.0, constrained, system))
    for k in range(system.n_modes):
        y, p = tuple(float(part[k]) for part in state), kernel_arguments(system, k)
        # a handful of roundings of sums whose terms are no larger than a few times the largest rate
        assert_allclose(kernels.constrained(kind, y, p), [part[k] for part in constrained], rtol=1e-14)
        scale = 1 + np.max(np.abs(expected[:, k]))
        assert_allclose(kernels.derivative(kind, y, p), expected[:, k], rtol=0, atol=1e-14 * scale)


def test_the_pair_has_orders_five_and_four() -> None:
    # no predictor: linear, so the matrix exponential is the exact flow
    p, kind = (1.0, 0.5, 1.0, 1.0, 2.0, 0.1), FORMS["no-predictor"]
    y = np.array([0.7, 1.0, -0.4])
    A = np.array([[-1.1, 0.5], [2.0, -2.0]])
    hs = np.array([0.1, 0.05, 0.025])
    errors, estimates = [], []
    for h in hs:
        k1 = kernels.derivative(kind, tuple(y), p)
        z, slope, error = kernels.step(kind, tuple(y), h, k1, p, kernels.TABLEAU)
        errors.append(np.max(np.abs(np.array(z)[[0, 2]] - expm(h * A) @ y[[0, 2]])))
        estimates.append(np.max(np.abs(error)))
        assert_allclose(slope, kernels.derivative(kind, z, p), rtol=1e-14)
    # local errors of h⁶ and h⁵; the next term of the series bends the line by less than half an order
    assert np.polyfit(np.log(hs), np.log(errors), 1)[0] == pytest.approx(6, abs=0.5)
    assert np.polyfit(np.log(hs), np.log(estimates), 1)[0] == pytest.approx(5, abs=0.5)


def test_the_tableau_is_consistent() -> None:
    # sums of the rows are the nodes of Tsitouras (2011), of the error weights 0; printed to 16 digits
    sums = [sum(row) for row in kernels.TABLEAU]
    assert_allclose(sums, [0.161, 0.327, 0.9, 0.9800255409045097, 1, 1, 0], rtol=0, atol=2e-14)


# --- against other methods ----------------------------------------------------------------------------------


@pytest.mark.parametrize("decay", [False, True])
@pytest.mark.parametrize("variant", COMPILED)
def test_ends_are_those_of_the_reference_integrator(variant: str, decay: bool) -> None:
    tied = variant == "tied"
    system = draw_system(24, 3, decay=decay, tied=tied)
    start, t_end = draw_start(system, 4, tied=tied), 40.0
    ensemble = run(start, system, t_end, variant, rtol=RTOL, atol=ATOL)
    reference = integrate(start, system, MODE_FIELDS[variant], t_end, rtol=1e-11, atol=1e-13).final
    assert not np.any(ensemble.ended(Status.DIVERGED) | ensemble.ended(Status.MAX_STEPS))
    # errors of the size asked for, amplified ten times at most before the trajectories settle
    size = np.maximum.reduce([np.abs(part) for part in (*reference, *start)])
    for part, exact in zip(ensemble.final, reference, strict=True):
        assert np.all(np.abs(part - exact) <= 10 * (RTOL * size + ATOL))


def test_tighter_tolerances_bring_smaller_errors() -> None:
    system = draw_system(100, 5, decay=False)
    start = draw_start(system, 6)
    exact = integrate(start, system, full_mode_field, 10.0, rtol=1e-12, atol=1e-13).final
    errors = [
        np.max(np.abs(np.array(run(start, system, 10.0, rtol=r, atol=1e-3 * r).final) - exact))
        for r in (1e-4, 1e-6, 1e-8)
    ]
    assert errors[0] < 1e-3
    assert errors[1] < 1e-5
    assert errors[2] < 1e-7


def test_states_at_common_times_follow_the_matrix_exponential() -> None:
    system, times = draw_system(7, 7, decay=False), np.array([0.0, 0.3, 1.0, 7.5, 30.0, 60.0])
    start = draw_start(system, 8)
    ends = np.array([50.0, 50, 50, 50, 50, 50, 2.0])
    saved = run(start, system, ends, "no-predictor", save_at=times).saved
    assert saved is not None
    assert saved.online.shape == (6, 7)
    for k in range(7):
        ls, ld, over_to, _, over_tt, _ = kernel_arguments(system, k)
        A = np.array([[-ls * over_to, ld * over_to], [over_tt, -over_tt]])
        kept = times <= ends[k]
        exact = np.array([expm(t * A) @ [start.online[k], start.target[k]] for t in times[kept]])
        # the flow contracts: local errors of at most rtol a step, some thirty steps
        assert_allclose(np.column_stack([saved.online[kept, k], saved.target[kept, k]]), exact, atol=3e-5)
        assert np.all(np.isnan(saved.online[~kept, k]))
    assert_array_equal(saved.online[0], start.online)
    assert_array_equal(saved.predictor[0], np.ones(7))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_saved_states_and_ends_agree(dtype: Any) -> None:
    system = draw_system(200, 9, decay=False)
    start = draw_start(system, 10)
    rtol = 1e-6 if dtype is np.float64 else 1e-5
    ensemble = run(start, system, 20.0, rtol=rtol, save_at=[5.0, 20.0], dtype=dtype)
    assert ensemble.saved is not None
    for part, saved in zip(ensemble.final, ensemble.saved, strict=True):
        assert part.dtype == saved.dtype == dtype
        assert_allclose(saved[1], part, rtol=0, atol=100 * rtol)
    half = run(start, system, 5.0, rtol=rtol, dtype=dtype)
    for part, saved in zip(half.final, ensemble.saved, strict=True):
        assert_allclose(saved[0], part, rtol=0, atol=100 * rtol)


# --- theory -------------------------------------------------------------------------------------------------


def test_numbers_to_hit() -> None:
    system = ModeSystem(np.ones(5), np.full(5, 0.5))
    start = system.state([0.1, 0.3, 0.1, 0.1, 0.8], [0.1, 0.1, 0.6, -0.3, -0.3], [0.1, 0.3, 0.1, 0.1, 0.0])
    final = run(start, system, np.inf).final
    amplitude = [0.5, np.sqrt(0.33), 0.0, 0.0, np.sqrt(0.8)]
    assert_allclose(final.online, amplitude, rtol=0, atol=1e-6)
    assert_allclose(final.target, amplitude, rtol=0, atol=1e-6)
    assert_allclose(final.predictor, [0.5, 0.5, np.sqrt(0.35), -np.sqrt(0.08), 0.5], rtol=0, atol=1e-6)


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_rest_without_an_end_is_where_theory_says(seed: int) -> None:
    system = draw_system(200, seed, decay=False)
    start = draw_start(system, seed + 1)
    ensemble = run(start, system, np.inf, max_steps=3000)
    predicted = predict_fates(start, system, "full")
    steady = ensemble.ended(Status.STEADY)
    # near a boundary of R6 the approach takes as long as one likes; few are so near
    assert np.mean(steady) > 0.95
    # errors of c move the square of the amplitude by as much
    assert_allclose(ensemble.final.online[steady] ** 2, predicted.amplitude[steady] ** 2, rtol=0, atol=5e-5)
    assert_allclose(ensemble.final.predictor[steady], predicted.predictor[steady], rtol=0, atol=2e-5)


@pytest.mark.parametrize("size", [1e-2, 1e-5])
def test_slow_starts_are_not_called_rest(size: float) -> None:
    # beside the degenerate origin, and beside the saddle (0, 0.3, 0) on its unstable manifold
    system = ModeSystem(np.ones(2), np.full(2, 0.5))
    ensemble = run(system.state([size, size], [size, 0.3], [size, size]), system, np.inf, max_steps=10**6)
    c = size**2 - np.array([size, 0.3]) ** 2
    assert_allclose(ensemble.final.online, np.sqrt(c + 0.25), rtol=1e-5)
    assert np.all(ensemble.ended(Status.STEADY))


def test_a_start_at_rest_stays() -> None:
    system = ModeSystem(np.ones(3), np.full(3, 0.5))
    start = system.state([0.7, 0.0, 0.0], [0.5, 0.3, 0.0], [0.7, 0.0, 0.0])
    ensemble = run(start, system, np.inf)
    assert_array_equal(np.array(ensemble.final), np.array(start))
    assert np.all(ensemble.ended(Status.STEADY))


@pytest.mark.parametrize("variant", COMPILED)
def test_drift_is_the_departure_from_the_balance_law(variant: str) -> None:
    system = draw_system(50, 11, decay=True, tied=variant == "tied")
    start = draw_start(system, 12, tied=variant == "tied")
    drift = run(start, system, 30.0, variant).drift
    if variant in BALANCED_MODE_VARIANTS:
        # of the size of the errors of the weights, times twice the largest weight and time constant
        assert np.max(drift) < 1e-4
        assert np.max(drift) > 0 or variant == "tied"
    else:
        assert np.all(np.isnan(drift))


def test_the_departure_is_zero_on_the_balance_law_and_what_c_is_off_elsewhere() -> None:
    start, y, t = (0.7, -0.4, 0.1), (0.3, 0.9, 0.2), 1.7
    tau_online, tau_predictor, eta = 0.5, 1.6, 0.05
    p = (1.0, 0.5, 1 / tau_online, 1 / tau_predictor, 1.0, eta)
    c0, c = (tau_online * a**2 - tau_predictor * b**2 for a, b, _ in (start, y))
    found = kernels.departure(FORMS["full"], start, y, p, t)
    assert found == pytest.approx(abs(c - c0 * np.exp(-2 * eta * t)), rel=1e-13)


# --- how a run ends -----------------------------------------------------------------------------------------


def test_runaway_and_spent_budget_have_a_status() -> None:
    # R26: with λs < 0 the mode runs away
    system = ModeSystem([-1.0, 1.0, 1.0], [-0.5, 0.5, 0.5])
    start = system.state([1.0, 0.1, 0.3], [1.0, 0.1, 0.3], [1.0, 0.1, 0.3])
    ensemble = run(start, system, 100.0, max_steps=12)
    assert ensemble.ended(Status.MAX_STEPS).tolist() == [True, True, True]
    assert_array_equal(ensemble.n_accepted + ensemble.n_rejected, [12, 12, 12])
    assert np.all(ensemble.t < 100)
    ensemble = run(start, system, 100.0)
    assert ensemble.ended(Status.DIVERGED).tolist() == [True, False, False]
    assert ensemble.t[0] < 100


def test_results_depend_neither_on_threads_nor_on_company() -> None:
    system = draw_system(300, 13, decay=False)
    start = draw_start(system, 14)
    together = run(start, system, 25.0, threads=1)
    apart = run(start, system, 25.0, threads=3)
    for name in ("t", "status", "n_accepted", "n_rejected", "drift"):
        assert_array_equal(getattr(together, name), getattr(apart, name))
    assert_array_equal(np.array(together.final), np.array(apart.final))
    for k in (0, 157, 299):
        alone = ModeSystem(
            system.lambda_s[k],
            system.lambda_d[k],
            tau_online=np.ravel(system.tau_online)[k],
            tau_predictor=np.ravel(system.tau_predictor)[k],
            tau_target=np.ravel(system.tau_target)[k],
        )
        final = run(ModeState(*(part[k] for part in start)), alone, 25.0).final
        assert_array_equal(np.ravel(final), [part[k] for part in together.final])


@pytest.mark.parametrize("variant", ["full", "tied", "no-ema"])
def test_ends_do_not_depend_on_the_states_that_are_kept(variant: str) -> None:
    """Also where a lane is near its end at the step that passes a time at which its state is kept."""
    rng = np.random.default_rng(0)
    lambda_s = rng.uniform(0.5, 2, 2_000)
    system = ModeSystem(lambda_s, lambda_s * rng.uniform(0.2, 1, 2_000))
    start = draw_start(system, 1, tied=variant == "tied")
    plain = run(start, system, 50.0, variant, rtol=1e-6)
    kept = run(start, system, 50.0, variant, rtol=1e-6, save_at=np.linspace(0, 25, 40))
    assert_array_equal(kept.fate, plain.fate)
    assert_allclose(np.array(kept.final), np.array(plain.final), rtol=0, atol=1e-5)


@pytest.mark.parametrize("tries", [1, 3, 16])
def test_results_do_not_depend_on_how_often_lanes_are_looked_at(
    tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = draw_system(150, 13, decay=False)
    start, ends = draw_start(system, 14), np.geomspace(0.01, 300.0, 150)
    options: list[dict[str, Any]] = [{}, {"save_at": [0.05, 1.0, 20.0]}, {"max_steps": 13}]
    usual = [run(start, system, ends, **option) for option in options]
    monkeypatch.setattr(lane_kernels, "TRIES", tries)
    for before, option in zip(usual, options, strict=True):
        now = run(start, system, ends, **option)
        for name in ("t", "status", "fate", "n_accepted", "n_rejected", "drift"):
            assert_array_equal(getattr(now, name), getattr(before, name))
        assert_array_equal(np.array(now.final), np.array(before.final))
        if before.saved is not None:
            assert_array_equal(np.array(now.saved), np.array(before.saved))


def test_a_later_end_takes_no_more_steps_once_the_end_is_certain() -> None:
    """The rest of the way is the linear flow about the end, however long it is."""
    system = ModeSystem(np.ones(4), np.full(4, 0.5), tau_target=[0.2, 1.0, 5.0, 1.0])
    start = system.state([0.5, 0.7, 0.3, 0.2], [0.4, -0.3, 0.5, -0.9], [0.5, 0.7, 0.3, 0.2])
    steps = [
        int(np.max(found.n_accepted + found.n_rejected))
        for found in (run(start, system, t_end) for t_end in (100.0, 200.0, 1e5))
    ]
    assert steps[1] <= steps[0] + 4
    assert steps[2] <= steps[0] + 4
    assert steps[0] < 200


@pytest.mark.parametrize("real", [np.float64, np.float32])
def test_the_step_factor_is_the_power_of_the_larger_ratio(real: Any) -> None:
    factor = njit(lambda a, b, c, d: kernels.step_factor(a, b, c, d))
    rng = np.random.default_rng(0)
    for _ in range(2000):
        error, limit, other, bound = (real(10 ** rng.uniform(-9, 3)) for _ in range(4))
        found = float(factor(error, limit, other, bound))
        expected = 0.9 * max(float(error) / float(limit), float(other) / float(bound)) ** (-3 / 16)
        # the logarithms of the bits of three numbers are off by at most 0.0861; a unit of the last place of them
        assert abs(np.log2(found / expected)) <= 0.0592 + 1e-5
    one = real(1)
    assert factor(real(np.nan), one, one, one) < 0.2
    assert factor(real(np.inf), one, one, one) < 0.2
    assert factor(real(0), one, real(0), one) > 8


def test_progress_reaches_the_end() -> None:
    system = draw_system(1000, 15, decay=False)
    calls: list[tuple[int, int]] = []
    run(draw_start(system, 16), system, 5.0, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (1000, 1000)
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})


def test_compiled_code_is_loaded_from_disk() -> None:
    lane_kernel(FORMS["full"], "float64", False)
    again = lane_kernel.__wrapped__(FORMS["full"], "float64", False)
    assert sum(again.stats.cache_hits.values()) == 1


CUDA = """
import json, sys
import numpy as np
from dynamics.integration.ensemble import integrate_ensemble
from dynamics.variants import MODE_FIELDS
from dynamics.system import ModeSystem
from dynamics.variants import VARIANTS
system = ModeSystem([1.0, 1.0, 2.0, -1.0], [0.5, 0.5, 1.0, -0.5], tau_target=2.0)
start = system.state([0.1, 0.3, 0.5, 1.0], [0.6, 0.1, -0.3, 1.0], [0.1, -0.3, 0.5, 1.0])
options = dict(save_at=[0.5, 3.0, 150.0], max_steps=5000)
runs = [
    integrate_ensemble(start, system, MODE_FIELDS["full"], [150.0, 4.0, 150.0, 10.0], device=device, **options)
    for device in ("cpu", "cuda")
]
print(json.dumps([
    [np.array(r.final).tolist(), r.t.tolist(), r.status.tolist(), r.n_accepted.tolist(), r.n_rejected.tolist(),
     np.nan_to_num(np.array(r.saved), nan=-9.0).tolist()] for r in runs
]))
"""


def test_the_cuda_kernel_does_what_the_lanes_do() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CUDA],
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1"},
        cwd=os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
        capture_output=True,
        text=True,
        check=True,
    )
    cpu, cuda = json.loads(done.stdout)
    assert cpu[2] == cuda[2] == [1, 1, 0, 2]
    # The same operations in the same order, but for contraction to fused multiply-adds, which only some processors
    # have: a difference of rounding, which bounded trajectories do not amplify. The one that runs away does, so it is
    # compared by its status alone; and a difference of rounding may turn an accepted step into a rejected one.
    for lanes, thread in ((cpu[3], cuda[3]), (cpu[4], cuda[4])):
        assert_allclose(np.array(thread)[:3], np.array(lanes)[:3], atol=2)
    # Step sizes follow the estimated error, of which rounding is a part of 2^-52/rtol = 2e-10 at every step; over some
    # hundred steps it moves the time at which rest is seen.
    assert_allclose(np.array(cuda[1])[:3], np.array(cpu[1])[:3], rtol=1e-6)
    for lanes, thread in ((cpu[0], cuda[0]), (cpu[5], cuda[5])):
        bounded = np.array(lanes)[..., :3]
        assert_allclose(np.array(thread)[..., :3], bounded, rtol=1e-9, atol=1e-12)


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": np.int32}, "`dtype` must be float32 or float64, got int32"),
        ({"device": "tpu"}, "`device` must be one of auto, cpu, cuda, got 'tpu'"),
        ({"rtol": 1e-7, "dtype": np.float32}, "`rtol` must be >= 6e-06 in float32 and <= 0.01, got 1e-07"),
        ({"rtol": np.nan}, "`rtol` must be >= 1.1e-14 in float64 and <= 0.01, got nan"),
        ({"rtol": 0.1}, "`rtol` must be >= 1.1e-14 in float64 and <= 0.01, got 0.1"),
        ({"atol": 0.0}, "`atol` must be > 0 and <= 0.01, got 0.0"),
        ({"max_steps": 0}, "`max_steps` must be >= 1, got 0"),
        ({"threads": 0}, "`threads` must be >= 1, got 0"),
        ({"t_end": -1.0}, "`t_end` must be > 0, one number or one for each of 2, got -1.0"),
        ({"t_end": [1.0, 1.0, 1.0]}, "`t_end` must be > 0"),
        ({"save_at": [1.0, 1.0]}, "`save_at` must be one or more increasing finite times >= 0"),
        ({"save_at": []}, "`save_at` must be one or more"),
        (
            {"vector_field": proportional_ema_mode_field(lambda t: 1.0)},
            "`vector_field` must be the mode field of a variant",
        ),
    ],
)
def test_nonsense_is_refused(options: dict[str, Any], message: str) -> None:
    system = ModeSystem([1.0, 1.0], [0.5, 0.5])
    arguments = {"vector_field": full_mode_field, "t_end": 1.0, "device": "cpu"} | options
    with pytest.raises(ValueError) as caught:  # the message is compared below, letter by letter
        integrate_ensemble(system.state(), system, **arguments)
    assert message in str(caught.value)


def test_a_start_must_suit_the_variant() -> None:
    system = ModeSystem([1.0, 1.0], [0.5, 0.5])
    with pytest.raises(ValueError, match="tied variant"):
        run(system.state(0.1, 0.2, 0.1), system, 1.0, "tied")


def test_fields_are_told_apart() -> None:
    system = ModeSystem([1.0], [0.5])
    start = system.state(0.3, 0.2, 0.4)
    for field in (fixed_target_mode_field, no_predictor_mode_field):
        assert integrate_ensemble(start, system, field, 1.0, device="cpu").final.target.size == 1
    assert run(start, system, 5.0, "fixed-target").final.target == 0.4
    assert run(start, system, 5.0, "no-predictor").final.predictor == 1.0
