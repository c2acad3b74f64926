"""Results on variants of one mode that are solved exactly: R11, R13, R14, R15."""

from __future__ import annotations

from collections.abc import Callable
from math import comb
from types import SimpleNamespace
from typing import Any

import numpy as np

from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import EPS, followed, random_rates, refuted, symbolic_rates, vanishes, worst
from analysis.stability.jacobian import mode_jacobian
from dynamics.exact.fixed_points import WeightDecayFixedPoints, saddle_node, weight_decay_fixed_points
from dynamics.exact.fixed_target import fixed_target_solution
from dynamics.exact.no_ema import escape_time, no_ema_solution, no_ema_time
from dynamics.exact.no_predictor import (
    no_predictor_eigenvalues,
    no_predictor_matrix_solution,
    no_predictor_solution,
)
from dynamics.fields.matrices import no_predictor_field
from dynamics.fields.modes import (
    fixed_target_mode_field,
    full_mode_field,
    no_ema_mode_field,
    no_predictor_mode_field,
)
from dynamics.fields.vector_field import VectorField
from dynamics.invariants import mode_invariant
from dynamics.states import ModeState
from dynamics.system import MatrixSystem, ModeSystem

N_MODES = 4


def _random_modes(rng: np.random.Generator, **rates: Any) -> ModeSystem:
    lambda_s = rng.uniform(0.5, 1.5, N_MODES)
    return ModeSystem(lambda_s, rng.uniform(0.3, 0.9, N_MODES) * lambda_s, **rates)


def _random_start(rng: np.random.Generator, system: ModeSystem) -> ModeState:
    return system.state(*(rng.uniform(0.2, 1.2, (3, N_MODES)) * rng.choice([-1, 1], (3, N_MODES))))


def _largest_gap(found: Any, expected: Any) -> float:
    return float(max(np.max(np.abs(a - b)) for a, b in zip(found, expected, strict=True)))


def characteristic_gap(matrices: np.ndarray, eigenvalues: np.ndarray) -> tuple[float, float]:
    """Relative distance of characteristic polynomials, and what rounding explains of it.

    The coefficients are well conditioned where eigenvalues are not. An eigensolver's result is exact for a matrix
    within a few √n eps ‖A‖, which moves coefficient k, a sum of binom(n, k) minors, by k times that and ‖A‖ᵏ⁻¹ each.
    """
    n = matrices.shape[-1]
    k = np.arange(1, n + 1)
    sizes = np.linalg.norm(matrices, ord=2, axis=(-2, -1))[:, None] ** k * k * [comb(n, j) for j in k]
    gaps = [np.abs(np.poly(A) - np.poly(s))[1:] for A, s in zip(matrices, eigenvalues, strict=True)]
    return float(np.max(np.array(gaps) / sizes)), 4 * float(np.sqrt(n)) * EPS


def mode_symbols(*names: str) -> tuple[Any, ...]:
    """Positive SymPy symbols."""
    import sympy as sp

    return tuple(sp.Symbol(name, positive=True) for name in names)


def symbolic_jacobian(field: VectorField, variables: dict[str, Any], state: Any, system: Any) -> Any:
    """SymPy Jacobian of a one-mode field over those parts of the state that `variables` names."""
    import sympy as sp

    derivative = field.derivative(0, state, system)
    return sp.Matrix([getattr(derivative, name) for name in variables]).jacobian(list(variables.values()))


# --- R11 --------------------------------------------------------------------------------------------------------


