"""What batches add to the flow of a training run: the drift of the balance matrix, from the data's own views (R310)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dynamics.fields.matrices import error_matrix
from dynamics.states import MatrixState
from dynamics.system import MatrixSystem
from dynamics.variants import BALANCED_VARIANTS

if TYPE_CHECKING:
    from dynamics.training import Flow, TrainingData, TrainingSettings

VIEWS = 2048
"""Pairs of views from which fourth moments are taken: they are known to some 1/√2048, as is the drift."""
PIECES = 2
"""Times between two measurements at which the drift is worked out anew: it changes as slowly as the features."""
_SEED = 0


class Views(NamedTuple):
    """Pairs of views (x1, x2), shape (N, n1) each, of a loss with one prediction or, symmetric, with both."""

    first: np.ndarray
    second: np.ndarray
    symmetric: bool


def balance_drift_of_steps(
    state: MatrixState, system: MatrixSystem, views: Views, batch: int | None, dt: float
) -> np.ndarray:
    """Rate at which steps on batches move C = τo W Wᵀ − τp Pᵀ P, on average.

        E[C⁺ − C]/dt = dt {Pᵀ E[Ê Êᵀ] P/τo − W E[Êᵀ Ê] Wᵀ/τp} − 2η C,
        E[Ê Êᵀ] = (1 − 1/B) E Eᵀ + E[G Gᵀ]/B,   G = (Θ x2 − P W x1) x1ᵀ

    with Ê the mean of G over a batch of B, which has the mean E = Θ Σd − P W Σs; G of a symmetric loss is the mean over
    both orders of the views. What is returned leaves out −2η C, which the flow holds.

    Parameters
    ----------
    state
        W (n2, n1), P (n2, n2) and Θ (n2, n1).
    system
        Moments and time constants.
    views
        Samples of what batches are drawn from; G's moments are averages over them.
    batch
        B >= 1 samples drawn with replacement; None for all, of which R301's finite step is left.
    dt
        Time of the flow that one step takes.

    Returns
    -------
    array
        Symmetric, shape (n2, n2).

    Notes
    -----
    Exact for every step; the fourth moments are those of the data. For Gaussian views it is R310. Source: R301, R310.

    Examples
    --------
    >>> system = MatrixSystem([1.0], [0.5])
    >>> state = system.state([[0.5]], [[0.5]])  # at rest: what is left is noise
    >>> views = Views(np.array([[1.0], [-1.0]]), np.array([[1.0], [0.0]]), symmetric=False)
    >>> float(balance_drift_of_steps(state, system, views, None, 0.1)[0, 0])
    0.0
    """
    W, P, Th = state
    E = error_matrix(state, system)
    outer, inner = E @ E.T, W @ E.T @ E @ W.T
    if batch is not None:
        y1, y2 = (x @ W.T for x in views[:2])
        e = views.second @ Th.T - y1 @ P.T
        pairs = [(e, e, y1, y1, np.sum(views.first**2, axis=1))]
        if views.symmetric:
            f = views.first @ Th.T - y2 @ P.T
            across = np.sum(views.first * views.second, axis=1)
            pairs += [
                (f, f, y2, y2, np.sum(views.second**2, axis=1)),
                (e, f, y1, y2, across),
                (f, e, y2, y1, across),
            ]
        share = 1 / len(pairs) / len(y1) / batch
        outer = (1 - 1 / batch) * outer + share * sum(
            (a * weight[:, None]).T @ b for a, b, _, _, weight in pairs
        )
        inner = (1 - 1 / batch) * inner + share * sum(
            (a * np.sum(left * right, axis=1)[:, None]).T @ b for left, right, a, b, _ in pairs
        )
    drift: np.ndarray = dt * (P.T @ outer @ P / system.tau_online - inner / system.tau_predictor)
    return drift


def drawn_views(data: TrainingData, support: np.ndarray, settings: TrainingSettings) -> Views:
    """Draw views as training draws them, in the coordinates of the support of Σs."""
    import jax

    from dynamics.training.data import draw_views
    from dynamics.training.generator import new_key

    samples = jax.tree.map(lambda a: np.asarray(a, np.float32), data.samples)
    chain = data.settings.chain()

    @jax.jit
    def draw(samples: Any, key: Any) -> Any:
        return draw_views(data.settings, chain, samples, key, VIEWS)

    drawn = draw(samples, new_key(np.uint32(_SEED)))
    x1, x2 = np.asarray(drawn, np.float64).reshape(2, -1, data.n1) @ support
    return Views(x1, x2, settings.objective.symmetric)


def is_covered(settings: TrainingSettings, flow: Flow) -> bool:
    """Whether steps of a run move C as `balance_drift_of_steps` says: plain BYOL whose flow conserves it."""
    return (
        settings.objective.kind == "byol"
        and flow.vector_field.name in BALANCED_VARIANTS
        and settings.batch is not None
    )


def noisy_path(start: MatrixState, flow: Flow, views: Views, batch: int | None, ts: np.ndarray) -> np.ndarray:
    """Encoders of the flow with the drift of C that batches cause, at increasing times, shape (T, n2, n1).

    The drift D of C is put on the encoder, dW = ½ D (W Wᵀ)⁻¹ W dt/τo: the flow conserves C and brings everything else
    to the fixed points of that C, which are one up to rotation, so that where it is put makes no difference to them.

    Parameters
    ----------
    start, flow
        Where and how.
    views, batch
        As for `balance_drift_of_steps`.
    ts
        Times, the first that of the start.

    Returns
    -------
    array
        NaN from where the flow could not be followed.

    Notes
    -----
    Valid for steps that are small beside the time of the flow, on average over batches: R308 says how far one run is
    from it. Source: R307, R310.
    """
    from scipy.integrate import solve_ivp

    system, field, state = flow.system, flow.vector_field, start
    shapes = [part.shape for part in start]
    ends = np.cumsum([part.size for part in start])[:-1]

    def unpacked(z: np.ndarray) -> MatrixState:
        return MatrixState(
            *(part.reshape(shape) for part, shape in zip(np.split(z, ends), shapes, strict=True))
        )

    found = np.full((len(ts), *start.online.shape), np.nan)
    found[0] = start.online
    pieces = [np.linspace(a, b, PIECES + 1) for a, b in pairwise(ts)]
    for k, piece in enumerate(pieces, start=1):
        for t, after in pairwise(piece):
            D = balance_drift_of_steps(state, system, views, batch, flow.dt)
            W = state.online
            floor = np.finfo(float).eps * np.linalg.norm(W, 2) ** 2
            pushed = D @ np.linalg.solve(W @ W.T + floor * np.eye(len(W)), W) / (2 * system.tau_online)

            def moved(t: float, z: np.ndarray, pushed: np.ndarray = pushed) -> np.ndarray:
                dW, dP, dTh = field(t, unpacked(z), system)
                return np.concatenate([np.ravel(dW + pushed), np.ravel(dP), np.ravel(dTh)])

            run = solve_ivp(
                moved, (t, after), np.concatenate([part.ravel() for part in state]), rtol=1e-5, atol=1e-7
            )
            if not run.success or not np.all(np.isfinite(run.y[:, -1])):
                return found
            state = field.constrain(after, unpacked(run.y[:, -1]), system)
        found[k] = state.online
    return found
