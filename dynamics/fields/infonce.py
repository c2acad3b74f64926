"""InfoNCE of a linear encoder and Gaussian views: the mean field of many negatives (R115), and one negative (R114).

Both are gradient flows through all branches, −∇L − ηW, of losses of the two moments S = W Σs Wᵀ and D = W Σd Wᵀ.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dynamics.exact.one_negative import OneNegative, check_temperature, one_negative
from dynamics.fields.contrastive import encoder_sizes, encoder_start
from dynamics.fields.predictors import times
from dynamics.fields.vector_field import VectorField
from dynamics.states import EncoderState
from dynamics.system import MatrixSystem


def output_moments(W: Any, system: MatrixSystem) -> tuple[Any, Any]:
    """Second moments of the outputs, S = W Σs Wᵀ of one view and D = W Σd Wᵀ of two.

    >>> system = MatrixSystem(np.ones(2), np.array([0.9, 0.5]))
    >>> output_moments(np.array([[2.0, 0.0]]), system)
    (array([[4.]]), array([[3.6]]))
    """
    return times(W, system.sigma_s) @ W.T, times(W, system.sigma_d) @ W.T


def saturation_share(S: Any) -> Any:
    """Matrix κ(S) = I − ½(U + U²), U = (I + S)^{−1}, of outputs in units of the temperature.

    In an eigendirection with y it is y(3 + 2y)/(2(1 + y)²), without cancellation: from (3/2) y it rises to 1.

    Parameters
    ----------
    S
        S/τ, shape (..., n2, n2), symmetric positive semidefinite, entries up to 1e300; (..., 1, 1) for one row.

    Returns
    -------
    array
        κ, of the shape of S.

    Notes
    -----
    Source: R115; R112 for one row.

    Examples
    --------
    >>> saturation_share(np.array([[1.0]]))
    array([[0.625]])
    """
    xp = S.__array_namespace__()
    eye = xp.eye(S.shape[-1])
    U = xp.linalg.inv(eye + S)
    return (S @ U) @ ((3 * eye + 2 * S) @ U) / 2


def infonce_mean_field(t: Any, W: Any, system: MatrixSystem, temperature: float) -> Any:
    """Gradient flow of InfoNCE with many negatives.

        dW/dt = (2/τ)[W Σd − κ(S) W Σs] − η W,  κ(S) = I − ½(U + U²),  U = (I + S/τ)^{−1}.

    Near W = 0 it is (2/τ) W Σd, the flow of the simple loss; κ = D S^{−1} at rest.

    Parameters
    ----------
    t
        Not used: the flow is autonomous.
    W
        Encoder, shape (n2, n1), of any array library.
    system
        Σs, Σd and η; its time constants are not used.
    temperature
        τ > 0.

    Returns
    -------
    array
        dW/dt, shape (n2, n1).

    Notes
    -----
    Source: R115.

    Examples
    --------
    >>> system = MatrixSystem(np.array([[1.0]]), np.array([[0.625]]))
    >>> abs(float(infonce_mean_field(0.0, np.array([[1.0]]), system, 1.0)[0, 0])) < 1e-15
    True
    """
    S, _ = output_moments(W, system)
    pull = times(W, system.sigma_d) - saturation_share(S / temperature) @ times(W, system.sigma_s)
    return 2 / temperature * pull - system.weight_decay * W


def infonce_mean_loss(W: Any, system: MatrixSystem, temperature: float) -> Any:
    """InfoNCE with many negatives, less log H, and weight decay.

        L∞ = tr(S − D)/τ − ½ log det(I + S/τ) − ½ tr[S (τI + S)^{−1}] + ½ η ‖W‖²

    Parameters
    ----------
    W, system, temperature
        As for `infonce_mean_field`, which is minus its gradient.

    Returns
    -------
    float or array
        A scalar.

    Notes
    -----
    Source: R115.

    Examples
    --------
    >>> system = MatrixSystem(np.array([[1.0]]), np.array([[0.5]]))
    >>> y = 0.6180339887498949
    >>> round(float(infonce_mean_loss(np.array([[y**0.5]]), system, 1.0)), 6)
    -0.122572
    """
    S, D = (part / temperature for part in output_moments(W, system))
    xp = S.__array_namespace__()
    eye = xp.eye(S.shape[0])
    _, log_det = xp.linalg.slogdet(eye + S)
    bent = xp.linalg.trace(S @ xp.linalg.inv(eye + S))
    decay = system.weight_decay / 2 * xp.sum(W * W)
    return xp.linalg.trace(S - D) - log_det / 2 - bent / 2 + decay


def one_negative_field(
    t: Any, W: np.ndarray, system: MatrixSystem, temperature: float, margin: float = 0.0
) -> np.ndarray:
    """Gradient flow of InfoNCE with one negative, or of the triplet loss over τ with margin m.

        dW/dt = −2(∂L/∂S W Σs + ∂L/∂D W Σd) − η W,  L = E log(1 + e^{(r₊ − r₋ + m)/τ})

    Parameters
    ----------
    t
        Not used: the flow is autonomous.
    W
        Encoder, shape (n2, n1).
    system
        Σs, Σd and η; its time constants are not used.
    temperature, margin
        τ > 0 and m >= 0.

    Returns
    -------
    array
        dW/dt, shape (n2, n1), to some 1e-13 of its terms.

    Raises
    ------
    ValueError
        As `dynamics.exact.one_negative.one_negative` does.

    Notes
    -----
    Source: R114.

    Examples
    --------
    >>> system = MatrixSystem(np.array([[1.0]]), np.array([[0.5]]))
    >>> abs(float(one_negative_field(0.0, np.array([[(4 / 7) ** 0.5]]), system, 1.0)[0, 0])) < 1e-14
    True
    """
    found = one_negative_of(W, system, temperature, margin)
    pull = found.by_sigma_s @ times(W, system.sigma_s) + found.by_sigma_d @ times(W, system.sigma_d)
    moved: np.ndarray = -2 * pull - system.weight_decay * W
    return moved


def one_negative_of(
    W: np.ndarray, system: MatrixSystem, temperature: float, margin: float = 0.0
) -> OneNegative:
    """Loss of one negative for an encoder, without weight decay, and its derivatives by S and D (R114).

    >>> system = MatrixSystem(np.array([[1.0]]), np.array([[0.5]]))
    >>> round(one_negative_of(np.array([[0.0]]), system, 1.0).loss, 6)  # log 2
    0.693147
    """
    check_temperature(temperature)
    return one_negative(*output_moments(W, system), temperature, margin)


def infonce_field(temperature: float, negatives: float = np.inf) -> VectorField:
    """Flow of InfoNCE with one negative or infinitely many, of an `EncoderState`.

        dW/dt = −∇L_H − η W

    Parameters
    ----------
    temperature
        τ > 0.
    negatives
        H, 1 or infinite.

    Returns
    -------
    VectorField
        `one_negative_field` or `infonce_mean_field`.

    Raises
    ------
    ValueError
        The temperature is not positive, or no closed form of the flow is known for that number of negatives.

    Notes
    -----
    Source: R114, R115.

    Examples
    --------
    >>> infonce_field(1.0)(0.0, EncoderState(np.array([[1.0]])), MatrixSystem([1.0], [0.625])).online.round(12) + 0.0
    array([[0.]])
    """
    check_temperature(temperature)
    flows = {np.inf: infonce_mean_field, 1: one_negative_field}
    if negatives not in flows:
        raise ValueError(f"`negatives` must be 1 or inf for a flow of moments, got {negatives}")
    of_moments = flows[negatives]

    def infonce(t: Any, state: EncoderState, system: MatrixSystem) -> EncoderState:
        return EncoderState(of_moments(t, state.online, system, temperature))

    def clock(system: MatrixSystem) -> tuple[float, float]:
        sigma = system.sigma_s
        sizes = np.abs(sigma if sigma.ndim == 1 else np.linalg.eigvalsh(sigma))
        sizes = sizes[sizes > sizes.size * np.finfo(float).eps * np.max(sizes)]
        if sizes.size == 0:
            return 1.0, 1.0
        pull = 2 / temperature
        fastest = pull * float(np.max(sizes)) + float(system.weight_decay)
        return 1 / fastest, 1 / (pull * float(np.min(sizes)))

    return VectorField(
        f"infonce-{negatives:g}", infonce, start=encoder_start, sizes=encoder_sizes, clock=clock
    )
