"""Exponential Rosenbrock integration by Krylov subspaces, for the slow tails on which explicit methods crawl.

After the fast modes have settled, the flow is nearly linear and its slowest modes decay a thousand times more
slowly than its fastest: an explicit method is then bound to its stability limit. The exponential of the Jacobian,
applied through a Krylov subspace, has no such limit and needs nothing but Jacobian–vector products.

`ExponentialRosenbrock` is a SciPy `OdeSolver`, so `scipy.integrate.solve_ivp(..., method=ExponentialRosenbrock)`
works too.

References
----------
Hochbruck, Ostermann and Schweitzer, "Exponential Rosenbrock-type methods", SIAM J. Numer. Anal. 47 (2009);
Luan and Ostermann, "Parallel exponential Rosenbrock methods", Comput. Math. Appl. 71 (2016), scheme pexprb43.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np
from scipy.integrate import DenseOutput, OdeSolver
from scipy.linalg import expm
from scipy.linalg.blas import idamax

_CHECK_GROWTH = 1.4
_CANCELLED = 0.5  # what is left of a vector after Gram–Schmidt, below which a second pass is due


def phi_vectors(H: np.ndarray, order: int) -> np.ndarray:
    """Return φ_1(H) e1, ..., φ_order(H) e1 as columns, by one exponential of an augmented matrix.

    φ_k(z) = (φ_{k−1}(z) − 1/(k−1)!)/z with φ_0 = exp.

    >>> np.allclose(phi_vectors(np.array([[0.0]]), 3), [[1, 1 / 2, 1 / 6]])
    True
    """
    return phi_vectors_at_half(H, order)[1]


def phi_vectors_at_half(H: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Return `phi_vectors` of ½H and of H by one exponential: that of H is the other's square.

    >>> half, whole = phi_vectors_at_half(np.array([[2.0]]), 2)
    >>> np.allclose(half, phi_vectors(np.array([[1.0]]), 2))
    True
    """
    m = H.shape[0]
    augmented = np.zeros((m + order, m + order))
    np.multiply(H, 0.5, out=augmented[:m, :m])
    augmented[0, m] = 0.5
    for k in range(m, m + order - 1):
        augmented[k, k + 1] = 0.5
    half = expm(augmented)
    # the ½ of the columns added comes to 2⁻ᵏ in φ_k
    return half[:m, m:] * 2.0 ** np.arange(1, order + 1), half[:m] @ half[:, m:]


