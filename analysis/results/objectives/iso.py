"""Results on predictors in closed form and on the IsoLoss: R316 and R323."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trials import EPS, followed, random_rates, refuted, vanishes, worst
from dynamics.exact.cosine import (
    closed_predictor_speed,
    euclidean_time,
    iso_fate,
    iso_learned_predictor,
    iso_matrix,
)
from dynamics.fields.cosine import (
    cosine_mode_field,
    iso_invariant,
    iso_mode_field,
    iso_no_ema_mode_field,
)
from dynamics.fields.vector_field import VectorField
from dynamics.states import ModeState
from dynamics.system import ModeSystem

# --- R316 ---------------------------------------------------------------------------------------------------


def closed_predictor_laws(
    rng: np.random.Generator,
    *,
    matrix: Callable[..., Any] = iso_matrix,
    time: Callable[..., float] = euclidean_time,
    speed: Callable[..., Any] = closed_predictor_speed,
) -> Measurement:
    """R316: Gram matrices by integrating W, times by quadrature, and eigenvalues under the cosine loss."""
    from scipy.integrate import quad, solve_ivp

    noise, t = rng.uniform(0.0, 1.0), rng.uniform(0.3, 2.0)
    a, W0 = 1 + noise, 0.5 * rng.standard_normal((3, 3))
    parts: list[tuple[Any, Any]] = []

    def run(velocity: Callable[..., Any], y0: np.ndarray, end: float) -> tuple[np.ndarray, float]:
        ends = [
            solve_ivp(velocity, (0, end), y0.ravel(), method="DOP853", rtol=tol, atol=tol).y[:, -1]
            for tol in (1e-10, 1e-12)
        ]
        return ends[1].reshape(y0.shape), float(np.max(np.abs(ends[0] - ends[1]))) + 1e-13

    def iso(t: float, y: np.ndarray) -> np.ndarray:
        W = y.reshape(3, 3)
        return (W - a * (W @ W.T) @ W).ravel()  # E = Θ Σd − P W Σs, P = W Wᵀ

    W, error = run(iso, W0, t)
    parts.append((np.max(np.abs(matrix(t, W0 @ W0.T, noise) - W @ W.T)), 8 * np.linalg.norm(W) * error))
    start = rng.uniform(0.1, 0.3) / a
    end = rng.uniform(0.4, 0.95) / a
    integral, claimed = quad(
        lambda x: 1 / float(speed(x, noise, "euclidean")), start, end, epsabs=0, epsrel=1e-13
    )
    parts.append((abs(time(start, end, noise) / integral - 1), claimed / integral + 64 * EPS / (1 - a * end)))
    # eigenvalues follow from K′ = W′Wᵀ + WW′ᵀ, with W′ from the loss: one mode is enough for the laws without mixing
    x = rng.uniform(0.1, 0.9)
    w, k = np.sqrt(x), rng.uniform(0.1, 0.9, 4)
    of = {
        "iso": 2 * w * (w - a * x * w),
        "euclidean": 2 * w * x * (w - a * x * w),
        # −∂/∂w ½ E (k w x1 − w x2)² through both branches, k = w² held
        "no-stop-gradient": -2 * w * (a * x**2 * w - 2 * x * w + a * w),
    }
    parts += [(abs(float(speed(x, noise, name)) - right), 32 * EPS) for name, right in of.items()]
    modes = ModeSystem(np.full(4, a), np.ones(4))
    moved = cosine_mode_field(0.0, modes.state(np.sqrt(k), k, np.sqrt(k)), modes).online
    right = 2 * np.sqrt(k) * moved
    found = np.asarray(speed(k, noise, "cosine"))
    # P is slaved, and only W moves: λ′ = 2 w w′
    parts.append((np.max(np.abs(found - right)), 64 * EPS * np.max(k) ** 2 / np.min(k)))
    parts.append((abs(float(np.sum(found))), 64 * EPS * float(np.max(np.abs(found)) + 1)))
    rest, error = run(lambda t, y: np.asarray(speed(y, noise, "cosine")), k, float(200.0 * a / np.mean(k)))
    parts.append((np.max(np.abs(rest - np.mean(k))), 4 * error + 1e-9))
    return worst(*parts)


def prove_closed_predictor_laws() -> bool:
    """R316: derivatives of the eigenvalue of K(t) and of the time, and the sum of speeds under the cosine loss."""
    import sympy as sp

    t, x0, x, a = sp.symbols("t x0 x a", positive=True)
    K = x0 * sp.exp(2 * t) / (1 + a * x0 * (sp.exp(2 * t) - 1))
    grows = sp.diff(K, t) - 2 * K * (1 - a * K)
    time = (1 / x0 - 1 / x + a * sp.log(x * (1 - a * x0) / (x0 * (1 - a * x)))) / 2
    lasts = sp.diff(time, x) - 1 / (2 * x**2 * (1 - a * x))
    k = np.array(sp.symbols("k0:3", positive=True), dtype=object)
    S2, S3 = (k**2).sum(), (k**3).sum()
    kept = (k**2 * (1 - k * S2 / S3)).sum()
    return vanishes([grows, lasts, kept])


# --- R323 ---------------------------------------------------------------------------------------------------


def iso_learned(
    rng: np.random.Generator,
    *,
    field: VectorField = iso_mode_field,
    no_ema_field: VectorField = iso_no_ema_mode_field,
    exact: Callable[..., ModeState] = iso_learned_predictor,
    fate: Callable[..., Any] = iso_fate,
) -> Measurement:
    """R323: fates with an average on both sides of the edge, the invariant, and the logistic law against a run."""
    rates = random_rates(rng)
    r = rng.uniform(0.3, 0.9, 6)
    system = ModeSystem(np.ones(6), r, **rates)
    w = rng.uniform(0.4, 1.0, 6) * rng.choice([-1, 1], 6)
    rise = rates["tau_online"] * w**2 / (2 * rates["tau_predictor"])
    # negative ones, far and near; and either side of the edge, by a fifth or more
    p = np.array([-2.0, -0.5, 0.2, *(r + rise + 0.4)[3:5], (r + rise - 0.3)[5]])
    begin = system.state(w, p, w)
    collapsed, ends = fate(begin, system)
    run, error = followed(begin, system, field, 400.0)
    gaps = [
        np.max(np.abs(np.abs(run.final.online) - ends.online)),
        np.max(np.abs(run.final.predictor - ends.predictor)),
    ]
    kept = iso_invariant(run.states, system)
    slope = 2 * (rates["tau_online"] * float(np.max(np.abs(run.states.online))) + rates["tau_predictor"])
    t = np.array([0.0, rng.uniform(0.2, 3.0), 8.0])
    other, off = followed(begin, system, no_ema_field, ts=t)
    law = exact(t, begin, system)
    apart = max(np.max(np.abs(a - b)) for a, b in zip(law, other.states, strict=True))
    size = float(np.max(np.abs(other.states.online)) + np.max(np.abs(p)))
    return worst(
        (max(gaps), 4 * error + np.exp(-20.0)),
        (np.max(np.abs(kept[-1] - kept[0])), slope * (error + 16 * EPS * size)),
        (apart, 2 * off + 64 * EPS * size**2),
        refuted(unless=collapsed.tolist() == [False, False, False, True, True, False]),
    )


def prove_iso_learned() -> bool:
    """R323: the invariant along the field, and the logistic law of w2 without an average."""
    import sympy as sp

    w, p, th, s, d, to, tp, tt = sp.symbols("w p q s d tau_o tau_p tau_t", positive=True)
    system = SimpleNamespace(lambda_s=s, lambda_d=d, tau_online=to, tau_predictor=tp, tau_target=tt)
    moved = iso_mode_field.derivative(0, ModeState(w, p, th), system)
    rate = to * w * moved.online - tp * moved.predictor
    own = iso_mode_field.derivative(0, ModeState(w, p, w), system)
    inv = to * w**2 / 2 - tp * p
    logistic = 2 * s / to * (p + inv / tp) * (d / s - p)
    return vanishes([rate, own.predictor - logistic])


RESULTS: tuple[Result, ...] = (
    Result(
        id="R316",
        title="laws of predictors in closed form",
        statement=(
            "K = W Wᵀ = P: IsoLoss K(t) = K0 e^{2t}(I + aK0(e^{2t} − 1))⁻¹; squared errors t = ½[1/λ0 − 1/λ + "
            "a ln(λ(1 − aλ0)/(λ0(1 − aλ)))]; without stop-gradient λ′ = −2λ[a(1 + λ²) − 2λ]; cosine "
            "λ′ = (2λ²/(a√(S3 S1)))(1 − λ S2/S3), which keeps S1 and ends at S1/n."
        ),
        source="2212.04858, from memory of its formulas",
        hypotheses="Σd = I, Σs = aI, a = 1 + σ², no moving average; cosine in high dimension.",
        as_printed=AsPrinted.YES,
        code="dynamics.exact.cosine.iso_matrix",
        trial=closed_predictor_laws,
        proof=prove_closed_predictor_laws,
    ),
    Result(
        id="R323",
        title="IsoLoss with a learned predictor",
        statement=(
            "τo w1²/2 − τp w2 is conserved for any θ. Collapse iff w2(0) >= r + τo w1(0)²/(2τp); else w2 → r and "
            "w1² → (2/τo)(inv + τp r): negative predictors always recover. Without an average "
            "dw2/dt = (2λs/τo)(w2 + inv/τp)(r − w2)."
        ),
        source="new",
        hypotheses="η = 0, w1(0) ≠ 0; the logistic law without an average, the fates verified with one.",
        as_printed=AsPrinted.NEW,
        code="dynamics.exact.cosine.iso_learned_predictor",
        trial=iso_learned,
        proof=prove_iso_learned,
    ),
)
"""R316 and R323."""
