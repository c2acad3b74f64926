"""How fast weights can grow under contrastive losses: bounds for any depth, width and data (R108, R109)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from dynamics.exact.quadrature import integral_over_decades

GROWTH_LOSSES = ("infonce", "triplet", "simple")


def norm_growth_bound(
    loss: str,
    *,
    negatives: float | None = None,
    temperature: float | None = None,
    margin: float | None = None,
) -> float:
    """Largest growth rate of the squared norm of a layer, d‖W_l‖²/dt, over all networks, data and augmentations.

        infonce: 4 W0(H/e)        triplet: 4τ W0(e^{r0/τ − 1})        simple: ∞

    with W0 the principal branch of Lambert's function. That of the triplet loss tends to 4 r0 as τ → 0.

    Parameters
    ----------
    loss
        "infonce", "triplet" or "simple".
    negatives
        H >= 1, finite, for infonce alone.
    temperature
        τ > 0, finite, for triplet alone: the bound of infonce does not depend on it.
    margin
        r0 >= 0, finite, for triplet alone.

    Returns
    -------
    float
        The bound for gradients through all branches, time t = ε per step of size ε; inf for the simple loss, under
        which networks of two or more layers blow up (R109), or where the bound is beyond float64.

    Raises
    ------
    ValueError
        The loss is unknown; one of its parameters is missing or out of range; one is given that it does not have.

    Notes
    -----
    Assumes a network without biases whose activations are homogeneous of degree 1. Source: R108.

    Examples
    --------
    >>> round(norm_growth_bound("infonce", negatives=1), 6)
    1.113858
    """
    if loss not in GROWTH_LOSSES:
        raise ValueError(f"`loss` must be one of {', '.join(GROWTH_LOSSES)}, got {loss!r}")
    given = {"negatives": negatives, "temperature": temperature, "margin": margin}
    owned = {"infonce": ("negatives",), "triplet": ("temperature", "margin"), "simple": ()}[loss]
    least: dict[str, tuple[str, Callable[[float], bool]]] = {
        "negatives": (">= 1", lambda value: value >= 1),
        "temperature": ("> 0", lambda value: value > 0),
        "margin": (">= 0", lambda value: value >= 0),
    }
    for name, value in given.items():
        if name not in owned:
            if value is not None:
                raise ValueError(
                    f"`{name}` must be left out, as the bound of {loss} does not depend on it, got {value}"
                )
            continue
        if value is None or not (math.isfinite(value) and least[name][1](value)):
            raise ValueError(f"`{name}` must be finite and {least[name][0]} for {loss}, got {value}")
    if loss == "simple":
        return math.inf
    from scipy.special import wrightomega  # ω(z) = W0(e^z), without the exponential

    if loss == "infonce":
        assert negatives is not None
        return float(4 * wrightomega(math.log(negatives) - 1))
    assert temperature is not None
    assert margin is not None
    scaled = margin / temperature if temperature >= 1 or margin < temperature * 1e300 else math.inf
    if math.isinf(scaled):
        return 4 * margin  # the rest, τ ln(r0/τ), is below rounding
    return float(4 * (temperature * wrightomega(scaled - 1)))


def blow_up_bound(norms_squared: Any, variance: float) -> float:
    """Latest time at which a network must have blown up under the simple contrastive loss.

        T* <= ∫_0^∞ dy / (4 v0 Π_l (1 + y/N_l))

    which is (N1 N2/4v0) ln(N2/N1)/(N2 − N1) for two layers, and N/(4 v0 (L − 1)) for L layers of equal norm.

    Parameters
    ----------
    norms_squared
        N_l = ‖W_l(0)‖², one per layer, finite and > 0.
    variance
        v0 = tr V[f̄] at the start, the variance over sources of the mean output, finite and >= 0.

    Returns
    -------
    float
        Relative error below 1e-12; inf for one layer, which grows exponentially and no faster, and for v0 = 0.

    Raises
    ------
    ValueError
        A number is out of range.

    Notes
    -----
    Assumes no biases, activations homogeneous of degree 1, and gradients through all branches; the bound doubles
    where x1 alone carries the gradient. Attained by one diagonal node whose lower weights are an eigenvector (R124).
    Source: R109.

    Examples
    --------
    >>> blow_up_bound([2.0, 2.0, 2.0], 0.5)
    0.5
    """
    N = np.asarray(norms_squared, dtype=np.float64)
    if N.ndim != 1 or N.size == 0 or not np.all(np.isfinite(N) & (N > 0)):
        raise ValueError(f"`norms_squared` must be finite numbers > 0, one per layer, got {norms_squared}")
    if not (np.isfinite(variance) and variance >= 0):
        raise ValueError(f"`variance` must be finite and >= 0, got {variance}")
    if N.size == 1 or variance == 0:
        return math.inf
    if np.all(N[0] == N):
        return float(N[0] / variance / (4 * (N.size - 1)))
    log_N = np.log(N)

    def log_integrand(log_y: Any) -> Any:
        return -np.logaddexp(0.0, np.asarray(log_y)[..., None] - log_N).sum(axis=-1)

    return float(np.exp(integral_over_decades(log_integrand, log_N) - np.log(variance) - math.log(4)))
