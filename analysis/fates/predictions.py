"""Where a start ends, predicted without following the flow: the exact fate of one mode, variant by variant.

For one mode with η = 0 the flow stays on its leaf of constant c = τo w1² − τp w2² and every trajectory converges
(R6), so the leaf, not the target, decides between learning and collapse (R224). Other variants have results of
their own, listed at `predict_fates`; where nothing is proved the prediction is empty, never a guess.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from analysis.fates.cases import CASES, Case, exponent_of
from analysis.fates.fate import Fate, Prediction
from dynamics.quadratic import product
from dynamics.states import ModeState
from dynamics.system import ModeSystem
from dynamics.variants import VARIANTS

SIGN_ACCURACY = 1e-8
"""A start whose θ is within this fraction of the stable manifold's θ keeps an undecided sign."""


def _assemble(cases: list[Case], shape: tuple[int, ...]) -> Prediction:
    ends = Prediction(
        fate=np.full(shape, "", dtype="<U9"),
        online=np.full(shape, np.nan),
        predictor=np.full(shape, np.nan),
        target=np.full(shape, np.nan),
        amplitude=np.full(shape, np.nan),
        algebraic=np.zeros(shape, dtype=bool),
        reason=np.full(shape, "", dtype=object),
    )
    left = np.ones(shape, dtype=bool)
    for case in cases:
        now = left & case.when
        if not np.any(now):
            continue
        left &= ~now
        amplitude = np.abs(case.online) if case.amplitude is None else case.amplitude
        fate = np.where(np.isnan(amplitude), "", np.where(amplitude == 0, Fate.COLLAPSED, Fate.LEARNED))
        values = (fate, case.online, case.predictor, case.target, amplitude, case.algebraic, case.reason)
        for end, value in zip(ends, values, strict=True):
            end[now] = np.broadcast_to(value, shape)[now]
    return ends


_ROUNDINGS = 64 * float(np.finfo(np.float64).eps)
"""Share of the terms of a fixed point of decay within which a start is not told from the saddle."""

_HAS_SADDLE = ("full", "tied", "no-ema", "symmetric-predictor")


def _at_rest(variant: str, state: ModeState, system: ModeSystem) -> tuple[Any, Any]:
    """Whether the start is a fixed point of its variant, and whether rounding hides on which side of p− it is.

    With the encoder scaled to one, e over the larger of its terms neither over- nor underflows.
    """
    w1, w2, th = state
    to, tp, eta = system.tau_online, system.tau_predictor, system.weight_decay
    still, zero = np.equal(eta, 0.0), np.equal(w1, 0.0)
    gone = zero & (still | (w2 == 0))
    if variant == "no-stop-gradient":
        return gone | (still & (np.abs(system.lambda_d) == system.lambda_s) & (w2 == system.ratio)), False
    follows = (th == w1) | (variant == "fixed-target")
    if variant == "fast-predictor":
        return follows & (still | zero), False
    m = exponent_of(w1, th)
    x, z = np.ldexp(w1, -m), np.ldexp(th, -m)
    n = exponent_of(w2)
    y = np.ldexp(w2, -n)
    k = np.maximum(np.frexp(system.lambda_d)[1], np.frexp(system.lambda_s)[1] + n)
    e = z * np.ldexp(system.lambda_d, -k) - x * y * np.ldexp(system.lambda_s, n - k)
    if variant == "no-predictor" or VARIANTS[variant].direct != (0.0, 0.0):  # w2 does not move by itself
        own = np.equal(y * e, 0.0)
    else:
        own = np.equal(y * e, 0.0) & np.equal(x * e, 0.0)
    # with weight decay: e w2/τo = η w1 and e w1/τp = η w2, exactly or up to roundings of their terms
    terms = np.abs(z * np.ldexp(system.lambda_d, -k)) + np.abs(x * y * np.ldexp(system.lambda_s, n - k))
    decay = np.where(still, 1.0, eta)
    pulled, near = np.True_, np.True_
    own_weights = [(y, x, to, n + k)]
    if variant != "no-predictor" and VARIANTS[variant].direct == (0.0, 0.0):
        own_weights.append((x, y, tp, 2 * m + k - n))
    for factor, weight, tau, power in own_weights:
        over = (decay, tau, np.where(weight == 0, 1.0, weight))
        unit = np.ldexp(1.0, np.clip(power, -1000, 1000))
        share = product(factor, e, unit, over=over)
        pulled = pulled & (share == 1)
        size = 1 + np.abs(product(factor, terms, unit, over=over))
        near = near & np.isfinite(share) & (np.abs(share - 1) <= _ROUNDINGS * size)
    slaved = variant == "no-predictor" or VARIANTS[variant].direct != (0.0, 0.0)
    nothing = zero & (slaved | (w2 == 0)) & ((variant != "fixed-target") | (w2 == 0))
    rests = follows & np.where(still, own, nothing | pulled)
    below = 2 * y * np.ldexp(system.lambda_s, n - k) < np.ldexp(system.lambda_d, -k)  # p < r/2
    saddle = (variant in _HAS_SADDLE) & ~still & below
    return rests, follows & saddle & near & ~rests


