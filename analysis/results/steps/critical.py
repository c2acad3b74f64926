"""Results on the largest stable step, and on what is beyond it: R303, R305."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.steps.discrete import error_of, random_order
from analysis.results.trials import EPS, random_rates, refuted, symbolic_rates, vanishes, worst
from analysis.steps.critical_steps import PairSteps, pair_critical_steps
from analysis.steps.edge import (
    TwoCycle,
    collapse_window,
    edge_invariant,
    first_collapse,
    second_doubling,
    two_cycle,
)
from dynamics.integration.discrete import (
    EmaOrder,
    balanced_map,
    gradient_step,
)
from dynamics.integration.stepping import step_jacobian
from dynamics.invariants import mode_invariant
from dynamics.states import ModeState
from dynamics.system import MatrixSystem, ModeSystem

# --- R303 ---------------------------------------------------------------------------------------------------


def critical_steps(
    rng: np.random.Generator, *, steps_of: Callable[..., PairSteps] = pair_critical_steps
) -> Measurement:
    """R303: the dense Jacobian of a step at ε*, 0.999 ε* and 1.001 ε*, for two rows and two modes.

    Row 1 has learned mode 1 and row 2 has collapsed, with a predictor on either side of 0; or both have collapsed.
    """
    from scipy.linalg import eig

    order, h = (
        random_order(rng),
        1 - rng.uniform(0, 0.97) ** 2,
    )  # near 1 in many trials: runs spiral out there
    rates = random_rates(rng)
    ls, r = rng.uniform(0.5, 2.0, 2), np.array([rng.uniform(0.5, 0.9), rng.uniform(0.1, 0.45)])
    w = rng.uniform(0.2, 1.5)
    if rng.integers(
        2
    ):  # p below 0, or above every r: stable in the flow, as the first row is towards the second mode
        p = -r[0] * 10 ** rng.uniform(-0.5, 0.5)
    else:
        p = rng.uniform(1.05, 1.5) * r[0]
    first = r[0]
    if rng.integers(3) == 0:  # no row has learned
        w, first, p = 0.0, -rng.uniform(0.1, 0.6), -rng.uniform(0.1, 0.6)
    system = MatrixSystem(ls, r * ls, **rates)
    state = system.state([[w, 0.0], [0.0, 0.0]], np.diag([first, p]))
    modes = ModeSystem(ls, r * ls, **rates)
    pairs = steps_of(np.array([[first], [p]]), np.array([w, 0.0]), modes, h, order)
    value = float(min(np.min(pairs.flip), np.min(pairs.neimark_sacker)))
    if not np.isfinite(value):  # one of the two conditions always fails at a large step
        return worst(refuted(unless=False))
    at, below, above = (
        np.linalg.eigvals(step_jacobian(state, system, factor * value, h, order))
        for factor in (1, 0.999, 1.001)
    )
    parts = []
    # past a flip the eigenvalues of a pair are real, and a determinant of 1 is no Neimark–Sacker point
    spiral = np.where(pairs.neimark_sacker < pairs.flip, pairs.neimark_sacker, np.inf)
    for name, each in (("flip", pairs.flip), ("spiral", spiral)):
        for step in each[np.isfinite(each)]:
            J = step_jacobian(state, system, float(step), h, order)
            found, left, right = eig(J, left=True, right=True)
            spirals = np.where(np.abs(found.imag) > 1e-6, np.abs(np.abs(found) - 1), np.inf)
            away = np.abs(found + 1) if name == "flip" else spirals
            critical = int(np.argmin(away))
            # an eigenvalue moves by its condition number, 1/|yᴴ x|, times the rounding of J, a few eps of its norm
            condition = 1 / abs(np.vdot(left[:, critical], right[:, critical]))
            parts.append((away[critical], 4 * EPS * len(J) * float(np.linalg.norm(J, 2)) * condition))
    free = np.abs(below - 1) > 1e-7  # off the manifold of fixed points, whose eigenvalues are 1
    grows = (
        np.max(np.abs(above)) > 1 + 1e-6 and np.max(np.abs(below[free])) < 1 and np.max(np.abs(at)) < 1 + 1e-7
    )
    return worst(*parts, refuted(unless=grows))


def prove_critical_steps() -> bool:
    """R303: trace and determinant of the step over (e, W − Θ) for a pair, at a flip and at a spiral."""
    import sympy as sp

    p, w, P, W, Th, ls, ld = sp.symbols("p w P W Theta lambda_s lambda_d", real=True)
    step, h = sp.symbols("epsilon h", positive=True)
    rates = symbolic_rates() | {"weight_decay": 0}
    to, tp = rates["tau_online"], rates["tau_predictor"]
    A, s = ls * (p**2 / to + w**2 / tp), ld * p / to
    done = []
    for order, sign in ((EmaOrder.LAGGED, 1), (EmaOrder.PRACTICAL, -1)):
        # the pair's linear step: row i of E towards mode j is λd δΘ − p λs δW − w λs δP
        e = ld * Th - p * ls * W - w * ls * P
        W_new, P_new = W + step * p * e / to, P + step * w * e / tp
        Th_new = Th + h * ((W_new if order is EmaOrder.PRACTICAL else W) - Th)
        J = sp.Matrix([W_new, P_new, Th_new]).jacobian([W, P, Th])
        z = sp.symbols("z")
        poly = sp.expand((z * sp.eye(3) - J).det())
        rest = sp.Poly(sp.cancel(poly / (z - 1)), z)
        one, trace, det = rest.all_coeffs()
        flip = sp.expand(1 - trace + det - (2 - h) * (2 - step * (A + sign * h / (2 - h) * s)))
        spiral = sp.expand(
            1 - det - (h + step * (1 - h) * A + (step * h * s if order is EmaOrder.LAGGED else 0))
        )
        still = sp.expand(1 + trace + det - step * h * (A - s))
        done += [one - 1, sp.simplify(flip), spiral, still]
    return vanishes(done)


# --- R305 ---------------------------------------------------------------------------------------------------


def edge_and_cycles(
    rng: np.random.Generator,
    *,
    edge: Callable[..., np.ndarray] = edge_invariant,
    mapped: Callable[[Any, Any], Any] = balanced_map,
    cycle: Callable[[float], TwoCycle] = two_cycle,
    doubling: Callable[[], float] = second_doubling,
    collapse: Callable[[], float] = first_collapse,
) -> Measurement:
    """R305: the edge, self-flattening, the balanced map against steps, its cycles and its collapse."""
    order, h = random_order(rng), rng.uniform(0.2, 1.0)
    rates = random_rates(rng)
    system = ModeSystem(rng.uniform(0.5, 1.5), 0.0, **rates)
    r = rng.uniform(0.3, 0.8)
    system = ModeSystem(system.lambda_s, r * system.lambda_s, **rates)
    tp, to = float(np.squeeze(system.tau_predictor)), float(np.squeeze(system.tau_online))
    w = np.sqrt(tp / to) * r * rng.uniform(1.1, 2.0)  # an edge at c > 0: c cannot fall below 0
    pairs = pair_critical_steps(r, w, system, h, order)
    step = float(pairs.flip[0])
    c = to * w**2 - tp * r**2
    gap = abs(float(edge(step, system, h, order)[0]) - c)
    parts: list[tuple[Any, Any]] = [(gap, 16 * EPS * (to * w**2 + tp * r**2) * (1 + 2 / step))]

    # from beyond the edge, with |κ| < 1, a run settles at a flatter point
    beyond = 1.05 * w
    state, quiet, largest = system.state(beyond, 0.98 * r, beyond), True, 0.0
    for _ in range(3000):
        largest = max(largest, abs(step * float(error_of(state, system)[0]) / np.sqrt(to * tp)))
        state = gradient_step(state, system, step, h, order)
        quiet = bool(np.all(np.isfinite(state)) and largest < 1)
        if not quiet:
            break
    if quiet:
        parts.append(refuted(unless=float(mode_invariant(state, system)[0]) < c))

    k = rng.uniform(2.02, 2.45)
    unit = ModeSystem(1.0, r)
    step = k / r**2
    y = rng.uniform(0.5, 1.1)
    moved = gradient_step(unit.state(r * y, r * y, r * y), unit, step, 1.0)
    parts.append((abs(float(moved.predictor[0]) / r - mapped(y, k)), 8 * EPS * (1 + k)))
    found = cycle(k)
    # its ends map to one another; a slope of at most 1 + k multiplies the rounding of the points
    pairs_of = (found.low, found.high), (found.high, found.low)
    parts += [(abs(mapped(a, k) - b), 32 * EPS * (1 + k)) for a, b in pairs_of]
    orbit = np.float64(0.9)
    for _ in range(20000):
        orbit = mapped(orbit, k)
    total = float(orbit + mapped(orbit, k))
    # the cycle attracts with the square of its multiplier, at most 0.93 up to k = 2.45 and 0.98 from k = 2.02 on
    parts.append((abs(total - found.total), 1e-12))
    # just below the second doubling the orbit has period 2, just above it period 4
    for shift, period in ((-0.02, 2), (0.02, 4)):
        gain, y = doubling() + shift, 0.9
        for _ in range(4000):
            y = mapped(y, gain)
        returned = [y := mapped(y, gain) for _ in range(8)]
        twice, four = abs(returned[7] - returned[5]), abs(returned[7] - returned[3])
        parts.append(refuted(unless=(twice < 1e-6) == (period == 2) and four < 1e-6))
    # the least value that orbits from the maximum on reach changes sign at the collapse
    for shift, falls in ((-1e-4, False), (1e-4, True)):
        ys = np.linspace(0.3, 1.2, 401)
        gain = collapse() + shift
        low = float(np.min(mapped(mapped(ys, gain), gain)))
        top = (1 + np.sqrt(1 + 3 / gain)) / 3
        low = min(low, float(mapped(mapped(top, gain), gain)))
        parts.append(refuted(unless=(low < 0) == falls == (collapse_window(gain) is not None)))
    return worst(*parts)


def prove_edge_and_cycles() -> bool:
    """R305: the balanced map from a step, the edge from R303, and sum and product of the cycle of period 2."""
    import sympy as sp

    y, k, S, r, ls = sp.symbols("y k S r lambda_s", positive=True)
    step, to, tp = sp.symbols("epsilon tau_o tau_p", positive=True)
    system: Any = SimpleNamespace(
        lambda_s=ls, lambda_d=r * ls, tau_online=to, tau_predictor=tp, tau_target=1, weight_decay=0
    )
    w1 = sp.sqrt(tp / to) * r * y
    after = gradient_step(ModeState(w1, r * y, w1), system, step, 1)
    gain = step * ls * r**2 / to
    maps = [after.predictor / r - balanced_map(y, gain), after.online - sp.sqrt(tp / to) * after.predictor]
    # y + z = S and yz = Q of a cycle: sum and difference of z = f(y) and y = f(z)
    Q = S**2 * (S - 1) / (3 * S - 2)
    squares, cubes = S**2 - 2 * Q, S**3 - 3 * S * Q
    plus = k * (squares - cubes)  # f(y) + f(z) = y + z
    minus = 2 + k * (S - (S**2 - Q))  # f(y) − f(z) = −(y − z), over y − z
    on_cycle = {k: (3 * S - 2) / (S * (S - 1) ** 2)}
    cycles = [sp.simplify(plus), sp.simplify(minus.subs(on_cycle))]
    return vanishes(maps + cycles)


RESULTS: tuple[Result, ...] = (
    Result(
        id="R303",
        title="critical step",
        statement=(
            "At a decoupled fixed point put A = λs_j (p_i²/τo + w_j²/τp) and s = λd_j p_i/τo. Gradient descent "
            "is linearly "
            "stable off the fixed points iff A > s (R10) and ε (A ± s h/(2 − h)) < 2 for all pairs, + in the "
            "lagged order "
            "and − in the practical one; in the lagged order also h + ε (1 − h) A + εhs > 0. It is lost by "
            "period doubling, "
            "or by the last condition at a Neimark–Sacker point."
        ),
        source="new; R9 and R10 for the flow",
        hypotheses="η = 0, λs > 0, h in (0, 1] the same at every step size.",
        as_printed=AsPrinted.NEW,
        code="analysis.steps.critical_steps.pair_critical_steps",
        trial=critical_steps,
        proof=prove_critical_steps,
    ),
    Result(
        id="R305",
        title="edge of stability and period doubling",
        statement=(
            "A learned point is stable iff c < c_edge = τo τp [2/ε − 2u (1 − h)/(2 − h)]/λs − τp r², u = λs "
            "r²/τo (2u/(2 − h) "
            "if lagged); where c_edge > 0, runs from beyond it settle below it while |κ| < 1; where c_edge <= "
            "0, c falls to 0 and they stay in "
            "motion. On the sheet c = 0 without average y = w2/r "
            "obeys y⁺ = y + k y² (1 − y), k = ελs r²/τo: y = 1 is stable for k < 2, then a cycle whose sum S solves "
            "k S (S − 1)² = 3S − 2, up to k = 2.4773776; from k = 3.4107388 on, orbits are thrown to y <= 0 and "
            "collapse."
        ),
        source="new",
        hypotheses="One mode, η = 0, λs > 0; the map: θ = w1 and h = 1 in the practical order.",
        as_printed=AsPrinted.NEW,
        code="analysis.steps.edge.edge_invariant",
        trial=edge_and_cycles,
        proof=prove_edge_and_cycles,
    ),
)
