"""What batches of finite size do to a nearly collapsed mode (R309)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from analysis.steps.noise import numbers_of
from dynamics.integration.batch_noise import check_batch
from dynamics.integration.discrete import checked_step
from dynamics.system import ModeSystem


class CollapsePredictors(NamedTuple):
    """Predictors above which a collapsed state attracts: typical runs, and their mean square."""

    almost_surely: np.ndarray
    mean_square: np.ndarray


def second_moment_matrix(
    predictor: float, system: ModeSystem, step: float, ema_rate: float, batch: int
) -> np.ndarray:
    """Matrix of one step over (E w1², E w1 θ, E θ²) near a collapsed state with predictor p, in the practical order.

    With x = 1 − (εp²/τo) Ŝ and y = (εp/τo) D̂ a step is w⁺ = x w + y θ, θ⁺ = h x w + (1 − h + h y) θ. The moments are
    E Ŝ² = λs² (1 + 2/B), E ŜD̂ = λs λd (1 + 2/B) and E D̂² = λd² + (λs² + λd²)/B.

    Parameters
    ----------
    predictor
        p, frozen.
    system, step, ema_rate, batch
        One mode, ε > 0, h in [0, 1], B >= 1.

    Returns
    -------
    array (3, 3)

    Notes
    -----
    Source: R309.

    Examples
    --------
    >>> second_moment_matrix(0.0, ModeSystem(1.0, 0.5), 0.5, 1.0, 2)[0]
    array([1., 0., 0.])
    """
    check_batch(batch)
    checked_step(step, ema_rate)
    ls, ld, _, to, _ = numbers_of(system)
    a, b, h = step * predictor**2 / to, step * predictor / to, ema_rate
    more = 1 + 2 / batch
    x, y = 1 - a * ls, b * ld
    xx = 1 - 2 * a * ls + a**2 * ls**2 * more
    xy = b * ld - a * b * ls * ld * more
    yy = b**2 * (ld**2 + (ls**2 + ld**2) / batch)
    kept = 1 - h
    # θ⁺ = (1 − h) θ + h w⁺
    first = np.array([xx, 2 * xy, yy])
    carried = np.array([0.0, x, y])
    return np.stack(
        [first, h * first + kept * carried, h**2 * first + 2 * h * kept * carried + [0.0, 0.0, kept**2]]
    )


def mean_square_radius(
    predictor: float, system: ModeSystem, step: float, ema_rate: float, batch: int
) -> float:
    """Factor by which the mean square of a nearly collapsed encoder changes per step: below 1, it decays.

    Parameters
    ----------
    predictor, system, step, ema_rate, batch
        As for `second_moment_matrix`.

    Notes
    -----
    Source: R309.

    Examples
    --------
    >>> round(mean_square_radius(0.55257, ModeSystem(1.0, 0.5), 0.5, 1.0, 2), 4)
    1.0
    """
    M = second_moment_matrix(predictor, system, step, ema_rate, batch)
    return float(np.max(np.abs(np.linalg.eigvals(M))))


def mean_square_predictor(system: ModeSystem, step: float, ema_rate: float, batch: int) -> float:
    """Predictor p_ms > r above which the mean square of the encoder decays.

    Raises
    ------
    ValueError
        There is none up to 2r: the step or the noise is too large.

    Notes
    -----
    Source: R309.

    Examples
    --------
    >>> round(mean_square_predictor(ModeSystem(1.0, 0.5), 0.5, 1.0, 2), 5)
    0.55257
    """
    from scipy.optimize import brentq

    _, _, r, *_ = numbers_of(system)

    def excess(p: float) -> float:
        # the smallest eigenvalue 1 − μ would lose digits in a radius near one: the sign of det(I − M) tells as well
        M = second_moment_matrix(p, system, step, ema_rate, batch)
        return float(np.linalg.det(np.eye(3) - M))

    grid = np.linspace(r, 2 * r, 65)[1:]
    signs = [excess(p) > 0 for p in grid]
    if not any(signs):
        raise ValueError(
            f"`step` must be small enough for the mean square to decay at some p < 2r, got {step}"
        )
    k = int(np.argmax(signs))
    return float(brentq(excess, r if k == 0 else grid[k - 1], grid[k], xtol=1e-13))


def collapse_predictors(system: ModeSystem, step: float, batch: int) -> CollapsePredictors:
    """Both boundaries to first order in ε without average, p = r ∓ ε r (λs² − λd²)/(2B τo λs).

    Parameters
    ----------
    system
        λs > 0, one or many modes.
    step, batch
        ε > 0 and B >= 1.

    Returns
    -------
    CollapsePredictors
        Between the two the typical run collapses while the mean square explodes. An average brings the upper one nearer
        to r (`mean_square_predictor`).

    Notes
    -----
    Source: R309.

    Examples
    --------
    >>> collapse_predictors(ModeSystem(1.0, 0.5), 0.1, 2).almost_surely
    array([0.490625])
    """
    check_batch(batch)
    checked_step(step, 1.0)
    r = system.ratio
    noise = (system.lambda_s - system.lambda_d) * (system.lambda_s + system.lambda_d)
    shift = step * r * noise / (2 * batch * system.tau_online * system.lambda_s)
    return CollapsePredictors(r - shift, r + shift)


def _mean_log(z: float) -> float:
    """E ln |z + N(0, 1)|: from −(γ + ln 2)/2 at 0 its slope is √2 times Dawson's function at z/√2."""
    from scipy.integrate import quad
    from scipy.special import dawsn

    z = abs(z)
    if z > 12.0:  # ln z − Σ (2k − 1)!!/(2k z^2k), whose terms fall until far below rounding
        terms, term = 0.0, 1.0
        for k in range(1, 30):
            following = term * (2 * k - 1) / z**2
            if following >= term:
                break
            term = following
            terms += term / (2 * k)
        return float(np.log(z) - terms)
    way, _ = quad(lambda x: np.sqrt(2) * dawsn(x / np.sqrt(2)), 0.0, z, epsabs=1e-13, epsrel=1e-12)
    return float(way - (np.euler_gamma + np.log(2)) / 2)


