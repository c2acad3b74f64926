"""Fixed points of linear BYOL with normalised features, and the exact blocks of their Jacobian (R220)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from math import comb
from typing import Any, NamedTuple

import numpy as np

from dynamics.states import MatrixState
from dynamics.system import MatrixSystem


class NormalisedBlock(NamedTuple):
    """A block of the Jacobian of row and mode, with its matrix.

    Parameters
    ----------
    row, mode
        Row i of the encoder, and mode j, counted from 0.
    held_by
        Row that is on mode j; i itself for its own mode, None where no row is.
    matrix
        Shape (3, 3) over (w, θ, p) for the own mode; (2, 2) over (w, θ) for an unselected mode; (3, 3) over (w, p, θ)
        for one that another row holds.
    """

    row: int
    mode: int
    held_by: int | None
    matrix: np.ndarray


class NormalisedCondition(NamedTuple):
    """One condition of R220: what row i does along mode j.

    Parameters
    ----------
    row, mode, held_by
        As in `NormalisedBlock`.
    margin
        Positive where stable: r_i − r_j for an unselected mode, 1/τp + κ_ij r_i (r_i − r_j) for a selected one.
    verdict
        stable, unstable or degenerate.
    """

    row: int
    mode: int
    held_by: int | None
    margin: float
    verdict: str

    @property
    def sentence(self) -> str:
        """One sentence for people."""
        leaves = {"unstable": "leaves its mode for", "degenerate": "is indifferent to", "stable": "stays off"}
        why = "which no row holds" if self.held_by is None else f"which row {self.held_by + 1} holds"
        return f"row {self.row + 1} {leaves[self.verdict]} mode {self.mode + 1}, {why}: margin {self.margin:.4g} (R220)"


def _is_diagonal(sigma: np.ndarray) -> bool:
    return sigma.ndim == 1 or not np.any(np.diag(np.diagonal(sigma)) != sigma)


def _refuse_weight_decay(system: MatrixSystem) -> None:
    if system.weight_decay:
        raise ValueError(
            f"`weight_decay` must be 0 for normalised features at rest, got {system.weight_decay:g}"
        )


def _diagonals(system: MatrixSystem) -> tuple[np.ndarray, np.ndarray]:
    """λs and λd of a system of diagonal moments, without weight decay."""
    _refuse_weight_decay(system)
    found = []
    for name in ("sigma_s", "sigma_d"):
        sigma = getattr(system, name)
        if not _is_diagonal(sigma):
            raise ValueError(f"`{name}` must be diagonal for blocks, got a matrix that is not")
        found.append(sigma if sigma.ndim == 1 else np.diagonal(sigma))
    if np.any(found[0] <= 0):
        raise ValueError(f"`sigma_s` must be positive definite, got an eigenvalue {np.min(found[0]):.3g}")
    return found[0], found[1]


def decoupled_selection(
    state: MatrixState, system: MatrixSystem, tolerance: float = 1e-6
) -> tuple[list[int], np.ndarray] | None:
    """Modes and lengths of rows of a state that is a `normalised_point` of diagonal moments; None where it is none.

    >>> system = MatrixSystem([1.0, 1.0], [0.9, 0.5])
    >>> decoupled_selection(normalised_point([1, 0], 2.0, system), system)
    ([1, 0], array([2., 2.]))
    """
    diagonal = all(_is_diagonal(sigma) for sigma in (system.sigma_s, system.sigma_d))
    if not diagonal or system.weight_decay:
        return None
    norms = np.linalg.norm(state.online, axis=1)
    selection = np.argmax(np.abs(state.online), axis=1).tolist()
    if len(set(selection)) < len(selection) or np.any(norms == 0):
        return None
    sign = np.sign(state.online[np.arange(len(norms)), selection])
    point = normalised_point(selection, norms, system)
    flipped = point._replace(online=sign[:, None] * point.online, target=sign[:, None] * point.target)
    for found, wanted in zip(state, flipped, strict=True):
        if np.max(np.abs(found - wanted)) > tolerance * np.max(np.abs(wanted), initial=1.0):
            return None
    return selection, norms


def _checked(selection: Sequence[int], norms: Any, n1: int) -> tuple[np.ndarray, np.ndarray]:
    modes = np.asarray(selection, dtype=np.intp)
    if modes.ndim != 1 or not len(modes) or np.any(modes < 0) or np.any(modes >= n1):
        raise ValueError(f"`selection` must name modes from 0 to {n1 - 1}, one per row, got {selection!r}")
    if len(set(modes.tolist())) < len(modes):
        raise ValueError(f"`selection` must name distinct modes, got {modes.tolist()}")
    sizes = np.broadcast_to(np.asarray(norms, dtype=np.float64), modes.shape)
    if not np.all((sizes > 0) & np.isfinite(sizes)):
        raise ValueError(f"`norms` must be finite and > 0, got {norms}")
    return modes, sizes


def ranked_modes(system: MatrixSystem) -> tuple[np.ndarray, np.ndarray]:
    """Ratios r and unit directions, columns, of M = Σd Σs⁻¹: by axes where moments are diagonal, else by descending r.

    >>> ranked_modes(MatrixSystem([1.0, 1.0], [0.5, 0.9]))[0]
    array([0.5, 0.9])
    """
    if all(_is_diagonal(sigma) for sigma in (system.sigma_s, system.sigma_d)):
        lambda_s, lambda_d = _diagonals(system)
        return lambda_d / lambda_s, np.eye(system.n1)
    from scipy.linalg import eigh

    S, D = (np.diag(sigma) if sigma.ndim == 1 else sigma for sigma in (system.sigma_s, system.sigma_d))
    ratios, directions = eigh(D, S)
    return ratios[::-1], (directions / np.linalg.norm(directions, axis=0))[:, ::-1]


def normalised_point(selection: Sequence[int], norms: Any, system: MatrixSystem) -> MatrixState:
    """Fixed point with row i of length ‖w_i‖ on mode k(i), P = diag r_k(i) and Θ = W.

    Parameters
    ----------
    selection
        k(i), distinct modes of `ranked_modes` counted from 0, one per row.
    norms
        ‖w_i‖ > 0, one for all rows or one per row: they are conserved.
    system
        Moments that features are learned from, Σs ≻ 0, and no weight decay.

    Raises
    ------
    ValueError
        A mode, a norm or the system is not one of these.

    Notes
    -----
    Source: R220.

    Examples
    --------
    >>> normalised_point([1], 2.0, MatrixSystem([1.0, 1.0], [0.9, 0.5])).predictor
    array([[0.5]])
    """
    _refuse_weight_decay(system)
    ratios, directions = ranked_modes(system)
    modes, sizes = _checked(selection, norms, system.n1)
    W = sizes[:, None] * directions[:, modes].T
    return MatrixState(W, np.diag(ratios[modes]), W.copy())


def _curvature(
    selection: np.ndarray, norms: np.ndarray, lambda_s: np.ndarray, system: MatrixSystem
) -> np.ndarray:
    """κ_ij = λs_j/(λs_k(i) ‖w_i‖² τo), shape (n2, n1)."""
    kappa: np.ndarray = lambda_s / lambda_s[selection][:, None] / norms[:, None] ** 2 / system.tau_online
    return kappa


def normalised_blocks(selection: Sequence[int], norms: Any, system: MatrixSystem) -> list[NormalisedBlock]:
    """Diagonal blocks of the Jacobian at `normalised_point`, with the deviation in the graph of gradients.

        own mode:       0, −1/τt, −1/τp
        unselected j:   [[−κ r_i², κ r_i r_j], [1/τt, −1/τt]]
        selected j:     [[−κ r_i², −κ r_i, κ r_i r_j], [−r_i/τp, −1/τp, r_j/τp], [1/τt, 0, −1/τt]]

    with κ = κ_ij = λs_j/(λs_k(i) ‖w_i‖² τo).

    Parameters
    ----------
    selection, norms, system
        As for `normalised_point`.

    Returns
    -------
    list
        Together 2 n1 n2 + n2² eigenvalues: the whole spectrum.

    Raises
    ------
    ValueError
        As `normalised_point` does.

    Notes
    -----
    Source: R220.

    Examples
    --------
    >>> blocks = normalised_blocks([0], 1.0, MatrixSystem([1.0, 1.0], [0.9, 0.5]))
    >>> [block.matrix.shape for block in blocks]
    [(3, 3), (2, 2)]
    """
    lambda_s, lambda_d = _diagonals(system)
    modes, sizes = _checked(selection, norms, system.n1)
    r, kappa = lambda_d / lambda_s, _curvature(modes, sizes, lambda_s, system)
    tp, tt = system.tau_predictor, system.tau_target
    holder: dict[int, int] = {int(k): i for i, k in enumerate(modes)}
    blocks = []
    for i, own in enumerate(modes):
        for j in range(system.n1):
            k, r_i, r_j = kappa[i, j], r[own], r[j]
            if j == own:
                matrix = [[0, 0, 0], [1 / tt, -1 / tt, 0], [0, 0, -1 / tp]]
            elif j in holder:
                matrix = [
                    [-k * r_i**2, -k * r_i, k * r_i * r_j],
                    [-r_i / tp, -1 / tp, r_j / tp],
                    [1 / tt, 0, -1 / tt],
                ]
            else:
                matrix = [[-k * r_i**2, k * r_i * r_j], [1 / tt, -1 / tt]]
            blocks.append(NormalisedBlock(i, j, holder.get(j), np.array(matrix, dtype=np.float64)))
    return blocks


def stability_conditions(
    selection: Sequence[int], norms: Any, system: MatrixSystem
) -> list[NormalisedCondition]:
    """Conditions under which `normalised_point` is stable, one per row and mode other than its own.

        unselected j:  r_i − r_j > 0
        selected j:    1/τp + κ_ij r_i (r_i − r_j) > 0

    Parameters
    ----------
    selection, norms, system
        As for `normalised_point`.

    Returns
    -------
    list of NormalisedCondition
        A row on a mode with r = 0 is indifferent to all that no row holds.

    Notes
    -----
    Amplitudes play no part for unselected modes: only top modes are stable, as DD F.1 says. A small ‖w_i‖ makes rows
    among the top modes exchange them. Source: R220.

    Examples
    --------
    >>> [c.verdict for c in stability_conditions([1], 1.0, MatrixSystem([1.0, 1.0], [0.9, 0.5]))]
    ['unstable']
    """
    lambda_s, lambda_d = _diagonals(system)
    modes, sizes = _checked(selection, norms, system.n1)
    r, kappa = lambda_d / lambda_s, _curvature(modes, sizes, lambda_s, system)
    holder: dict[int, int] = {int(k): i for i, k in enumerate(modes)}
    found = []
    for i, own in enumerate(modes):
        for j in range(system.n1):
            if j == own:
                continue
            if j in holder:
                margin = 1 / system.tau_predictor + kappa[i, j] * r[own] * (r[own] - r[j])
                sign = np.sign(margin)
            else:
                margin = r[own] - r[j]
                sign = np.sign(margin) if r[own] else 0.0
            verdict = {1.0: "stable", 0.0: "degenerate", -1.0: "unstable"}[float(sign)]
            found.append(NormalisedCondition(i, j, holder.get(j), float(margin), verdict))
    return found


def is_stable(selection: Sequence[int], norms: Any, system: MatrixSystem) -> bool:
    """Whether every condition of `stability_conditions` holds with a margin: stable along its fixed points (R220).

    >>> system = MatrixSystem([1.0, 1.0, 1.0], [0.9, 0.5, 0.1])
    >>> is_stable([0, 1], 1.0, system), is_stable([1, 0], 0.12, system), is_stable([0, 2], 1.0, system)
    (True, False, False)
    """
    return all(condition.verdict == "stable" for condition in stability_conditions(selection, norms, system))


def rayleigh_rates(norm: float, system: MatrixSystem) -> np.ndarray:
    """Rates at which a row turns to the top mode without predictor and average, by modes; 0 for the top mode itself.

        (r_1 − r_j) λs_j/(λs_1 ‖w‖² τo)

    Parameters
    ----------
    norm
        ‖w‖ > 0 of the row.
    system
        Centred moments, diagonal.

    Notes
    -----
    All rows turn to one mode: complete collapse is impossible, and dimensional collapse total. Source: R219.

    Examples
    --------
    >>> rayleigh_rates(2.0, MatrixSystem([1.0, 2.0], [0.9, 1.0])).round(12)
    array([0. , 0.2])
    """
    lambda_s, lambda_d = _diagonals(system)
    _, sizes = _checked([0], norm, system.n1)
    r = lambda_d / lambda_s
    top = int(np.argmax(r))
    rates: np.ndarray = (r[top] - r) * lambda_s / (lambda_s[top] * sizes[0] ** 2 * system.tau_online)
    return rates


def normalised_fixed_points(system: MatrixSystem, n2: int, *, limit: int = 5000) -> Iterator[tuple[int, ...]]:
    """Selections of n2 distinct modes, those of the largest ratios first; rows of one length may be exchanged.

    Parameters
    ----------
    system
        Moments that features are learned from.
    n2
        Number of rows, 1 to n1.
    limit
        Most that are listed.

    Raises
    ------
    ValueError
        `n2` is out of range, or there are more than `limit`.

    Examples
    --------
    >>> list(normalised_fixed_points(MatrixSystem([1.0, 1.0, 1.0], [0.1, 0.9, 0.5]), 2))
    [(1, 2), (1, 0), (2, 0)]
    """
    _refuse_weight_decay(system)
    ratios, _ = ranked_modes(system)
    if not 1 <= n2 <= system.n1:
        raise ValueError(
            f"`n2` must lie within 1 and {system.n1} for normalised rows on distinct modes, got {n2}"
        )
    if (count := comb(system.n1, n2)) > limit:
        raise ValueError(f"`limit` must be at least the {count} fixed points there are, got {limit}")
    order = np.argsort(-ratios, kind="stable").tolist()
    return combinations(order, n2)
