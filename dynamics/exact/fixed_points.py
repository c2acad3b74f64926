"""Fixed points of one mode in closed form, and the eigenvalues there.

A fixed point of one mode has a 3×3 Jacobian, of which the invariant (R2) takes one dimension. What is left,
on the leaf, has in every case the form

    d/dt [leaf, θ] = [[−(β + γ), β], [1/τt, −1/τt]] [leaf, θ],

with a gain β from the target and a gap γ that decides stability: the determinant is γ/τt.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dynamics.quadratic import product, quadratic_roots
from dynamics.states import ModeState
from dynamics.system import ModeSystem

_SMALLEST = float(np.finfo(np.float64).tiny)


class WeightDecayFixedPoints(NamedTuple):
    """The five fixed points of each mode under weight decay, a leading axis of length 5.

    Parameters
    ----------
    names
        "origin", "lower" (w2 = p−), "lower-mirror" (w1 and θ negated), "upper" (w2 = p+) and "upper-mirror".
    points
        w1, w2, θ, shape (5, n_modes); NaN where the point does not exist.
    eigenvalues
        Eigenvalues of the Jacobian there, complex, shape (5, n_modes, 3).
    """

    names: tuple[str, ...]
    points: ModeState
    eigenvalues: np.ndarray

    def __repr__(self) -> str:
        """One line: how many of the modes have each point."""
        there = [int(np.sum(np.isfinite(row))) for row in np.asarray(self.points.predictor)]
        counts = ", ".join(f"{name} {n}" for name, n in zip(self.names, there, strict=True))
        return f"WeightDecayFixedPoints(modes with each point: {counts})"


def refuse_weight_decay(system: ModeSystem) -> None:
    """Raise ValueError where η ≠ 0: the closed form at hand has no such term."""
    if np.any(np.asarray(system.weight_decay) != 0):
        raise ValueError(f"`weight_decay` must be 0 for this closed form, got {system.weight_decay}")


def leaf_eigenvalues(beta: Any, gamma: Any, system: ModeSystem) -> np.ndarray:
    """Eigenvalues on the leaf, of [[−(β + γ), β], [1/τt, −1/τt]].

    Parameters
    ----------
    beta, gamma
        β and γ, one number a mode or shape (..., n_modes); γ apart, so that a small one is not lost in β + γ.
    system
        Gives τt.

    Returns
    -------
    array (..., n_modes, 2)
        Complex, the larger real part first.

    Examples
    --------
    >>> leaf_eigenvalues(1.0, 0.0, ModeSystem(1.0, 1.0)).real
    array([ 0., -2.])
    """
    beta, gamma, zeta = np.broadcast_arrays(
        np.asarray(beta, dtype=np.float64),
        np.asarray(gamma, dtype=np.float64),
        1 / np.asarray(system.tau_target),
    )
    # in units of the largest, a power of two, so that no square leaves the range of floats
    unit = np.frexp(np.maximum(np.maximum(np.abs(beta), np.abs(gamma)), zeta))[1]
    b_, g_, z_ = (np.ldexp(x, -unit) for x in (beta, gamma, zeta))
    b = b_ + g_ + z_
    root = np.sqrt((b_ + g_ - z_) ** 2 + 4 * b_ * z_ + 0j)
    # the root of s² + b s + γζ that adds up without cancellation, then the other one from their product
    s = -(b + np.copysign(1.0, b) * root) / 2
    with np.errstate(invalid="ignore"):  # NaN stands for a point that does not exist
        other = np.where(s == 0, 0.0, gamma * (z_ / np.where(s == 0, 1.0, s)))
        s = np.ldexp(s.real, unit) + 1j * np.ldexp(s.imag, unit)
    # adding zero turns −0 into 0
    return np.sort(0.0 + np.stack([s, other], axis=-1), axis=-1)[..., ::-1]


def learned_line_eigenvalues(online: Any, system: ModeSystem) -> np.ndarray:
    """Eigenvalues of the full flow at the points (a, r, a) of the learned line.

    0 along the line, and the roots of s² + s(1/τt + λs(r²/τo + a²/τp)) + λs a²/(τp τt) = 0.

    Parameters
    ----------
    online
        a, scalar or shape (..., n_modes).
    system
        With η = 0.

    Returns
    -------
    array (..., n_modes, 3)
        Complex with zero imaginary part (for λs > 0 the root is of (1/τt − λs a²/τp)² plus positive terms).
        The zero of the line comes first. NaN where λs = 0.

    Raises
    ------
    ValueError
        η ≠ 0: then the line breaks up into isolated points, see `weight_decay_fixed_points`.

    Notes
    -----
    Source: R5.

    Examples
    --------
    >>> learned_line_eigenvalues(0.5, ModeSystem(1.0, 0.5)).real.round(6)
    array([[ 0.      , -0.190983, -1.309017]])
    """
    refuse_weight_decay(system)
    beta = product(system.ratio, system.lambda_d, over=(system.tau_online,))
    gamma = product(system.lambda_s, online, online, over=(system.tau_predictor,))
    pair = leaf_eigenvalues(beta, gamma, system)
    return np.concatenate([np.zeros_like(pair[..., :1]), pair], axis=-1)


def collapsed_line_eigenvalues(predictor: Any, system: ModeSystem) -> np.ndarray:
    """Eigenvalues of the full flow at the points (0, p, 0) of the collapsed line.

    0 along the line, and the roots of s² + s(1/τt + λs p²/τo) + (p/(τo τt))(λs p − λd) = 0.

    Parameters
    ----------
    predictor
        p, scalar or shape (..., n_modes).
    system
        With η = 0.

    Returns
    -------
    array (..., n_modes, 3)
        Complex; the zero of the line first. Attracting for p < 0 (where the pair can be complex) and p > r,
        a saddle for 0 < p < r, doubly degenerate at p = 0 and p = r.

    Raises
    ------
    ValueError
        η ≠ 0: then the line is no line of fixed points.

    Notes
    -----
    Source: R5.

    Examples
    --------
    >>> collapsed_line_eigenvalues([[-1.0], [0.5], [1.0]], ModeSystem(1.0, 0.5))[:, 0, 1].real
    array([-1.        ,  0.        , -0.29289322])
    """
    refuse_weight_decay(system)
    p = np.asarray(predictor)
    beta = product(p, system.lambda_d, over=(system.tau_online,))
    gamma = product(p, system.lambda_s * p - system.lambda_d, over=(system.tau_online,))
    pair = leaf_eigenvalues(beta, gamma, system)
    return np.concatenate([np.zeros_like(pair[..., :1]), pair], axis=-1)


def saddle_node(system: ModeSystem) -> np.ndarray:
    """Weight decay at which the learned fixed points meet their saddles and vanish, η* = λd²/(4 τo λs).

    They meet at w2 = r/2, |w1| = |θ| = sqrt(τp/τo) r/2.

    Parameters
    ----------
    system
        Its weight decay is not used.

    Returns
    -------
    array (n_modes,)
        η*; NaN where λs <= 0, for there p± exist at every η.

    Raises
    ------
    ValueError
        η* is too small or too large for a float.

    Notes
    -----
    Source: R15; NC for λd = τ, λs = 1 + σ².

    Examples
    --------
    >>> saddle_node(ModeSystem(1.0, 0.5))
    array([0.0625])
    """
    positive = system.lambda_s > 0
    lambda_s = np.where(positive, system.lambda_s, 1.0)
    fold = product(system.lambda_d, system.lambda_d, over=(4.0, system.tau_online, lambda_s))
    beyond = positive & (system.lambda_d != 0) & ~((fold >= _SMALLEST) & (fold < np.inf))
    if np.any(beyond):
        mode = int(np.argmax(beyond))
        raise ValueError(
            f"`lambda_s` and `lambda_d` must leave η* = λd²/(4 τo λs) within {_SMALLEST:.2g} and 1.8e308, got"
            f" {system.lambda_s[mode]:g} and {system.lambda_d[mode]:g}"
        )
    return np.where(positive, fold, np.nan)


def weight_decay_fixed_points(system: ModeSystem) -> WeightDecayFixedPoints:
    """Fixed points of the full flow with weight decay, and the eigenvalues there.

    The origin, with eigenvalues −η, −η, −1/τt, and

        w2 = p± = [λd ± sqrt(λd² − 4 η τo λs)]/(2λs),  θ = w1 = ± sqrt(τp/τo) w2,

    with eigenvalue −2η across the balanced sheet τo w1² = τp w2², and on it the roots of
    s² + s(2λs p²/τo + 1/τt) + p(2λs p − λd)/(τo τt).

    Parameters
    ----------
    system
        η > 0; λs ≠ 0 for points other than the origin.

    Returns
    -------
    WeightDecayFixedPoints
        NaN where η > η*. For λs, λd > 0: p− is a saddle, p+ stable for every τo, τp and τt.

    Raises
    ------
    ValueError
        η = 0: then the fixed points form lines, see `learned_line_eigenvalues`.

    Notes
    -----
    Source: R15. The trace is negative for unequal τo and τp too: there is no Hopf bifurcation.

    Examples
    --------
    >>> found = weight_decay_fixed_points(ModeSystem(1.0, 0.5, weight_decay=0.06))
    >>> found.points.predictor[:, 0].round(12)
    array([0. , 0.2, 0.2, 0.3, 0.3])
    """
    eta = np.broadcast_to(system.weight_decay, (system.n_modes,))
    if np.any(eta <= 0):
        raise ValueError(f"`weight_decay` must be > 0 for isolated fixed points, got {np.min(eta)}")
    lambda_s, lambda_d = system.lambda_s, system.lambda_d
    lower, upper, root = quadratic_roots(lambda_s, lambda_d, eta, system.tau_online)
    isolated = lambda_s != 0
    lower, upper = (np.where(isolated, level, np.nan) for level in (lower, upper))
    balance = np.sqrt(product(system.tau_predictor, over=(system.tau_online,)))
    zero = np.zeros_like(eta)
    p = np.stack([zero, lower, lower, upper, upper])
    w1 = np.stack([zero, balance * lower, -balance * lower, balance * upper, -balance * upper])

    at_origin = np.stack([-eta, -eta, -1 / np.broadcast_to(system.tau_target, eta.shape)], axis=-1)
    spectra = [at_origin + 0j]
    for level, sign in ((lower, -1), (upper, 1)):
        beta, gamma = (product(level, x, over=(system.tau_online,)) for x in (lambda_d, sign * root))
        pair = leaf_eigenvalues(beta, gamma, system)
        across = np.where(np.isnan(level), np.nan, -2 * eta)
        spectra += 2 * [np.concatenate([across[:, None], pair], axis=-1)]
    return WeightDecayFixedPoints(
        ("origin", "lower", "lower-mirror", "upper", "upper-mirror"),
        ModeState(w1, p, w1.copy()),
        np.stack(spectra),
    )
