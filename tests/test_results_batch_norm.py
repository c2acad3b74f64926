"""R213–R222 in the registry: each holds, and each is told apart from a broken version of itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from analysis.normalisation.mean import (
    GradientTerms,
    has_runaway_mode,
    interlacing,
    mean_runaway_rate,
    no_stop_gradient_terms,
)
from analysis.normalisation.stability import normalised_blocks, rayleigh_rates, stability_conditions
from analysis.results import RESULTS as ALL
from analysis.results.registry import Measurement, Result, check, collect
from analysis.results.trees import batch_corollaries, batch_mean, batch_variance
from dynamics.exact.detached_deviation import attached_solution, detached_end, detached_solution
from dynamics.fields.batch_normalised import batch_normalised_field
from dynamics.fields.vector_field import VectorField
from dynamics.normalisation import (
    MomentPair,
    Normaliser,
    batch_moments,
    centred_moments,
    learning_moments,
    normalise,
    shared_statistics_moments,
)
from dynamics.states import EncoderState
from dynamics.system import MatrixSystem

RESULTS = collect((batch_mean, batch_corollaries, batch_variance))


@pytest.mark.parametrize("result", RESULTS.values(), ids=list(RESULTS))
def test_one_seed_one_measurement(result: Result) -> None:
    first, second = (result.trial(np.random.default_rng(7)) for _ in range(2))
    assert isinstance(first, Measurement)
    assert first == second
    assert ALL[result.id] is result


# --- mutants ------------------------------------------------------------------------------------------------


def over_samples(x1: np.ndarray, x2: np.ndarray, normaliser: Normaliser, **options: Any) -> Any:
    """The formula of large batches: covariances over samples, not over the batch."""
    n = len(x1)
    c1, c2 = x1 - x1.mean(0), x2 - x2.mean(0)
    raw = MomentPair(x1.T @ x1 / n, x2.T @ x1 / n)
    return learning_moments(raw, MomentPair(c1.T @ c1 / (n - 1), c2.T @ c1 / (n - 1)), normaliser, **options)


def one_row(x1: np.ndarray, x2: np.ndarray, normaliser: Normaliser, **options: Any) -> Any:
    """The predictor always follows the encoder's row."""
    encoder = batch_moments(x1, x2, normaliser, **options).encoder
    return batch_moments(x1, x2, normaliser, **options)._replace(predictor=encoder)


def centred_target_of_forward(x1: np.ndarray, x2: np.ndarray, normaliser: Normaliser, **options: Any) -> Any:
    """A detached mean is the full one, whatever the target."""
    mean = "full" if normaliser.mean == "forward" else normaliser.mean
    return batch_moments(x1, x2, Normaliser(mean=mean), **options)


def no_backprop(z: np.ndarray, normaliser: Normaliser) -> Any:
    """Centres in the loss, and not in backprop."""
    return normalise(z, normaliser)[0], lambda g: g


def raw_runaway(s: float, d: float, m: float, *, tau_online: float, tau_target: float) -> float:
    """g (1 + gτt) for g (1 + gτt)²."""
    a = d * m / s * tau_target / tau_online
    return float((np.sqrt(1 + 4 * a) - 1) / 2 / tau_target)


def swapped(system: MatrixSystem, mean: Any) -> Any:
    found = interlacing(system, mean)
    return found._replace(raw=found.centred, centred=found.raw)


def printed_terms(W: Any, P: Any, S: Any, D: Any) -> GradientTerms:
    """2 sym(W) as printed: −2 PᵀP W (Σs − Σd)."""
    return GradientTerms(-2 * P.T @ P @ W @ (S - D), no_stop_gradient_terms(W, P, S, D).rest)


def blind(normaliser: Normaliser, mean: Any = None, **options: Any) -> VectorField:
    """Subtracts no mean."""
    return batch_normalised_field(Normaliser(std=normaliser.std), mean, **options)


def half_centred(normaliser: Normaliser, mean: Any = None, **options: Any) -> VectorField:
    """Centres Σs alone."""
    forward = replace(normaliser, mean="forward") if normaliser.mean == "full" else normaliser
    return batch_normalised_field(forward, mean, **options)


def detaching(normaliser: Normaliser, mean: Any = None, **options: Any) -> VectorField:
    """No gradient through the deviation."""
    std = "detached" if normaliser.std == "full" else normaliser.std
    return batch_normalised_field(replace(normaliser, std=std), mean, **options)