def no_predictor(
    rng: np.random.Generator,
    *,
    field: VectorField = no_predictor_mode_field,
    matrix_field: VectorField = no_predictor_field,
    solution: Callable[[Any, Any, Any], Any] = no_predictor_solution,
    matrix_solution: Callable[[Any, Any, Any], Any] = no_predictor_matrix_solution,
    eigenvalues: Callable[[ModeSystem], np.ndarray] = no_predictor_eigenvalues,
) -> Measurement:
    """R11: the matrix exponentials against runs, and the eigenvalues against λd < λs and λd = λs."""
    rates, ts = random_rates(rng), np.linspace(0.0, 2.0, 5)
    system = _random_modes(rng, **rates)
    start = _random_start(rng, system)
    run, error = followed(start, system, field, ts=ts)
    exact = solution(ts, start, system)
    parts = [(_largest_gap(exact, run.states), 2 * error)]
    A, B = rng.standard_normal((2, 3, 3)) / np.sqrt(3)
    full = MatrixSystem(A @ A.T + B @ B.T, A @ A.T, **rates)
    W, Th = rng.standard_normal((2, 2, 3))
    matrix_start = full.state(W, np.eye(2), Th)
    matrix_run, matrix_error = followed(matrix_start, full, matrix_field, ts=ts)
    gap = _largest_gap(matrix_solution(ts, matrix_start, full), matrix_run.states)
    parts.append((gap, 2 * matrix_error))

    below = eigenvalues(system).real
    level = eigenvalues(ModeSystem(system.lambda_s, system.lambda_s, **rates)).real
    signs_hold = np.all(below < 0) and np.all(level[:, 0] == 0) and np.all(level[:, 1] < 0)
    return worst(*parts, refuted(unless=signs_hold))


def prove_no_predictor() -> bool:
    """R11: Jacobian [[−λs/τo, λd/τo], [1/τt, −1/τt]], determinant (λs − λd)/(τo τt)."""
    import sympy as sp

    w1, th, ls, ld = mode_symbols("w1", "theta", "lambda_s", "lambda_d")
    system: Any = SimpleNamespace(lambda_s=ls, lambda_d=ld, **symbolic_rates() | {"weight_decay": 0})
    to, tt = system.tau_online, system.tau_target
    J = symbolic_jacobian(
        no_predictor_mode_field, {"online": w1, "target": th}, ModeState(w1, sp.Integer(1), th), system
    )
    printed = sp.Matrix([[-ls / to, ld / to], [1 / tt, -1 / tt]])
    return vanishes([*(J - printed), J.det() - (ls - ld) / (to * tt)])


# --- R13 --------------------------------------------------------------------------------------------------------


def fixed_target(
    rng: np.random.Generator,
    *,
    field: VectorField = fixed_target_mode_field,
    solution: Callable[[Any, Any, Any], Any] = fixed_target_solution,
) -> Measurement:
    """R13: the closed form against a run, the law of u = w1 w2 at its states, its limit, and the origin's saddle."""
    system, ts = _random_modes(rng), np.linspace(0.0, 2.0, 5)
    start = _random_start(rng, system)
    run, error = followed(start, system, field, ts=ts)
    exact = solution(ts, start, system)
    parts = [(_largest_gap(exact, run.states), 2 * error)]
    w1, w2, th = exact
    dw1, dw2, _ = field(0.0, exact, system)
    u, c = w1 * w2, mode_invariant(start, system)
    law = np.sqrt(c**2 + 4 * u**2) * (th * system.lambda_d - system.lambda_s * u)
    # the closed form keeps c and u to a few roundings, which λs sqrt(c² + 4u²) multiplies
    largest = max(float(np.max(np.abs(part))) for part in exact)
    pull = start.target * system.lambda_d
    speed = np.max((np.abs(pull) + system.lambda_s * largest**2) * largest**2)
    parts.append((np.max(np.abs(w2 * dw1 + w1 * dw2 - law)), 8 * EPS * speed))
    # u approaches θ r at the rate λs sqrt(c² + 4θ²r²) >= 0.5·2·0.2·0.3; e^{−0.06·1000} is below rounding
    end = solution(1e3, start, system)
    gap = np.max(np.abs(end.online * end.predictor - start.target * system.ratio))
    parts.append((gap, 8 * EPS * max(float(np.max(np.abs(part))) for part in end) ** 2))
    J = mode_jacobian(system.state(0.0, 0.0, start.target), system, field)
    return worst(*parts, characteristic_gap(J, np.stack([pull, -pull], axis=-1)))