def predict_fates(
    state: ModeState, system: ModeSystem, variant: str = "full", *, decide_sign: bool = False
) -> Prediction:
    """Predict where every start ends, from the exact results for one mode.

    With c = τo w1² − τp w2² and r = λd/λs, for η = 0 and λs > 0:

    - full, tied, symmetric-predictor (R6, R7): collapse iff w2 > 0 and c <= −τp r², or w2 <= 0 and c <= 0;
      else w2 → r and |w1| = |θ| → sqrt((c + τp r²)/τo);
    - no-ema (R14): the same, and the sign of w1 is conserved;
    - fixed-target (R13): w1 w2 → θ r on the leaf; collapse iff w1 → 0: c = 0 with w1 w2 θ r <= 0, or θ r = 0 with
      c <= 0;
    - no-predictor (R11): collapse iff λd < λs; at λd = λs, w1 = θ → (τo w1 + τt λd θ)/(τo + τt λd);
    - no-stop-gradient (R12): collapse if |λd| < λs; at |λd| = λs iff τo w1² <= τp (w2 − r)²;
    - fast-predictor (R21): w1 is conserved;
    - directpred, directset (R22): collapse iff λd <= 0 or w1 = 0; else w2 → r.

    For η > 0 the prediction is made where it is certain: η > η* = λd²/(4 τo λs); within the box below the saddle p-;
    for w2 < 0 with c <= 0; on the balanced sheet c = 0 and for the direct predictors, when w1 and θ are both below or
    both above the saddle; for no-predictor as above with λs + η τo for λs; for fixed-target, no-stop-gradient
    (|λd| <= λs) and fast-predictor always.

    Parameters
    ----------
    state
        Starts w1, w2, θ, shape (..., n_modes); what the variant constrains (θ = w1, w2 = 1) is set first.
    system
        Moments, time constants and weight decay of the modes.
    variant
        Name of a one-mode variant, a key of `dynamics.variants.VARIANTS`.
    decide_sign
        Compute the sign of w1 on leaves −τp r² < c < 0 with w2 > 0, which costs an integration of the saddle's
        stable manifold for every such start where w1 and θ have opposite signs.

    Returns
    -------
    Prediction
        Empty fate and NaN where λs <= 0 or no result applies; NaN `online` and `target` with known `amplitude`
        where the sign of w1 is not decided, either for want of `decide_sign` or because the start is within
        `SIGN_ACCURACY` of the stable manifold. A start on that manifold, other than the saddle itself, has w1 → 0:
        the one set, of measure zero, that R6 leaves out.

    Raises
    ------
    ValueError
        The variant is unknown, or is not defined for this start.

    Notes
    -----
    Conditions are evaluated in floating point: a start within rounding of a boundary may be put on either side.
    (w2, λd) → (−w2, −λd) leaves the flow as it is, so for λd < 0 read −w2 for w2 in the conditions.
    Sources: R6, R7, R11–R15, R21, R22.

    Examples
    --------
    >>> system = ModeSystem([1.0, 1.0], [0.5, 0.5])
    >>> predict_fates(system.state(online=0.1, predictor=[0.1, 0.6]), system).fate.tolist()
    ['learned', 'collapsed']
    """
    if variant not in CASES:
        raise ValueError(f"`variant` must be one of {', '.join(CASES)}, got {variant!r}")
    field = VARIANTS[variant].mode_field
    field.require(state, system)
    positive = system.lambda_s > 0  # elsewhere any moments will do
    proper = replace(
        system,
        lambda_s=np.where(positive, system.lambda_s, 1.0),
        lambda_d=np.where(positive, system.lambda_d, 0.0),
    )
    state = ModeState(*np.broadcast_arrays(*(np.asarray(part, dtype=np.float64) for part in state)))
    with np.errstate(
        over="ignore"
    ):  # a slaved predictor may be infinite at the start: its end does not depend on it
        state = field.constrain(0.0, state, proper)
    shape = np.broadcast_shapes(np.shape(state.online), np.shape(system.lambda_s))
    rests, beside = _at_rest(variant, state, proper)
    cases = [
        Case(~positive, "λs <= 0, no result applies"),
        Case(rests, "the start is a fixed point", *state),
        Case(beside, "R15: the start is the saddle p- up to rounding, which decides"),
        *CASES[variant](state, proper),
    ]
    prediction = _assemble(cases, shape)
    return _with_signs(prediction, state, system) if decide_sign else prediction


def _with_signs(prediction: Prediction, state: ModeState, system: ModeSystem) -> Prediction:
    """Fill in the ends whose sign alone is unknown: that of θ − θ(w1), θ(w1) the saddle's stable manifold.

    The flow on the leaf is cooperative, so the manifold is a decreasing odd curve: no need to compute it where w1
    and θ agree in sign.
    """
    shape = prediction.fate.shape
    w1, w2, th = (np.broadcast_to(part, shape) for part in state)
    unsigned = (prediction.fate == Fate.LEARNED) & np.isnan(prediction.online)
    mixed = unsigned & (w1 * th < 0)
    sign = np.sign(np.sign(w1) + np.sign(th))
    if np.any(mixed):
        from analysis.phase_planes.separatrices import leaf_separatrix

        names = ("lambda_s", "lambda_d", "tau_online", "tau_predictor", "tau_target")
        one_each = ModeSystem(
            **{name: np.broadcast_to(getattr(system, name), shape)[mixed] for name in names}
        )
        half = leaf_separatrix(w1[mixed], w2[mixed], one_each) / 2
        above = np.sign(th[mixed] / 2 - half)
        clear = np.isinf(half) | (np.abs(th[mixed] / 2 - half) > SIGN_ACCURACY * np.abs(half))
        sign[mixed] = np.where(clear, above, np.nan)
    end = np.where(unsigned, sign * prediction.amplitude, prediction.online)
    return prediction._replace(online=end, target=np.where(unsigned, end, prediction.target))
