"""Results on the moving average and on restarts of the predictor: R223–R227."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from analysis.fates.restarts import collapse_fraction, survives_for_ever
from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import EPS, followed, random_rates, refuted, symbols, vanishes, worst
from dynamics.exact.ema_recurrence import (
    CriticalDamping,
    EmaRates,
    critical_damping,
    ema_rates,
    ema_solution,
)
from dynamics.exact.restarts import RestartLaw, restart_edges, restart_map
from dynamics.fields.matrices import full_field
from dynamics.fields.modes import full_mode_field
from dynamics.fields.vector_field import VectorField
from dynamics.integration.integrate import integrate
from dynamics.integration.modes import integrate_modes
from dynamics.states import MatrixState, ModeState
from dynamics.system import MatrixSystem, ModeSystem

MODE_RTOL, MODE_ATOL = 1e-9, 1e-11
"""Tolerances of runs of one mode, whose ends are good to ten of them."""
_CHAINS = 40_000


def ema_recursion(
    rng: np.random.Generator,
    *,
    solution: Callable[..., tuple[np.ndarray, np.ndarray]] = ema_solution,
    rates: Callable[..., EmaRates] = ema_rates,
    damping: Callable[[float, float], CriticalDamping] = critical_damping,
) -> Measurement:
    """R223: 60 steps by hand against the solution, both bounds of κ+, its slope in η, and the fastest decay."""
    n_steps = 60
    alpha, eta = rng.uniform(0.01, 0.9, 2)
    # of every sign: growth, decay, and a reversed predictor, for which the recurrence may spiral
    gain = float(rng.choice([rng.uniform(0.05, 3.0), rng.uniform(-0.95, -0.05), rng.uniform(-2.0, -1.05)]))
    w0, v0 = rng.standard_normal(2)
    w, v = np.empty((2, n_steps + 1))
    w[0], v[0] = w0, v0
    for t in range(n_steps):
        w[t + 1] = w[t] + alpha * (-w[t] + (1 + gain) * v[t])
        v[t + 1] = (1 - eta) * v[t] + eta * w[t]
    found = solution(np.arange(n_steps + 1), w0, v0, alpha, eta, gain)
    size = np.maximum.accumulate(np.maximum(np.abs(w), np.abs(v)))
    larger, smaller = (complex(root) for root in rates(alpha, eta, gain))
    # the amplitudes e± lose what the roots have in common
    lost = 32 * EPS * (1 + (alpha + eta + abs(larger)) / abs(larger - smaller)) / eta
    parts: list[tuple[Any, Any]] = [
        (np.abs(one - other), lost * (n_steps + 1) * size) for one, other in zip(found, (w, v), strict=True)
    ]
    bound = alpha * eta * gain / (alpha + eta)
    if gain > 0:
        low = alpha * eta * gain / (alpha + eta + bound)
        parts.append((max(low - larger.real, larger.real - bound, 0.0), 4 * EPS * (alpha + eta)))
    if gain > -1:
        # η moved up: κ+ rises where modes grow, and falls where they decay
        moved = complex(rates(alpha, min(1.0, 1.01 * eta), gain).larger).real
        parts.append(refuted(unless=(moved - larger.real) * gain > 0))
    m = rng.uniform(0.1, 2.0)
    best = damping(0.05, m)
    decay = [-complex(rates(0.05, np.clip(x, 1e-9, 1), -1 - m).larger).real for x in _around(best)]
    return worst(
        *parts,
        # a double root is good to the square root of rounding
        (abs(decay[1] - best.rate), 8 * np.sqrt(EPS) * best.rate),
        refuted(unless=decay[1] > max(decay[0], decay[2])),
    )


def _around(best: CriticalDamping) -> tuple[float, float, float]:
    return 0.99 * best.target_rate, best.target_rate, 1.01 * best.target_rate


def prove_ema_recursion() -> bool:
    """R223: 1 + κ± are the eigenvalues, and at η* = α(√m + √(1 + m))² they are one."""
    import sympy as sp

    alpha, eta, m = sp.symbols("alpha eta m", positive=True)
    gain, kappa = sp.symbols("lambda kappa", real=True)
    step = sp.Matrix([[1 - alpha, alpha * (1 + gain)], [eta, 1 - eta]])
    characteristic = (step - (1 + kappa) * sp.eye(2)).det()
    best = alpha * (sp.sqrt(m) + sp.sqrt(1 + m)) ** 2
    discriminant = ((alpha + eta) ** 2 + 4 * alpha * eta * gain).subs({gain: -1 - m, eta: best})
    return vanishes(
        [
            characteristic - (kappa**2 + (alpha + eta) * kappa - alpha * eta * gain),
            discriminant,
            (alpha + best) / 2 - alpha * (1 + m + sp.sqrt(m * (1 + m))),
        ]
    )


def target_cannot_change_the_end(
    rng: np.random.Generator, *, field: VectorField = full_mode_field
) -> Measurement:
    """R224: one start with targets and rates of its own; fate and size at the end are those of R6."""
    fixed = {name: rng.uniform(0.5, 2.0) for name in ("tau_online", "tau_predictor")}
    r = rng.uniform(0.2, 0.9)
    x0, p0 = rng.uniform(0.05, 1.0), rng.uniform(-1.2, 1.2)
    to, tp = fixed["tau_online"], fixed["tau_predictor"]
    w0 = np.sqrt(x0 * tp / to)
    size = float(_size_at_rest(x0, p0, r))
    parts: list[tuple[Any, Any]] = []
    for tau_target, target in ((0.05, w0), (1.0, rng.uniform(0.0, 3.0)), (20.0, 0.3 * w0)):
        system = ModeSystem(lambda_s=1.0, lambda_d=r, tau_target=tau_target, **fixed)
        run, fates = integrate_modes(
            system.state(w0, p0, target), system, field, rtol=MODE_RTOL, atol=MODE_ATOL
        )
        parts.append(refuted(unless=(fates[0] == "learned") == (size > 0)))
        if size > 0:
            found = to * float(run.final.online[0]) ** 2 / tp
            # x = c/τp + p², and the run keeps p to ten tolerances, c to a part of them
            parts.append((abs(found - size), 40 * (MODE_RTOL * (x0 + p0**2 + r**2) + MODE_ATOL)))
    return worst(*parts)


def _size_at_rest(x: float, p: float, r: float) -> Any:
    """What R6 says of τo w1²/τp at the end."""
    c = x - p**2
    collapsed = c <= -(r**2) if p > 0 else c <= 0
    return 0.0 if collapsed else c + r**2


def prove_target_cannot_change_the_end() -> bool:
    """R224: τo w1² − τp w2² is constant whatever θ does."""
    import sympy as sp

    w1, w2, th, s, d, to, tp, tt = sp.symbols("w1 w2 theta s d tau_o tau_p tau_t", positive=True)
    system = ModeSystem.__new__(ModeSystem)
    for name, value in (("lambda_s", s), ("lambda_d", d), ("tau_online", to), ("tau_predictor", tp)):
        object.__setattr__(system, name, value)
    object.__setattr__(system, "tau_target", tt)
    object.__setattr__(system, "weight_decay", 0)
    moved = full_mode_field(0, ModeState(w1, w2, th), system)
    return vanishes([2 * to * w1 * moved.online - 2 * tp * w2 * moved.predictor])


def one_restart(
    rng: np.random.Generator, *, restarted: Callable[[Any, Any, Any], Any] = restart_map
) -> Measurement:
    """R225: chains of restarts by the flow against the map, at the edges of survival too, and after a finite time."""
    rates = random_rates(rng)
    r = rng.uniform(0.2, 0.9)
    system = ModeSystem(lambda_s=1.0, lambda_d=r, **rates)
    to, tp = rates["tau_online"], rates["tau_predictor"]
    x = rng.uniform(0.05, 0.8)
    parts: list[tuple[Any, Any]] = []

    def run(x: float, p: float, t_end: float | None = None) -> Any:
        w = np.sqrt(x * tp / to)
        return integrate_modes(
            system.state(w, p, w), system, full_mode_field, t_end, rtol=MODE_RTOL, atol=MODE_ATOL
        )

    low, high = (float(edge) for edge in restart_edges(x, r))
    near = 1e-3
    fresh = [
        *rng.uniform(low, high, 2),
        low * (1 - near),
        low * (1 + near),
        high * (1 - near),
        high * (1 + near),
    ]
    for p in map(float, fresh):
        said = float(restarted(x, p, r))
        trajectory, fates = run(x, p)
        parts.append(refuted(unless=(fates[0] == "learned") == (said > 0)))
        if said > 0:
            found = to * float(trajectory.final.online[0]) ** 2 / tp
            parts.append((abs(found - said), 40 * (MODE_RTOL * (x + p**2 + r**2) + MODE_ATOL)))
    p = float(fresh[0])
    end = run(x, p, 3.0)[0].final
    finite = x + float(end.predictor[0]) ** 2 - p**2
    parts.append(
        (abs(to * float(end.online[0]) ** 2 / tp - finite), 40 * (MODE_RTOL * (x + p**2) + MODE_ATOL))
    )
    return worst(*parts)


def chance_of_collapse(
    rng: np.random.Generator,
    *,
    fraction: Callable[..., float] = collapse_fraction,
    survives: Any = survives_for_ever,
) -> Measurement:
    """R226: chains of the map against the fraction that is said to die, and what they drift to."""
    r = rng.uniform(0.3, 0.9)
    x0 = rng.uniform(0.005, 0.2)
    law = RestartLaw(rng.uniform(0.3, 2.5) * r, str(rng.choice(["uniform", "positive", "normal"])))
    x = np.full(_CHAINS, x0)
    parts: list[tuple[Any, Any]] = []
    for k in range(1, 5):
        before = x
        x = restart_map(x, law.draw(rng, x.shape), r)
        said = fraction(x0, r, law, k)
        # five standard errors, and what interpolation between sizes leaves
        error = 5 * np.sqrt(max(said * (1 - said), 1 / _CHAINS) / _CHAINS) + 1e-3
        parts.append((abs(np.mean(x == 0) - said), error))
        # beyond all fresh predictors sizes move by r² − E p² on average
    far = np.full(_CHAINS, 100.0 * law.scale**2 + 1.0)
    gain = float(np.mean(restart_map(far, law.draw(rng, before.shape), r) - far))
    spread = law.scale**2 * 2 / np.sqrt(_CHAINS)
    if abs(gain) > 5 * spread:
        parts.append(refuted(unless=survives(r, law) == (gain > 0)))
    if law.kind == "positive" and law.scale <= r:
        parts.append(refuted(unless=fraction(x0, r, law, 4) == 0))
    return worst(*parts)


def prove_chance_of_collapse() -> bool:
    """R226: for U[−a, a], a <= r, the first restart kills with (a − √x)/2a, and E p² = a²/3."""
    import sympy as sp

    a, root, p = sp.symbols("a s p", positive=True)
    density = 1 / (2 * a)
    return vanishes(
        [
            sp.integrate(density, (p, -a, -root)) - (a - root) / (2 * a),
            sp.integrate(p**2 * density, (p, -a, a)) - a**2 / 3,
        ]
    )


def restarted_network(
    rng: np.random.Generator, *, field: VectorField = full_field, gain: Callable[..., float] | None = None
) -> Measurement:
    """R227: trace and rank over one restart of a network at rest, and whether a zero row comes back."""
    gained = _gain if gain is None else gain
    rates = random_rates(rng)
    to, tp = rates["tau_online"], rates["tau_predictor"]
    ratios = np.array([0.9, 0.75, 0.6]) * rng.uniform(0.9, 1.05, 3)
    system = MatrixSystem(np.ones(3), ratios, **rates)
    n2 = 2
    start = system.state(rng.standard_normal((n2, 3)), 0.05 * rng.standard_normal((n2, n2)))
    W, _, Th = integrate(start, system, field, rtol=1e-6, atol=1e-8).final
    fresh = rng.uniform(-0.15, 0.15, (n2, n2))
    run, error = followed(MatrixState(W, fresh, Th), system, field)
    end = run.final
    found = to * (np.sum(end.online**2) - np.sum(W**2))
    size = to * np.sum(end.online**2) + tp * np.sum(end.predictor**2)
    parts: list[tuple[Any, Any]] = [
        # a change of the state by its error moves squares by twice their root times it
        (abs(found - gained(tp, end.predictor, fresh)), 2 * (to + tp) * np.sqrt(size) * error)
    ]
    balance = to * W @ W.T - tp * fresh.T @ fresh
    safe = int(np.sum(np.linalg.eigvalsh(balance) > 1e-9 * size))
    rank = int(np.sum(np.linalg.svd(end.online, compute_uv=False) > 1e-5))
    parts.append(refuted(unless=rank >= safe))
    whole = to * np.linalg.eigvalsh(W @ W.T)[0] > tp * np.sum(fresh**2)
    parts.append(refuted(unless=not whole or rank == n2))
    # a row of zeros, under a full P
    dead = np.vstack([W[:1], np.zeros((1, 3))])
    full = rng.uniform(0.2, 0.6, (n2, n2))
    for d, comes_back in ((ratios, True), (np.full(3, 0.7), False)):
        other = MatrixSystem(np.ones(3), d, **rates)
        end = integrate(MatrixState(dead, full, dead), other, field, 4.0, rtol=1e-6, atol=1e-9).final
        smallest = np.linalg.svd(end.online, compute_uv=False)[-1]
        parts.append(refuted(unless=(smallest > 1e-4 * np.max(np.abs(W))) == comes_back))
    return worst(*parts)


def _gain(tau_predictor: float, P_rest: np.ndarray, fresh: np.ndarray) -> float:
    """What τo tr W Wᵀ gains from one rest to the next."""
    return float(tau_predictor * (np.sum(P_rest**2) - np.sum(fresh**2)))


def prove_restarted_network() -> bool:
    """R227: τo tr W Wᵀ − τp tr Pᵀ P is constant along the flow."""
    import sympy as sp

    to, tp = sp.symbols("tau_o tau_p", positive=True)
    W, P, Th = symbols("w", 2, 2), symbols("p", 2, 2), symbols("t", 2, 2)
    s, d = sp.symbols("s0:2", positive=True), sp.symbols("d0:2", positive=True)
    E = Th * np.array(d) - (P @ W) * np.array(s)
    dW, dP = P.T @ E / to, E @ W.T / tp
    return vanishes([2 * to * np.sum(W * dW) - 2 * tp * np.sum(P * dP)])


RESULTS: tuple[Result, ...] = (
    Result(
        id="R223",
        title="the moving average's recursion, complete",
        statement=(
            "w(t+1) = w + α[−w + (1 + λ)v], v(t+1) = (1 − η)v + ηw has the eigenvalues 1 + κ±, κ² + (α + η)κ = αηλ; "
            "αηλ/(α + η + b) <= κ+ <= b = αηλ/(α + η) for λ > 0. κ+ rises with η where modes grow and falls where they "
            "decay: no η is best for both. Under a negative predictor, 1 + λ = −m, decay is fastest at "
            "η* = α(√m + √(1 + m))², with the rate α(1 + m + √(m(1 + m))), and spirals between α(√(1 + m) ∓ √m)²."
        ),
        source="DD theorem 9, completed",
        hypotheses="α, η in (0, 1]; −1 < λ for the slope in η; a scalar weight.",
        as_printed=AsPrinted.REFINED,
        code="dynamics.exact.ema_recurrence.ema_solution",
        correction="E28: the theorem starts the target at 0, BYOL at w0: the growing mode gains 1.864, not .069.",
        trial=ema_recursion,
        proof=prove_ema_recursion,
    ),
    Result(
        id="R224",
        title="a moving average cannot change the end",
        statement=(
            "Fate and amplitude of a mode, which R6 reads from τo w1² − τp w2², depend neither on τt nor on θ(0). A "
            "slow target only takes longer; that the time rises with τt is observed, not proved."
        ),
        source="new; R6",
        hypotheses="One mode of the full flow, η = 0, away from the boundary of R6.",
        as_printed=AsPrinted.NEW,
        code="analysis.fates.predictions.predict_fates",
        trial=target_cannot_change_the_end,
        proof=prove_target_cannot_change_the_end,
    ),
    Result(
        id="R225",
        title="one restart of the predictor, exactly",
        statement=(
            "A mode at rest with x = τo w1²/τp, given a fresh predictor p, dies iff p <= −√x or p >= √(x + r²), and "
            "else comes to rest at x + r² − p². After a finite time T it is at x + p(T)² − p²."
        ),
        source="new; DD table 5",
        hypotheses="One mode of the full flow, η = 0, θ = w1 and w2 = r before the restart.",
        as_printed=AsPrinted.NEW,
        code="dynamics.exact.restarts.restart_map",
        trial=one_restart,
    ),
    Result(
        id="R226",
        title="which part of the modes restarts kill",
        statement=(
            "p ~ U[−a, a] kills (a − √x)/2a of the modes at the first restart where √x < a <= r, none where a <= √x; "
            "U[0, a] with a <= r kills none, ever. If E p² < r² sizes drift to infinity, and modes live for ever with "
            "positive probability; if E p² >= r² every mode dies in the end."
        ),
        source="new; DD tables 5 and 7–10",
        hypotheses="One mode of the full flow, η = 0, at rest before every restart; fresh predictors independent.",
        as_printed=AsPrinted.NEW,
        code="analysis.fates.restarts.collapse_fraction",
        trial=chance_of_collapse,
        proof=prove_chance_of_collapse,
    ),
    Result(
        id="R227",
        title="restarts of a matrix",
        statement=(
            "After a restart as many directions are safe as τo W Wᵀ − τp Pᵀ P has positive eigenvalues, all where "
            "τo λmin(W Wᵀ) > τp ‖P‖². From rest to rest τo tr W Wᵀ gains τp(‖P∞‖² − ‖P‖²). A full fresh P revives a "
            "zero row of W if the moments are anisotropic, never if Σd = r Σs and Θ = W."
        ),
        source="new; DD table 5",
        hypotheses="Full flow, η = 0.",
        as_printed=AsPrinted.NEW,
        code="analysis.runs.restarts.restarted_matrices",
        trial=restarted_network,
        proof=prove_restarted_network,
    ),
)
"""R223 to R227."""