def prove_fixed_target() -> bool:
    """R13, τ = 1 and c > 0: the law of u, and the Riccati equation of x with u = c x/(1 − x²) = (c/2) sinh f."""
    import sympy as sp

    w1, w2, th, ls, ld, c, x = mode_symbols("w1", "w2", "theta", "lambda_s", "lambda_d", "c", "x")
    unit = {"tau_online": 1, "tau_predictor": 1, "tau_target": 1, "weight_decay": 0}
    system: Any = SimpleNamespace(lambda_s=ls, lambda_d=ld, **unit)
    dw1, dw2, dth = fixed_target_mode_field(0, ModeState(w1, w2, th), system)
    u = w1 * w2
    invariant = w1**2 - w2**2
    law = (w1**2 + w2**2) * (th * ld - ls * u)
    u_of_x = c * x / (1 - x**2)
    speed = c * (1 + x**2) / (1 - x**2)  # sqrt(c² + 4u²) for 0 < x < 1
    dx = speed * (th * ld - ls * u_of_x) / sp.diff(u_of_x, x)
    return vanishes(
        [
            w2 * dw1 + w1 * dw2 - law,
            invariant**2 + 4 * u**2 - (w1**2 + w2**2) ** 2,
            speed**2 - c**2 - 4 * u_of_x**2,
            dx - (th * ld * (1 - x**2) - ls * c * x),
            dth,
        ]
    )


# --- R14 --------------------------------------------------------------------------------------------------------


def time_integral(w: Any, c: Any, r: Any, xp: Any = np) -> Any:
    """F(w) = ½ ln(w² + c) + r A(w) − ln|r − w|, of which no EMA's time is (F(w2) − F(w2(0)))/(λs(r² + c)).

    `xp` gives `log`, `sqrt` and the inverse tangent: NumPy or SymPy; c is one number or symbol.
    """
    arctan = getattr(xp, "arctan", None) or xp.atan
    if c == 0:
        A = -1 / w
    elif c > 0:
        A = arctan(w / xp.sqrt(c)) / xp.sqrt(c)
    else:
        k = xp.sqrt(-c)
        A = xp.log(abs((w - k) / (w + k))) / (2 * k)
    return xp.log(w**2 + c) / 2 + r * A - xp.log(abs(r - w))


def no_ema(
    rng: np.random.Generator,
    *,
    field: VectorField = no_ema_mode_field,
    solution: Callable[[Any, Any, Any], Any] = no_ema_solution,
    time_of: Callable[[Any, Any, Any], Any] = no_ema_time,
    escape: Callable[[Any, ModeSystem], Any] = escape_time,
    integral: Callable[[Any, Any, Any], Any] = time_integral,
) -> Measurement:
    """R14: the closed form against runs, and its time against the printed F, for c >, = and < 0, w2 of either sign."""
    system, ts = _random_modes(rng), np.linspace(0.0, 2.0, 5)
    gentle = rng.uniform(0.9, 1.1, (2, N_MODES))
    parts = []
    for w1, w2 in (
        ([1.2, 0.9, -0.9, 1.0], [0.3, -0.5, -0.3, 0.6]),  # c > 0, from both sides of w2 = 0
        ([0.4, 0.5, -0.3, 0.4], [1.1, 1.3, -0.9, -1.2]),  # c < 0: r and k = √−c are approached, and −k
        ([0.4, 0.9, -0.5, 0.8], [0.4, 0.9, -0.5, -0.8]),  # c = 0: w1 = ±w2
    ):
        size = gentle if w1[0] != w2[0] else gentle[:1]
        start = system.state(*(np.array([w1, w2]) * size))
        run, error = followed(start, system, field, ts=ts)
        exact = solution(ts, start, system)
        parts.append((_largest_gap(exact, run.states), 2 * error))

        c, moved = mode_invariant(start, system), exact.predictor[2]
        values = list(zip(start.predictor, moved, c, system.ratio, strict=True))
        F = np.array([[integral(w, ci, ri) for w in (a, b)] for a, b, ci, ri in values])
        ends = np.array([[a, b] for a, b, _, _ in values])
        rate = system.lambda_s * (system.ratio**2 + c)
        times = time_of(moved, start, system)
        # w2 is known to a few eps, which moves F by dF/dw = (r² + c)/((w² + c)(r − w)) times that
        slopes = np.abs((system.ratio**2 + c) / ((ends.T**2 + c) * (system.ratio - ends.T)))
        rounded = 8 * EPS * (np.abs(F).T + np.abs(ends.T) * slopes).max(axis=0) / np.abs(rate)
        # the printed F subtracts w² and −c where w1 is small: w1² = w² + c is known to eps w² there
        rounded += 4 * EPS * ((ends.T**2 + np.abs(c)) / (ends.T**2 + c)).max(axis=0) / np.abs(rate)
        printed = (F[:, 1] - F[:, 0]) / rate
        parts += [(np.abs(times - ts[2]), rounded), (np.abs(printed - times), rounded)]

    small = rng.uniform(0.01, 0.1)
    spans = np.array([integral(r / 2, 0.0, r) - integral(small, 0.0, r) for r in system.ratio])
    tied = spans / (system.lambda_s * system.ratio**2)
    parts.append((np.max(np.abs(escape(small, system) / tied - 1)), 8 * EPS))
    return worst(*parts)


