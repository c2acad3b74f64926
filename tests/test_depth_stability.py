"""Stability of deep encoders at rest: spectra against automatic differentiation, closed forms and other routes."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from analysis.depth.decay import decay_rest, decay_threshold
from analysis.depth.stability import deep_residual, deep_stability, polish_modes
from analysis.stability.spectrum import stability
from dynamics.data.layers import load_layers
from dynamics.fields.deep import DEEP_FIELDS, DeepState, DeepSystem, deep_field, deep_no_ema_field
from dynamics.system import MatrixSystem

RATES: dict[str, Any] = {"tau_predictor": 1.3, "tau_target": 0.7}


def by_autodiff(state: DeepState, system: DeepSystem) -> np.ndarray:
    """Eigenvalues of the whole flow of all modes, of products written out."""
    L, n = state.layers.shape

    def flow(y: Any) -> Any:
        w, v, th = y[: L * n].reshape(L, n), y[L * n : (L + 1) * n], y[(L + 1) * n :].reshape(L, n)
        e = jax.numpy.prod(th, axis=0) * system.lambda_d - v * jax.numpy.prod(w, axis=0) * system.lambda_s
        pulled = jax.vjp(lambda w: jax.numpy.prod(w, axis=0), w)[1](v * e)[0]
        dw = pulled / system.layer_times - system.weight_decay * w
        dv = jax.numpy.prod(w, axis=0) * e / system.tau_predictor - system.weight_decay * v
        return jax.numpy.concatenate([dw.ravel(), dv, ((w - th) / system.tau_target).ravel()])

    with jax.enable_x64(True):
        y = np.concatenate([np.ravel(part) for part in state])
        return np.linalg.eigvals(np.asarray(jax.jit(jax.jacobian(flow))(y)))


def test_the_spectrum_of_modes_is_that_of_the_whole_flow() -> None:
    system = DeepSystem([1.0, 1.5], [0.5, 1.2], depth=3, tau_online=[0.6, 1.0, 1.4], **RATES)
    state = system.deep_state([[0.3, 0.0], [0.5, 0.8], [-0.7, 0.6]], [0.5, -0.4])
    found, conditions = deep_stability(state, system)
    assert found.n_unknowns == 14
    assert (found.method, found.largest_block) == ("blocks", 7)
    exact = by_autodiff(state, system)
    # simple eigenvalues to rounding, and the six zeros, which are semisimple
    np.testing.assert_allclose(np.sort_complex(found.eigenvalues), np.sort_complex(exact), atol=1e-12)
    assert (found.n_positive, found.n_zero, found.n_negative, found.verdict) == (0, 6, 8, "stable")
    assert [condition.dead_layers for condition in conditions] == [[], [0]]
    assert [condition.n_zero_forced for condition in conditions] == [3, 3]


@pytest.mark.parametrize(
    ("v", "verdict"),
    [(-0.3, "stable"), (0.0, "degenerate"), (0.2, "saddle"), (0.5, "degenerate"), (0.8, "stable")],
)
@pytest.mark.parametrize("name", DEEP_FIELDS)
def test_a_dead_layer_comes_back_iff_v_is_between_zero_and_r(name: str, v: float, verdict: str) -> None:
    """The layer and its target have s² + (β + 1/τt) s + (β − α)/τt, α = v A² λd/τ, β = v² A² λs/τ."""
    system = DeepSystem(1.0, 0.5, depth=3, tau_online=[1.0, 0.8, 1.2], **RATES)
    found, (mode,) = deep_stability(system.deep_state([0.6, 0.0, 0.9], v), system, DEEP_FIELDS[name])
    alpha, beta = (x * (0.6 * 0.9) ** 2 / 0.8 for x in (0.5 * v, v**2))
    if name == "full":
        exact = np.roots([1, beta + 1 / 0.7, (beta - alpha) / 0.7])
        exact = np.concatenate([exact, np.full(2, -1 / 0.7), np.zeros(3)])
    else:
        exact = np.array([alpha - beta, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(np.sort_complex(found.eigenvalues), np.sort_complex(exact), atol=1e-13)
    assert (found.verdict, mode.verdict, mode.n_zero_forced) == (
        verdict if name == "full" or verdict != "saddle" else "unstable", found.verdict, 3,
    )  # fmt: skip


def test_one_layer_is_the_full_network() -> None:
    """R9's block of one mode, by the route of matrices."""
    deep = DeepSystem(1.2, 0.6, depth=1, tau_online=0.8, **RATES)
    full = MatrixSystem([1.2], [0.6], tau_online=0.8, **RATES)
    found, _ = deep_stability(deep.deep_state(0.4, 0.5), deep)
    other = stability(full.state([[0.4]], [[0.5]], [[0.4]]), full)
    np.testing.assert_allclose(found.eigenvalues, other.eigenvalues, atol=1e-13)
    names = ("n_unknowns", "n_positive", "n_zero", "n_negative", "n_zero_forced", "verdict")
    assert [getattr(found, name) for name in names] == [getattr(other, name) for name in names]


