"""What experiments share: settings by the flow's own clock, ends of the flow, and fits with their errors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from dynamics.modes import JointEigenbasis, joint_eigenbasis
from dynamics.states import MatrixState, pack, unpack
from dynamics.system import MatrixSystem
from dynamics.training import DataSettings, EncoderSettings, Flow, TrainingSettings, load_data


def clocked(
    settings: TrainingSettings,
    dt: float,
    n_steps: int,
    *,
    tau_target: float | None = None,
    weight_decay: Any = 0.0,
) -> TrainingSettings:
    """Settings by the clock of the flow: ε = dt/factor, γ = 1 − dt/τt, decay η·factor, K steps.

    Parameters
    ----------
    settings
        A linear run under SGD; its learning rate, target decay, weight decay and steps are replaced.
    dt
        Time of the flow that one step takes, > 0.
    n_steps
        K >= 1.
    tau_target
        τt >= dt, for the target ``ema``; None leaves the target as it is.
    weight_decay
        η >= 0 of encoder and predictor, a rate of the flow; one number or one a run.

    Examples
    --------
    >>> clocked(TrainingSettings(), 0.1, 10, tau_target=1.0).optimizer.learning_rate
    0.025
    """
    factor = settings.objective.step_factor
    eta = np.asarray(weight_decay) * factor
    decay = float(eta) if eta.ndim == 0 else tuple(eta.tolist())
    optimizer = replace(settings.optimizer, learning_rate=dt / factor, weight_decay=decay)
    if np.any(eta):
        rate = settings.optimizer.predictor_rate
        optimizer = replace(optimizer, predictor_weight_decay=tuple(np.atleast_1d(eta / np.asarray(rate))))
    target = settings.target if tau_target is None else replace(settings.target, decay=1 - dt / tau_target)
    return replace(settings, optimizer=optimizer, target=target, steps=n_steps, metrics_every=n_steps)


def flow_end(state: MatrixState, flow: Flow, t_end: float) -> MatrixState:
    """End of the flow at a time, by DOP853 to an accuracy far below that of any run."""
    from scipy.integrate import solve_ivp

    def rate(t: float, y: np.ndarray) -> np.ndarray:
        return pack(flow.vector_field(t, unpack(y, state), flow.system))

    path = solve_ivp(rate, (0.0, t_end), pack(state), method="DOP853", rtol=1e-8, atol=1e-10, t_eval=[t_end])
    return unpack(path.y[:, -1], state)


def flat(state: MatrixState) -> np.ndarray:
    """All weights of each run, shape (n_runs, n)."""
    return np.concatenate([np.asarray(part).reshape(len(part), -1) for part in state], axis=1)


class Estimate(NamedTuple):
    """A number and its standard error, or arrays of both."""

    value: Any
    error: Any


def mean_of(samples: np.ndarray) -> Estimate:
    """Mean over the first axis and its standard error, which is 0 for a single sample.

    >>> mean_of(np.array([1.0, 3.0]))
    Estimate(value=np.float64(2.0), error=np.float64(1.0))
    """
    n = len(samples)
    spread = np.std(samples, axis=0, ddof=1) if n > 1 else np.zeros(np.shape(samples)[1:])
    return Estimate(np.mean(samples, axis=0), spread / np.sqrt(n))


def student(n: int, confidence: float = 0.999) -> float:
    """Standard errors of a mean of n samples within which its expectation lies with some confidence; 0 for n = 1.

    Nothing is random in a single run on exact moments.

    >>> round(student(8), 1)
    5.4
    """
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, (1 + confidence) / 2)) if n > 1 else 0.0


def length_of_mean(vectors: np.ndarray) -> Estimate:
    """Length of the mean of random vectors (n_runs, n), and its standard error.

    What chance adds to the squared length, the trace of the covariance of the mean, is taken off.

    >>> length_of_mean(np.array([[3.0, 4.0]])).value
    np.float64(5.0)
    """
    mean, error = mean_of(vectors)
    length = np.linalg.norm(mean)
    along = mean_of(vectors @ (mean / length if length else mean))
    return Estimate(np.sqrt(max(length**2 - np.sum(error**2), 0.0)), along.error)


def log_slope(x: np.ndarray, y: Estimate) -> Estimate:
    """Slope of ln y over ln x by least squares, weighted by the standard errors of y where it has any.

    >>> log_slope(np.array([1.0, 2.0]), Estimate(np.array([3.0, 6.0]), np.zeros(2))).value.round(12)
    np.float64(1.0)
    """
    if np.any(~(y.value > 0)):
        return Estimate(np.nan, np.nan)
    noisy = bool(np.any(y.error))
    weight = (y.value / y.error) ** 2 if noisy else np.ones(len(x))
    u, v = np.log(x), np.log(y.value)
    centred = u - np.average(u, weights=weight)
    curvature = np.sum(weight * centred**2)
    return Estimate(np.sum(weight * centred * v) / curvature, 1 / np.sqrt(curvature) if noisy else 0.0)


def noisy_digits(*augmentations: str, features: int) -> TrainingSettings:
    """A linear network on all digits, with these augmentations and noise of deviation 0.3."""
    augmentations = (*augmentations, "noise:0.3")
    return TrainingSettings(
        data=DataSettings(source="digits", augmentations=augmentations, held_out=0.0),
        encoder=EncoderSettings(features=features),
    )


def noisy_digit_modes(n: int) -> JointEigenbasis:
    """The n modes of digits under noise with the largest ratios; noise leaves Σs and Σd with common eigenvectors."""
    moments = load_data(noisy_digits(features=n).data, n_evaluation=2).moments()
    basis = joint_eigenbasis(MatrixSystem(moments.sigma_s, moments.sigma_d))
    return JointEigenbasis(basis.directions[:, :n], basis.lambda_s[:n], basis.lambda_d[:n])
