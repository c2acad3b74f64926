"""R311–R316 and R323 in the registry: each holds, and each is told apart from a broken version of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import beta

from analysis.results.objectives import cosine, iso
from analysis.results.registry import Measurement, Result, check, collect
from dynamics.exact.cosine import (
    closed_predictor_speed,
    decay_clock,
    euclidean_time,
    expected_cosine,
    iso_fate,
    iso_learned_predictor,
    iso_matrix,
    resting_squared_norm,
    squared_norm_after_step,
)
from dynamics.fields.cosine import (
    cosine_field,
    cosine_mode_field,
    cosine_no_ema_field,
    iso_mode_field,
    iso_no_ema_mode_field,
    matrix_scales,
    mode_scales,
    sample_cosine_loss,
)
from dynamics.fields.modes import full_mode_field
from dynamics.fields.predictors import times
from dynamics.fields.vector_field import VectorField
from dynamics.integration.integrate import integrate
from dynamics.states import MatrixState, ModeState
from dynamics.system import MatrixSystem, ModeSystem

RESULTS = collect((cosine, iso))


@pytest.mark.parametrize("result", RESULTS.values(), ids=list(RESULTS))
def test_one_seed_one_measurement(result: Result) -> None:
    first, second = (result.trial(np.random.default_rng(7)) for _ in range(2))
    assert isinstance(first, Measurement)
    assert first == second


# --- mutants ------------------------------------------------------------------------------------------------


def target_alone_normalised(W: Any, P: Any, Th: Any, x1: Any, x2: Any) -> Any:
    z, aim = x1 @ (P @ W).T, x2 @ Th.T
    return -(z * aim / (aim**2).sum(axis=-1, keepdims=True) ** 0.5).sum(axis=-1).mean()


def without_stop_gradient(W: Any, P: Any, Th: Any, x1: Any, x2: Any) -> Any:
    """The target is the encoder itself, and its gradient is not stopped."""
    return sample_cosine_loss(W, P, W, x1, x2)


def two_decays(t: Any, state: MatrixState, system: MatrixSystem) -> MatrixState:
    moved = cosine_no_ema_field.derivative(t, state, system)
    return moved._replace(predictor=moved.predictor - system.weight_decay * state.predictor)


def inverted_gammas(n: Any, r: Any) -> Any:
    ratio = np.sqrt(np.pi) / beta(np.asarray(n) / 2, 0.5)
    return expected_cosine(n, r) / ratio**4


def scaled(kappa_of: Callable[[MatrixState, Any], Any]) -> VectorField:
    """Matrices with another κ."""

    def derivative(t: Any, state: MatrixState, system: Any) -> MatrixState:
        W, P, Th = state
        E = times(Th, system.sigma_d) - kappa_of(state, system) * (P @ times(W, system.sigma_s))
        E = matrix_scales(state, system).clock * E
        return MatrixState(
            P.T @ E / system.tau_online, E @ W.T / system.tau_predictor, (W - Th) / system.tau_target
        )

    return replace(cosine_field, derivative=derivative)


def kappa_by_target(state: MatrixState, system: Any) -> Any:
    """N_t for N_p."""
    W, P, Th = state
    return (times(P @ W, system.sigma_d) * Th).sum() / (times(Th, system.sigma_s) * Th).sum()


def unscaled_modes(t: Any, state: ModeState, system: Any) -> ModeState:
    _, clock = mode_scales(state, system)
    moved = full_mode_field.derivative(t, state, system)
    return ModeState(clock * moved.online, clock * moved.predictor, moved.target)


def wrong_speed(name: str, change: Callable[[Any], Any]) -> Callable[..., Any]:
    def speed(x: Any, noise: float, objective: str) -> Any:
        right = closed_predictor_speed(x, noise, objective)
        return change(right) if objective == name else right

    return speed


def trapped(state: ModeState, system: ModeSystem) -> Any:
    """R6: negative predictors collapse."""
    collapsed, ends = iso_fate(state, system)
    return collapsed | (state.predictor < 0), ends


MUTANTS: list[tuple[str, dict[str, Any]]] = [
    ("R311", {"loss": target_alone_normalised}),
    ("R311", {"loss": without_stop_gradient}),
    ("R312", {"clock": lambda t, eta: np.expm1(eta * np.asarray(t)) / eta}),
    ("R312", {"field": replace(cosine_no_ema_field, derivative=two_decays)}),
    ("R312", {"field": scaled(lambda state, system: 1.0)}),
    ("R313", {"after": lambda x, g, step, eta, tau=1.0: x + (step * g / tau) ** 2}),
    ("R313", {"after": lambda x, g, step, eta, tau=1.0: squared_norm_after_step(x, g, step, eta)}),
    ("R313", {"resting": lambda G, step, eta: G * np.sqrt(step / (2 * eta))}),
    ("R313", {"loss": target_alone_normalised}),
    ("R314", {"expected": inverted_gammas}),
    ("R314", {"expected": lambda n, r: np.asarray(r) * np.ones(np.shape(n))}),
    ("R315", {"field": scaled(lambda state, system: 1.0)}),
    ("R315", {"field": scaled(kappa_by_target)}),
    ("R315", {"mode_field": replace(cosine_mode_field, derivative=unscaled_modes)}),
    ("R316", {"matrix": lambda t, K, noise: iso_matrix(t, K, 0.0)}),
    ("R316", {"time": lambda x0, x, noise: 2 * euclidean_time(x0, x, noise)}),
    ("R316", {"speed": wrong_speed("cosine", lambda v: 1.01 * v)}),
    ("R316", {"speed": wrong_speed("no-stop-gradient", lambda v: -v)}),
    ("R323", {"field": full_mode_field}),
    ("R323", {"no_ema_field": iso_mode_field}),
    ("R323", {"fate": trapped}),
    ("R323", {"exact": lambda t, x, system: iso_learned_predictor(2 * t, x, system)}),
]


def test_every_result_has_a_mutant() -> None:
    assert {name for name, _ in MUTANTS} == set(RESULTS)


@pytest.mark.parametrize(
    ("name", "subjects"), MUTANTS, ids=[f"{n}-{k}-{next(iter(s))}" for k, (n, s) in enumerate(MUTANTS)]
)
def test_mutant_is_violated(name: str, subjects: dict[str, Any]) -> None:
    assert check(RESULTS[name], **subjects).verdict == "violated"


@pytest.mark.parametrize(
    ("name", "module", "attribute", "mutant"),
    [
        (
            "R313",
            cosine,
            "squared_norm_after_step",
            lambda x, g, step, eta, tau=1.0: x + (step * g / tau) ** 2,
        ),
        ("R323", iso, "iso_mode_field", VectorField("full", lambda t, x, system: felt(t, x, system))),
    ],
)
def test_mutated_proof_fails(
    monkeypatch: pytest.MonkeyPatch, name: str, module: Any, attribute: str, mutant: Any
) -> None:
    monkeypatch.setattr(module, attribute, mutant)
    proof = RESULTS[name].proof
    assert proof is not None
    assert proof() is False


def felt(t: Any, state: ModeState, system: Any) -> ModeState:
    """The flow of R1, whose encoder feels the predictor."""
    w, p, th = state
    e = th * system.lambda_d - p * w * system.lambda_s
    return ModeState(p * e / system.tau_online, w * e / system.tau_predictor, (w - th) / system.tau_target)


# --- numbers and boundaries ---------------------------------------------------------------------------------


def test_numbers_of_the_rows() -> None:
    assert round(resting_squared_norm(0.5, 0.1, 0.02), 7) == 0.7909650
    assert float(decay_clock(4.0, 0.15)) == pytest.approx((np.exp(1.2) - 1) / 0.3, rel=1e-15)
    system = ModeSystem(1.2, 0.6, tau_online=0.8, tau_predictor=1.5)
    end = iso_learned_predictor(4.0, system.state(0.3, -0.4), system)
    assert round(float(end.predictor[0]), 8) == 0.49947034
    found = expected_cosine([1, 2, 3, 8, 64], 0.6).round(5).tolist()
    assert found == [0.40967, 0.496, 0.5302, 0.57466, 0.59697]


def test_cosine_with_a_closed_predictor_ends_at_the_mean() -> None:
    from scipy.integrate import solve_ivp

    run = solve_ivp(
        lambda t, y: closed_predictor_speed(y, 0.25, "cosine"),
        (0, 400),
        [1, 0.6, 0.3, 0.15],
        rtol=1e-10,
        atol=1e-12,
    )
    np.testing.assert_allclose(run.y[:, -1], 0.5125, atol=1e-8)  # ten times the tolerance of the run


def test_twelve_modes_have_one_kappa() -> None:
    """Modes that survive rest at one κ p/r, and those of negative predictors at the root of −c."""
    rng = np.random.default_rng(0)
    r = rng.uniform(0.3, 0.95, 12)
    system = ModeSystem(np.ones(12), r)
    w, p = rng.uniform(0.3, 1.0, 12), rng.uniform(0.1, 0.8, 12)
    p[:3] = -np.array([0.9, 0.8, 0.7])
    w[:3] = [0.3, 0.2, 0.4]
    end = integrate(system.state(w, p, w), system, cosine_mode_field, 4000.0).final
    kappa = float(mode_scales(end, system).kappa[0])
    dead = np.abs(end.online) < 1e-5
    c = w**2 - p**2
    assert dead.tolist() == np.where(p > 0, c <= -((r / kappa) ** 2), c <= 0).tolist()
    assert dead[:3].all()
    assert 3 < dead.sum() < 12
    # e^{−16} is left, and 1e-8 of the run
    np.testing.assert_allclose(kappa * end.predictor[~dead] / r[~dead], 1.0, atol=1e-6)
    np.testing.assert_allclose(end.predictor[dead], np.sign(p[dead]) * np.sqrt(-c[dead]), atol=1e-6)
    np.testing.assert_allclose(
        [np.sum(end.online**2), np.sum(end.predictor**2)], [np.sum(w**2), np.sum(p**2)]
    )


def test_one_mode_alone_never_moves() -> None:
    system = ModeSystem(1.0, 0.5)
    moved = cosine_mode_field(0.0, system.state(0.7, -0.4, 0.7), system)
    np.testing.assert_allclose(np.ravel(moved), 0.0, atol=1e-15)


def test_the_field_is_that_of_samples_in_high_dimension() -> None:
    """R315 on Gaussian samples of 128 modes: relative error of a gradient of 4,000 samples below a tenth."""
    import jax

    rng = np.random.default_rng(1)
    n, B = 128, 4000
    r = np.linspace(0.2, 0.9, n)
    x1 = rng.standard_normal((B, n))
    x2 = r * x1 + np.sqrt(1 - r**2) * rng.standard_normal((B, n))
    w, p = rng.uniform(0.5, 1.5, n), rng.uniform(0.2, 1.0, n)
    system = ModeSystem(np.ones(n), r)
    moved = cosine_mode_field(0.0, system.state(w, p, w), system)

    def loss(p: Any) -> Any:
        z, aim = x1 * (p * w), x2 * w
        return -((z * aim).sum(1) / ((z**2).sum(1) * (aim**2).sum(1)) ** 0.5).mean()

    with jax.enable_x64(True):
        slope = -np.asarray(jax.grad(loss)(p))
    assert np.corrcoef(slope, moved.predictor)[0, 1] > 0.99
    assert np.linalg.norm(slope - moved.predictor) < 0.12 * np.linalg.norm(slope)


def test_expected_cosine_of_two_modes_is_that_of_angles() -> None:
    """n = 2: the angle between views has a density in closed form; its mean cosine by quadrature."""
    r = 0.6

    def density(x: float) -> float:  # of correlated complex Gaussians
        b = r * np.cos(x)
        root = np.sqrt(1 - b**2)
        return float((1 - r**2) / (2 * np.pi) * (root + b * (np.pi - np.arccos(b))) / root**3)

    total, _ = quad(density, -np.pi, np.pi)
    mean, _ = quad(lambda x: np.cos(x) * density(x), -np.pi, np.pi)
    assert total == pytest.approx(1.0, abs=1e-10)
    assert float(expected_cosine(2, r)) == pytest.approx(mean, abs=1e-10)


def test_clocks_at_the_ends_of_floats() -> None:
    assert decay_clock([0.0, 3.0], 1e-300).tolist() == [0.0, 3.0]
    assert np.isinf(decay_clock(1e6, 1.0))


def test_the_logistic_law_at_the_edge_is_algebraic() -> None:
    system = ModeSystem(1.0, 0.5)
    edge = 0.5 + 0.4**2 / 2
    end = iso_learned_predictor(10.0, system.state(0.4, edge), system)
    y = 0.08 / (1 + 0.08 * 2 * 10)  # dy/dt = −2y²
    np.testing.assert_allclose(end.online, np.sqrt(2 * y), rtol=1e-12)
    far = iso_learned_predictor(1e5, system.state(0.4, 3.0), system)
    assert far.online[0] == 0.0


def test_extreme_modes_under_iso() -> None:
    """A mode at zero stays, fast ones have arrived, slow ones have not moved."""
    system = ModeSystem([1.0, 1.0, 1e100, 1e-100], [0.5, 0.5, 0.5e100, 0.5e-100])
    end = iso_learned_predictor(1e6, system.state([0.0, 0.4, 0.4, 0.4], [3.0, 3.0, -1.0, 5.0]), system)
    np.testing.assert_allclose(end.predictor, [3.0, 3.0 - 0.08, 0.5, 5.0], rtol=1e-15, atol=1e-15)
    np.testing.assert_allclose(end.online, [0.0, 0.0, np.sqrt(2 * (0.08 + 1 + 0.5)), 0.4], rtol=1e-14)


def test_eigenvalues_at_rest_stay() -> None:
    np.testing.assert_allclose(iso_matrix(3.0, 0.8 * np.eye(2), 0.25), 0.8 * np.eye(2), atol=1e-15)
    assert iso_no_ema_mode_field.name == "iso-no-ema"


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: decay_clock(-1.0, 0.1), "`ts` must be finite and >= 0"),
        (lambda: decay_clock(1.0, -0.1), "`weight_decay` must be finite and >= 0, got -0.1"),
        (lambda: resting_squared_norm(-1.0, 0.1, 0.1), "`gradient` must be"),
        (lambda: resting_squared_norm(1.0, 0.0, 0.1), "`step` must be"),
        (lambda: resting_squared_norm(1.0, 0.1, 0.0), "`weight_decay` must be > 0"),
        (lambda: expected_cosine(0, 0.5), "`n` must be finite and >= 1"),
        (lambda: expected_cosine(3, 1.5), "`ratio` must lie within -1 and 1"),
        (lambda: euclidean_time(0.5, 0.2, 0.0), "`end` must satisfy"),
        (lambda: closed_predictor_speed([0.5], 0.0, "raft"), "`objective` must be iso"),
        (
            lambda: iso_learned_predictor(1.0, ModeSystem(-1.0, 0.5).state(), ModeSystem(-1.0, 0.5)),
            "`lambda_s` must be > 0",
        ),
        (
            lambda: iso_learned_predictor(
                1.0, ModeSystem(1.0, 0.5).state(), ModeSystem(1.0, 0.5, weight_decay=0.1)
            ),
            "`weight_decay` must be 0",
        ),
        (
            lambda: integrate(
                ModeSystem(1.0, 0.5).state(0.0, 0.1, 0.0), ModeSystem(1.0, 0.5), cosine_mode_field, 1.0
            ),
            "not all zero",
        ),
    ],
)
def test_refusals(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
