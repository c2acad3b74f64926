"""Batch normalisation: moments, gradients and flows against autodiff, closed forms and second methods."""

from __future__ import annotations

from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynamics.data.centring import centred_views, with_mean
from dynamics.data.moments import Moments, load_moments, save_moments
from dynamics.exact.detached_deviation import attached_solution, detached_end, detached_solution
from dynamics.fields.batch_normalised import batch_normalised_field, rayleigh_field
from dynamics.fields.matrices import fixed_target_field, full_field, no_ema_field, no_predictor_field
from dynamics.integration.integrate import integrate
from dynamics.invariants import balance_matrix, diagonal_balance, squared_row_norms
from dynamics.normalisation import (
    DEVIATIONS,
    MEANS,
    Normaliser,
    batch_moments,
    centred,
    centred_moments,
    checked_mean,
    finite_batch_factor,
    normalise,
    shared_statistics_moments,
)
from dynamics.states import EncoderState, MatrixState
from dynamics.system import MatrixSystem, ModeSystem
from dynamics.training.normalisation import batch_normalised

EPS = float(np.finfo(float).eps)
B, N1, N2 = 7, 4, 3
ALL = list(product(MEANS, DEVIATIONS))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def of(mean: str, std: str, epsilon: float = 0.0) -> Normaliser:
    return Normaliser(mean=mean, std=std, epsilon=epsilon if std != "none" else 0.0)


def views(rng: np.random.Generator, n: int = B, n1: int = N1) -> tuple[np.ndarray, np.ndarray]:
    shared = rng.standard_normal((n, n1)) + rng.uniform(1.0, 2.0, n1)
    x1, x2 = (shared + 0.5 * rng.standard_normal((n, n1)) for _ in range(2))
    return x1, x2


def gradients(
    W: np.ndarray, P: np.ndarray, t: np.ndarray, x1: np.ndarray, normaliser: Normaliser, *, after: bool
) -> tuple[np.ndarray, np.ndarray]:
    """∇_W and ∇_P of ½ E_B‖q − t‖² by autodiff through the normaliser."""

    def loss(W: Any, P: Any) -> Any:
        if after:
            q = batch_normalised(x1 @ W.T @ P.T, normaliser)
        else:
            q = batch_normalised(x1 @ W.T, normaliser) @ P.T
        return 0.5 * jnp.mean(jnp.sum((q - t) ** 2, -1))

    with jax.enable_x64(True):
        found = jax.grad(loss, (0, 1))(jnp.asarray(W), jnp.asarray(P))
        return np.asarray(found[0]), np.asarray(found[1])


# --- moments of batches -------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True], ids=["before P", "after P"])
@pytest.mark.parametrize("target_centred", [False, True], ids=["raw target", "centred target"])
@pytest.mark.parametrize("mean", MEANS)
def test_gradients_of_a_batch_are_those_of_its_moments(
    rng: np.random.Generator, mean: str, target_centred: bool, after: bool
) -> None:
    x1, x2 = views(rng)
    W, Th, P = rng.standard_normal((N2, N1)), rng.standard_normal((N2, N1)), rng.standard_normal((N2, N2))
    t = x2 @ Th.T
    t = t - t.mean(0) if target_centred else t
    g_W, g_P = gradients(W, P, t, x1, of(mean, "none"), after=after)
    found = batch_moments(x1, x2, of(mean, "none"), target_centred=target_centred, after_predictor=after)
    (s, d), (s_p, d_p) = found
    assert np.max(np.abs(g_W - P.T @ (P @ W @ s - Th @ d))) < 1e-12 * np.max(np.abs(g_W))
    assert np.max(np.abs(g_P - (P @ W @ s_p - Th @ d_p) @ W.T)) < 1e-12 * np.max(np.abs(g_P))


def test_predictors_follow_another_row_in_the_three_combinations_of_the_theory() -> None:
    x1, x2 = views(np.random.default_rng(0))
    apart = set()
    for mean, target in product(MEANS, (False, True)):
        encoder, predictor = batch_moments(x1, x2, of(mean, "none"), target_centred=target)
        if any(np.any(a != b) for a, b in zip(encoder, predictor, strict=True)):
            apart.add((mean, target))
        both = batch_moments(x1, x2, of(mean, "none"), target_centred=target, after_predictor=True)
        assert all(np.all(a == b) for a, b in zip(*both, strict=True))
    assert apart == {("forward", False), ("backward", False), ("backward", True)}


