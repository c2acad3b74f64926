"""Second moments of the views, Σs and Σd, all that linear BYOL sees of its data.

Σs = E[x1 x1ᵀ] and Σd = E[x2 x1ᵀ] for two views drawn independently given the sample: Σd is the correlation of the
view averaged over augmentations, hence 0 ≼ Σd ≼ Σs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dynamics.augment import Augmentation, scrambled, view_moments
from dynamics.datasets import read_npz, standardised

# A printed matrix has six significant digits at the least (%g): its entries are off by up to 5e-6 of themselves, and
# Σ by up to 5e-6 ‖Σ‖_F. Matrices that went through float32 (6e-8) or were summed in float64 lie well within.
SLACK = 5e-6


class Modes(NamedTuple):
    """Eigenmodes of M = Σd Σs⁻¹ by the symmetric problem Σd u = r Σs u.

    Attributes
    ----------
    ratios
        r in [0, 1], shape (n1,), descending.
    directions
        Columns u, shape (n1, n1), with uᵀ Σs u = 1 and uᵀ Σs u′ = 0 between different modes.
    """

    ratios: np.ndarray
    directions: np.ndarray


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments Σs and Σd of the views, 0 ≼ Σd ≼ Σs, on the support of Σs.

    Parameters
    ----------
    sigma_s, sigma_d
        Σs and Σd, shape (n1, n1), symmetric positive semidefinite with Σd ≼ Σs, all within the rounding of six
        printed digits. When Σs is singular both are rewritten in an orthonormal basis of its support, and n1 is
        the dimension of that.
    support
        That basis V, shape (n_inputs, n1), so that V Σ Vᵀ is in terms of the inputs; None when nothing was dropped.
        Give it only with matrices that are already written in it.
    notes
        What was done to the data, one plain sentence each.
    standard_error
        Of moments that were sampled: the larger standard error of Σs and Σd in the Frobenius norm, over ‖Σs‖_F.
        None when the moments are exact.

    Raises
    ------
    ValueError
        A matrix is not square, finite, symmetric or positive semidefinite, the two do not fit, Σs is zero, Σd
        exceeds Σs or reaches outside its support.

    Notes
    -----
    A direction counts as dropped when its eigenvalue of Σs is within rounding of zero: n1 eps ‖Σs‖_F, or the eps of
    float32 where the matrix holds no more digits than that, or the depth of the most negative eigenvalue twice.
    The eigenvalues of a diagonal matrix are its entries, without rounding.

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
        if sigma_s.shape != sigma_d.shape:
            raise ValueError(
                f"`sigma_s` and `sigma_d` must have one shape, got {sigma_s.shape} and {sigma_d.shape}"
            )
        support = None if self.support is None else _orthonormal("support", self.support, len(sigma_s))
        error = None if self.standard_error is None else _numbers("standard_error", self.standard_error)
        if error is not None and not (error.ndim == 0 and 0 <= error < np.inf):
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
        object.__setattr__(self, "standard_error", None if error is None else float(error))

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
        if not np.any(self.sigma_d):
            return 0.0
        product = (self.sigma_s / _norm(self.sigma_s)) @ (self.sigma_d / _norm(self.sigma_d))
        return float(_norm(product - product.T) / _norm(product))

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
        s, d = _numbers("lambda_s", lambda_s), _numbers("lambda_d", lambda_d)
        if s.ndim > 1 or d.ndim > 1 or (s.shape != d.shape and s.ndim and d.ndim) or s.size * d.size == 0:
            raise ValueError(
                "`lambda_s` and `lambda_d` must hold one eigenvalue a mode each,"
                f" got shapes {s.shape} and {d.shape}"
            )
        s, d = np.broadcast_arrays(np.atleast_1d(s), np.atleast_1d(d))
        for i in range(len(s)):
            if not 0 < s[i] < np.inf:
                raise ValueError(f"`lambda_s` must be finite and > 0, got {s[i]} in mode {i + 1} of {len(s)}")
            if not 0 <= d[i] <= s[i]:
                raise ValueError(
                    f"`lambda_d` must be >= 0 and at most `lambda_s` = {s[i]},"
                    f" got {d[i]} in mode {i + 1} of {len(s)}"
                )
        return cls(np.diag(s), np.diag(d))

    @classmethod
    def from_matrices(cls, sigma_s: Any, sigma_d: Any) -> Moments:
        """Moments given as matrices Σs and Σd, (n1, n1) each, with 0 ≼ Σd ≼ Σs; see `Moments`.

        Raises
        ------
        ValueError
            As for `Moments`.

        Examples
        --------
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
            Two views of each sample, shape (N, d), N >= 2.

        Returns
        -------
        Moments
            Σs − Σd = mean of (x1 − x2)(x1 − x2)ᵀ/2 is positive semidefinite, but Σd need not be, by sampling: ratios
            that came out below zero are set to zero, and a note says so.

        Raises
        ------
        ValueError
            The views are not numbers, finite, or of one shape, or Σd is further from positive semidefinite than five
            standard errors: then the views were not drawn independently given the sample.

        Notes
        -----
        Pairs are taken to be independent, so the standard error is that of a mean of N matrices. The positive
        semidefinite matrices are a convex cone, so a true Σd ≽ 0 is no nearer than the cone: the negative part of the
        estimate is no larger than its error. Exchanging x1 and x2 changes nothing (R29).

        Examples
        --------
        >>> x1 = np.array([[1.0, 0.0], [0.0, 1.0]])
        >>> Moments.from_views(x1, x1).ratios
        array([1., 1.])
        """
        x1, x2 = _numbers("x1", x1), _numbers("x2", x2)
        for name, x in (("x1", x1), ("x2", x2)):
            if x.ndim != 2 or len(x) < 2 or x.shape[1] == 0:
                raise ValueError(f"`{name}` must hold at least two views, shape (N, d), got shape {x.shape}")
            _check_finite(name, x)
        if x1.shape != x2.shape:
            raise ValueError(f"`x1` and `x2` must have one shape, got {x1.shape} and {x2.shape}")
        n = len(x1)
        cross = x1.T @ x2 / n
        sigma_s, sigma_d = (x1.T @ x1 + x2.T @ x2) / (2 * n), (cross + cross.T) / 2

        # ‖(x1 x1ᵀ + x2 x2ᵀ)/2‖² and ‖(x1 x2ᵀ + x2 x1ᵀ)/2‖² of each pair
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
        """Moments of views x + n with independent noise: Σs = Σx + Σn, Σd = Σx.

        Parameters
        ----------
        sigma_x, sigma_n
            Correlation of the samples and of the noise, shape (n1, n1), symmetric positive semidefinite.

        Raises
        ------
        ValueError
            A matrix is not symmetric positive semidefinite, or the shapes differ.

        Notes
        -----
        Source: R16, additive model.

        Examples
        --------
        >>> Moments.additive_noise(np.eye(2), np.diag([1.0, 3.0])).ratios
        array([0.5 , 0.25])
        """
        sigma_x, sigma_n = _covariance("sigma_x", sigma_x), _covariance("sigma_n", sigma_n)
        if sigma_x.shape != sigma_n.shape:
            raise ValueError(
                f"`sigma_x` and `sigma_n` must have one shape, got {sigma_x.shape} and {sigma_n.shape}"
            )
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
        M = Σd Σs⁺ = Pc for every Σx ≻ 0: ratios are 1 on what is conserved and 0 on what is scrambled, whether or not
        Pc and Σx commute. Source: R16, which corrects the printed Σs.

        Examples
        --------
        >>> Moments.scrambling(np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([[0.0], [1.0]])).ratios
        array([1., 0.])
        """
        sigma_x = _covariance("sigma_x", sigma_x)
        U = _orthonormal("basis", basis, None)
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
        """Moments of augmented data, read in batches: memory for Σs and Σd and one batch is enough.

        Parameters
        ----------
        images
            Samples (N, d), (N, h, w) or (N, h, w, c), N >= 2, of any real type; all that is asked of it is a shape
            and slices, so a memory map will do.
        augmentations
            The chain that makes a view of a sample, in its order.
        center
            Subtract the mean image, so that moments are covariances.
        scale
            Divide by one number, the standard deviation of all pixels about the mean image.
        batch_size
            Images a batch, >= 1; left out, about 32 MB of them. Batches change sums by rounding only, but sampled
            augmentations draw batch by batch, so other batches mean other draws.
        draws
            Views drawn of each image where an augmentation has no closed form, >= 4.
        seed
            Seed of those draws.
        progress
            Called as progress(done, total) after each batch; every image is read twice.

        Returns
        -------
        Moments
            Exact averages over augmentations that have a closed form. Otherwise views are drawn up to the last
            augmentation that has none, Σd from pairs of distinct draws of an image (unbiased), and the rest of the
            chain acts in closed form; two independent halves of the draws give the standard error.

        Raises
        ------
        ValueError
            The images are not real numbers, finite, at least two, or all the same; an augmentation does not suit their
            shape; a setting is out of range.

        Notes
        -----
        The mean and the scale are those of the images before augmentation. The samples are taken as the whole
        population: errors are those of drawing augmentations. Source: section 1, R16.

        Examples
        --------
        >>> from dynamics.augment import Noise
        >>> Moments.from_data(np.array([[0.0], [2.0]]), [Noise(1.0)]).ratios
        array([0.5])
        """
        batches = standardised(images, center=center, scale=scale, batch_size=batch_size, progress=progress)
        chain = ", ".join(map(str, augmentations)) or "none"
        estimates = view_moments(batches, augmentations, draws=draws, seed=seed)
        if len(estimates) == 1:
            return cls(*estimates[0], notes=(*batches.notes, f"augmentations {chain}: averages exact"))
        (s1, d1), (s2, d2) = estimates
        # half the difference of two independent estimates is, in the mean square, the error of their mean
        error = max(_norm(s1 - s2), _norm(d1 - d2)) / 2
        notes = (*batches.notes, f"augmentations {chain}: sampled with {draws} draws an image")
        return cls._from_samples((s1 + s2) / 2, (d1 + d2) / 2, error, notes)

    @classmethod
    def _from_samples(
        cls, sigma_s: np.ndarray, sigma_d: np.ndarray, error: float, notes: tuple[str, ...]
    ) -> Moments:
        """Moments from estimates: ratios that sampling left outside [0, 1] are clipped, which keeps 0 ≼ Σd ≼ Σs.

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
    """Moments with which the BYOL flow is the flow of BYOL′: Σs′ = 2α(Σs − Σd) + β Σs, Σd′ = β Σs.

    Parameters
    ----------
    moments
        Σs and Σd of the views.
    alpha, beta
        Weights of alignment and of the cross-model loss, α finite and >= 0, β finite and > 0.

    Returns
    -------
    tuple
        Σs′ and Σd′, shape (n1, n1) each; ratios r′ = β/(β + 2α(1 − r)) rise with r.

    Raises
    ------
    ValueError
        A weight is out of range.

    Notes
    -----
    With A = P W and squared errors, BYOL′ = α E‖A x1 − A x2‖² + β E‖A x1 − sg(Θ x1)‖² with one view in the cross-model
    loss, whose derivative by A is

        2 [2α A (Σs − Σd) + β (A Σs − Θ Σs)] = −2 (Θ Σd′ − A Σs′).

    So −½ ∇ BYOL′ is the BYOL flow with Σs′ and Σd′: t means the same as in BYOL, whose loss ½ E‖A x1 − sg(Θ x2)‖²
    has the ½ in front. Source: R24.

    Examples
    --------
    >>> byol_prime_moments(Moments.from_eigenvalues(1.0, 0.5), 1.0, 1.0)
    (array([[2.]]), array([[1.]]))
    """
    alpha, beta = _weights(alpha, beta)
    return 2 * alpha * (moments.sigma_s - moments.sigma_d) + beta * moments.sigma_s, beta * moments.sigma_s


def raft_moments(moments: Moments, alpha: float, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """Moments with which the BYOL flow is the flow of RAFT: Σs′ = 2α(Σs − Σd) − β Σs, Σd′ = −β Σs.

    Parameters
    ----------
    moments
        Σs and Σd of the views.
    alpha, beta
        Weights of alignment and of the cross-model loss, α finite and >= 0, β finite and > 0.

    Returns
    -------
    tuple
        Σs′ and Σd′, shape (n1, n1) each, as plain arrays: modes with 2α(1 − r) < β have λs′ < 0 and run away.

    Raises
    ------
    ValueError
        A weight is out of range.

    Notes
    -----
    `byol_prime_moments` with −β for β, and time counted in the same way: RAFT runs away from its teacher. Squared
    errors, no normalisation. Source: R26.

    Examples
    --------
    >>> raft_moments(Moments.from_eigenvalues(1.0, 0.5), 1.0, 1.0)
    (array([[0.]]), array([[-1.]]))
    """
    alpha, beta = _weights(alpha, beta)
    return 2 * alpha * (moments.sigma_s - moments.sigma_d) - beta * moments.sigma_s, -beta * moments.sigma_s


def save_moments(path: str | Path, moments: Moments) -> None:
    """Write moments to an ``.npz`` archive that `load_moments` reads back, with support, notes and standard error.

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
    path = Path(path)
    arrays: dict[str, Any] = {"sigma_s": moments.sigma_s, "sigma_d": moments.sigma_d}
    if moments.notes:
        arrays["notes"] = np.array(moments.notes)
    for name in ("support", "standard_error"):
        if getattr(moments, name) is not None:
            arrays[name] = getattr(moments, name)
    partial = path.with_name(path.name + ".part")
    try:
        with partial.open("wb") as file:
            np.savez(file, **arrays)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load_moments(path: str | Path) -> Moments:
    """Read moments from an ``.npz`` archive with arrays ``sigma_s`` and ``sigma_d``.

    Parameters
    ----------
    path
        The archive; what `save_moments` adds (``support``, ``notes``, ``standard_error``) is read where it is there.

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
        raise ValueError(f"{path} must hold `sigma_s` and `sigma_d`, got {', '.join(arrays) or 'no arrays'}")
    return Moments(
        arrays["sigma_s"],
        arrays["sigma_d"],
        support=arrays.get("support"),
        notes=tuple(str(note) for note in np.atleast_1d(arrays.get("notes", ()))),
        standard_error=arrays.get("standard_error"),
    )


def _weights(alpha: float, beta: float) -> tuple[float, float]:
    if not 0 <= alpha < np.inf:
        raise ValueError(f"`alpha` must be finite and >= 0, got {alpha}")
    if not 0 < beta < np.inf:
        raise ValueError(f"`beta` must be finite and > 0, got {beta}")
    return alpha, beta


def _numbers(name: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        raise ValueError(f"`{name}` must be an array of numbers, got {value!r}") from None
    if array.dtype.kind not in "biuf":
        raise ValueError(f"`{name}` must be real numbers, got {array.dtype}")
    return array.astype(np.float64)


def _check_finite(name: str, array: np.ndarray) -> None:
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        where = tuple(int(i) for i in bad[0])
        raise ValueError(f"`{name}` must be finite, got {array[where]} at {where}")


def _norm(array: np.ndarray) -> float:
    """Frobenius norm, without overflow."""
    largest = float(np.max(np.abs(array)))
    return largest * float(np.linalg.norm(array / largest)) if largest else 0.0


def _is_diagonal(matrix: np.ndarray) -> bool:
    return np.count_nonzero(matrix) == np.count_nonzero(np.diag(matrix))


def _symmetric(name: str, value: Any) -> np.ndarray:
    sigma = _numbers(name, value)
    if sigma.ndim != 2 or sigma.shape[0] != sigma.shape[1] or sigma.size == 0:
        raise ValueError(f"`{name}` must be a square matrix, got shape {sigma.shape}")
    _check_finite(name, sigma)
    asymmetry = float(np.max(np.abs(sigma - sigma.T)))
    if asymmetry > 2 * SLACK * np.max(np.abs(sigma)):  # two entries, each rounded by itself
        raise ValueError(
            f"`{name}` must be symmetric, got entries that differ by {asymmetry:.3g} across the diagonal"
        )
    return 0.5 * sigma + 0.5 * sigma.T


def _orthonormal(name: str, value: Any, n_columns: int | None) -> np.ndarray:
    U = _numbers(name, value)
    if U.ndim != 2 or not 0 < U.shape[1] <= U.shape[0] or n_columns not in (None, U.shape[1]):
        columns = (
            "at most as many columns as rows"
            if n_columns is None
            else f"{n_columns} columns, at least as many rows"
        )
        raise ValueError(f"`{name}` must be a matrix with {columns}, got shape {U.shape}")
    _check_finite(name, U)
    departure = float(np.max(np.abs(U.T @ U - np.eye(U.shape[1]))))
    if departure > 2 * SLACK:  # |δ(uᵀv)| <= 2 SLACK ‖u‖ ‖v‖ when each entry is off by SLACK of itself
        raise ValueError(
            f"`{name}` must have orthonormal columns, got UᵀU that differs from I by {departure:.3g}"
        )
    return U


def _covariance(name: str, value: Any) -> np.ndarray:
    sigma = _symmetric(name, value)
    _check_semidefinite(name, sigma, _slack(sigma, sigma))
    return sigma


def _slack(sigma_s: np.ndarray, sigma_d: np.ndarray) -> np.ndarray:
    """How far eigenvalues may be off: SLACK ‖Σs‖_F, and of diagonal matrices each by SLACK of itself."""
    if _is_diagonal(sigma_s) and _is_diagonal(sigma_d):
        return SLACK * np.abs(np.diag(sigma_s))
    return np.full(len(sigma_s), SLACK * _norm(sigma_s))


def _semidefinite(sigma: np.ndarray, slack: np.ndarray) -> bool:
    if _is_diagonal(sigma):
        return bool(np.all(np.diag(sigma) >= -slack))
    try:
        np.linalg.cholesky(sigma + np.diag(slack))  # a tenth of the cost of eigenvalues
    except np.linalg.LinAlgError:
        return False
    return True


def _check_semidefinite(name: str, sigma: np.ndarray, slack: np.ndarray) -> None:
    if not _semidefinite(sigma, slack):
        smallest = np.linalg.eigvalsh(sigma)[0]
        raise ValueError(
            f"`{name}` must be positive semidefinite, got a smallest eigenvalue of {smallest:.3g}"
        )


def _check_order(sigma_s: np.ndarray, sigma_d: np.ndarray) -> None:
    if not _semidefinite(sigma_s - sigma_d, _slack(sigma_s, sigma_d)):
        from scipy.linalg import eigvalsh

        largest = eigvalsh(sigma_d, sigma_s)[-1]
        raise ValueError(
            f"`sigma_d` must not exceed `sigma_s`: eigenvalues of Σd Σs⁻¹ must be at most 1, got {largest:.7g}"
        )


def _support(sigma_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues of Σs above rounding, shape (n1,), and their eigenvectors, shape (n, n1)."""
    n, norm = len(sigma_s), _norm(sigma_s)
    if norm == 0:
        raise ValueError("`sigma_s` must not be zero: there is nothing to learn from")
    if _is_diagonal(sigma_s):
        values, vectors, rounding = np.diag(sigma_s), np.eye(n), 0.0
    else:
        values, vectors = np.linalg.eigh(sigma_s)
        # n eps ‖Σ‖ for sums and eigenvalues in float64; half of eps for each entry that float32 rounded; and what
        # rounding put below zero it may as well have put above
        float32 = np.array_equal(sigma_s, sigma_s.astype(np.float32))
        eps = max(n * np.finfo(np.float64).eps, float32 * np.finfo(np.float32).eps)
        rounding = max(eps * norm, -2 * values[0])
    if np.min(values) < -SLACK * norm:
        raise ValueError(
            f"`sigma_s` must be positive semidefinite, got a smallest eigenvalue of {np.min(values):.3g}"
        )
    keep = values > rounding
    return values[keep], vectors[:, keep]


def _restrict(sigma_s: np.ndarray, sigma_d: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Σd in a basis of the support of Σs, refused when it reaches outside."""
    inside = basis.T @ sigma_d @ basis
    outside = _norm(sigma_d - basis @ inside @ basis.T)
    # by Cauchy-Schwarz Σd ≼ Σs leaves at most sqrt(tr Σs ‖Σs‖) between what is kept and what is dropped, with the
    # trace over what is dropped
    dropped = max(np.trace(sigma_s) - np.trace(basis.T @ sigma_s @ basis), 0.0)
    norm = _norm(sigma_s)
    if outside > SLACK * norm + 2 * np.sqrt(dropped * norm):
        raise ValueError(
            "`sigma_d` must vanish in the directions in which `sigma_s` does,"
            f" got a part of norm {outside:.3g} outside the support of `sigma_s`"
        )
    return (inside + inside.T) / 2


def _error_of_mean(squared_norms: np.ndarray, mean: np.ndarray) -> float:
    """Standard error of a mean of N independent matrices, from their squared Frobenius norms."""
    variance = float(np.mean(squared_norms)) - _norm(mean) ** 2
    return float(np.sqrt(max(variance, 0.0) / (len(squared_norms) - 1)))
