"""Results on fixed points, and the rank that none loses: R4, R5, R7, R8."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from analysis.fixed_points.network import polish
from analysis.results.linear.solutions import characteristic_gap, mode_symbols, symbolic_jacobian
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
from analysis.stability.adapted import fixed_point_residual
from analysis.stability.jacobian import mode_jacobian
from dynamics.exact.fixed_points import collapsed_line_eigenvalues, learned_line_eigenvalues
from dynamics.fields.matrices import error_matrix, full_field
from dynamics.fields.modes import full_mode_field, tied_mode_field
from dynamics.fields.vector_field import VectorField
from dynamics.invariants import eigenvalue_floor, rank_floor
from dynamics.modes import expand_modes
from dynamics.states import MatrixState, ModeState, pack
from dynamics.system import MatrixSystem, ModeSystem

# --- R4 ---------------------------------------------------------------------------------------------------------


KINDS = {"invertible": (4, 2, 2), "singular": (4, 2, 2), "rank-deficient": (4, 3, 2), "taller": (2, 4, 2)}
"""Fixed points to try, by what is special about them: n1, n2 and the rank of W."""


def _held_point(rng: np.random.Generator, kind: str) -> tuple[MatrixState, MatrixSystem, np.ndarray, float]:
    """Fixed point of a kind with its system, an E = u vᵀ that the field is blind to, and the condition of all that.

    The columns of the frame S are eigenvectors of P: the first ones, as many as the rank of W, hold modes of M, the
    others are free, with eigenvalue 0. u is in ker Pᵀ and v in ker W, where there are such.
    """
    n1, n2, rank = KINDS[kind]
    V = orthogonal(rng, n1) @ np.diag(rng.uniform(0.8, 1.25, n1)) @ orthogonal(rng, n1)
    r = np.linspace(0.3, 0.9, n1) if kind == "invertible" else np.linspace(0.0, 0.9, n1)
    sigma_s, sigma_d = V @ V.T, (V * r) @ V.T  # M = V diag(r) V⁻¹, and they do not commute
    system = MatrixSystem((sigma_s + sigma_s.T) / 2, (sigma_d + sigma_d.T) / 2, **random_rates(rng))
    chosen = np.append(0, 1 + rng.permutation(n1 - 1)[: rank - 1])
    S = orthogonal(rng, n2) @ np.diag(np.linspace(0.8, 1.25, n2)) @ orthogonal(rng, n2)
    p = np.append(r[chosen], np.zeros(n2 - rank))
    rows = np.zeros((n2, n1))
    rows[:rank] = np.linalg.inv(V)[chosen]
    state = system.state(S @ rows, S @ np.diag(p) @ np.linalg.inv(S))
    # the last singular vectors: of singular values 0 but where P is invertible or W has full rank
    u, v = np.linalg.svd(state.predictor)[0][:, -1], np.linalg.svd(state.online)[2][-1]
    return state, system, np.outer(u, v), float(np.linalg.cond(V) * np.linalg.cond(S))


def largest_error(state: MatrixState, system: MatrixSystem, A: np.ndarray, B: np.ndarray) -> float:
    """Most that ‖E‖ can be at Θ = W where PᵀE = A and E Wᵀ = B: 0 where both vanish, whatever P and W are (R4).

    EᵀE = Σd WᵀE − Σs WᵀA and W Σd WᵀE = BᵀE + W Σs WᵀA, so with e = ‖E‖ and Σd = DᵀD

        ‖D WᵀE‖² <= e² ‖B‖ + e ‖W Σs Wᵀ‖ ‖A‖   and   e² <= ‖D‖ ‖D WᵀE‖ + ‖Σs Wᵀ‖ ‖A‖.
    """
    W = state.online
    a, b = np.linalg.norm(A), np.linalg.norm(B)
    feature, input_, D = (
        np.linalg.norm(x)
        for x in (W @ system.sigma_s @ W.T, system.sigma_s @ W.T, np.sqrt(np.trace(system.sigma_d)))
    )
    # the largest e with e² <= D sqrt(b e² + feature a e) + input a, from above: the right side grows slower than e²
    e = 1 + float(D * np.sqrt(b + feature * a) + input_ * a + D**2 * (b + feature * a))
    for _ in range(200):
        e = float(np.sqrt(D * np.sqrt(b * e**2 + feature * a * e) + input_ * a))
    return e


def fixed_point_condition(
    rng: np.random.Generator,
    *,
    field: VectorField = full_field,
    residual: Callable[[MatrixState, MatrixSystem], float] = fixed_point_residual,
    rest: Callable[[MatrixState, MatrixSystem], Any] = polish,
) -> Measurement:
    """R4: P W = W M gives rest; next to it, where the field hardly sees E, it sees all that the proof says.

    Of four kinds: P invertible, P singular, W of deficient rank, and more features than inputs.
    """
    parts: list[tuple[Any, Any]] = []
    for kind in KINDS:
        state, system, blind, condition = _held_point(rng, kind)
        size = float(
            np.linalg.norm(state.online) * np.linalg.norm(system.sigma_s) * np.linalg.norm(state.predictor)
        )
        rounding = 4 * EPS * condition**2 * (1 + size)
        parts += [
            (np.linalg.norm(pack(field(0.0, state, system))), rounding),
            (residual(state, system), rounding),
        ]
        # "only if": move P so that E = h u vᵀ + O(h²), which PᵀE and E Wᵀ see to second order at most
        h = 10.0 ** rng.uniform(-6, -1)
        for moved in (
            state._replace(
                predictor=state.predictor - h * np.linalg.solve(system.sigma_s, blind.T).T @ state.online.T
            ),
            state._replace(predictor=state.predictor + h * rng.standard_normal(state.predictor.shape)),
            MatrixState(state.online + h * blind, state.predictor, state.online + h * blind),
        ):
            dW, dP, dTh = field(0.0, moved, system)
            A, B = system.tau_online * dW, system.tau_predictor * dP
            E = error_matrix(moved, system)
            bound = largest_error(moved, system, A, B)
            parts.append(refuted(unless=np.linalg.norm(E) <= bound * (1 + 1e-9) and not np.any(dTh)))
            ours = E.T @ E - system.sigma_d @ moved.online.T @ E + system.sigma_s @ moved.online.T @ A
            theirs = moved.online @ system.sigma_d @ moved.online.T @ E - B.T @ E
            theirs -= moved.online @ system.sigma_s @ moved.online.T @ A
            scale = (1 + size) ** 2 * np.linalg.norm(E)
            parts += [(np.linalg.norm(x), 4 * EPS * condition**2 * scale) for x in (ours, theirs)]
            seen = np.linalg.norm(E) <= residual(moved, system) * (1 + 1e-9)
            parts.append(refuted(unless=seen))
        if kind == "invertible":
            near = MatrixState(*(part + 0.02 * rng.standard_normal(part.shape) for part in state))
            found = rest(near, system).state
            W, P, Th = found
            left = float(np.linalg.norm(pack(full_field(0.0, found, system))))
            # Pᵀ E = τo dW/dt bounds E, and E = W Σd − P W Σs + (Θ − W) Σd with Θ − W = −τt dΘ/dt
            smallest = np.linalg.svd(P, compute_uv=False)[-1]
            reach = system.tau_online / smallest + system.tau_target * (1 + np.linalg.norm(system.sigma_d))
            off = max(np.linalg.norm(P @ W @ system.sigma_s - W @ system.sigma_d), np.linalg.norm(Th - W))
            parts += [(off, rounding + reach * left), refuted(unless=left < 1e-11)]
    return worst(*parts)


def prove_fixed_point_condition() -> bool:
    """R4: at Θ = W with P = W M W⁻¹ the field is zero (2×2); and E is zero where the field is, for any P and W.

    EᵀE = Σd WᵀE − Σs Wᵀ(PᵀE) and W Σd WᵀE = (E Wᵀ)ᵀE + W Σs Wᵀ(PᵀE), here for three features of two inputs: at rest
    PᵀE and E Wᵀ vanish, so Eᵀ W Σd WᵀE = 0, so Σd WᵀE = 0 as Σd ≽ 0, so EᵀE = 0.
    """
    import sympy as sp

    W = symbols("w", 2, 2)
    sigma_s, sigma_d = (symbols(letter, 1, 3)[0][[[0, 1], [1, 2]]] for letter in "sd")
    Ws, Ss, Sd = sp.Matrix(W), sp.Matrix(sigma_s), sp.Matrix(sigma_d)
    P = np.array((Ws * Sd * Ss.inv() * Ws.inv()).applyfunc(sp.together).tolist(), dtype=object)
    rates = symbolic_rates() | {"weight_decay": 0}
    system: Any = SimpleNamespace(sigma_s=sigma_s, sigma_d=sigma_d, **rates)
    sufficient = all(vanishes(part) for part in full_field(0, MatrixState(W, P, W), system))

    W, P = symbols("w", 3, 2), symbols("p", 3, 3)
    state = MatrixState(W, P, W)
    dW, dP, _ = full_field(0, state, system)
    E, A, B = error_matrix(state, system), system.tau_online * dW, system.tau_predictor * dP
    identities = (
        E.T @ E - sigma_d @ W.T @ E + sigma_s @ W.T @ A,
        W @ sigma_d @ W.T @ E - B.T @ E - W @ sigma_s @ W.T @ A,
    )
    return sufficient and all(sp.expand(x) == 0 for part in identities for x in part.flat)


# --- R5 ---------------------------------------------------------------------------------------------------------


def fixed_lines(
    rng: np.random.Generator,
    *,
    field: VectorField = full_mode_field,
    learned: Callable[[Any, ModeSystem], np.ndarray] = learned_line_eigenvalues,
    collapsed: Callable[[Any, ModeSystem], np.ndarray] = collapsed_line_eigenvalues,
) -> Measurement:
    """R5: both spectra against the Jacobian of the field, and their signs on either side of p = 0 and p = r."""
    n = 7
    # multiples of 1/64, whose products are exact: p = r is met to the last digit
    lambda_s, r = (rng.integers(low, high, n) / 64 for low, high in ((32, 128), (13, 58)))
    system = ModeSystem(lambda_s, r * lambda_s, **random_rates(rng))
    a = rng.uniform(0.1, 1.5, n) * rng.choice([-1, 1], n)
    next_to = 1 + np.array([-1.0, 1.0]) * 2.0**-20
    # attracting, saddle, attracting, degenerate twice, and on either side of p = r
    p = np.array([-1.0, 0.5, 1.5, 0.0, 1.0, *next_to]) * r
    on_learned, on_collapsed = learned(a, system), collapsed(p, system)
    gaps, tolerances = zip(
        characteristic_gap(mode_jacobian(system.state(a, system.ratio, a), system, field), on_learned),
        characteristic_gap(mode_jacobian(system.state(0.0, p, 0.0), system, field), on_collapsed),
        strict=True,
    )
    growing, still = np.sum(on_collapsed.real > 0, axis=-1), np.sum(on_collapsed == 0, axis=-1)
    as_stated = (
        np.all(np.sum(on_learned.real < 0, axis=-1) == 2)
        and growing.tolist() == [0, 1, 0, 0, 0, 1, 0]
        and still.tolist() == [1, 1, 1, 2, 2, 1, 1]
    )
    return worst(*zip(gaps, tolerances, strict=True), refuted(unless=as_stated))


def prove_fixed_lines() -> bool:
    """R5: the characteristic polynomials of the field's Jacobian on both lines."""
    import sympy as sp

    w1, w2, th, ls, ld, s = mode_symbols("w1", "w2", "theta", "lambda_s", "lambda_d", "s")
    a, p = sp.symbols("a p", real=True)
    rates = symbolic_rates() | {"weight_decay": 0}
    to, tp, tt = rates["tau_online"], rates["tau_predictor"], rates["tau_target"]
    system: Any = SimpleNamespace(lambda_s=ls, lambda_d=ld, **rates)
    variables = {"online": w1, "predictor": w2, "target": th}
    J = symbolic_jacobian(full_mode_field, variables, ModeState(w1, w2, th), system)
    r = ld / ls
    on_learned = (s * sp.eye(3) - J.subs({w1: a, w2: r, th: a})).det()
    on_collapsed = (s * sp.eye(3) - J.subs({w1: 0, w2: p, th: 0})).det()
    learned = s**2 + s * (1 / tt + ls * (r**2 / to + a**2 / tp)) + ls * a**2 / (tp * tt)
    collapsed = s**2 + s * (1 / tt + ls * p**2 / to) + p * (ls * p - ld) / (to * tt)
    return vanishes([on_learned - s * learned, on_collapsed - s * collapsed])