class Krylov:
    """Orthonormal basis of span{v, Jv, J²v, ...} grown on demand by Arnoldi's method.

    Parameters
    ----------
    product
        x -> J x.
    vector
        v, shape (n,).
    max_dimension
        Largest dimension of the basis.
    """

    def __init__(self, product: Callable[[np.ndarray], np.ndarray], vector: np.ndarray, max_dimension: int):
        self.norm = sqrt(vector @ vector)
        self.dimension = 0
        self.exhausted = self.norm == 0.0
        self.max_dimension = min(max_dimension, vector.size)
        self._product = product
        # without v there is no direction but zero
        rows = self.max_dimension + 1
        self._V = np.zeros((1, vector.size)) if self.exhausted else np.empty((rows, vector.size))
        self._H = np.zeros((self.max_dimension + 1, self.max_dimension))
        if not self.exhausted:
            self._V[0] = vector / self.norm

    @property
    def hessenberg(self) -> np.ndarray:
        """J projected on the basis, shape (m, m)."""
        return self._H[: self.dimension, : self.dimension]

    @property
    def next_direction(self) -> np.ndarray:
        """Direction in which J leaves the basis, scaled by how much: h_{m+1,m} v_{m+1}."""
        m = self.dimension
        return self._H[m, m - 1] * self._V[m]

    def lift(self, coefficients: np.ndarray) -> np.ndarray:
        """Map coefficients in the basis back to the full space, times |v|."""
        return self.norm * np.dot(coefficients, self._V[: self.dimension])

    def image(self, coefficients: np.ndarray) -> np.ndarray:
        """J times what `lift` gives, without another product: J V = V H + h_{m+1,m} v_{m+1} e_mᵀ."""
        m = self.dimension
        return self.norm * np.dot(np.dot(self._H[: m + 1, :m], coefficients), self._V[: m + 1])

    def grow(self) -> bool:
        """Add one dimension; False when the space is invariant or the basis full."""
        m = self.dimension
        if self.exhausted or m == self.max_dimension:
            return False
        w, basis = self._product(self._V[m]), self._V[: m + 1]
        size = before = sqrt(w @ w)
        for _ in range(2):  # the second pass of Gram–Schmidt restores orthogonality lost in the first
            h = np.dot(basis, w)
            w -= np.dot(h, basis)
            self._H[: m + 1, m] += h
            left = sqrt(w @ w)
            if left > _CANCELLED * before:
                break
            before = left
        self.dimension = m + 1
        # the products come from differences good to about 1e-10: what is left below that is noise
        if left <= 1e-10 * size or m + 1 == self._V.shape[1]:
            self.exhausted = True
            self._H[m + 1, m] = 0.0
            self._V[m + 1] = 0.0
        else:
            self._H[m + 1, m] = left
            np.divide(w, left, out=self._V[m + 1])
        return True

    def phi(
        self, time: float, order: int, weight: np.ndarray, tolerance: float, first_check: int = 4
    ) -> tuple[np.ndarray, float]:
        """Return coefficients of φ_order(time·J) v in the basis, which grows until they are accurate.

        Parameters
        ----------
        time, order
            Scaling of J and index of the φ function.
        weight
            Shape (n,); the error of time·φ v is measured as root mean square of error/weight.
        tolerance
            Accepted error.
        first_check
            Dimension at which accuracy is looked at for the first time.

        Returns
        -------
        coefficients, error
            Shape (m,), for `lift`. The estimated error exceeds `tolerance` when the basis is full and the time
            too long for it.
        """
        return self.phi_at_half(time, order, weight, tolerance, first_check)[1:]

    def phi_at_half(
        self, time: float, order: int, weight: np.ndarray, tolerance: float, first_check: int = 4
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Return the coefficients of φ_order(½ time·J) v, which cost next to nothing, before what `phi` returns."""
        if self.norm == 0.0:
            return np.zeros(0), np.zeros(0), 0.0
        check = first_check
        while True:
            while self.dimension < check and self.grow():
                pass
            half, columns = phi_vectors_at_half(time * self.hessenberg, order + 1)
            if self.exhausted:
                return half[:, -2], columns[:, -2], 0.0
            # first term of the error expansion: the next φ function along the direction left out
            spread = self.next_direction / weight
            error = float(self.norm * time**2 * sqrt(spread @ spread / spread.size) * abs(columns[-1, -1]))
            if error <= tolerance or self.dimension == self.max_dimension:
                return half[:, -2], columns[:, -2], error
            check = int(np.ceil(self.dimension * _CHECK_GROWTH))


def directional_derivative(
    fun: Callable[[float, np.ndarray], np.ndarray], t: float, y: np.ndarray, f: np.ndarray | None = None
) -> Callable[[np.ndarray], np.ndarray]:
    """Return x -> J x by differences of the field.

    Central ones, good to about 1e-10 as the flow is cubic in the state; with f = fun(t, y) given, one-sided ones,
    good to about 1e-7 for half the evaluations.
    """
    step = (1e-5 if f is None else 1e-7) * max(1.0, float(np.max(np.abs(y))))
    tiny = float(np.finfo(float).tiny)

    def product(x: np.ndarray) -> np.ndarray:
        scale = step / max(abs(float(x[idamax(x)])), tiny)
        moved = scale * x
        if f is not None:
            moved += y
            difference = fun(t, moved) - f
            difference /= scale
            return difference
        difference = fun(t, y + moved) - fun(t, y - moved)
        difference /= 2 * scale
        return difference

    return product


def first_step_for(y: np.ndarray, f: np.ndarray, rtol: float, atol: float | np.ndarray) -> float:
    """Time in which the state moves by a hundredth of itself (Hairer, Nørsett and Wanner, II.4, first guess)."""
    scale = atol + rtol * np.abs(y)
    size, speed = np.linalg.norm(y / scale), np.linalg.norm(f / scale)
    return float(0.01 * size / speed) if min(size, speed) > 1e-5 else 1e-6


def _evaluate(y: np.ndarray, h: float, theta: float, terms: list[tuple[Krylov, int, float]]) -> np.ndarray:
    """Sum y + Σ factor·h θᵏ φ_k(θhJ) vector over terms (krylov space of the vector, k, factor)."""
    y = y.copy()
    for krylov, order, factor in terms:
        if krylov.norm:
            phi = phi_vectors(theta * h * krylov.hessenberg, order)[:, -1]
            y += factor * h * theta**order * krylov.lift(phi)
    return y


class _ExponentialOutput(DenseOutput):
    """u(t + θh) = u + θh φ1(θhJ) f + θ²h² φ2(θhJ) v + 2θ³h φ3(θhJ) c2 + 6θ⁴h φ4(θhJ) c3."""

    def __init__(self, t_old: float, t: float, y_old: np.ndarray, terms: list[tuple[Krylov, int, float]]):
        super().__init__(t_old, t)
        self._y_old, self._terms = y_old, terms

    def _call_impl(self, t: np.ndarray) -> np.ndarray:
        h = self.t - self.t_old
        thetas = (np.atleast_1d(t) - self.t_old) / h
        columns = [_evaluate(self._y_old, h, theta, self._terms) for theta in thetas]
        return np.array(columns).T if np.ndim(t) else columns[0]


class ExponentialRosenbrock(OdeSolver):
    """Fourth-order exponential Rosenbrock method (pexprb43) with Krylov subspaces and adaptive steps.

    For du/dt = f(t, u) with J = ∂f/∂u and v = ∂f/∂t at (t_n, u_n), and remainder g(t, u) = f(t, u) − J u − v t:

        U2 = u + ½h φ1(½hJ) f + ¼h² φ2(½hJ) v,   U3 = u + h φ1(hJ) f + h² φ2(hJ) v,
        D_i = g(t_i, U_i) − g(t_n, u),   c2 = 8 D2 − D3,   c3 = 2 D3 − 8 D2,
        u_{n+1} = U3 + 2h φ3(hJ) c2 + 6h φ4(hJ) c3;

    the last term is the difference to the embedded third-order method and serves as error estimate. On a linear
    system the step is exact, however long. The dense output is the same formula at a fraction of the step.

    Parameters
    ----------
    fun, t0, y0, t_bound, vectorized
        As in SciPy.
    first_step
        First step tried, > 0; chosen from the speed at the start when left out.
    rtol, atol
        Tolerances on the local error.
    max_dimension
        Largest Krylov dimension; a step that would need more is shortened.
    max_step
        Longest step.
    """

    t: float
    y: np.ndarray

    def __init__(
        self,
        fun: Callable[[float, np.ndarray], np.ndarray],
        t0: float,
        y0: np.ndarray,
        t_bound: float,
        vectorized: bool = False,
        *,
        first_step: float | None = None,
        rtol: float = 1e-6,
        atol: float | np.ndarray = 1e-9,
        max_dimension: int = 120,
        max_step: float = np.inf,
    ):
        super().__init__(fun, t0, y0, t_bound, vectorized)
        self.rtol, self.atol = rtol, atol
        self.max_dimension, self.max_step = max_dimension, max_step
        self.f = self.fun(self.t, self.y)
        self.h_abs = first_step_for(self.y, self.f, rtol, atol) if first_step is None else first_step
        self.n_rejected_last = 0
        self._terms: list[tuple[Krylov, int, float]] = []
        self._y_start = self.y
        self._dimensions: tuple[int, ...] = (4, 4, 4)

    def _step_impl(self) -> tuple[bool, str | None]:
        t, y, f = self.t, self.y, self.f
        self._terms = []  # the spaces of the last step are large: let them go before the new ones are made
        # an error of 1e-7 in J enters the step through the remainder only: harmless when the tolerance is looser
        product = directional_derivative(self.fun, t, y, f if self.rtol > 1e-6 else None)
        weight = self.atol + self.rtol * np.abs(y)
        size = min(self.h_abs, self.max_step)
        main = Krylov(product, f, self.max_dimension)
        v = self._time_derivative(1e-6 * self.direction * min(size, abs(self.t_bound - t)))
        drift = Krylov(product, v, self.max_dimension)
        self.n_rejected_last = 0
        while True:
            if size < 16 * np.spacing(abs(t)) or not np.isfinite(size):
                return False, self.TOO_SMALL_STEP
            size = min(size, abs(self.t_bound - t))
            h = self.direction * size
            phi_half, phi, error = main.phi_at_half(h, 1, weight, 0.1, self._dimensions[0])
            drift_half, phi_drift, error_drift = drift.phi_at_half(h, 2, weight, 0.1 / size)
            error = max(error, size * error_drift)
            if error > 0.1:
                size *= 0.5
                self.n_rejected_last += 1
                continue
            U3, D3 = self._stage(h, main, h * phi, drift, h**2 * phi_drift, v)
            _, D2 = self._stage(0.5 * h, main, 0.5 * h * phi_half, drift, 0.25 * h**2 * drift_half, v)
            cubic = Krylov(product, 2 * D3 - 8 * D2, self.max_dimension)
            quadratic = Krylov(product, 8 * D2 - D3, self.max_dimension)
            correction = []
            for krylov, order, factor in ((quadratic, 3, 2.0), (cubic, 4, 6.0)):
                phi, krylov_error = krylov.phi(h, order, weight, 0.1, self._dimensions[order - 2])
                error += krylov_error
                correction.append(factor * h * krylov.lift(phi))
            y_new = U3 + correction[0] + correction[1]
            scale = self.atol + self.rtol * np.maximum(np.abs(y), np.abs(y_new))
            with np.errstate(invalid="ignore", over="ignore"):
                error += float(np.sqrt(np.mean((correction[1] / scale) ** 2)))
            if error <= 1.0:
                break
            self.n_rejected_last += 1
            size *= max(0.2, 0.9 * error**-0.25) if np.isfinite(error) else 0.2
        self._terms = [(main, 1, 1.0), (drift, 2, h), (quadratic, 3, 2.0), (cubic, 4, 6.0)]
        self._y_start = y
        # the spaces of the next step will be about as large: a check costs as much as several products
        self._dimensions = tuple(max(4, int(0.9 * krylov.dimension)) for krylov in (main, quadratic, cubic))
        self.t = self.t_bound if size == abs(self.t_bound - t) else t + h
        self.y, self.f = y_new, self.fun(self.t, y_new)
        self.h_abs = size * min(5.0, 0.9 * max(error, 1e-10) ** -0.25)
        return True, None

    def _stage(
        self, h: float, main: Krylov, way: np.ndarray, drift: Krylov, more: np.ndarray, v: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """U at t + h, y plus a way in the space of f and more of it in that of v, and its D."""
        stage = self.y + main.lift(way)
        linear = self.f + main.image(way)
        if drift.norm:
            stage += drift.lift(more)
            linear += drift.image(more) + h * v
        return stage, self.fun(self.t + h, stage) - linear

    def _time_derivative(self, step: float) -> np.ndarray:
        """∂f/∂t by a difference; like J it may be inexact, as the remainder makes up for it."""
        later = self.t + step
        return (
            (self.fun(later, self.y) - self.f) / (later - self.t)
            if later != self.t
            else np.zeros_like(self.y)
        )

    def fastest_seen(self) -> float:
        """Largest modulus among the Rayleigh quotients of the basis at the start of the last step: a fast rate."""
        return float(np.max(np.abs(np.diag(self._terms[0][0].hessenberg)), initial=0.0))

    def spectral_radius(self) -> float:
        """Largest modulus among the Ritz values of the Jacobian at the start of the last step."""
        return float(np.max(np.abs(np.linalg.eigvals(self._terms[0][0].hessenberg)), initial=0.0))

    def _dense_output_impl(self) -> DenseOutput:
        return _ExponentialOutput(self.t_old, self.t, self._y_start, self._terms)
