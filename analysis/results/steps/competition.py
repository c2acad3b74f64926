"""Results on several modes under batches of finite size: R310."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from analysis.results.contrastive.sgd_noise import gaussian_nodes
from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import EPS, random_rates, refuted, worst
from analysis.steps.competition import Competition, competition_rates, mode_competition
from dynamics.fields.matrices import error_matrix
from dynamics.integration.batch_noise import expected_balance_change, view_roots
from dynamics.states import MatrixState
from dynamics.system import MatrixSystem, ModeSystem


def balance_drift_of_batches(
    rng: np.random.Generator,
    *,
    change: Callable[..., np.ndarray] = expected_balance_change,
    rates: Callable[..., np.ndarray] = competition_rates,
    follow: Callable[..., Competition] = mode_competition,
) -> Measurement:
    """R310: E[C⁺ − C] by quadrature over one pair of views, the law of modes against it, and which mode wins."""
    n, batch, step = 2, int(rng.integers(1, 7)), rng.uniform(0.05, 0.5)
    taus = random_rates(rng)
    A = rng.standard_normal((n, n))
    sigma_s = A @ A.T + 0.3 * np.eye(n)
    root = np.linalg.cholesky(sigma_s)
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    sigma_d = root @ (Q * rng.uniform(0.1, 0.9, n)) @ Q.T @ root.T
    system = MatrixSystem((sigma_s + sigma_s.T) / 2, (sigma_d + sigma_d.T) / 2, **taus)
    state = MatrixState(*(rng.standard_normal((n, n)) for _ in range(3)))
    W, P, Th = state
    a, b = view_roots(system)
    nodes, weights = gaussian_nodes(2 * n)  # exact for the polynomials of degree four that enter
    x1, x2 = nodes @ a.T, nodes @ b.T
    g = x2 @ Th.T - x1 @ (P @ W).T
    E = error_matrix(state, system)
    outer = np.einsum("k,ki,kj->ij", weights * np.sum(x1**2, 1), g, g)
    inner = np.einsum("k,ki,kj->ij", weights * np.sum(g**2, 1), x1, x1)
    # of B independent pairs, one in B terms is a pair with itself
    mean_outer, mean_inner = (
        (1 - 1 / batch) * x + y / batch for x, y in ((E @ E.T, outer), (E.T @ E, inner))
    )
    to, tp = taus["tau_online"], taus["tau_predictor"]
    expected = step**2 * (P.T @ mean_outer @ P / to - W @ mean_inner @ W.T / tp)
    gap = np.max(np.abs(change(state, system, step, batch) - expected))
    size = (
        np.linalg.norm(P) ** 2 * np.trace(mean_outer) / to
        + np.linalg.norm(W) ** 2 * np.trace(mean_inner) / tp
    )
    # sums over 81 nodes with weights that add up to one, and products of matrices of order n
    parts: list[tuple[Any, Any]] = [(gap, 32 * n * EPS * step**2 * size)]

    r, ls, q = rng.uniform(0.3, 0.95, 3), rng.uniform(0.5, 1.5, 3), rng.uniform(0.5, 1.5, 3)
    modes = ModeSystem(ls, r * ls, tau_online=to, tau_predictor=tp)
    full = MatrixSystem(ls, r * ls, tau_online=to, tau_predictor=tp)
    point = full.state(np.diag(np.sqrt(q)), np.diag(r))
    drift = np.diag(change(point, full, step, batch)) / (step * to)
    law = q * rates(q, modes, step, batch)
    terms = step / (batch * to) * ls * q * (np.sum(ls) / to + np.sum(q * ls) / tp)
    parts.append((np.abs(drift - law), 16 * EPS * terms))
    # r² (1 − r²) decides, not r: the largest wins where λs are equal
    equal = ModeSystem(np.ones(2), [0.96, 0.7], tau_online=to, tau_predictor=tp)
    far = 40 * batch * to**2 / (step * 0.3)
    found = follow([1.0, 1.0], equal, step, batch, [0.0, far])
    return worst(*parts, refuted(unless=found.squares[-1][0] < 1e-2 * found.squares[-1][1]))


def prove_balance_drift() -> bool:
    """R310 for vectors of two dimensions: E[g |x1|² gᵀ] and E[x1 |g|² x1ᵀ] by Isserlis, with g = Θ x2 − P W x1."""
    import sympy as sp

    names = sp.symbols("s11 s12 s22 c11 c12 c21 c22 r11 r12 r22", real=True)
    s11, s12, s22, c11, c12, c21, c22, r11, r12, r22 = names
    S = sp.Matrix([[s11, s12], [s12, s22]])  # cov x1
    E = sp.Matrix([[c11, c12], [c21, c22]])  # E[g x1ᵀ]
    R = sp.Matrix([[r11, r12], [r12, r22]])  # cov g

    def isserlis(a: Any, b: Any, c: Any, d: Any) -> Any:
        def cov(x: tuple[str, int], y: tuple[str, int]) -> Any:
            if x[0] == y[0]:
                return (S if x[0] == "x" else R)[x[1], y[1]]
            g, v = (x, y) if x[0] == "g" else (y, x)
            return E[g[1], v[1]]

        return cov(a, b) * cov(c, d) + cov(a, c) * cov(b, d) + cov(a, d) * cov(b, c)

    outer = sp.Matrix(
        2, 2, lambda i, j: sum(isserlis(("g", i), ("g", j), ("x", k), ("x", k)) for k in range(2))
    )
    inner = sp.Matrix(
        2, 2, lambda i, j: sum(isserlis(("x", i), ("x", j), ("g", k), ("g", k)) for k in range(2))
    )
    B = sp.symbols("B", positive=True)
    means = ((1 - 1 / B) * E * E.T + outer / B, (1 - 1 / B) * E.T * E + inner / B)
    laws = ((1 + 1 / B) * E * E.T + S.trace() / B * R, (1 + 1 / B) * E.T * E + R.trace() / B * S)
    gaps = [sp.expand(x) for a, b in zip(means, laws, strict=True) for x in a - b]
    # the diagonal of it at a decoupled learned point, E = 0, is the law of q_i
    ls, r, q = (sp.symbols(f"{name}1:3", positive=True) for name in ("l", "r", "q"))
    step, to, tp = sp.symbols("epsilon tau_o tau_p", positive=True)
    left = [q[i] * ls[i] * (1 - r[i] ** 2) for i in range(2)]
    drifts = [
        step * (r[i] ** 2 * sum(ls) / B * left[i] / to - q[i] * sum(left) / B * ls[i] / tp) / to
        for i in range(2)
    ]
    rates: list[Any] = [
        step / (B * to) * ls[i] * q[i] * (sum(ls) * r[i] ** 2 * (1 - r[i] ** 2) / to - sum(left) / tp)
        for i in range(2)
    ]
    return all(gap == 0 for gap in gaps) and all(
        sp.simplify(a - b) == 0 for a, b in zip(drifts, rates, strict=True)
    )


RESULTS: tuple[Result, ...] = (
    Result(
        id="R310",
        title="drift of the balance by batches",
        statement=(
            "E[C⁺ − C] = ε² {Pᵀ [(1 + 1/B) E Eᵀ + (tr Σs/B) R] P/τo − W [(1 + 1/B) Eᵀ E + (tr R/B) Σs] Wᵀ/τp}, R the "
            "covariance of the prediction error. At a decoupled learned point q_i = w_i² obeys dq_i/dt = "
            "(ε/(Bτo)) λs_i q_i "
            "(G_i − H) with G_i = tr Σs r_i² (1 − r_i²)/τo and H = Σ_k q_k λs_k (1 − r_k²)/τp: modes compete, "
            "and the largest "
            "r² (1 − r²) wins, until R10 lets its row capture another mode."
        ),
        source="new",
        hypotheses="Gaussian batches, η = 0; the law of q to first order in ε, before a capture.",
        as_printed=AsPrinted.NEW,
        code="dynamics.integration.batch_noise.expected_balance_change",
        trial=balance_drift_of_batches,
        proof=prove_balance_drift,
    ),
)
