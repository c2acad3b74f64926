"""Integration of one trajectory, from a start to rest or to a given time.

`integrate` chooses between an explicit Runge–Kutta method of order 8 and an exponential Rosenbrock method
(`dynamics.integration.exponential`), whichever advances further for its field evaluations, or takes implicit steps
(`dynamics.integration.implicit`) where matrices are large, and decides when the run is over.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy.integrate import OdeSolution, OdeSolver

from dynamics.fields.vector_field import VectorField
from dynamics.integration.exponential import ExponentialRosenbrock
from dynamics.integration.implicit import BackwardDifferences
from dynamics.integration.linearised import MatrixFlow, implicit_pays
from dynamics.integration.rest import KRYLOV_BYTES, Flow, Rest, spectral_radius
from dynamics.integration.runge_kutta import InPlaceDOP853
from dynamics.integration.trajectory import Status as Status
from dynamics.integration.trajectory import Trajectory as Trajectory
from dynamics.integration.trajectory import check_tolerances, checked_times
from dynamics.states import State, pack, unpack

METHODS = ("auto", "explicit", "exponential")
"""Methods for any flow."""

MATRIX_METHODS = (*METHODS, "implicit")
"""Methods for flows of matrices whose target has a rule."""

HORIZON = 1e6
"""Open-ended runs end after this many natural time units of the fastest mode, and rest for as many of the slowest."""

LARGEST = 1e8
"""Largest weight of a start: its square is known to about 1."""

_SAFETY = 0.1  # local tolerance over asked tolerance: global error stays within 10 times of what was asked
_STABLE_STEP = 5.5  # steps of DOP853 are stable up to about this many inverse spectral radii
_EXPLICIT_EVALUATIONS = 12  # of DOP853, a step
# price of an evaluation, with the work on a Krylov space that comes with it, over an explicit one
_KRYLOV_COST = 1.5
# explicit steps between looks at the stability limit: doubled after every failed exponential try, which costs about as
# much as ten explicit steps, up to the second number
_PATIENCE, _LONGEST_PATIENCE = 25, 100
_DIVERGED = 1e8  # growth over the start that no bounded flow shows
_FAR = (
    1e140  # growth over the start of a linear flow, which is as exact far out as anywhere: squares are floats
)
_GROWTH = 0.25  # of what grows in a linear flow, a step, in units of e: DOP853 follows that to 1e-11
_EXACT = 1e-8  # residual of inner solves when the way to rest is measured
_MAX_SAMPLES = 1024
_SAMPLE_BYTES = 256 * 2**20


class _Samples:
    """States kept along the way: at the asked times, or at the steps, thinned evenly when they grow many."""

    def __init__(self, y0: np.ndarray, t0: float, asked: np.ndarray | None):
        self.asked = asked
        self.times, self.vectors = [t0], [y0]
        self._capacity = int(max(2, min(_MAX_SAMPLES, _SAMPLE_BYTES // y0.nbytes)))
        self._stride, self._count = 1, 0

    def after_step(self, solver: OdeSolver) -> None:
        if self.asked is not None:
            inside = self.asked[(self.asked > solver.t_old) & (self.asked <= solver.t)]
            if inside.size:
                output = solver.dense_output()
                self.times.extend(inside.tolist())
                self.vectors.extend(solver.y if t == solver.t else output(t) for t in inside)
            return
        self._count += 1
        if self._count % self._stride == 0:
            self.times.append(solver.t)
            self.vectors.append(solver.y)
        if len(self.times) >= self._capacity:  # the last state still comes
            self.times, self.vectors = self.times[::2], self.vectors[::2]
            self._stride *= 2

    def finish(self, t: float, y: np.ndarray) -> None:
        if self.times[-1] != t:
            self.times.append(t)
            self.vectors.append(y)


def _explicit_stint(fun: Flow, solver: OdeSolver, patience: int | None) -> Generator[int, None, None]:
    """Yield the rejected tries of every step of DOP853; return when stability has held the steps back for long."""
    began, steps = solver.t, 0
    while solver.status == "running":
        before = fun.n_evaluations
        solver.step()
        yield max(0, (fun.n_evaluations - before) // _EXPLICIT_EVALUATIONS - 1)
        steps += 1
        if steps == patience and solver.status == "running":
            if (solver.t - began) / steps * spectral_radius(fun, solver.t, solver.y) > 0.7 * _STABLE_STEP:
                return
            began, steps = solver.t, 0


def _exponential_stint(
    fun: Flow, solver: ExponentialRosenbrock, patience: int | None
) -> Generator[int, None, None]:
    """Yield the rejected tries of every exponential step; return after `patience` dearer than explicit ones.

    The first step is a probe: it counts by the length that it promises, and ends the stint where that does not pay.
    """
    strikes, probing = 0, patience is not None
    while solver.status == "running":
        before = fun.n_evaluations
        solver.step()
        cost = fun.n_evaluations - before
        yield solver.n_rejected_last
        size = solver.h_abs if probing else solver.step_size
        # the rate at which explicit steps would cost as much; most steps need no eigenvalues to be faster than that
        even = _KRYLOV_COST * cost * _STABLE_STEP / (_EXPLICIT_EVALUATIONS * size)
        pays = solver.fastest_seen() >= even or solver.spectral_radius() >= even
        strikes = 0 if pays else strikes + 1
        if strikes == patience or (strikes and probing):
            return
        probing = False


def _steps(
    fun: Flow,
    t0: float,
    y0: np.ndarray,
    t_bound: float,
    method: str,
    rtol: float,
    atol: np.ndarray,
    max_step: float,
    flow: MatrixFlow | None,
) -> Generator[tuple[str, OdeSolver, int], None, None]:
    """Yield (method, solver, rejected tries) after every step, with the method that is cheaper at the time."""
    t, y, patience = t0, y0, _PATIENCE
    solver: Any
    first_step: float | None = None
    if flow is not None:
        solver = BackwardDifferences(
            fun, t, y, t_bound, linearise=flow.at, max_step=max_step, rtol=rtol, atol=atol
        )
        while solver.status == "running":
            solver.step()
            yield "implicit", solver, solver.n_rejected_last
        return
    while True:
        if method != "exponential":
            solver = InPlaceDOP853(
                fun, t, y, t_bound, max_step=max_step, rtol=rtol, atol=atol, first_step=first_step
            )
            for n_rejected in _explicit_stint(fun, solver, patience if method == "auto" else None):
                yield "explicit", solver, n_rejected
            if solver.status != "running":
                return
            t, y, first_step = solver.t, solver.y, solver.step_size
        size = int(np.clip(KRYLOV_BYTES // y.nbytes, 8, 120))
        options: dict[str, Any] = {"rtol": rtol, "atol": atol, "first_step": first_step, "max_step": max_step}
        solver = ExponentialRosenbrock(fun, t, y, t_bound, max_dimension=size, **options)
        for n_rejected in _exponential_stint(fun, solver, 4 if method == "auto" else None):
            yield "exponential", solver, n_rejected
        if solver.status != "running":
            return
        # each failed try of the exponential method makes the next one wait twice as long, up to a limit
        t, y, patience = solver.t, solver.y, min(2 * patience, _LONGEST_PATIENCE)
        # the explicit method went on with no more than `first_step` before
        first_step = min(solver.step_size, first_step or np.inf, abs(t_bound - t))


def integrate(
    state: State,
    system: Any,
    vector_field: VectorField,
    t_end: float | None = None,
    *,
    ts: Any = None,
    rtol: float = 1e-8,
    atol: float = 1e-10,
    method: str = "auto",
    end_point: State | None = None,
    dense: bool = False,
    max_steps: int = 100_000,
    progress: Callable[[float, float], None] | None = None,
) -> Trajectory[State]:
    """Follow the flow from a start, to rest or to a given time.

    Parameters
    ----------
    state
        Start: a NamedTuple of arrays that fits the system, such as a `ModeState` or a `MatrixState`.
    system
        What the field depends on, such as a `ModeSystem` or a `MatrixSystem`.
    vector_field
        The flow: one of `dynamics.fields`, or any other `VectorField`.
    t_end
        End time > 0. Left out, the run goes on until it is steady or known to be slow.
    ts
        Instead of `t_end`: increasing times at which states are kept; the first is the start.
    rtol, atol
        Relative and absolute tolerance, > 0. The global error at any time is meant to stay within 10 times
        rtol·|state| + atol as long as the trajectory itself does not amplify errors.
    method
        "auto", "explicit" (DOP853), "exponential" (exponential Rosenbrock–Krylov) or, for matrices that follow the
        gradient with at most 32 features, "implicit" (backward differences).
    end_point
        Where theory says that this trajectory ends (R6); rest is then judged by the distance to it. Left out,
        or not finite, rest is judged by `travel`.
    dense
        Keep what is needed to evaluate the trajectory at any time; costs memory in proportion to the steps.
    max_steps
        Budget of accepted steps, >= 1.
    progress
        Called as progress(t, end of run) now and then; an open-ended run has its end where rest is expected
        (`Rest.expected`), which changes, and is infinite where nothing slows down.

    Returns
    -------
    Trajectory
        With status steady, end-time, slow (an open-ended run that still crawls after `HORIZON` natural time units, or
        whose direction still turns after the norm of a linear flow grew 1e140-fold), unbounded (the direction of a
        linear flow came to rest, and its norm grows), diverged or max-steps. Without `ts`, states are kept at the
        integrator's own steps, thinned evenly to at most 1024 states or 256 MiB.

    Raises
    ------
    ValueError
        An argument is out of range (the message names it), or a start for which the variant is not defined.

    Examples
    --------
    >>> from dynamics.fields.modes import full_mode_field
    >>> from dynamics.system import ModeSystem
    >>> system = ModeSystem(lambda_s=1.0, lambda_d=0.5)
    >>> trajectory = integrate(system.state(0.1, 0.1, 0.1), system, full_mode_field)
    >>> trajectory.status.value, round(float(trajectory.final.predictor[0]), 6)
    ('steady', 0.5)
    """
    check_tolerances(rtol, atol, max_steps)
    if method not in MATRIX_METHODS:
        raise ValueError(f"`method` must be one of {', '.join(MATRIX_METHODS)}, got {method!r}")
    options = _Options(*checked_times(t_end, ts), rtol, atol, method, dense, max_steps, progress)
    if method == "implicit" or (method == "auto" and implicit_pays(state, system, vector_field)):
        from threadpoolctl import threadpool_limits

        start: Any = vector_field.start(state, system)
        end: Any = end_point
        flow = MatrixFlow(system, vector_field, len(start[0]))
        turned = flow.turned(start), flow.system, vector_field, None if end is None else flow.turned(end)
        run: Any
        with threadpool_limits(1, "blas"):  # rows of features are few: threads wait for each other
            run = flow.as_given(_run(*turned, options, flow))
        return run
    return _run(state, system, vector_field, end_point, options, None)


class _Options(NamedTuple):
    """How a run is made; as the parameters of `integrate`."""

    t0: float
    t_end: float | None
    asked: np.ndarray | None
    rtol: float
    atol: float
    method: str
    dense: bool
    max_steps: int
    progress: Callable[[float, float], None] | None


def _run(
    state: State,
    system: Any,
    vector_field: VectorField,
    end_point: State | None,
    options: _Options,
    flow: MatrixFlow | None,
) -> Trajectory[State]:
    """Run as `integrate` says, by implicit steps where the flow has its linearisation."""
    t0, t_end, asked, rtol, atol, method, dense, max_steps, progress = options
    start = vector_field.start(state, system)
    vector_field.require(start, system)
    start = vector_field.constrain(t0, start, system)
    y0 = pack(start)
    if np.max(np.abs(y0)) > LARGEST:
        raise ValueError(
            f"the start must have weights of at most {LARGEST:g} in size, beyond which the rounding of their squares"
            f" hides weights of size 1, got {np.max(np.abs(y0)):g}"
        )
    fun = Flow(start, system, vector_field)
    open_ended = t_end is None
    # followed for as long as the fastest mode's clock allows, but at rest only if the slowest mode will not move either
    fastest, slowest = vector_field.clock(system)
    t_bound = t0 + HORIZON * fastest if t_end is None else t_end
    stays = HORIZON * slowest if t_end is None else t_end
    # The encoder leaves the origin by multiplication: an error of the size of the start could change its sign,
    # and with it the end. So the absolute tolerance is never above rtol times the size of the start.
    sizes, linear = fun.sizes(y0), vector_field.growth is not None
    atols = np.where(sizes > 0, np.minimum(atol, rtol * sizes), atol)
    rest = Rest(fun, start, end_point, t0, stays, rtol, atols, linear=linear)
    local_rtol = max(_SAFETY * rtol, 100 * np.finfo(float).eps)
    # a part of the smallest weights is no number but zero
    local_atol = np.maximum(_SAFETY * atols, np.finfo(float).smallest_subnormal)
    samples, interpolants, knots = _Samples(y0, t0, asked), [], [t0]
    methods: list[str] = []
    n_steps = n_rejected = n_products = 0
    status = None
    t, y = t0, y0
    growth = vector_field.growth(system) if vector_field.growth is not None else 0.0
    max_step = _GROWTH / growth if growth > 0 else np.inf
    steps = _steps(fun, t0, y0, t_bound, method, local_rtol, local_atol, max_step, flow)
    while status is None:
        # overflow is no error here: a trajectory that runs away is told by its size and gets a status
        with np.errstate(over="ignore", invalid="ignore"):
            name, solver, rejected = next(steps)
        largest = np.max(np.abs(solver.y))  # NaN where anything is
        runaway = not largest <= (_FAR if linear else _DIVERGED) * (1 + np.max(np.abs(y0)))
        if linear and runaway and open_ended and np.isfinite(largest):
            status = Status.SLOW
            break
        if solver.status == "failed" or runaway:
            status = Status.DIVERGED
            break
        n_steps += 1
        n_rejected += rejected
        t, y = solver.t, solver.y
        if name not in methods:
            methods.append(name)
        samples.after_step(solver)
        if dense:
            interpolants.append(solver.dense_output())
            knots.append(t)
        if progress is not None and n_steps % 20 == 0:
            progress(t, rest.expected(t) if open_ended else t_bound)
        resolvent, velocity = None, getattr(solver, "f", None)
        if isinstance(solver, BackwardDifferences):
            resolvent, n_products = partial(solver.resolvent, _EXACT), solver.n_products
        if open_ended and (found := rest.reached(t, y, velocity=velocity, resolvent=resolvent)) is not None:
            status = found
        elif solver.status == "finished":
            found = rest.reached(t, y, last=True, velocity=velocity, resolvent=resolvent)
            status = found or (Status.SLOW if open_ended else Status.END_TIME)
        elif n_steps >= max_steps:
            status = Status.MAX_STEPS
    samples.finish(t, y)

    def states(times: np.ndarray, vectors: np.ndarray) -> State:
        parts = [
            vector_field.constrain(s, unpack(v, start), system) for s, v in zip(times, vectors, strict=True)
        ]
        return start._make(np.stack(part) for part in zip(*parts, strict=True))

    evaluate = None
    if dense and interpolants:
        solution = OdeSolution(knots, interpolants)

        def evaluate(times: np.ndarray) -> State:
            flat = np.atleast_1d(times)
            found = states(flat, solution(flat).T)
            return found if times.ndim else found._make(part[0] for part in found)

    times = np.array(samples.times)
    return Trajectory(
        ts=times,
        states=states(times, np.array(samples.vectors)),
        status=status,
        method="+".join(methods) or "none",
        n_field_evaluations=fun.n_evaluations + n_products,
        n_steps=n_steps,
        n_rejected=n_rejected,
        distance=rest.distance,
        _dense=evaluate,
    )
