"""`dyn train`: what a real network does, by real gradient steps."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from commands.compilation import keep_compiled_programs
from commands.declaration import OUTPUT, WRITES, command, option
from commands.output import note, print_json, print_table, progress
from commands.saving import OutputOptions, checked_outputs
from commands.terminal import FAILED
from commands.training_options import ExecutionOptions, TrainingOptions, in_terms_of_options, read_settings

if TYPE_CHECKING:
    from dynamics.training import TrainingData, TrainingRun, TrainingSettings
    from dynamics.training.run import Progress

_SHOWN_RUNS = 8  # whose diagnosis is printed
_SWEEP_METRICS = ("loss", "alignment", "uniformity", "effective_rank", "probe_accuracy")  # of each value


@dataclass(frozen=True)
class TrainingOutput(OutputOptions):
    """Where measurements go."""

    out: Annotated[
        Path | None,
        option(
            "--out",
            panel=OUTPUT,
            help="Save the measurements: .csv, .jsonl or .parquet as they come; .npz, .json or .nc at the end.",
        ),
        WRITES,
    ] = None


@command(
    "train",
    epilog="Example: dyn train --data digits --seeds 3 --plot digits.png",
)
def train(options: TrainingOptions, execution: ExecutionOptions, output: TrainingOutput) -> int | None:
    """Train one setting, or several, with one or more seeds."""
    from analysis.runs.training_report import report_of
    from dynamics.files import checked_target
    from dynamics.training import load_data
    from dynamics.training import train as run_all
    from dynamics.training.recording import STREAMED

    settings = read_settings(options)
    checked_outputs(output, STREAMED)
    _check_source(settings, execution, output)
    if execution.checkpoint is not None:
        checked_target(execution.checkpoint)
    if execution.device not in ("auto", "cpu", "gpu"):
        raise ValueError(f"`device` must be auto, cpu or gpu, got {execution.device!r}")
    keep_compiled_programs()
    with progress("reading", output) as bar:
        try:
            data = load_data(settings.data, progress=bar)
        except ValueError as error:
            raise ValueError(in_terms_of_options(str(error))) from None
    _check_dimension(settings, data)
    seeds = [output.seed + k for k in range(execution.seeds)] * settings.n_settings  # the same for each value
    settings = settings.repeated(execution.seeds)
    if execution.resume and execution.checkpoint is not None and not execution.checkpoint.exists():
        note(f"{execution.checkpoint} does not exist yet: the run starts from the beginning", output)
    with _watching(settings, seeds, execution, output) as watch:
        run = run_all(
            settings,
            seeds,
            data=data,
            progress=watch,
            checkpoint=execution.checkpoint,
            checkpoint_every=execution.checkpoint_every,
            resume=execution.resume,
            device=None if execution.device == "auto" else execution.device,
        )
    report = report_of(run)
    if output.out is not None and output.out.suffix.lower() not in STREAMED:
        _save(run, report, output.out)
    if output.plot is not None:
        _plot(run, data, output.plot, output)
    if output.json:
        print_json(report)
    else:
        _print(run, report)
    if run.status == "diverged":
        sys.stderr.write(f"dyn: diverged: {run.message}; {_advice(run, data)}\n")
        return FAILED
    return None


def _advice(run: TrainingRun, data: TrainingData) -> str:
    """What to try after a run that diverged: steps of gradient descent hold where ε λs is below about a quarter.

    The loss without the factor ½ makes a step 2ε, and R303's largest stable step of a learned mode without average is
    2/(λs (r² + w²)/τ), with r and w of order one.
    """
    import numpy as np

    rates = np.ravel(run.settings.optimizer.learning_rate)
    if run.settings.optimizer.kind == "sgd" and run.settings.encoder.kind == "linear":
        largest = float(np.linalg.eigvalsh(data.spectrum.sigma_s)[-1])
        bound = 1 / (4 * largest) if largest > 0 else np.inf
        if np.max(rates) > bound:
            decade = 10.0 ** np.floor(np.log10(bound))
            below = np.floor(bound / decade) * decade  # one digit, towards zero
            return (
                f"the largest eigenvalue of Σs is {largest:.3g}, and steps hold below about a quarter of its inverse"
                f" (R303): try --learning-rate {below:g}"
            )
    return "try a smaller --learning-rate"


def _check_source(settings: TrainingSettings, execution: ExecutionOptions, output: TrainingOutput) -> None:
    """The data may be named by --set or --config: they are not to be written over, either."""
    from dynamics.claims import check_distinct

    written = {"--out": output.out, "--plot": output.plot, "--checkpoint": execution.checkpoint}
    check_distinct(
        {"--set data.source": Path(settings.data.source).expanduser()},
        {name: path for name, path in written.items() if path is not None},
    )


def _check_dimension(settings: TrainingSettings, data: TrainingData) -> None:
    features = settings.encoder.features
    if settings.encoder.kind == "linear" and features > data.n1:
        raise ValueError(
            f"`features` must be at most {data.n1}, the dimension of the data, for a linear encoder, got {features}"
        )


@contextmanager
def _watching(
    settings: TrainingSettings, seeds: list[int], execution: ExecutionOptions, output: TrainingOutput
) -> Iterator[Progress]:
    """What sees every measurement: the progress bar, and the file that grows with the run."""
    from contextlib import ExitStack

    from dynamics.training.recording import STREAMED, Recording

    with ExitStack() as stack:
        watchers: list[Progress] = []
        if output.out is not None and output.out.suffix.lower() in STREAMED:
            resumed = execution.checkpoint if execution.resume else None
            watchers.append(stack.enter_context(Recording(output.out, settings, seeds, resumed=resumed)))
        if (bar := stack.enter_context(progress("training", output, "steps"))) is not None:
            watchers.append(lambda step, steps, metrics: bar(step, steps))

        def watch(step: int, steps: int, metrics: Any) -> None:
            for watcher in watchers:
                watcher(step, steps, metrics)

        yield watch


def _save(run: TrainingRun, report: dict[str, Any], path: Path) -> None:
    import numpy as np

    from analysis.runs.arrays import training_arrays
    from dynamics.files import write_arrays

    variables = training_arrays(run)
    if path.suffix.lower() == ".json":  # which has no NaN
        for name in run.metrics:
            values = variables[name].values.astype(object)
            values[~np.isfinite(variables[name].values)] = None
            variables[name] = variables[name]._replace(values=values)
    write_arrays(path, variables, {"command": sys.argv[1:], "report": report})


def _plot(run: TrainingRun, data: TrainingData, path: Path, output: TrainingOutput) -> None:
    from analysis.runs.training import predict
    from figures.results.training import figure_training
    from figures.style import save

    prediction = None
    try:
        prediction = predict(run, data)
    except ValueError as error:  # most settings lie outside the theory: which one does, is worth knowing
        note(f"the picture has no theory: {error}", output)
    save(figure_training(run, prediction), path)


def _print(run: TrainingRun, report: dict[str, Any]) -> None:
    if len(report["groups"]) > 1:
        columns, rows = _table_of_groups(report)
    else:
        columns, rows = _table_of_metrics(run, report)
    lines = [entry["diagnosis"] for entry in report["runs"]]
    if run.n_runs > 1:
        lines = [f"{_label(k, entry)}: {entry['diagnosis']}" for k, entry in enumerate(report["runs"])]
    if len(lines) > _SHOWN_RUNS:
        lines = [*lines[:_SHOWN_RUNS], f"and {len(lines) - _SHOWN_RUNS} more, all in --json"]
    if report["n_diverged"] > 0 and run.n_runs > 1:
        lines.append(f"{report['n_diverged']} of {run.n_runs} runs diverged: means and ± are over the others")
    rate = f"{run.steps_per_second:,.0f} steps/s" if run.steps_per_second else "nothing left to do"
    cost = f"{report['steps']} steps · {'1 run' if run.n_runs == 1 else f'{run.n_runs} runs'} · {rate} · {run.device}"
    print_table(columns, rows, "\n".join([*lines, cost]))


def _label(index: int, entry: dict[str, Any]) -> str:
    values = "".join(f", {name} = {value:g}" for name, value in entry["values"].items())
    return f"run {index}, seed {entry['seed']}{values}"


def _table_of_metrics(run: TrainingRun, report: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """One setting: a row for each metric."""
    rows = [
        [
            name.replace("_", " "),
            _text(report["initial"][name]),
            _mean_text(report, name, run.n_runs - report["n_diverged"]),
        ]
        for name, values in run.metrics.items()
        if values.ndim == 2
    ]
    return ["metric", "start", "end"], rows


def _table_of_groups(report: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """A sweep: a row for each value of what is swept."""
    shown = [name for name in _SWEEP_METRICS if name in report["groups"][0]["metrics"]]
    swept = list(report["groups"][0]["values"])
    rows = []
    for group in report["groups"]:
        n_left = len(group["runs"]) - group["n_diverged"]
        cells = [_mean_text(group, name, n_left) for name in shown]
        verdicts = ", ".join(f"{n} {verdict}" for verdict, n in group["verdicts"].items())
        rows.append([*(f"{value:g}" for value in group["values"].values()), *cells, verdicts])
    return [*swept, *(name.replace("_", " ") for name in shown), "verdicts"], rows


def _mean_text(entry: dict[str, Any], name: str, n_left: int) -> str:
    """Mean at the end, its deviation over seeds, and over how many runs these are if not all that are left."""
    spread, n = entry["spread"].get(name), entry["n_defined"][name]
    text = _text(entry["metrics"][name]) + ("" if spread is None else f" ± {spread:.1g}")
    return text + (f" ({n} of {n_left} runs)" if 0 < n < n_left else "")


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
