"""Vector fields of a linear encoder under losses of its output moments: Barlow Twins, VICReg, spectral, whitened.

All are written in S = W Σs Wᵀ of one view and D = W Σd Wᵀ of two, without a predictor, a target or negatives. Papers
print these losses with different factors; those here are stated with each loss, and the flow is −∇L − η W.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dynamics.fields.contrastive import encoder_sizes, encoder_start
from dynamics.fields.infonce import output_moments
from dynamics.fields.predictors import times
from dynamics.fields.vector_field import VectorField
from dynamics.objectives import Objective, check_taken
from dynamics.states import EncoderState
from dynamics.system import MatrixSystem

SLIDE = 20.0
"""Rate at which a row of VICReg closes in on std = 1, over the fastest rate of its flow."""
_RESOLVED = 1e-10  # smallest over largest eigenvalue of Σs, or of W Σs Wᵀ, that can be whitened


def _check_weight(name: str, value: float) -> None:
    if not 0 <= value < np.inf:
        raise ValueError(f"`{name}` must be finite and >= 0, got {value}")


def _diagonal(K: Any) -> Any:
    return K.__array_namespace__().linalg.diagonal(K)


def _off_diagonal(K: Any) -> Any:
    return K * (1 - K.__array_namespace__().eye(len(K)))


@dataclass(frozen=True)
class BarlowTwins:
    """Barlow Twins: diagonal correlations of two views are drawn to 1, the others to 0.

        L = Σ_i (C_ii − 1)² + λ Σ_{i≠j} C_ij²,  C = W Σd Wᵀ, or D_ij/√(S_ii S_jj) when normalised

    Parameters
    ----------
    off_diagonal
        λ >= 0, the weight of the off-diagonal terms.
    normalised
        Whether outputs are divided by their standard deviations, as the paper's code does.

    Raises
    ------
    ValueError
        The weight is out of range.

    Notes
    -----
    Source: R325, R326.

    Examples
    --------
    >>> system = MatrixSystem([1.0, 1.0], [0.9, 0.5])
    >>> round(float(BarlowTwins(1.0).value(np.array([[1.0, 0.0]]), system)), 12)
    0.01
    """

    off_diagonal: float = 0.005
    normalised: bool = False
    name: ClassVar[str] = "barlow-twins"

    def __post_init__(self) -> None:
        _check_weight("off_diagonal", self.off_diagonal)

    @property
    def source(self) -> str:
        """Result that predictions rest on."""
        return "R326" if self.normalised else "R325"

    @property
    def scale_free(self) -> bool:
        """Whether the size of W does not enter the loss, so that weight decay has nothing to balance it."""
        return self.normalised

    def _correlations(self, W: Any, system: MatrixSystem) -> tuple[Any, Any]:
        """C, and the factors 1/√S_ii that normalise it, or ones."""
        S, D = output_moments(W, system)
        inverse = 1 / _diagonal(S) ** 0.5 if self.normalised else _diagonal(S) * 0 + 1
        return inverse[:, None] * D * inverse, inverse

    def value(self, W: Any, system: MatrixSystem) -> Any:
        """L of an encoder, of any array library."""
        C, _ = self._correlations(W, system)
        xp = C.__array_namespace__()
        return xp.sum((_diagonal(C) - 1) ** 2) + self.off_diagonal * xp.sum(_off_diagonal(C) ** 2)

    def descent(self, W: Any, system: MatrixSystem) -> Any:
        """−∇L = −4 G W Σd with G = diag C − I + λ offdiag C; normalised, −4 [N G N W Σd − diag(G C) N² W Σs]."""
        C, inverse = self._correlations(W, system)
        xp = C.__array_namespace__()
        G = xp.eye(len(C)) * (C - 1) + self.off_diagonal * _off_diagonal(C)
        moved = -4 * (inverse[:, None] * G * inverse) @ times(W, system.sigma_d)
        if self.normalised:
            along = _diagonal(G @ C) * inverse**2
            moved = moved + 4 * along[:, None] * times(W, system.sigma_s)
        return moved

    def rate(self, system: MatrixSystem) -> float:
        """Fastest rate of a small encoder, or of the normalised one at unit size."""
        return 4 * _largest(system.sigma_s if self.normalised else system.sigma_d)


@dataclass(frozen=True)
class Vicreg:
    """VICReg: two views are drawn together, standard deviations up to 1, covariances to 0.

        L = 2λ_i tr W(Σs − Σd)Wᵀ + μ Σ_i (1 − √S_ii)₊ + ν Σ_{i≠j} S_ij²

    The first term is λ_i E‖z1 − z2‖². A row that reaches std = 1 stays there if the hinge is strong enough: the flow
    slides with the pull, from 0 to μ, that holds it, and closes in on std = 1 from below at `SLIDE` times its fastest
    rate; only in that layer does the pull differ from that of the hinge.

    Parameters
    ----------
    invariance, variance, covariance
        λ_i, μ and ν >= 0.

    Raises
    ------
    ValueError
        A weight is out of range.

    Notes
    -----
    Source: R327.

    Examples
    --------
    >>> loss = Vicreg(invariance=1.0, variance=0.9, covariance=1.0)
    >>> system = MatrixSystem([1.7], [1.02])
    >>> rest = 0.5625 / 1.7**0.5
    >>> abs(float(loss.descent(np.array([[rest]]), system)[0, 0])) < 1e-15
    True
    """

    invariance: float = 25.0
    variance: float = 25.0
    covariance: float = 1.0
    name: ClassVar[str] = "vicreg"
    source: ClassVar[str] = "R327"
    scale_free: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name in ("invariance", "variance", "covariance"):
            _check_weight(name, getattr(self, name))

    def value(self, W: Any, system: MatrixSystem) -> Any:
        """L of an encoder, of any array library."""
        S, D = output_moments(W, system)
        xp = S.__array_namespace__()
        short = xp.maximum(1 - _diagonal(S) ** 0.5, 0 * _diagonal(S))
        drawn = 2 * self.invariance * xp.linalg.trace(S - D)
        return drawn + self.variance * xp.sum(short) + self.covariance * xp.sum(_off_diagonal(S) ** 2)

    def drift(self, W: Any, system: MatrixSystem) -> Any:
        """−∇L without the hinge, −4λ_i W(Σs − Σd) − 4ν offdiag(S) W Σs."""
        S, _ = output_moments(W, system)
        drawn = self.invariance * times(W, system.sigma_s - system.sigma_d)
        return -4 * (drawn + self.covariance * _off_diagonal(S) @ times(W, system.sigma_s))

    def descent(self, W: np.ndarray, system: MatrixSystem) -> np.ndarray:
        """−∇L where no row is at std = 1, and there the sliding flow."""
        return self._slid(W, system, self.drift(W, system))

    def _slid(self, W: np.ndarray, system: MatrixSystem, drift: np.ndarray) -> np.ndarray:
        """Add the pull m_i w_i Σs/std_i, 0 <= m_i <= μ, to a drift."""
        raised = times(W, system.sigma_s)
        std = np.sqrt(np.sum(W * raised, axis=1))
        pull = raised / std[:, None]  # gradient of std
        slide = SLIDE * self.rate(system) * (1 - std) - np.sum(pull * drift, axis=1)
        held = np.clip(slide / np.sum(pull * pull, axis=1), 0.0, self.variance)
        return drift + held[:, None] * pull

    def rate(self, system: MatrixSystem) -> float:
        """Fastest rate of rows with std up to 1."""
        return (4 * (self.invariance + self.covariance) + self.variance) * _largest(system.sigma_s)


@dataclass(frozen=True)
class SpectralContrastive:
    """The spectral contrastive loss of a population of centred outputs.

        L = −2 tr W Σd Wᵀ + ‖W Σs Wᵀ‖²

    Notes
    -----
    E (z1ᵀz2⁻)² over independent samples is ‖S‖². Source: R328.

    Examples
    --------
    >>> system = MatrixSystem([1.4], [0.9])
    >>> rest = (0.9 / 1.4**2) ** 0.5  # w Σs w = r
    >>> abs(float(SpectralContrastive().descent(np.array([[rest]]), system)[0, 0])) < 1e-15
    True
    """

    name: ClassVar[str] = "spectral"
    source: ClassVar[str] = "R328"
    scale_free: ClassVar[bool] = False

    def value(self, W: Any, system: MatrixSystem) -> Any:
        """L of an encoder, of any array library."""
        S, D = output_moments(W, system)
        xp = S.__array_namespace__()
        return xp.sum(S * S) - 2 * xp.linalg.trace(D)

    def descent(self, W: Any, system: MatrixSystem) -> Any:
        """−∇L = 4 (W Σd − S W Σs)."""
        S, _ = output_moments(W, system)
        return 4 * (times(W, system.sigma_d) - S @ times(W, system.sigma_s))

    def rate(self, system: MatrixSystem) -> float:
        """Fastest rate of a small encoder."""
        return 4 * _largest(system.sigma_d)


@dataclass(frozen=True)
class Whitened:
    """Alignment of whitened outputs (W-MSE): steepest descent of −½ tr V M Vᵀ along V Vᵀ = I.

        V = W Σs^{½},  M = Σs^{−½} Σd Σs^{−½},  dV/dt = V M − V M Vᵀ V

    Notes
    -----
    The start is whitened, W ← (W Σs Wᵀ)^{−½} W, and Σs has to be invertible. Source: R329.

    Examples
    --------
    >>> system = MatrixSystem([4.0, 1.0], [2.0, 0.9])
    >>> Whitened().descent(np.array([[0.5, 0.0]]), system)
    array([[0., 0.]])
    """

    name: ClassVar[str] = "whitened"
    source: ClassVar[str] = "R329"
    scale_free: ClassVar[bool] = True

    def value(self, W: Any, system: MatrixSystem) -> Any:
        """−½ tr D of an encoder with S = I."""
        _, D = output_moments(W, system)
        return -D.__array_namespace__().linalg.trace(D) / 2

    def descent(self, W: np.ndarray, system: MatrixSystem) -> np.ndarray:
        """W Σd Σs^{−1} − D W."""
        _, D = output_moments(W, system)
        moved = times(W, system.sigma_d)
        sigma = system.sigma_s
        pulled = moved / sigma if sigma.ndim == 1 else np.linalg.solve(sigma, moved.T).T
        return pulled - D @ W

    def rate(self, system: MatrixSystem) -> float:
        """Fastest rate, for r <= 1."""
        return 1.0


RedundancyLoss = BarlowTwins | Vicreg | SpectralContrastive | Whitened
"""A loss of this module."""


def _largest(sigma: np.ndarray) -> float:
    return float(np.max(np.abs(sigma if sigma.ndim == 1 else np.linalg.eigvalsh(sigma))))


def whitened_encoder(W: np.ndarray, system: MatrixSystem) -> np.ndarray:
    """Nearest encoder with white outputs, (W Σs Wᵀ)^{−½} W.

    Raises
    ------
    ValueError
        W Σs Wᵀ is singular to rounding.

    Examples
    --------
    >>> whitened_encoder(np.array([[3.0, 0.0]]), MatrixSystem([4.0, 1.0], [2.0, 0.9]))
    array([[0.5, 0. ]])
    """
    size = float(np.max(np.abs(W))) or 1.0
    S, _ = output_moments(W / size, system)
    values, vectors = np.linalg.eigh((S + S.T) / 2)
    if not values[0] > _RESOLVED * values[-1]:
        raise ValueError(
            f"`online` must have rows that stay independent in W Σs Wᵀ to be whitened, got eigenvalues from"
            f" {values[0]:.3g} to {values[-1]:.3g}"
        )
    return np.asarray((vectors / np.sqrt(values)) @ vectors.T @ (W / size))


def _check_system(loss: RedundancyLoss, system: MatrixSystem) -> None:
    if loss.scale_free and system.weight_decay:
        kind = "whitened" if isinstance(loss, Whitened) else "normalised barlow-twins"
        raise ValueError(
            f"`weight_decay` must be 0 for {kind}, in which the size of W has no effect, got {system.weight_decay:g}"
        )
    if isinstance(loss, Whitened):
        sigma = system.sigma_s
        values = np.sort(sigma) if sigma.ndim == 1 else np.linalg.eigvalsh(sigma)
        if not values[0] > _RESOLVED * values[-1]:
            raise ValueError(
                f"`sigma_s` must be positive definite for whitened outputs, got eigenvalues from {values[0]:.3g} to"
                f" {values[-1]:.3g}"
            )


def redundancy_field(loss: RedundancyLoss) -> VectorField:
    """Flow of an `EncoderState` under a loss of output moments.

        dW/dt = −∇L − η W

    Parameters
    ----------
    loss
        Barlow Twins, VICReg, the spectral contrastive loss, or whitened alignment.

    Returns
    -------
    VectorField
        It refuses weight decay where the size of W has no effect, starts with a row of zero output where the loss
        divides by it, and, of whitened outputs, singular moments.

    Notes
    -----
    Source: R325–R329.

    Examples
    --------
    >>> flow = redundancy_field(BarlowTwins(off_diagonal=1.0))
    >>> flow(0.0, EncoderState(np.array([[1.0]])), MatrixSystem([1.0], [0.5])).online
    array([[1.]])
    """

    def derivative(t: Any, state: EncoderState, system: MatrixSystem) -> EncoderState:
        W = state.online
        if isinstance(loss, Vicreg):  # what holds a row at std = 1 balances weight decay, too
            return EncoderState(loss._slid(W, system, loss.drift(W, system) - system.weight_decay * W))
        return EncoderState(loss.descent(W, system) - system.weight_decay * W)

    def start(parts: Any, system: MatrixSystem) -> EncoderState:
        _check_system(loss, system)
        W = encoder_start(parts, system).online
        if isinstance(loss, Whitened):
            return EncoderState(whitened_encoder(W, system))
        if isinstance(loss, Vicreg) or loss.scale_free:
            silent = np.flatnonzero(~(np.sum(W * times(W, system.sigma_s), axis=1) > 0))
            if silent.size:
                raise ValueError(
                    f"`online` must have no row of zero output under {loss.name}, got row {silent[0] + 1}"
                )
        return EncoderState(W)

    def clock(system: MatrixSystem) -> tuple[float, float]:
        fastest = loss.rate(system) + float(system.weight_decay)
        if isinstance(loss, Whitened) or not fastest > 0:
            return 1.0, 1.0
        sigma = system.sigma_d if isinstance(loss, BarlowTwins | SpectralContrastive) else system.sigma_s
        sizes = np.abs(sigma if sigma.ndim == 1 else np.linalg.eigvalsh(sigma))
        resolved = sizes[sizes > sizes.size * np.finfo(float).eps * np.max(sizes)]
        slowest = fastest * float(np.min(resolved) / np.max(resolved)) if resolved.size else fastest
        if isinstance(loss, BarlowTwins):  # plateaus are left at λ of the rate, and not at all if λ = 0
            slowest *= min(loss.off_diagonal, 1.0) or 1.0
        return 1 / fastest, 1 / slowest

    form = "-normalised" if isinstance(loss, BarlowTwins) and loss.normalised else ""
    return VectorField(loss.name + form, derivative, start=start, sizes=encoder_sizes, clock=clock)


LOSSES: dict[str, type[RedundancyLoss]] = {
    loss.name: loss for loss in (BarlowTwins, Vicreg, SpectralContrastive, Whitened)
}
"""Losses of this module by the names of `dynamics.objectives.OBJECTIVES`."""


def redundancy_loss(objective: Objective, **given: float | bool | None) -> RedundancyLoss | None:
    """Return the loss of an objective, with what is not given at its default; None of one of another kind.

    Parameters
    ----------
    objective
        A row of `dynamics.objectives.OBJECTIVES`.
    **given
        Weights by name, and `normalised`; None where one is not given.

    Raises
    ------
    ValueError
        A number is out of range, or the objective does not take it.

    Examples
    --------
    >>> from dynamics.objectives import OBJECTIVES
    >>> redundancy_loss(OBJECTIVES["vicreg"], covariance=2.0)
    Vicreg(invariance=25.0, variance=25.0, covariance=2.0)
    >>> redundancy_loss(OBJECTIVES["spectral"], covariance=2.0)
    Traceback (most recent call last):
        ...
    ValueError: `covariance` must go with `objective` vicreg, got spectral
    """
    taken = {name: value for name, value in given.items() if value is not None}
    if (normalised := taken.pop("normalised", None)) is not None and objective.name != BarlowTwins.name:
        raise ValueError(f"`normalised` must go with `objective` {BarlowTwins.name}, got {objective.name}")
    check_taken(objective, **taken)
    if not objective.of_moments:
        return None
    if normalised is not None:
        taken["normalised"] = normalised
    make: Callable[..., RedundancyLoss] = LOSSES[objective.name]
    return make(**taken)