# --- R7 ---------------------------------------------------------------------------------------------------------


def half_stable_origin(rng: np.random.Generator, *, field: VectorField = tied_mode_field) -> Measurement:
    """R7: eigenvalues at the origin, the flow on its centre manifold on both sides, and the stable learned point."""
    tau, tau_target = rng.uniform(0.5, 2.0, 2)
    lambda_s, r = rng.uniform(0.5, 2.0), rng.uniform(0.2, 0.9)
    lambda_d = r * lambda_s
    system = ModeSystem(lambda_s, lambda_d, tau_online=tau, tau_predictor=tau, tau_target=tau_target)
    J = mode_jacobian(system.state(0.0, 0.0, 0.0), system, field)
    origin = float(np.max(np.abs(np.sort(np.linalg.eigvals(J[0]).real) - [-1 / tau_target, 0.0])))
    h, push = 1e-3, lambda_d / tau
    bend = (tau_target * lambda_d**2 / tau + lambda_s) / tau  # of the next order, dw/dt = (λd/τ) w² − bend w³
    errors = []
    for w in (h, -h):
        th = w - tau_target * push * w**2  # the centre manifold, to third order
        velocity = field(0.0, system.state(w, w, th), system)
        errors.append(abs(float(velocity.online[0]) / w**2 - push + bend * w))
    at_learned = np.linalg.eigvals(mode_jacobian(system.state(r, r, r), system, field)[0])
    # on the manifold to this order dw/dt has no further terms: rounding of θ, w eps, and of its products, over w²
    tolerance = 2 * EPS * (push + bend * h) / h
    return worst(
        (origin, 4 * EPS * (1 + 1 / tau_target)),
        *((error, tolerance) for error in errors),
        refuted(unless=np.all(at_learned.real < 0)),
    )


