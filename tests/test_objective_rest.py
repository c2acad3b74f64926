"""Points of rest under losses of output moments and of directions, against Hessians by autodiff, and against runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp

from analysis.contrastive.encoder_rest import encoder_rest
from analysis.objectives.directional_points import cosine_rest, iso_rest
from analysis.objectives.moment_points import MomentPoint, moment_points
from analysis.objectives.moment_rest import moment_rest
from analysis.results.contrastive.linear import random_encoder_system
from analysis.runs.directional import FIELDS, simulate_directional
from analysis.runs.redundancy import simulate_redundancy
from analysis.stability.directional import directional_stability
from analysis.stability.output_moments import moment_stability
from dynamics.exact.hinge import hinge_size
from dynamics.exact.redundancy import (
    barlow_twins_mode,
    eigenmodes_are_minimum,
    oja_subspace,
    spectral_gram,
    spectral_mode,
)
from dynamics.exact.vicreg import vicreg_row
from dynamics.fields.infonce import SaturatingLoss
from dynamics.fields.redundancy import (
    BarlowTwins,
    RedundancyLoss,
    SpectralContrastive,
    Vicreg,
    Whitened,
    redundancy_field,
    whitened_encoder,
)
from dynamics.states import EncoderState, ModeState
from dynamics.system import MatrixSystem, ModeSystem

# --- losses written anew, for JAX ---------------------------------------------------------------------------


def barlow(W: Any, s: Any, d: Any, p: Any, held: Any) -> Any:
    C = W @ d @ W.T
    on = jnp.diagonal(C)
    return jnp.sum((on - 1) ** 2) + p[0] * (jnp.sum(C**2) - jnp.sum(on**2)) + p[3] * jnp.sum(W**2) / 2


def normalised(W: Any, s: Any, d: Any, p: Any, held: Any) -> Any:
    unit = W / jnp.sqrt(jnp.einsum("ij,jk,ik->i", W, s, W))[:, None]
    return barlow(unit, s, d, p.at[3].set(0), held)


def spectral(W: Any, s: Any, d: Any, p: Any, held: Any) -> Any:
    return -2 * jnp.trace(W @ d @ W.T) + jnp.sum((W @ s @ W.T) ** 2) + p[3] * jnp.sum(W**2) / 2


def whitened(W: Any, s: Any, d: Any, p: Any, held: Any) -> Any:
    return -jnp.trace(jnp.linalg.solve(W @ s @ W.T, W @ d @ W.T)) / 2


def vicreg(W: Any, s: Any, d: Any, p: Any, held: Any) -> Any:
    std = jnp.sqrt(jnp.einsum("ij,jk,ik->i", W, s, W))
    W = W / jnp.where(held, std, 1.0)[:, None]  # held rows stay on std = 1
    K = W @ s @ W.T
    short = jnp.sum(jnp.where(held, 0.0, jnp.maximum(1 - std, 0.0)))
    off = jnp.sum(K**2) - jnp.sum(jnp.diagonal(K) ** 2)
    drawn = 2 * p[0] * jnp.trace(K - W @ d @ W.T)
    return drawn + p[1] * short + p[2] * off + p[3] * jnp.sum(W**2) / 2


@cache
def derivatives(value: Callable[..., Any]) -> tuple[Any, Any]:
    return jax.jit(jax.grad(value)), jax.jit(jax.hessian(value))


class Case(NamedTuple):
    """A system, a loss, its value by JAX, and the weights that the value takes."""

    system: MatrixSystem
    loss: RedundancyLoss
    value: Callable[..., Any]
    numbers: tuple[float, float, float]


def draw(rng: np.random.Generator, kind: str, n1: int, n2: int) -> Case:
    decay = 0.0 if kind in ("R326", "R329") else float(rng.choice([0.0, 0.1, 0.6]))
    system = replace(random_encoder_system(rng, n1), weight_decay=decay)
    if kind == "R325":
        weight = float(rng.choice([0.005, 0.3, 1.0, 2.0] + [0.0] * (not decay)))
        return Case(system, BarlowTwins(weight), barlow, (weight, 0.0, 0.0))
    if kind == "R326":
        weight = float(np.exp(rng.uniform(-4, 6)))
        return Case(system, BarlowTwins(weight, True), normalised, (weight, 0.0, 0.0))
    if kind == "R327":
        weights = (
            float(rng.uniform(0.2, 2)),
            float(rng.uniform(0.1, 8)),
            float(rng.choice([0, 0.05, 0.3, 1.0])),
        )
        return Case(system, Vicreg(*weights), vicreg, weights)
    if kind == "R328":
        return Case(system, SpectralContrastive(), spectral, (0.0, 0.0, 0.0))
    return Case(system, Whitened(), whitened, (0.0, 0.0, 0.0))


MARGIN = 1e-7
"""Of the largest curvature: less is zero, of which rounding of autodiff is a hundredth."""


class Count(NamedTuple):
    """What a comparison found."""

    points: int = 0
    mismatches: int = 0
    on_edge: int = 0


def compare(
    rng: np.random.Generator,
    kind: str,
    n1: int,
    n2: int,
    points_of: Callable[..., list[MomentPoint]] = moment_points,
    minimum: Callable[..., bool] = eigenmodes_are_minimum,
) -> Count:
    """Every listed point of a random case: gradient zero, and stable by closed form iff the Hessian says so."""
    case = draw(rng, kind, n1, n2)
    system, loss = case.system, case.loss
    dense = [np.diag(x) if x.ndim == 1 else x for x in (system.sigma_s, system.sigma_d)]
    numbers = jnp.array([*case.numbers, system.weight_decay])
    gradient, hessian = derivatives(case.value)
    points = mismatches = on_edge = 0
    for point in points_of(system, n2, loss):
        if not point.differentiable:
            on_edge += 1
            continue
        points += 1
        W = point.online
        std = np.sqrt(np.einsum("ij,jk,ik->i", W, dense[0], W))
        held = (np.abs(std - 1) < 1e-9) & isinstance(loss, Vicreg)
        arguments = (W, *dense, numbers, held)
        H = np.asarray(hessian(*arguments)).reshape(W.size, W.size)
        values = np.linalg.eigvalsh(-H)
        scale = float(np.max(np.abs(values), initial=1e-6))  # of order one, unless the loss is constant
        positive, negative = int(np.sum(values > MARGIN * scale)), int(np.sum(values < -MARGIN * scale))
        pushed = float(np.max(np.abs(gradient(*arguments)))) > 1e-9 * max(
            scale * float(np.max(np.abs(W))), 1.0
        )
        if pushed:
            mismatches += 1
            continue
        found = moment_stability(EncoderState(W), system, loss)
        n_zero = W.size - positive - negative
        written = (
            n2**2 - n2 * (n2 - 1) // 2 if kind == "R329" else int(np.sum(held))
        )  # zeros of this way of writing
        forced = found.n_zero_forced + written
        if n_zero > forced and point.stability != "degenerate":
            on_edge += 1
            continue
        said = found.verdict if point.stability is None else point.stability
        agrees = (said == "stable") == (positive == 0 and n_zero == forced)
        agrees &= (found.counts["n_positive"], found.counts["n_negative"]) == (positive, negative)
        agrees &= said == found.verdict
        if kind == "R326" and len(set(point.modes)) == n2:
            ratios = np.array([W[k] @ dense[1] @ W[k] for k in range(n2)])
            whole = np.linalg.eigvals(np.linalg.solve(dense[0], dense[1])).real
            others = np.delete(np.sort(whole), [np.argmin(np.abs(np.sort(whole) - r)) for r in ratios])
            least = minimum(ratios, loss.off_diagonal, float(np.max(others, initial=0.0)))
            agrees &= least == (positive == 0)
        mismatches += not agrees
    return Count(points, mismatches, on_edge)


KINDS = ("R325", "R326", "R327", "R328", "R329")


def run(kind: str, n: int, shapes: tuple[tuple[int, int], ...], seed: int = 0, **options: Any) -> Count:
    total = np.zeros(3, dtype=int)
    for k in range(n):
        total += compare(np.random.default_rng([seed, k]), kind, *shapes[k % len(shapes)], **options)
    return Count(*total.tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_stability_conditions_are_those_of_dense_hessians(kind: str) -> None:
    found = run(kind, 50, ((3, 2),))
    assert found.mismatches == 0, found
    assert found.points >= 100
    assert found.on_edge <= found.points / 50


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_stability_conditions_of_a_thousand_cases(kind: str) -> None:
    found = run(kind, 1000, ((3, 2), (2, 1), (4, 3), (3, 3)), seed=1)
    assert found.mismatches == 0, found
    assert found.on_edge <= found.points / 50


def other_loss(**changes: Any) -> Callable[..., list[MomentPoint]]:
    return lambda system, n2, loss: moment_points(system, n2, replace(loss, **changes))


def other_word(system: MatrixSystem, n2: int, loss: RedundancyLoss) -> list[MomentPoint]:
    """The first point of the list in place of the stable one."""
    points = moment_points(system, n2, loss)
    return [replace(point, stability="stable" if k == 0 else "saddle") for k, point in enumerate(points)]


def in_order_of_pairs(system: MatrixSystem, n2: int, loss: RedundancyLoss) -> list[MomentPoint]:
    """Σd decides instead of M."""
    points = moment_points(system, n2, loss)
    pairs = [float(np.trace(p.online @ system.sigma_d @ p.online.T)) if p.modes else 0.0 for p in points]
    return [
        replace(point, stability="stable" if k == np.argmin(pairs) else "saddle")
        for k, point in enumerate(points)
    ]


def equal_shares(system: MatrixSystem, n2: int, loss: RedundancyLoss) -> list[MomentPoint]:
    """Water-filling with one size for all modes."""
    points = []
    for point in moment_points(system, n2, loss):
        filled = point.online * 1.0
        if "water" in point.name and len(point.modes) > 1:
            left, size, right = np.linalg.svd(
                filled @ np.linalg.cholesky(system.sigma_s), full_matrices=False
            )
            size[: len(point.modes)] = np.sqrt(n2 / len(point.modes))
            filled = (left * size) @ right @ np.linalg.inv(np.linalg.cholesky(system.sigma_s))
        points.append(replace(point, online=filled))
    return points


MUTANTS = [
    ("R325", "λ left out of the condition", other_loss(off_diagonal=1.0)),
    ("R325", "the first point is the stable one", other_word),
    (
        "R327",
        "ν twice as large",
        lambda s, n2, loss: moment_points(s, n2, replace(loss, covariance=2 * loss.covariance)),
    ),
    ("R327", "equal g", equal_shares),
    ("R328", "Σd decides", in_order_of_pairs),
    ("R328", "no weight decay", lambda s, n2, loss: moment_points(replace(s, weight_decay=0.0), n2, loss)),
    ("R329", "Σd decides", in_order_of_pairs),
]


@pytest.mark.parametrize(("kind", "name", "points_of"), MUTANTS, ids=[f"{m[0]}-{m[1]}" for m in MUTANTS])
def test_mutants_are_found(kind: str, name: str, points_of: Any) -> None:
    assert run(kind, 20, ((3, 2),), points_of=points_of).mismatches > 0


def with_row_1_fixed(ratios: np.ndarray, weight: float, unlearned: float) -> bool:
    r1, r2 = np.sort(ratios)[::-1]
    return bool(weight > (1 - r2) * (r1 - r2) / r1**2 and r2 > unlearned)


def test_a_mutant_of_the_eigenmode_condition_is_found() -> None:
    assert run("R326", 20, ((3, 2),), minimum=with_row_1_fixed).mismatches > 0


# --- the boundaries -----------------------------------------------------------------------------------------


def verdicts(system: MatrixSystem, n2: int, loss: RedundancyLoss) -> dict[str, tuple[str, str]]:
    """By closed form and by the dense spectrum."""
    found = {}
    for point in moment_points(system, n2, loss):
        dense = moment_stability(EncoderState(point.online), system, loss).verdict
        found[point.name] = (str(point.stability or dense), dense)
    return found


@pytest.mark.parametrize(("side", "word"), [(-1e-3, "saddle"), (0.0, "degenerate"), (1e-3, "stable")])
def test_the_edge_of_normalised_barlow_twins(side: float, word: str) -> None:
    r1, r2 = 0.6, 0.3
    edge = (1 - r1) * (1 - r2) * (r1 - r2) / (r1**2 * (1 - r1) - r2**2 * (1 - r2))
    system = MatrixSystem(np.ones(2), np.array([r1, r2]))
    assert verdicts(system, 2, BarlowTwins(edge * (1 + side), True))["modes 1, 2"][1] == word


@pytest.mark.parametrize(("side", "word"), [(-1e-3, "saddle"), (0.0, "degenerate"), (1e-3, "stable")])
def test_the_edge_of_vicreg_with_a_weak_hinge(side: float, word: str) -> None:
    ratios, mu = np.array([0.8, 0.5]), 0.6
    std = mu / (4 * (1 - ratios))
    edge = (ratios[0] - ratios[1]) / (std[0] ** 2 - std[1] ** 2)
    found = verdicts(MatrixSystem(np.ones(2), ratios), 2, Vicreg(1.0, mu, edge * (1 + side)))
    assert found["modes 1, 2"] == (word, word)


@pytest.mark.parametrize(
    ("weight", "own", "shared"), [(0.9, "saddle", "stable"), (1.0, "stable", None), (1.1, "stable", "saddle")]
)
def test_one_mode_of_two_rows_is_shared_below_equal_weights(
    weight: float, own: str, shared: str | None
) -> None:
    found = verdicts(MatrixSystem([1.0], [0.5]), 2, BarlowTwins(weight))
    assert found["mode 1"] == (own, own)
    assert found.get("mode 1, shared evenly") == (None if shared is None else (shared, shared))


@pytest.mark.parametrize("weight", [0.5, 1.0, 2.0])
def test_weight_decay_shares_modes_below_equal_weights(weight: float) -> None:
    # rows of their own mix as (λ − 1)(1/λd_i − 1/λd_j)² says
    system = MatrixSystem([1.0, 1.0], [0.9, 0.5], weight_decay=0.4)
    found = verdicts(system, 2, BarlowTwins(weight))
    own = "saddle" if weight < 1 else "stable"
    assert found["modes 1, 2"] == (own, own)
    if weight != 1:
        other = "saddle" if weight > 1 else "stable"
        assert found["modes 1, 2, shared evenly"] == (other, other)


@pytest.mark.parametrize("loss", [BarlowTwins(0.3), SpectralContrastive()])
def test_the_weight_decay_at_which_the_origin_turns(loss: RedundancyLoss) -> None:
    for decay, word in ((1.99, "unstable"), (2.0, "degenerate"), (2.01, "stable")):
        assert verdicts(MatrixSystem([1.0], [0.5], weight_decay=decay), 2, loss)["collapsed"] == (word, word)


@pytest.mark.parametrize("loss", [SpectralContrastive(), Whitened()])
def test_equal_ratios_leave_it_open(loss: RedundancyLoss) -> None:
    found = verdicts(MatrixSystem([2.0, 1.0], [1.0, 0.5]), 1, loss)
    assert found["mode 1"] == found["mode 2"] == ("degenerate", "degenerate")


def test_a_row_on_the_edge_of_the_hinge_is_said_to_be_there() -> None:
    system, loss = MatrixSystem([1.0], [0.5]), Vicreg(1.0, 2.0, 1.0)  # pull 4 λ_i (1 − r) = μ
    (point,) = moment_points(system, 1, loss)
    assert (point.differentiable, point.stability) == (False, "degenerate")
    report = moment_rest(system, 1, loss)
    assert report["fixed_points"][0]["eigenvalues"] is None
    assert any("pull of 0 or μ" in note for note in report["notes"])
    with pytest.raises(ValueError, match="whose pull is 0 or μ, where the flow has two derivatives"):
        moment_stability(EncoderState(point.online), system, loss)


# --- runs end where the list says ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "decay"),
    [
        (SpectralContrastive(), 0.0),
        (SpectralContrastive(), 0.3),
        (Whitened(), 0.0),
        (Vicreg(1.0, 4.0, 0.3), 0.0),
        (Vicreg(1.0, 4.0, 0.3), 0.3),
        (BarlowTwins(0.3), 0.0),
        (BarlowTwins(0.6), 0.4),
    ],
)
def test_runs_end_at_the_stable_point(loss: RedundancyLoss, decay: float) -> None:
    system = MatrixSystem([1.0, 1.5, 1.2], [0.9, 0.8, 0.3], weight_decay=decay)
    start = EncoderState(0.3 * np.random.default_rng(0).standard_normal((2, 3)))
    end = simulate_redundancy(start, system, loss).trajectory.final
    found = moment_stability(end, system, loss)
    assert found.verdict == "stable"
    sigma = system.sigma_d if isinstance(loss, BarlowTwins) else system.sigma_s
    sizes = np.linalg.eigvalsh((end.online * sigma) @ end.online.T)
    listed = [np.sort(p.amplitudes) for p in moment_points(system, 2, loss) if p.stability == "stable"]
    # a hundred times the tolerance of the run
    assert min(float(np.max(np.abs(sizes - one))) for one in listed) < 1e-6


# --- exact solutions against integration --------------------------------------------------------------------


def integrated(loss: RedundancyLoss, W: np.ndarray, system: MatrixSystem, t: float) -> np.ndarray:
    field = redundancy_field(loss)

    def flow(time: float, flat: np.ndarray) -> np.ndarray:
        return field(time, EncoderState(flat.reshape(W.shape)), system).online.ravel()

    return (
        solve_ivp(flow, (0, t), W.ravel(), method="DOP853", rtol=1e-13, atol=1e-15).y[:, -1].reshape(W.shape)
    )


def distance(kind: str, rng: np.random.Generator) -> float:
    """Largest distance of an exact solution from the flow, integrated to 1e-13, of weights of order 1."""
    n1, n2, t = 3, 2, float(rng.uniform(0.1, 1.5))
    ls = rng.uniform(0.5, 2.0, n1)
    ld = ls * rng.uniform(0.1, 0.95, n1)
    system = MatrixSystem(ls, ld)
    W = 0.4 * rng.standard_normal((n2, n1))
    own = np.zeros((n2, n1))
    own[[0, 1], [0, 1]] = rng.uniform(0.05, 0.9, 2) * rng.choice([-1, 1], 2)
    if kind in ("R325", "R328-mode"):
        loss: RedundancyLoss = (
            BarlowTwins(float(rng.uniform(0, 2))) if kind == "R325" else SpectralContrastive()
        )
        start = own[[0, 1], [0, 1]]
        exact = np.zeros_like(own)
        exact[[0, 1], [0, 1]] = (
            barlow_twins_mode(t, start, ld[:2]) if kind == "R325" else spectral_mode(t, start, ls[:2], ld[:2])
        )
        return float(np.max(np.abs(integrated(loss, own, system, t) - exact)))
    if kind == "R327":
        li, mu, ratio = rng.uniform(0.2, 1.5), rng.uniform(0.1, 0.5), float(rng.uniform(0.1, 0.6))
        one = MatrixSystem([ls[0]], [ls[0] * ratio])
        w = float(rng.uniform(0.001, 0.1))
        t = min(t, 0.5 * (1 / np.sqrt(ls[0]) - w) / (mu * np.sqrt(ls[0])))  # short of std = 1
        exact = vicreg_row(t, w, float(ls[0]), ratio, invariance=li, variance=mu)
        return float(abs(integrated(Vicreg(li, mu, 1.0), np.array([[w]]), one, t)[0, 0] - exact))
    if kind == "R328":
        white = MatrixSystem(np.ones(n1), ld / ls)
        end = integrated(SpectralContrastive(), W, white, t)
        return float(np.max(np.abs(end.T @ end - spectral_gram([t], EncoderState(W), ld / ls)[0])))
    W = whitened_encoder(W, system)
    V = integrated(Whitened(), W, system, t) * np.sqrt(ls)
    return float(np.max(np.abs(V.T @ V - oja_subspace([t], EncoderState(W), system)[0])))


EXACT = ("R325", "R327", "R328-mode", "R328", "R329")


@pytest.mark.parametrize("kind", EXACT)
def test_exact_solutions_are_the_flow(kind: str) -> None:
    worst = max(distance(kind, np.random.default_rng([2, k])) for k in range(50))
    assert worst < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("kind", EXACT)
def test_exact_solutions_of_a_thousand_starts(kind: str) -> None:
    worst = max(distance(kind, np.random.default_rng([3, k])) for k in range(1000))
    assert worst < 1e-10


# --- losses of directions -----------------------------------------------------------------------------------


def cosine_case(rng: np.random.Generator) -> tuple[ModeState, ModeSystem, str, bool]:
    """Modes at rest under the cosine loss, and whether R315 calls them stable: q < 0 or q > 1 where collapsed."""
    n = int(rng.integers(2, 6))
    lambda_s, r = rng.uniform(0.5, 2, n), rng.uniform(0.05, 0.95, n)
    taus = {name: float(rng.uniform(0.5, 2)) for name in ("tau_online", "tau_predictor", "tau_target")}
    system = ModeSystem(lambda_s, lambda_s * r, **taus)
    live = rng.random(n) < 0.6
    live[rng.integers(n)] = True
    q = rng.choice([rng.uniform(-2, -0.05, n), rng.uniform(0.05, 0.95, n), rng.uniform(1.05, 3, n)])
    kappa = rng.uniform(0.3, 3)
    w = np.where(live, rng.uniform(0.3, 1, n) * rng.choice([-1, 1], n), 0.0)
    p = np.where(live, 1.0, q) * r / kappa
    stable = bool(np.all((q[~live] < 0) | (q[~live] > 1)))
    return ModeState(w, p, w.copy()), system, str(rng.choice(["full", "no-ema"])), stable


@pytest.mark.parametrize("block", range(4))
def test_cosine_rest_is_stable_where_it_is_said(block: int) -> None:
    for k in range(50):
        state, system, variant, stable = cosine_case(np.random.default_rng([4, block, k]))
        found = directional_stability(state, system, "cosine", variant)
        assert (found.verdict == "stable") == stable
        assert found.counts["n_zero"] == found.n_zero_forced == system.n_modes + 1
        if np.sum(state.online != 0) > 1:  # κ < 0
            mirrored = ModeState(
                state.online, np.where(state.online != 0, -1, 1) * state.predictor, state.target
            )
            assert directional_stability(mirrored, system, "cosine", variant).counts["n_positive"] > 0


@pytest.mark.parametrize(("objective", "variant"), list(FIELDS))
def test_spectra_of_directions_are_those_of_differences(objective: str, variant: str) -> None:
    system = ModeSystem([1.0, 1.3], [0.8, 0.4], tau_online=0.7, tau_predictor=1.4)
    p = system.ratio * [1.0, 1.7]
    state = ModeState(np.array([0.6, 0.0]), p, np.array([0.6, 0.0]))
    found = directional_stability(state, system, objective, variant)
    free, step = (3 if variant == "full" else 2), 1e-5
    columns = []
    for k in range(2 * free):
        sides = []
        for sign in (1, -1):
            parts = [part.copy() for part in state]
            parts[k // 2][k % 2] += sign * step
            sides.append(np.concatenate(FIELDS[objective, variant](0.0, ModeState(*parts), system)[:free]))
        columns.append((sides[0] - sides[1]) / (2 * step))
    expected = np.sort(np.linalg.eigvals(np.array(columns).T).real)[::-1]
    # second order: step² times third derivatives of order ten
    assert_allclose(found.eigenvalues.real, expected, atol=1e-7)


@pytest.mark.parametrize("variant", ["full", "no-ema"])
def test_lines_of_the_cosine_loss_are_its_spectra(variant: str) -> None:
    system = ModeSystem([1.0, 1.0, 1.5], [0.8, 0.4, 0.9])
    words = {"attracting": "stable", "saddle": "saddle", "repelling": "unstable", "degenerate": "degenerate"}
    for point, line in zip(
        *(cosine_rest(system, variant)[name] for name in ("fixed_points", "lines")), strict=True
    ):
        dense = directional_stability(
            ModeState(*(point[n] for n in ModeState._fields)), system, "cosine", variant
        )
        assert dense.verdict == point["stability"] == "stable"
        for part, q in zip(line["segments"], (-0.7, 0.0, 0.4, 1.0, 2.5), strict=False):
            p = np.where(point["online"] != 0, 1.0, q) * system.ratio
            found = directional_stability(
                ModeState(point["online"], p, point["target"]), system, "cosine", variant
            )
            assert found.verdict == words[part["stability"]], (line["name"], q)


@pytest.mark.parametrize("variant", ["full", "no-ema"])
@pytest.mark.parametrize(("invariant", "words"), [(-0.5, []), (-0.25, []), (-0.2, ["stable"] * 2)])
def test_stability_of_iso_is_that_of_its_spectrum(variant: str, invariant: float, words: list[str]) -> None:
    system = ModeSystem(1.0, 0.5, tau_predictor=0.5)
    points = iso_rest(system, variant, invariant=invariant)["fixed_points"]
    assert [point["stability"] for point in points[:-1]] == words
    for point in points:
        state = system.state(*(point[name] for name in ModeState._fields))
        assert directional_stability(state, system, "iso", variant).verdict == point["stability"]


@pytest.mark.parametrize("scale", [1e-100, 1e100])
def test_iso_of_extreme_moments(scale: float) -> None:
    found = iso_rest(ModeSystem(scale, scale / 2), invariant=0.1)["fixed_points"]
    assert [point["stability"] for point in found] == ["stable", "stable", "saddle"]


@pytest.mark.parametrize("variant", ["full", "no-ema"])
@pytest.mark.parametrize("start", [0.1, 0.9])
def test_iso_ends_at_the_point_of_its_leaf(variant: str, start: float) -> None:
    system = ModeSystem(1.0, 0.5, tau_online=0.8, tau_predictor=1.5)
    begin = system.state(0.3, start, 0.3)
    invariant = 0.8 * 0.3**2 / 2 - 1.5 * start
    found = iso_rest(system, variant, invariant=invariant)["fixed_points"]
    (stable,) = (point for point in found if point["stability"] == "stable" and point["online"] >= 0)
    end = simulate_directional(begin, system, "iso", variant).trajectory.final
    assert_allclose(np.ravel(end), [stable[name] for name in ModeState._fields], atol=1e-6)


@pytest.mark.parametrize(
    ("p", "word"), [(-3.0, "saddle"), (0.49, "saddle"), (0.5, "degenerate"), (0.51, "stable")]
)
def test_no_negative_predictor_holds_a_collapsed_mode_under_iso(p: float, word: str) -> None:
    system = ModeSystem(1.0, 0.5)
    assert directional_stability(system.state(0.0, p, 0.0), system, "iso").verdict == word


# --- the hinge of triplets ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.8])
def test_the_triplet_of_low_temperature_rests_where_its_hinge_does(ratio: float) -> None:
    # R330 has whole squared distances where the triplet has halves: its margin is twice that of the triplet
    system, rest = MatrixSystem([1.0], [ratio]), hinge_size(ratio, 1.0)
    off = [
        float(encoder_rest(system, 1, SaturatingLoss("triplet", T, 1, 0.5))[1]["amplitudes"][0]) / rest - 1
        for T in (1e-2, 1e-3)
    ]
    assert abs(off[1]) < 1e-4
    assert off[0] / off[1] == pytest.approx(
        100, rel=0.02
    )  # the logistic bends within τ of the hinge: second order


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "decay", "n2", "message"),
    [
        (Whitened(), 0.1, 1, "`weight_decay` must be 0 for whitened"),
        (BarlowTwins(0.1, True), 0.1, 1, "`weight_decay` must be 0 for barlow-twins"),
        (Whitened(), 0.0, 3, "`dim` must be at most the 2 modes for whitened outputs, got 3"),
        (BarlowTwins(0.0), 0.1, 1, "`off_diagonal` must be > 0 for fixed points with weight decay"),
        (Vicreg(0.0), 0.0, 1, "`invariance` must be > 0 for fixed points of vicreg"),
        (Vicreg(1.0, 0.0), 0.0, 1, "`variance` must be > 0 for fixed points of vicreg"),
        (SpectralContrastive(), 0.0, 0, "`n2` must be an integer >= 1, got 0"),
    ],
)
def test_refusals_of_points(loss: RedundancyLoss, decay: float, n2: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        moment_points(MatrixSystem([1.0, 1.0], [0.9, 0.5], weight_decay=decay), n2, loss)


def test_refusals_of_states() -> None:
    system = MatrixSystem([1.0, 1.0], [0.9, 0.5])
    with pytest.raises(ValueError, match="`state` must have white outputs"):
        moment_stability(EncoderState(np.array([[0.5, 0.0]])), system, Whitened())
    with pytest.raises(ValueError, match="`state` must be at rest to `tolerance` 1e-06, got a residual of"):
        moment_stability(EncoderState(np.array([[0.5, 0.0]])), system, SpectralContrastive())
    with pytest.raises(ValueError, match="`online` must have no row of zero output under vicreg, got row 1"):
        moment_stability(EncoderState(np.zeros((1, 2))), system, Vicreg())
    modes = ModeSystem([1.0, 1.0], [0.8, 0.4])
    with pytest.raises(ValueError, match="that are not all zero"):
        directional_stability(modes.state(0.0, 0.5, 0.0), modes)
    with pytest.raises(ValueError, match=r"no weights are at rest: they die .* \(R312\), got 0.1"):
        cosine_rest(replace(modes, weight_decay=0.1))
    with pytest.raises(ValueError, match="at most 2 sets of learned modes are listed, there are 3"):
        cosine_rest(modes, limit=2)
