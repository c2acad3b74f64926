"""When a trajectory is at rest: nothing is left to travel, or its end point is reached."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Generic

import numpy as np

from dynamics.fields.vector_field import VectorField
from dynamics.integration.exponential import Krylov, directional_derivative, phi_vectors
from dynamics.integration.trajectory import Status
from dynamics.states import State, pack

KRYLOV_BYTES = 256 * 2**20
"""Memory that a Krylov space may take."""

_DISTANCE_DIMENSION = 160
_GROWTH = 1.4  # of the space, from one look at the way to the next
_RESOLVENT_DIMENSION = 60
_RESOLVENT_CHECK = 4
_FAR_AWAY = 100.0
"""Tolerances that a state is from rest, at least, when its way need not be known better."""
_MOVING = 2.0
"""Tolerances that a state is from rest, at least, when three spaces in a row, each larger, agree that it moves."""


class Flow:
    """The field as a function of packed vectors, counting its evaluations."""

    def __init__(self, state: State, system: Any, vector_field: VectorField):
        self._system, self._field, self._like = system, vector_field, state
        self._bind = vector_field.binding(state, system)
        bounds = np.cumsum([0, *(np.size(part) for part in state)]).tolist()
        self._views = [
            (slice(*bound), np.shape(part)) for bound, part in zip(pairwise(bounds), state, strict=True)
        ]
        self.n_evaluations = 0
        self._y, self._derivative = np.empty((2, bounds[-1]))
        self._evaluate = self.bound(self._y, self._derivative)

    def __call__(self, t: float, y: np.ndarray) -> np.ndarray:
        self._y[:] = y
        self._evaluate(t)
        return self._derivative.copy()

    def bound(self, y: np.ndarray, derivative: np.ndarray) -> Callable[[float], None]:
        """What computes the derivative at the values that y has then, into the other array."""
        evaluate = self._bind(self._state(y), self._state(derivative))

        def counted(t: float) -> None:
            self.n_evaluations += 1
            evaluate(t)

        return counted

    def moving(self, t: float, y: np.ndarray) -> np.ndarray:
        """Which components move by themselves, shape (n,): not those that the variant sets from the others."""

        def constrained(y: np.ndarray) -> np.ndarray:
            return pack(self._field.constrain(t, self._state(y), self._system))

        found, here = np.empty(y.shape, dtype=bool), constrained(y)
        for part, _ in self._views:
            nudged = y.copy()
            nudged[part] += 1.0
            found[part] = not np.array_equal(constrained(nudged)[part], here[part])
        return found

    def _state(self, y: np.ndarray) -> Any:
        return self._like._make(y[part].reshape(shape) for part, shape in self._views)

    def sizes(self, y: np.ndarray) -> np.ndarray:
        """Size that each component is measured by, shape (n,)."""
        found = np.empty_like(y)
        for (part, shape), size in zip(self._views, self._field.sizes(self._state(y)), strict=True):
            found[part].reshape(shape)[...] = size
        return found

    def turning(self, t: float, y: np.ndarray) -> np.ndarray:
        """Velocity of the direction u = y/‖y‖ of a linear flow, f(u) − u ⟨u, f(u)⟩, at a unit vector y."""
        velocity = self(t, y)
        return velocity - y * (y @ velocity)


def spectral_radius(fun: Callable[[float, np.ndarray], np.ndarray], t: float, y: np.ndarray) -> float:
    """Largest modulus of the Jacobian's eigenvalues, from below, by a Krylov space of dimension eight."""
    velocity = fun(t, y)
    krylov = Krylov(directional_derivative(fun, t, y, velocity), velocity, 8)
    while krylov.grow():
        pass
    return float(np.max(np.abs(np.linalg.eigvals(krylov.hessenberg)), initial=0.0))


