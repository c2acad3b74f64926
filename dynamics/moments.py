"""Second moments of the views, Σs and Σd, all that linear BYOL sees of its data.

Σs = E[x1 x1ᵀ] and Σd = E[x2 x1ᵀ] for two views drawn independently given the sample: Σd is the correlation of
the view averaged over augmentations, hence 0 ≼ Σd ≼ Σs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dynamics.augment import Augmentation, scrambled, view_moments
from dynamics.datasets import check_finite, real_numbers, standardised
from dynamics.modes import relative_commutator
from dynamics.objectives import linear_objectives
from dynamics.states import MatrixState, random_state
from dynamics.storage import read_npz, write_npz

# A printed matrix has six significant digits at the least (%g): its entries are off by up to 5e-6 of themselves,
# and Σ by up to 5e-6 ‖Σ‖_F. Matrices that went through float32 (6e-8) or were summed in float64 lie well within.
SLACK = 5e-6


class Modes(NamedTuple):
    """Ratios r in [0, 1], (n1,) descending, and directions u, the columns of (n1, n1), of M = Σd Σs⁻¹."""

    ratios: np.ndarray
    directions: np.ndarray


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments Σs and Σd of the views, 0 ≼ Σd ≼ Σs, on the support of Σs.

    Parameters
    ----------
    sigma_s, sigma_d
        Σs and Σd, shape (n1, n1), symmetric positive semidefinite with Σd ≼ Σs, all within the rounding of six
        printed digits. When Σs is singular both are rewritten in an orthonormal basis of its support.
    support
        That basis V, shape (n_inputs, n1): V Σ Vᵀ is in terms of the samples. None when nothing was dropped; give
        it only with matrices that are written in it.
    notes
        What was done to the data, one plain sentence each.
    standard_error
        Of sampled moments: the larger standard error of Σs and Σd in the Frobenius norm, over ‖Σs‖_F; else None.

    Raises
    ------
    ValueError
        A matrix is not square, finite, symmetric or positive semidefinite, the two do not fit, Σs is zero, Σd
        exceeds Σs or reaches outside its support.

    Notes
    -----
    A direction is dropped when its eigenvalue of Σs is zero to rounding: at most n1 eps ‖Σs‖_F, or eps ‖Σs‖_F with
    the eps of float32 if the entries have no more digits, or twice the depth of the most negative eigenvalue.
    Eigenvalues of a diagonal matrix are its entries, without rounding.

    Examples
    --------
    >>> Moments(np.diag([2.0, 1.0, 0.0]), np.diag([1.0, 0.8, 0.0])).ratios
    array([0.8, 0.5])
    """

    sigma_s: np.ndarray
    sigma_d: np.ndarray
    support: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    standard_error: float | None = None

    def __post_init__(self) -> None:
        sigma_s, sigma_d = _symmetric("sigma_s", self.sigma_s), _symmetric("sigma_d", self.sigma_d)
        _check_one_shape("sigma_s", sigma_s, "sigma_d", sigma_d)
        support = None if self.support is None else _orthonormal("support", self.support, len(sigma_s))
        error = self.standard_error
        if error is not None and not 0 <= error < np.inf:
            raise ValueError(f"`standard_error` must be finite and >= 0, or None, got {error}")
        notes = tuple(self.notes)

        values, basis = _support(sigma_s)
        _check_semidefinite("sigma_d", sigma_d, _slack(sigma_s, sigma_d))
        n, n1 = basis.shape
        if n1 < n:
            sigma_s, sigma_d = np.diag(values), _restrict(sigma_s, sigma_d, basis)
            support = basis if support is None else support @ basis
            notes += (f"dropped {n - n1} of {n} directions, in which Σs is zero to rounding",)
        _check_order(sigma_s, sigma_d)

        for name, array in (("sigma_s", sigma_s), ("sigma_d", sigma_d), ("support", support)):
            if array is not None:
                array.setflags(write=False)
            object.__setattr__(self, name, array)
        object.__setattr__(self, "notes", notes)

    @property
    def n1(self) -> int:
        """Input dimension of the flow: that of the support of Σs."""
        return len(self.sigma_s)

    @property
    def n_inputs(self) -> int:
        """Dimension of the samples."""
        return self.n1 if self.support is None else len(self.support)

    @property
    def dropped_directions(self) -> int:
        """Number of directions of the samples in which Σs is zero."""
        return self.n_inputs - self.n1

    @cached_property
    def commutator(self) -> float:
        """‖Σs Σd − Σd Σs‖_F / ‖Σs Σd‖_F: zero when the modes decouple (R3), and when Σd = 0."""
        return relative_commutator(self.sigma_s, self.sigma_d)

    @cached_property
    def modes(self) -> Modes:
        """Eigenmodes of M = Σd Σs⁻¹: ratios r, descending, and directions u with Σd u = r Σs u, uᵀ Σs u = 1."""
        from scipy.linalg import eigh

        ratios, directions = eigh(self.sigma_d, self.sigma_s)
        modes = Modes(np.clip(ratios[::-1], 0, 1), np.ascontiguousarray(directions[:, ::-1]))
        for array in modes:
            array.setflags(write=False)
        return modes

    @property
    def ratios(self) -> np.ndarray:
        """Eigenvalues r of M = Σd Σs⁻¹ in [0, 1], shape (n1,), descending."""
        return self.modes.ratios

    @classmethod
    def from_eigenvalues(cls, lambda_s: Any, lambda_d: Any) -> Moments:
        """Moments of decoupled modes, Σs = diag(λs) and Σd = diag(λd).

        Parameters
        ----------
        lambda_s, lambda_d
            Eigenvalues, λs > 0 and 0 <= λd <= λs; one number a mode, or one for all modes.

        Raises
        ------
        ValueError
            An eigenvalue is out of range, with its mode counted from 1, or the lengths differ.

        Examples
        --------
        >>> Moments.from_eigenvalues([1.0, 2.0], [0.5, 0.2]).ratios
        array([0.5, 0.1])
        """
        s, d = real_numbers("lambda_s", lambda_s), real_numbers("lambda_d", lambda_d)
        if s.ndim > 1 or d.ndim > 1 or (s.shape != d.shape and s.ndim and d.ndim) or 0 in (s.size, d.size):
            raise ValueError(f"`lambda_s` and `lambda_d` must pair up, got shapes {s.shape} and {d.shape}")
        s, d = np.broadcast_arrays(np.atleast_1d(s), np.atleast_1d(d))
        for mode, (one_s, one_d) in enumerate(zip(s, d, strict=True), start=1):
            if not 0 < one_s < np.inf:
                raise ValueError(f"`lambda_s` must be finite and > 0, got {one_s} in mode {mode}")
            if not 0 <= one_d <= one_s:
                raise ValueError(f"`lambda_d` must be >= 0 and <= λs = {one_s}, got {one_d} in mode {mode}")
        return cls(np.diag(s), np.diag(d))

    @classmethod
    def from_matrices(cls, sigma_s: Any, sigma_d: Any) -> Moments:
        """Moments given as matrices Σs and Σd with 0 ≼ Σd ≼ Σs, shape (n1, n1) each; raises as `Moments` does.

        >>> Moments.from_matrices([[2.0, 1.0], [1.0, 2.0]], [[1.0, 0.5], [0.5, 1.0]]).commutator
        0.0
        """
        return cls(sigma_s, sigma_d)

    @classmethod
    def from_views(cls, x1: Any, x2: Any) -> Moments:
        """Moments estimated from pairs of views, as they are: nothing is centred or scaled.

            Σs = mean of (x1 x1ᵀ + x2 x2ᵀ)/2,  Σd = mean of (x1 x2ᵀ + x2 x1ᵀ)/2

        Parameters
        ----------
        x1, x2
            Two views of each sample, shape (N, d), N >= 2, pairs independent of one another.

        Returns
        -------
        Moments
            Exchanging x1 and x2 changes nothing (R29). Σd ≼ Σs by construction, but sampling can leave Σd
            indefinite: ratios below zero are set to zero, and a note says by how much.

        Raises
        ------
        ValueError
            The views are not finite numbers of one shape, or the negative part of Σd exceeds five standard
            errors: the views were not drawn independently given the sample.

        Notes
        -----
        Positive semidefinite matrices are a convex cone, so an estimate is no further from it than from the true
        Σd: its negative part is no larger than its error.

        Examples
        --------
        >>> x1 = np.array([[1.0, 0.0], [0.0, 1.0]])
        >>> Moments.from_views(x1, x1).ratios
        array([1., 1.])
        """
        x1, x2 = real_numbers("x1", x1), real_numbers("x2", x2)
        for name, x in (("x1", x1), ("x2", x2)):
            if x.ndim != 2 or len(x) < 2 or x.shape[1] == 0:
                raise ValueError(f"`{name}` must hold at least two views, shape (N, d), got shape {x.shape}")
            check_finite(name, x)
        _check_one_shape("x1", x1, "x2", x2)
        n = len(x1)
        cross = x1.T @ x2 / n
        sigma_s, sigma_d = (x1.T @ x1 + x2.T @ x2) / (2 * n), (cross + cross.T) / 2

        # squared norms of (x1 x1ᵀ + x2 x2ᵀ)/2 and of (x1 x2ᵀ + x2 x1ᵀ)/2, pair by pair
        a, b, c = np.sum(x1**2, 1), np.sum(x2**2, 1), np.sum(x1 * x2, 1)
        error_s = _error_of_mean((a**2 + b**2 + 2 * c**2) / 4, sigma_s)
        error_d = _error_of_mean((a * b + c**2) / 2, sigma_d)
        below = _norm(np.minimum(np.linalg.eigvalsh(sigma_d), 0))
        if below > max(5 * error_d, SLACK * _norm(sigma_s)):
            raise ValueError(
                "`x1` and `x2` must be drawn independently given the sample, which makes Σd positive"
                f" semidefinite, got a negative part of norm {below:.3g}, standard error {error_d:.3g}"
            )
        notes = (f"moments estimated from {n} pairs of views",)
        return cls._from_samples(sigma_s, sigma_d, max(error_s, error_d), notes)

    @classmethod
    def additive_noise(cls, sigma_x: Any, sigma_n: Any) -> Moments:
        """Moments of views x + n with independent noise n: Σs = Σx + Σn, Σd = Σx (R16).

        Parameters
        ----------
        sigma_x, sigma_n
            Correlation of the samples and of the noise, shape (n1, n1), symmetric positive semidefinite.

        Raises
        ------
        ValueError
            A matrix is not symmetric positive semidefinite, or the shapes differ.

        Examples
        --------
        >>> Moments.additive_noise(np.eye(2), np.diag([1.0, 3.0])).ratios
        array([0.5 , 0.25])
        """
        sigma_x, sigma_n = _covariance("sigma_x", sigma_x), _covariance("sigma_n", sigma_n)
        _check_one_shape("sigma_x", sigma_x, "sigma_n", sigma_n)
        return cls(sigma_x + sigma_n, sigma_x)

    @classmethod
    def scrambling(cls, sigma_x: Any, basis: Any) -> Moments:
        """Moments of views (Pc + U B Uᵀ) x, B_ij ~ N(0, 1), Pc = I − U Uᵀ.

            Σs = Pc Σx Pc + tr(Uᵀ Σx U) U Uᵀ,  Σd = Pc Σx Pc

        Parameters
        ----------
        sigma_x
            Σx, correlation of the samples, shape (n1, n1), symmetric positive semidefinite.
        basis
            U, orthonormal columns that span the scrambled subspace, shape (n1, k).

        Raises
        ------
        ValueError
            Σx is not symmetric positive semidefinite, or the columns of U are not orthonormal.

        Notes
        -----
        Σd Σs⁺ = Pc for every Σx ≻ 0, commuting with Pc or not: ratios are 1 on what is conserved and 0 on what is
        scrambled. Source: R16, which corrects the printed Σs.

        Examples
        --------
        >>> Moments.scrambling(np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([[0.0], [1.0]])).ratios
        array([1., 0.])
        """
        sigma_x, U = _covariance("sigma_x", sigma_x), _orthonormal("basis", basis)
        if len(U) != len(sigma_x):
            raise ValueError(f"`basis` must have {len(sigma_x)} rows like `sigma_x`, got shape {U.shape}")
        return cls(*scrambled(sigma_x, sigma_x, U))

    @classmethod
    def from_data(
        cls,
        images: Any,
        augmentations: Sequence[Augmentation],
        *,
        center: bool = True,
        scale: bool = True,
        batch_size: int | None = None,
        draws: int = 8,
        seed: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> Moments:
        """Moments of augmented data, read in batches: memory for the moments and one batch is enough.

        Parameters
        ----------
        images
            Samples (N, d), (N, h, w) or (N, h, w, c), N >= 2, of any real number type; a memory map will do.
        augmentations
            The chain that makes a view of a sample, in its order.
        center, scale, batch_size, progress
            Subtract the mean image; divide by the deviation of all pixels; images a batch; a callable that is told
            (done, total): see `dynamics.datasets.standardised`.
        draws, seed
            Views drawn of each image where an augmentation has no closed form, >= 4, and the seed of the draws:
            see `dynamics.augment.view_moments`. Sums do not depend on batches but by rounding; draws do.

        Returns
        -------
        Moments
            Exact when every augmentation has a closed form; otherwise sampled without bias, with the standard error
            of drawing augmentations, from two independent halves of the draws.

        Raises
        ------
        ValueError
            The images are not finite real numbers, at least two, different; an augmentation does not suit their
            shape; a setting is out of range.

        Examples
        --------
        >>> from dynamics.augment import Noise
        >>> Moments.from_data(np.array([[0.0], [2.0]]), [Noise(1.0)]).ratios
        array([0.5])
        """
        batches = standardised(images, center=center, scale=scale, batch_size=batch_size, progress=progress)
        estimates = view_moments(batches, augmentations, draws=draws, seed=seed)
        chain = f"augmentations {', '.join(map(str, augmentations)) or 'none'}"
        if len(estimates) == 1:
            return cls(*estimates[0], notes=(*batches.notes, f"{chain}: averages exact"))
        (s1, d1), (s2, d2) = estimates
        # half the difference of two independent estimates is, in the mean square, the error of their mean
        error = max(_norm(s1 - s2), _norm(d1 - d2)) / 2
        notes = (*batches.notes, f"{chain}: sampled with {draws} draws an image")
        return cls._from_samples((s1 + s2) / 2, (d1 + d2) / 2, error, notes)

    @classmethod
    def _from_samples(
        cls, sigma_s: np.ndarray, sigma_d: np.ndarray, error: float, notes: tuple[str, ...]
    ) -> Moments:
        """Moments from estimates: ratios that sampling left outside [0, 1] are clipped, so that 0 ≼ Σd ≼ Σs.

        Clipping eigenvalues of Σd itself would add to it, and could push it above Σs.
        """
        values, basis = _support(sigma_s)
        relative = error / _norm(sigma_s)
        notes += (f"relative standard error of the moments by sampling {relative:.2g}",)
        root = np.sqrt(values)
        ratios, q = np.linalg.eigh((basis / root).T @ sigma_d @ (basis / root))
        clipped = np.clip(ratios, 0, 1)
        outside = np.abs(ratios - clipped)
        if np.max(outside) > SLACK:
            modes = (basis * root) @ q
            projected = (modes * clipped) @ modes.T
            change = _norm(projected - sigma_d) / _norm(sigma_d)
            notes += (
                f"sampling left {np.count_nonzero(outside > SLACK)} ratios outside [0, 1], by {outside.max():.2g}"
                f" at most: clipped, which changes Σd by {change:.2g} of its norm",
            )
            sigma_d = projected
        return cls(sigma_s, sigma_d, notes=notes, standard_error=relative)


def byol_prime_moments(moments: Moments, alpha: float, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """Moments with which the BYOL flow is that of BYOL′: Σs′ = 2α(Σs − Σd) + β Σs, Σd′ = β Σs.

    Parameters
    ----------
    moments
        Σs and Σd of the views.
    alpha, beta
        Weights of alignment and of the cross-model loss, α finite and >= 0, β finite and > 0.

    Returns
    -------
    tuple
        Σs′ and Σd′, shape (n1, n1) each; their ratios r′ = β/(β + 2α(1 − r)) rise with r.

    Raises
    ------
    ValueError
        A weight is out of range.

    Notes
    -----
    Let A = P W. BYOL′ = α E‖A x1 − A x2‖² + β E‖A x1 − sg(Θ x1)‖² has one view in its cross-model loss, and

        ∂BYOL′/∂A = 2 [2α A (Σs − Σd) + β (A Σs − Θ Σs)] = −2 (Θ Σd′ − A Σs′),

    so −½ ∇BYOL′ is the BYOL flow with Σs′ and Σd′. BYOL′ has no ½ in front, BYOL = ½ E‖A x1 − sg(Θ x2)‖² has: t is
    the same in both. Source: R24.

    Examples
    --------
    >>> byol_prime_moments(Moments.from_eigenvalues(1.0, 0.5), 1.0, 1.0)
    (array([[2.]]), array([[1.]]))
    """
    return objective_moments("byol-prime", moments, alpha, beta)


def raft_moments(moments: Moments, alpha: float, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """Moments with which the BYOL flow is that of RAFT: Σs′ = 2α(Σs − Σd) − β Σs, Σd′ = −β Σs.

    Parameters, what is raised and the derivation are those of `byol_prime_moments` with −β for β, squared errors
    without normalisation. Plain arrays, for Σs′ may be indefinite: modes with 2α(1 − r) < β run away. Source: R26.

    >>> raft_moments(Moments.from_eigenvalues(1.0, 0.5), 1.0, 2.0)
    (array([[-1.]]), array([[-2.]]))
    """
    return objective_moments("raft", moments, alpha, beta)


def objective_moments(
    objective: str, moments: Moments, alpha: float = 1.0, beta: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Moments with which the BYOL flow is that of an objective of `dynamics.objectives.OBJECTIVES`.

    Parameters
    ----------
    objective
        Name of a row that has such moments.
    moments
        Σs and Σd of the views.
    alpha, beta
        Its weights, α finite and >= 0, β finite and > 0; byol has none.

    Raises
    ------
    ValueError
        No flow of (W, P, Θ) follows the objective, or a weight is out of range.

    Examples
    --------
    >>> objective_moments("byol", Moments.from_eigenvalues(1.0, 0.5))
    (array([[1.]]), array([[0.5]]))
    """
    known = linear_objectives()
    if objective not in known:
        raise ValueError(f"`objective` must be one of {', '.join(known)}, got {objective!r}")
    transform = known[objective].transform
    assert transform is not None
    alpha, beta = _weights(alpha, beta)
    if known[objective].weights:
        _check_size(moments.sigma_s, alpha, beta)
    sigma_s, sigma_d = transform(moments.sigma_s, moments.sigma_d, alpha, beta)
    return sigma_s, sigma_d


def draw_start(
    moments: Moments, dim: int, *, init_online: float = 0.3, init_predictor: float = 0.1, seed: int = 0
) -> MatrixState:
    """Gaussian start of a matrix run on data, the same for all that run on them.

    W ~ init_online·N(0, 1)/√n_inputs and P ~ init_predictor·N(0, 1), Θ = W. W is drawn in terms of the samples, so that
    directions in which the data do not vary change nothing, and then written on the support of Σs.

    Parameters
    ----------
    moments
        Moments of the data.
    dim
        n2 >= 1.
    init_online, init_predictor
        Sizes, finite and >= 0.
    seed
        Seed of the draw.

    Raises
    ------
    ValueError
        A number is out of range.

    Examples
    --------
    >>> draw_start(Moments.from_eigenvalues([1.0, 1.0], [0.5, 0.2]), 3).online.shape
    (3, 2)
    """
    if dim < 1:
        raise ValueError(f"`dim` must be an integer >= 1, got {dim}")
    for name, value in (("init_online", init_online), ("init_predictor", init_predictor)):
        if not 0 <= value < np.inf:
            raise ValueError(f"`{name}` must be finite and >= 0, got {value}")
    n_inputs = moments.n_inputs
    scale = init_online / np.sqrt(n_inputs)
    start = random_state(n_inputs, dim, scale_online=scale, scale_predictor=init_predictor, seed=seed)
    return on_support(start, moments)


def on_support(state: MatrixState, moments: Moments) -> MatrixState:
    """A state in terms of the samples, written on the support of Σs."""
    V = moments.support
    return state if V is None else MatrixState(state.online @ V, state.predictor, state.target @ V)


def save_moments(path: str | Path, moments: Moments) -> None:
    """Write moments to an ``.npz`` archive that `load_moments` reads back, with support, notes and error.

    Parameters
    ----------
    path
        File to write; one that exists is replaced when the new one is complete.
    moments
        What to write.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_moments(f"{folder}/m.npz", Moments.from_eigenvalues(1.0, 0.5))
    ...     load_moments(f"{folder}/m.npz").ratios
    array([0.5])
    """
    arrays = {name: getattr(moments, name) for name in ("sigma_s", "sigma_d", "support", "standard_error")}
    arrays["notes"] = np.array(moments.notes, dtype=np.str_)
    write_npz(Path(path), {name: array for name, array in arrays.items() if array is not None})


def load_moments(path: str | Path) -> Moments:
    """Read moments from an ``.npz`` archive with arrays ``sigma_s`` and ``sigma_d``.

    Parameters
    ----------
    path
        The archive; what else `save_moments` writes is read where it is there.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is no such archive, or its matrices are no moments (see `Moments`).

    Examples
    --------
    >>> load_moments("missing.npz")
    Traceback (most recent call last):
    FileNotFoundError: missing.npz does not exist
    """
    arrays = read_npz(Path(path))
    if not {"sigma_s", "sigma_d"} <= arrays.keys():
        raise ValueError(f"{path} must hold sigma_s and sigma_d, got {', '.join(arrays) or 'no arrays'}")
    error = arrays.get("standard_error")
    return Moments(
        arrays["sigma_s"],
        arrays["sigma_d"],
        support=arrays.get("support"),
        notes=tuple(map(str, np.ravel(arrays.get("notes", ())))),
        standard_error=None if error is None else error.item(),
    )


def _weights(alpha: float, beta: float) -> tuple[float, float]:
    if not 0 <= alpha < np.inf:
        raise ValueError(f"`alpha` must be finite and >= 0, got {alpha}")
    if not 0 < beta < np.inf:
        raise ValueError(f"`beta` must be finite and > 0, got {beta}")
    return alpha, beta


def _check_size(sigma_s: np.ndarray, alpha: float, beta: float) -> None:
    """Refuse weights with which 2α(Σs − Σd) ± βΣs leaves the range of floats."""
    size = np.frexp(np.max(np.abs(sigma_s)))[1]
    most = max(np.frexp(alpha)[1] + 1, np.frexp(beta)[1])
    if most + max(size, 0) + 1 > _MOST_BINARY or np.frexp(beta)[1] + size < -_MOST_BINARY:
        raise ValueError(
            "`alpha` and `beta` must leave 2α(Σs − Σd) and βΣs within 1e-307 and 1e307, got"
            f" {alpha:g} and {beta:g} with Σs of size {np.max(np.abs(sigma_s)):.3g}"
        )


_MOST_BINARY = 1020  # exponent of moments


def _check_one_shape(name_a: str, a: np.ndarray, name_b: str, b: np.ndarray) -> None:
    if a.shape != b.shape:
        raise ValueError(f"`{name_a}` and `{name_b}` must have one shape, got {a.shape} and {b.shape}")


def _error_of_mean(squared_norms: np.ndarray, mean: np.ndarray) -> float:
    """Standard error of the mean of N independent matrices, from their squared Frobenius norms."""
    variance = float(np.mean(squared_norms)) - _norm(mean) ** 2
    return float(np.sqrt(max(variance, 0.0) / (len(squared_norms) - 1)))


def _norm(array: np.ndarray) -> float:
    """Frobenius norm, without overflow."""
    largest = float(np.max(np.abs(array)))
    return largest * float(np.linalg.norm(array / largest)) if largest else 0.0


def _symmetric(name: str, value: Any) -> np.ndarray:
    sigma = real_numbers(name, value)
    if sigma.ndim != 2 or sigma.shape[0] != sigma.shape[1] or sigma.size == 0:
        raise ValueError(f"`{name}` must be a square matrix, got shape {sigma.shape}")
    check_finite(name, sigma)
    asymmetry = np.max(np.abs(sigma - sigma.T))
    if asymmetry > 2 * SLACK * np.max(np.abs(sigma)):  # of two entries, each rounded by itself
        raise ValueError(f"`{name}` must be symmetric, got entries that differ by {asymmetry:.3g}")
    return 0.5 * sigma + 0.5 * sigma.T


def _orthonormal(name: str, value: Any, n_columns: int | None = None) -> np.ndarray:
    U = real_numbers(name, value)
    if U.ndim != 2 or not 0 < U.shape[1] <= U.shape[0] or n_columns not in (None, U.shape[1]):
        wanted = n_columns or "one or more"
        raise ValueError(f"`{name}` must have {wanted} orthonormal columns, got shape {U.shape}")
    check_finite(name, U)
    departure = np.max(np.abs(U.T @ U - np.eye(U.shape[1])))
    if departure > 2 * SLACK:  # |δ(uᵀv)| <= 2 SLACK ‖u‖ ‖v‖ when each entry is off by SLACK of itself
        raise ValueError(f"`{name}` must have orthonormal columns, got UᵀU that is off I by {departure:.3g}")
    return U


def _covariance(name: str, value: Any) -> np.ndarray:
    sigma = _symmetric(name, value)
    _check_semidefinite(name, sigma, _slack(sigma, sigma))
    return sigma


def _is_diagonal(matrix: np.ndarray) -> bool:
    return np.count_nonzero(matrix) == np.count_nonzero(np.diag(matrix))


def _slack(sigma_s: np.ndarray, sigma_d: np.ndarray) -> np.ndarray:
    """How far eigenvalues may be off: SLACK ‖Σs‖_F, and those of diagonal matrices by SLACK of themselves."""
    if _is_diagonal(sigma_s) and _is_diagonal(sigma_d):
        return SLACK * np.abs(np.diag(sigma_s)) + np.finfo(float).tiny
    return np.full(len(sigma_s), SLACK * _norm(sigma_s))


def _is_semidefinite(sigma: np.ndarray, slack: np.ndarray) -> bool:
    try:
        np.linalg.cholesky(sigma + np.diag(slack))  # a tenth of the cost of eigenvalues
    except np.linalg.LinAlgError:
        return False
    return True


def _check_semidefinite(name: str, sigma: np.ndarray, slack: np.ndarray) -> None:
    if not _is_semidefinite(sigma, slack):
        least = np.linalg.eigvalsh(sigma)[0]
        raise ValueError(f"`{name}` must be positive semidefinite, got a smallest eigenvalue of {least:.3g}")


def _check_order(sigma_s: np.ndarray, sigma_d: np.ndarray) -> None:
    if not _is_semidefinite(sigma_s - sigma_d, _slack(sigma_s, sigma_d)):
        from scipy.linalg import eigvalsh

        largest = eigvalsh(sigma_d, sigma_s)[-1]
        raise ValueError(f"`sigma_d` must be at most `sigma_s`, got a ratio of {largest:.7g} > 1")


def _support(sigma_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues of Σs above rounding, shape (n1,), and their eigenvectors, shape (n, n1)."""
    n, norm = len(sigma_s), _norm(sigma_s)
    if norm == 0:
        raise ValueError("`sigma_s` must not be zero: there is nothing to learn from")
    values, vectors, rounding = np.diag(sigma_s), np.eye(n), 0.0
    if not _is_diagonal(sigma_s):
        values, vectors = np.linalg.eigh(sigma_s)
        # sums and eigenvalues in float64 err by n eps, entries of float32 by eps/2, and what rounding has put
        # below zero it may as well have put above
        with np.errstate(over="ignore"):
            float32 = np.array_equal(sigma_s, sigma_s.astype(np.float32))
        eps = max(n * float(np.finfo(np.float64).eps), float32 * float(np.finfo(np.float32).eps))
        rounding = max(eps * norm, -2 * values[0])
    least = np.min(values)
    if least < -SLACK * norm:
        raise ValueError(f"`sigma_s` must be positive semidefinite, got a smallest eigenvalue of {least:.3g}")
    keep = values > rounding
    return values[keep], vectors[:, keep]


def _restrict(sigma_s: np.ndarray, sigma_d: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Σd in a basis of the support of Σs, refused when it reaches outside."""
    inside = basis.T @ sigma_d @ basis
    outside, norm = _norm(sigma_d - basis @ inside @ basis.T), _norm(sigma_s)
    # with t the trace of Σs over what is dropped, Σd ≼ Σs leaves sqrt(t ‖Σs‖) between that and what is kept
    # at most (Cauchy-Schwarz), above the diagonal and below
    dropped = max(np.trace(sigma_s) - np.trace(basis.T @ sigma_s @ basis), 0.0)
    if outside > SLACK * norm + 2 * np.sqrt(dropped * norm):
        raise ValueError(f"`sigma_d` must vanish where `sigma_s` does, got norm {outside:.3g} there")
    return (inside + inside.T) / 2