@pytest.mark.parametrize(("mean", "std"), ALL)
def test_pullbacks_are_those_of_autodiff(rng: np.random.Generator, mean: str, std: str) -> None:
    z, g = rng.standard_normal((B, N2)) + 1.0, rng.standard_normal((B, N2))
    normaliser = of(mean, std, 0.3)
    y, pullback = normalise(z, normaliser)
    with jax.enable_x64(True):
        y_jax, vjp = jax.vjp(lambda z: batch_normalised(z, normaliser), jnp.asarray(z))
        assert np.max(np.abs(y - y_jax)) < 1e-14
        assert np.max(np.abs(pullback(g) - vjp(jnp.asarray(g))[0])) < 1e-14


@pytest.mark.parametrize(("mean", "std"), ALL)
@pytest.mark.parametrize("target_centred", [False, True], ids=["raw target", "centred target"])
@pytest.mark.parametrize("epsilon", [0.0, 0.2])
def test_fields_are_minus_the_gradient_on_a_population(
    rng: np.random.Generator, mean: str, std: str, target_centred: bool, epsilon: float
) -> None:
    x1, x2 = views(rng)
    x1, x2 = np.concatenate([x1, x2]), np.concatenate([x2, x1])  # exchangeable, as a population is
    n = len(x1)
    mu, system = x1.mean(0), MatrixSystem(x1.T @ x1 / n, (x2.T @ x1 + x1.T @ x2) / (2 * n))
    W, Th, P = rng.standard_normal((N2, N1)), rng.standard_normal((N2, N1)), rng.standard_normal((N2, N2))
    normaliser = of(mean, std, epsilon)
    t = normalise(x2 @ Th.T, of("full" if target_centred else "none", std, epsilon))[0]
    g_W, g_P = gradients(W, P, t, x1, normaliser, after=False)
    field = batch_normalised_field(normaliser, mu, target_centred=target_centred)
    moved = field(0.0, system.state(W, P, Th), system)
    assert np.max(np.abs(moved.online + g_W)) < 1e-12 * np.max(np.abs(g_W))
    assert np.max(np.abs(moved.predictor + g_P)) < 1e-12 * np.max(np.abs(g_P))


def test_a_flow_with_a_subtracted_mean_is_that_of_centred_moments(rng: np.random.Generator) -> None:
    A = rng.standard_normal((N1, N1))
    S, mu = A @ A.T, rng.standard_normal(N1)
    raw = MatrixSystem(S + np.outer(mu, mu), 0.5 * S + np.outer(mu, mu), tau_online=0.7, weight_decay=0.1)
    state = raw.state(rng.standard_normal((N2, N1)), rng.standard_normal((N2, N2)))
    one = batch_normalised_field(Normaliser(mean="full"), mu)(0.0, state, raw)
    other = full_field(0.0, state, centred_moments(raw, mu))
    for a, b in zip(one, other, strict=True):
        assert np.max(np.abs(a - b)) <= 1e-13 * np.max(np.abs(b))


def test_finite_batches_lose_one_part_in_b_of_the_covariance(rng: np.random.Generator) -> None:
    x = rng.standard_normal((40000, 4, 2))  # batches of 4
    found = np.mean([batch_moments(b, b, Normaliser(mean="full")).encoder[0][0, 0] for b in x[:20000]])
    # the variance of a variance of 4 numbers is 2·3/16 = .375
    assert abs(found - finite_batch_factor(4)) < 5 * np.sqrt(0.375 / 20000)


def test_shared_statistics_are_exact_averages(rng: np.random.Generator) -> None:
    # by brute force over signs: x1 = a + b, x2 = a − b with a, b = ± their sizes, N = 2
    a, b, n = 1.5, 0.5, 2
    system = MatrixSystem([a**2 + b**2], [a**2 - b**2])
    total = np.zeros(2)
    for signs in product((-1, 1), repeat=2 * n):
        shared, own = np.array(signs[:n]) * a, np.array(signs[n:]) * b
        x1, x2 = shared + own, shared - own
        m = np.mean([x1, x2])
        total += [np.mean((x1 - m) ** 2), np.mean((x1 - m) * (x2 - m))]
    found = shared_statistics_moments(system, n)
    assert np.allclose(total / 4**n, [found.sigma_s[0], found.sigma_d[0]], rtol=1e-14)
    assert found.sigma_d / found.sigma_s < system.sigma_d / system.sigma_s


