"""Results on what grows, and on what a contrastive learner finds: R28, R30."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from analysis.contrastive.spectra import SubspaceComparison, compare_with_contrastive
from analysis.results.linear.errata import EmaPaths, ema_paths
from analysis.results.linear.losses import (
    SIMPLE,
    Loss,
    compiled_loss,
    slope_of,
)
from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import EPS, followed, orthogonal, refuted, worst
from dynamics.data.moments import Moments
from dynamics.exact.ema_recurrence import EmaGrowth, ema_growth
from dynamics.fields.matrices import full_field
from dynamics.fields.vector_field import VectorField
from dynamics.system import MatrixSystem

# --- R28 ----------------------------------------------------------------------------------------------------


def _ema_step(w: Any, ema: Any, alpha: Any, eta: Any, gain: Any) -> tuple[Any, Any]:
    """w(t+1) and w_ema(t+1) of the recurrence that grows."""
    return w + alpha * (-w + (1 + gain) * ema), (1 - eta) * ema + eta * w


def ema_recurrence(
    rng: np.random.Generator,
    *,
    paths: Callable[[float, float, float, int], EmaPaths] = ema_paths,
    growth: Callable[[Any, Any, Any], EmaGrowth] = ema_growth,
) -> Measurement:
    """R28: growth of the recurrence, run for 300 steps, against 1 + κ, κ against its bound, and the printed sign."""
    n_steps = 300
    alpha, eta = rng.uniform(0.1, 0.8, 2)
    gain = rng.uniform(0.1, 3.0)
    rate, bound = growth(alpha, eta, gain)
    run = paths(alpha, eta, gain, n_steps)
    grown = run.corrected[-1] / run.corrected[-2]
    # the other root is −(α + η) − κ; what is left of it, and a few eps of rounding a step
    other = abs(1 - alpha - eta - rate) / (1 + rate)
    tolerance = 8 * EPS * (1 + rate) / (alpha * eta) + 100 * other**n_steps
    return worst(
        (abs(grown - 1 - rate), tolerance),
        (max(float(rate - bound), 0.0), 2 * EPS * bound),
        (abs(rate**2 + (alpha + eta) * rate - alpha * eta * gain), 4 * EPS * (alpha * eta * gain + rate**2)),
        refuted(unless=abs(run.printed[-1]) < run.corrected[-1] and run.corrected[-1] > run.corrected[-75]),
    )


def prove_ema_recurrence() -> bool:
    """R28: 1 + κ is an eigenvalue of one step, and κ² = bound·(α + η) − κ(α + η) makes κ at most the bound."""
    import sympy as sp

    alpha, eta, gain = sp.symbols("alpha eta lambda", positive=True)
    kappa = (alpha + eta) / 2 * (sp.sqrt(1 + 4 * alpha * eta * gain / (alpha + eta) ** 2) - 1)
    w, ema = sp.symbols("w v", real=True)
    step = sp.Matrix(_ema_step(w, ema, alpha, eta, gain)).jacobian([w, ema])
    characteristic = (step - (1 + kappa) * sp.eye(2)).det()
    bound = gain / (1 / alpha + 1 / eta)
    return bool(
        sp.simplify(characteristic) == 0 and sp.simplify(kappa**2 - (bound - kappa) * (alpha + eta)) == 0
    )


# --- R30 ----------------------------------------------------------------------------------------------------


def contrastive_comparison(
    rng: np.random.Generator,
    *,
    contrastive: Loss = SIMPLE,
    field: VectorField = full_field,
    compare: Callable[[Moments, int], SubspaceComparison] = compare_with_contrastive,
) -> Measurement:
    """R30: −∇L_simp = 2 W V by differences, then where each flow turns one row, and the angle between."""
    from scipy.linalg import expm, subspace_angles

    n, n_samples, n_views = 3, 6, 3
    views = rng.standard_normal((n_samples, 1, n)) + 0.6 * rng.standard_normal((n_samples, n_views, n))
    W = rng.standard_normal((2, n))

    def objective(W: np.ndarray) -> float:
        """Mean over the views of each sample: all pairs of them, of one sample and of two."""
        z = views @ W.T
        batches = [(z[:, a], z[:, b]) for a, b in np.ndindex(n_views, n_views)]
        return float(np.mean([compiled_loss(contrastive)(z1, z2, z2, 1.0, 1.0) for z1, z2 in batches]))

    slope = slope_of(objective, W)
    V = np.cov(
        views.mean(axis=1).T
    )  # of the augmentation-averaged view; negatives are of other samples: unbiased
    size = np.linalg.norm(W) ** 2 + 4 * np.linalg.norm(W)
    largest = float(np.max(np.sum(views**2, axis=-1)))
    parts: list[tuple[Any, Any]] = [(np.max(np.abs(slope + 2 * W @ V)), 4 * n * EPS * size * largest)]

    # anisotropic noise: the direction of most variance carries most of the noise
    lambda_d, noise = np.array([2.0, 1.0, 0.5]) * rng.uniform(0.9, 1.1, 3), np.array([4.0, 0.1, 1.0])
    Q = orthogonal(rng, n)
    moments = Moments.additive_noise((Q * lambda_d) @ Q.T, (Q * noise) @ Q.T)
    system = MatrixSystem(moments.sigma_s, moments.sigma_d)
    w = rng.uniform(0.5, 1.0, n) @ Q.T  # of like size along every mode of Σd
    w /= np.linalg.norm(w)
    run, error = followed(system.state(w[None], [[1.0]]), system, field, ts=np.array([0.0, 400.0]))
    byol = run.final.online  # balanced: R10
    simclr = w @ expm(40 / (lambda_d[0] - lambda_d[1]) * moments.sigma_d)
    top_d = np.linalg.eigh(moments.sigma_d)[1][:, -1]
    top_m = moments.modes.directions[:, 0]
    said = compare(moments, 1)
    # e^{−40} is left of the other modes in the contrastive flow; an angle moves by the error over the row's length
    tolerance = 2 * np.sqrt(n) * error / np.linalg.norm(byol) + 64 * EPS
    found = subspace_angles(byol.T, simclr[:, None])[0]
    return worst(
        *parts,
        refuted(unless=np.linalg.norm(byol) > 0.1),  # it has learned something to compare
        (abs(found - said.angles[0]), tolerance),
        (_astray(byol[0], said.byol[:, 0]), tolerance),
        (_astray(simclr, said.contrastive[:, 0]), 64 * EPS),
        (abs(said.angles[0] - subspace_angles(top_m[:, None], top_d[:, None])[0]), 64 * EPS),
    )


def _astray(a: np.ndarray, b: np.ndarray) -> float:
    """Sine of the angle between two vectors."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    return float(np.linalg.norm(a - (a @ b) * b))


