"""Results on Barlow Twins of linear encoders: R325, R326."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import EPS, followed, orthogonal, refuted, worst
from dynamics.exact.redundancy import (
    barlow_twins_mode,
    barlow_twins_plateau,
    barlow_twins_rate,
    eigenmodes_are_minimum,
)
from dynamics.fields.redundancy import BarlowTwins, redundancy_field
from dynamics.states import EncoderState
from dynamics.system import MatrixSystem

# --- R325 ---------------------------------------------------------------------------------------------------


def even_frame(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    """Draw orthonormal columns, shape (n, k), whose rows have one length, √(k/n): a frame of waves, turned.

    >>> frame = even_frame(np.random.default_rng(0), 5, 2)
    >>> (frame**2).sum(axis=1).round(12)
    array([0.4, 0.4, 0.4, 0.4, 0.4])
    """
    if k == n:
        return orthogonal(rng, n)
    frequencies = rng.permutation(np.arange(1, (n + 1) // 2))[: k // 2]
    angle = 2 * np.pi * np.outer(np.arange(n), frequencies) / n
    waves = np.concatenate([np.cos(angle), np.sin(angle)], axis=1) * np.sqrt(2 / n)
    constant = np.full((n, k % 2), 1 / np.sqrt(n))
    return np.concatenate([waves, constant], axis=1) @ orthogonal(rng, k)


def stepwise_barlow(
    rng: np.random.Generator,
    *,
    loss_of: Callable[[float], BarlowTwins] = BarlowTwins,
    mode: Callable[..., Any] = barlow_twins_mode,
    plateau: Callable[[int, int, float], float] = barlow_twins_plateau,
    rate: Callable[[float, int, int, float], float] = barlow_twins_rate,
) -> Measurement:
    """R325: aligned rows by their closed form, and at a plateau that nothing moves, the loss, and what then grows."""
    n = int(rng.integers(2, 6))
    weight = float(rng.choice([0.0, 0.005, 0.3, 1.0, 2.0]))
    loss = loss_of(weight)
    lambda_d = rng.uniform(0.2, 1.5, n)
    system = MatrixSystem(lambda_d * rng.uniform(1.0, 3.0, n), lambda_d)
    w0 = rng.uniform(0.01, 1.5, n) * rng.choice([-1, 1], n)
    t = float(rng.uniform(0.2, 2.0))
    run, error = followed(EncoderState(np.diag(w0)), system, redundancy_field(loss), t)
    aligned = np.max(np.abs(run.final.online - np.diag(mode(t, w0, lambda_d))))

    n = 2 * int(rng.integers(2, 5)) + 1
    k = int(rng.integers(1, n))
    c = plateau(k, n, weight)
    learned = rng.uniform(0.5, 2.0, k)
    frame = even_frame(rng, n, k)
    W = np.zeros((n, k + 1))
    W[:, :k] = np.sqrt(c / learned) * frame
    following = float(rng.uniform(0.05, 0.5))
    system = MatrixSystem(np.ones(k + 1) * 3, np.append(learned, following))
    # G is a difference of numbers up to 1 + c (1 + λ), entries of W are below √(c/0.5)
    size = 4 * (1 + c * (1 + weight)) * np.sqrt(2 * c)
    rounding = 8 * n * EPS * size
    still = np.max(np.abs(loss.descent(W, system)))
    value = abs(float(loss.value(W, system)) - (n - k * c))
    off = rng.standard_normal(n)
    off -= frame @ (frame.T @ off)
    tiny = 1e-9 * off / np.linalg.norm(off)  # its square is below rounding
    W[:, k] = tiny
    grown = loss.descent(W, system)[:, k] / 1e-9
    drift = np.max(np.abs(grown - rate(following, k, n, weight) * tiny / 1e-9))
    return worst(
        (aligned, 2 * error),
        (still, rounding),
        (value, 8 * n * EPS * (n + k * c * (1 + c * (1 + weight)))),
        (drift, 8 * n * EPS * following * 4 * (1 + c * (1 + weight))),
    )


def prove_stepwise_barlow() -> bool:
    """R325: the closed form obeys du/dt = 8 λd u (1 − u), and G on and off an even plateau, for any k, n and λ."""
    import sympy as sp

    t, u0, ld, k, n, weight = sp.symbols("t u0 lambda_d k n lambda", positive=True)
    u = u0 / (u0 + (1 - u0) * sp.exp(-8 * ld * t))
    logistic = sp.simplify(sp.diff(u, t) - 8 * ld * u * (1 - u)) == 0
    c = _plateau(k, n, weight)
    inside = (1 - weight) * c * k / n - 1 + weight * c  # eigenvalues of diag C − I + λ offdiag C
    outside = (1 - weight) * c * k / n - 1
    value = n * (c * k / n - 1) ** 2 + weight * (k * c**2 - n * (c * k / n) ** 2)
    same = [inside, outside + weight * c, value - (n - k * c)]
    return bool(logistic and all(sp.simplify(part) == 0 for part in same))


def _plateau(k: Any, n: Any, weight: Any) -> Any:
    return 1 / (weight + (1 - weight) * k / n)


# --- R326 ---------------------------------------------------------------------------------------------------


def hessian(loss: Any, W: np.ndarray, system: MatrixSystem) -> np.ndarray:
    """Dense Hessian of a loss at W by complex steps through its gradient, exact to rounding."""
    columns = []
    for k in range(W.size):
        step = np.zeros(W.size)
        step[k] = 1e-30
        moved = -loss.descent(W + 1j * step.reshape(W.shape), system)
        columns.append(np.imag(moved).ravel() / 1e-30)
    found = np.array(columns)
    return (found + found.T) / 2


def eigenmode_points(
    rng: np.random.Generator,
    *,
    loss_of: Callable[[float, bool], BarlowTwins] = BarlowTwins,
    minimum: Callable[..., bool] = eigenmodes_are_minimum,
) -> Measurement:
    """R326: lengths of rows are conserved; at eigenmodes the statement against the dense Hessian, for many λ and r."""
    weight = float(np.exp(rng.uniform(-4, 4)))
    loss = loss_of(weight, True)
    n = int(rng.integers(2, 5))
    W = rng.standard_normal((n, n + 1))
    lambda_s = rng.uniform(0.5, 2.0, n + 1)
    system = MatrixSystem(lambda_s, lambda_s * rng.uniform(0, 1, n + 1))
    moved = loss.descent(W, system)
    turned = np.max(np.abs(np.sum(moved * W, axis=1)))
    # two terms of −∇L w that cancel, each 4 w²/S_ii λs times a row of G, whose entries are below 1 + λ, times one of C
    lengths = np.sum(W**2, axis=1)
    share = np.max(lengths / np.sum(W**2 * lambda_s, axis=1)) * np.max(lambda_s)
    parts: list[tuple[Any, Any]] = [(turned, 16 * n * EPS * (1 + weight) * share)]
    for _ in range(12):
        weight = float(np.exp(rng.uniform(-4, 6)))
        loss = loss_of(weight, True)
        ratios = np.sort(rng.uniform(0.02, 0.99, int(rng.integers(2, 4))))[::-1]
        unlearned = float(rng.choice([0.0, ratios[-1] * rng.uniform(0.2, 1.3)]))
        r = np.append(ratios, min(unlearned, 0.995))
        n = ratios.size
        lambda_s = rng.uniform(0.5, 2.0, r.size)
        system = MatrixSystem(lambda_s, lambda_s * r)
        lengths = rng.uniform(0.5, 2.0, n)
        W = np.zeros((n, r.size))
        W[:, :n] = np.diag(lengths / np.sqrt(lambda_s[:n]))
        # curvatures of the output, in units in which rows have unit variance; lengths are free: n zeros
        scale = np.repeat(lengths, r.size) / np.tile(np.sqrt(lambda_s), n)
        H = hessian(loss, W, system) * scale[:, None] * scale
        kept = np.array([i * r.size + j for i in range(n) for j in range(r.size) if i != j])
        values = np.linalg.eigvalsh(H[np.ix_(kept, kept)])
        rounding = 64 * EPS * (1 + weight)
        if abs(values[0]) > rounding:  # else the point is on the edge to rounding
            said = minimum(ratios, weight, unlearned=float(r[-1]))
            parts.append(refuted(unless=said == (values[0] > 0)))
    return worst(*parts)


def prove_eigenmode_points() -> bool:
    """R326: the loss of two rows, each with a little of the other's mode, to second order, and its determinant."""
    import sympy as sp

    a, b, r1, r2, weight, e = sp.symbols("a b r1 r2 lambda epsilon", real=True)
    # rows (1, εa) and (εb, 1) in white coordinates
    s1, s2 = 1 + (e * a) ** 2, 1 + (e * b) ** 2
    c11, c22 = (r1 + r2 * (e * a) ** 2) / s1, (r2 + r1 * (e * b) ** 2) / s2
    squared = (e * b * r1 + e * a * r2) ** 2 / (s1 * s2)
    value = (c11 - 1) ** 2 + (c22 - 1) ** 2 + 2 * weight * squared
    second = sp.diff(value, e, 2).subs(e, 0) / 2
    H = sp.hessian(sp.expand(second), (a, b)) / 4
    gain = _gain(r1, r2, weight)
    return bool(sp.simplify(sp.det(H) - (r1 - r2) * gain) == 0)