def prove_no_ema() -> bool:
    """R14, τ = 1: dw2/dt = λs (w2² + c)(r − w2) on the leaf, and dF/dw = (r² + c)/((w² + c)(r − w))."""
    import sympy as sp

    w1, w2, r, ls, k = mode_symbols("w1", "w2", "r", "lambda_s", "k")
    unit = {"tau_online": 1, "tau_predictor": 1, "tau_target": 1, "weight_decay": 0}
    system: Any = SimpleNamespace(lambda_s=ls, lambda_d=r * ls, **unit)
    dw1, dw2, dth = no_ema_mode_field(0, ModeState(w1, w2, w1), system)
    laws = [dw2 - ls * w1**2 * (r - w2), w1 * dw1 - w2 * dw2, dth - dw1]
    w = sp.Symbol("w", real=True)
    for c in (k**2, sp.Integer(0), -(k**2)):
        # between the singular points |·| only adds a constant iπ to F
        F = time_integral(w, c, r, sp).replace(sp.Abs, lambda x: x)
        laws.append(sp.diff(F, w) - (r**2 + c) / ((w**2 + c) * (r - w)))
    return vanishes(laws)


# --- R15 --------------------------------------------------------------------------------------------------------


def weight_decay(
    rng: np.random.Generator,
    *,
    field: VectorField = full_mode_field,
    fixed_points: Callable[[ModeSystem], WeightDecayFixedPoints] = weight_decay_fixed_points,
    threshold: Callable[[ModeSystem], np.ndarray] = saddle_node,
) -> Measurement:
    """R15: the field and its Jacobian at the five points below η*, none but the origin above, and the balance."""
    rates = random_rates(rng)
    bare = _random_modes(rng, **rates)
    eta = bare.lambda_d**2 / (4 * rates["tau_online"] * bare.lambda_s) * rng.uniform(0.2, 0.8, N_MODES)
    system = ModeSystem(bare.lambda_s, bare.lambda_d, **rates, weight_decay=eta)
    _, points, spectra = fixed_points(system)
    parts = []
    for state, eigenvalues in zip(zip(*points, strict=True), spectra, strict=True):
        point = ModeState(*state)
        push = max(float(np.max(np.abs(part))) for part in field(0.0, point, system))
        # p± is a root of which the discriminant, at least 0.2 of λd², is rounded; E is linear in it
        parts.append(
            (push, 4 * EPS * np.max(system.lambda_d) * (1 + max(rates.values())) / min(rates.values()))
        )
        parts.append(characteristic_gap(mode_jacobian(point, system, field), eigenvalues))
    real = spectra.real
    n_growing = np.sum(real > 0, axis=-1)
    as_stated = np.all(n_growing[[0, 3, 4]] == 0) and np.all(n_growing[[1, 2]] == 1)
    edges = threshold(system)
    counts = [
        np.sum(
            ~np.isnan(fixed_points(ModeSystem(bare.lambda_s, bare.lambda_d, **rates, weight_decay=e))[1][0])
        )
        for e in (edges * (1 - 16 * EPS), edges * (1 + 16 * EPS))
    ]
    as_stated &= counts == [5 * N_MODES, N_MODES]

    start = _random_start(rng, system)
    run, error = followed(start, system, field, ts=np.linspace(0.0, 2.0, 5))
    c = mode_invariant(run.states, system)
    gap = np.max(np.abs(c - np.exp(-2 * eta * run.ts[:, None]) * c[0]))
    # two squares of weights known to the run's accuracy
    largest = max(float(np.max(np.abs(part))) for part in run.states)
    weights = rates["tau_online"] + rates["tau_predictor"]
    return worst(*parts, (gap, 2 * weights * largest * error), refuted(unless=as_stated))


