"""Where a linear contrastive encoder can rest, and which rest is stable (R114, R116, R117, R119).

L depends on the encoder through S = W Σs Wᵀ and D = W Σd Wᵀ alone, and is convex in WᵀW. At rest the rows span modes of
M = Σd Σs⁻¹, whether Σs and Σd commute or not; up to W → Q W each learned mode has a row of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from math import comb
from typing import Any, NamedTuple

import numpy as np

from dynamics.exact.infonce import check_negatives, saturation_norm
from dynamics.exact.one_negative import check_temperature
from dynamics.exact.several_negatives import one_row
from dynamics.fields.infonce import infonce_mean_loss, one_negative_of, saturation_share
from dynamics.fields.predictors import times
from dynamics.system import MatrixSystem

TIED = 1e-9
"""Ratios that differ by less leave it open which of their modes is learned."""
_BEYOND = 1e-6  # r above 1 by what moments printed with six digits are rounded


class EncoderModes(NamedTuple):
    """Modes that rows of an encoder can learn: of M, or with weight decay of (Σd − ητ/2) Σs⁻¹.

    Parameters
    ----------
    directions
        Columns u with (Σd − ητ/2) u = ρ Σs u and uᵀ Σs u = 1, shape (n1, n1).
    ratios
        r = uᵀ Σd u/uᵀ Σs u, shape (n1,).
    effective
        ρ, shape (n1,): r less what weight decay takes.
    """

    directions: np.ndarray
    ratios: np.ndarray
    effective: np.ndarray


@dataclass(frozen=True, eq=False)
class EncoderPoint:
    """A critical point of a contrastive loss, up to W → Q W.

    Parameters
    ----------
    modes
        Which modes are learned, ascending, counted from 0.
    amplitudes
        Their norms w Σs wᵀ, the eigenvalues of S that are not zero, in the order of `modes`.
    online
        W, shape (n2, n1): a row for each learned mode, then rows of zeros.
    stability
        stable, saddle, unstable, or degenerate where equal ratios or a row that neither grows nor decays leave it open.
    loss
        L; the mean-field loss, without log H, for infinitely many negatives.
    """

    modes: tuple[int, ...]
    amplitudes: np.ndarray
    online: np.ndarray
    stability: str
    loss: float


def encoder_modes(system: MatrixSystem, temperature: float = 1.0) -> EncoderModes:
    """Modes that rows of an encoder can learn; diagonal moments keep the order of their modes, others go down in ρ.

    Parameters
    ----------
    system
        Σs ≻ 0, 0 ≼ Σd ≼ Σs and η >= 0.
    temperature
        τ > 0, with which weight decay counts.

    Raises
    ------
    ValueError
        Σs is not positive definite, Σd is not positive semidefinite or exceeds Σs.

    Notes
    -----
    Source: R116, R119.

    Examples
    --------
    >>> encoder_modes(MatrixSystem(np.array([10.0, 1.0]), np.array([5.0, 0.9]))).ratios
    array([0.5, 0.9])
    """
    check_temperature(temperature)
    s, d = system.sigma_s, system.sigma_d
    pull = system.weight_decay * temperature / 2
    if s.ndim == 2 and not (
        np.count_nonzero(s - np.diag(s.diagonal())) or np.count_nonzero(d - np.diag(d.diagonal()))
    ):
        s, d = s.diagonal(), d.diagonal()
    if s.ndim == 1:
        _check_definite(s)
        directions = np.diag(1 / np.sqrt(s))
        ratios, effective = d / s, (d - pull) / s
    else:
        from scipy.linalg import eigh

        _check_definite(np.linalg.eigvalsh(s))
        effective, directions = (part[..., ::-1] for part in eigh(d - pull * np.eye(len(d)), s))
        ratios = np.einsum("ij,ij->j", directions, d @ directions)
        # what the Cholesky factor of Σs makes of a ratio of zero, and of one, at which nothing holds a row
        rounding = len(s) * np.finfo(float).eps * np.linalg.cond(s)
        for edge in (0.0, 1.0):
            ratios, effective = (
                np.where(np.abs(part - edge) <= rounding, edge, part) for part in (ratios, effective)
            )
    if np.any(ratios < -_BEYOND) or np.any(ratios > 1 + _BEYOND):
        raise ValueError(
            "`sigma_d` must be positive semidefinite and must not exceed Σs, got ratios from"
            f" {np.min(ratios):.6g} to {np.max(ratios):.6g}"
        )
    return EncoderModes(directions, np.clip(ratios, 0, 1), np.minimum(effective, 1.0))


def _check_definite(values: np.ndarray) -> None:
    if np.min(values) <= 0:
        raise ValueError(f"`sigma_s` must be positive definite, got an eigenvalue of {np.min(values):.3g}")


def covered(system: MatrixSystem, n2: int, negatives: float, margin: float) -> None:
    """Refuse what no result solves: rows that are coupled, by weight decay or a margin, or by several negatives."""
    check_negatives(negatives)
    if n2 < 1:
        raise ValueError(f"`n2` must be an integer >= 1, got {n2}")
    if margin and negatives != 1:
        raise ValueError(f"`margin` must be 0 unless there is one negative, got {margin:g}")
    if negatives == np.inf:
        return
    if n2 > 1 and negatives > 1:
        raise ValueError(
            f"`negatives` must be 1 or inf for several rows, which a number in between couples, got {negatives:.0f}"
        )
    if n2 > 1 and margin:
        raise ValueError(f"`margin` must be 0 for several rows, which it couples, got {margin:g}")
    if system.weight_decay:
        raise ValueError(
            "`weight_decay` must be 0 for a finite number of negatives, where its modes are not those of M, got"
            f" {system.weight_decay:g}"
        )


def saturation_norms(
    modes: EncoderModes, temperature: float, negatives: float = np.inf, margin: float = 0.0
) -> np.ndarray:
    """Norm at which each mode saturates, shape (n1,): infinite without augmentation noise, 0 if it is not learned."""
    ratios = modes.effective if negatives == np.inf else modes.ratios
    of = partial(saturation_norm, temperature=temperature, negatives=negatives, margin=margin)
    return np.array([of(float(r)) if r > 0 else 0.0 for r in ratios])


def learned_modes(modes: EncoderModes, n2: int) -> tuple[int, ...]:
    """Modes of the minimum: the n2 largest ratios, as far as they are positive, ascending by number (R116).

    >>> system = MatrixSystem(np.array([10.0, 1.0]), np.array([5.0, 0.9]))
    >>> learned_modes(encoder_modes(system), 1)
    (1,)
    """
    order = np.argsort(-modes.effective, kind="stable")[:n2]
    return tuple(sorted(int(k) for k in order if modes.effective[k] > 0))


def n_critical_points(modes: EncoderModes, n2: int, norms: np.ndarray) -> int:
    """Number of critical points: sets of at most n2 modes that grow and saturate."""
    there = int(np.sum((modes.effective > 0) & np.isfinite(norms)))
    return sum(comb(there, k) for k in range(min(n2, there) + 1))


def critical_points(
    system: MatrixSystem,
    n2: int,
    temperature: float,
    negatives: float = np.inf,
    margin: float = 0.0,
    *,
    limit: int = 1000,
) -> list[EncoderPoint]:
    """All critical points of finite norm whose learned modes have rows of their own, up to W → Q W.

    Rows are zero or distinct modes of M, with w Σs wᵀ where that mode saturates: τ y*(r) for infinitely many negatives,
    2rτ/((1 − r)(3 + r)) for one. Stable is the set of the n2 largest ratios; every other one is a saddle.

    Parameters
    ----------
    system
        Σs ≻ 0, 0 ≼ Σd ≼ Σs, commuting or not, and η >= 0.
    n2
        Number of rows, >= 1.
    temperature, negatives, margin
        τ > 0; H, an integer >= 1 or infinite; m >= 0, the triplet loss over τ for H = 1.
    limit
        Most points to list.

    Returns
    -------
    list of EncoderPoint
        From the origin to the largest sets.

    Raises
    ------
    ValueError
        A number is out of range, there are more points than `limit`, or rows are coupled in a way that no result
        solves: weight decay with finitely many negatives; several rows with a margin, or with H other than 1 and ∞.

    Notes
    -----
    Source: R114, R116, R119.

    Examples
    --------
    >>> system = MatrixSystem(np.array([10.0, 1.0]), np.array([5.0, 0.9]))
    >>> [(point.modes, point.stability) for point in critical_points(system, 1, 1.0)]
    [((), 'unstable'), ((0,), 'saddle'), ((1,), 'stable')]
    """
    covered(system, n2, negatives, margin)
    modes = encoder_modes(system, temperature)
    norms = saturation_norms(modes, temperature, negatives, margin)
    found = n_critical_points(modes, n2, norms)
    if found > limit:
        raise ValueError(f"`limit` must be at least the {found} critical points, got {limit}")
    make = partial(_point, system, modes, norms, n2, temperature, negatives, margin)
    return [make(learned) for learned in _sets(modes, n2, norms)]


def minimum(
    system: MatrixSystem, n2: int, temperature: float, negatives: float = np.inf, margin: float = 0.0
) -> EncoderPoint | None:
    """The critical point that is stable; None where a learned mode grows for ever, without augmentation noise.

    Parameters
    ----------
    system, n2, temperature, negatives, margin
        As for `critical_points`.

    Notes
    -----
    Source: R114, R116.

    Examples
    --------
    >>> minimum(MatrixSystem(np.array([1.0]), np.array([0.5])), 1, 1.0).amplitudes.round(6)
    array([0.618034])
    """
    covered(system, n2, negatives, margin)
    modes = encoder_modes(system, temperature)
    norms = saturation_norms(modes, temperature, negatives, margin)
    learned = learned_modes(modes, n2)
    if not np.all(np.isfinite(norms[list(learned)])):
        return None
    return _point(system, modes, norms, n2, temperature, negatives, margin, learned)


def _sets(modes: EncoderModes, n2: int, norms: np.ndarray) -> Iterator[tuple[int, ...]]:
    there = np.flatnonzero((modes.effective > 0) & np.isfinite(norms)).tolist()
    for size in range(min(n2, len(there)) + 1):
        yield from combinations(there, size)


def _point(
    system: MatrixSystem,
    modes: EncoderModes,
    norms: np.ndarray,
    n2: int,
    temperature: float,
    negatives: float,
    margin: float,
    learned: tuple[int, ...],
) -> EncoderPoint:
    amplitudes = norms[list(learned)]
    W = np.zeros((n2, len(norms)))
    W[: len(learned)] = (modes.directions[:, list(learned)] * np.sqrt(amplitudes)).T
    if negatives == np.inf:
        loss = float(infonce_mean_loss(W, system, temperature))
    elif negatives == 1:
        loss = one_negative_of(W, system, temperature, margin).loss
    elif learned:
        loss = one_row(
            float(amplitudes[0]) / temperature, float(modes.ratios[learned[0]]), int(negatives)
        ).loss
    else:
        loss = float(np.log1p(negatives))
    return EncoderPoint(learned, amplitudes, W, stability_of(modes, learned, n2), loss)


def stability_of(modes: EncoderModes, learned: tuple[int, ...], n2: int) -> str:
    """Stability of a critical point by its modes (R116, R117).

    An unselected mode j grows in the row of mode i at (2/τ) λs_j (r_j − r_i), in an empty row at (2/τ) λs_j r_j; the
    amplitude of a learned mode is stable. With finitely many negatives the rates are others of the same signs.

    >>> modes = encoder_modes(MatrixSystem(np.array([10.0, 1.0]), np.array([5.0, 0.9])))
    >>> [stability_of(modes, learned, 1) for learned in [(), (0,), (1,)]]
    ['unstable', 'saddle', 'stable']
    """
    others = np.delete(modes.effective, list(learned))
    rows = [*modes.effective[list(learned)], *([0.0] if len(learned) < n2 else [])]
    gaps = others[:, None] - np.array(rows)
    if np.any(gaps > TIED):
        return "unstable" if not learned and np.all(gaps > TIED) else "saddle"
    return "stable" if np.all(gaps < -TIED) else "degenerate"


def decoupled_spectrum(point: EncoderPoint, system: MatrixSystem, temperature: float) -> np.ndarray:
    """Eigenvalues of the Jacobian of the mean field at a critical point, where Σs and Σd commute.

    With i the rows, r_i = 0 for empty ones, u = 1/(1 + s/τ) and δ = [κ(s_i) − κ(s_k)]/(s_i − s_k):

        unselected mode j in row i: (2/τ) λs_j (ρ_j − ρ_i),   own amplitude: −(2/τ²) λs s u² (1 + 2u),
        rows i, k: 0 and (2/τ)[λs_k (ρ_k − ρ_i − δ s_k) + λs_i (ρ_i − ρ_k − δ s_i)],  a learned mode in an empty row: 0.

    Parameters
    ----------
    point
        Of `critical_points` for infinitely many negatives.
    system
        With Σs and Σd diagonal.
    temperature
        τ > 0.

    Returns
    -------
    array
        n2 n1 real numbers, ascending.

    Raises
    ------
    ValueError
        Σs or Σd is not diagonal.

    Notes
    -----
    Source: R117; ρ = r − ητ/(2λs) with weight decay (R119).

    Examples
    --------
    >>> system = MatrixSystem(np.array([10.0, 1.0]), np.array([5.0, 0.9]))
    >>> decoupled_spectrum(critical_points(system, 1, 1.0)[1], system, 1.0).round(6)
    array([-10.557281,   0.8     ])
    """
    s, d = (np.asarray(part) for part in (system.sigma_s, system.sigma_d))
    if any(part.ndim == 2 and np.count_nonzero(part - np.diag(part.diagonal())) for part in (s, d)):
        raise ValueError(
            "`system` must have diagonal Σs and Σd for a decoupled spectrum; see `mean_field_jacobian`"
        )
    modes = encoder_modes(system, temperature)
    lambda_s = 1 / np.einsum("ij,ij->j", modes.directions, modes.directions)
    rho, y = modes.effective, point.amplitudes / temperature
    learned = list(point.modes)
    rest = np.setdiff1d(np.arange(len(rho)), learned)
    n_empty = len(point.online) - len(learned)
    u = 1 / (1 + y)
    found = [-2 / temperature * lambda_s[learned] * y * u**2 * (1 + 2 * u)]
    found += [2 / temperature * lambda_s[rest] * (rho[rest] - rho[i]) for i in learned]
    found += [2 / temperature * lambda_s[rest] * rho[rest], np.zeros(len(learned))] * n_empty
    for a, b in combinations(range(len(learned)), 2):
        i, k = learned[a], learned[b]
        # κ(y) = 1 − (u + u²)/2: its slope between two points, without their difference
        delta = u[a] * u[b] * (1 + u[a] + u[b]) / 2
        turned = lambda_s[k] * (rho[k] - rho[i] - delta * y[b]) + lambda_s[i] * (
            rho[i] - rho[k] - delta * y[a]
        )
        found.append(np.array([0.0, 2 / temperature * turned]))
    return np.sort(np.concatenate(found))


def mean_field_jacobian(W: np.ndarray, system: MatrixSystem, temperature: float) -> np.ndarray:
    """Jacobian of the mean field at any encoder, the negative Hessian of its loss.

        dF = (2/τ)[dW Σd − κ dW Σs − dκ W Σs] − η dW,  dκ = −½(dU + dU U + U dU),  dU = −U dS U/τ

    Parameters
    ----------
    W
        Encoder, shape (n2, n1).
    system, temperature
        As for `dynamics.fields.infonce.infonce_mean_field`.

    Returns
    -------
    array
        Symmetric, shape (n2 n1, n2 n1), rows of W one after another.

    Notes
    -----
    Source: R115, R117.

    Examples
    --------
    >>> mean_field_jacobian(np.zeros((1, 1)), MatrixSystem(np.array([1.0]), np.array([0.5])), 1.0)
    array([[1.]])
    """
    n2, n1 = W.shape
    eye = np.eye(n2)
    WS = times(W, system.sigma_s)
    S = WS @ W.T / temperature
    U, kappa = np.linalg.inv(eye + S), saturation_share(S)
    rows: list[Any] = []
    for row, column in np.ndindex(n2, n1):
        dW = np.zeros((n2, n1))
        dW[row, column] = 1.0
        dS = times(dW, system.sigma_s) @ W.T / temperature
        dU = -U @ (dS + dS.T) @ U
        d_kappa = -(dU + dU @ U + U @ dU) / 2
        moved = times(dW, system.sigma_d) - kappa @ times(dW, system.sigma_s) - d_kappa @ WS
        rows.append((2 / temperature * moved - system.weight_decay * dW).ravel())
    jacobian = np.array(rows)
    return (jacobian + jacobian.T) / 2
