"""Corollaries of mean normalisation, for contrastive losses and without stop-gradient: R217."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from analysis.normalisation.mean import GradientTerms, no_stop_gradient_terms
from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trees.batch_mean import centred_system
from analysis.results.trials import EPS, refuted, symbols, vanishes, worst
from dynamics.contrastive_losses import ContrastiveLoss, InfoNCELoss, SimpleLoss
from dynamics.fields.matrices import full_field, no_stop_gradient_field
from dynamics.fields.vector_field import VectorField
from dynamics.normalisation import Normaliser, normalise
from dynamics.states import MatrixState

LOSSES: tuple[ContrastiveLoss, ...] = (InfoNCELoss(0.5), SimpleLoss())


def role_gradients(f: np.ndarray, loss: ContrastiveLoss) -> np.ndarray:
    """Gradients by the outputs of anchors, positives and negatives, shape (2 + H, N, n), of a loss of r₊ and r₋."""
    anchor, positive, negatives = f[0], f[1], f[2:]
    r_pos = np.sum((anchor - positive) ** 2, -1) / 2
    r_neg = np.sum((anchor - negatives) ** 2, -1).T / 2
    by_pos, xi = loss.slopes(r_pos, r_neg)
    pulls = np.concatenate(
        [(by_pos[:, None] * (anchor - positive))[None], -xi.T[..., None] * (anchor - negatives)]
    )
    return np.concatenate([pulls.sum(0)[None], -pulls])


def _own_ratio(ratio: float) -> float:
    return ratio


def corollaries(
    rng: np.random.Generator,
    *,
    by_role: bool = False,
    threshold: Callable[[float], float] = _own_ratio,
    terms: Callable[..., GradientTerms] = no_stop_gradient_terms,
    field: VectorField = full_field,
) -> Measurement:
    """R217: one mean for all roles changes no gradient; growth at P = βI; the two terms without stop-gradient."""
    from scipy.linalg import eigh

    n, n1, n2, h = 6, 4, 3, 3
    x, W = rng.exponential(size=(2 + h, n, n1)), rng.standard_normal((n2, n1))
    z = x @ W.T
    parts: list[tuple[Any, Any]] = []
    for loss in LOSSES:
        g = role_gradients(z, loss)
        raw = np.einsum("rbi,rbj->ij", g, x)
        roles = list(z) if by_role else [z.reshape(-1, n2)]
        outputs, pullbacks = zip(*(normalise(role, Normaliser(mean="full")) for role in roles), strict=True)
        slopes = role_gradients(np.stack(outputs).reshape(z.shape), loss).reshape(len(roles), -1, n2)
        pulled = np.stack([pull(one) for pull, one in zip(pullbacks, slopes, strict=True)]).reshape(z.shape)
        # exponents over τ = ½ err by the rounding of squared distances, and so do the slopes
        distances = float(np.max(np.abs(z))) ** 2
        tolerance = 4 * EPS * (1 + distances) * np.max(np.abs(g)) * np.sum(np.abs(x))
        parts.append((np.abs(np.einsum("rbi,rbj->ij", pulled, x) - raw), tolerance))
    system, P = centred_system(rng, n1), rng.standard_normal((n2, n2))
    S, D = system.sigma_s, system.sigma_d
    ratios, modes = eigh(D, S)
    k, beta = int(rng.integers(n1)), rng.uniform(0.05, 1.5)
    row = modes[:, k][None]
    power = float(np.sum(field(0.0, system.state(row, beta * np.eye(1), row), system).online * row))
    undecided = abs(beta - ratios[k]) < 1e-6
    parts.append(refuted(unless=undecided or (power > 0) == (beta < threshold(ratios[k]))))
    found = no_stop_gradient_field(0.0, system.state(W, P), system).online
    said = terms(W, P, S, D)
    size = (1 + np.linalg.norm(P)) ** 2 * np.linalg.norm(W) * np.linalg.norm(S)
    parts.append((np.abs(found - said.contrastive - said.rest), 4 * EPS * size))
    parts += [
        (max(float(np.sum(term * W)), 0.0), EPS * size * np.linalg.norm(W)) for term in said
    ]  # both shrink W
    return worst(*parts)


def prove_corollaries() -> bool:
    """R217 for 2×2 matrices: the velocity without stop-gradient is the sum of its two terms."""
    from types import SimpleNamespace

    S, D = ((X + X.T) / 2 for X in (symbols("s", 2, 2), symbols("d", 2, 2)))
    W, P = symbols("w", 2, 2), symbols("p", 2, 2)
    system: Any = SimpleNamespace(
        sigma_s=S, sigma_d=D, tau_online=1, tau_predictor=1, tau_target=1, weight_decay=0
    )
    moved = no_stop_gradient_field(0, MatrixState(W, P, W), system).online
    said = no_stop_gradient_terms(W, P, S, D)
    return vanishes(moved - said.contrastive - said.rest)


RESULTS: tuple[Result, ...] = (
    Result(
        id="R217",
        title="corollaries of mean normalisation",
        statement=(
            "A mean shared by anchors, positives and negatives changes no gradient of a contrastive loss, batch by"
            " batch. With stop-gradient and P = βI a mode grows iff β < r. Without it, dW/dt ="
            " −(PᵀP + I)W(Σs − Σd) − (I − P)ᵀ(I − P)WΣd, and both terms shrink W."
        ),
        source="DD corollaries 1 and 2",
        hypotheses="A loss of distances of outputs; τo = 1.",
        as_printed=AsPrinted.CORRECTED,
        code="analysis.normalisation.mean.no_stop_gradient_terms",
        correction=(
            "E24: the first term is sym(W) + sym(W′), not 2 sym(W). E25: with a normaliser per role the gradient of NCE"
            " changes. E27: growth needs β < r, not β < 1."
        ),
        trial=corollaries,
        proof=prove_corollaries,
    ),
)
"""R217."""
