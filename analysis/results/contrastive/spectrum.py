"""Results on what contrastive learners hold in the end: finite H, weight decay, who learns what, R118, R119, R120."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from analysis.contrastive.infonce_points import critical_points, mean_field_jacobian
from analysis.contrastive.learned_subspaces import SubspaceAngles, compare
from analysis.results.contrastive.linear import random_encoder_system
from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import EPS, refuted, worst
from dynamics.exact.contrastive import simple_encoder
from dynamics.exact.infonce import (
    finite_negative_correction,
    one_negative_saturation,
    saturation,
    saturation_norm,
)
from dynamics.exact.several_negatives import OneRow, one_row
from dynamics.exact.unit_outputs import equal_mode_cosine, expected_cosine, second_mode_gain
from dynamics.fields.contrastive import simple_field
from dynamics.fields.infonce import (
    infonce_mean_field,
    infonce_mean_loss,
    one_negative_field,
    saturation_share,
)
from dynamics.fields.matrices import full_field
from dynamics.fields.vector_field import VectorField
from dynamics.integration.integrate import integrate
from dynamics.states import EncoderState, MatrixState
from dynamics.system import MatrixSystem

# --- R118 ---------------------------------------------------------------------------------------------------


def finite_negatives(
    rng: np.random.Generator,
    *,
    correction: Callable[..., float] = finite_negative_correction,
    exact: Callable[[float, float, int], OneRow] = one_row,
) -> Measurement:
    """R118: H times the bias of one row, extrapolated in 1/H from quadratures, and an integral for several rows."""
    y, r, tau = rng.uniform(0.05, 0.25), rng.uniform(0.1, 0.9), 10 ** rng.uniform(-1, 1)
    system = MatrixSystem(np.array([1.0]), np.array([r]))
    limit = float(infonce_mean_loss(np.array([[np.sqrt(y)]]), system, 1.0))
    bias = np.array([H * (exact(y, r, H).loss - np.log(H) - limit) for H in (64, 128, 256)])
    # less the term in 1/H; where y is small the rest falls fourfold with each doubling, by what it last changed at most
    without_first = 2 * bias[1:] - bias[:-1]
    stated = correction([[y * tau]], [[r * y * tau]], tau)
    rounding = 256 * 64 * EPS * (1 + abs(limit))
    left = float(abs(without_first[1] - without_first[0])) + rounding
    parts: list[tuple[Any, Any]] = [(abs(without_first[1] - stated), left)]

    # two rows: E e^{−r₊/τ}/m(f) by the trapezoidal rule in four dimensions
    W = rng.standard_normal((2, 3))
    system = random_encoder_system(rng, 3)
    S, D = W @ system.sigma_s @ W.T, W @ system.sigma_d @ W.T
    scale = rng.uniform(0.3, 1.0) / np.linalg.norm(S, 2)
    S, D = S * scale, D * scale
    root = np.linalg.cholesky(np.block([[S, D], [D, S]]) + 1e-15 * np.eye(4))
    step = 0.4
    x = np.arange(-8.0, 8.01, step)
    grid = np.stack(np.meshgrid(x, x, x, x, copy=False), axis=-1).reshape(-1, 4)
    f, positive = (grid @ root.T)[:, :2], (grid @ root.T)[:, 2:]
    pull = np.einsum("ni,ij,nj->n", f, np.linalg.inv(np.eye(2) + S), f) - np.sum((f - positive) ** 2, axis=1)
    density = np.exp((pull - np.sum(grid**2, axis=1)) / 2) * (step / np.sqrt(2 * np.pi)) ** 4
    mean = float(np.sum(density)) * np.sqrt(np.linalg.det(np.eye(2) + S))
    difference = correction(S, D, 1.0) - correction(S, D, 1.0, positive_in_denominator=False)
    # of a Gaussian of precision p the rule errs by e^{−2π²/(p step²)} for each of 8 neighbours in frequency, and the
    # grid leaves out e^{−8² p/2} on each of 8 sides
    form = np.kron([[1.0, -1.0], [-1.0, 1.0]], np.eye(2))
    form[:2, :2] -= np.linalg.inv(np.eye(2) + S)
    precisions = np.linalg.eigvalsh(np.eye(4) + root.T @ form @ root)
    missed = np.exp(-2 * np.pi**2 / (precisions[-1] * step**2)) + np.exp(-32 * precisions[0])
    parts.append((abs(difference - mean), (16 * missed + 16 * EPS) * mean))
    factors = []  # E m₂/m², a product over eigenvalues, by the same rule
    x = np.arange(-16.0, 16.01, 0.25)
    for y in np.linalg.eigvalsh(S):
        one, two = (np.exp(-(x**2) * y * k / (1 + k * y) / 2) / np.sqrt(1 + k * y) for k in (1, 2))
        factors.append(np.sum(two / one**2 * np.exp(-(x**2) / 2)) * 0.25 / np.sqrt(2 * np.pi))
    without = -(np.prod(factors) - 1) / 2
    parts.append(
        (abs(correction(S, D, 1.0, positive_in_denominator=False) - without), 16 * EPS * np.prod(factors))
    )
    return worst(*parts)


# --- R119 ---------------------------------------------------------------------------------------------------


def decay_threshold(
    rng: np.random.Generator,
    *,
    norm: Callable[..., float] = saturation_norm,
    simple: VectorField = simple_field,
) -> Measurement:
    """R119: all zeros of the field along a mode at a weight decay on either side of 2λd/τ, and the growth of 0.

    Under the simple loss, whether a weight grows at a decay on either side of 2λd.
    """
    tau, lambda_s, r = 10 ** rng.uniform(-1, 1), 10 ** rng.uniform(-1, 1), rng.uniform(0.1, 0.9)
    edge = 2 * r * lambda_s / tau
    parts: list[tuple[Any, Any]] = []
    for share in (1 - 1e-6, 1 + 1e-6, rng.uniform(0.1, 0.9), rng.uniform(1.1, 3.0)):
        eta = share * edge
        system = MatrixSystem(np.array([[lambda_s]]), np.array([[r * lambda_s]]), weight_decay=eta)
        s = norm(r, tau, weight_decay=eta, lambda_s=lambda_s)
        w = np.array([[np.sqrt(s / lambda_s)]])
        moved = abs(float(infonce_mean_field(0.0, w, system, tau)[0, 0]))
        parts.append((moved, 16 * EPS * (edge + 2 * lambda_s / tau) * (float(w[0, 0]) + EPS)))
        # one zero or none, and never two: no saddle-node
        ladder = 10.0 ** np.linspace(-12, 3, 400)
        pull = [
            2 * lambda_s / tau * (r - float(saturation_share(np.array([[y]]))[0, 0])) - eta for y in ladder
        ]
        crossings = int(np.sum(np.diff(np.sign(pull)) != 0))
        parts.append(refuted(unless=crossings == int(share < 1) == int(s > 0)))
        grows = float(mean_field_jacobian(np.zeros((1, 1)), system, tau)[0, 0]) > 0
        parts.append(refuted(unless=grows == (s > 0)))
        if 0 < 1 - share < 1e-3:  # a pitchfork: w² ∝ η* − η, (2/3) r_eff τ/λs at leading order
            rho = r * (1 - share)
            parts.append((abs(s / tau / rho - 2 / 3), rho + 8 * EPS / (1 - share)))
    # of matrices: something is learned iff the largest eigenvalue of Σd exceeds ητ/2
    system = random_encoder_system(rng, 3)
    top = np.linalg.eigvalsh(system.sigma_d)[-1]
    for share in (0.99, 1.01):
        decayed = MatrixSystem(system.sigma_s, system.sigma_d, weight_decay=2 * top / tau * share)
        parts.append(refuted(unless=(len(critical_points(decayed, 1, tau)) > 1) == (share < 1)))
    for share in (1 - 1e-6, 1 + 1e-6):
        one = MatrixSystem([lambda_s], [r * lambda_s], weight_decay=2 * r * lambda_s * share)
        (moved,) = simple(0.0, EncoderState(np.ones((1, 1))), one)
        parts.append(refuted(unless=(float(moved[0, 0]) > 0) == (share < 1)))
    return worst(*parts)


# --- R120 ---------------------------------------------------------------------------------------------------

Flow = Callable[[Any, np.ndarray, MatrixSystem, float], np.ndarray]


def who_learns_what(
    rng: np.random.Generator,
    *,
    many: Flow = infonce_mean_field,
    one: Flow = one_negative_field,
    byol: VectorField = full_field,
    compared: Callable[..., SubspaceAngles] = compare,
    cosine: Callable[[Any, Any], float] = expected_cosine,
    equal: Callable[[int, float], float] = equal_mode_cosine,
    gain: Callable[[float, tuple[float, float]], float] = second_mode_gain,
) -> Measurement:
    """R120: one row under each loss on two modes, of which one has more variance and the other the larger ratio."""
    from scipy.integrate import solve_ivp

    lambda_s = np.array([rng.uniform(6, 12), 1.0])
    r = np.array([rng.uniform(0.4, 0.6), rng.uniform(0.85, 0.92)])
    system = MatrixSystem(lambda_s, r * lambda_s)
    start = np.array([0.01, 0.001])
    parts: list[tuple[Any, Any]] = []
    rtol = 1e-9
    for flow, rest in ((many, saturation), (one, one_negative_saturation)):
        run = solve_ivp(
            lambda t, w, flow=flow: flow(t, w[None], system, 1.0)[0],
            (0, 600.0),
            start,
            t_eval=[2.5, 600.0] if flow is many else [5.0, 600.0],
            method="LSODA",
            rtol=rtol,
            atol=1e-14,
        )
        s = run.y**2 * lambda_s[:, None]
        # the larger λd first, the larger r last; at rest a run is off by what a step may err, rtol of w
        parts.append(refuted(unless=s[0, 0] > 0.9 * np.sum(s[:, 0]) and s[0, 1] < 1e-9))
        parts.append((abs(s[1, 1] / float(rest(r[1])) - 1), 2 * rtol))
    end = simple_encoder([20.0], EncoderState(start[None]), system).online[0, 0]
    parts.append(refuted(unless=abs(end[0]) > 1e3 * abs(end[1])))
    found = compared(system, 1, ["infonce", "simple"])
    said = {name: subspace.directions[:, 0] for name, subspace in found.subspaces.items()}
    parts.append((np.abs(found.angles["infonce", "simple"] - np.pi / 2), 8 * EPS))
    parts.append(refuted(unless=abs(said["simple"] @ end) > (1 - 1e-6) * np.linalg.norm(end)))
    # BYOL from a start too large to collapse comes to the same mode: at rest the predictor is its r, and modes of
    # smaller r have died
    W = np.array([[1.0, 1.0]])
    full = MatrixSystem(np.diag(lambda_s), np.diag(r * lambda_s))
    at_rest = integrate(MatrixState(W, np.eye(1), W), full, byol, rtol=rtol, atol=1e-12).final
    row = at_rest.online[0]
    parts.append((abs(float(at_rest.predictor[0, 0]) / r[1] - 1), 2 * rtol))
    parts.append(refuted(unless=abs(said["infonce"] @ row) > (1 - 1e-6) * np.linalg.norm(row)))
    # unit outputs: k equal modes, and what a second mode adds: g/q = a log²q + b log q + c, a from second differences
    k, ratio = int(rng.integers(1, 5)), rng.uniform(0.1, 0.95)
    parts.append((abs(cosine([1.0] * k, [ratio] * k) - equal(k, ratio)), 256 * EPS))
    r1, r2 = rng.uniform(0.3, 0.9), rng.uniform(0.3, 0.9)
    alone = 2 / np.pi * np.arcsin(r1)
    shares = 10.0 ** np.array([-5.0, -7.0, -9.0])
    gains = np.array([(cosine([1 - q, q], [r1, r2]) - alone) / q for q in shares])
    leading = np.array([gain(q, (r1, r2)) / q for q in shares])
    second, stated = (np.diff(values, 2)[0] for values in (gains, leading))
    # the next terms are q/(1 − r1²) of these, of which eight are allowed; rounding of a cosine counts 1/q times
    tolerance = 4 * EPS / shares[-1] + 8 * shares[0] / (1 - r1**2) * leading[0]
    parts += [(abs(second - stated), tolerance), refuted(unless=np.all(gains > 0))]
    return worst(*parts)


RESULTS: tuple[Result, ...] = (
    Result(
        id="R118",
        title="InfoNCE with finitely many negatives",
        statement=(
            "E L_H = log H + L∞ + c/H + o(1/H). Without the positive in the denominator c = −½(Π(1 + y)^{3/2}"
            "(1 + 3y)^{−1/2} − 1), y the eigenvalues of S/τ; with it c has E[e^{−r₊/τ}/m(f)] = det(I + S/τ)^{1/2} "
            "det(I + G B)^{−1/2} more, G = [[S, D], [D, S]], B = [[I, −I], [−I, I]]/τ − diag((τI + S)⁻¹, 0)."
        ),
        source="new",
        hypotheses="Linear encoder, Gaussian views. The rest is O(H⁻²) for small S/τ; H^{−1.76} at y = 1.5, r = .8.",
        as_printed=AsPrinted.NEW,
        code="dynamics.exact.infonce.finite_negative_correction",
        trial=finite_negatives,
    ),
    Result(
        id="R119",
        title="weight decay in InfoNCE",
        statement=(
            "With many negatives a mode is learned iff λd > ητ/2, at w Σs wᵀ = τ y*(r − ητ/(2λs)): a pitchfork at the "
            "origin, with w² ∝ η* − η, where BYOL has a saddle-node (R15). The simple loss grows iff 2λd > η."
        ),
        source="new",
        hypotheses="Linear encoder, Gaussian views, H → ∞; η a rate.",
        as_printed=AsPrinted.NEW,
        code="dynamics.exact.infonce.saturation_norm",
        trial=decay_threshold,
    ),
    Result(
        id="R120",
        title="who learns what",
        statement=(
            "One row: the simple loss learns the top eigenvector of Σd; InfoNCE with noise in the views that of "
            "M, as BYOL does, after a visit to that of larger λd. For unit outputs it is −E cos(f, f₊): "
            "a second mode of small share q adds r2 q log²q/(2π√(1 − r1²)), so that rank one is never optimal."
        ),
        source="DD appendix F.2",
        hypotheses="Linear encoder, centred Gaussian views, r < 1.",
        as_printed=AsPrinted.CORRECTED,
        code="analysis.contrastive.learned_subspaces.compare",
        correction="E15: that SimCLR learns Σd and BYOL M is true of the simple loss alone.",
        trial=who_learns_what,
    ),
)
"""R118, R119 and R120."""