def test_two_dead_layers_are_degenerate() -> None:
    system = DeepSystem(1.0, 0.5, depth=3)
    found, (mode,) = deep_stability(system.deep_state([0.0, 0.0, 0.9], 0.3), system)
    assert (found.n_zero, found.n_zero_forced, found.verdict) == (4, 2, "degenerate")
    assert "2 layers at zero" in mode.sentence


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_weight_decay_leaves_no_neutral_direction(depth: int) -> None:
    eta = 0.9 * float(decay_threshold(depth, 1.0, 0.8))
    system, rest = DeepSystem(1.0, 0.8, depth=depth, weight_decay=eta), decay_rest(depth, 1.0, 0.8, eta)
    for level, verdict in ((0.0, "stable"), (rest.lower, "saddle"), (rest.upper, "stable")):
        found, (mode,) = deep_stability(system.deep_state(level, level), system)
        assert (found.verdict, found.n_zero, mode.n_zero_forced) == (verdict, 0, 0)


def test_states_that_do_not_rest_are_refused() -> None:
    system = DeepSystem(1.0, 0.5, depth=4)
    state = system.deep_state(1e-2, 0.2)  # its speed is 1e-10, its distance from rest 1e-2
    assert deep_residual(state, system) == pytest.approx(1e-2)
    with pytest.raises(
        ValueError, match=r"must be a fixed point within `tolerance` = 1e-06, got a residual of 0\.01"
    ):
        deep_stability(state, system)
    with pytest.raises(ValueError, match="`tolerance` must be above 0 and below 1"):
        deep_stability(state, system, tolerance=0.0)
    with pytest.raises(ValueError, match="`system` must have λs and λd > 0"):
        deep_stability(state, DeepSystem(1.0, 0.0, depth=4))


def test_polishing_ends_at_rest() -> None:
    system = DeepSystem([1.0, 1.0], [0.5, 0.5], depth=2)
    state = system.deep_state([[0.3, 1e-4], [0.4, 0.6]], [0.501, -0.3], [[0.301, 0.0], [0.4, 0.6]])
    found = polish_modes(state, system)
    assert (found.residual_before > 1e-4, found.residual_after, found.status) == (True, 0.0, "converged")
    np.testing.assert_array_equal(found.state.layers, [[0.3, 0.0], [0.4, 0.6]])
    np.testing.assert_array_equal(found.state.predictor, [0.5, -0.3])
    assert found.displacement == pytest.approx(np.sqrt(2 * 1e-3**2 + 1e-4**2), rel=1e-6)


@pytest.mark.parametrize("field", [deep_field, deep_no_ema_field])
def test_polishing_with_weight_decay_ends_at_a_balanced_point(field: Any) -> None:
    system = DeepSystem(1.0, 0.8, depth=2, weight_decay=0.03, tau_online=[1.0, 1.2])
    near = polish_modes(system.deep_state([-0.65, 0.6], 0.66), system, field)
    assert near.residual_after < 1e-12
    assert near.state.layers[0, 0] < 0 < near.state.layers[1, 0]
    np.testing.assert_array_equal(polish_modes(system.deep_state(0.01, 0.01), system, field).state.layers, 0)


def test_files_of_layers(tmp_path: Any) -> None:
    np.savez(tmp_path / "one.npz", layers=[0.3, 0.4], predictor=0.5)
    w, v, th = load_layers(tmp_path / "one.npz")
    assert (w.tolist(), v.tolist(), th.tolist()) == ([[0.3], [0.4]], [0.5], [[0.3], [0.4]])
    run = {"layers": np.ones((5, 2, 3)), "predictor": np.ones((5, 3)), "targets": np.zeros((5, 2, 3))}
    np.savez(tmp_path / "run.npz", **run)
    assert [part.shape for part in load_layers(tmp_path / "run.npz")] == [(2, 3), (3,), (2, 3)]
    np.savez(tmp_path / "bad.npz", layers=np.ones((2, 3)), predictor=np.ones(2))
    with pytest.raises(ValueError, match=r"must hold layers and targets \(L, n_modes\)"):
        load_layers(tmp_path / "bad.npz")
    np.savez(tmp_path / "none.npz", online=np.eye(2))
    with pytest.raises(ValueError, match="must hold layers, predictor, got online"):
        load_layers(tmp_path / "none.npz")