def travel(
    fun: Callable[[float, np.ndarray], np.ndarray],
    t: float,
    y: np.ndarray,
    time: float,
    tolerance: np.ndarray,
    *,
    exact: bool = True,
) -> np.ndarray:
    """Way that the flow, linearised at y, would still go in the given time: time·φ1(time·J) f.

    A decaying state goes −J⁺ f; an unstable direction, however faint, goes far; a crawl that has nearly stopped
    but would go on for long goes far too. So this is small only at rest.

    Parameters
    ----------
    fun
        Vector field of packed states.
    t, y
        Where to linearise.
    time
        How long the linearised flow runs.
    tolerance
        Shape (n,), > 0: what is small; ways below it need not be known better.
    exact
        Whether ways of twice the tolerance or more must be known as well as others.

    Returns
    -------
    array (n,)
        Displacement; infinite when the Krylov space could not resolve it.
    """
    size = int(np.clip(KRYLOV_BYTES // y.nbytes, 8, _DISTANCE_DIMENSION))
    krylov = Krylov(directional_derivative(fun, t, y), fun(t, y), size)
    if krylov.norm == 0.0:
        return np.zeros_like(y)
    # a root mean square error of a tenth of the tolerance, even if all of it were in one component
    accepted = 0.1 / np.sqrt(y.size)
    check, n_moving = 4, 0
    with np.errstate(over="ignore", invalid="ignore"):
        while True:
            phi, error = krylov.phi(time, 1, tolerance, np.inf, check)
            way = time * krylov.lift(phi)
            if error <= accepted or krylov.dimension == krylov.max_dimension:
                break
            n_moving = n_moving + 1 if _MOVING < np.max(np.abs(way) / tolerance) < np.inf else 0
            if n_moving == 3 and not exact:
                return way
            check = int(np.ceil(krylov.dimension * _GROWTH))
    return way if np.all(np.isfinite(way)) and error <= 1.0 else np.full_like(y, np.inf)


Resolvent = tuple[float, Callable[[np.ndarray], np.ndarray]]
"""c > 0 and x -> (I − cJ)⁻¹ x."""


def travel_by_resolvent(
    velocity: np.ndarray, resolvent: Resolvent, time: float, tolerance: np.ndarray
) -> np.ndarray:
    """Way of `travel`, time·φ1(time·J) f, for stiff flows: by the Krylov space of (I − cJ)⁻¹.

    There slow directions are prominent, which J itself buries under the fast ones. On the space J is
    (I − H⁻¹)/c, where H is the projection of (I − cJ)⁻¹. The space is large enough when the way no longer changes.

    Parameters
    ----------
    velocity
        f, shape (n,).
    resolvent
        c and the inverse; 1/c should be of the size of the rates that are slowest.
    time, tolerance
        As for `travel`.

    Returns
    -------
    array (n,)
        Displacement; infinite when the Krylov space could not resolve it, and inexact where it is a hundred times the
        tolerance or more.

    Examples
    --------
    >>> rates = np.array([-1.0, -1000.0])
    >>> travel_by_resolvent(np.ones(2), (1.0, lambda x: x / (1 - rates)), 1e6, np.full(2, 1e-9)).round(6)
    array([1.   , 0.001])
    """
    c, inverse = resolvent
    size = int(np.clip(KRYLOV_BYTES // velocity.nbytes, 8, _RESOLVENT_DIMENSION))
    krylov = Krylov(inverse, velocity, size)
    if krylov.norm == 0.0:
        return np.zeros_like(velocity)

    def grown() -> bool:
        try:
            return krylov.grow()
        except np.linalg.LinAlgError:  # I − cJ is singular: something grows at the rate 1/c
            return False

    accepted = 0.1 / np.sqrt(velocity.size)
    before = None
    while grown():
        m = krylov.dimension
        if m % _RESOLVENT_CHECK and not krylov.exhausted:
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            try:
                J = (np.eye(m) - np.linalg.inv(krylov.hessenberg)) / c
                way = time * krylov.lift(phi_vectors(time * J, 1)[:, 0])
            except (np.linalg.LinAlgError, ValueError):  # not finite: what grows has left the range of floats
                return np.full_like(velocity, np.inf)
        if not np.all(np.isfinite(way)):
            return np.full_like(velocity, np.inf)
        if krylov.exhausted:
            return way
        if before is not None:
            with np.errstate(over="ignore"):
                changes = np.abs(way - before) / tolerance
                nearest = min(np.max(np.abs(seen) / tolerance) for seen in (before, way))
            if np.max(changes) <= 1 and np.sqrt(np.mean(changes**2)) <= accepted:
                return way
            if nearest > _FAR_AWAY:
                return way  # too far to be at rest, however far it is
        before = way
    return np.full_like(velocity, np.inf)


class Rest(Generic[State]):
    """Whether a state is at rest: at the end point that theory gives, else with nothing left to travel.

    A linear flow that grows is over when its direction is at rest.
    """

    def __init__(
        self,
        fun: Flow,
        like: State,
        end_point: State | None,
        t0: float,
        t_bound: float,
        rtol: float,
        atol: np.ndarray,
        *,
        linear: bool,
    ):
        self.fun, self.t_bound, self.rtol, self.atol = fun, t_bound, rtol, atol
        self.linear = linear
        self.moving = fun.moving(t0, pack(like))
        end = None if end_point is None else pack(end_point)[self.moving]
        self.end = end if end is not None and np.all(np.isfinite(end)) else None
        self.distance = np.nan
        self._slow: float | None = None
        self._look_again = np.inf
        self._speed = np.inf
        self._seen = (t0, np.inf)

    def reached(
        self,
        t: float,
        y: np.ndarray,
        *,
        last: bool = False,
        velocity: np.ndarray | None = None,
        resolvent: Callable[[], Resolvent] | None = None,
    ) -> Status | None:
        """STEADY or UNBOUNDED where there is nothing left to travel, None elsewhere.

        The velocity at y is evaluated where it is not given; the way is found by the resolvent at y where there is one.
        """
        norm = float(np.linalg.norm(y)) if self.linear else 0.0
        if norm > 0 and (y / norm) @ self.fun(t, y / norm) > 0:
            tolerance = np.full_like(y, 10 * self.rtol)
            return Status.UNBOUNDED if self._still(self.fun.turning, t, y / norm, tolerance, last) else None
        # of the smallest weights a part is no number but zero
        part = 10 * (self.atol + self.rtol * self.fun.sizes(y))
        tolerance = np.maximum(part, np.finfo(float).smallest_subnormal)
        if self.end is None:
            return (
                Status.STEADY if self._still(self.fun, t, y, tolerance, last, velocity, resolvent) else None
            )
        way = self.end - y[self.moving]
        self.distance = float(np.max(np.abs(way)))
        return Status.STEADY if np.all(np.abs(way) <= tolerance[self.moving]) else None

    def expected(self, t: float) -> float:
        """Time at which the speed will be that of rest, if it goes on falling as since the last call; else infinite."""
        speed = self._speed
        (before, faster), self._seen = self._seen, (t, speed)
        aim = self._look_again
        if not 0 < speed < faster < np.inf or not 0 < aim < np.inf:
            return np.inf
        return t + max(0.0, float(np.log(speed / aim))) * (t - before) / float(np.log(faster / speed))

    def _still(
        self,
        fun: Callable[[float, np.ndarray], np.ndarray],
        t: float,
        y: np.ndarray,
        tolerance: np.ndarray,
        last: bool,
        velocity: np.ndarray | None = None,
        resolvent: Callable[[], Resolvent] | None = None,
    ) -> bool:
        """Whether `travel` is short; it costs many evaluations, so only where the speed has fallen far enough."""
        velocity = fun(t, y) if velocity is None else velocity
        speed = self._speed = float(np.max(np.abs(velocity)))
        if self._slow is None:
            self._slow = self._look_again = 10 * float(np.max(tolerance)) * spectral_radius(fun, t, y)
        if speed > self._slow:  # it has left a place where it was slow but not at rest, such as a saddle
            self._look_again = self._slow
        if speed > self._look_again and not last:
            return False
        if resolvent is None:
            way = travel(fun, t, y, self.t_bound, tolerance, exact=last)
        else:
            way = travel_by_resolvent(velocity, resolvent(), self.t_bound, tolerance)
        excess = float(np.max(np.abs(way / np.max(tolerance))))
        self._look_again = speed * min(0.5, max(0.01, 1 / max(excess, 1.0)))
        self.distance = float(np.max(np.abs(way)))
        return bool(np.all(np.abs(way) <= tolerance))
