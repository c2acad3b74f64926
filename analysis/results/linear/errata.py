"""Printed claims beside what is true, in numbers that a picture can show: E1, E3, E5 and E6."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from analysis.fates.fate import Fate
from analysis.fates.predictions import predict_fates
from analysis.stability.pair_spectrum import pair_eigenvalues
from dynamics.data.augmentations import Scramble
from dynamics.data.moments import Moments
from dynamics.exact.ema_recurrence import ema_growth
from dynamics.fields.modes import full_mode_field
from dynamics.integration.integrate import integrate
from dynamics.system import ModeSystem


class ScrambledRatios(NamedTuple):
    """Ratios of M under multiplicative scrambling, descending, shape (n,) each.

    Parameters
    ----------
    printed
        With Σs = Σx, as printed: eigenvalues of Pc Σx Pc Σx⁻¹, some above 1, which no views can have.
    corrected
        With Σs = Pc Σx Pc + tr(Uᵀ Σx U) U Uᵀ: those of Pc, ones and zeros (R16).
    measured
        Of moments estimated from pairs of scrambled views.
    """

    printed: np.ndarray
    corrected: np.ndarray
    measured: np.ndarray


def scrambled_ratios(n: int, k: int, *, n_samples: int, seed: int = 0) -> ScrambledRatios:
    """Compare printed, corrected and measured ratios when k of n directions are scrambled (E1).

    Parameters
    ----------
    n, k
        Dimension of the data, and of the scrambled subspace, 0 < k < n.
    n_samples
        Pairs of views that are drawn, >= 2; ratios are measured to a few times n_samples^−½.
    seed
        Of Σx, U and the views.

    Raises
    ------
    ValueError
        A number is out of range.

    Notes
    -----
    Σx is drawn anew, so it commutes with no projection. Source: R16; DD F.2.

    Examples
    --------
    >>> scrambled_ratios(3, 1, n_samples=100).corrected.round(9)
    array([1., 1., 0.])
    """
    if not 0 < k < n:
        raise ValueError(f"`k` must be > 0 and < n = {n}, got {k}")
    rng = np.random.default_rng(seed)
    factor = rng.standard_normal((n, n)) / np.sqrt(n) + np.eye(n)
    sigma_x = factor @ factor.T
    scramble = Scramble(k, seed)
    X = rng.standard_normal((n_samples, n)) @ factor.T
    views = [scramble.sample(rng, X) for _ in range(2)]
    corrected = Moments.scrambling(sigma_x, scramble.basis(n))
    root = np.linalg.inv(factor)  # of Σx⁻¹
    return ScrambledRatios(
        printed=np.linalg.eigvalsh(root @ corrected.sigma_d @ root.T)[::-1],
        corrected=corrected.ratios,
        measured=Moments.from_views(*views).ratios,
    )


class EmaPaths(NamedTuple):
    """The recurrence of R28 from w = 1, w_ema = 0, shape (T,) each but `rate`.

    Parameters
    ----------
    step
        t = 0, 1, ….
    printed, corrected
        w(t) with 1 − λ, as printed, and with 1 + λ.
    claimed
        The growth (1 + κ)ᵗ that the theorem claims, through the last corrected value.
    rate
        κ.
    """

    step: np.ndarray
    printed: np.ndarray
    corrected: np.ndarray
    claimed: np.ndarray
    rate: float


def ema_paths(learning_rate: float, target_rate: float, gain: float, n_steps: int) -> EmaPaths:
    """Run w(t+1) − w(t) = α[−w(t) + (1 ± λ) w_ema(t)] with both signs (E3).

    Parameters
    ----------
    learning_rate, target_rate, gain
        α and η in (0, 1], λ >= 0.
    n_steps
        Steps to take, >= 1.

    Raises
    ------
    ValueError
        A rate is out of range.

    Notes
    -----
    Source: R28; DD theorem 9.

    Examples
    --------
    >>> paths = ema_paths(0.5, 0.5, 3.0, 20)
    >>> round(float(paths.corrected[20] / paths.corrected[19]) - 1, 6), paths.rate
    (0.5, 0.5)
    """
    if not gain >= 0:
        raise ValueError(f"`gain` must be >= 0, got {gain}")
    if n_steps < 1:
        raise ValueError(f"`n_steps` must be an integer >= 1, got {n_steps}")
    rate = float(ema_growth(learning_rate, target_rate, gain).rate)
    factors = 1 + gain * np.array([-1.0, 1.0])
    w, ema = np.ones((n_steps + 1, 2)), np.zeros(2)
    for t in range(n_steps):
        w[t + 1] = w[t] + learning_rate * (-w[t] + factors * ema)
        ema = (1 - target_rate) * ema + target_rate * w[t]
    step = np.arange(n_steps + 1)
    claimed = w[-1, 1] * (1.0 + rate) ** (step - n_steps)
    return EmaPaths(step, w[:, 0], w[:, 1], claimed, rate)


class OriginFates(NamedTuple):
    """Starts on a circle around the origin of one mode, θ = w1, and their paths.

    Parameters
    ----------
    online, predictor
        w1 and w2 along the flow, shape (T, n): the first row is the circle.
    fates
        What R6 says becomes of each, shape (n,).
    """

    online: np.ndarray
    predictor: np.ndarray
    fates: np.ndarray

    @property
    def share_collapsed(self) -> float:
        """Share of the starts that collapse."""
        return float(np.mean(self.fates == Fate.COLLAPSED))


def origin_fates(system: ModeSystem, radius: float, n_starts: int, *, t_end: float = 200.0) -> OriginFates:
    """Follow starts from a circle in the plane (w1, w2) around the collapsed state (E5).

    Parameters
    ----------
    system
        One mode, η = 0.
    radius
        Of the circle, > 0.
    n_starts
        Starts on it, >= 1, evenly spaced from half a spacing on.
    t_end
        End of the paths, > 0.

    Raises
    ------
    ValueError
        A number is out of range.

    Notes
    -----
    For τo = τp all starts with w2 < −|w1| collapse, a quarter, however small the circle. Source: R6.

    Examples
    --------
    >>> origin_fates(ModeSystem(1.0, 0.5), 0.1, 8).share_collapsed
    0.25
    """
    if system.n_modes != 1:
        raise ValueError(f"`system` must have one mode, got {system.n_modes}")
    if not 0 < radius < np.inf:
        raise ValueError(f"`radius` must be finite and > 0, got {radius}")
    if n_starts < 1:
        raise ValueError(f"`n_starts` must be an integer >= 1, got {n_starts}")
    angle = 2 * np.pi * (np.arange(n_starts) + 0.5) / n_starts
    one = np.ones(n_starts)
    many = ModeSystem(
        system.lambda_s * one,
        system.lambda_d * one,
        tau_online=system.tau_online,
        tau_predictor=system.tau_predictor,
        tau_target=system.tau_target,
    )
    start = many.state(radius * np.cos(angle), radius * np.sin(angle), radius * np.cos(angle))
    ts = np.concatenate([[0.0], np.geomspace(t_end / 1e4, t_end, 300)])
    run = integrate(start, many, full_mode_field, ts=ts)
    return OriginFates(run.states.online, run.states.predictor, predict_fates(start, many).fate)


class AmplitudeStability(NamedTuple):
    """A fixed point on the top modes, over the amplitude of the row that holds the first one.

    Parameters
    ----------
    amplitudes, leading
        w_0 and the larger real part of the pair (row 1, mode 0), shape (A,) each.
    border, balanced
        w_0 below which the point is unstable, √(τp r_1 (r_0 − r_1)/τo), and w_0 of the balanced point.
    """

    amplitudes: np.ndarray
    leading: np.ndarray
    border: float
    balanced: float


def amplitude_stability(system: ModeSystem, n_amplitudes: int = 201) -> AmplitudeStability:
    """Stability of two rows on the two top modes, over the amplitude of the first (E6).

    Parameters
    ----------
    system
        Two modes, r_0 > r_1 > 0, η = 0, one τo, τp, τt for both.
    n_amplitudes
        Amplitudes from 0 to 1.2 times the balanced one, >= 2.

    Raises
    ------
    ValueError
        The system is not as above.

    Notes
    -----
    The other pairs are stable at every amplitude > 0. Source: R10.

    Examples
    --------
    >>> found = amplitude_stability(ModeSystem([1.0, 1.0], [0.9, 0.45]))
    >>> round(found.border, 6), round(found.balanced, 6)
    (0.45, 0.9)
    """
    if system.n_modes != 2 or not system.ratio[0] > system.ratio[1] > 0:
        raise ValueError(
            f"`system` must have two modes with r_0 > r_1 > 0, got ratios {system.ratio.tolist()}"
        )
    if n_amplitudes < 2:
        raise ValueError(f"`n_amplitudes` must be an integer >= 2, got {n_amplitudes}")
    first, second = system.ratio
    balance = np.sqrt(system.tau_predictor / system.tau_online)
    amplitudes = np.linspace(0.0, 1.2 * balance * first, n_amplitudes)
    return AmplitudeStability(
        amplitudes,
        pair_eigenvalues(second, amplitudes[:, None], system)[:, 0, 0].real,
        float(balance * np.sqrt(second * (first - second))),
        float(balance * first),
    )
