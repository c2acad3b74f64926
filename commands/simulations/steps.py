"""Runs of gradient descent with real steps, on the population or on batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from commands.averaging import averaging
from commands.options import check_no_mode_start, matrix_start, matrix_system, mode_system
from commands.output import note
from commands.simulations.matrices import print_matrices
from commands.simulations.modes import print_modes
from commands.simulations.request import Kind, Request, StepOptions

if TYPE_CHECKING:
    from analysis.runs.stepped import SteppedMatrices, SteppedModes, Steps
    from dynamics.system import MatrixSystem, ModeSystem


def run_steps(request: Request) -> SteppedModes | SteppedMatrices:
    """Run modes, or W, P and Θ, by gradient descent."""
    from analysis.runs.stepped import step_matrices, step_modes
    from dynamics.states import MatrixState

    _check(request)
    start, moments, seed = request.start, request.known, request.output.seed
    options = {"rtol": request.run.rtol, "progress": request.progress}
    if request.by_modes:
        modes = mode_system(request.system, moments)
        state = modes.state(start.online or [0.1], start.predictor or [0.1], start.target or [0.1])
        return step_modes(state, modes, _steps(request, modes), seed=seed, **options)
    check_no_mode_start(start)
    full = matrix_system(request.system, moments)
    whole = matrix_start(start, moments, seed, MatrixState)
    return step_matrices(whole, full, _steps(request, full), seed=seed, **options)


def _check(request: Request) -> None:
    """Refuse options that steps would ignore."""
    from dynamics.integration.discrete import checked_step

    system, run = request.system, request.run
    assert system.step is not None
    checked_step(system.step, 1.0 if system.ema_rate is None else system.ema_rate)
    if run.t_end is None:
        raise ValueError("--t-end must be given with --step, got none")
    if system.variant != "full":
        raise ValueError(f"--variant must be full with --step, got {system.variant}")
    if run.method != "auto":
        raise ValueError(f"--method must not go with --step, which names one, got {run.method}")
    if run.atol != type(run)().atol:
        raise ValueError(f"`atol` must not go with --step, where rest is relative, got {run.atol}")
    if system.batch is not None and system.objective != "byol":
        raise ValueError(
            f"--batch must go with --objective byol, whose noise is known, got {system.objective}"
        )
    if request.by_modes:
        for name in ("init_online", "init_predictor"):
            if getattr(request.start, name) is not None:
                raise ValueError(
                    f"`{name}` must go with a matrix run (--dim, --moments or --data), got eigenvalues alone"
                )


def _steps(request: Request, system: ModeSystem | MatrixSystem) -> Steps:
    from analysis.runs.stepped import Steps

    options, t_end = request.system, request.run.t_end
    assert options.step is not None
    assert t_end is not None
    if not t_end > 0:
        raise ValueError(f"`t_end` must be finite and > 0, got {t_end}")
    rate, order = averaging(options, options.step, system.tau_target)
    n = max(round(t_end / options.step), 1)
    if n > request.run.max_steps:
        raise ValueError(
            f"`max_steps` must be at least --t-end over --step, {n} steps, got {request.run.max_steps}"
        )
    if n * options.step != t_end:
        note(f"{n} steps of {options.step:g} end at t = {n * options.step:.6g}", request.output)
    return Steps(n, options.step, rate, order, options.batch)


def print_steps(report: dict[str, Any]) -> None:
    """Print the run as one of the flow, and how it was stepped."""
    from commands.output import print_table

    (print_modes if "modes" in report else print_matrices)(report)
    steps = report["steps"]
    rows = [
        ["taken", str(steps["n"])],
        ["size ε", f"{steps['size']:g}"],
        ["rate of the average h", f"{steps['ema_rate']:g}, {steps['ema_order']}"],
        ["batch", "population" if steps["batch"] is None else str(steps["batch"])],
        ["period at the end", "–" if steps["period"] is None else str(steps["period"])],
    ]
    print_table(["steps", ""], rows)


STEPS = Kind(
    words=lambda request: "--step",
    asked=lambda request: request.system.step is not None,
    obeys=(StepOptions,),
    run=run_steps,
    show=print_steps,
)
"""Modes, or the full network, by gradient descent."""
