"""`dyn diagnose`: whether a network collapsed, or will, and why, from what its run dumped."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands.declaration import READS, RUN, SYSTEM, command, numeric, option
from commands.output import ShowOptions, note, print_json, print_table
from commands.saving import SaveOptions, checked_outputs

if TYPE_CHECKING:
    from analysis.runs.diagnosis import FeatureDiagnosis
    from analysis.runs.run_settings import RunSettings

NamesOption = Annotated[
    list[str] | None,
    option(
        "--names",
        panel=SYSTEM,
        metavar="NAME=KEY",
        help="What the file calls an array, e.g. view1=z1; once for each.",
    ),
]


@dataclass(frozen=True)
class TrainedOptions:
    """How the network was trained, as far as it is known."""

    predictor_rate: Annotated[
        float,
        numeric("--predictor-rate", panel=RUN, help="Learning rate of the predictor over the encoder's (1)."),
    ] = 1.0
    weight_decay: Annotated[
        float | None, numeric("--weight-decay", panel=RUN, help="As in SGD, >= 0 (not known).")
    ] = None
    decay: Annotated[
        float | None,
        numeric("--decay", panel=RUN, help="γ of the target's average, from 0 to 1 (not known)."),
    ] = None
    loss_factor: Annotated[
        float,
        numeric(
            "--loss-factor", panel=RUN, help="Loss over ½‖·‖²: 2 without the ½, 4 if symmetrised too (1)."
        ),
    ] = 1.0
    learning_rate: Annotated[
        float | None, numeric("--learning-rate", panel=RUN, help="ε of the encoder, > 0 (not known).")
    ] = None
    batch: Annotated[
        int | None, option("--batch", panel=RUN, help="Samples of one step, >= 1 (not known).")
    ] = None
    no_stop_gradient: Annotated[
        bool, option("--no-stop-gradient", panel=RUN, help="The gradient passes through the target.")
    ] = False

    def settings(self) -> RunSettings:
        """The same for the analysis."""
        from analysis.runs.run_settings import RunSettings

        return RunSettings(
            self.predictor_rate,
            self.weight_decay,
            self.decay,
            not self.no_stop_gradient,
            self.loss_factor,
            self.learning_rate,
            self.batch,
        )


@dataclass(frozen=True)
class DiagnoseOutput(SaveOptions, ShowOptions):
    """How the diagnosis is shown and where it is saved."""


def names_of(texts: list[str] | None) -> dict[str, str]:
    """Read NAME=KEY pairs.

    >>> names_of(["view1=z1"])
    {'view1': 'z1'}
    """
    names: dict[str, str] = {}
    for text in texts or ():
        name, equals, key = text.partition("=")
        if not (name and equals and key):
            raise ValueError(f"`names` must be NAME=KEY such as view1=z1, got {text!r}")
        if name in names:
            raise ValueError(f"`names` must set {name} once, got {names[name]!r} and {key!r}")
        names[name] = key
    return names


_DUMP = (
    'python -c "import numpy as n; r = n.random.default_rng(0); x = r.normal(size=(500, 4));'
    " n.savez('views.npz', view1=x + 0.3 * r.normal(size=x.shape), view2=x + 0.3 * r.normal(size=x.shape))\""
)
"""A line that writes two views of something."""


@command("diagnose", epilog=f"Example: {_DUMP} && dyn diagnose views.npz")
def diagnose(
    trained: TrainedOptions,
    output: DiagnoseOutput,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="FILE.npz, .npy or .safetensors with view1 and view2, and online, predictor, target and labels"
            " where they are known.",
        ),
        READS,
    ],
    names: NamesOption = None,
) -> None:
    """Print ranks of the features, what became of each direction, a verdict, and causes ranked by evidence."""
    from analysis.runs.diagnosis import diagnose as examine
    from dynamics.data.dumps import read_dump

    checked_outputs(output)
    began = time.perf_counter()
    settings = trained.settings()
    found = examine(read_dump(file, names_of(names)), settings)
    report = found.report() | {"seconds": time.perf_counter() - began}
    if output.out is not None:
        from dynamics.files import write_arrays

        write_arrays(output.out, found.variables(), {"command": sys.argv[1:], "report": report})
    if output.plot is not None:
        from figures.results.diagnosis import figure_diagnosis
        from figures.style import save

        save(figure_diagnosis(found), output.plot)
    if output.json:
        print_json(report)
        return
    _print(report, found)
    for text in found.limits:
        note(f"limit: {text}", output)


_LISTED = 24  # directions that have a row; features have thousands


def _text(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}g}"


def _print(report: dict[str, Any], found: FeatureDiagnosis) -> None:
    std, signs = found.std, found.invariant
    ratios = ", ".join(f"{r:.3g}" for r in found.ratios[:8]) + (", …" if found.ratios.size > 8 else "")
    words = [
        ["verdict", f"{found.verdict}: {found.reason}"],
        ["rank", f"{found.rank}, effective {found.effective_rank:.4g}, RankMe {found.rankme:.4g}"],
        ["deviations", f"{std.min():.3g} to {std.max():.3g} per feature, {found.spread:.3g} of the length"],
        ["alignment", f"{_text(report['alignment'])}, uniformity {_text(report['uniformity'])}"],
        ["ratios of M", ratios],
    ]
    if found.probe_accuracy is not None:
        words.append(["probe accuracy", f"{found.probe_accuracy:.3f}"])
    if signs["positive"] is not None:
        text = f"{signs['positive']} positive and {signs['negative']} negative eigenvalues"
        words.append(["invariant C", f"{text}, rank >= {signs['rank_floor']}"])
    if found.target_distance is not None:
        words.append(["‖Θ − W‖/‖W‖", _text(found.target_distance)])
    print_table(["evidence", "value"], words)
    rows = [
        [
            f"{cause.knob} ({cause.result})",
            _text(cause.value),
            _text(cause.threshold),
            str(cause.directions),
            cause.advice,
        ]
        for cause in found.causes
    ]
    if rows:
        print_table(["cause", "value", "threshold", "directions", "advice"], rows)
    rows = []
    for number, row in enumerate(report["directions"][:_LISTED], start=1):
        p = row["predictor"]
        predictor = "–" if p is None else _text(p[0]) if p[1] == 0 else f"{p[0]:.4g}{p[1]:+.2g}i"
        rest = (_text(row[name]) for name in ("amplitude", "margin", "decay_threshold", "critical_rate"))
        rows.append(
            [str(number), _text(row["ratio"]), predictor, *rest, row["fate"], row["predicted"] or "–"]
        )
    columns = [
        "direction",
        "λd/λs",
        "predictor",
        "amplitude",
        "margin",
        "decay threshold",
        "critical rate",
        "fate",
        "predicted",
    ]
    more = len(report["directions"]) - _LISTED
    print_table(columns, rows, f"and {more} more directions (--json lists them)" if more > 0 else "")
