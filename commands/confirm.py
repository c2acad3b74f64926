"""`dyn confirm`: whether training by real gradient steps agrees with theory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands.compilation import keep_compiled_programs
from commands.declaration import FILLS, OUTPUT, READS, RUN, SYSTEM, Suggested, command, option
from commands.options import ARRAYS, source_words
from commands.output import ReportOptions, number_text, print_json, print_markdown, print_table, progress
from commands.saving import LookOptions
from commands.terminal import CHECK_FAILED

if TYPE_CHECKING:
    from analysis.experiments import Confirmation, Effort, Experiment

Share = Callable[[float, float], None]


def _experiment_names() -> list[str]:
    from analysis.experiments import EXPERIMENTS

    return list(EXPERIMENTS)


@dataclass(frozen=True)
class FolderOptions(LookOptions):
    """Where the figures of experiments go."""

    folder: Annotated[
        Path | None, option("--folder", panel=OUTPUT, help="Folder for a figure of each experiment."), FILLS
    ] = None
    picture_format: Annotated[
        str, option("--format", panel=OUTPUT, help="Format of figures: png, svg or pdf (png).")
    ] = "png"

    @property
    def draws(self) -> bool:
        """Whether --folder is given."""
        return self.folder is not None


@command(
    "confirm",
    epilog="Example: dyn confirm C6 --quick",
)
def confirm(
    output: ReportOptions,
    drawing: FolderOptions,
    experiments: Annotated[
        list[str] | None,
        typer.Argument(metavar="EXPERIMENT", help="Such as C1; left out, all."),
        Suggested(_experiment_names),
    ] = None,
    quick: Annotated[bool, option("--quick", panel=RUN, help="Small versions, seconds each.")] = False,
    data: Annotated[
        str | None,
        option(
            "--data",
            panel=SYSTEM,
            metavar="SOURCE",
            help="Data in place of digits, for C4, C8, C10, C11 and C13: photos, an array FILE.npy or FILE.npz, or"
            " another of dyn info datasets.",
        ),
        READS,
        Suggested(source_words, files=ARRAYS),
    ] = None,
    markdown: Annotated[bool, option("--markdown", panel=OUTPUT, help="Print a Markdown table.")] = False,
) -> int:
    """Make experiments; exit code 1 if one disagrees with theory."""
    from analysis.experiments import Effort, check_data
    from figures.style import PICTURES

    folder = drawing.folder
    if f".{drawing.picture_format}" not in PICTURES:
        accepted = ", ".join(suffix.removeprefix(".") for suffix in PICTURES)
        raise ValueError(f"--format must be one of {accepted}, got {drawing.picture_format!r}")
    if folder is not None and folder.exists() and not folder.is_dir():
        raise ValueError(f"--folder must be a folder, got the file {folder}")
    keep_compiled_programs()
    chosen = _chosen(experiments)
    for experiment in chosen:
        check_data(experiment, Effort(data=data))
    found: list[Confirmation] = []
    pictures: dict[str, dict[str, str]] = {}
    with progress("confirming", output) as report_progress:
        for experiment in chosen:
            effort = Effort(quick=quick, seed=output.seed, data=data)
            found.append(_confirmed(experiment, effort, len(found), len(chosen), report_progress))
            if folder is not None and found[-1].outcome.curves:
                pictures[experiment.id] = _draw(
                    found[-1], folder / f"{experiment.id}.{drawing.picture_format}"
                )
    return _print(found, pictures, output, markdown)


def _chosen(names: list[str] | None) -> list[Experiment]:
    from analysis.experiments import EXPERIMENTS

    unknown = [name for name in names or [] if name not in EXPERIMENTS]
    if unknown:
        raise ValueError(f"an experiment must be one of {', '.join(EXPERIMENTS)}, got {', '.join(unknown)}")
    return [EXPERIMENTS[name] for name in names or EXPERIMENTS]


def _confirmed(
    experiment: Experiment, effort: Effort, done: int, total: int, report_progress: Share | None
) -> Confirmation:
    from analysis.experiments import confirm as make

    def share(part: float, whole: float) -> None:
        if report_progress is not None:
            report_progress(done + part / whole, total)

    confirmation = make(experiment, replace(effort, progress=share))
    share(1, 1)
    return confirmation


def _draw(confirmation: Confirmation, picture: Path) -> dict[str, str]:
    """Draw the figure of an experiment, its caption within it; say where it is, and the caption."""
    from figures.results.confirm import caption_confirmation, figure_confirmation
    from figures.style import save

    picture.parent.mkdir(parents=True, exist_ok=True)
    caption = caption_confirmation(confirmation)
    save(figure_confirmation(confirmation), picture, caption=caption)
    return {"figure": str(picture), "caption": caption}


def _cells(report: dict[str, Any], measurement: dict[str, Any]) -> list[str]:
    """One row of the table: experiment, quantity, what theory predicts, what was measured, verdict."""
    measured = measurement["measured"]
    text = measured if isinstance(measured, str) else number_text(measured)
    verdict = "holds" if measurement["holds"] else "VIOLATED"
    return [report["id"], measurement["name"], measurement["required"], text, verdict]


def _print(
    found: list[Confirmation], pictures: dict[str, dict[str, str]], output: ReportOptions, markdown: bool
) -> int:
    from analysis.experiments import Verdict

    n_failed = sum(item.outcome.verdict is Verdict.VIOLATED for item in found)
    none = {"figure": None, "caption": None}
    reports = [item.report() | pictures.get(item.experiment.id, none) for item in found]
    pairs = [(report, measurement) for report in reports for measurement in report["measurements"]]
    columns = ["", "quantity", "predicted", "measured", "verdict"]
    if output.json:
        print_json({"experiments": reports, "n_failed": n_failed})
    elif markdown:
        rows = [[*_cells(*pair), pair[1]["note"]] for pair in pairs]
        print_markdown([*columns, "where the tolerance comes from"], rows)
    else:
        drawn = [f"{report['figure']}: {report['caption']}" for report in reports if report["figure"]]
        reasons = [f"{report['id']}: {report['reason']}" for report in reports if report["reason"]]
        verdict = "all agree with theory" if n_failed == 0 else f"{n_failed} disagree with theory"
        caption = "\n".join([*drawn, *reasons, f"{len(found)} experiments, {verdict}"])
        print_table(columns, [_cells(*pair) for pair in pairs], caption)
    return CHECK_FAILED if n_failed else 0