def test_shared_statistics_of_the_report() -> None:
    found = shared_statistics_moments(MatrixSystem([1.22], [0.86]), 4)
    assert abs(found.sigma_s[0] - (1.22 - 2.08 / 8)) < 1e-15


# --- flows --------------------------------------------------------------------------------------------------


def random_system(rng: np.random.Generator, n1: int = N1) -> tuple[MatrixSystem, np.ndarray]:
    A, mu = rng.standard_normal((n1, n1)), rng.standard_normal(n1)
    S = A @ A.T / n1 + 0.3 * np.eye(n1)
    L = np.linalg.cholesky(S)
    Q = np.linalg.qr(rng.standard_normal((n1, n1)))[0]
    D = L @ (Q * rng.uniform(0.1, 0.9, n1)) @ Q.T @ L.T
    outer = np.outer(mu, mu)
    D = (D + D.T) / 2
    return MatrixSystem(S + outer, D + outer), mu


def test_row_norms_are_conserved_with_the_deviation_in_the_graph(rng: np.random.Generator) -> None:
    system, mu = random_system(rng)
    start = system.state(rng.standard_normal((N2, N1)), rng.standard_normal((N2, N2)))
    for mean in ("none", "full"):
        run = integrate(start, system, batch_normalised_field(of(mean, "full"), mu), 5.0, rtol=1e-10)
        norms = squared_row_norms(run.states)
        assert np.max(np.abs(norms - norms[0])) < 1e-8
        moved = balance_matrix(run.states, system)
        assert np.max(np.abs(moved - moved[0])) > 0.1  # R2 is gone


def test_row_norms_are_not_conserved_where_gradients_do_not_see_the_mean(rng: np.random.Generator) -> None:
    system, mu = random_system(rng)
    start = system.state(rng.standard_normal((N2, N1)), rng.standard_normal((N2, N2)))
    moved = {}
    for mean, target in product(MEANS, (False, True)):
        field = batch_normalised_field(of(mean, "full"), mu, target_centred=target)
        moved[mean, target] = float(np.max(np.abs((field(0.0, start, system).online * start.online).sum(1))))
    kept = {key for key, value in moved.items() if value < 1e-12}
    assert kept == {("none", False), ("none", True), ("full", False), ("full", True), ("forward", True)}


def test_weight_decay_shrinks_row_norms_and_the_diagonal_balance_alike(rng: np.random.Generator) -> None:
    system, mu = random_system(rng)
    decayed = MatrixSystem(system.sigma_s, system.sigma_d, weight_decay=0.1)
    start = decayed.state(rng.standard_normal((N2, N1)), 0.3 * rng.standard_normal((N2, N2)))
    for std, law in (("full", squared_row_norms), ("detached", lambda s: diagonal_balance(s, decayed))):
        run = integrate(start, decayed, batch_normalised_field(of("full", std), mu), 2.0, rtol=1e-10)
        kept = law(run.states)
        assert np.max(np.abs(kept - np.exp(-0.2 * run.ts)[:, None] * kept[0])) < 1e-7


def test_a_detached_deviation_conserves_the_diagonal_balance_only(rng: np.random.Generator) -> None:
    system, mu = random_system(rng)
    start = system.state(rng.standard_normal((N2, N1)), 0.3 * rng.standard_normal((N2, N2)))
    run = integrate(start, system, batch_normalised_field(of("none", "detached"), mu), 5.0, rtol=1e-10)
    kept = diagonal_balance(run.states, system)
    assert np.max(np.abs(kept - kept[0])) < 1e-8
    norms = squared_row_norms(run.states)
    assert np.max(np.abs(norms - norms[0])) > 0.1
    matrices = balance_matrix(run.states, system)
    assert np.max(np.abs(matrices - matrices[0])) > 0.1


