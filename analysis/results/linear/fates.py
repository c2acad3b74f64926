"""The result on where one mode ends, R6, next to its boundaries as well."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from analysis.fates.fate import Prediction
from analysis.fates.predictions import predict_fates
from analysis.results.linear.solutions import mode_symbols
from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import EPS, followed, random_rates, refuted, symbolic_rates, vanishes, worst
from dynamics.exact.fixed_points import collapsed_line_eigenvalues, learned_line_eigenvalues
from dynamics.fields.modes import full_mode_field
from dynamics.fields.vector_field import VectorField
from dynamics.invariants import balance_drift, mode_invariant
from dynamics.states import ModeState, pack, unpack
from dynamics.system import ModeSystem


def exact_fate(
    rng: np.random.Generator,
    *,
    field: VectorField = full_mode_field,
    predict: Callable[..., Prediction] = predict_fates,
) -> Measurement:
    """R6: the predicted ends of starts on every kind of leaf, any targets, against runs; and both boundaries."""
    slowest, n = 0.2, 8
    lambda_s, r = rng.uniform(0.5, 1.5, 400), rng.uniform(0.3, 0.9, 400)
    start = rng.uniform(0.2, 1.2, (3, 400)) * rng.choice([-1, 1], (3, 400))
    rates = random_rates(rng)
    many = ModeSystem(lambda_s, r * lambda_s, **rates)
    c, floor = mode_invariant(ModeState(*start), many), -many.tau_predictor * r**2
    # where R6 says that each ends, and how fast that is approached: crawlers near the boundaries have their own runs
    learns = np.where(start[1] > 0, c > floor, c > 0)
    to_learned = learned_line_eigenvalues(np.sqrt(np.maximum(c - floor, 0) / many.tau_online), many)
    p = np.sign(start[1]) * np.sqrt(np.maximum(-c / many.tau_predictor, 0))
    rate = -np.where(learns, to_learned[:, 1].real, collapsed_line_eigenvalues(p, many)[:, 1].real)
    # two each of: c > 0 from w2 > 0 and from w2 < 0, a learned leaf with the saddle, any collapse
    kinds = [
        learns & (c > 0) & (start[1] > 0),
        learns & (c > 0) & (start[1] < 0),
        learns & (c < 0),
        ~learns,
    ]
    kept = np.concatenate([np.flatnonzero(kind & (rate > slowest))[: n // 4] for kind in kinds])
    system = ModeSystem(lambda_s[kept], (r * lambda_s)[kept], **rates)
    begin = system.state(*start[:, kept])
    end = predict(begin, system, decide_sign=True)
    run, error = followed(begin, system, field, ts=np.linspace(0.0, 500.0, 2))
    ends = (end.online, end.predictor, end.target)
    gap = np.max([np.max(np.abs(a - b)) for a, b in zip(run.final, ends, strict=True)])
    # e^{−0.2·500} is left of what has passed near a saddle; the rounding of c moves the end by δc/(2τ weight)
    rounding = 16 * EPS * np.max(np.abs(begin)) ** 2 / slowest
    return worst((gap, 2 * error + rounding), *_fate_boundary(rng, field, predict))


def _stiff_end(
    begin: ModeState, system: ModeSystem, field: VectorField, time: float
) -> tuple[ModeState, float]:
    """State after a long time by LSODA, whose steps grow as the crawl slows down, and the drift of c along the run."""
    from scipy.integrate import solve_ivp

    def velocity(t: float, y: np.ndarray) -> np.ndarray:
        return pack(field(t, unpack(y, begin), system))

    n = system.n_modes
    found = solve_ivp(velocity, (0.0, time), pack(begin), method="LSODA", rtol=1e-11, atol=1e-15)
    states = ModeState(*found.y.reshape(3, n, -1).transpose(0, 2, 1))
    drift = float(np.max(balance_drift(found.t, states, system)))
    return ModeState(*(part[-1] for part in states)), drift if found.success else np.inf


def _fate_boundary(
    rng: np.random.Generator, field: VectorField, predict: Callable[..., Prediction]
) -> list[tuple[float, float]]:
    """Starts within 1e-6 of c = −τp r² (w2 > 0) and of c = 0 (w2 <= 0), on either side: predictions, and runs."""
    rates = random_rates(rng)
    lambda_s, r = rng.uniform(0.5, 1.5), rng.uniform(0.3, 0.9)
    tau_o, tau_p = rates["tau_online"], rates["tau_predictor"]
    unit, delta = tau_p * r**2, 1e-6
    w1, th = rng.uniform(0.2, 1.2, 2) * rng.choice([-1, 1], 2)
    # w2 > 0 on either side of c = −τp r²; w2 < 0 on either side of c = 0; w2 = 0, where c > 0 whatever w1
    c = unit * np.array([-1 - delta, -1 + delta, -delta, delta])
    w2 = np.sqrt((tau_o * w1**2 - c) / tau_p) * [1, 1, -1, -1]
    starts = np.array([np.append(np.full(4, w1), 1e-3 * w1), np.append(w2, 0.0), np.full(5, th)])
    learns = np.array([False, True, False, True, True])
    n = len(learns)
    system = ModeSystem(np.full(n, lambda_s), np.full(n, r * lambda_s), **rates)
    begin = system.state(*starts)
    kept = np.append(c, tau_o * (1e-3 * w1) ** 2)
    amplitude = np.where(learns, np.sqrt(np.maximum(kept + unit, 0) / tau_o), 0.0)
    level = np.where(learns, r, np.sign(starts[1]) * np.sqrt(np.maximum(-kept / tau_p, 0)))

    found = predict(begin, system, decide_sign=False)
    named = (found.fate == "learned") == learns
    said = np.max(np.abs([found.amplitude - amplitude, found.predictor - level]))
    to_end = np.where(
        learns,
        learned_line_eigenvalues(amplitude, system)[:, 1].real,
        collapsed_line_eigenvalues(level, system)[:, 1].real,
    )
    end, drift = _stiff_end(begin, system, field, 30 / np.min(-to_end))  # e^−30 of √δ is left
    gap = np.max(np.abs([np.abs(end.online) - amplitude, end.predictor - level]))

    # bisection of the predicted fate, on w2 with the other weights held
    edges = []
    for low, high, boundary in ((0.0, 4.0, -unit), (-4.0, -0.0, 0.0)):
        for _ in range(60):
            middle = (low + high) / 2
            one = ModeSystem(lambda_s, r * lambda_s, **rates)
            fate = predict(one.state(w1, middle, th), one, decide_sign=False).fate[0]
            # with growing |w2| the leaf sinks into collapse
            inner = fate == "learned"
            low, high = (middle, high) if inner == (boundary < 0) else (low, middle)
        edges.append(abs(tau_o * w1**2 - tau_p * ((low + high) / 2) ** 2 - boundary) / unit)
    # a square root of c of size δ: c is rounded to a few eps of w1² and w2², and its root moves by δc/(2 root)
    size = np.max(np.abs(starts)) ** 2 * (tau_o + tau_p)
    rounding = 4 * EPS * size / np.sqrt(min(tau_o, tau_p) * delta * unit)
    # what the run has lost of c moves an end of that size likewise
    moved = drift / np.sqrt(min(tau_o, tau_p) * delta * unit)
    return [
        refuted(unless=np.all(named) and drift < delta * unit),  # no run has crossed its boundary by mistake
        (said, rounding),
        (gap, moved + rounding),
        *((edge, 8 * EPS * (1 + size / unit)) for edge in edges),
    ]


def prove_exact_fate() -> bool:
    """R6: on a leaf, in (w1, θ) with density 1/w2, divergence is negative; rest at w2 = r lies on |w1| as stated."""
    import sympy as sp

    w1, w2, th, ls, ld, c = mode_symbols("w1", "w2", "theta", "lambda_s", "lambda_d", "c")
    rates = symbolic_rates() | {"weight_decay": 0}
    to, tp, tt = rates["tau_online"], rates["tau_predictor"], rates["tau_target"]
    system: Any = SimpleNamespace(lambda_s=ls, lambda_d=ld, **rates)
    dw1, dw2, dth = full_mode_field(0, ModeState(w1, w2, th), system)
    along = to * w1 / (tp * w2)  # dw2/dw1 on the leaf τo w1² − τp w2² = c
    flux = dw1 / w2
    divergence = sp.diff(flux, w1) + along * sp.diff(flux, w2) + sp.diff(dth, th) / w2
    stated = -ls * (tp * w2**2 + to * w1**2) / (to * tp * w2) - 1 / (tt * w2)
    amplitude = sp.sqrt((c + tp * (ld / ls) ** 2) / to)
    end = {w1: amplitude, w2: ld / ls, th: amplitude}
    at_rest = [part.subs(end) for part in (dw1, dw2, dth, to * w1**2 - tp * w2**2 - c)]
    return vanishes([divergence - stated, to * w1 * dw1 - tp * w2 * dw2, *at_rest])


RESULTS: tuple[Result, ...] = (
    Result(
        id="R6",
        title="exact fate of one mode",
        statement=(
            "c = τo w1² − τp w2² is kept and every trajectory converges. w2(0) > 0: collapse iff c <= −τp r²; "
            "w2(0) <= 0: collapse iff c <= 0; then w2 → sign(w2(0)) sqrt(−c/τp). Else w2 → r and "
            "|w1| = |θ| → sqrt((c + τp r²)/τo). The target's start only has a say in the sign."
        ),
        source="new; refines DD appendix F.1",
        hypotheses="One mode, η = 0, λs, λd > 0; starts off the saddle's stable manifold.",
        as_printed=AsPrinted.REFINED,
        code="analysis.fates.predictions.predict_fates",
        counterexample="dyn simulate --lambda-s 1 --lambda-d 0.5 --online 0.1 --predictor -0.3 --target 0.1",
        correction="E5: DD has generic starts escape collapse; an open set of starts collapses.",
        trial=exact_fate,
        proof=prove_exact_fate,
    ),
)
"""R6."""
