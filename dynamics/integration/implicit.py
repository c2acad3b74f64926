"""Implicit integration of large stiff flows: backward differences, with Newton's method by preconditioned GMRES.

The numerical differentiation formulas of orders 1 to 5 in steps that vary, as in SciPy's `BDF`, which however solves
dense systems. Here the linear systems (I − cJ) x = b are solved by products with J alone, after a preconditioner that
the flow provides, and the steps mind one thing more. Backward differences damp what grows fast beside a step, and error
control is blind to what is far below the tolerance: such a mode would never leave a saddle. So the largest growth rate
is looked for now and then by inverse iteration, and steps are kept short beside it.

References
----------
Shampine and Reichelt, "The MATLAB ODE suite", SIAM J. Sci. Comput. 18 (1997); Brown, Hindmarsh and Petzold, "Using
Krylov methods in the solution of large-scale differential-algebraic systems", SIAM J. Sci. Comput. 15 (1994).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from scipy.integrate import DenseOutput, OdeSolver

from dynamics.integration.exponential import Krylov, first_step_for
from dynamics.integration.rest import spectral_radius

MAX_ORDER = 5
_KAPPA = np.array([0, -0.1850, -1 / 9, -0.0823, -0.0415, 0])
_GAMMA = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, MAX_ORDER + 1))])
_ALPHA = (1 - _KAPPA) * _GAMMA
_ERROR = _KAPPA * _GAMMA + 1 / np.arange(1, MAX_ORDER + 2)

_ALGEBRAIC = 0.05
"""Residual of a step's equation, in units of the tolerance: small beside the error of the step itself."""
_REDUCTION = 1e-2
_NEWTON = 4
_GMRES = 60
_SAME_STEP = 0.12
"""Relative change of the step for which a preconditioner still serves."""
_DEAR = 8
"""Products a solve from which the basis for long steps is tried."""
_LARGEST_GROWTH = 0.1
"""Largest c·s for what grows at rate s: with h = 2.28 c, order five then errs by (hs)⁶/6 a step, 1e-4 per e-fold."""
_WATCH = 40
"""Steps after which growth is looked for again, if the step did not double before."""
_WATCH_DIMENSION = 6


Operator = Callable[[np.ndarray], np.ndarray]


class Condensed(Protocol):
    """(I − cJ) x = b, without unknowns that can be eliminated: A z = right(b), x = whole(z, b).

    The first components of x are z.
    """

    def right(self, b: np.ndarray) -> np.ndarray:
        """What A z must be."""
        ...

    def product(self, z: np.ndarray) -> np.ndarray:
        """A z."""
        ...

    def whole(self, z: np.ndarray, b: np.ndarray) -> np.ndarray:
        """The solution x, from z."""
        ...

    def preconditioner(self, *, long: bool) -> Operator:
        """What nearly solves A z = r; there are two, for short steps and for long ones."""
        ...


class Linearised(Protocol):
    """The flow linearised at a state."""

    def condensed(self, c: float) -> Condensed:
        """I − cJ."""
        ...


def _change_step(D: np.ndarray, order: int, factor: float) -> None:
    """Turn backward differences for a step into those for factor times the step, in place."""

    def table(factor: float) -> np.ndarray:
        i, j = np.arange(1, order + 1)[:, None], np.arange(1, order + 1)
        M = np.zeros((order + 1, order + 1))
        M[0] = 1
        M[1:, 1:] = (i - 1 - factor * j) / i
        return np.cumprod(M, axis=0)

    D[: order + 1] = (table(factor) @ table(1.0)).T @ D[: order + 1]


class _DifferencesOutput(DenseOutput):
    """Polynomial through the last order + 1 states."""

    def __init__(self, t_old: float, t: float, h: float, order: int, D: np.ndarray):
        super().__init__(t_old, t)
        self._shifts = t - h * np.arange(order)
        self._denominators = h * np.arange(1, order + 1)
        self._D = D[: order + 1].copy()

    def _call_impl(self, t: np.ndarray) -> np.ndarray:
        x = (np.atleast_1d(t) - self._shifts[:, None]) / self._denominators[:, None]
        y = self._D[1:].T @ np.cumprod(x, axis=0) + self._D[0][:, None]
        return y if np.ndim(t) else y[:, 0]


def _rms(x: np.ndarray) -> float:
    return float(np.linalg.norm(x) / np.sqrt(x.size))


