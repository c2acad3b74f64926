"""Results on SGD under the simple contrastive loss: R106, R107."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import EPS, orthogonal, refuted, worst
from dynamics.exact.sgd_moments import (
    SecondMoment,
    first_order_misalignment,
    in_batch_noise,
    mean_factor,
    settled_misalignment,
    sgd_second_moment,
    triplet_noise,
)
from dynamics.system import MatrixSystem

# --- shared: batches of Gaussian views, and expectations of polynomials of them -----------------------------


def gaussian_nodes(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (m, n) and weights (m,) that integrate polynomials up to degree 5 over N(0, I_n) exactly.

    The origin, ±√(n + 2) e_i and √((n + 2)/2)(±e_i ± e_j): m = 2n² + 1, by Stroud.
    """
    far = np.sqrt(n + 2) * np.eye(n)
    i, j = np.triu_indices(n, 1)
    pairs = [np.sqrt((n + 2) / 2) * (a * np.eye(n)[i] + b * np.eye(n)[j]) for a in (1, -1) for b in (1, -1)]
    nodes = np.concatenate([np.zeros((1, n)), far, -far, *pairs])
    weights = np.full(len(nodes), 1.0 / (n + 2) ** 2)
    weights[0] = 2 / (n + 2)
    weights[1 : 2 * n + 1] = (4 - n) / (2 * (n + 2) ** 2)
    return nodes, weights


def _random_system(rng: np.random.Generator, n: int) -> MatrixSystem:
    """Draw Σs and Σd that do not commute, 0 ≼ Σd ≼ Σs."""
    V = orthogonal(rng, n) @ np.diag(rng.uniform(0.5, 1.5, n)) @ orthogonal(rng, n)
    sigma_s, sigma_d = V @ V.T, (V * rng.uniform(0.1, 0.9, n)) @ V.T
    return MatrixSystem((sigma_s + sigma_s.T) / 2, (sigma_d + sigma_d.T) / 2)


def _triplets(views: np.ndarray, w: np.ndarray) -> np.ndarray:
    """−ĝ of independent triplets, views (m, B, 3, n): anchors, positives, negatives."""
    x1, pos, neg = np.moveaxis(views, 2, 0)
    return np.mean(x1 * ((pos - neg) @ w)[..., None], axis=1)


def _in_batch(views: np.ndarray, w: np.ndarray, *, with_itself: bool = False) -> np.ndarray:
    """−ĝ of a batch whose other samples are the negatives, views (m, N, 2, n); also of the sample itself."""
    x1, f = views[:, :, 0], views[:, :, 1] @ w
    total = f.sum(axis=1, keepdims=True)
    negative = total / f.shape[1] if with_itself else (total - f) / (f.shape[1] - 1)
    return np.mean(x1 * (f - negative)[..., None], axis=1)