RESULTS: tuple[Result, ...] = (
    Result(
        id="R28",
        title="growth by the moving average",
        statement=(
            "w(t+1) − w(t) = α[−w(t) + (1 + λ) w_ema(t)], w_ema(t+1) = (1 − η) w_ema + η w grows as (1 + κ)ᵗ with "
            "κ = ½(η + α)(sqrt(1 + 4αηλ/(η + α)²) − 1) <= λ/(1/α + 1/η)."
        ),
        source="DD theorem 9, 15 and 166–170",
        hypotheses="α, η in (0, 1], λ >= 0, generic start.",
        as_printed=AsPrinted.CORRECTED,
        code="dynamics.exact.ema_recurrence.ema_growth",
        correction="E3: 15 prints 1 − λ, with which the weights decay.",
        trial=ema_recurrence,
        proof=prove_ema_recurrence,
    ),
    Result(
        id="R30",
        title="SimCLR and BYOL learn different subspaces",
        statement=(
            "The simple contrastive loss gives dW/dt = W V, V the covariance of the augmentation-averaged view: all "
            "its rows turn to the top eigenvector of Σd, those of BYOL to the top modes of M. They differ where noise "
            "is anisotropic. InfoNCE learns the modes of M, as BYOL does (R116, R120)."
        ),
        source="DD theorem 3, 4.1 and appendix F.2",
        hypotheses="Linear network; centred data, so that V = Σd; BYOL from a balanced start; speed 2 absorbed in t.",
        as_printed=AsPrinted.CORRECTED,
        code="analysis.contrastive.spectra.compare_with_contrastive",
        correction="E15, E21: the rows learn one eigenvector of Σd, not several, and under the simple loss alone.",
        trial=contrastive_comparison,
    ),
)
"""R28 and R30."""