def test_rayleigh_flow_is_half_the_gradient_and_the_field_without_predictor_and_average(
    rng: np.random.Generator,
) -> None:
    system, mu = random_system(rng)
    middle = centred_moments(system, mu)
    W = rng.standard_normal((N2, N1))
    found = rayleigh_field(0.0, EncoderState(W), middle).online

    def quotient(W: Any) -> Any:
        return jnp.sum(jnp.sum(W @ middle.sigma_d * W, 1) / jnp.sum(W @ middle.sigma_s * W, 1))

    with jax.enable_x64(True):
        assert np.max(np.abs(found - np.asarray(jax.grad(quotient)(jnp.asarray(W))) / 2)) < 1e-13
    for mean in ("none", "full"):  # with or without subtraction of the mean
        field = batch_normalised_field(of(mean, "full"), mu, base=no_predictor_field)
        moved = field(0.0, system.state(W, np.zeros((N2, N2)), W), system)
        assert np.max(np.abs(moved.online - found)) < 1e-13


def test_rayleigh_flow_makes_all_rows_one_at_the_rate_of_the_report() -> None:
    S, D = np.array([1.3, 0.8, 1.1]), np.array([1.04, 0.56, 0.44])
    system = MatrixSystem(S, D)
    r = D / S
    W = np.array([[1.0, 0.6, -0.3], [0.5, -0.9, 0.4]])
    run = integrate(
        EncoderState(W), system, rayleigh_field, ts=np.linspace(0.0, 400.0, 5), rtol=1e-11, atol=1e-13
    )
    end = run.final.online
    norms = (W**2).sum(1)
    assert np.allclose((end**2).sum(1), norms, rtol=1e-9)
    cosine = np.abs(end[:, int(np.argmax(r))]) / np.sqrt(norms)
    assert np.all(cosine > 0.9999)
    # the slowest direction, w_j beside the top one, at (r_1 − r_j) λs_j/(λs_1 ‖w‖²)
    a, b = (np.log(np.abs(run.states.online[k, 0, 1])) for k in (3, 4))
    assert abs((b - a) / 100 + (r[0] - r[1]) * S[1] / (S[0] * norms[0])) < 1e-6


def test_bases_that_are_not_known_and_deviations_behind_the_predictor_are_refused() -> None:
    with pytest.raises(
        ValueError, match="`base` must be one of full, no-predictor, no-ema, got fixed-target"
    ):
        batch_normalised_field(Normaliser(), base=fixed_target_field)
    with pytest.raises(ValueError, match="`std` must be none for a normaliser after the predictor"):
        batch_normalised_field(Normaliser(std="full"), after_predictor=True)


def test_no_ema_keeps_the_target_at_the_encoder(rng: np.random.Generator) -> None:
    system, mu = random_system(rng)
    field = batch_normalised_field(of("full", "full"), mu, base=no_ema_field)
    start = system.state(rng.standard_normal((N2, N1)), np.zeros((N2, N2)), rng.standard_normal((N2, N1)))
    run = integrate(start, system, field, 1.0)
    assert np.all(run.states.target == run.states.online)


@pytest.mark.parametrize("part", ["online", "target"])
def test_a_row_of_zeros_is_refused(part: str) -> None:
    system = MatrixSystem([1.0, 1.0], [0.5, 0.2])
    good, bad = np.eye(2), np.array([[1.0, 0.0], [0.0, 0.0]])
    start = MatrixState(bad if part == "online" else good, np.eye(2), bad if part == "target" else good)
    field = batch_normalised_field(Normaliser(std="full"))
    with pytest.raises(ValueError, match=f"`{part}` must have no row of zeros.* in row 2"):
        integrate(start, system, field, 1.0)
    floored = batch_normalised_field(Normaliser(std="full", epsilon=1e-5))
    assert integrate(start, system, floored, 1.0).status.value == "end-time"


# --- one mode with a detached deviation ---------------------------------------------------------------------


def test_deaths_and_ends_of_the_report() -> None:
    system = ModeSystem([1.0] * 3, [0.5] * 3)
    start = system.state([0.1, 0.1, 0.3], [0.6, -0.3, 0.1], 0.1)
    time, end = detached_end(start, system)
    assert np.allclose(time[:2], [0.08765, 0.02168], atol=5e-6)
    assert time[2] == np.inf
    assert abs(end[2] - 0.574456) < 5e-7
    assert np.all(end[:2] == 0)


