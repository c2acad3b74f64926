"""`dyn simulate`: what happens from this start."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

from commands.declaration import SYSTEM, OneOf, command, option
from commands.normalisation import (
    BatchNormOptions,
    batch_norm_report,
    check_decoupled,
    check_normalised,
    needs_field,
    normalised_moments,
)
from commands.options import (
    InfonceOptions,
    OutputOptions,
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
    from analysis.runs.simulation import MatrixSimulation, ModeSimulation
    from dynamics.data.moments import Moments
    from dynamics.normalisation import Normaliser


@dataclass(frozen=True)
class SimulatedOptions(InfonceOptions, BatchNormOptions, SystemOptions):
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
    system: SimulatedOptions, start: StartOptions, run: RunOptions, output: OutputOptions
) -> int | None:
    """Run the flow from one start, for modes or for matrices."""
    checked_outputs(output)
    began = perf_counter()
    _check_options_of_objective(system)
    of_encoder = OBJECTIVES[system.objective].encoder_flow
    normaliser = check_normalised(system, system, encoder=of_encoder)
    moments = normalised_moments(system, system, read_moments(system, output), normaliser)
    of_normalised = needs_field(normaliser)
    by_modes = system.lambda_s is not None and start.dim is None and start.state is None
    as_modes = by_modes and not of_encoder and not of_normalised
    if as_modes:
        check_decoupled(moments, normaliser)
    settings = {"t_end": run.t_end, "rtol": run.rtol, "atol": run.atol, "method": run.method}
    simulation: ModeSimulation | MatrixSimulation | EncoderSimulation
    watch = progress("simulating", output, "modes") if as_modes else ticker("simulating", output)
    with watch as report_progress:
        options = {**settings, "max_steps": run.max_steps, "progress": report_progress}
        if of_encoder:
            simulation = _simulate_encoder(system, start, moments, output.seed, options)
        elif of_normalised:
            simulation = _simulate_normalised(system, start, moments, normaliser, output.seed, options)
        elif as_modes:
            simulation = _simulate_modes(system, start, moments, options)
        else:
            simulation = _simulate_matrices(system, start, moments, output.seed, options)
    report = {**simulation.report(), "seconds": perf_counter() - began}
    if normaliser.active:
        report.setdefault("batch_norm", batch_norm_report(normaliser))
    if not as_modes:
        report.setdefault("system", {})
        report["system"] |= {"n1": moments.n_inputs, "dropped_directions": moments.dropped_directions}
    for text in moments.notes:
        note(text, output)
    if output.out is not None:
        _save_simulation(simulation, moments, report, output.out)
    if output.plot is not None:
        _plot_simulation(simulation, output.plot)
    if output.json:
        print_json(report)
    elif of_encoder:
        _print_encoder(report)
    elif as_modes:
        _print_modes(report)
    else:
        _print_matrices(report)
    return status_code(simulation.trajectory)


def _simulate_modes(
    system: SimulatedOptions, start: StartOptions, moments: Moments, options: dict[str, Any]
) -> ModeSimulation:
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
    return simulate_modes(state, modes, VARIANTS[system.variant].mode_field, **options)


def _simulate_matrices(
    system: SimulatedOptions, start: StartOptions, moments: Moments, seed: int, options: dict[str, Any]
) -> MatrixSimulation:
    from analysis.runs.simulation import simulate_matrices
    from dynamics.states import MatrixState
    from dynamics.variants import VARIANTS

    check_no_mode_start(start)
    field = VARIANTS[system.variant].matrix_field
    if field is None:
        raise ValueError(f"--variant {system.variant} is defined for modes only, got a matrix run")
    state = matrix_start(start, moments, seed, MatrixState)
    return simulate_matrices(state, matrix_system(system, moments), field, **options)


def _simulate_normalised(
    system: SimulatedOptions,
    start: StartOptions,
    moments: Moments,
    normaliser: Normaliser,
    seed: int,
    options: dict[str, Any],
) -> MatrixSimulation:
    from analysis.runs.normalised import simulate_normalised
    from dynamics.fields.batch_normalised import BASES
    from dynamics.states import MatrixState

    bases = {field.name: field for field in BASES}
    if system.variant not in bases:
        raise ValueError(
            f"--variant must be one of {', '.join(bases)} where features are divided by their deviation or the mean is"
            f" detached, got {system.variant}"
        )
    full = matrix_system(system, moments)
    scalars = (start.online, start.predictor, start.target)
    drawn = (start.dim, start.state, start.init_online, start.init_predictor)
    if system.lambda_s is not None and all(option is None for option in drawn):  # one row per mode
        parts = []
        for name, values in zip(("online", "predictor", "target"), scalars, strict=True):
            if len(values or [0.1]) not in (1, full.n1):
                raise ValueError(
                    f"`{name}` must be given once, or once for each of {full.n1} modes, got {len(values or ())}"
                )
            parts.append(
                [[x if i == j else 0.0 for j in range(full.n1)] for i, x in _spread(values, full.n1)]
            )
        state = MatrixState(*parts)
    else:
        check_no_mode_start(start)
        state = matrix_start(start, moments, seed, MatrixState)
    base = bases[system.variant]
    return simulate_normalised(state, full, normaliser, moments.mean, base=base, **options)


def _spread(values: list[float] | None, n: int) -> list[tuple[int, float]]:
    """Scalars of a start, one per mode."""
    given = values or [0.1]
    return list(enumerate(given * n if len(given) == 1 else given))


_OWNERS = {"branches": "simple", "temperature": "infonce", "negatives": "infonce"}


def _check_options_of_objective(system: SimulatedOptions) -> None:
    for name, owner in _OWNERS.items():
        if getattr(system, name) is not None and system.objective != owner:
            raise ValueError(f"--{name} must go with --objective {owner}, got --objective {system.objective}")


def _simulate_encoder(
    system: SimulatedOptions, start: StartOptions, moments: Moments, seed: int, options: dict[str, Any]
) -> EncoderSimulation:
    import numpy as np

    from analysis.runs.encoders import simulate_encoder
    from analysis.runs.infonce import simulate_infonce
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
    if system.objective == "simple":
        return simulate_encoder(state, full, system.branches or "all", **options)
    temperature = 1.0 if system.temperature is None else system.temperature
    negatives = np.inf if system.negatives is None else system.negatives
    return simulate_infonce(state, full, temperature, negatives, **options)


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
    conserved = (report.get("batch_norm", {}).get("conserved") or "balance").replace("-", " ")
    caption = (
        f"n1 = {system['n1']}, n2 = {system['n2']}, dropped directions {system['dropped_directions']},"
        f" commutator of Σs and Σd {system['commutator']:.3g}\n"
        f"top of M's spectrum: {top}\n"
        f"rank {report['final']['rank']} (floor {floor}) · resonance error {resonance}"
        f" · drift of the {conserved} {'–' if drift is None else f'{drift:.1e}'}\n{_cost_text(report)}"
    )
    columns = ["row", "predictor eigenvalue", "ratio of M", "mode of M", "amplitude", "fate"]
    print_table(columns, rows, caption + _normalised_text(report.get("batch_norm", {})))


def _normalised_text(found: dict[str, Any]) -> str:
    """What a run with normalised features has besides."""
    if "row_norms" not in found:
        return ""
    ends = (", ".join(f"{norm:.4g}" for norm in found["row_norms"][when]) for when in ("initial", "final"))
    lines = ["norms of rows: {} → {}".format(*ends)]
    if found["dead_row"] is not None:
        predicted = found["predicted"]["death"]
        said = "no result applies" if predicted is None else f"predicted {predicted:.7g}"
        lines.append(f"row {found['dead_row'] + 1} reached zero ({said})")
    if (rate := found["predicted"]["runaway_rate"]) is not None:
        lines.append(f"a mode grows like e^(gt), g = {rate:.7g} (R216)")
    return "\n" + "\n".join(lines)


def _prediction_text(mode: dict[str, Any]) -> str:
    said = mode["predicted"]["fate"] or "no result applies"
    return f"{said}{' (disagrees)' if mode['agrees'] is False else ''}"


def _predicted_size(predicted: dict[str, Any]) -> str:
    if predicted["amplitude"] is None:
        return "∞" if predicted["fate"] else "–"
    return f"{predicted['amplitude']:.6g}"


def _print_encoder(report: dict[str, Any]) -> None:
    of_infonce = report["objective"] == "infonce"
    rows = []
    for k, mode in enumerate(report["modes"][:_LISTED]):
        row = [str(k + 1), number_text(mode["lambda_d"]), number_text(mode["ratio"])]
        if of_infonce:
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
    sizes = ["start w Σs wᵀ", "end", "predicted end"] if of_infonce else ["start", "end", "share of ‖W‖²"]
    columns = ["mode", "λd", "λd/λs", *sizes, "fate", "predicted"]
    print_table(columns, rows, caption)
