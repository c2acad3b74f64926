"""R16–R28 and R30 in the registry: each holds, and each is told apart from a broken version of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from analysis.contrastive.spectra import compare_with_contrastive
from analysis.results.linear import growth, losses, moments, objectives, predictors
from analysis.results.linear.errata import ema_paths
from analysis.results.registry import Measurement, Result, check, collect
from analysis.runs.alignment import align, alignment_rate
from analysis.sylvester.solutions import sylvester_solutions
from dynamics.data.moments import Moments
from dynamics.data.objective_moments import byol_prime_moments, raft_moments
from dynamics.exact.ema_recurrence import EmaGrowth, ema_growth
from dynamics.exact.fixed_points import saddle_node
from dynamics.fields.matrices import aligned_field, fast_predictor_field, full_field
from dynamics.fields.modes import direct_mode_field, fast_predictor_mode_field, full_mode_field
from dynamics.fields.predictors import directpred_predictor, optimal_predictor
from dynamics.fields.vector_field import VectorField
from dynamics.modes import spectrum
from dynamics.states import MatrixState, ModeState
from dynamics.system import MatrixSystem

decoupled, ema_step = predictors._decoupled, growth._ema_step
RNG = np.random.default_rng(0)
RESULTS = collect((moments, predictors, objectives, growth))


@pytest.mark.parametrize("result", RESULTS.values(), ids=list(RESULTS))
def test_one_seed_one_measurement(result: Result) -> None:
    first, second = (result.trial(np.random.default_rng(7)) for _ in range(2))
    assert isinstance(first, Measurement)
    assert first == second


# --- mutants ------------------------------------------------------------------------------------------------


def field_mutant(field: VectorField, change: Callable[[Any, Any, Any], Any]) -> VectorField:
    """Return the field with its derivative passed through change(derivative, state, system)."""
    return replace(
        field, derivative=lambda t, state, system: change(field.derivative(t, state, system), state, system)
    )


def wrong_target(d: MatrixState, state: MatrixState, system: MatrixSystem) -> MatrixState:
    """The predictor learns from Θ Σs instead of Θ Σd."""
    gap = system.sigma_s - system.sigma_d
    moved = state.target * gap if gap.ndim == 1 else state.target @ gap
    return d._replace(predictor=d.predictor + moved @ state.online.T / system.tau_predictor)


def unsymmetrised(ratio: Callable[[Any], Any]) -> VectorField:
    field = aligned_field(ratio)
    return replace(field, derivative=full_field.derivative)


def nullity_by_multiplicity(P: np.ndarray, M: np.ndarray) -> Any:
    """Counts pairs of equal eigenvalues, as if no matrix were defective: Σ size·size for Σ min(size, size)."""
    found = sylvester_solutions(P, M)
    away = np.abs(np.subtract.outer(np.linalg.eigvals(P), np.linalg.eigvals(M)))
    return replace(found, nullity=int(np.sum(away < 1e-3)))


def only_the_first(P: np.ndarray, M: np.ndarray) -> Any:
    """Knows one shared eigenvalue."""
    found = sylvester_solutions(P, M)
    kept = np.abs(found.shared_eigenvalues - found.shared_eigenvalues[:1]) < 1e-3
    return replace(
        found,
        nullity=int(np.sum(kept)),
        shared_eigenvalues=found.shared_eigenvalues[kept],
        basis=found.basis[: np.sum(kept)],
    )


def only_real_ones(P: np.ndarray, M: np.ndarray) -> Any:
    """Loses complex eigenvalues."""
    found = sylvester_solutions(P, M)
    kept = np.abs(np.imag(found.shared_eigenvalues)) < 1e-3
    values, n = found.shared_eigenvalues[kept].real, int(np.sum(kept))
    return replace(found, nullity=n, shared_eigenvalues=values, basis=found.basis[:n])


def printed_sizes(P: np.ndarray, M: np.ndarray) -> np.ndarray:
    """RAFT 68 with its factors in the other order, the only way in which the swapped sizes can be multiplied out."""
    n2, n1 = len(P), len(M)
    return np.kron(P, np.eye(n1)) - np.kron(np.eye(n2), M.T)


def printed_scrambling(sigma_x: Any, basis: Any) -> Moments:
    """DD F.2: Σs = Σx."""
    right = Moments.scrambling(sigma_x, basis)
    broken = object.__new__(Moments)  # Σd ≼ Σs need not hold
    object.__setattr__(broken, "sigma_s", np.asarray(sigma_x))
    object.__setattr__(broken, "sigma_d", right.sigma_d)
    return broken


def no_bound(run: Any, system: Any, field: Any, **options: Any) -> Any:
    return replace(align(run, system, field, **options), holds=False)


def slow_ds(p: Any, s: Any, tau: Any, system: Any) -> Any:
    dp, ds, dtau = decoupled(p, s, tau, system)
    return dp, ds / 2, dtau


def no_ratio_pull(p: Any, s: Any, tau: Any, system: Any) -> Any:
    dp, ds, _ = decoupled(p, s, tau, system)
    return dp, ds, (1 - tau) / system.tau_target


def printed_ema(w: Any, ema: Any, alpha: Any, eta: Any, gain: Any) -> Any:
    return ema_step(w, ema, alpha, eta, -gain)


def printed_paths(*arguments: Any) -> Any:
    found = ema_paths(*arguments)
    return found._replace(corrected=found.printed, printed=found.corrected)


def one_sided_contrast(z1: Any, z2: Any, target: Any, alpha: Any, beta: Any) -> Any:
    """Negative pairs alone: V becomes the covariance of single views."""
    simple = losses.trained_loss("simple")
    return simple(z1, z2, target, alpha, beta) - ((z1 - z2) ** 2).sum(axis=-1).mean() / 2


def halved(kind: str) -> Any:
    """Half of the objective that networks are trained on."""
    return lambda *arguments: losses.trained_loss(kind)(*arguments) / 2


def pushed_off(d: Any, state: Any, system: Any) -> Any:
    """Every mode runs away."""
    return d._replace(online=d.online + state.online, predictor=d.predictor + state.predictor)


def swapped_spans(found: Any) -> Any:
    return found._replace(byol=found.contrastive, contrastive=found.byol)


def slowed_predictor(d: MatrixState, state: MatrixState, system: MatrixSystem) -> MatrixState:
    return d._replace(online=d.online + 0.01 * state.online)


def dragged_target(d: Any, state: Any, system: Any) -> Any:
    return d._replace(target=d.target + state.online)


MUTANTS: list[tuple[str, dict[str, Any]]] = [
    ("R16", {"multiplicative": printed_scrambling}),
    ("R16", {"additive": lambda x, n: Moments.additive_noise(x, 1.01 * n)}),
    ("R17", {"solutions": nullity_by_multiplicity}),
    ("R17", {"solutions": only_the_first}),
    ("R17", {"solutions": only_real_ones}),
    ("R17", {"operator": printed_sizes}),
    ("R17", {"operator": lambda P, M: moments.sylvester_operator(P, M.T)}),
    ("R18", {"field": field_mutant(full_field, wrong_target)}),
    ("R18", {"ratios": lambda system: spectrum(system) ** 2}),
    ("R19", {"field_of": unsymmetrised}),
    ("R19", {"rate": lambda state, system: alignment_rate(state._replace(target=-state.target), system)}),
    ("R19", {"rate": lambda state, system: alignment_rate(state, replace(system, weight_decay=0.0))}),
    ("R19", {"rate": lambda state, system: alignment_rate(state, replace(system, tau_predictor=9.0))}),
    ("R19", {"aligned": no_bound}),
    ("R20", {"decoupled": slow_ds}),
    ("R20", {"decoupled": no_ratio_pull}),
    ("R20", {"field": field_mutant(full_field, wrong_target)}),
    ("R21", {"field": full_field}),
    ("R21", {"field": field_mutant(fast_predictor_field, slowed_predictor)}),
    ("R21", {"mode_field": field_mutant(fast_predictor_mode_field, slowed_predictor)}),
    ("R21", {"optimal": lambda state, system: 1.001 * optimal_predictor(state, system)}),
    ("R22", {"predictor": lambda F, epsilon: directpred_predictor(F, epsilon=epsilon, exponent=1.0)}),
    ("R22", {"predictor": lambda F, epsilon: directpred_predictor(F, epsilon=epsilon, normalise=True)}),
    ("R22", {"field_of": lambda epsilon, exponent: direct_mode_field(epsilon=0.1, exponent=exponent)}),
    ("R22", {"threshold": lambda system: 4 * saddle_node(system)}),
    ("R23", {"factor": lambda alpha, beta: 1 / (alpha + beta)}),
    ("R23", {"factor": lambda alpha, beta: 1.001 * (1 / alpha + 1 / beta)}),
    ("R23", {"byol_prime": losses.trained_loss("raft")}),
    ("R24", {"loss": losses.trained_loss("raft")}),
    ("R24", {"loss": halved("byol-prime")}),
    ("R24", {"moments_of": lambda m, a, b: byol_prime_moments(m, a / 2, b)}),
    ("R24", {"moments_of": raft_moments}),
    ("R25", {kind.replace("-", "_"): losses.trained_loss(kind) for kind in ("raft", "byol-prime")}),
    ("R25", {"raft": losses.trained_loss("byol-prime", normalize=True)}),
    ("R26", {"loss": losses.trained_loss("byol-prime")}),
    ("R26", {"mode_field": VectorField("still", lambda t, s, system: ModeState(*(0 * x for x in s)))}),
    ("R26", {"mode_field": field_mutant(full_mode_field, pushed_off)}),
    ("R26", {"moments_of": byol_prime_moments}),
    ("R27", {"loss": lambda z, target, inner: inner * objectives.tangential_loss(z, target, inner)}),
    ("R27", {"loss": lambda z, target, inner: ((target - z) ** 2).sum()}),
    ("R27", {"trained": lambda z, target: (-2 * (target - z), int(z @ target < 0))}),
    ("R27", {"trained": lambda z, target: (objectives.trained_tangential_gradient(z, target)[0], 0)}),
    ("R28", {"paths": printed_paths}),
    ("R28", {"growth": lambda a, b, c: EmaGrowth(ema_growth(a, b, c).bound, ema_growth(a, b, c).bound)}),
    ("R28", {"growth": lambda a, b, c: EmaGrowth(ema_growth(a, b, c).rate, ema_growth(a, b, c).rate / 2)}),
    ("R30", {"contrastive": one_sided_contrast}),
    ("R30", {"compare": lambda moments, k: swapped_spans(compare_with_contrastive(moments, k))}),
    ("R30", {"field": field_mutant(full_field, wrong_target)}),
    ("R30", {"field": VectorField("still", lambda t, s, system: MatrixState(*(0 * x for x in s)))}),
]


def test_every_result_has_a_mutant() -> None:
    assert {name for name, _ in MUTANTS} == set(RESULTS)


@pytest.mark.parametrize(("name", "subjects"), MUTANTS, ids=[f"{n}-{next(iter(s))}" for n, s in MUTANTS])
def test_mutant_is_violated(name: str, subjects: dict[str, Any]) -> None:
    assert check(RESULTS[name], **subjects).verdict == "violated"


@pytest.mark.parametrize(
    ("name", "module", "attribute", "mutant"),
    [
        ("R16", moments, "scrambled", lambda s, d, U: (s, d - U @ (U.T @ d))),
        ("R17", moments, "sylvester_operator", printed_sizes),
        ("R19", predictors, "aligned_field", unsymmetrised),
        ("R20", predictors, "_decoupled", slow_ds),
        ("R21", predictors, "fast_predictor_field", field_mutant(fast_predictor_field, slowed_predictor)),
        ("R22", predictors, "direct_mode_field", lambda: field_mutant(direct_mode_field(), dragged_target)),
        ("R23", objectives, "_factor", lambda alpha, beta: 1 / (alpha + beta)),
        ("R24", objectives, "byol_prime_moments", raft_moments),
        ("R25", objectives, "raft_loss", objectives.byol_prime_loss),
        ("R26", objectives, "raft_moments", byol_prime_moments),
        ("R27", objectives, "tangential_loss", lambda z, target, inner: ((target - inner * z) ** 2).sum()),
        ("R28", growth, "_ema_step", printed_ema),
    ],
)
def test_mutated_proof_fails(
    monkeypatch: pytest.MonkeyPatch, name: str, module: Any, attribute: str, mutant: Any
) -> None:
    monkeypatch.setattr(module, attribute, mutant)
    proof = RESULTS[name].proof
    assert proof is not None
    assert proof() is False


# --- what the trials rest on --------------------------------------------------------------------------------


def test_the_printed_sylvester_matrix_does_not_fit_its_own_factors() -> None:
    P, M = np.eye(2), np.eye(3)
    with pytest.raises(ValueError, match="broadcast"):
        np.kron(np.eye(2), P) - np.kron(M.T, np.eye(3))


def test_the_population_lists_every_pair_of_views_once() -> None:
    x1, x2, found = losses.population(np.random.default_rng(0), 3)
    assert len(x1) == len(x2) == 6 * 3 * 3
    assert len({(*a, *b) for a, b in zip(x1.tolist(), x2.tolist(), strict=True)}) == len(x1)
    # sums of 54 products
    np.testing.assert_allclose(x1.T @ x1 / len(x1), found.sigma_s, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(x2.T @ x1 / len(x1), found.sigma_d, rtol=1e-13, atol=1e-14)


def test_tangential_gradient_does_not_turn_round_below_a_right_angle() -> None:
    z, target = np.array([1.0, 0.0]), np.array([-0.6, 0.8])
    inner = z @ target
    slope = losses.slope_of(lambda z: objectives.tangential_loss(z, target, inner), z)
    np.testing.assert_allclose(slope, -2 * (target - inner * z), rtol=1e-14, atol=1e-14)
    assert objectives.tangential_loss(z, target, inner) < 0


def test_objectives_of_training_are_the_formulas_of_the_proofs() -> None:
    z1, z2, target = RNG.standard_normal((3, 8, 4))
    for kind, formula in (("byol-prime", objectives.byol_prime_loss), ("raft", objectives.raft_loss)):
        found = losses.compiled_loss(losses.trained_loss(kind))(z1, z2, target, 0.7, 1.3)
        # means of eight sums of four products
        np.testing.assert_allclose(found, formula(z1, z2, target, 0.7, 1.3).mean(), rtol=1e-14)
    found = losses.compiled_loss(losses.trained_loss("byol"))(z1, z2, target, 0.7, 1.3)
    np.testing.assert_allclose(found, objectives.byol_loss(z1, target).mean(), rtol=1e-14)