@pytest.mark.parametrize("std", ["full", "detached"])
def test_closed_forms_of_one_mode_are_where_the_flow_goes(std: str, rng: np.random.Generator) -> None:
    for _ in range(10):
        rates = {name: float(rng.uniform(0.5, 2)) for name in ("tau_online", "tau_predictor", "tau_target")}
        s, r = rng.uniform(0.5, 2), rng.uniform(0.1, 0.9)
        w, p = rng.choice([-1, 1]) * rng.uniform(0.1, 0.6), rng.uniform(-0.8, 0.8)
        modes, one = ModeSystem([s], [r * s], **rates), MatrixSystem([s], [r * s], **rates)
        start = modes.state(w, p, 0.3 * w)
        field = batch_normalised_field(Normaliser(std=std))
        time = detached_end(start, modes).time[0]
        ts = np.linspace(0.0, min(0.9 * time, 3.0), 7) if std == "detached" else np.linspace(0.0, 3.0, 7)
        run = integrate(one.state([[w]], [[p]], [[0.3 * w]]), one, field, ts=ts, rtol=1e-11, atol=1e-13)
        solution = detached_solution if std == "detached" else attached_solution
        exact = solution(ts, start, modes)
        assert np.max(np.abs(run.states.online[:, 0] - exact.online)) < 1e-8
        assert np.max(np.abs(run.states.predictor[:, 0] - exact.predictor)) < 1e-8
        if std == "full":
            assert np.max(np.abs(run.states.target[:, 0] - exact.target)) < 1e-8


def test_closed_forms_hold_next_to_the_boundary_between_fates() -> None:
    # c = −τp r² (1 ± 1e-12): death is logarithmically late, life leaves a small encoder
    system, r, p0 = ModeSystem([1.0], [0.5]), 0.5, 0.6
    for side in (-1, 1):
        w = np.sqrt(p0**2 - r**2 * (1 - side * 1e-9))
        time, end = detached_end(system.state(w, p0, w), system)
        if side < 0:
            assert abs(time[0] - np.log(0.1 / (r * 0.5e-9))) < 1e-6
            assert end[0] == 0
        else:
            assert time[0] == np.inf
            assert abs(end[0] - r * np.sqrt(1e-9)) < 1e-11