def _batches(system: MatrixSystem, batch: int, per_sample: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (m, B, per_sample, n) of batches of Gaussian views, the first two of one sample, and their weights."""
    n, sigma_s, sigma_d = system.n1, system.sigma_s, system.sigma_d
    law = np.kron(np.eye(per_sample), sigma_s)
    law[:n, n : 2 * n] = law[n : 2 * n, :n] = sigma_d
    z, p = gaussian_nodes(batch * per_sample * n)
    root = np.linalg.cholesky(law)
    return (z.reshape(len(z), batch, -1) @ root.T).reshape(len(z), batch, per_sample, n), p


def _expected(p: np.ndarray, values: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Σ p v vᵀ, and what rounding may move it by.

    Each of the two v has 16 roundings, of `sizes` before anything cancels, and the sum of m terms adds √m.
    """
    rounding = (32 + np.sqrt(len(p))) * EPS * np.einsum("m,mi,mj->ij", np.abs(p), sizes, sizes)
    return np.einsum("m,mi,mj->ij", p, values, values), rounding


def _sizes(views: np.ndarray, w: np.ndarray) -> np.ndarray:
    """|x1| times outputs, the largest of a batch, as −ĝ is before anything cancels: (m, n)."""
    outputs = np.max(np.abs(views) @ np.abs(w), axis=(1, 2))
    return np.max(np.abs(views[:, :, 0]), axis=1) * outputs[:, None]


# --- R106 ---------------------------------------------------------------------------------------------------

Noise = Callable[[MatrixSystem, Any, int], np.ndarray]


def batch_noise(
    rng: np.random.Generator,
    *,
    triplets: Noise = triplet_noise,
    in_batch: Noise = in_batch_noise,
    factor: Callable[..., float] = mean_factor,
) -> Measurement:
    """R106: mean and covariance of −ĝ over batches of Gaussian views, and its mean over a listed data set."""
    n = int(rng.integers(1, 4))
    system, w = _random_system(rng, n), rng.standard_normal(n)
    mean = system.sigma_d @ w
    parts: list[tuple[Any, Any]] = []
    for draw, noise, per_sample, least in ((_triplets, triplets, 3, 1), (_in_batch, in_batch, 2, 2)):
        batch = int(rng.integers(least, 4))
        views, p = _batches(system, batch, per_sample)
        values = draw(views, w)
        sizes = _sizes(views, w)
        second, rounding = _expected(p, values - mean, sizes + np.abs(mean))
        size = 16 * EPS * np.abs(p) @ sizes
        parts += [
            (np.abs(p @ values - mean), size),
            (np.abs(second - noise(system, w, batch)), rounding),
        ]
    itself = p @ _in_batch(views, w, with_itself=True)
    parts.append((np.abs(itself - factor(batch, includes_itself=True) * mean), size))
    parts.append((abs(factor(batch) - 1), EPS))

    # a data set of N samples with 2 views each, in one batch: all choices of anchors and positives
    N = int(rng.integers(2, 4))
    data, q = rng.standard_normal((N, 2, n)), rng.dirichlet(np.ones(2), N)
    picks = np.array(list(product((0, 1), repeat=2 * N))).reshape(-1, N, 2)
    samples = np.arange(N)[:, None]
    chance, chosen = np.prod(q[samples, picks], axis=(1, 2)), data[samples, picks]
    averaged = np.einsum("na,nai->ni", q, data)
    plug_in = (averaged - averaged.mean(axis=0)).T @ averaged @ w / N
    for with_itself in (False, True):
        stated = factor(N, includes_itself=with_itself, finite_population=True) * plug_in
        values = _in_batch(chosen, w, with_itself=with_itself)
        parts.append((np.abs(chance @ values - stated), 16 * EPS * np.max(data**2) * n * np.sum(np.abs(w))))
    return worst(*parts)


def _isserlis(covariance: Callable[[Any, Any], Any], *names: Any) -> Any:
    """E of a product of centred Gaussians: the sum over pairings of products of covariances."""
    if not names:
        return 1
    first, rest = names[0], names[1:]
    return sum(
        covariance(first, other) * _isserlis(covariance, *rest[:k], *rest[k + 1 :])
        for k, other in enumerate(rest)
    )


def _symbolic_moment(n_samples: int, terms: list[tuple[Any, int, tuple[str, int]]]) -> tuple[Any, Any]:
    """Mean of −ĝ_0, and the covariance of its entries 0 and 1, for −ĝ_a = Σ c x_{i,a} f_j over terms (c, i, j)."""
    import sympy as sp

    s, S, d0, d1 = sp.symbols("s S_01 d0 d1")

    def covariance(left: Any, right: Any) -> Any:
        """Of x_{i,a} = ("x", i, a), positives' outputs ("+", i) and negatives' outputs ("-", i)."""
        if left[0] == right[0] == "x":
            return S if left[1] == right[1] else 0
        if "x" in (left[0], right[0]):
            x, f = (left, right) if left[0] == "x" else (right, left)
            return (d0, d1)[x[2]] if f[0] == "+" and f[1] == x[1] else 0
        return s if left == right else 0

    mean = [sum(c * covariance(("x", i, a), f) for c, i, f in terms) for a in (0, 1)]
    second = sum(
        c * e * _isserlis(covariance, ("x", i, 0), f, ("x", j, 1), g)
        for c, i, f in terms
        for e, j, g in terms
    )
    return mean[0], sp.expand(second - mean[0] * mean[1])


def _symbolic_terms(n_samples: int, kind: str) -> list[tuple[Any, int, tuple[str, int]]]:
    import sympy as sp

    samples = range(n_samples)
    own = [(sp.Rational(1, n_samples), i, ("+", i)) for i in samples]
    if kind == "triplets":
        return own + [(-sp.Rational(1, n_samples), i, ("-", i)) for i in samples]
    others = -sp.Rational(1, n_samples * (n_samples - 1))
    return own + [(others, i, ("+", j)) for i in samples for j in samples if i != j]


def prove_batch_noise() -> bool:
    """R106 by Isserlis: mean Σd w and covariance of two entries, for 1 and 2 triplets and batches of 2 and 3."""
    import sympy as sp

    s, S, d0, d1 = sp.symbols("s S_01 d0 d1")
    stated = {
        ("triplets", 1): 2 * s * S + d0 * d1,
        ("triplets", 2): (2 * s * S + d0 * d1) / 2,
        ("in-batch", 2): s * S + d0 * d1,
        ("in-batch", 3): (s * S + d0 * d1) / 2,
    }
    found = {(k, n): _symbolic_moment(n, _symbolic_terms(n, k)) for k, n in stated}
    return all(mean == d0 and sp.expand(found[key][1] - stated[key]) == 0 for key, (mean, _) in found.items())


# --- R107 ---------------------------------------------------------------------------------------------------


def second_moments(
    rng: np.random.Generator,
    *,
    moment: Callable[..., SecondMoment] = sgd_second_moment,
    settled: Callable[..., float] = settled_misalignment,
    first_order: Callable[..., float] = first_order_misalignment,
) -> Measurement:
    """R107: one step over all batches, many steps as a power of one matrix, and where the direction ends."""
    n = int(rng.integers(1, 3))
    system, starts = _random_system(rng, n), rng.standard_normal((2, n))
    step, steps = rng.uniform(0.02, 0.5), int(rng.integers(0, 40))
    M0 = starts.T @ starts / 2
    parts: list[tuple[Any, Any]] = []
    for draw, negatives, per_sample, batch in (
        (_triplets, "independent", 3, int(rng.integers(1, 4))),
        (_in_batch, "in-batch", 2, int(rng.integers(2, 4))),
    ):
        views, p = _batches(system, batch, per_sample)
        exact, rounding = (
            np.mean(part, axis=0)
            for part in zip(
                *(
                    _expected(p, w + step * draw(views, w), np.abs(w) + step * _sizes(views, w))
                    for w in starts
                ),
                strict=True,
            )
        )
        found = moment(M0, system, step, batch, 1, negatives=negatives)
        parts.append((np.abs(np.exp(found.log_trace) * found.share - exact), rounding))

        twice, count = (2, batch) if negatives == "independent" else (1, batch - 1)
        A, S = np.eye(n) + step * system.sigma_d, system.sigma_s.ravel()
        T = np.kron(A, A) + step**2 / count * (
            twice * np.outer(S, S) + np.kron(system.sigma_d, system.sigma_d)
        )
        # T maps positive matrices to such, so that no step cancels: n² + 4 roundings each, of which the largest entry
        # of M is at most its trace
        after = (np.linalg.matrix_power(T, steps) @ M0.ravel()).reshape(n, n)
        found = moment(M0, system, step, batch, steps, negatives=negatives)
        each = 2 * (n * n + 4) * (steps + 1) * EPS
        parts.append((np.abs(found.share - after / np.trace(after)), each))
        parts.append((abs(found.log_trace - np.log(np.trace(after))), each + EPS * abs(found.log_trace)))

    # decoupled modes: m_i⁺ = α_i m_i + β λs_i Σ_j λs_j m_j, whose top eigenvalue μ solves a scalar equation
    ls, ld = rng.uniform(1.0, 2.0, 3), np.array([1.0, 0.6, 0.3]) * rng.uniform(0.9, 1.0, 3)
    modes, batch, step = MatrixSystem(ls, ld), int(rng.integers(1, 9)), 10 ** rng.uniform(-4, -2)
    alpha, beta = 2 * ld + step * (1 + 1 / batch) * ld**2, 2 * step / batch  # less 1, in units of the step
    beyond = _top_root(alpha, beta * ls**2)
    off = np.sum(ls[1:] / (beyond + alpha[0] - alpha[1:])) * beyond / ls[0]
    share, first = settled(modes, step, batch), first_order(modes, step, batch)
    # eigenvectors of the map are exact to rounding of its entries, of size 1, over its gap
    rounding = 16 * EPS / (step * (alpha[0] - alpha[1])) * (1 + ls.max() ** 2)
    parts.append((abs(share - off), rounding))
    # exact/first lies between 1/(1 + low) and 1/(1 − high)
    gap = ld[0] - ld[1:]
    high = step / batch * np.sum(ls[1:] ** 2 / gap)
    low = step * np.max((1 + 1 / batch) * (ld[0] + ld[1:]) / 2 + ls[0] ** 2 / batch / gap / (1 - high))
    within = 1 / (1 + low) - rounding / first <= share / first <= 1 / (1 - high) + rounding / first
    parts.append(refuted(unless=within and high < 1))
    return worst(*parts)


def _top_root(alpha: np.ndarray, weights: np.ndarray) -> float:
    """Top eigenvalue of diag(α) + √w √wᵀ less α_1: the positive root x of Σ_i w_i/(x + α_1 − α_i) = 1."""
    from scipy.optimize import brentq

    def excess(x: float) -> float:
        return float(np.sum(weights / (x + alpha[0] - alpha)) - 1)

    return float(brentq(excess, weights[0] / 2, 2 * np.sum(weights), xtol=1e-300, rtol=4 * EPS))


def prove_second_moments() -> bool:
    """R107: the step's moment by Isserlis, and (1, (ε/B)λs_1λs_2/(λd_1 − λd_2)) an eigenvector up to O(ε³)."""
    import sympy as sp

    e, B, a, b = sp.symbols("epsilon B lambda_1 lambda_2", positive=True)
    d, g = sp.symbols("lambda_d gap", positive=True)
    rate = [(1 + e * x) ** 2 + e**2 * x**2 / B for x in (d + g, d)]
    pull = 2 * e**2 / B
    m = e / B * a * b / g
    top = rate[0] + pull * a * (a + b * m)
    off = rate[1] * m + pull * b * (a + b * m) - top * m
    first = sp.limit(off / e**2, e, 0) == 0
    # M⁺ − (I + εΣd) M (I + εΣd) = ε² Cov(−ĝ) averaged over w, with s = tr(MΣs) and d dᵀ = Σd M Σd
    return first and prove_batch_noise()


RESULTS: tuple[Result, ...] = (
    Result(
        id="R106",
        title="small batches",
        statement=(
            "E[−ĝ] = Σd w at every batch size B, and with in-batch negatives j ≠ i at every N >= 2. One branch: "
            "Cov = [2sΣs + Σd w wᵀΣd]/B for B triplets and [sΣs + Σd w wᵀΣd]/(N − 1) in a batch of N, s = wᵀΣs w."
        ),
        source="DD sections 3 and 4 assume a large batch; the covariances are new",
        hypotheses=(
            "Simple loss, linear neuron, centred Gaussian views for the covariances. If the sample itself counts among "
            "the negatives, the mean is 1 − 1/N of that; over a data set of N samples, N/(N − 1) of the plug-in value."
        ),
        as_printed=AsPrinted.REFINED,
        code="dynamics.exact.sgd_moments.in_batch_noise",
        correction="No large batch is needed in the mean: it only lessens the noise.",
        trial=batch_noise,
        proof=prove_batch_noise,
    ),
    Result(
        id="R107",
        title="SGD of one neuron, exactly",
        statement=(
            "E w_t = (I + εΣd)^t w_0; M = E[wwᵀ]: M⁺ = M + ε(ΣdM + MΣd) + ε²[ΣdMΣd + (2tr(MΣs)Σs + ΣdMΣd)/B]. The "
            "direction never settles: Σ_{i>1} M_ii/M_11 → (ε/B)Σ_{i>1} λs_1λs_i/(λd_1 − λd_i) + O(ε²)."
        ),
        source="new",
        hypotheses="Simple loss, one branch, fresh batches of B Gaussian triplets; decoupled modes for the limit.",
        as_printed=AsPrinted.NEW,
        code="dynamics.exact.sgd_moments.sgd_second_moment",
        trial=second_moments,
        proof=prove_second_moments,
    ),
)
"""R106 and R107."""
