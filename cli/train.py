"""`dyn train`: what a real network does, by real gradient steps."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cli.application import FAILED, WRITES, command
from cli.compilation import keep_compiled_programs
from cli.options import OUTPUT, OutputOptions, checked_outputs, option
from cli.printing import note, print_json, print_table, progress
from cli.training_options import ExecutionOptions, TrainingOptions, read_settings

if TYPE_CHECKING:
    from dynamics.training import TrainingData, TrainingRun, TrainingSettings
    from dynamics.training.run import Progress

_SHOWN_RUNS = 8  # whose diagnosis is printed


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
    help="What does a real network do: train by gradient steps and compare with what theory predicts.",
    epilog="Example: dyn train --data digits --seeds 3 --plot digits.png",
)
def train(options: TrainingOptions, execution: ExecutionOptions, output: TrainingOutput) -> int | None:
    """Train one setting, or several, with one or more seeds."""
    from dynamics.storage import checked_target
    from dynamics.training import load_data
    from dynamics.training import train as run_all
    from dynamics.training.recording import STREAMED

    settings = read_settings(options)
    checked_outputs(output, STREAMED)
    if execution.checkpoint is not None:
        checked_target(execution.checkpoint)
    if execution.device not in ("auto", "cpu", "gpu"):
        raise ValueError(f"`device` must be auto, cpu or gpu, got {execution.device!r}")
    keep_compiled_programs()
    data = load_data(settings.data)
    _check_dimension(settings, data)
    seeds = [output.seed + k for k in range(execution.seeds)]
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
    report = _report(run)
    if output.out is not None and output.out.suffix.lower() not in STREAMED:
        _save(run, report, output.out)
    if output.plot is not None:
        _plot(run, data, output.plot, output)
    if output.json:
        print_json(report)
    else:
        _print(run, report)
    if run.status == "diverged":
        sys.stderr.write(f"dyn: diverged: {run.message}\n")
        return FAILED
    return None


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


def _report(run: TrainingRun) -> dict[str, Any]:
    """What is printed as JSON: means over the runs at the end and at the start, and each run by itself."""
    import json

    import numpy as np

    from analysis.simulation import plain
    from dynamics.training import diagnose

    def at(time: int) -> dict[str, Any]:
        return {name: np.mean(values[:, time], axis=0) for name, values in run.metrics.items()}

    scalars = {name: values for name, values in run.metrics.items() if values.ndim == 2}
    report = {
        "metrics": at(-1),
        "initial": at(0),
        "spread": {name: np.std(values[:, -1], ddof=1) for name, values in scalars.items()}
        if run.n_runs > 1
        else {},
        "steps": int(run.steps[-1]),
        "steps_per_second": run.steps_per_second,
        "device": run.device,
        "status": run.status,
        "message": run.message,
        "seconds": run.seconds,
        "runs": [
            {
                "seed": int(run.seeds[index]),
                "diagnosis": diagnose(run, index),
                "failed_at": int(run.failed_at[index]) if run.failed_at[index] >= 0 else None,
                "metrics": {name: values[index, -1] for name, values in scalars.items()},
            }
            for index in range(run.n_runs)
        ],
        "settings": json.loads(run.settings.to_json()),
    }
    return plain(report)


def _save(run: TrainingRun, report: dict[str, Any], path: Path) -> None:
    import numpy as np

    from dynamics.storage import Variable, write_arrays

    axes = ("step", "run", "feature", "part")
    variables = {"step": Variable(("step",), run.steps), "seed": Variable(("run",), run.seeds)}
    for name, values in run.metrics.items():
        moved = np.moveaxis(values, 1, 0)
        if path.suffix.lower() == ".json":  # which has no NaN
            moved = moved.astype(object)
            moved[~np.isfinite(np.moveaxis(values, 1, 0))] = None
        variables[name] = Variable(axes[: moved.ndim], moved)
    encoder = run.settings.encoder
    linear = encoder.kind == "linear" and not encoder.projector and run.settings.predictor.kind != "mlp"
    if linear and run.status == "done":
        W, P, Th = run.final
        inputs, square = ("run", "feature", "input"), ("run", "feature", "feature_in")
        variables["online"], variables["target"] = Variable(inputs, W), Variable(inputs, Th)
        variables["predictor"] = Variable(square, P)
    write_arrays(path, variables, {"command": sys.argv[1:], "report": report})


def _plot(run: TrainingRun, data: TrainingData, path: Path, output: TrainingOutput) -> None:
    from analysis.training import predict
    from figures.pages.training import figure_training
    from figures.style import save

    prediction = None
    try:
        prediction = predict(run, data)
    except ValueError as error:  # most settings lie outside the theory: which one does, is worth knowing
        note(f"the picture has no theory: {error}", output)
    save(figure_training(run, prediction), path)


def _print(run: TrainingRun, report: dict[str, Any]) -> None:
    rows = []
    for name, values in run.metrics.items():
        if values.ndim > 2:
            continue
        spread = report["spread"].get(name)
        end = _text(report["metrics"][name]) + ("" if spread is None else f" ± {spread:.1g}")
        rows.append([name.replace("_", " "), _text(report["initial"][name]), end])
    lines = [entry["diagnosis"] for entry in report["runs"]]
    if run.n_runs > 1:
        lines = [f"run {k}, seed {run.seeds[k]}: {line}" for k, line in enumerate(lines)]
    if len(lines) > _SHOWN_RUNS:
        lines = [*lines[:_SHOWN_RUNS], f"and {len(lines) - _SHOWN_RUNS} more, all in --json"]
    rate = f"{run.steps_per_second:,.0f} steps/s" if run.steps_per_second else "nothing left to do"
    cost = f"{report['steps']} steps · {'1 run' if run.n_runs == 1 else f'{run.n_runs} runs'} · {rate} · {run.device}"
    print_table(["metric", "start", "end"], rows, "\n".join([*lines, cost]))


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