class BackwardDifferences(OdeSolver):
    """Numerical differentiation formulas with Newton–Krylov solves.

    Parameters
    ----------
    fun, t0, y0, t_bound, vectorized
        As in SciPy.
    linearise
        y -> the flow linearised at y; it must not depend on time.
    first_step
        First step tried, > 0; chosen from the speed at the start when left out.
    rtol, atol
        Tolerances on the local error.
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
        linearise: Callable[[np.ndarray], Linearised],
        first_step: float | None = None,
        rtol: float = 1e-6,
        atol: float | np.ndarray = 1e-9,
        max_step: float = np.inf,
    ):
        super().__init__(fun, t0, y0, t_bound, vectorized)
        self.rtol, self.atol, self.max_step = rtol, atol, max_step
        self.n_rejected_last = self.n_products = 0
        self._linearise = linearise
        f = self.fun(self.t, self.y)
        # of order one at first: its error is that of the square of the step
        self.h_abs = 0.1 * first_step_for(self.y, f, rtol, atol) if first_step is None else first_step
        # and no longer than what moves fastest allows, so that growth is seen before steps are long beside it
        radius = spectral_radius(fun, self.t, self.y)
        self.h_abs = min(self.h_abs, max_step, abs(t_bound - t0), 1 / radius if radius > 0 else np.inf)
        self.order, self._n_equal = 1, 0
        self._D = np.zeros((MAX_ORDER + 3, self.n))
        self._D[0], self._D[1] = self.y, f * self.h_abs * self.direction
        self._preconditioner: Operator | None = None
        self._c, self._cheapest, self._stale = 0.0, np.inf, False
        self._long_from = np.inf  # c from which the basis for long steps serves
        self._largest_c = np.inf
        self._watched_c, self._watched_ago = 0.0, 0
        self._growing: Any = np.random.default_rng(0).standard_normal(self.n)
        # order, step and differences of the last step, for its interpolant
        self._kept_order, self._kept_step, self._kept = 1, self.h_abs, self._D[:2]

    # --- linear systems ----------------------------------------------------------------------------------------

    def _solve(
        self, at: Linearised, c: float, b: np.ndarray, scale: np.ndarray, tolerance: float
    ) -> np.ndarray:
        """Solve (I − cJ) x = b to a residual of `tolerance` in root mean square of residual/scale, or of b/100."""
        from scipy.sparse.linalg import LinearOperator, gmres

        system = at.condensed(c)
        if self._preconditioner is None or self._stale or abs(c / self._c - 1) > _SAME_STEP:
            self._preconditioner = system.preconditioner(long=c >= self._long_from)
            self._c, self._cheapest, self._stale = c, np.inf, False
        precondition, count = self._preconditioner, 0
        right = system.right(b)
        n, scale = right.size, scale[: right.size]
        right = right / scale

        def product(z: np.ndarray) -> np.ndarray:
            nonlocal count
            count += 1
            return system.product(precondition(scale * z)) / scale

        operator = LinearOperator((n, n), matvec=product, dtype=np.float64)
        # never less than a hundredth of what is there: growth far below the tolerance is in the equations too
        left = min(tolerance * np.sqrt(n), _REDUCTION * float(np.linalg.norm(right)))
        z, _ = gmres(operator, right, rtol=0.0, atol=left, restart=min(_GMRES, n), maxiter=1)
        self.n_products += count
        # products a factor ten: where they have become many, the preconditioner no longer fits the state
        digits = max(1.0, np.log10(max(_rms(right), 1e-300) / tolerance))
        if count / digits > 1.5 * self._cheapest + 1:
            self._stale = True
        self._cheapest = min(self._cheapest, count / digits)
        if count > _DEAR and c < self._long_from:
            self._long_from, self._stale = c, True
        return system.whole(precondition(scale * z), b)

    def resolvent(self, reduction: float) -> tuple[float, Operator]:
        """(c, x -> (I − cJ)⁻¹ x) at the current state, to a residual of `reduction`·‖x‖; c is of the last step."""
        at = self._linearise(self.y)
        c = self._c

        def product(x: np.ndarray) -> np.ndarray:
            scale = np.ones_like(x)
            return self._solve(at, c, x, scale, reduction * _rms(x))

        return c, product

    def _watch_growth(self) -> None:
        """Bound the steps to come by the growth rate that is largest beside 1/c, found by inverse iteration."""
        self._watched_c, self._watched_ago = self._c, 0
        c, product = self.resolvent(1e-2)
        space = Krylov(product, self._growing, _WATCH_DIMENSION)
        try:
            while space.grow():
                pass
        except np.linalg.LinAlgError:  # I − cJ is singular: something grows at the rate 1/c
            self.growth, self._largest_c = 1 / c, _LARGEST_GROWTH * c
            return
        values, vectors = np.linalg.eig(space.hessenberg)
        with np.errstate(divide="ignore"):
            rates = (1 - 1 / values) / c
        # Ritz values near zero are of fast decay, or noise
        rates = np.where(np.abs(values) > 0.5, rates.real, -np.inf)
        k = int(np.argmax(np.abs(values)))
        # where it grew last is where to look next, besides everywhere
        found = space.lift(vectors[:, k].real)
        fresh = np.random.default_rng(1).standard_normal(self.n)
        size = float(np.linalg.norm(found))
        self._growing = fresh if size == 0 else fresh + found * (3 * float(np.linalg.norm(fresh)) / size)
        growth = float(np.max(rates))
        self._largest_c = _LARGEST_GROWTH / growth if growth > 0 else np.inf

    # --- steps -------------------------------------------------------------------------------------------------

    def _newton(
        self, t: float, y: np.ndarray, c: float, psi: np.ndarray, scale: np.ndarray
    ) -> np.ndarray | None:
        """Solve c f(t, y + d) = ψ + d for d by Newton's method; None where it does not converge."""
        d = np.zeros_like(y)
        residual = c * self.fun(t, y) - psi
        first = _rms(residual / scale)
        if not np.isfinite(first):
            return None
        for _ in range(_NEWTON):
            at = self._linearise(y + d)
            d = d + self._solve(at, c, residual, scale, 0.5 * _ALGEBRAIC)
            residual = c * self.fun(t, y + d) - psi - d
            size = _rms(residual / scale)
            if size <= _ALGEBRAIC:
                return d
            if not size <= 10 * first:
                return None
        return None

    def _shorten(self, factor: float) -> None:
        _change_step(self._D, self.order, factor)
        self.h_abs *= factor
        self._n_equal = 0

    def _step_impl(self) -> tuple[bool, str | None]:
        D, t = self._D, self.t
        self.n_rejected_last = 0
        longest = min(self.max_step, self._largest_c * _ALPHA[self.order], abs(self.t_bound - t))
        if self.h_abs > longest:
            self._shorten(longest / self.h_abs)
        while True:
            h, order = self.h_abs, self.order
            if not h >= 16 * np.spacing(abs(t)):
                return False, self.TOO_SMALL_STEP
            t_new = t + h * self.direction
            if self.direction * (t_new - self.t_bound) > 0 or abs(self.t_bound - t_new) < 1e-9 * h:
                t_new = self.t_bound
            predicted = D[: order + 1].sum(axis=0)
            scale = self.atol + self.rtol * np.abs(predicted)
            psi = D[1 : order + 1].T @ _GAMMA[1 : order + 1] / _ALPHA[order]
            c = self.direction * h / _ALPHA[order]
            try:
                d = self._newton(t_new, predicted, c, psi, scale)
            except np.linalg.LinAlgError:  # c times a growth rate is one
                d = None
            if d is None:
                self.n_rejected_last += 1
                self._stale = True
                self._shorten(0.5)
                continue
            y = predicted + d
            scale = self.atol + self.rtol * np.abs(y)
            error = _rms(_ERROR[order] * d / scale)
            if error <= 1:
                break
            self.n_rejected_last += 1
            self._shorten(max(0.2, 0.9 * error ** (-1 / (order + 1))))
        self._n_equal += 1
        self._watched_ago += 1
        self.t, self.y = t_new, y
        D[order + 2] = d - D[order + 1]
        D[order + 1] = d
        for i in reversed(range(order + 1)):
            D[i] += D[i + 1]
        self._kept_order, self._kept_step, self._kept = order, h, D[: order + 1]
        if self._n_equal > order:
            self._kept = self._kept.copy()
            self._choose(error, scale)
        if self._c > 2 * self._watched_c or self._watched_ago >= _WATCH:
            self._watch_growth()
        return True, None

    def _choose(self, error: float, scale: np.ndarray) -> None:
        """Order and step that promise to go farthest for the tolerance."""
        order, D = self.order, self._D
        lower = _rms(_ERROR[order - 1] * D[order] / scale) if order > 1 else np.inf
        higher = _rms(_ERROR[order + 1] * D[order + 2] / scale) if order < MAX_ORDER else np.inf
        errors = np.maximum([lower, error, higher], 1e-30)
        factors = np.minimum(10.0, 0.9 * errors ** (-1 / np.arange(order, order + 3)))
        # where growth bounds the step, and not the error, the highest order follows it best
        orders = np.clip([order - 1, order, order + 1], 1, MAX_ORDER)
        factors = np.minimum(
            factors, np.minimum(self.max_step, self._largest_c * _ALPHA[orders]) / self.h_abs
        )
        best = 2 - int(np.argmax(factors[::-1]))
        factor = float(factors[best])
        if best == 1 and 0.95 < factor < 1.15:  # another step would cost a preconditioner
            self._n_equal = order
            return
        self.order = order + best - 1
        self._shorten(factor)

    def _dense_output_impl(self) -> DenseOutput:
        step = self._kept_step * self.direction
        return _DifferencesOutput(self.t_old, self.t, step, self._kept_order, self._kept)