def attaching(normaliser: Normaliser, mean: Any = None, **options: Any) -> VectorField:
    """Gradients through a deviation that should be detached."""
    std = "full" if normaliser.std == "detached" else normaliser.std
    return batch_normalised_field(replace(normaliser, std=std), mean, **options)


def with_predictor(normaliser: Normaliser, mean: Any, base: VectorField) -> VectorField:
    """With a predictor other than the identity the mean does something."""
    field = batch_normalised_field(normaliser, mean)
    return replace(
        field, constrain=lambda t, state, system: state._replace(predictor=0.5 * np.eye(len(state.online)))
    )


def forgetful_target(normaliser: Normaliser, mean: Any = None, **options: Any) -> VectorField:
    """A target that is never centred."""
    return batch_normalised_field(normaliser, mean, **{**options, "target_centred": False})


def without_s(t: Any, state: EncoderState, system: MatrixSystem) -> EncoderState:
    """Rayleigh's flow with w wᵀ for S in its projector: it turns to the top of D."""
    (W,) = state
    WD = W @ system.sigma_d if system.sigma_d.ndim == 2 else W * system.sigma_d
    square = (W * W).sum(-1, keepdims=True)
    return EncoderState((WD - (WD * W).sum(-1, keepdims=True) / square * W) / square / system.tau_online)


def without_norms(selection: Any, norms: Any, system: MatrixSystem) -> Any:
    """κ without ‖w_i‖²."""
    return normalised_blocks(selection, np.ones(len(selection)), system)


def swapped_eigenvalues(selection: Any, norms: Any, system: MatrixSystem) -> Any:
    """λs_i/λs_j for λs_j/λs_i."""
    r = system.sigma_d / system.sigma_s
    return normalised_blocks(
        selection, norms, replace(system, sigma_s=1 / system.sigma_s, sigma_d=r / system.sigma_s)
    )


def amplitudes_do_not_matter(selection: Any, norms: Any, system: MatrixSystem) -> Any:
    """No row leaves for a mode that another one holds."""
    return [c for c in stability_conditions(selection, norms, system) if c.held_by is None]


def any_mode(selection: Any, norms: Any, system: MatrixSystem) -> Any:
    """Modes that no row holds do not matter, as without normalisation for long rows."""
    return [c for c in stability_conditions(selection, norms, system) if c.held_by is not None]


def other_branch(state: Any, system: Any) -> Any:
    """p* of the wrong sign: whatever has c ≤ 0 dies."""
    found = detached_end(state, system)
    c = system.tau_online * state.online**2 - system.tau_predictor * state.predictor**2
    return found._replace(online=np.where(c <= 0, 0.0, found.online))


def late(state: Any, system: Any) -> Any:
    found = detached_end(state, system)
    return found._replace(time=1.01 * found.time, online=1.01 * found.online)


MUTANTS: list[tuple[str, dict[str, Any]]] = [
    ("R213", {"moments": over_samples}),
    ("R213", {"moments": one_row}),
    ("R213", {"moments": centred_target_of_forward}),
    ("R213", {"normalise": no_backprop}),
    ("R214", {"factor": lambda n: 1.0}),
    ("R214", {"factor": lambda n: 1 + 1 / n}),
    ("R214", {"shared": lambda system, n: shared_statistics_moments(system, 2 * n)}),
    (
        "R214",
        {
            "shared": lambda system, n: replace(
                system,
                sigma_s=(1 - 1 / (2 * n)) * system.sigma_s,
                sigma_d=(1 - 1 / (2 * n)) * system.sigma_d,
            )
        },
    ),
    ("R215", {"field_of": half_centred}),
    ("R215", {"field_of": with_predictor}),
    ("R216", {"moments": lambda system, mean: system}),
    (
        "R216",
        {"moments": lambda system, mean: replace(centred_moments(system, mean), sigma_d=system.sigma_d)},
    ),
    ("R216", {"interlaced": swapped}),
    ("R216", {"rate": raw_runaway}),
    ("R216", {"rate": lambda s, d, m, **rates: mean_runaway_rate(s, d + m, m, **rates)}),
    ("R216", {"runs_away": lambda system, mean: has_runaway_mode(system, 2 * np.asarray(mean))}),
    ("R217", {"by_role": True}),
    ("R217", {"terms": printed_terms}),
    ("R217", {"threshold": lambda ratio: 1.0}),
    ("R218", {"normaliser": ("", "detached")}),
    ("R218", {"normaliser": ("forward", "full")}),
    ("R218", {"field_of": detaching}),
    ("R219", {"field": VectorField("mutant", without_s)}),
    ("R219", {"rates": lambda norm, system: norm**2 * rayleigh_rates(norm, system)}),
    ("R220", {"blocks": without_norms}),
    ("R220", {"blocks": swapped_eigenvalues}),
    ("R220", {"conditions": amplitudes_do_not_matter}),
    ("R220", {"conditions": any_mode}),
    ("R220", {"field_of": detaching}),
    ("R221", {"std": "full"}),
    ("R221", {"field_of": attaching}),
    ("R221", {"end": other_branch}),
    ("R221", {"end": late}),
    ("R221", {"solution": attached_solution}),
    (
        "R221",
        {"solution": lambda ts, s, system: detached_solution(ts, s, replace(system, tau_predictor=1.0))},
    ),
    ("R222", {"field_of": blind}),
    ("R222", {"field_of": detaching}),
    ("R222", {"field_of": forgetful_target}),
]


