"""Linear stability of fixed points of the full flow: the spectrum of its Jacobian and what decides it (R4, R9, R10).

The Jacobian of 2 n1 n2 + n2² unknowns is sparse in coordinates adapted to the fixed point: inputs along joint
eigenvectors of Σs and Σd, features along the columns of W and then a Schur basis of P. The strongly connected
components of its graph are diagonal blocks of a block triangular form, so their spectra together are the whole
spectrum. At decoupled fixed points these blocks are those of R9, one a (row, mode) pair; at others they are as small
as the point allows, down to one block for all unknowns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from analysis.stability.adapted import (
    ZERO,
    Adapted,
    Rest,
    Spectrum,
    adapt,
    bounded_spectrum,
    components,
    diagonal_blocks,
    require_fixed_point,
)
from analysis.stability.forced_zeros import count_forced_zeros
from analysis.stability.jacobian import dense_jacobian, jacobian_operator, sparse_jacobian
from analysis.stability.pair_conditions import DecoupledForm, decoupled, pair_margins
from analysis.stability.verdicts import Verdict, verdict_of_counts
from dynamics.exact.fixed_points import leaf_eigenvalues
from dynamics.fields.predictors import times
from dynamics.states import MatrixState, pack, unpack
from dynamics.system import MatrixSystem, ModeSystem

Method = Literal["auto", "blocks", "dense", "iterative"]


MAX_BLOCK = 2000
"""Largest block that "auto" hands to a dense eigensolver: seconds on one core."""


MAX_ENTRIES = 20_000_000
"""Most non-zero entries of a Jacobian that "auto" assembles: half a gigabyte."""


MAX_RIGHTMOST = 128
"""Eigenvalues that are not negative that "iterative" looks for before it gives up counting."""


@dataclass(frozen=True, eq=False, repr=False)
class Stability:
    """Spectrum of the Jacobian of the full flow at a fixed point.

    Parameters
    ----------
    residual
        `fixed_point_residual` of the state.
    n_unknowns
        2 n1 n2 + n2².
    method
        "blocks", "dense" (one block holds every unknown) or "iterative".
    largest_block
        Size of the largest dense eigenproblem that was solved; 0 for "iterative".
    eigenvalues
        Descending real part: all n_unknowns of them, or for "iterative" the rightmost, without n2² zeros at η = 0.
    n_positive, n_zero, n_negative
        How many eigenvalues have a positive real part, one whose sign is not determined, and a negative one; None
        where an iterative search ended before it reached the negative ones.
    n_zero_forced
        Zeros that every fixed point like this one must have: the dimension of the tangent space of the fixed
        points around it (`forced_zeros`). None where it is not known.
    max_real, min_real
        Largest and smallest real part, NaN where an iterative search did not converge.
    zero_tolerance
        Largest error of an eigenvalue whose sign is not determined, or the width of zero that was asked for.
    zero_spread
        Largest modulus that a forced zero had before it was set to 0: the accuracy reached. NaN for "iterative".
    """

    residual: float
    n_unknowns: int
    method: Method
    largest_block: int
    eigenvalues: np.ndarray
    n_positive: int | None
    n_zero: int | None
    n_negative: int | None
    n_zero_forced: int | None
    max_real: float
    min_real: float
    zero_tolerance: float
    zero_spread: float

    def __repr__(self) -> str:
        """One line."""
        counts = f"{self.n_positive} / {self.n_zero} / {self.n_negative}"
        return f"Stability({self.verdict}, positive / zero / negative = {counts}, method={self.method!r})"

    @property
    def n_zero_other(self) -> int | None:
        """Zeros that nothing forces: a bifurcation or a point that is not hyperbolic across the fixed points."""
        if self.n_zero is None or self.n_zero_forced is None:
            return None
        return self.n_zero - self.n_zero_forced

    @property
    def verdict(self) -> Verdict | None:
        """Stable, saddle, unstable or degenerate across the fixed points; None where the counts are not known."""
        if self.n_positive is None or self.n_negative is None or self.n_zero_other is None:
            return "saddle" if self.max_real > self.zero_tolerance and self.min_real < 0 else None
        return verdict_of_counts(self.n_positive, self.n_zero_other, self.n_negative)

    def report(self) -> dict[str, Any]:
        """Return the spectrum as a dictionary of plain values, as `dyn stability --json` prints it."""
        names = ("n_positive", "n_zero", "n_negative", "max_real", "min_real")
        return {
            "residual": self.residual,
            "n_unknowns": self.n_unknowns,
            "method": self.method,
            "verdict": self.verdict,
            "spectrum": {name: getattr(self, name) for name in names},
            "n_zero_forced": self.n_zero_forced,
            "n_undetermined": self.n_zero_other,
            "zero_tolerance": self.zero_tolerance,
        }


def stability(
    state: MatrixState,
    system: MatrixSystem,
    *,
    method: Method = "auto",
    tolerance: float = 1e-6,
    zero_tolerance: float | None = None,
) -> Stability:
    """Spectrum of the Jacobian at a fixed point of the full flow, and how many directions leave it (R9).

    Parameters
    ----------
    state, system
        A fixed point, at any η >= 0, with any Σs and Σd.
    method
        "blocks": dense eigenproblems of the strongly connected components in adapted coordinates; exact for every
        fixed point. "dense": one eigenproblem of the assembled Jacobian. "iterative": Arnoldi's method for the
        rightmost eigenvalues. "auto": "blocks", or "iterative" where a block is larger than `MAX_BLOCK` or the
        Jacobian has more than `MAX_ENTRIES` entries.
    tolerance
        Largest `fixed_point_residual` that counts as rest, in (0, 1). Entries of W and P below a thousand times the
        residual and at most this, relative to the largest and in adapted coordinates, are taken as 0: the spectrum
        is that of a state so near.
    zero_tolerance
        Real parts within it count as zero; left out, each eigenvalue is judged by its own error.

    Returns
    -------
    Stability
        At decoupled fixed points of η = 0 signs are those of the determinants and traces of R9's blocks, each as a
        difference of two terms. At others by R4 `n_zero_forced` eigenvalues are 0; those that are smallest beside
        their own errors are taken for them and set to 0, and a sign is not determined where the real part is below
        its error (`bounded_spectrum`). "iterative" has no such errors: a real part within `ZERO` times the size of
        the rates (`_rate_size`), or within the residual if that is larger, counts as zero, which is right for
        eigenvalues of condition up to 10⁵. It finds copies of a multiple eigenvalue by deflation, and leaves
        counts None where it did not converge or found more than `MAX_RIGHTMOST` that are not negative.

    Raises
    ------
    ValueError
        The state is not a fixed point within `tolerance`, or an option is not one of those above.

    Notes
    -----
    W → S W, P → S P S⁻¹ leads from fixed point to fixed point (R4) but keeps the spectrum only for orthogonal S.

    Examples
    --------
    >>> system = MatrixSystem(np.ones(3), np.array([0.9, 0.5, 0.2]))
    >>> result = stability(system.state([[0.9, 0.0, 0.0]], [[0.9]]), system)
    >>> result.n_unknowns, result.n_positive, result.n_zero_forced, result.verdict
    (7, 0, 1, 'stable')
    """
    if method not in get_args(Method):
        raise ValueError(f"`method` must be one of {', '.join(get_args(Method))}, got {method!r}")
    if zero_tolerance is not None and not (np.isfinite(zero_tolerance) and zero_tolerance >= 0):
        raise ValueError(f"`zero_tolerance` must be finite and >= 0, got {zero_tolerance}")
    rest = require_fixed_point(state, system, tolerance)
    form = adapt(rest.state, system, rest.noise)
    plain = decoupled(form) if system.weight_decay == 0 and method in ("auto", "blocks") else None
    if plain is not None and zero_tolerance is None:
        return _decoupled(plain, system, rest)
    forced = count_forced_zeros(form, rest.noise)
    noise = max(np.finfo(float).eps, rest.residual / _rate_size(rest.state, system))
    if method == "dense":
        jacobian = dense_jacobian(rest.state, system)
        spectrum = bounded_spectrum([jacobian[None]], noise)
        return counted(spectrum, len(jacobian), rest.residual, forced, zero_tolerance)
    if method == "blocks" or (method == "auto" and _n_entries(form) <= MAX_ENTRIES):
        jacobian = sparse_jacobian(form.W, form.P, form.E, form.system)
        component = components(jacobian)
        largest = int(np.bincount(component).max())
        if method == "blocks" or largest <= MAX_BLOCK:
            spectrum = bounded_spectrum(diagonal_blocks(jacobian, component), noise)
            return counted(spectrum, largest, rest.residual, forced, zero_tolerance)
    return _iterative(rest, system, forced, zero_tolerance)


def _n_entries(form: Adapted) -> int:
    """Bound the number of entries of the assembled Jacobian from those of its factors."""
    count = np.count_nonzero
    W, P, E, system = form.W, form.P, form.E, form.system
    n2 = P.shape[0]
    W_s, W_d = times(W, system.sigma_s), times(W, system.sigma_d)
    online = count(P.T @ P) * count(system.sigma_s) + count(P) * (count(W_s) + count(system.sigma_d))
    predictor = count(P) * count(W_s) + n2 * (count(W_s @ W.T) + count(W_d))
    return int(online + predictor + 2 * n2 * count(E) + 2 * W.size)


def _rate_size(state: MatrixState, system: MatrixSystem) -> float:
    """Size of the rates at a state: what a residual is small beside."""
    W, P, _ = state
    sigma_size = np.linalg.norm(system.sigma_s, np.inf if system.sigma_s.ndim == 1 else 2)
    return float(
        1 / system.tau_target
        + np.linalg.norm(P, 2) ** 2 * sigma_size / system.tau_online
        + np.linalg.norm(W, 2) ** 2 * sigma_size / system.tau_predictor
        + system.weight_decay
    )


def _decoupled(form: DecoupledForm, system: MatrixSystem, rest: Rest) -> Stability:
    """Spectrum of a decoupled fixed point at η = 0 from R9's blocks, signs from their determinants and traces.

    A pair of row i and mode j has the roots of s² + b s + margin/τt; one that holds a mode has a forced zero, too, and
    so has every pair of a row and a column of P that belongs to a collapsed row.
    """
    holder, support, push, sign, resonant = pair_margins(form, system, rest.noise)
    p, n2, n1 = form.predictor[:, None], form.predictor.size, holder.size
    margin = np.where(sign == 0, 0.0, support - push)
    rates = np.broadcast_to(1 / system.tau_target, margin.shape)
    terms = (rates, p**2 * form.lambda_s / system.tau_online, np.broadcast_to(support, margin.shape))
    b, b_size = sum(terms), sum(np.abs(term) for term in terms)
    damping = np.where(np.abs(b) <= rest.noise * b_size, 0, np.sign(b)).astype(int)
    clock = ModeSystem(np.ones(n1), np.ones(n1), tau_target=system.tau_target)
    pairs = leaf_eigenvalues(p * form.lambda_d / system.tau_online, margin, clock)
    positive = np.where(sign < 0, 1, np.where(damping < 0, 1 + sign, 0))
    negative = np.where(sign < 0, 1, np.where(damping > 0, 1 + sign, 0))
    structural = n2 * n2
    n = 2 * n1 * n2 + n2 * n2
    values = np.concatenate([pairs.ravel(), np.zeros(structural)])
    values = values[np.argsort(-values.real, kind="stable")]
    n_positive, n_negative = int(positive.sum()), int(negative.sum())
    return Stability(
        residual=rest.residual,
        n_unknowns=n,
        method="blocks",
        largest_block=3 if np.any(holder >= 0) else 2,
        eigenvalues=values,
        n_positive=n_positive,
        n_zero=n - n_positive - n_negative,
        n_negative=n_negative,
        n_zero_forced=structural + int(np.sum(resonant)),
        max_real=float(values[0].real),
        min_real=float(values[-1].real),
        zero_tolerance=0.0,
        zero_spread=0.0,
    )


def counted(
    spectrum: Spectrum, largest: int, residual: float, forced: int | None, zero_tolerance: float | None
) -> Stability:
    """Count signs of eigenvalues by their own errors; the `forced` ones that are nearest to 0 beside these are 0."""
    n = spectrum.eigenvalues.size
    errors = spectrum.errors if zero_tolerance is None else np.full(n, zero_tolerance)
    with np.errstate(divide="ignore", invalid="ignore"):
        doubt = np.where(
            spectrum.errors == 0,
            np.abs(spectrum.eigenvalues) * np.inf,
            np.abs(spectrum.eigenvalues) / spectrum.errors,
        )
    doubt = np.where(spectrum.eigenvalues == 0, 0.0, doubt)
    order = np.lexsort((np.abs(spectrum.eigenvalues), doubt))
    eigenvalues, errors = spectrum.eigenvalues[order].copy(), errors[order]
    spread = float(np.max(np.abs(eigenvalues[: forced or 0]), initial=0.0))
    eigenvalues[: forced or 0] = 0.0
    order = np.argsort(-eigenvalues.real, kind="stable")
    eigenvalues, errors = eigenvalues[order], errors[order]
    n_positive = int(np.sum(eigenvalues.real > errors))
    n_negative = int(np.sum(eigenvalues.real < -errors))
    hidden = (np.abs(eigenvalues.real) <= errors) & (eigenvalues != 0)
    return Stability(
        residual=residual,
        n_unknowns=n,
        method="dense" if largest == n else "blocks",
        largest_block=largest,
        eigenvalues=eigenvalues,
        n_positive=n_positive,
        n_zero=n - n_positive - n_negative,
        n_negative=n_negative,
        n_zero_forced=forced,
        max_real=float(eigenvalues[0].real),
        min_real=float(eigenvalues[-1].real),
        zero_tolerance=float(np.max(errors[hidden], initial=0.0))
        if zero_tolerance is None
        else zero_tolerance,
        zero_spread=spread,
    )


def _feature_motions(state: MatrixState, tolerance: float) -> tuple[Callable[[np.ndarray], np.ndarray], int]:
    """Projection on n2² of the tangents that η = 0 forces, and their number.

    With W = L S Rᵀ of rank k and N spanning the complement of L they are δW = δΘ = X Rᵀ,
    δP = (X S⁻¹ Lᵀ P L S − P X) S⁻¹ Lᵀ + Z Nᵀ for any X and Z, and X = δW R, Z = δP N read them off again.
    """
    W, P, _ = state
    L, s, Rt = np.linalg.svd(W)
    k = int(np.sum(s > tolerance * s[0]))
    L, N, s, R = L[:, :k], L[:, k:], s[:k], Rt[:k].T
    M = (L.T @ P @ L) * s / s[:, None]

    def project(v: np.ndarray) -> np.ndarray:
        dW, dP, _ = unpack(v, state)
        X, Z = dW @ R, dP @ N
        moved = X @ R.T
        return pack(MatrixState(moved, (X @ M - P @ X) / s @ L.T + Z @ N.T, moved))

    return project, P.size


class _Rightmost(NamedTuple):
    """Every eigenvalue right of the cut and then some left of it; `complete` where all of the former are there."""

    eigenvalues: np.ndarray
    complete: bool


def _rightmost(multiply: Callable[[np.ndarray], np.ndarray], n: int, *, cut: float, limit: int) -> _Rightmost:
    """Find eigenvalues of positive real part above `cut`, every copy of them, by Arnoldi's method and deflation.

    A − 2 ρ V Vᵀ, V an orthonormal basis of an invariant subspace, moves the eigenvalues that V holds to the left and
    keeps the others. A Krylov space shows one copy of a multiple eigenvalue; deflation lets the next pass show another.
    """
    from scipy.sparse.linalg import ArpackError, LinearOperator, eigs

    V, found = np.empty((n, 0)), np.empty(0)
    start = np.random.default_rng(0).standard_normal(n)
    for _ in range(limit + 1):  # a pass that does not end the search finds one at least
        reach = 2 * np.max(np.abs(found), initial=0.0)
        deflated = LinearOperator(
            (n, n), matvec=lambda v, V=V, reach=reach: multiply(v) - reach * (V @ (V.T @ v)), dtype=np.float64
        )
        try:
            values, vectors = eigs(
                deflated, k=min(6, n - 2), ncv=min(n, 64), which="LR", v0=start, maxiter=500
            )
        except ArpackError:
            break
        kept = vectors[:, values.real >= cut]
        if not kept.size:
            return _Rightmost(np.concatenate([found, values]), True)
        fresh = np.hstack([kept.real, kept.imag])
        U, size, _ = np.linalg.svd(fresh - V @ (V.T @ fresh), full_matrices=False)
        V = np.linalg.qr(np.hstack([V, U[:, size > 1e-8 * size[0]]]))[0]  # what is left out comes back
        found = np.linalg.eigvals(V.T @ np.stack([multiply(v) for v in V.T], axis=1))
        if found.size > limit:
            break
    return _Rightmost(found, False)


def _iterative(
    rest: Rest, system: MatrixSystem, forced: int | None, zero_tolerance: float | None
) -> Stability:
    """Rightmost eigenvalues by Arnoldi's method, the forced zeros of η = 0 moved out of the way.

    J − c Π with Π the projection on the feature motions has −c in place of n2² zeros and else the spectrum of J.
    J + c makes what is near 0 large: ARPACK's stopping rule is relative to the modulus.
    """
    jacobian = jacobian_operator(rest.state, system)
    n = jacobian.shape[0]
    c = _rate_size(rest.state, system)
    if zero_tolerance is None:
        zero_tolerance = max(ZERO * c, rest.residual)
    project, n_moved = (
        _feature_motions(rest.state, rest.noise) if system.weight_decay == 0 else (np.zeros_like, 0)
    )
    right = _rightmost(
        lambda v: jacobian.matvec(v) + c * (v - project(v)), n, cut=c - zero_tolerance, limit=MAX_RIGHTMOST
    )
    left = _rightmost(lambda v: c * v - jacobian.matvec(v), n, cut=np.inf, limit=0)
    eigenvalues = right.eigenvalues[np.argsort(-right.eigenvalues.real)] - c
    n_positive = int(np.sum(eigenvalues.real > zero_tolerance))
    n_zero = int(np.sum(np.abs(eigenvalues.real) <= zero_tolerance)) + n_moved
    reals = [*eigenvalues.real, *[0.0] * bool(n_moved)]
    return Stability(
        residual=rest.residual,
        n_unknowns=n,
        method="iterative",
        largest_block=0,
        eigenvalues=eigenvalues,
        n_positive=n_positive if right.complete else None,
        n_zero=n_zero if right.complete else None,
        n_negative=n - n_positive - n_zero if right.complete else None,
        n_zero_forced=forced,
        max_real=float(max(reals)) if eigenvalues.size else np.nan,
        min_real=c - float(np.max(left.eigenvalues.real)) if left.complete else np.nan,
        zero_tolerance=zero_tolerance,
        zero_spread=np.nan,
    )
