"""`dyn train`: what a real network does, by real gradient steps."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from commands.compilation import keep_compiled_programs
from commands.declaration import OUTPUT, WRITES, command, option
from commands.options import OutputOptions, checked_outputs
from commands.output import note, print_json, print_table, progress
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
    help="What does a real network do: train by gradient steps and compare with what theory predicts.",
    epilog="Example: dyn train --data digits --seeds 3 --plot digits.png",
)
def train(options: TrainingOptions, execution: ExecutionOptions, output: TrainingOutput) -> int | None:
    """Train one setting, or several, with one or more seeds."""
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


def _report(run: TrainingRun) -> dict[str, Any]:
    """What is printed as JSON: what groups of runs have in common at the end and at the start, and each run by itself.

    Groups are the values of what is swept. With more than one of them, ``metrics``, ``initial``, ``spread`` and
    ``n_defined`` hold a list for each name, with one entry for each group.
    """
    import json

    from analysis.runs.simulation import plain
    from dynamics.training import diagnose

    diagnoses = [diagnose(run, index) for index in range(run.n_runs)]
    groups: list[dict[str, Any]] = [
        {
            "values": group.values,
            "runs": group.runs,
            "n_diverged": int((run.failed_at[group.runs] >= 0).sum()),
            "verdicts": _counts([diagnoses[index].verdict for index in group.runs]),
            **_over_seeds(run, group.runs),
        }
        for group in run.groups
    ]
    shared = ("metrics", "initial", "spread", "n_defined")
    if len(groups) == 1:
        together: dict[str, Any] = {key: groups[0][key] for key in shared}
    else:
        together = {
            key: {name: [group[key][name] for group in groups] for name in groups[0][key]} for key in shared
        }
    scalars = {name: values for name, values in run.metrics.items() if values.ndim == 2}
    value_of = {index: group.values for group in run.groups for index in group.runs.tolist()}
    report = {
        **together,
        "steps": int(run.steps[-1]),
        "steps_per_second": run.steps_per_second,
        "device": run.device,
        "status": run.status,
        "message": run.message,
        "seconds": run.seconds,
        "n_diverged": int((run.failed_at >= 0).sum()),
        "groups": groups,
        "runs": [
            {
                "seed": int(run.seeds[index]),
                "values": value_of[index],
                "diagnosis": diagnoses[index].text,
                "verdict": diagnoses[index].verdict,
                "held": diagnoses[index].held,
                "n_modes": diagnoses[index].n_modes,
                "predicted": diagnoses[index].prediction.text or None,
                "agreement": diagnoses[index].agreement,
                "failed_at": int(run.failed_at[index]) if run.failed_at[index] >= 0 else None,
                "metrics": {name: values[index, -1] for name, values in scalars.items()},
            }
            for index in range(run.n_runs)
        ],
        "settings": json.loads(run.settings.to_json()),
    }
    return plain(report)


def _counts(words: Iterable[str]) -> dict[str, int]:
    from collections import Counter

    return dict(Counter(words).most_common())


def _over_seeds(run: TrainingRun, runs: Any) -> dict[str, dict[str, Any]]:
    """Means and deviations over those of some runs in which a metric is defined, and how many these are.

    Runs that diverged have no metrics at the end, and are left out at the start too.
    """
    import numpy as np

    there = runs[run.failed_at[runs] < 0]
    found: dict[str, dict[str, Any]] = {"metrics": {}, "initial": {}, "spread": {}, "n_defined": {}}
    for name, values in run.metrics.items():
        end = values[there, -1].astype(float)
        defined = np.all(np.isfinite(end), axis=tuple(range(1, end.ndim)))
        undefined = np.full(values.shape[2:], np.nan).tolist()
        found["n_defined"][name] = int(defined.sum())
        found["metrics"][name] = np.mean(end[defined], axis=0) if defined.any() else undefined
        found["initial"][name] = np.mean(values[there, 0].astype(float), axis=0) if len(there) else undefined
        if values.ndim == 2 and len(runs) > 1:
            found["spread"][name] = np.std(end[defined], ddof=1) if defined.sum() > 1 else np.nan
    return found


def _save(run: TrainingRun, report: dict[str, Any], path: Path) -> None:
    import numpy as np

    from dynamics.files import Variable, write_arrays

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
