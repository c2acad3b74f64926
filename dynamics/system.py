"""What the flow depends on: second moments of the views, time constants, weight decay.

A system is frozen and checked at birth. `ModeSystem` holds eigenvalues (one triple of weights a mode),
`MatrixSystem` the two moment matrices. Neither asks for Σd ≼ Σs or positive eigenvalues: `Moments` does, for
moments that come from views; the objectives of R26 follow the same flow with moments that no views have.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from dynamics.states import MatrixState, ModeState


def _finite(name: str, value: Any) -> np.ndarray:
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"`{name}` must be numbers, got {value!r}") from None
    if not np.all(np.isfinite(array)):
        raise ValueError(f"`{name}` must be finite, got {array[~np.isfinite(array)].flat[0]}")
    array.setflags(write=False)
    return array


def _by_columns(sigma: np.ndarray) -> np.ndarray:
    """The same matrix column by column: BLAS is twice as fast at X Σ for X of few rows."""
    ordered = np.asfortranarray(sigma)
    ordered.setflags(write=False)
    return ordered


def _rate(name: str, value: Any, *, positive: bool) -> float | np.ndarray:
    """Return a time constant (> 0) or weight decay (>= 0): a float, or an array with one value a mode."""
    array = _finite(name, value)
    bad = array <= 0 if positive else array < 0
    if np.any(bad):
        bound = "> 0" if positive else ">= 0"
        raise ValueError(f"`{name}` must be finite and {bound}, got {array[bad].flat[0]}")
    return float(array) if array.ndim == 0 else array


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rates:
    tau_online: float | np.ndarray = 1.0
    tau_predictor: float | np.ndarray = 1.0
    tau_target: float | np.ndarray = 1.0
    weight_decay: float | np.ndarray = 0.0

    def _check_rates(self) -> None:
        for name in ("tau_online", "tau_predictor", "tau_target"):
            object.__setattr__(self, name, _rate(name, getattr(self, name), positive=True))
        object.__setattr__(self, "weight_decay", _rate("weight_decay", self.weight_decay, positive=False))


@dataclass(frozen=True, eq=False)
class ModeSystem(_Rates):
    """One or many decoupled eigenmodes: dw1/dt = w2 e/τo − η w1 and so on, e = θ λd − w2 w1 λs.

    Parameters
    ----------
    lambda_s, lambda_d
        λs and λd, eigenvalues of Σs and Σd; scalar or shape (n_modes,), any finite sign (R26 needs λs < 0).
    tau_online, tau_predictor, tau_target
        τo, τp, τt > 0, in units of time; one for all modes or one a mode.
    weight_decay
        η >= 0, a rate.

    Raises
    ------
    ValueError
        A value is not finite, a time constant not positive, weight decay negative, or the shapes do not fit.

    Examples
    --------
    >>> ModeSystem(1.0, 0.5).ratio
    array([0.5])
    """

    lambda_s: Any = field(kw_only=False)
    lambda_d: Any = field(kw_only=False)

    def __post_init__(self) -> None:
        lambda_s = np.atleast_1d(_finite("lambda_s", self.lambda_s))
        lambda_d = np.atleast_1d(_finite("lambda_d", self.lambda_d))
        if lambda_s.ndim != 1 or lambda_s.shape != lambda_d.shape or lambda_s.size == 0:
            raise ValueError(
                "`lambda_s` and `lambda_d` must hold one eigenvalue a mode each,"
                f" got shapes {lambda_s.shape} and {lambda_d.shape}"
            )
        object.__setattr__(self, "lambda_s", lambda_s)
        object.__setattr__(self, "lambda_d", lambda_d)
        self._check_rates()
        for item in fields(_Rates):
            if np.shape(getattr(self, item.name)) not in ((), lambda_s.shape):
                raise ValueError(
                    f"`{item.name}` must be one number or one a mode ({lambda_s.size}),"
                    f" got shape {np.shape(getattr(self, item.name))}"
                )

    @property
    def ratio(self) -> np.ndarray:
        """Eigenvalue r = λd/λs of M = Σd Σs⁻¹, shape (n_modes,); NaN where λs = 0."""
        nonzero = self.lambda_s != 0
        return np.where(nonzero, self.lambda_d / np.where(nonzero, self.lambda_s, 1.0), np.nan)

    @property
    def n_modes(self) -> int:
        """Number of modes."""
        return self.lambda_s.size

    def state(self, online: Any = 0.1, predictor: Any = 0.1, target: Any = 0.1) -> ModeState:
        """Start of all modes: w1, w2, θ, each one number for all modes or one a mode.

        >>> ModeSystem([1.0, 1.0], [0.5, 0.2]).state(predictor=[0.1, -0.3]).predictor
        array([ 0.1, -0.3])
        """
        parts = []
        for name, value in (("online", online), ("predictor", predictor), ("target", target)):
            array = _finite(name, value)
            if array.shape not in ((), (1,), (self.n_modes,)):
                raise ValueError(
                    f"`{name}` must be one number for all modes or one for each of {self.n_modes},"
                    f" got shape {array.shape}"
                )
            parts.append(np.broadcast_to(array, (self.n_modes,)).copy())
        return ModeState(*parts)


@dataclass(frozen=True, eq=False)
class MatrixSystem(_Rates):
    """The full network: E = Θ Σd − P W Σs, dW/dt = Pᵀ E/τo − η W, dP/dt = E Wᵀ/τp − η P, dΘ/dt = (W − Θ)/τt.

    Parameters
    ----------
    sigma_s, sigma_d
        Σs = E[x1 x1ᵀ] and Σd = E[x2 x1ᵀ], shape (n1, n1), symmetric. Vectors of shape (n1,) stand for diagonal
        matrices and save two of the five matrix products of the field (see `dynamics.modes.joint_eigenbasis`).
    tau_online, tau_predictor, tau_target
        τo, τp, τt > 0, in units of time.
    weight_decay
        η >= 0, a rate.

    Raises
    ------
    ValueError
        A value is not finite, the matrices are not square and symmetric or do not fit, a rate is out of range.

    Examples
    --------
    >>> MatrixSystem(np.eye(3), 0.5 * np.eye(3)).n1
    3
    """

    sigma_s: Any = field(kw_only=False)
    sigma_d: Any = field(kw_only=False)

    def __post_init__(self) -> None:
        sigma_s, sigma_d = _finite("sigma_s", self.sigma_s), _finite("sigma_d", self.sigma_d)
        for name, sigma in (("sigma_s", sigma_s), ("sigma_d", sigma_d)):
            if sigma.ndim not in (1, 2) or sigma.shape[0] != sigma.shape[-1] or sigma.size == 0:
                raise ValueError(f"`{name}` must be a square matrix or its diagonal, got shape {sigma.shape}")
            # moments are sums of products: symmetric to rounding, which grows like n times the unit roundoff
            asymmetry = np.max(np.abs(sigma - sigma.T))
            if asymmetry > 4 * sigma.shape[0] * np.finfo(float).eps * np.max(np.abs(sigma)):
                raise ValueError(f"`{name}` must be symmetric, got an asymmetry of {asymmetry:.3g}")
        if sigma_s.shape != sigma_d.shape:
            raise ValueError(
                f"`sigma_s` and `sigma_d` must have one shape, got {sigma_s.shape} and {sigma_d.shape}"
            )
        object.__setattr__(self, "sigma_s", _by_columns(sigma_s))
        object.__setattr__(self, "sigma_d", _by_columns(sigma_d))
        self._check_rates()
        for item in fields(_Rates):
            if np.ndim(getattr(self, item.name)) != 0:
                raise ValueError(
                    f"`{item.name}` must be one number, got shape {np.shape(getattr(self, item.name))}"
                )

    @property
    def n1(self) -> int:
        """Input dimension."""
        return self.sigma_s.shape[0]

    def state(self, online: Any, predictor: Any, target: Any | None = None) -> MatrixState:
        """Start of the full flow: W (n2, n1), P (n2, n2), Θ (n2, n1); Θ = W when left out.

        >>> MatrixSystem(np.eye(3), np.eye(3)).state(np.ones((2, 3)), np.eye(2)).target.shape
        (2, 3)
        """
        W = np.array(_finite("online", online))
        P = np.array(_finite("predictor", predictor))
        Th = W.copy() if target is None else np.array(_finite("target", target))
        if W.ndim != 2 or W.shape[1] != self.n1 or W.shape[0] == 0:
            raise ValueError(f"`online` must have shape (n2, {self.n1}), got {W.shape}")
        n2 = W.shape[0]
        if P.shape != (n2, n2):
            raise ValueError(f"`predictor` must have shape ({n2}, {n2}), got {P.shape}")
        if Th.shape != W.shape:
            raise ValueError(f"`target` must have the shape of `online`, {W.shape}, got {Th.shape}")
        return MatrixState(W, P, Th)


System = ModeSystem | MatrixSystem


def natural_time(system: System, *, fastest: bool = False) -> float:
    """Time in which weights of size one move by their own size: max(τo, τp)/λs + τt, of the slowest or fastest mode.

    For matrices the slowest mode is that of the least eigenvalue of Σs that is not rounding of the largest; where
    Σs = 0 nothing but θ moves.

    >>> from dynamics.system import ModeSystem
    >>> natural_time(ModeSystem([1.0, 0.5], [0.5, 0.2]))
    3.0
    """
    if isinstance(system, MatrixSystem):
        sigma = system.sigma_s
        size = np.abs(sigma if sigma.ndim == 1 else np.linalg.eigvalsh(sigma))
        size = size[size > len(size) * np.finfo(float).eps * np.max(size)]
    else:
        size = np.abs(system.lambda_s)
    times = (
        np.maximum(system.tau_online, system.tau_predictor) / np.where(size == 0, 1.0, size)
        + system.tau_target
    )
    if times.size == 0:
        return float(np.max(system.tau_target))
    return float(np.min(times) if fastest else np.max(times))
