"""Growth of a balanced mode of a deep encoder (R321)."""

from __future__ import annotations

from typing import Any

import numpy as np


def check_depth(depth: Any) -> int:
    """Return the depth, an integer >= 1.

    >>> check_depth(3)
    3
    """
    if isinstance(depth, bool) or not isinstance(depth, (int, np.integer)) or depth < 1:
        raise ValueError(f"`depth` must be an integer >= 1, got {depth!r}")
    return int(depth)


def jepa_speed(v: Any, depth: int, lambda_s: Any, lambda_d: Any) -> Any:
    """Speed of the predictor of a balanced mode, dv/dt = v^{2L} (λd − λs v) (R321); τ = 1, θ = ω, η = 0.

    >>> round(jepa_speed(0.5, 1, 1.0, 0.8), 12)
    0.075
    """
    return v ** (2 * depth) * (lambda_d - lambda_s * v)


def jepa_encoder_speed(omega: Any, depth: int, lambda_s: Any, lambda_d: Any) -> Any:
    """Speed of the encoder ω = v^L > 0 of a balanced mode (R321).

        dω/dt = L (λd ω^{3 − 1/L} − λs ω³)

    The factor L is no clock that can be dropped when depths are compared.

    >>> round(jepa_encoder_speed(0.5, 1, 1.0, 0.8), 12)
    0.075
    """
    return depth * (lambda_d * omega ** (3 - 1 / depth) - lambda_s * omega**3)


def jepa_time(v0: Any, v: Any, depth: int, lambda_s: Any, lambda_d: Any) -> Any:
    """Time in which a balanced mode of a deep encoder grows from v0 to v.

        t = Σ_{k=2}^{2L} λs^{2L−k}/λd^{2L−k+1} (v0^{1−k} − v^{1−k})/(k−1)
            + λs^{2L−1}/λd^{2L} [ln(v/(λd − λs v))]_{v0}^{v}

    All terms are positive, so that nothing cancels. Small starts take v0^{1−2L}/((2L−1) λd).

    Parameters
    ----------
    v0, v
        Predictor at the start and at the end, 0 < v0 <= v < r = λd/λs; numbers or arrays.
    depth
        L >= 1.
    lambda_s, lambda_d
        λs, λd > 0.

    Returns
    -------
    float or array
        t >= 0; infinite where it is beyond floats.

    Raises
    ------
    ValueError
        An argument is out of range.

    Notes
    -----
    With all τ = 1, the target θ = ω, η = 0 and w_l = v. Source: R321.

    Examples
    --------
    >>> round(float(jepa_time(0.1, 0.4, 2, 1.0, 0.8)), 6)
    502.797632
    """
    L = check_depth(depth)
    v0, v, s, d = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (v0, v, lambda_s, lambda_d)))
    for name, value in (("lambda_s", s), ("lambda_d", d)):
        if not np.all(np.isfinite(value) & (value > 0)):
            raise ValueError(f"`{name}` must be finite and > 0, got {value}")
    if not np.all((v0 > 0) & (v0 <= v) & (s * v < d)):
        raise ValueError(f"`v` must satisfy 0 < v0 <= v < λd/λs, got v0 = {v0} and v = {v}")
    grown = np.log1p((v - v0) / v0)
    with np.errstate(over="ignore"):
        total = (s / d) ** (2 * L - 1) / d * (grown + np.log1p(s * (v - v0) / (d - s * v)))
        for k in range(2, 2 * L + 1):
            total = total + (s / d) ** (2 * L - k) / d * (np.expm1((k - 1) * grown) * v ** (1.0 - k)) / (
                k - 1
            )
    return total