def prove_weight_decay() -> bool:
    """R15: rest at w2 = p, θ = w1 = sqrt(τp/τo) p with η = p(λd − λs p)/τo, −2η across the sheet, and its trace."""
    import sympy as sp

    w1, w2, th, ls, ld, p, s = mode_symbols("w1", "w2", "theta", "lambda_s", "lambda_d", "p", "s")
    rates = symbolic_rates()
    to, tp, tt = rates["tau_online"], rates["tau_predictor"], rates["tau_target"]
    eta = p * (ld - ls * p) / to
    system: Any = SimpleNamespace(lambda_s=ls, lambda_d=ld, **rates | {"weight_decay": eta})
    kappa = sp.sqrt(tp / to)
    here = {w1: kappa * p, w2: p, th: kappa * p}
    state = ModeState(w1, w2, th)
    rest = [part.subs(here) for part in full_mode_field(0, state, system)]
    variables = {"online": w1, "predictor": w2, "target": th}
    J = symbolic_jacobian(full_mode_field, variables, state, system).subs(here)
    pair = s**2 + s * (2 * ls * p**2 / to + 1 / tt) + p * (2 * ls * p - ld) / (to * tt)
    characteristic = (s * sp.eye(3) - J).det()
    return vanishes([*rest, characteristic - (s + 2 * eta) * pair])


RESULTS: tuple[Result, ...] = (
    Result(
        id="R11",
        title="no predictor",
        statement=(
            "d(w1, θ)/dt = A (w1, θ), A = [[−λs/τo, λd/τo], [1/τt, −1/τt]], det A = (λs − λd)/(τo τt): collapse is "
            "globally stable when λd < λs, a line of fixed points when λd = λs. (w1, θ)(t) = exp(A t) (w1, θ)(0)."
        ),
        source="DD appendix F.3, Figure 5 right",
        hypotheses="P = I constant, η = 0, λs > 0.",
        as_printed=AsPrinted.YES,
        code="dynamics.exact.no_predictor.no_predictor_solution",
        trial=no_predictor,
        proof=prove_no_predictor,
    ),
    Result(
        id="R13",
        title="fixed target, solved exactly",
        statement=(
            "u = w1 w2 obeys du/dt = sqrt(c² + 4u²)(θ λd − λs u); with u = (|c|/2) sinh f and x = tanh(f/2), "
            "dx/dt = θ λd (1 − x²) − λs |c| x. The origin is a saddle with eigenvalues ±θ λd; minima on w1 w2 = θ r."
        ),
        source="DD appendix F.4 with 189, Figure 5 left",
        hypotheses="θ constant, η = 0, τo = τp = 1.",
        as_printed=AsPrinted.YES,
        code="dynamics.exact.fixed_target.fixed_target_solution",
        trial=fixed_target,
        proof=prove_fixed_target,
    ),
    Result(
        id="R14",
        title="no EMA, solved exactly",
        statement=(
            "t = [F(w2(t)) − F(w2(0))]/(λs(r² + c)), F(w) = ½ ln(w² + c) + r A(w) − ln|r − w|, A(w) = arctan(w/√c)/√c, "
            "−1/w, or (1/2k) ln|(w − k)/(w + k)| with k = √−c, for c >, =, < 0."
        ),
        source="new; from DD 186–187 with θ = w1",
        hypotheses="θ = w1 behind the stop-gradient, η = 0, τo = τp = 1, c ≠ −r².",
        as_printed=AsPrinted.NEW,
        code="dynamics.exact.no_ema.no_ema_solution",
        trial=no_ema,
        proof=prove_no_ema,
    ),
    Result(
        id="R15",
        title="weight decay",
        statement=(
            "τo w1² − τp w2² decays as e^{−2ηt}. Fixed points: the origin, eigenvalues −η, −η, −1/τt, and "
            "w2 = p± = [λd ± sqrt(λd² − 4ητoλs)]/(2λs), θ = w1 = ± sqrt(τp/τo) w2, with p− a saddle and p+ stable for "
            "every τt; saddle-node at η* = λd²/(4τoλs), no Hopf bifurcation."
        ),
        source="NC, fixed points under weight decay, where λd = τ and λs = 1 + σ²",
        hypotheses="One mode, η > 0, λs, λd > 0.",
        as_printed=AsPrinted.YES,
        code="dynamics.exact.fixed_points.weight_decay_fixed_points",
        trial=weight_decay,
        proof=prove_weight_decay,
    ),
)
"""R11, R13, R14 and R15."""
