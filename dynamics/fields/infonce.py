"""InfoNCE of a linear encoder and Gaussian views: the mean field of many negatives (R115), and one negative (R114).

Both are gradient flows through all branches, −∇L − ηW, of losses of the two moments S = W Σs Wᵀ and D = W Σd Wᵀ.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dynamics.exact.one_negative import OneNegative, check_temperature, one_negative
from dynamics.fields.contrastive import encoder_sizes, encoder_start
from dynamics.fields.predictors import times
from dynamics.fields.vector_field import VectorField
from dynamics.objectives import Objective, check_taken
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


@dataclass(frozen=True)
class SaturatingLoss:
    """A loss under which modes of a linear encoder saturate: InfoNCE, or the triplet loss.

        infonce   −E log[e^{−r₊/τ}/(e^{−r₊/τ} + Σ e^{−r_k/τ})]  with H negatives
        triplet   τ E log(1 + e^{(r₊ − r₋ + m)/τ})

    Parameters
    ----------
    name
        infonce or triplet, as in `dynamics.objectives.OBJECTIVES`.
    temperature
        τ > 0.
    negatives
        H of infonce, 1 or infinite; the triplet loss has one.
    margin
        m >= 0 of triplet.

    Raises
    ------
    ValueError
        A number is out of range, does not go with the loss, or no closed form of the flow is known for it.

    Notes
    -----
    Source: R114, R115.

    Examples
    --------
    >>> SaturatingLoss("triplet", 2.0, 1, margin=0.5).pull
    1.0
    """

    name: str = "infonce"
    temperature: float = 1.0
    negatives: float = np.inf
    margin: float = 0.0

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        if self.name not in ("infonce", "triplet"):
            raise ValueError(f"`objective` must be infonce or triplet, got {self.name}")
        if self.negatives not in (1, np.inf):
            raise ValueError(f"`negatives` must be 1 or inf for a flow of moments, got {self.negatives:g}")
        if self.name == "triplet" and self.negatives != 1:
            raise ValueError(f"`negatives` must be 1 for triplet, got {self.negatives:g}")
        if not 0 <= self.margin < np.inf:
            raise ValueError(f"`margin` must be finite and >= 0, got {self.margin}")
        if self.margin and self.name != "triplet":
            raise ValueError(f"`margin` must go with triplet, got {self.margin:g} with {self.name}")

    @property
    def pull(self) -> float:
        """Force of a pair on a small encoder, the same as −∂L/∂r₋ where all weight is on it: 1/τ, or 1 of triplet."""
        return 1 / self.temperature if self.name == "infonce" else 1.0

    @property
    def unit(self) -> SaturatingLoss:
        """The loss in units of the temperature, in which that is 1."""
        return replace(self, temperature=1.0, margin=self.margin / self.temperature)


def saturating_field(loss: SaturatingLoss) -> VectorField:
    """Flow of an `EncoderState` under InfoNCE or the triplet loss.

        dW/dt = −∇L − η W

    Parameters
    ----------
    loss
        The loss.

    Returns
    -------
    VectorField
        Of `infonce_mean_field` or `one_negative_field`.

    Notes
    -----
    Source: R114, R115.

    Examples
    --------
    >>> flow = saturating_field(SaturatingLoss())
    >>> flow(0.0, EncoderState(np.array([[1.0]])), MatrixSystem([1.0], [0.625])).online.round(12) + 0.0
    array([[0.]])
    """
    temperature = loss.temperature

    def of_encoder(t: Any, state: EncoderState, system: MatrixSystem) -> EncoderState:
        W = state.online
        if loss.negatives == np.inf:
            return EncoderState(infonce_mean_field(t, W, system, temperature))
        if loss.name == "infonce":
            return EncoderState(one_negative_field(t, W, system, temperature))
        # τ times the gradient of the logistic loss, and once the decay
        slower = MatrixSystem(system.sigma_s, system.sigma_d, weight_decay=system.weight_decay / temperature)
        return EncoderState(temperature * one_negative_field(t, W, slower, temperature, loss.margin))

    def clock(system: MatrixSystem) -> tuple[float, float]:
        sigma = system.sigma_s
        sizes = np.abs(sigma if sigma.ndim == 1 else np.linalg.eigvalsh(sigma))
        sizes = sizes[sizes > sizes.size * np.finfo(float).eps * np.max(sizes)]
        if sizes.size == 0:
            return 1.0, 1.0
        pull = 2 * loss.pull
        fastest = pull * float(np.max(sizes)) + float(system.weight_decay)
        return 1 / fastest, 1 / (pull * float(np.min(sizes)))

    name = f"infonce-{loss.negatives:g}" if loss.name == "infonce" else loss.name
    return VectorField(name, of_encoder, start=encoder_start, sizes=encoder_sizes, clock=clock)


def saturating_loss(
    objective: Objective,
    temperature: float | None = None,
    negatives: float | None = None,
    margin: float | None = None,
) -> SaturatingLoss | None:
    """Return the loss of an objective, with what is not given at its default; None of one that does not saturate.

    Raises
    ------
    ValueError
        A number is out of range, or the objective does not take it.

    Examples
    --------
    >>> from dynamics.objectives import OBJECTIVES
    >>> saturating_loss(OBJECTIVES["triplet"], margin=0.5)
    SaturatingLoss(name='triplet', temperature=1.0, negatives=1, margin=0.5)
    >>> saturating_loss(OBJECTIVES["simple"]) is None
    True
    """
    check_taken(objective, temperature=temperature, negatives=negatives, margin=margin)
    if not objective.encoder_flow or "temperature" not in objective.weights:
        return None
    if negatives is None:
        negatives = np.inf if objective.negatives else 1
    return SaturatingLoss(
        objective.name, 1.0 if temperature is None else temperature, negatives, margin or 0.0
    )