def test_fates_are_those_without_normalisation(rng: np.random.Generator) -> None:
    from analysis.fates.predictions import predict_fates

    w, p = rng.uniform(0.05, 0.8, 200), rng.uniform(-0.8, 0.8, 200)
    system = ModeSystem(np.ones(200), rng.uniform(0.1, 0.9, 200), tau_online=0.7, tau_predictor=1.3)
    start = system.state(w, p, w)
    said = predict_fates(start, system, "full", decide_sign=True)
    assert np.all((detached_end(start, system).online == 0) == (said.fate == "collapsed"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"w": 0.0}, "`online` must not be zero"),
        ({"theta": -0.1}, "`target` must have the sign of `online` 0.1 for this closed form, got -0.1"),
        ({"weight_decay": 0.1}, "`weight_decay`"),
        ({"lambda_s": -1.0}, "`lambda_s` must be > 0 for a deviation, got -1.0"),
    ],
)
def test_closed_forms_refuse_what_they_do_not_hold_for(change: dict[str, float], message: str) -> None:
    system = ModeSystem([change.get("lambda_s", 1.0)], [0.5], weight_decay=change.get("weight_decay", 0.0))
    with pytest.raises(ValueError, match=message):
        detached_end(system.state(change.get("w", 0.1), 0.1, change.get("theta", 0.1)), system)


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean": "half"}, "`mean` must be one of none, forward, full, backward, got 'half'"),
        ({"std": "half"}, "`std` must be one of none, full, detached, got 'half'"),
        ({"std": "full", "epsilon": -1.0}, "`epsilon` must be finite and >= 0, got -1.0"),
        ({"std": "full", "epsilon": np.nan}, "`epsilon` must be finite and >= 0, got nan"),
        ({"epsilon": 0.1}, "`epsilon` must be 0 where `std` is none, got 0.1"),
    ],
)
def test_normalisers_refuse(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Normaliser(**options)


def test_a_batch_of_one_is_refused() -> None:
    one = np.ones((1, 2))
    with pytest.raises(
        ValueError, match="`x1` must hold at least two samples for statistics of the batch, got 1"
    ):
        batch_moments(one, one, Normaliser(mean="full"))
    with pytest.raises(ValueError, match="`z` must hold at least two samples"):
        normalise(one, Normaliser(mean="full"))
    with pytest.raises(ValueError, match="`batch_size` must be an integer >= 2, got 1"):
        finite_batch_factor(1)
    with pytest.raises(ValueError, match="`n_samples` must be an integer >= 1, got 0"):
        shared_statistics_moments(MatrixSystem([1.0], [0.5]), 0)


def test_moments_of_a_batch_refuse_deviations_and_shapes() -> None:
    x = np.ones((3, 2))
    with pytest.raises(ValueError, match="`std` must be none for moments of a batch, got full"):
        batch_moments(x, x, Normaliser(std="full"))
    with pytest.raises(ValueError, match=r"`x1` and `x2` must have one shape \(B, n1\)"):
        batch_moments(x, x[:2], Normaliser())
    with pytest.raises(ValueError, match=r"`z` must have shape \(B, n\), got \(3,\)"):
        normalise(np.ones(3), Normaliser())


def test_means_that_no_views_have_are_refused() -> None:
    with pytest.raises(ValueError, match="`mean` must leave Σd − μμᵀ positive semidefinite"):
        centred_moments(MatrixSystem([1.0], [0.5]), [1.0])
    with pytest.raises(ValueError, match="`mean` must hold 1 finite numbers, got 2"):
        centred_moments(MatrixSystem([1.0], [0.5]), [1.0, 0.0])
    with pytest.raises(ValueError, match="`mean` must be finite, got nan"):
        checked_mean([np.nan], 1)
    with pytest.raises(ValueError, match="`mean` must leave Σd − μμᵀ positive semidefinite"):
        with_mean(Moments.from_eigenvalues(1.0, 0.5), [1.0])
    with pytest.raises(ValueError, match="`mean` must be given once for each of 1 modes, got 2"):
        with_mean(Moments.from_eigenvalues(1.0, 0.5), [1.0, 0.0])
    with pytest.raises(ValueError, match="`mean` of the views must be known"):
        centred_views(Moments.from_eigenvalues(1.0, 0.5))


# --- moments with a mean ------------------------------------------------------------------------------------


def test_centred_moments_of_views_are_those_of_centred_views(rng: np.random.Generator) -> None:
    x1, x2 = views(rng, 2000)
    raw = Moments.from_views(x1, x2)
    m = (x1.mean(0) + x2.mean(0)) / 2
    assert raw.mean is not None
    assert np.allclose(raw.mean, m, rtol=1e-14)
    found, other = centred_views(raw), Moments.from_views(x1 - m, x2 - m)
    assert np.allclose(found.sigma_s, other.sigma_s, atol=1e-13)
    assert np.allclose(found.sigma_d, other.sigma_d, atol=1e-13)
    assert found.mean is not None
    assert not found.mean.any()


def test_a_direction_of_the_mean_alone_is_dropped() -> None:
    found = centred_views(with_mean(Moments.from_eigenvalues([1.0, 1.0], [1.0, 0.3]), [1.0, 0.0]))
    assert found.n1 == 1
    assert found.ratios.tolist() == [0.3]
    assert found.support is not None


def test_files_hold_the_mean_and_a_support_carries_it(tmp_path: Any) -> None:
    moments = Moments(np.diag([2.0, 1.0, 0.0]), np.diag([1.5, 0.8, 0.0]), mean=np.array([1.0, 0.5, 0.0]))
    assert moments.mean is not None
    assert moments.support is not None
    assert np.allclose(moments.support @ moments.mean, [1.0, 0.5, 0.0])
    save_moments(tmp_path / "m.npz", moments)
    back = load_moments(tmp_path / "m.npz")
    assert back.mean is not None
    assert np.all(back.mean == moments.mean)


def test_a_diagonal_stays_one_where_one_mode_has_a_mean() -> None:
    assert centred([1.0, 2.0], [0.5, 0.0]).tolist() == [0.75, 2.0]
    assert centred([1.0, 2.0], [0.5, 1.0]).tolist() == [[0.75, -0.5], [-0.5, 1.0]]