def test_every_result_has_a_mutant() -> None:
    assert {name for name, _ in MUTANTS} == set(RESULTS)


@pytest.mark.parametrize(("name", "subjects"), MUTANTS, ids=[f"{n}-{next(iter(s))}" for n, s in MUTANTS])
def test_mutant_is_violated(name: str, subjects: dict[str, Any]) -> None:
    assert check(RESULTS[name], n_trials=8, **subjects).verdict == "violated"


def always_centred(raw: Any, centred: Any, normaliser: Normaliser, **options: Any) -> Any:
    return learning_moments(centred, centred, normaliser, **options)


@pytest.mark.parametrize(
    ("name", "module", "attribute", "mutant"),
    [
        ("R213", batch_mean, "learning_moments", always_centred),
        ("R214", batch_mean, "finite_batch_factor", lambda n: 1.0),
        ("R217", batch_corollaries, "no_stop_gradient_terms", printed_terms),
        ("R219", batch_variance, "rayleigh_field", VectorField("mutant", without_s)),
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


def test_a_normaliser_per_role_changes_nothing_on_average_for_the_simple_loss_alone() -> None:
    """E[g_anchor] is zero for the simple loss only: that of NCE on skewed data is not."""
    rng = np.random.default_rng(0)
    found = {}
    for loss in batch_corollaries.LOSSES:
        f = rng.exponential(size=(5, 4000, 2)) @ np.array([[1.0, 0.3], [0.0, 0.7]])
        g = batch_corollaries.role_gradients(f, loss)[0]
        found[type(loss).__name__] = np.max(np.abs(g.mean(0)) / (g.std(0) / np.sqrt(len(g))))
    assert found["SimpleLoss"] < 5 < found["InfoNCELoss"]


def test_gradients_of_roles_sum_to_zero() -> None:
    f = np.random.default_rng(0).standard_normal((5, 6, 3))
    for loss in batch_corollaries.LOSSES:
        g = batch_corollaries.role_gradients(f, loss)
        assert np.max(np.abs(g.sum(0))) < 1e-14 * np.max(np.abs(g)) * len(f)


def test_gradients_of_roles_are_those_of_autodiff() -> None:
    import jax
    import jax.numpy as jnp

    from dynamics.contrastive_losses import InfoNCELoss

    f = np.random.default_rng(0).standard_normal((5, 6, 3))
    with jax.enable_x64(True):

        def total(f: Any) -> Any:
            r_pos = jnp.sum((f[0] - f[1]) ** 2, -1) / 2
            r_neg = (jnp.sum((f[0] - f[2:]) ** 2, -1) / 2).T
            logits = -jnp.concatenate([r_pos[:, None], r_neg], 1) / 0.5
            return jnp.sum(jax.nn.logsumexp(logits, 1) - logits[:, 0])

        wanted = np.asarray(jax.grad(total)(jnp.asarray(f)))
    assert (
        np.max(np.abs(wanted - batch_corollaries.role_gradients(f, InfoNCELoss(0.5))))
        < 1e-14 * np.max(np.abs(wanted)) * 8
    )