def _gain(r1: Any, r2: Any, weight: Any) -> Any:
    return weight * (r1**2 * (1 - r1) - r2**2 * (1 - r2)) - (1 - r1) * (1 - r2) * (r1 - r2)


RESULTS: tuple[Result, ...] = (
    Result(
        id="R325",
        title="Barlow Twins learns step by step",
        statement=(
            "dW/dt = −4 (diag C − I + λ offdiag C) W Σd, C = W Σd Wᵀ. Rows along different eigenvectors of Σd: "
            "u = λd w² = u0/(u0 + (1 − u0) e^{−8 λd t}) for every λ. n rows that share k modes evenly rest at "
            "λd s² = c_k = 1/(λ + (1 − λ) k/n) with loss n − k c_k, and the next mode grows at 4 λd λ c_k: not at all "
            "for λ = 0."
        ),
        source="Simon 2303.15438 for λ = 1; else new",
        hypotheses="Unnormalised loss, linear encoder; on plateaus each row has an equal share of the learned modes.",
        as_printed=AsPrinted.REFINED,
        code="dynamics.exact.redundancy.barlow_twins_rate",
        correction="E36: conventions of the loss are stated here; for λ ≠ 1 the plateau and its rate are new.",
        trial=stepwise_barlow,
        proof=prove_stepwise_barlow,
    ),
    Result(
        id="R326",
        title="normalised Barlow Twins does not always hold eigenmodes",
        statement=(
            "With C_ij = w_i Σd w_jᵀ/√(w_i Σs w_iᵀ w_j Σs w_jᵀ) the flow keeps ‖w_i‖. Rows along eigenmodes of M are a "
            "minimum iff λ[r_i²(1 − r_i) − r_j²(1 − r_j)] > (1 − r_i)(1 − r_j)(r_i − r_j) for every pair r_i > r_j, "
            "and no other mode has a larger r: never, for any λ, where r_i²(1 − r_i) <= r_j²(1 − r_j)."
        ),
        source="new; the loss is that of Barlow Twins",
        hypotheses="Linear encoder, ratios within 0 and 1, all different; minimum up to the lengths of rows.",
        as_printed=AsPrinted.REFINED,
        code="dynamics.exact.redundancy.eigenmodes_are_minimum",
        correction="E35: that Barlow Twins decorrelates holds for normalised outputs under this condition alone.",
        trial=eigenmode_points,
        proof=prove_eigenmode_points,
    ),
)
"""R325 and R326."""
