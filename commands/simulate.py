"""`dyn simulate`: what happens from this start."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from commands.declaration import command
from commands.normalisation import batch_norm_report, check_normalised, normalised_moments
from commands.options import RunOptions, StartOptions, read_moments
from commands.output import note, print_json, progress, status_code, ticker
from commands.saving import OutputOptions, checked_outputs
from commands.simulations.deep import DEEP
from commands.simulations.deep_matrices import DEEP_MATRICES
from commands.simulations.directional import DIRECTIONAL
from commands.simulations.encoders import ENCODER
from commands.simulations.matrices import MATRICES, NORMALISED
from commands.simulations.modes import MODES
from commands.simulations.request import Request, SimulatedOptions
from commands.simulations.restarts import RestartOptions
from commands.simulations.steps import STEPS
from dynamics.objectives import OBJECTIVES

if TYPE_CHECKING:
    from dynamics.data.moments import Moments

KINDS = (ENCODER, DIRECTIONAL, NORMALISED, STEPS, DEEP_MATRICES, DEEP, MODES, MATRICES)
"""Kinds of runs, of which the first that is asked for is made."""


@command(
    "simulate",
    epilog="Example: dyn simulate --lambda-s 1 --lambda-d 0.5",
)
def simulate(
    system: SimulatedOptions,
    start: StartOptions,
    run: RunOptions,
    restart: RestartOptions,
    output: OutputOptions,
) -> int | None:
    """Run the flow from one start, for modes or for matrices."""
    checked_outputs(output)
    began = perf_counter()
    system.loss_of(system.objective)  # refuses what does not go with the objective
    system.redundancy_of(system.objective)
    if system.branches is not None and system.objective != "simple":
        raise ValueError(f"--branches must go with --objective simple, got --objective {system.objective}")
    if system.step is None:
        for name in ("ema_rate", "ema_order", "batch"):
            if (value := getattr(system, name)) is not None:
                raise ValueError(f"`{name}` must go with --step, got {value} alone")
    of_encoder = OBJECTIVES[system.objective].encoder_flow
    normaliser = check_normalised(system, system, encoder=of_encoder)
    request = Request(system, start, run, restart, output, normaliser)
    kind = next(kind for kind in KINDS if kind.asked(request))
    kind.check(request)
    if restart.restarts is not None and run.t_end is None:
        raise ValueError("--t-end must be given with --restart-every, got none")
    moments = normalised_moments(system, system, read_moments(system, output), request.normaliser)
    watch = ticker("simulating", output) if kind.unit is None else progress("simulating", output, kind.unit)
    with watch as report_progress:
        simulation = kind.run(replace(request, moments=moments, progress=report_progress))
    report = {**simulation.report(), "seconds": perf_counter() - began}
    if request.normaliser.active:
        report.setdefault("batch_norm", batch_norm_report(request.normaliser))
    if "modes" not in report:
        report.setdefault("system", {})
        report["system"] |= {"n1": moments.n_inputs, "dropped_directions": moments.dropped_directions}
    for text in moments.notes:
        note(text, output)
    shown = getattr(simulation, "whole", simulation)  # of all stretches between restarts
    if output.out is not None:
        _save(shown, moments, report, output.out)
    if output.plot is not None:
        _plot(shown, output.plot)
    if output.json:
        print_json(report)
    else:
        kind.show(report)
    return status_code(simulation.trajectory)


def _save(
    simulation: Any,
    moments: Moments,
    report: dict[str, Any],
    path: Path,
) -> None:
    from analysis.runs.arrays import arrays_of
    from dynamics.files import write_arrays

    variables = arrays_of(simulation, moments.support)
    meta = {"command": sys.argv[1:], "notes": list(moments.notes), "report": report}
    write_arrays(path, variables, meta)


def _plot(simulation: Any, path: Path) -> None:
    from figures.results.drawers import page_of
    from figures.style import save

    save(page_of(simulation), path)
