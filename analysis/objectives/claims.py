"""Numbers behind claims on collapse: its share among Gaussian starts (R333), and its rate (R334)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from dynamics.system import MatrixSystem


def collapse_share(ratio: float, online_scale: float = 1.0) -> float:
    """Share of one-mode networks that collapse, of starts w1 = θ ~ N(0, σ²), w2 ~ N(0, 1).

        P = (1/π) arctan(1/σ) + ∫_r^∞ φ(w) erf(√(w² − r²)/(σ√2)) dw,

    by R6: w2 <= 0 and w1² <= w2², or w2 > 0 and w1² <= w2² − r², at τo = τp.

    Parameters
    ----------
    ratio
        r > 0.
    online_scale
        σ > 0.

    Raises
    ------
    ValueError
        A number is out of range.

    Notes
    -----
    Source: R333.

    Examples
    --------
    >>> [round(collapse_share(r), 4) for r in (0.25, 0.5, 0.9)]
    [0.4772, 0.4363, 0.3677]
    """
    from scipy.integrate import quad
    from scipy.special import erf

    for name, value in (("ratio", ratio), ("online_scale", online_scale)):
        if not 0 < value < np.inf:
            raise ValueError(f"`{name}` must be finite and > 0, got {value}")

    def density(x: float) -> float:
        """Over x = √(w² − r²), in which the error function is smooth: dw = x dx/w."""
        w = np.hypot(x, ratio)
        return float(x / w * np.exp(-w * w / 2) / np.sqrt(2 * np.pi) * erf(x / (online_scale * np.sqrt(2))))

    edges = sorted({0.0, 40.0, *(min(k * online_scale, 40.0) for k in (1, 3, 9)), 1.0, 6.0})
    above = sum(quad(density, a, b, epsabs=1e-14, epsrel=1e-11)[0] for a, b in pairwise(edges))
    return float(np.arctan(1 / online_scale) / np.pi + above)


def no_stop_gradient_rate(system: MatrixSystem) -> float:
    """Rate ρ of ‖W(t)‖ <= e^{−ρt}‖W(0)‖ without stop-gradient, λ_min(Σs − Σd Σs⁻¹ Σd)/τo.

    Parameters
    ----------
    system
        Σs ≻ 0, 0 ≼ Σd ≼ Σs and η >= 0, which adds to the rate.

    Returns
    -------
    float
        >= 0; zero iff a mode has r = 1.

    Raises
    ------
    ValueError
        Σs is singular.

    Notes
    -----
    Whatever the predictor does, the loss is at least that of the best one. Source: R334.

    Examples
    --------
    >>> round(no_stop_gradient_rate(MatrixSystem([1.0, 2.0], [0.5, 1.6])), 12)
    0.72
    """
    s, d = (np.diag(x) if x.ndim == 1 else x for x in (system.sigma_s, system.sigma_d))
    values = np.linalg.eigvalsh(s)
    if not values[0] > len(s) * np.finfo(float).eps * values[-1]:
        raise ValueError(f"`sigma_s` must be positive definite, got eigenvalues from {values[0]:.3g}")
    left = s - d @ np.linalg.solve(s, d)
    rate = float(np.linalg.eigvalsh((left + left.T) / 2)[0])
    return max(rate, 0.0) / float(system.tau_online) + float(system.weight_decay)