def prove_half_stable_origin() -> bool:
    """R7: the Jacobian at the origin, dw/dt = (λd/τ) w² + O(w³) on the centre manifold, and that it is invariant."""
    import sympy as sp

    ls, ld, tau, tt = mode_symbols("lambda_s", "lambda_d", "tau", "tau_t")
    w, th = sp.symbols("w theta", real=True)
    system: Any = SimpleNamespace(
        lambda_s=ls, lambda_d=ld, tau_online=tau, tau_predictor=tau, tau_target=tt, weight_decay=0
    )
    dw, _, dth = tied_mode_field(0, ModeState(w, w, th), system)
    J = sp.Matrix([dw, dth]).jacobian([w, th]).subs({w: 0, th: 0})
    manifold = w - tt * ld / tau * w**2
    velocity, drift = (sp.expand(part.subs(th, manifold)) for part in (dw, dth))
    off = sp.expand(drift - sp.diff(manifold, w) * velocity)
    low_orders = [off.coeff(w, k) for k in range(3)]
    return vanishes(
        [
            *(J - sp.Matrix([[0, 0], [1 / tt, -1 / tt]])),
            *(velocity.coeff(w, k) for k in range(2)),
            velocity.coeff(w, 2) - ld / tau,
            *low_orders,
        ]
    )


