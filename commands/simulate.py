"""`dyn simulate`: what happens from this start."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, cast

from commands.declaration import SYSTEM, OneOf, command, option
from commands.options import (
    LossOptions,
    OutputOptions,
    RestartOptions,
    RunOptions,
    StartOptions,
    SystemOptions,
    check_no_mode_start,
    checked_outputs,
    encoder_system,
    matrix_start,
    matrix_system,
    mode_system,
    read_moments,
)
from commands.output import (
    note,
    number_text,
    print_json,
    print_table,
    progress,
    status_code,
    ticker,
    triple_text,
)
from dynamics.objectives import OBJECTIVES, flow_objectives

if TYPE_CHECKING:
    from analysis.runs.encoders import EncoderSimulation
    from analysis.runs.restarts import RestartedSimulation, Restarts
    from analysis.runs.simulation import MatrixSimulation, ModeSimulation
    from dynamics.data.moments import Moments
    from dynamics.fields.infonce import SaturatingLoss


@dataclass(frozen=True)
class SimulatedOptions(LossOptions, SystemOptions):
    """A system whose objective may be one of an encoder alone."""

    objective: Annotated[
        str,
        option("--objective", panel=SYSTEM, help="Objective whose flow of linear networks is known (byol)."),
        OneOf(flow_objectives),
    ] = "byol"
    branches: Annotated[
        str | None,
        option("--branches", panel=SYSTEM, help="Of simple: branches that the gradient goes through (all)."),
        OneOf(lambda: ("all", "one")),
    ] = None


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
    loss = system.loss_of(system.objective)
    if system.branches is not None and system.objective != "simple":
        raise ValueError(f"--branches must go with --objective simple, got --objective {system.objective}")
    restarts = restart.restarts
    if restarts is not None and run.t_end is None:
        raise ValueError("--t-end must be given with --restart-every, got none")
    moments = read_moments(system, output)
    of_encoder = OBJECTIVES[system.objective].encoder_flow
    as_modes = system.lambda_s is not None and start.dim is None and start.state is None and not of_encoder
    settings = {"t_end": run.t_end, "rtol": run.rtol, "atol": run.atol, "method": run.method}
    if restarts is not None and of_encoder:
        raise ValueError(
            f"--restart-every must not go with --objective {system.objective}, which has no predictor"
        )
    simulation: ModeSimulation | MatrixSimulation | EncoderSimulation | RestartedSimulation
    watch = progress("simulating", output, "modes") if as_modes else ticker("simulating", output)
    with watch as report_progress:
        options = {**settings, "max_steps": run.max_steps, "progress": report_progress}
        if of_encoder:
            simulation = _simulate_encoder(system, loss, start, moments, output.seed, options)
        elif as_modes:
            simulation = _simulate_modes(system, start, moments, output.seed, restarts, options)
        else:
            simulation = _simulate_matrices(system, start, moments, output.seed, restarts, options)
    report = {**simulation.report(), "seconds": perf_counter() - began}
    if not as_modes:
        report.setdefault("system", {})
        report["system"] |= {"n1": moments.n_inputs, "dropped_directions": moments.dropped_directions}
    for text in moments.notes:
        note(text, output)
    shown: Any = simulation if restarts is None else cast("RestartedSimulation", simulation).whole
    if output.out is not None:
        _save_simulation(shown, moments, report, output.out)
    if output.plot is not None:
        _plot_simulation(shown, output.plot)
    if output.json:
        print_json(report)
    elif of_encoder:
        _print_encoder(report)
    elif as_modes:
        _print_modes(report)
    else:
        _print_matrices(report)
    if restarts is not None and not output.json:
        _print_restarts(report["restarts"], as_modes=as_modes)
    return status_code(simulation.trajectory)


def _simulate_modes(
    system: SimulatedOptions,
    start: StartOptions,
    moments: Moments,
    seed: int,
    restarts: Restarts | None,
    options: dict[str, Any],
) -> ModeSimulation | RestartedSimulation:
    from analysis.runs.simulation import simulate_modes
    from dynamics.variants import VARIANTS

    if (method := options.pop("method")) != "auto":
        raise ValueError(
            f"--method must go with a matrix run, as a run of modes has one method of its own, got {method}"
        )
    for name in ("init_online", "init_predictor"):
        if getattr(start, name) is not None:
            raise ValueError(
                f"`{name}` must go with a matrix run (--dim, --moments or --data), got eigenvalues alone"
            )
    modes = mode_system(system, moments)
    online = start.online or [0.1]
    predictor = start.predictor or (online if system.variant == "tied" else [0.1])
    state = modes.state(online, predictor, start.target or [0.1])
    field = VARIANTS[system.variant].mode_field
    if restarts is not None:
        from analysis.runs.restarts import restarted_modes

        return restarted_modes(state, modes, field, restarts, seed=seed, **options)
    return simulate_modes(state, modes, field, **options)


def _simulate_matrices(
    system: SimulatedOptions,
    start: StartOptions,
    moments: Moments,
    seed: int,
    restarts: Restarts | None,
    options: dict[str, Any],
) -> MatrixSimulation | RestartedSimulation:
    from analysis.runs.simulation import simulate_matrices
    from dynamics.states import MatrixState
    from dynamics.variants import VARIANTS

    check_no_mode_start(start)
    field = VARIANTS[system.variant].matrix_field
    if field is None:
        raise ValueError(f"--variant {system.variant} is defined for modes only, got a matrix run")
    state = matrix_start(start, moments, seed, MatrixState)
    full = matrix_system(system, moments)
    if restarts is not None:
        from analysis.runs.restarts import restarted_matrices

        return restarted_matrices(state, full, field, restarts, seed=seed, **options)
    return simulate_matrices(state, full, field, **options)


def _simulate_encoder(
    system: SimulatedOptions,
    loss: SaturatingLoss | None,
    start: StartOptions,
    moments: Moments,
    seed: int,
    options: dict[str, Any],
) -> EncoderSimulation:
    import numpy as np

    from analysis.runs.encoders import simulate_encoder
    from analysis.runs.infonce import simulate_saturating
    from dynamics.states import EncoderState

    full = encoder_system(system, moments)
    for name in ("predictor", "target", "init_predictor"):
        if getattr(start, name) is not None:
            raise ValueError(
                f"`{name}` must not go with --objective {system.objective}, which trains an encoder alone"
            )
    if (
        system.lambda_s is not None
        and start.dim is None
        and start.state is None
        and start.init_online is None
    ):
        weights = start.online or [0.1]
        if len(weights) not in (1, full.n1):
            raise ValueError(
                f"`online` must be given once, or once for each of {full.n1} modes, got {len(weights)}"
            )
        state = EncoderState(np.broadcast_to(weights, (1, full.n1)))
    else:
        check_no_mode_start(start)
        state = matrix_start(start, moments, seed, EncoderState)
    if loss is None:
        return simulate_encoder(state, full, system.branches or "all", **options)
    return simulate_saturating(state, full, loss, **options)


def _save_simulation(
    simulation: ModeSimulation | MatrixSimulation | EncoderSimulation,
    moments: Moments,
    report: dict[str, Any],
    path: Path,
) -> None:
    from analysis.runs.arrays import arrays_of
    from dynamics.files import write_arrays

    variables = arrays_of(simulation, moments.support)
    meta = {"command": sys.argv[1:], "notes": list(moments.notes), "report": report}
    write_arrays(path, variables, meta)


def _plot_simulation(simulation: ModeSimulation | MatrixSimulation | EncoderSimulation, path: Path) -> None:
    from figures.results.drawers import page_of
    from figures.style import save

    save(page_of(simulation), path)


_LISTED = 12  # modes of an encoder that have a row; data have hundreds


def _cost_text(report: dict[str, Any]) -> str:
    time = "∞, beyond floats" if report["t"] is None else f"{report['t']:.6g}"
    return (
        f"{report['status']} at t = {time} · {report['n_field_evaluations']} field evaluations"
        f" · {report['seconds']:.2f} s · {report['method']}"
    )


def _print_modes(report: dict[str, Any]) -> None:
    rows = []
    for k, mode in enumerate(report["modes"]):
        predicted = mode["predicted"]
        drift = mode["invariant"]["drift"]
        rows.append(
            [
                str(k + 1),
                number_text(mode["ratio"]),
                triple_text(mode["initial"]),
                triple_text(mode["final"]),
                mode["fate"],
                (predicted["fate"] or "no result applies")
                + {True: "", None: "", False: " (disagrees)"}[mode["agrees"]],
                triple_text(predicted) if predicted["fate"] else "–",
                "–" if drift is None else f"{drift:.1e}",
            ]
        )
    columns = [
        "mode",
        "λd/λs",
        "start w1, w2, θ",
        "end w1, w2, θ",
        "fate",
        "predicted",
        "predicted end",
        "drift of c",
    ]
    print_table(columns, rows, _cost_text(report))


def _print_restarts(restarts: dict[str, Any], *, as_modes: bool) -> None:
    events = restarts["events"]
    if as_modes:
        columns = ["restart", "t", "mode", "fresh w2", "fate", "predicted", "|w1| predicted", "w1 at the end"]
        rows = [
            [
                str(k + 1),
                f"{event['t']:.6g}",
                str(j + 1),
                f"{mode['predictor']:.6g}",
                mode["fate"],
                _prediction_text(mode),
                "–" if mode["predicted"]["amplitude"] is None else f"{mode['predicted']['amplitude']:.6g}",
                f"{mode['online']:.6g}",
            ]
            for k, event in enumerate(events[:_LISTED])
            for j, mode in enumerate(event["modes"])
        ]
    else:
        columns = ["restart", "t", "‖P‖", "rank floor", "rank at the end", "τo ‖W‖² before", "after"]
        rows = [
            [
                str(k + 1),
                f"{event['t']:.6g}",
                f"{event['predictor_norm']:.4g}",
                "–" if event["rank_floor"] is None else str(event["rank_floor"]),
                str(event["rank"]),
                *(f"{value:.6g}" for value in event["online_trace"]),
            ]
            for k, event in enumerate(events[:_LISTED])
        ]
    more = f"and {len(events) - _LISTED} more restarts (--json lists them)" if len(events) > _LISTED else ""
    print_table(columns, rows, more)


def _print_matrices(report: dict[str, Any]) -> None:
    rows = []
    for k, row in enumerate(report["final"]["rows"]):
        real, imaginary = row["predictor_eigenvalue"]
        learned = row["mode"] is not None and row["fate"] == "learned"
        rows.append(
            [
                str(k + 1),
                f"{real:.7g}" + (f" {imaginary:+.3g}i" if imaginary else ""),
                f"{row['ratio']:.7g}" if learned else "–",
                str(row["mode"] + 1) if learned else "–",
                f"{row['amplitude']:.4g}",
                row["fate"],
            ]
        )
    system, theory = report["system"], report["theory"]
    top = ", ".join(number_text(ratio) for ratio in theory["ratios"][: system["n2"]])
    floor = "–" if theory["rank_floor"] is None else theory["rank_floor"]
    resonance = "–" if theory["resonance_error"] is None else f"{theory['resonance_error']:.1e}"
    drift = report["invariant"]["drift"]
    caption = (
        f"n1 = {system['n1']}, n2 = {system['n2']}, dropped directions {system['dropped_directions']},"
        f" commutator of Σs and Σd {system['commutator']:.3g}\n"
        f"top of M's spectrum: {top}\n"
        f"rank {report['final']['rank']} (floor {floor}) · resonance error {resonance}"
        f" · drift of the balance {'–' if drift is None else f'{drift:.1e}'}\n{_cost_text(report)}"
    )
    columns = ["row", "predictor eigenvalue", "ratio of M", "mode of M", "amplitude", "fate"]
    print_table(columns, rows, caption)


def _prediction_text(mode: dict[str, Any]) -> str:
    said = mode["predicted"]["fate"] or "no result applies"
    return f"{said}{' (disagrees)' if mode['agrees'] is False else ''}"


def _predicted_size(predicted: dict[str, Any]) -> str:
    if predicted["amplitude"] is None:
        return "∞" if predicted["fate"] else "–"
    return f"{predicted['amplitude']:.6g}"


def _print_encoder(report: dict[str, Any]) -> None:
    saturates = report["objective"] != "simple"
    rows = []
    for k, mode in enumerate(report["modes"][:_LISTED]):
        row = [str(k + 1), number_text(mode["lambda_d"]), number_text(mode["ratio"])]
        if saturates:
            row += [f"{mode[when]['amplitude']:.6g}" for when in ("initial", "final")]
            row.append(_predicted_size(mode["predicted"]))
        else:
            row += [number_text(mode[when]["online"]) for when in ("initial", "final")]
            row.append("–" if mode["share"] is None else f"{mode['share']:.4g}")
        rows.append([*row, mode["fate"], _prediction_text(mode)])
    rest = Counter(mode["fate"] for mode in report["modes"][_LISTED:])
    more = ", ".join(f"{count} {fate}" for fate, count in rest.items())
    error = report["exact"]["error"]
    caption = (f"and {rest.total()} more modes: {more} (--json lists them)\n" if rest else "") + (
        f"rank {report['final']['rank']} · error {'–' if error is None else f'{error:.1e}'} · {_cost_text(report)}"
    )
    sizes = ["start w Σs wᵀ", "end", "predicted end"] if saturates else ["start", "end", "share of ‖W‖²"]
    columns = ["mode", "λd", "λd/λs", *sizes, "fate", "predicted"]
    print_table(columns, rows, caption)
