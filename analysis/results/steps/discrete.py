"""Results on gradient descent with real steps: R301, R302, R304."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from analysis.fates.fate import Fate
from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import EPS, random_rates, refuted, symbolic_rates, symbols, vanishes, worst
from analysis.steps.fates import DiscreteFate, discrete_fate
from dynamics.fields.matrices import error_matrix
from dynamics.fields.modes import full_mode_field
from dynamics.fields.vector_field import VectorField
from dynamics.integration.discrete import (
    EmaOrder,
    balance_factor,
    balanced_after,
    gradient_step,
    modified_field,
)
from dynamics.integration.integrate import integrate
from dynamics.invariants import balance_matrix, mode_invariant
from dynamics.states import MatrixState, ModeState
from dynamics.system import MatrixSystem, ModeSystem

ORDERS = tuple(EmaOrder)


def random_order(rng: np.random.Generator) -> EmaOrder:
    """Draw an order of the average."""
    return ORDERS[int(rng.integers(2))]


# --- R301 ---------------------------------------------------------------------------------------------------


def balance_of_steps(
    rng: np.random.Generator,
    *,
    step_of: Callable[..., Any] = gradient_step,
    changed: Callable[..., np.ndarray] = balanced_after,
    factor: Callable[..., Any] = balance_factor,
) -> Measurement:
    """R301: C after one step of any size, and the product of factors along a run of one mode."""
    n1, n2 = (int(n) for n in rng.integers(1, 5, 2))
    rates = random_rates(rng) | {"weight_decay": rng.uniform(0, 0.5)}
    A, D = rng.standard_normal((2, n1, n1))
    system = MatrixSystem((A + A.T) / 2, (D + D.T) / 2, **rates)
    W, Th = rng.standard_normal((2, n2, n1))
    state = MatrixState(W, rng.standard_normal((n2, n2)), Th)
    step, h = 10 ** rng.uniform(-2, 0.5), rng.uniform(0, 1)
    after = step_of(state, system, step, h, random_order(rng))
    expected = changed(state, system, step)
    # both sides are sums of at most n1 + n2 products of entries of W⁺ and P⁺, or of terms as large
    E = error_matrix(state, system)
    largest = max(np.linalg.norm(part) for part in state)
    parts = [np.linalg.norm(part) + step * np.linalg.norm(E) * largest for part in state[:2]]
    size = 4 * (parts[0] ** 2 + parts[1] ** 2)
    matrices = np.max(np.abs(balance_matrix(after, system) - expected)), EPS * (n1 + n2) * size

    modes = ModeSystem(rng.uniform(0.5, 1.5), rng.uniform(0.1, 0.5), **rates)
    one, product = modes.state(*rng.uniform(0.1, 0.6, 3)), 1.0
    before = mode_invariant(one, modes)[0]
    scale = sum(float(x[0]) ** 2 for x in one[:2]) * 2
    for _ in range(20):
        w1, w2, th = (float(x[0]) for x in one)
        product *= float(factor(th * modes.lambda_d[0] - w1 * w2 * modes.lambda_s[0], step / 4, modes))
        one = step_of(one, modes, step / 4, h, random_order(rng))
        scale = max(scale, sum(float(x[0]) ** 2 for x in one[:2]) * 2)
    along = abs(mode_invariant(one, modes)[0] - before * product)
    # a, b round by a few eps of the weights in each of 20 steps
    return worst(matrices, (along, 20 * 8 * EPS * scale))


def prove_balance_of_steps() -> bool:
    """R301 for 2×2 matrices that share nothing, and c⁺ = c [(1 − εη)² − κ²] for one mode."""
    import sympy as sp

    step, h = sp.symbols("epsilon h", positive=True)
    rates = symbolic_rates()
    sigma_s, sigma_d = ((X + X.T) / 2 for X in (symbols("s", 2, 2), symbols("d", 2, 2)))
    system: Any = SimpleNamespace(sigma_s=sigma_s, sigma_d=sigma_d, **rates)
    state = MatrixState(symbols("w", 2, 2), symbols("p", 2, 2), symbols("t", 2, 2))
    # E enters as it is: as symbols of its own, so that products stay small
    E = symbols("e", 2, 2)
    kept = 1 - step * rates["weight_decay"]
    W = kept * state.online + step * state.predictor.T @ E / rates["tau_online"]
    P = kept * state.predictor + step * E @ state.online.T / rates["tau_predictor"]
    same_step = gradient_step(state, system, step, h)
    real = error_matrix(state, system)
    put_in = dict(zip(E.ravel(), real.ravel(), strict=True))
    steps_agree = all(
        sp.expand(a - sp.expand(b).subs(put_in)) == 0
        for a, b in zip(
            [*same_step.online.ravel(), *same_step.predictor.ravel()], [*W.ravel(), *P.ravel()], strict=True
        )
    )
    before = balance_matrix(state, system)
    after = balance_matrix(MatrixState(W, P, state.target), system)
    A, B = state.predictor.T @ E, state.online @ E.T
    law = kept**2 * before + step**2 * (A @ A.T / rates["tau_online"] - B @ B.T / rates["tau_predictor"])
    w1, w2, e = sp.symbols("w1 w2 e", real=True)
    to, tp = rates["tau_online"], rates["tau_predictor"]
    c = to * w1**2 - tp * w2**2
    moved = to * (kept * w1 + step * w2 * e / to) ** 2 - tp * (kept * w2 + step * w1 * e / tp) ** 2
    one = moved - c * balance_factor(e, step, system)
    return steps_agree and all(sp.expand(x) == 0 for x in (after - law).ravel()) and vanishes([one])


_STEPS = 2000


# --- R302 ---------------------------------------------------------------------------------------------------


def fate_of_steps(
    rng: np.random.Generator, *, fate_of: Callable[..., DiscreteFate] = discrete_fate
) -> Measurement:
    """R302: runs stepped one by one beside their fates: signs kept, |c| falling, ends by R6 with c∞, and the strip.

    Starts are drawn about the boundary of R6, on both of its sides at distances down to 10⁻³ of r, and far from it.
    """
    n, step, order = 24, rng.uniform(0.05, 0.6), random_order(rng)
    rates = random_rates(rng)
    system = ModeSystem(np.full(n, 1.0), np.full(n, rng.uniform(0.4, 0.8)), **rates)
    h = min(step / system.tau_target, 1.0)
    edge = -system.tau_predictor * system.ratio**2
    w1, th = rng.uniform(0.05, 1.0, (2, n)) * rng.choice([-1, 1], (2, n))
    ratio = np.concatenate(
        [1 + np.geomspace(1e-3, 0.05, 8), 1 - np.geomspace(1e-3, 0.05, 8), np.full(8, np.nan)]
    )
    on = np.sqrt((system.tau_online * w1**2 - edge * ratio) / system.tau_predictor)
    w2 = np.where(np.isnan(ratio), rng.uniform(-0.9, 0.9, n), on)
    state = system.state(w1, w2, th)
    found = fate_of(state, system, step, h, order)
    # a second method: steps in plain NumPy, until nothing is left of the boundary's slow approach but one part in 1e3
    product, largest = np.ones(n), np.zeros(n)
    a0, b0 = _balanced(state, system)
    signs = np.ones(n, dtype=bool)
    for _ in range(_STEPS):
        kappa = step * error_of(state, system) / np.sqrt(system.tau_online * system.tau_predictor)
        product *= (1 - kappa) * (1 + kappa)
        largest = np.maximum(largest, np.abs(kappa))
        state = gradient_step(state, system, step, h, order)
        a, b = _balanced(state, system)
        signs &= (a * a0 >= 0) & (b * b0 >= 0)
    c0 = mode_invariant(system.state(w1, w2, th), system)
    c = c0 * product
    small = (largest < 1) & (found.fate != Fate.UNDECIDED)
    learned = np.where(w2 > 0, c > edge, c > 0)
    decided = small & (np.abs(c - edge) > 1e-4 * np.abs(edge))  # what is left of c is of the order ε/t² of it
    as_stated = (
        np.all(signs[largest < 1])
        and np.all((found.fate == Fate.LEARNED)[decided] == learned[decided])
        and not np.any(small & (found.flow == Fate.LEARNED) & (found.fate == Fate.COLLAPSED))
        and not np.any(small & (w2 <= 0) & (c0 < 0) & (found.fate == Fate.LEARNED))
    )
    # ends by R6 with c∞: an end that the steps have reached. w1 is there to rounding of its square
    end = np.sqrt(np.maximum(c - edge, 0.0) / system.tau_online)
    done = decided & (found.fate == Fate.LEARNED) & (np.abs(error_of(state, system)) < 1e-13)
    done &= np.abs(state.online - state.target) < 1e-13
    # what moves has fallen by thirty e-folds in all, so the way that is left is a sum with at least that rate per step
    left = 2e-13 * _STEPS / 30
    gap = np.abs(np.abs(state.online) - found.amplitude)[done]
    other = np.abs(end - found.amplitude)[done]
    rounding = _STEPS * 2 * EPS * (np.abs(c0) + np.abs(edge))[done] / (system.tau_online * end[done]) + left
    if not np.any(done):
        return worst(refuted(unless=as_stated))
    return worst((gap, rounding), (other, rounding), refuted(unless=as_stated))


def error_of(state: ModeState, system: ModeSystem) -> np.ndarray:
    """E = θ λd − w1 w2 λs of each mode."""
    w1, w2, th = state
    return np.asarray(th * system.lambda_d - w1 * w2 * system.lambda_s)


def _balanced(state: ModeState, system: ModeSystem) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.sqrt(system.tau_online) * state.online, np.sqrt(system.tau_predictor) * state.predictor
    return x + y, x - y


def prove_fate_of_steps() -> bool:
    """R302: a⁺ = (1 + κ) a and b⁺ = (1 − κ) b, which keep their signs and let |c| = |ab| fall where |κ| < 1."""
    import sympy as sp

    w1, w2, th, ls, ld = sp.symbols("w1 w2 theta lambda_s lambda_d", real=True)
    step, h = sp.symbols("epsilon h", positive=True)
    rates = symbolic_rates() | {"weight_decay": 0}
    system: Any = SimpleNamespace(lambda_s=ls, lambda_d=ld, **rates)
    to, tp = sp.sqrt(rates["tau_online"]), sp.sqrt(rates["tau_predictor"])
    after = gradient_step(ModeState(w1, w2, th), system, step, h)
    kappa = step * (th * ld - w1 * w2 * ls) / (to * tp)
    kept = [
        to * after.online + sign * tp * after.predictor - (1 + sign * kappa) * (to * w1 + sign * tp * w2)
        for sign in (1, -1)
    ]
    return vanishes(kept)


# --- R304 ---------------------------------------------------------------------------------------------------


def modified_flow(
    rng: np.random.Generator, *, field_of: Callable[[float, EmaOrder], VectorField] = modified_field
) -> Measurement:
    """R304: the global error of gradient descent against the modified flow falls with the square of the step.

    Against the flow itself it falls with the step. Slopes are those of halving a small step twice: the next
    orders change
    them by a few per cent, far less than the 1 between them.
    """
    order, rates = random_order(rng), random_rates(rng)
    system = ModeSystem(rng.uniform(0.8, 1.5), rng.uniform(0.4, 0.8), **rates)
    start = system.state(*rng.uniform(0.4, 0.8, 3))
    t_end, sizes = 1.0, 0.04 / 2.0 ** np.arange(3)
    errors: dict[str, list[float]] = {"flow": [], "modified": []}
    flow = integrate(start, system, full_mode_field, t_end, rtol=1e-11, atol=1e-13).final
    for step in sizes:
        state = start
        for _ in range(round(t_end / step)):
            state = gradient_step(state, system, step, step / system.tau_target, order)
        modified = integrate(start, system, field_of(step, order), t_end, rtol=1e-11, atol=1e-13).final
        for name, end in (("flow", flow), ("modified", modified)):
            gaps = [float(np.max(np.abs(a - b))) for a, b in zip(state, end, strict=True)]
            errors[name].append(float(np.linalg.norm(gaps)))
    slopes = {name: float(np.log2(e[1] / e[2])) for name, e in errors.items()}
    # e = Cε^k (1 + O(ε)): the exponent of the last halving is off by about its change from the one before, or by ε
    changes = {name: abs(np.log2(e[0] / e[1]) - slopes[name]) for name, e in errors.items()}
    return worst(
        (abs(slopes["flow"] - 1), 0.3),
        (abs(slopes["modified"] - 2), min(0.05 + 3 * changes["modified"], 0.5)),
    )


def prove_modified_flow() -> bool:
    """R304: over one step the modified flow agrees with gradient descent to second order, in both orders."""
    import sympy as sp

    w1, w2, th, ls, ld = sp.symbols("w1 w2 theta lambda_s lambda_d", real=True)
    step = sp.symbols("epsilon", positive=True)
    rates = symbolic_rates()
    system: Any = SimpleNamespace(lambda_s=ls, lambda_d=ld, **rates)
    y = ModeState(w1, w2, th)
    f = sp.Matrix(full_mode_field.derivative(0, y, system))
    along = f.jacobian(list(y)) * f
    for order in ORDERS:
        moved = sp.Matrix(gradient_step(y, system, step, step / rates["tau_target"], order)) - sp.Matrix(y)
        modified = sp.Matrix(modified_field(step, order).derivative(0, y, system))
        if any(sp.expand(x) != 0 for x in moved - step * modified - step**2 / 2 * along):
            return False
    return True


RESULTS: tuple[Result, ...] = (
    Result(
        id="R301",
        title="discrete balance law",
        statement=(
            "One step of gradient descent changes C = τo W Wᵀ − τp Pᵀ P to (1 − εη)² C + ε² [Pᵀ E Eᵀ P/τo − W "
            "Eᵀ E Wᵀ/τp]. "
            "For one mode c⁺ = c [(1 − εη)² − κ²], κ = εe/√(τo τp): a finite step shrinks |c|, and c keeps its "
            "sign while "
            "|κ| < 1 − εη."
        ),
        source="new",
        hypotheses="Any Σs, Σd and Θ; either order of the average, which moves Θ alone.",
        as_printed=AsPrinted.NEW,
        code="dynamics.integration.discrete.balanced_after",
        trial=balance_of_steps,
        proof=prove_balance_of_steps,
    ),
    Result(
        id="R302",
        title="discrete fate",
        statement=(
            "While |κ| < 1, a = √τo w1 + √τp w2 and b = √τo w1 − √τp w2 keep their signs and |c| does not grow. So "
            "gradient descent learns every mode that the flow learns, and besides the strip −τp r²/Π(1 − κ²) < "
            "c0 <= −τp r², "
            "w2(0) > 0. With w2(0) <= 0 and c < 0 it collapses. Ends are those of R6 with c∞ = c0 Π(1 − κ²) for c."
        ),
        source="new",
        hypotheses=(
            "η = 0, λs > 0, |κ| < 1 in every step, a step below that of R303 at the end. Signs and monotonicity are "
            "proved; that runs converge is only observed."
        ),
        as_printed=AsPrinted.NEW,
        code="analysis.steps.fates.discrete_fate",
        trial=fate_of_steps,
        proof=prove_fate_of_steps,
    ),
    Result(
        id="R304",
        title="modified flow of gradient descent",
        statement=(
            "Gradient descent follows dy/dt = f + ε (g − ½ f′f) to O(ε²), with g = 0 in the lagged order and g "
            "= (0, 0, "
            "f_W/τt) in the practical one."
        ),
        source="new for this flow; backward error analysis of Euler's method",
        hypotheses="h = ε/τt; a fixed time, ε → 0.",
        as_printed=AsPrinted.NEW,
        code="dynamics.integration.discrete.modified_field",
        trial=modified_flow,
        proof=prove_modified_flow,
    ),
)