# --- R8 ---------------------------------------------------------------------------------------------------------


def rank_never_lost(
    rng: np.random.Generator,
    *,
    field: VectorField = full_field,
    floor: Callable[[MatrixState, MatrixSystem], np.ndarray] = eigenvalue_floor,
    rank: Callable[[MatrixState, MatrixSystem], int] = rank_floor,
) -> Measurement:
    """R8: eigenvalues of W Wᵀ along a run against those of C/τo, and rank W against n₊(C), met with equality.

    Rows that collapse (c < 0, w2 < 0) fall to the floor 0; one with w2 = 0 starts on its floor, c/τo. The features
    are turned, which leaves the flow and C's eigenvalues as they are.
    """
    n1, n2 = 4, 3
    U, S = orthogonal(rng, n1), orthogonal(rng, n2)
    lambda_s = rng.uniform(0.5, 2.0, n1)
    r = np.sort(rng.uniform(0.2, 0.9, n1))[
        ::-1
    ]  # rows that stay hold the top modes: their ends are stable (R10)
    sigma_s, sigma_d = (U * lambda_s) @ U.T, (U * (r * lambda_s)) @ U.T
    system = MatrixSystem((sigma_s + sigma_s.T) / 2, (sigma_d + sigma_d.T) / 2, **random_rates(rng))
    n_kept = int(rng.integers(0, n2 + 1))
    kept = np.arange(n2) < n_kept
    w = rng.uniform(0.3, 0.8, n2)
    p = np.where(kept, 0.0, -2.5)
    rows = expand_modes(ModeState(w, p, w), U.T[:n2])
    start = system.state(S @ rows.online, S @ rows.predictor @ S.T)
    run, error = followed(start, system, field, ts=np.array([0.0, 0.5, 1.0, 2.0, 4.0, 60.0]))
    eigenvalues = np.linalg.eigvalsh(run.states.online @ run.states.online.mT)[:, ::-1]
    bound = floor(start, system)
    # Weyl: an eigenvalue moves by no more than W Wᵀ does
    largest = float(np.max(np.linalg.norm(run.states.online, axis=(1, 2))))
    tolerance = 2 * n2 * largest * error
    shortfall = float(np.max(bound - eigenvalues[1:]))
    # C/τo is the difference of W Wᵀ and (τp/τo) Pᵀ P, and its eigenvalues round with the larger of the two
    subtracted = system.tau_predictor / system.tau_online * float(np.max(p**2))
    rounding = (n1 + n2) * EPS * (largest**2 + subtracted)
    # p² >= 2.5² − 4·0.8² keeps λs p²/τo above 0.9, so that w falls at a rate of at least 0.9/(1 + 2·0.9), R5
    left = int(np.sum(eigenvalues[-1] > tolerance + rounding))
    return worst(
        (np.max(np.abs(bound - np.append(np.sort(w[kept] ** 2)[::-1], w[~kept] * 0))), rounding),
        (max(shortfall, 0.0), tolerance + rounding),
        refuted(unless=rank(start, system) == n_kept == left),
    )


