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

from dynamics.data.augmentation import Augmentation
from dynamics.data.augmentations import scrambled
from dynamics.data.datasets import standardised
from dynamics.data.moment_checks import (
    SLACK,
    check_one_shape,
    check_order,
    check_semidefinite,
    checked_orthonormal,
    checked_symmetric,
    covariance_of,
    error_of_mean,
    norm_of,
    restricted,
    slack_of,
    support_of,
)
from dynamics.data.samples import check_finite, real_numbers
from dynamics.data.views import view_moments
from dynamics.files import read_npz, write_npz
from dynamics.modes import relative_commutator
from dynamics.normalisation import checked_mean


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
    mean
        μ of the views, shape (n1,) like the matrices; None where it is not known.

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
    mean: np.ndarray | None = None

    def __post_init__(self) -> None:
        sigma_s, sigma_d = (
            checked_symmetric("sigma_s", self.sigma_s),
            checked_symmetric("sigma_d", self.sigma_d),
        )
        check_one_shape("sigma_s", sigma_s, "sigma_d", sigma_d)
        support = None if self.support is None else checked_orthonormal("support", self.support, len(sigma_s))
        if (error := self.standard_error) is not None and not 0 <= error < np.inf:
            raise ValueError(f"`standard_error` must be finite and >= 0, or None, got {error}")
        notes = tuple(self.notes)
        mean = None if self.mean is None else checked_mean(self.mean, len(sigma_s))

        values, basis = support_of(sigma_s)
        check_semidefinite("sigma_d", sigma_d, slack_of(sigma_s, sigma_d))
        n, n1 = basis.shape
        if n1 < n:
            sigma_s, sigma_d = np.diag(values), restricted(sigma_s, sigma_d, basis)
            support = basis if support is None else support @ basis
            mean = None if mean is None else basis.T @ mean
            notes += (f"dropped {n - n1} of {n} directions, in which Σs is zero to rounding",)
        check_order(sigma_s, sigma_d)

        arrays = {"sigma_s": sigma_s, "sigma_d": sigma_d, "support": support, "mean": mean}
        for name, array in arrays.items():
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
        check_one_shape("x1", x1, "x2", x2)
        n = len(x1)
        cross = x1.T @ x2 / n
        sigma_s, sigma_d = (x1.T @ x1 + x2.T @ x2) / (2 * n), (cross + cross.T) / 2

        # squared norms of (x1 x1ᵀ + x2 x2ᵀ)/2 and of (x1 x2ᵀ + x2 x1ᵀ)/2, pair by pair
        a, b, c = np.sum(x1**2, 1), np.sum(x2**2, 1), np.sum(x1 * x2, 1)
        error_s = error_of_mean((a**2 + b**2 + 2 * c**2) / 4, sigma_s)
        error_d = error_of_mean((a * b + c**2) / 2, sigma_d)
        below = norm_of(np.minimum(np.linalg.eigvalsh(sigma_d), 0))
        if below > max(5 * error_d, SLACK * norm_of(sigma_s)):
            raise ValueError(
                "`x1` and `x2` must be drawn independently given the sample, which makes Σd positive"
                f" semidefinite, got a negative part of norm {below:.3g}, standard error {error_d:.3g}"
            )
        notes = (f"moments estimated from {n} pairs of views",)
        return cls._from_samples(sigma_s, sigma_d, max(error_s, error_d), notes, (x1 + x2).mean(0) / 2)

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
        sigma_x, sigma_n = covariance_of("sigma_x", sigma_x), covariance_of("sigma_n", sigma_n)
        check_one_shape("sigma_x", sigma_x, "sigma_n", sigma_n)
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
        sigma_x, U = covariance_of("sigma_x", sigma_x), checked_orthonormal("basis", basis)
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
            (done, total): see `dynamics.data.datasets.standardised`.
        draws, seed
            Views drawn of each image where an augmentation has no closed form, >= 4, and the seed of the draws:
            see `dynamics.data.views.view_moments`. Sums do not depend on batches but by rounding; draws do.

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
        >>> from dynamics.data.augmentations import Noise
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
        error = max(norm_of(s1 - s2), norm_of(d1 - d2)) / 2
        notes = (*batches.notes, f"{chain}: sampled with {draws} draws an image")
        return cls._from_samples((s1 + s2) / 2, (d1 + d2) / 2, error, notes)

    @classmethod
    def _from_samples(
        cls, sigma_s: np.ndarray, sigma_d: np.ndarray, error: float, notes: tuple[str, ...], mean: Any = None
    ) -> Moments:
        """Moments from estimates: ratios that sampling left outside [0, 1] are clipped, so that 0 ≼ Σd ≼ Σs.

        Clipping eigenvalues of Σd itself would add to it, and could push it above Σs.
        """
        values, basis = support_of(sigma_s)
        relative = error / norm_of(sigma_s)
        notes += (f"relative standard error of the moments by sampling {relative:.2g}",)
        root = np.sqrt(values)
        ratios, q = np.linalg.eigh((basis / root).T @ sigma_d @ (basis / root))
        clipped = np.clip(ratios, 0, 1)
        outside = np.abs(ratios - clipped)
        if np.max(outside) > SLACK:
            modes = (basis * root) @ q
            projected = (modes * clipped) @ modes.T
            change = norm_of(projected - sigma_d) / norm_of(sigma_d)
            notes += (
                f"sampling left {np.count_nonzero(outside > SLACK)} ratios outside [0, 1], by {outside.max():.2g}"
                f" at most: clipped, which changes Σd by {change:.2g} of its norm",
            )
            sigma_d = projected
        return cls(sigma_s, sigma_d, notes=notes, standard_error=relative, mean=mean)


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
    arrays = {
        name: getattr(moments, name) for name in ("sigma_s", "sigma_d", "support", "standard_error", "mean")
    }
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
        mean=arrays.get("mean"),
    )
