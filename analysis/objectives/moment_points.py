"""Where an encoder rests under a loss of its output moments, in closed form (R325–R329).

Up to the symmetries of each loss: rotations of the outputs where the loss does not see them, rotations of the inputs in
which Σd is white under unnormalised Barlow Twins, and lengths of rows under the normalised one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement
from math import comb
from typing import NamedTuple

import numpy as np

from analysis.contrastive.infonce_points import TIED, encoder_modes
from dynamics.exact.vicreg import unit_diagonal
from dynamics.fields.redundancy import BarlowTwins, RedundancyLoss, SpectralContrastive, Vicreg, Whitened
from dynamics.system import MatrixSystem

_EDGE = 1e-6  # of μ: a pull nearer to 0 or μ leaves the hinge two derivatives


@dataclass(frozen=True, eq=False)
class MomentPoint:
    """A point of rest of an encoder under a loss of its output moments.

    Parameters
    ----------
    name
        collapsed, modes with rows of their own, or what the rows share.
    modes
        Learned modes, counted from 0, one for each of `amplitudes`.
    amplitudes
        w Σs wᵀ of the learned modes, or w Σd wᵀ under unnormalised Barlow Twins.
    online
        W, shape (n2, n1).
    exact
        Formula of the amplitudes.
    stability
        stable, saddle, unstable, or degenerate, by closed forms; None under normalised Barlow Twins, where a dense
        spectrum has to say.
    differentiable
        Whether the flow has a derivative there: not where a row of VICReg is at std = 1 with a pull of 0 or μ.
    """

    name: str
    modes: tuple[int, ...]
    amplitudes: np.ndarray
    online: np.ndarray
    exact: str
    stability: str | None
    differentiable: bool = True


class _Modes(NamedTuple):
    """Directions u with uᵀ Σ u = 1, one a column, and what decides between them."""

    directions: np.ndarray
    values: np.ndarray


def moment_points(
    system: MatrixSystem, n2: int, loss: RedundancyLoss, *, limit: int = 1000
) -> list[MomentPoint]:
    """List points of rest of a linear encoder under a loss of its output moments, with their stability.

    Spectral: sets of at most n2 modes with w Σs wᵀ = (λd − η/4)/λs, the n2 largest stable (R328). Whitened: every set
    of n2 modes, the top one stable (R329). Barlow Twins: rows with a mode of Σd each, and rows that share
    modes evenly, stable if nothing is left to learn (R325). Normalised, every assignment of modes to rows (R326).
    VICReg: every set of modes filled like water, and rows with a mode each (R327).

    Parameters
    ----------
    system
        Σs, Σd and η.
    n2
        Rows, >= 1.
    loss
        A loss of output moments.
    limit
        Most sets of modes that are looked at.

    Returns
    -------
    list of MomentPoint
        All critical points of the spectral loss and of whitened outputs where ratios differ. Under Barlow Twins and
        VICReg rows can also fall into groups, or be mixtures, that no closed form covers.

    Raises
    ------
    ValueError
        A number is out of range, the loss has no rest there, or there are more sets than `limit`.

    Notes
    -----
    Source: R325–R329.

    Examples
    --------
    >>> system = MatrixSystem([10.0, 1.0], [5.0, 0.9])
    >>> [(point.name, point.stability) for point in moment_points(system, 1, SpectralContrastive())]
    [('collapsed', 'unstable'), ('mode 1', 'saddle'), ('mode 2', 'stable')]
    """
    if n2 < 1:
        raise ValueError(f"`n2` must be an integer >= 1, got {n2}")
    if loss.scale_free and system.weight_decay:
        raise ValueError(
            f"`weight_decay` must be 0 for {loss.name}, in which the size of W has no effect, got"
            f" {system.weight_decay:g}"
        )
    if isinstance(loss, SpectralContrastive):
        return list(_spectral(system, n2, limit))
    if isinstance(loss, Whitened):
        return list(_whitened(system, n2, limit))
    if isinstance(loss, Vicreg):
        return list(_vicreg(system, n2, loss, limit))
    if loss.normalised:
        return list(_normalised(system, n2, limit))
    return list(_barlow(system, n2, loss, limit))


def name_of(modes: Sequence[int]) -> str:
    """Name of a set of modes, counted from 1; collapsed if there are none.

    >>> name_of((0, 2)), name_of(())
    ('modes 1, 3', 'collapsed')
    """
    names = ", ".join(str(k + 1) for k in modes)
    return f"mode{'s' * (len(modes) > 1)} {names}" if modes else "collapsed"


def _check_count(count: int, limit: int) -> None:
    if count > limit:
        raise ValueError(f"`dim` must be less: at most {limit} sets of modes are listed, there are {count}")


def _subsets(there: Sequence[int], n2: int, limit: int, *, least: int = 0) -> Iterator[tuple[int, ...]]:
    sizes = range(least, min(n2, len(there)) + 1)
    _check_count(sum(comb(len(there), size) for size in sizes), limit)
    for size in sizes:
        yield from combinations(there, size)


def _own_rows(modes: _Modes, chosen: Sequence[int], amplitudes: np.ndarray, n2: int) -> np.ndarray:
    W = np.zeros((n2, len(modes.values)))
    W[: len(chosen)] = (modes.directions[:, list(chosen)] * np.sqrt(amplitudes)).T
    return W


def _mixed_rows(modes: _Modes, chosen: Sequence[int], amplitudes: np.ndarray, n2: int) -> np.ndarray:
    """Rows of equal variance that share modes with these amplitudes."""
    spectrum = np.zeros(n2)
    spectrum[: len(chosen)] = amplitudes / (np.sum(amplitudes) / n2)
    mixture = unit_diagonal(spectrum)[:, : len(chosen)]
    return np.asarray(mixture @ (np.sqrt(amplitudes)[:, None] * modes.directions[:, list(chosen)].T))


def verdict_of_rates(rates: Sequence[float], tied: float) -> str:
    """Stability by the signs of rates: those within `tied` of 0 are open.

    >>> verdict_of_rates([-1.0, 1e-12], 1e-9), verdict_of_rates([2.0], 1e-9)
    ('degenerate', 'unstable')
    """
    found = np.array(rates, dtype=np.float64)
    if np.any(found > tied):
        return "saddle" if np.any(found < -tied) else "unstable"
    return "stable" if np.all(found < -tied) else "degenerate"


# --- the spectral loss, and whitened outputs ----------------------------------------------------------------


def _spectral(system: MatrixSystem, n2: int, limit: int) -> Iterator[MomentPoint]:
    modes = encoder_modes(system, 0.5)  # its λd is less by ητ/2 = η/4
    exact = "(λd − η/4)/λs" if system.weight_decay else "λd/λs"
    for chosen in _subsets(np.flatnonzero(modes.effective > 0).tolist(), n2, limit):
        sizes = modes.effective[list(chosen)]
        W = _own_rows(_Modes(modes.directions, modes.effective), chosen, sizes, n2)
        # an unlearned mode grows in the row of a learned one by their difference, in an empty row by itself
        rows = [*sizes, *([0.0] if len(chosen) < n2 else [])]
        gaps = np.subtract.outer(np.delete(modes.effective, list(chosen)), rows).ravel().tolist()
        verdict = verdict_of_rates([-1.0] * len(chosen) + gaps, TIED)
        yield MomentPoint(name_of(chosen), chosen, sizes, W, exact if chosen else "0", verdict)


def _whitened(system: MatrixSystem, n2: int, limit: int) -> Iterator[MomentPoint]:
    if n2 > system.n1:
        raise ValueError(f"`dim` must be at most the {system.n1} modes for whitened outputs, got {n2}")
    found = encoder_modes(system)
    modes = _Modes(found.directions, found.ratios)
    for chosen in _subsets(range(system.n1), n2, limit, least=n2):
        others = np.delete(modes.values, list(chosen))
        rates = np.subtract.outer(others, modes.values[list(chosen)]).ravel()
        W = _own_rows(modes, chosen, np.ones(n2), n2)
        yield MomentPoint(
            name_of(chosen), chosen, np.ones(n2), W, "1", verdict_of_rates(rates.tolist(), TIED)
        )


# --- Barlow Twins -------------------------------------------------------------------------------------------


def _normalised(system: MatrixSystem, n2: int, limit: int) -> Iterator[MomentPoint]:
    found = encoder_modes(system)
    modes = _Modes(found.directions, found.ratios)
    _check_count(comb(system.n1 + n2 - 1, n2), limit)
    for chosen in combinations_with_replacement(range(system.n1), n2):
        W = _own_rows(modes, chosen, np.ones(n2), n2)
        yield MomentPoint(name_of(chosen), chosen, np.ones(n2), W, "any", None)


def _modes_of_pairs(system: MatrixSystem) -> tuple[_Modes, np.ndarray]:
    """Modes of Σd with uᵀ Σd u = 1, and which of them have λd > 0."""
    sigma = system.sigma_d
    if sigma.ndim == 2 and not np.count_nonzero(sigma - np.diag(sigma.diagonal())):
        sigma = sigma.diagonal()
    if sigma.ndim == 1:
        values, vectors = sigma, np.eye(len(sigma))
    else:
        values, vectors = (part[..., ::-1] for part in np.linalg.eigh(sigma))
    rounding = len(values) * np.finfo(float).eps * float(np.max(np.abs(values)))
    if np.any(values < -rounding):
        raise ValueError(
            f"`sigma_d` must be positive semidefinite for barlow-twins, got an eigenvalue of {np.min(values):.3g}"
        )
    there = values > rounding
    return _Modes(vectors / np.sqrt(np.where(there, values, 1.0)), np.where(there, values, 0.0)), there


def _barlow(system: MatrixSystem, n2: int, loss: BarlowTwins, limit: int) -> Iterator[MomentPoint]:
    modes, there = _modes_of_pairs(system)
    weight, decay = loss.off_diagonal, float(system.weight_decay)
    if decay and not weight:
        raise ValueError(
            "`off_diagonal` must be > 0 for fixed points with weight decay: without it rows do not see each other,"
            f" and every one of them is an encoder of its own, got {weight:g}"
        )
    support = np.flatnonzero(there)
    if not support.size:
        raise ValueError("`sigma_d` must not be 0 for barlow-twins, whose flow nothing then moves, got 0")
    # what weight decay takes of a correlation, η/(4 λd)
    taken = np.full(system.n1, np.inf if decay else 0.0)
    taken[support] = decay / (4 * modes.values[support])
    sets = list(_subsets(np.flatnonzero(there & (taken < 1)).tolist(), n2, limit))
    for chosen in sets:
        sizes = 1 - taken[list(chosen)]
        exact = ("1 − η/(4 λd)" if decay else "1") if chosen else "0"
        verdict = _verdict_of_own_rows(chosen, taken, support, n2, loss, decay)
        yield MomentPoint(name_of(chosen), chosen, sizes, _own_rows(modes, chosen, sizes, n2), exact, verdict)
    if weight == 1 or n2 == 1:  # rotations of the outputs lead from rows of their own to shared modes
        return
    for chosen in (chosen for chosen in sets if chosen):
        k, lost = len(chosen), taken[list(chosen)]
        variance = (k - float(np.sum(lost))) / (weight * n2 + (1 - weight) * k)
        # λ c_k = 1 − (1 − λ) d − η/(4 λd); without weight decay all c are n2 d/k
        sizes = np.full(k, n2 * variance / k)
        if decay:
            sizes = sizes + (np.mean(lost) - lost) / weight
        if np.any(sizes <= 0) or (k == n2 and np.ptp(sizes) <= TIED):  # the latter are rows of their own
            continue
        verdict = _verdict_of_shared(chosen, taken, support, variance, n2, loss, decay)
        exact = "(1 − (1 − λ) d − η/(4 λd))/λ" if decay else "1/(λ + (1 − λ) k/n)"
        W = _mixed_rows(modes, chosen, sizes, n2)
        yield MomentPoint(f"{name_of(chosen)}, shared evenly", chosen, sizes, W, exact, verdict)


def _verdict_of_own_rows(
    chosen: tuple[int, ...],
    taken: np.ndarray,
    support: np.ndarray,
    n2: int,
    loss: BarlowTwins,
    decay: float,
) -> str:
    """Signs of the rates at rows of their own, but for the zeros that symmetries force.

    A mode j grows in the row of mode i as η(λd_j/λd_i − 1), in an empty row as 4λd_j − η; a learned mode in an empty
    row as (1 − λ) of what that mode has; and two rows with a = η/(4λd) mix if λ < 1: their 2 × 2 determinant has the
    sign of (λ − 1)(a_i − a_j)².
    """
    learned, weight = list(chosen), loss.off_diagonal
    others = [j for j in support if j not in chosen]
    rates = [-1.0] * len(learned)
    if decay:
        rates += [float(taken[i] - taken[j]) for i in learned for j in others]
        rates += [-1.0] * (len(taken) - len(support))
        for i, j in combinations(learned, 2):
            rates.append(-1.0)
            if weight != 1 and abs(taken[i] - taken[j]) > TIED:
                rates.append(1.0 if weight < 1 else -1.0)
    if len(learned) < n2:
        rates += [float(1 - taken[j]) for j in others]
        if weight != 1:
            rates += [np.sign(1 - weight)] * len(learned)
    return verdict_of_rates(rates, TIED)


def _verdict_of_shared(
    chosen: tuple[int, ...],
    taken: np.ndarray,
    support: np.ndarray,
    variance: float,
    n2: int,
    loss: BarlowTwins,
    decay: float,
) -> str:
    """Signs where rows have one variance d: L = λ‖C − I‖² + (1 − λ)‖diag C − I‖² is least so for λ < 1 alone."""
    weight = loss.off_diagonal
    if weight > 1:
        return "saddle"
    others = [j for j in support if j not in chosen]
    rates = [-1.0]
    if decay:
        rates += [float(taken[i] - taken[j]) for i in chosen for j in others]
    if len(chosen) < n2 and weight:
        rates += [float(1 - (1 - weight) * variance - taken[j]) for j in others]
    return verdict_of_rates(rates, 0.0 if not decay else TIED)


# --- VICReg -------------------------------------------------------------------------------------------------


def _vicreg(system: MatrixSystem, n2: int, loss: Vicreg, limit: int) -> Iterator[MomentPoint]:
    for name in ("invariance", "variance"):
        if not getattr(loss, name) > 0:
            raise ValueError(
                f"`{name}` must be > 0 for fixed points of vicreg: without it"
                f" {'no mode differs from another' if name == 'invariance' else 'rows die'}, got"
                f" {getattr(loss, name):g}"
            )
    found = encoder_modes(system, 1 / (2 * loss.invariance))  # its λd is less by ητ/2 = η/(4 λ_i)
    modes = _Modes(found.directions, found.effective)
    if loss.covariance and n2 > 1:
        for chosen in _subsets(range(system.n1), n2, limit, least=1):
            yield from _filled(modes, chosen, n2, loss)
    if loss.covariance and n2 > system.n1:
        return  # some rows share a mode
    choose = combinations if loss.covariance else combinations_with_replacement
    _check_count(comb(system.n1 + (0 if loss.covariance else n2 - 1), n2), limit)
    for chosen in choose(range(system.n1), n2):
        yield _apart(modes, chosen, loss)


def _filled(modes: _Modes, chosen: tuple[int, ...], n2: int, loss: Vicreg) -> Iterator[MomentPoint]:
    """A set of modes filled like water, with one pull on all rows, where the hinge can hold it."""
    k, ratios = len(chosen), modes.values[list(chosen)]
    mean = float(np.mean(ratios))
    sizes = n2 / k + loss.invariance * (ratios - mean) / loss.covariance
    pull = 4 * (loss.invariance * float(np.mean(1 - ratios)) + loss.covariance * (n2 / k - 1))
    edge = _EDGE * loss.variance
    if np.any(sizes <= 0) or not -edge <= pull <= loss.variance + edge:
        return
    if k == n2 and np.ptp(sizes) <= TIED:
        return  # rows of their own
    others = np.delete(modes.values, list(chosen))
    rates = [-1.0] * (k > 1)
    rates += np.subtract.outer(others, ratios).ravel().tolist()
    if k < n2:  # an empty combination of rows
        level = mean - loss.covariance / loss.invariance * n2 / k
        rates += (others - level).tolist()
    smooth = edge < pull < loss.variance - edge
    verdict = verdict_of_rates(rates, TIED) if smooth else "degenerate"
    W = _mixed_rows(modes, chosen, sizes, n2)
    yield MomentPoint(
        f"{name_of(chosen)}, filled like water", chosen, sizes, W, "(λ_i r − m)/ν", verdict, smooth
    )


def _apart(modes: _Modes, chosen: tuple[int, ...], loss: Vicreg) -> MomentPoint:
    """Rows with a mode each: row i leaves for a free mode j if r_j > r_i, and two rows mix unless ν is large enough."""
    ratios = modes.values[list(chosen)]
    pulls = 4 * loss.invariance * (1 - ratios)
    edge = _EDGE * loss.variance
    smooth = bool(np.all((pulls > edge) & (np.abs(pulls - loss.variance) > edge)))
    std = np.minimum(1.0, loss.variance / np.maximum(pulls, loss.variance))
    rates = [-1.0] * int(np.sum(std < 1))
    for row, own in enumerate(chosen):
        free = [j for j in range(len(modes.values)) if j != own and (j not in chosen or not loss.covariance)]
        rates += (modes.values[free] - ratios[row]).tolist()
    if loss.covariance:
        for i, j in combinations(np.argsort(ratios).tolist(), 2):  # r_i <= r_j
            gap = float(ratios[j] - ratios[i])
            rates.append(-1.0)
            if gap > TIED:
                rates.append(gap - loss.covariance / loss.invariance * float(std[j] ** 2 - std[i] ** 2))
    verdict = verdict_of_rates(rates, TIED) if smooth else "degenerate"
    exact = "min(1, μ/(4 λ_i (1 − r)))²"
    W = _own_rows(modes, chosen, std**2, len(chosen))
    return MomentPoint(name_of(chosen), chosen, std**2, W, exact, verdict, smooth)
