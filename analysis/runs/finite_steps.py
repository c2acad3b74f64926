"""What finite steps and small batches do to directions of a last layer: critical steps, wear and absorbing zeros.

Steps are gradient steps on the loss of the setting, k/2 E‖P W x1 − Θ x2‖²: a learning rate ε is a step εk in theory.
Features are divided by a unit before their moments are taken, which divides λ by its square.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from analysis.runs.run_settings import RunSettings
from dynamics.data.moments import Moments
from dynamics.exact.balancing import balancing_rate
from dynamics.system import ModeSystem

APART = 0.1
"""A target that differs from the online layer by this share of it does not follow, if the online layer rests."""
RESTS = 0.05
"""An online layer rests if its gradient is below this share of its terms; of moments from N samples it errs by 1/√N."""


class Rows(NamedTuple):
    """Rows of an encoder as they are, or as they would be at rest in the mode that each could learn.

    Parameters
    ----------
    predictor
        p, real, shape (n,).
    amplitude
        ‖w‖, shape (n,).
    lambda_s, ratio
        Of the mode that the row holds or could hold, shape (n,).
    """

    predictor: np.ndarray
    amplitude: np.ndarray
    lambda_s: np.ndarray
    ratio: np.ndarray

    def system(self, tau_predictor: float) -> ModeSystem:
        """Modes of the rows."""
        return ModeSystem(self.lambda_s, self.ratio * self.lambda_s, tau_predictor=tau_predictor)


def theory_step(settings: RunSettings, unit: float) -> float:
    """Return ε of the theory, the learning rate times k times the square of the unit of the inputs; NaN if not known.

    >>> theory_step(RunSettings(learning_rate=0.5, loss_factor=2.0), 3.0)
    9.0
    """
    if settings.learning_rate is None:
        return np.nan
    # factor by factor: the square of a unit may be beyond floats where the step is not
    step = settings.learning_rate * settings.loss_factor * unit * unit
    return step if 0 < step < np.inf else np.nan


def critical_rates(
    rows: Rows, online: np.ndarray, mean: np.ndarray, moments: Moments, settings: RunSettings, unit: float
) -> np.ndarray:
    """Learning rate above which each row cannot stay where theory has it rest.

    The least critical step over the modes of the inputs, beside the one that the row holds. Inputs count with their
    mean, which a gradient step sees too.

    Parameters
    ----------
    rows
        Of the encoder, or of what it could become.
    online
        W in the coordinates of the inputs, shape (n2, d).
    mean
        Of the inputs, shape (d,).
    moments
        Of the inputs less their mean.
    settings
        How the network was trained; where γ is not known, the target is taken to be slow, which is the safe side.
    unit
        What the inputs were divided by.

    Returns
    -------
    array (n,)
        In the units of the setting; infinite where every step is stable.

    Notes
    -----
    Exact for decoupled rows; a bias adds its input, 1, to the mean and is not counted. Source: R303.

    Examples
    --------
    >>> rows = Rows(*(np.array([value]) for value in (0.5, 0.5, 1.0, 0.5)))
    >>> moments = Moments.from_eigenvalues([1.0], [0.5])
    >>> settings = RunSettings(decay=0.8)
    >>> critical_rates(rows, np.array([[0.5]]), np.zeros(1), moments, settings, 1.0).round(7)
    array([4.2352941])
    """
    from analysis.steps.critical_steps import pair_critical_steps

    sigma_s, sigma_d = (
        sigma if moments.support is None else moments.support @ sigma @ moments.support.T
        for sigma in (moments.sigma_s, moments.sigma_d)
    )
    lambda_s, V = np.linalg.eigh(sigma_s + np.outer(mean, mean))
    seen = lambda_s > len(lambda_s) * np.finfo(float).eps * lambda_s[-1]
    lambda_s, V = lambda_s[seen], V[:, seen]
    lambda_d = np.einsum("ij,ik,kj->j", V, sigma_d + np.outer(mean, mean), V)
    held = np.linalg.norm(online @ V, axis=0)
    tau = settings.tau_predictor
    h = 0.0 if settings.decay is None else 1 - settings.decay
    inputs = ModeSystem(lambda_s, lambda_d, tau_predictor=tau)
    beside = pair_critical_steps(rows.predictor[:, None], held, inputs, h).flip
    own = pair_critical_steps(rows.predictor, rows.amplitude, rows.system(tau), h).flip
    least: np.ndarray = np.minimum(own, np.min(beside, axis=1)) / settings.loss_factor / unit / unit
    return least


def wear_steps(rows: Rows, settings: RunSettings, unit: float) -> np.ndarray:
    """Steps in which the noise of batches wears the amplitude of a learned row down to √(τp/τo) r.

        T = 1/(ε K q) = B τo²/(ε² (λs² − λd²) r²),   q = τp r²

    Parameters
    ----------
    rows, settings, unit
        As for `critical_rates`; Gaussian inputs.

    Returns
    -------
    array (n,)
        NaN without learning rate and batch; infinite for r = 0 and r = 1, where nothing is worn.

    Notes
    -----
    The time in which what is above the balanced amplitude falls by a factor e in the end. Source: R307.

    Examples
    --------
    >>> rows = Rows(*(np.array([value]) for value in (0.5, 0.5, 1.0, 0.5)))
    >>> wear_steps(rows, RunSettings(learning_rate=0.05, batch=2), 1.0).round(4)
    array([4266.6667])
    """
    step = theory_step(settings, unit)
    if np.isnan(step) or settings.batch is None:
        return np.full(len(rows.ratio), np.nan)
    system = rows.system(settings.tau_predictor)
    rate = step * balancing_rate(system, step, settings.batch) * settings.tau_predictor * rows.ratio**2
    steps: np.ndarray = np.divide(1.0, rate, out=np.full(rate.shape, np.inf), where=rate > 0)
    return steps


def noise_boundary(rows: Rows, settings: RunSettings, unit: float) -> np.ndarray:
    """Eigenvalue of the predictor above which the typical small row dies on batches, r − ε r (λs² − λd²)/(2B τo λs).

    Parameters
    ----------
    rows, settings, unit
        As for `wear_steps`.

    Returns
    -------
    array (n,)
        r without learning rate and batch.

    Notes
    -----
    Source: R309.

    Examples
    --------
    >>> rows = Rows(*(np.array([value]) for value in (0.5, 0.0, 1.0, 0.5)))
    >>> noise_boundary(rows, RunSettings(learning_rate=0.1, batch=2), 1.0)
    array([0.490625])
    """
    from analysis.steps.noisy_collapse import collapse_predictors

    step = theory_step(settings, unit)
    if np.isnan(step) or settings.batch is None:
        return rows.ratio
    return collapse_predictors(rows.system(settings.tau_predictor), step, settings.batch).almost_surely


def target_stands_apart(
    online: np.ndarray, predictor: np.ndarray, target: np.ndarray, moments: Moments
) -> bool:
    """Whether the online layer rests while the target differs from it, as a target that hardly moves lets it.

    At rest Θ = W (R4); with a fixed target P W Σs = Θ Σd for the Θ there is (R13).

    Examples
    --------
    >>> moments = Moments.from_eigenvalues([1.0], [0.5])
    >>> [target_stands_apart(*([[np.array(v)]] for v in w), moments) for w in ((1.0, 1.0, 2.0), (1.0, 0.5, 1.0))]
    [True, False]
    """
    W, P, Th = (np.asarray(part, float) for part in (online, predictor, target))
    if moments.support is not None:
        W, Th = W @ moments.support, Th @ moments.support
    aim, now = Th @ moments.sigma_d, P @ W @ moments.sigma_s
    gradient = np.linalg.norm(P.T @ (aim - now))
    terms = np.linalg.norm(P.T @ aim) + np.linalg.norm(P.T @ now)
    return bool(
        gradient <= RESTS * terms
        and np.linalg.norm(Th - W) >= APART * max(np.linalg.norm(W), np.linalg.norm(Th))
    )