def lyapunov_exponent(predictor: float, system: ModeSystem, step: float, batch: int) -> float:
    """Growth per step of a typical nearly collapsed encoder without average, E ln |1 + (εp/τo)(D̂ − pŜ)|.

    Given Ŝ the bracket is normal: its mean logarithm is an integral of Dawson's function, to be averaged over χ²_B.

    Parameters
    ----------
    predictor
        p, frozen.
    system, step, batch
        One mode, ε > 0, B >= 1.

    Returns
    -------
    float
        Negative where the typical run collapses.

    Notes
    -----
    Source: R309.

    Examples
    --------
    >>> [round(lyapunov_exponent(p, ModeSystem(1.0, 0.5), 0.5, 2), 4) for p in (0.44, 0.47)]
    [0.0039, -0.0038]
    """
    from scipy.integrate import quad
    from scipy.special import gammaln

    check_batch(batch)
    checked_step(step, 1.0)
    ls, _, r, to, _ = numbers_of(system)
    b = step * predictor / to
    spread = ls * np.sqrt((1 - r) * (1 + r) / batch)
    shape = batch / 2
    norm = np.log(2) + shape * np.log(shape) - gammaln(shape)

    def integrand(root: float) -> float:
        # Ŝ = λs x with x = root² of a gamma law of shape B/2 and mean 1: no singularity at 0 for B = 1
        density = np.exp(norm + (batch - 1) * np.log(root) - shape * root**2)
        mean, size = 1 + b * (r - predictor) * ls * root**2, abs(b) * spread * root
        if size <= 1e-8 * abs(mean):
            return float(density * (np.log(abs(mean)) - (size / mean) ** 2 / 2))
        return float(density * (np.log(size) + _mean_log(mean / size)))

    near, far = max(0.0, 1 - 10 / np.sqrt(batch)), 1 + 10 / np.sqrt(batch)
    value, _ = quad(integrand, near, far, epsabs=1e-11, epsrel=1e-9, limit=200)
    return float(value)