RESULTS: tuple[Result, ...] = (
    Result(
        id="R4",
        title="fixed points",
        statement=(
            "(W, P, Θ) is a fixed point iff Θ = W and P W Σs = W Σd, that is P W = W M. The family is closed under "
            "W → S W, P → S P S⁻¹, S invertible."
        ),
        source="DD 185",
        hypotheses="η = 0, Σs ≻ 0, Σd ≽ 0.",
        as_printed=AsPrinted.REFINED,
        code="analysis.fixed_points.network.canonical_fixed_points",
        correction="DD gives the condition as sufficient only; it is necessary as well.",
        trial=fixed_point_condition,
        proof=prove_fixed_point_condition,
    ),
    Result(
        id="R5",
        title="one-mode fixed points",
        statement=(
            "Learned line (a, r, a): 0 and s² + s(1/τt + λs(r²/τo + a²/τp)) + λs a²/(τp τt) = 0, both negative. "
            "Collapsed line (0, p, 0): 0 and s² + s(1/τt + λs p²/τo) + (p/(τo τt))(λs p − λd) = 0: attracting for "
            "p < 0 or p > r, saddle for 0 < p < r, doubly degenerate at p = 0 and p = r."
        ),
        source="DD appendix F.1 and F.4",
        hypotheses="One mode, η = 0, λs, λd > 0, a ≠ 0.",
        as_printed=AsPrinted.REFINED,
        code="dynamics.exact.fixed_points.collapsed_line_eigenvalues",
        correction="E5: DD calls the origin unstable; it is not hyperbolic, with eigenvalues 0, 0, −1/τt.",
        trial=fixed_lines,
        proof=prove_fixed_lines,
    ),
    Result(
        id="R7",
        title="half-stable origin of tied weights",
        statement=(
            "Eigenvalues 0 and −1/τt; on the centre manifold dw/dt = (λd/τ) w² + O(w³): repelling for w > 0, "
            "attracting for w < 0. The learned point w = θ = r is stable."
        ),
        source="DD Figure 5 middle",
        hypotheses="w1 = w2 = w, τo = τp = τ, η = 0, λs, λd > 0.",
        as_printed=AsPrinted.REFINED,
        code="dynamics.fields.modes.tied_mode_field",
        counterexample="dyn fixed-points --lambda-s 1 --lambda-d 0.5 --variant tied",
        correction="E5: DD calls the collapsed fixed point unstable; it attracts from w < 0.",
        trial=half_stable_origin,
        proof=prove_half_stable_origin,
    ),
    Result(
        id="R8",
        title="rank floor",
        statement=(
            "rank W(t) >= n₊(C), the number of positive eigenvalues of C(0) = τo W Wᵀ − τp Pᵀ P; the i-th eigenvalue "
            "of W Wᵀ is at least that of C/τo at all times. C ≻ 0 excludes any collapse."
        ),
        source="new; from R2",
        hypotheses="η = 0, any moments and target.",
        as_printed=AsPrinted.NEW,
        code="dynamics.invariants.eigenvalue_floor",
        trial=rank_never_lost,
    ),
)
"""R4, R5, R7 and R8."""
