"""Results on the flow itself: R1, R2, R3, R12, R29."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import (
    EPS,
    followed,
    orthogonal,
    random_rates,
    refuted,
    symbolic_rates,
    symbols,
    vanishes,
    worst,
)
from dynamics.fields.matrices import full_field, no_stop_gradient_field, proportional_ema_field
from dynamics.fields.modes import full_mode_field, proportional_ema_mode_field
from dynamics.fields.vector_field import VectorField
from dynamics.invariants import balance_drift, balance_matrix, mode_invariant
from dynamics.modes import ModeReduction, expand_modes, reduce_to_modes
from dynamics.states import MatrixState, ModeState
from dynamics.system import MatrixSystem, ModeSystem
from dynamics.variants import BALANCED_MODE_VARIANTS, BALANCED_VARIANTS, FIELDS, MODE_FIELDS

Loss = Callable[[Any, Any, Any], Any]


def prediction_loss(prediction: Any, target: Any, other: Any) -> Any:
    """½‖P W x1 − Θ x2‖² of a pair of views; `other` is the pair with the views swapped and is not used."""
    return ((prediction - target) ** 2).sum(axis=-1) / 2


def symmetrised_loss(prediction: Any, target: Any, other: Any) -> Any:
    """½‖P W x1 − Θ x2‖² + ½‖P W x2 − Θ x1‖²."""
    prediction2, target1 = other
    return prediction_loss(prediction, target, other) + prediction_loss(prediction2, target1, None)


def _mean_loss(loss: Loss, state: Any, pairs: Any) -> Any:
    W, P, Th = state
    x1, x2 = pairs
    return loss(x1 @ (P @ W).T, x2 @ Th.T, (x2 @ (P @ W).T, x1 @ Th.T)).mean()


def _view_pairs(rng: np.random.Generator, n1: int) -> tuple[tuple[np.ndarray, np.ndarray], Any, Any]:
    """All equally likely pairs of views of a few samples, drawn independently, with their Σs and Σd."""
    n_samples, n_views = 3, 2
    views = rng.standard_normal((n_samples, n_views, n1)) + 2 * rng.standard_normal((n_samples, 1, n1))
    a, b = np.divmod(np.arange(n_views**2), n_views)
    mean = views.mean(axis=1)
    sigma_s = np.einsum("nai,naj->ij", views, views) / (n_samples * n_views)
    pairs = views[:, a].reshape(-1, n1), views[:, b].reshape(-1, n1)
    return pairs, sigma_s, mean.T @ mean / n_samples


def _descent(loss: Loss, state: MatrixState, pairs: Any) -> tuple[np.ndarray, np.ndarray, float]:
    """−∂L/∂W and −∂L/∂P, the target held fixed, by central differences of step 1, and the largest L that was met.

    L is quadratic in W and quadratic in P: its central differences have no truncation error at any step.
    """
    found, largest = [], 0.0
    for name in ("online", "predictor"):
        part = getattr(state, name)
        gradient = np.empty(part.shape)
        for index in np.ndindex(part.shape):
            nudge = np.zeros(part.shape)
            nudge[index] = 1.0
            above, below = (state._replace(**{name: part + sign * nudge}) for sign in (1, -1))
            losses = [float(_mean_loss(loss, moved, pairs)) for moved in (above, below)]
            gradient[index] = (losses[0] - losses[1]) / 2
            largest = max(largest, *losses)
        found.append(-gradient)
    return found[0], found[1], largest


def _gradient_trial(
    rng: np.random.Generator, field: VectorField, loss: Loss, speed: float, weight_decay: float
) -> Measurement:
    n1, n2 = 3, 2
    pairs, sigma_s, sigma_d = _view_pairs(rng, n1)
    system = MatrixSystem(sigma_s, sigma_d, **random_rates(rng), weight_decay=weight_decay)
    W, Th, P = rng.standard_normal((n2, n1)), rng.standard_normal((n2, n1)), rng.standard_normal((n2, n2))
    state = system.state(W, P, Th)
    descent_W, descent_P, largest = _descent(loss, state, pairs)
    dW, dP, _ = field(0.0, state, system)
    errors = (
        speed * system.tau_online * (dW + weight_decay * W) - descent_W,
        speed * system.tau_predictor * (dP + weight_decay * P) - descent_P,
    )
    # the losses one unit away, which are subtracted, are squares of sums of n1 n2 + n1 products
    tolerance = 2 * EPS * (n1 * n2 + n1) * largest
    return Measurement(float(max(np.max(np.abs(error)) for error in errors)), float(tolerance))


def _symbolic_views(n1: int, n2: int) -> tuple[Any, Any, Any]:
    """Two symbolic views of a sample in either order, the state, and the system of their moments."""
    x1, x2 = symbols("x", 2, n1)
    pairs = np.array([x1, x2]), np.array([x2, x1])
    sigma_s = (np.outer(x1, x1) + np.outer(x2, x2)) / 2
    sigma_d = (np.outer(x1, x2) + np.outer(x2, x1)) / 2
    state = MatrixState(symbols("w", n2, n1), symbols("p", n2, n2), symbols("t", n2, n1))
    rates = symbolic_rates() | {"weight_decay": 0}
    return pairs, state, SimpleNamespace(sigma_s=sigma_s, sigma_d=sigma_d, **rates)


def _proves_descent(field: VectorField, loss: Loss, speed: int) -> bool:
    pairs, state, system = _symbolic_views(2, 2)
    L = _mean_loss(loss, state, pairs)
    dW, dP, _ = field(0, state, system)
    flows = (
        (state.online, speed * system.tau_online * dW),
        (state.predictor, speed * system.tau_predictor * dP),
    )
    return vanishes(
        [L.diff(x) + v for part, flow in flows for x, v in zip(part.flat, flow.flat, strict=True)]
    )


# --- R1 ---------------------------------------------------------------------------------------------------------


def field_is_descent(
    rng: np.random.Generator, *, field: VectorField = full_field, loss: Loss = prediction_loss
) -> Measurement:
    """R1: the field at a random state against differences of the loss over all pairs of views."""
    return _gradient_trial(rng, field, loss, 1.0, rng.uniform(0.0, 0.5))


def prove_field_is_descent() -> bool:
    """R1 for 2×2 weights and two views in either order: τo dW/dt + ∂L/∂W and τp dP/dt + ∂L/∂P are zero."""
    return _proves_descent(full_field, prediction_loss, 1)


# --- R2 ---------------------------------------------------------------------------------------------------------


def _promised(
    names: Iterable[str], fields: Mapping[str, VectorField], other: VectorField
) -> dict[str, VectorField]:
    """Fields of the variants that promise the balance law; the proportional target stands in no table."""
    return {name: fields.get(name, other) for name in sorted(names)}


MATRIX_FIELDS = _promised(BALANCED_VARIANTS, FIELDS, proportional_ema_field(lambda t: 0.6 + 0.3 * np.cos(t)))
MODE_VARIANTS = _promised(
    BALANCED_MODE_VARIANTS, MODE_FIELDS, proportional_ema_mode_field(lambda t: 0.6 + 0.3 * np.cos(t))
)


def balance_law(
    rng: np.random.Generator,
    *,
    fields: Mapping[str, VectorField] = MATRIX_FIELDS,
    mode_fields: Mapping[str, VectorField] = MODE_VARIANTS,
    drift: Callable[[Any, Any, Any], Any] = balance_drift,
) -> Measurement:
    """R2: dC/dt + 2ηC at a random state, for every variant that promises the law, and C(t) along a run."""
    n1, n2 = 4, 3
    A, B = rng.standard_normal((2, n1, n1)) / np.sqrt(n1)
    rates = random_rates(rng) | {"weight_decay": rng.uniform(0.0, 0.3)}
    system = MatrixSystem(A @ A.T + B @ B.T, A @ A.T, **rates)
    W, Th = rng.standard_normal((2, n2, n1))
    start = system.state(W, rng.standard_normal((n2, n2)), Th)
    parts = [_balance_defect(field, start, system) for field in fields.values()]

    lambda_s = rng.uniform(0.5, 2.0, n1)
    modes = ModeSystem(lambda_s, rng.uniform(0.1, 0.9, n1) * lambda_s, **rates)
    tied = replace(modes, tau_predictor=modes.tau_online)  # without which there are no tied weights
    state = modes.state(*rng.standard_normal((3, n1)))
    parts += [
        _balance_defect(field, state, tied if name == "tied" else modes)
        for name, field in mode_fields.items()
    ]

    run, error = followed(start, system, fields["full"], ts=np.linspace(0.0, 1.5, 6))
    # C is quadratic: each of W and P is off by the run's error in all entries at worst
    sizes = [float(np.max(np.linalg.norm(part, axis=(1, 2)))) for part in run.states[:2]]
    tolerance = 2 * error * n2 * (system.tau_online * sizes[0] + system.tau_predictor * sizes[1])
    return worst(*parts, (drift(run.ts, run.states, system), tolerance))


def _balance_defect(field: VectorField, state: Any, system: Any) -> tuple[float, float]:
    """Largest entry of dC/dt + 2ηC, and what rounding explains of it."""
    t = 0.7
    W, P, Th = state = field.constrain(t, state, system)
    dW, dP, _ = field(t, state, system)
    if isinstance(system, ModeSystem):
        half = system.tau_online * W * dW - system.tau_predictor * P * dP
        defect = 2 * half + 2 * system.weight_decay * mode_invariant(state, system)
        weights, s = np.abs(W) + np.abs(P), system.lambda_s
        size = np.max(weights**2 * (np.abs(P * W) * s + np.abs(Th) * s + system.weight_decay))
        return float(np.max(np.abs(defect))), float(4 * EPS * size)
    half = system.tau_online * dW @ W.T - system.tau_predictor * P.T @ dP
    defect = half + half.T + 2 * system.weight_decay * balance_matrix(state, system)
    # tr of the terms Pᵀ P W Σs Wᵀ and Pᵀ Θ Σd Wᵀ, of which each entry is a sum of n1 + n2 products
    absolute = (
        np.abs(P).T
        @ (np.abs(P @ W) @ np.abs(system.sigma_s) + np.abs(Th) @ np.abs(system.sigma_d))
        @ np.abs(W).T
    )
    size = np.max(absolute) + system.weight_decay * np.max(np.abs(W) @ np.abs(W).T + np.abs(P).T @ np.abs(P))
    return float(np.max(np.abs(defect))), float(2 * EPS * sum(W.shape) * size)


def prove_balance_law() -> bool:
    """R2 for W of shape (2, 3): dC/dt + 2ηC expands to zero, whatever Σs, Σd and Θ are."""
    W, P, Th = symbols("w", 2, 3), symbols("p", 2, 2), symbols("t", 2, 3)
    sigma_s, sigma_d = (symbols(letter, 1, 6)[0][[[0, 1, 2], [1, 3, 4], [2, 4, 5]]] for letter in "sd")
    system: Any = SimpleNamespace(sigma_s=sigma_s, sigma_d=sigma_d, **symbolic_rates())
    state = MatrixState(W, P, Th)
    dW, dP, _ = full_field(0, state, system)
    half = system.tau_online * (dW @ W.T) - system.tau_predictor * (dP.T @ P)
    return vanishes(half + half.T + 2 * system.weight_decay * balance_matrix(state, system))


# --- R3 ---------------------------------------------------------------------------------------------------------


def mode_reduction(
    rng: np.random.Generator,
    *,
    field: VectorField = full_field,
    mode_field: VectorField = full_mode_field,
    reduce: Callable[[MatrixState, MatrixSystem], ModeReduction] = reduce_to_modes,
) -> Measurement:
    """R3: the full field at a decoupled state is the one-mode fields, expanded; other moments are refused."""
    n1, n2 = 4, 3
    U = orthogonal(rng, n1)
    lambda_s = rng.uniform(0.5, 2.0, n1)
    sigma_s, sigma_d = (U * lambda_s) @ U.T, (U * (rng.uniform(0.1, 0.9, n1) * lambda_s)) @ U.T
    rates = random_rates(rng) | {"weight_decay": rng.uniform(0.0, 0.3)}
    system = MatrixSystem((sigma_s + sigma_s.T) / 2, (sigma_d + sigma_d.T) / 2, **rates)
    w, p, th = rng.uniform(0.2, 1.5, (3, n2)) * rng.choice([-1, 1], (3, n2))
    state = expand_modes(ModeState(w, p, th), U.T[:n2])
    modes, mode_system, directions = reduce(state, system)
    expanded = expand_modes(mode_field(0.0, modes, mode_system), directions)
    errors = [a - b for a, b in zip(field(0.0, state, system), expanded, strict=True)]

    tilt = rng.standard_normal((n1, n1))
    refused = False
    try:
        reduce(state, MatrixSystem(system.sigma_s, tilt @ tilt.T, **rates))
    except ValueError:
        refused = True
    # Σs and Σd are sums of n1 rounded products, and the field multiplies them with four weights over τ
    size = max(float(np.max(np.abs(part))) for part in expanded) + float(np.max(np.abs(w * p**2 * 2 / 0.5)))
    return worst(
        refuted(unless=refused), (max(float(np.max(np.abs(e))) for e in errors), 2 * n1 * EPS * size)
    )


def prove_mode_reduction() -> bool:
    """R3 for two decoupled rows of three inputs: the full field is the expanded one-mode fields, entry by entry."""
    w, p, th = (symbols(letter, 1, 2)[0] for letter in "wpt")
    lambda_s, lambda_d = (symbols(letter, 1, 3)[0] for letter in "sd")
    rates = symbolic_rates()
    directions = np.eye(2, 3, dtype=int)
    full: Any = SimpleNamespace(sigma_s=lambda_s, sigma_d=lambda_d, **rates)
    modes: Any = SimpleNamespace(lambda_s=lambda_s[:2], lambda_d=lambda_d[:2], **rates)
    state = ModeState(w, p, th)
    expanded = expand_modes(full_mode_field(0, state, modes), directions)
    derivative = full_field(0, expand_modes(state, directions), full)
    return all(vanishes(a - b) for a, b in zip(derivative, expanded, strict=True))


# --- R12 --------------------------------------------------------------------------------------------------------


def no_stop_gradient_collapse(
    rng: np.random.Generator, *, field: VectorField = no_stop_gradient_field, loss: Loss = prediction_loss
) -> Measurement:
    """R12: d‖W‖²/dt at a random state against −4L over all pairs of views."""
    n1, n2 = 3, 2
    pairs, sigma_s, sigma_d = _view_pairs(rng, n1)
    system = MatrixSystem(sigma_s, sigma_d, tau_predictor=rng.uniform(0.5, 2.0))
    W, P = rng.standard_normal((n2, n1)), rng.standard_normal((n2, n2))
    state = system.state(W, P)
    change = 2 * np.sum(W * field(0.0, state, system).online)
    L = _mean_loss(loss, state, pairs)
    # both sides are sums of n1 n2 terms of this size, of rounded products of n1
    size = (np.linalg.norm(P) + 1) ** 2 * np.linalg.norm(W) ** 2 * np.linalg.norm(sigma_s, 2)
    return worst(refuted(unless=L >= 0), (abs(change + 4 * L), 2 * EPS * size * (n1 + n2)))


def prove_no_stop_gradient_collapse() -> bool:
    """R12 for 2×2 weights and two views in either order: τo d‖W‖²/dt + 4L expands to zero."""
    pairs, (W, P, _), system = _symbolic_views(2, 2)
    state = MatrixState(W, P, W)
    dW = no_stop_gradient_field(0, state, system).online
    return vanishes([2 * system.tau_online * (W * dW).sum() + 4 * _mean_loss(prediction_loss, state, pairs)])


# --- R29 --------------------------------------------------------------------------------------------------------


def symmetrised_speed(
    rng: np.random.Generator, *, field: VectorField = full_field, loss: Loss = symmetrised_loss
) -> Measurement:
    """R29: twice the field at a random state against differences of the symmetrised loss."""
    return _gradient_trial(rng, field, loss, 2.0, 0.0)


def prove_symmetrised_speed() -> bool:
    """R29 for 2×2 weights and two views in either order: 2 τo dW/dt + ∂L/∂W and 2 τp dP/dt + ∂L/∂P are zero."""
    return _proves_descent(full_field, symmetrised_loss, 2)


RESULTS: tuple[Result, ...] = (
    Result(
        id="R1",
        title="the field is the descent of the loss",
        statement=(
            "With E = Θ Σd − P W Σs: Pᵀ E = −∂L/∂W and E Wᵀ = −∂L/∂P for L = ½ E‖P W x1 − Θ x2‖², the target held "
            "fixed; dW/dt = Pᵀ E/τo − η W, dP/dt = E Wᵀ/τp − η P."
        ),
        source="DD 178–180; NC, BYOL learning dynamics; RAFT 58–60",
        hypotheses="Linear networks; two views drawn independently given the sample.",
        as_printed=AsPrinted.CORRECTED,
        code="dynamics.fields.matrices.full_field",
        correction=(
            "E2: DD 179–180, and 186–187 for one mode, print τo on the predictor and τp on the online weights, "
            "against the text. E7: NC writes the flow as +∂J, Σs as (x + x′), and the predictor as n1×n2, where it is "
            "n2×n2. RAFT's loss has no factor ½, so its gradients are twice these."
        ),
        trial=field_is_descent,
        proof=prove_field_is_descent,
    ),
    Result(
        id="R2",
        title="balance law",
        statement="C(t) = τo W Wᵀ − τp Pᵀ P obeys C(t) = e^{−2ηt} C(0), for every Σs, Σd and Θ(t).",
        source="NC, weight decay and balance; there τo = 1, τp = 1/αp",
        hypotheses="The flow of R1, any target.",
        as_printed=AsPrinted.YES,
        code="dynamics.invariants.balance_matrix",
        trial=balance_law,
        proof=prove_balance_law,
    ),
    Result(
        id="R3",
        title="mode reduction",
        statement=(
            "If Σs Σd = Σd Σs, each row of W and Θ lies along one common eigenvector of its own and P is diagonal, the "
            "flow stays so: dw1/dt = w2 e/τo − η w1, dw2/dt = w1 e/τp − η w2, dθ/dt = (w1 − θ)/τt, e = θ λd − w2 w1 λs."
        ),
        source="DD appendix F.4",
        hypotheses="Commuting moments, decoupled start; without commutation there is no such reduction.",
        as_printed=AsPrinted.YES,
        code="dynamics.modes.reduce_to_modes",
        trial=mode_reduction,
        proof=prove_mode_reduction,
    ),
    Result(
        id="R12",
        title="without stop-gradient the encoder collapses",
        statement="d‖W‖²/dt = −4L <= 0: collapse unless L = 0.",
        source="DD corollary 2 in the linear case; NC",
        hypotheses="Θ = W with the gradient through both branches, τo = 1, η = 0.",
        as_printed=AsPrinted.YES,
        code="dynamics.fields.matrices.no_stop_gradient_field",
        trial=no_stop_gradient_collapse,
        proof=prove_no_stop_gradient_collapse,
    ),
    Result(
        id="R29",
        title="symmetrised loss",
        statement=(
            "Swapping the views leaves Σs and Σd unchanged: the symmetric loss has the same flow at twice the speed."
        ),
        source="BYOL, symmetrised loss",
        hypotheses="Both views of one distribution, drawn independently given the sample.",
        as_printed=AsPrinted.YES,
        code="dynamics.fields.matrices.full_field",
        trial=symmetrised_speed,
        proof=prove_symmetrised_speed,
    ),
)
"""R1, R2, R3, R12 and R29."""
