"""Decoupled fixed points and which of their (row, mode) pairs make them unstable (R9, R10)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from analysis.stability.adapted import Adapted, adapt, require_fixed_point
from dynamics.states import MatrixState
from dynamics.system import MatrixSystem


class DecoupledForm(NamedTuple):
    """A fixed point in the coordinates of R9: P = Q diag(p) Qᵀ and row i of Qᵀ W is w_i u_iᵀ.

    Parameters
    ----------
    predictor
        p, shape (n2,).
    amplitude
        w_i, shape (n2,); 0 for a collapsed row.
    mode
        Index of the mode that row i selected, shape (n2,); −1 for a collapsed row.
    lambda_s, lambda_d
        Eigenvalues of the modes, shape (n1,), ratio descending.
    features, directions
        Q (n2, n2) and the joint eigenvectors as columns (n1, n1), both orthogonal. Q is the identity where the
        state was decoupled as given.
    """

    predictor: np.ndarray
    amplitude: np.ndarray
    mode: np.ndarray
    lambda_s: np.ndarray
    lambda_d: np.ndarray
    features: np.ndarray
    directions: np.ndarray


class PairCondition(NamedTuple):
    """What R10 says of one (row, mode) pair of a decoupled fixed point.

    Parameters
    ----------
    row, mode
        Indices, from 0, of the row of W and of the mode, ratio descending.
    selected
        Whether some row selected the mode.
    verdict
        "stable", "unstable" or "degenerate".
    margin
        w_j²λs_j/τp + p_i (p_i λs_j − λd_j)/τo, of the sign of the product of the pair's two eigenvalues that
        nothing forces to be 0.
    sentence
        The same in words, which count rows and modes from 1.
    """

    row: int
    mode: int
    selected: bool
    verdict: Literal["stable", "unstable", "degenerate"]
    margin: float
    sentence: str


_SIGN: dict[int, Literal["degenerate", "stable", "unstable"]] = {0: "degenerate", 1: "stable", -1: "unstable"}


def decoupled_form(
    state: MatrixState, system: MatrixSystem, *, tolerance: float = 1e-6
) -> DecoupledForm | None:
    """Bring a state into the form of R9 by a rotation of the features, where there is one.

    P = Q diag(p) Qᵀ, row i of Qᵀ W U is zero or w_i e_jᵀ with j = mode[i], no mode twice. Two rows that select one
    mode, or one row that mixes modes of equal (λs, λd), are such a form after a rotation.

    Parameters
    ----------
    state, system
        A state with Θ = W.
    tolerance
        What counts as zero, relative to the largest entry of W and of P.

    Returns
    -------
    DecoupledForm or None
        None where Σs and Σd do not commute, P is not symmetric, or W's rows lie along no joint eigenvectors.

    Examples
    --------
    >>> system = MatrixSystem(np.ones(2), np.array([0.5, 0.2]))
    >>> form = decoupled_form(system.state([[1.0, 0.0], [1.0, 0.0]], 0.5 * np.eye(2)), system)
    >>> np.sort(form.amplitude).round(3), np.sort(form.mode)
    (array([0.   , 1.414]), array([-1,  0]))
    """
    return decoupled(adapt(system.state(*state), system, tolerance))


def decoupled(form: Adapted) -> DecoupledForm | None:
    """Read the form of R9 off adapted coordinates: see `decoupled_form`."""
    W, P = form.W, form.P
    held = W != 0
    diagonal = np.count_nonzero(P - np.diag(np.diag(P))) == 0
    if not (form.eigenspaces and diagonal and held.sum(axis=0).max() <= 1 and held.sum(axis=1).max() <= 1):
        return None
    mode = np.where(held.any(axis=1), np.argmax(held, axis=1), -1)
    sigma_s, sigma_d = form.system.sigma_s, form.system.sigma_d
    return DecoupledForm(
        np.diag(P).copy(), W.sum(axis=1), mode, sigma_s, sigma_d, form.features, form.directions
    )


class PairMargins(NamedTuple):
    """What R10 compares, for all rows and modes.

    Parameters
    ----------
    holder
        Row that selected each mode, −1 for none, shape (n1,).
    support, push
        w_j²λs_j/τp, shape (n1,), and p_i (λd_j − p_i λs_j)/τo, shape (n2, n1).
    sign
        Sign of support − push, of the determinant of the pair's block; 0 where noise hides it.
    resonant
        Where p_i λs_j = λd_j within noise, and no row selected mode j or λs_j = λd_j = 0: the zero is forced (R17).
    """

    holder: np.ndarray
    support: np.ndarray
    push: np.ndarray
    sign: np.ndarray
    resonant: np.ndarray


def pair_margins(form: DecoupledForm, system: MatrixSystem, noise: float) -> PairMargins:
    """Compare support and push of every pair, each difference relative to its own terms."""
    ls, ld, p = form.lambda_s, form.lambda_d, form.predictor[:, None]
    holder = np.full(ls.size, -1)
    holder[form.mode[form.mode >= 0]] = np.flatnonzero(form.mode >= 0)
    w = np.where(holder >= 0, form.amplitude[holder], 0.0)
    support = w**2 * ls / system.tau_predictor
    gap, terms = ld - p * ls, np.abs(ld) + np.abs(p * ls)
    size = np.hypot(ls, ld)
    rounding = 0.0 if system.sigma_s.ndim == 1 else 4 * ls.size * np.finfo(float).eps
    dead = size <= rounding * np.max(size)  # eigenvalues of a matrix are known no better
    near = (np.abs(gap) <= noise * terms) | dead
    push = np.where(near, 0.0, p * gap / system.tau_online)
    support = np.where(dead, 0.0, support)
    sizes = np.abs(support) + np.where(near, 0.0, np.abs(p) * terms / system.tau_online)
    difference = support - push
    sign = np.where(np.abs(difference) <= noise * sizes, 0, np.sign(difference)).astype(int)
    return PairMargins(holder, support, push, sign, near & ((holder < 0) | dead))


def pair_conditions(
    state: MatrixState, system: MatrixSystem, *, tolerance: float = 1e-6
) -> list[PairCondition]:
    """Which (row, mode) pairs make a decoupled fixed point stable or unstable, and why (R10).

    A block of R9 has, besides a forced zero, the two roots of s² + b s + c, where
    b = 1/τt + p_i²λs_j/τo + w_j²λs_j/τp and c τt = margin = w_j²λs_j/τp + p_i (p_i λs_j − λd_j)/τo, with w_j = 0 for
    a mode that no row selected. For λs_j > 0 the pair is stable iff the margin is positive: a selected one iff
    w_j²/τp > (p_i/τo)(r_j − p_i), any other iff p_i < 0 or p_i > r_j.

    Parameters
    ----------
    state, system
        A decoupled fixed point at η = 0, up to a rotation of the features: see `decoupled_form`.
    tolerance
        As in `stability`.

    Returns
    -------
    list of PairCondition
        One for each row and each mode with λs_j > 0 or λd_j ≠ 0, row by row.

    Raises
    ------
    ValueError
        η > 0, the state is not a fixed point, or not a decoupled one, or some λs_j < 0.

    Examples
    --------
    >>> system = MatrixSystem(np.ones(3), np.array([0.9, 0.45, 0.3]))
    >>> state = system.state([[0.4, 0.0, 0.0], [0.0, 0.45, 0.0]], np.diag([0.9, 0.45]))
    >>> [pair.sentence for pair in pair_conditions(state, system) if pair.verdict == "unstable"]
    ['row 2 is unstable towards mode 1, which row 1 holds: w²/τp = 0.16 < (p/τo)(r − p) = 0.2025']
    """
    if system.weight_decay > 0:
        raise ValueError(f"the pairs of R10 are those of `weight_decay` = 0, got {system.weight_decay}")
    rest = require_fixed_point(state, system, tolerance)
    form = decoupled_form(rest.state, system, tolerance=tolerance)
    if form is None:
        raise ValueError(
            "the fixed point must be decoupled: commuting Σs and Σd, a symmetric predictor and rows of `online` along"
            " joint eigenvectors, up to a rotation of the features; `stability` takes any other"
        )
    if np.any(form.lambda_s < 0):
        raise ValueError(f"the eigenvalues of `sigma_s` must be >= 0, got {form.lambda_s.min():.3g}")
    ls, ld, p = form.lambda_s, form.lambda_d, form.predictor[:, None]
    holder, support, push, sign, _ = pair_margins(form, system, rest.noise)
    pairs = []
    for i, j in np.argwhere(np.broadcast_to((ls > 0) | (ld != 0), sign.shape)).tolist():
        k = int(sign[i, j])
        towards = f"row {i + 1} is {_SIGN[k]} towards mode {j + 1}"
        if holder[j] >= 0:
            sizes = f"w²/τp = {support[j] / ls[j]:.4g} {'=><'[k]} (p/τo)(r − p) = {push[i, j] / ls[j]:.4g}"
            sentence = f"{towards}, which row {holder[j] + 1} holds: {sizes}"
        else:
            place = ("an end of", "outside", "inside")[k]
            r = ld[j] / ls[j] if ls[j] else np.inf
            sentence = f"{towards}: p = {p[i, 0]:.4g} is {place} the interval from 0 to r = {r:.4g}"
        margin = float(support[j] - push[i, j])
        pairs.append(PairCondition(i, j, bool(holder[j] >= 0), _SIGN[k], margin, sentence))
    return pairs
