"""`dyn sweep`: the same run for millions of settings, resumable, here or on a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from commands.declaration import FILLS, OUTPUT, READS, RUN, WRITES, command, option
from commands.output import (
    JsonOption,
    QuietOption,
    ReportOptions,
    duration_text,
    note,
    print_json,
    print_table,
    progress,
)
from commands.saving import LookOptions


@dataclass(frozen=True)
class PictureOptions(LookOptions):
    """A picture of what became of the runs."""

    plot: Annotated[
        Path | None,
        option("--plot", panel=OUTPUT, help="Save a picture of the fates: .png, .svg or .pdf."),
        WRITES,
    ] = None

    @property
    def draws(self) -> bool:
        """Whether --plot is given."""
        return self.plot is not None


@command(
    "sweep",
    epilog="Example: dyn info sweep > phases.toml && dyn sweep phases.toml --out phases.zarr",
)
def sweep(
    spec: Annotated[
        Path,
        typer.Argument(metavar="SPEC.toml", help="What to run; `dyn info sweep` prints an example."),
        READS,
    ],
    out: Annotated[
        Path, option("--out", panel=OUTPUT, help="Folder of the Zarr store, made or continued."), FILLS
    ],
    picture: PictureOptions,
    workers: Annotated[
        int | None, option("--workers", panel=RUN, help="Processes of this machine; left out, this one.")
    ] = None,
    scheduler: Annotated[
        str | None, option("--scheduler", panel=RUN, help="Address of a Dask scheduler, tcp://HOST:8786.")
    ] = None,
    dry_run: Annotated[
        bool, option("--dry-run", panel=RUN, help="Say size, memory and time, and write nothing.")
    ] = False,
    seed: Annotated[
        int | None, option("--seed", panel=RUN, help="Seed of what is drawn, in place of the spec's.", min=0)
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run, or only measure, the sweep that a file describes."""
    from dataclasses import replace

    from analysis import sweeps as theory
    from analysis.sweeps.run import size_text

    output = ReportOptions(json=json, quiet=quiet)
    design = theory.load_spec(spec)
    if seed is not None:
        design = replace(design, seed=seed)
    if picture.plot is not None:
        from analysis.sweeps.fates import check_drawable
        from dynamics.files import checked_suffix, checked_target
        from figures.style import PICTURES

        if dry_run:
            raise ValueError(f"--plot must go without --dry-run, which runs nothing, got {picture.plot}")
        checked_target(checked_suffix(picture.plot, PICTURES))
        check_drawable(design)
    if dry_run:
        plan = theory.plan(design, out, workers=workers, scheduler=scheduler)
        if json:
            print_json({"resumed": plan.completed, "store": str(out), "dry_run": True, **plan._asdict()})
            return
        axes = ", ".join(f"{name} ({length})" for name, length in plan.axes.items())
        rows = [
            ["runs", f"{plan.total:,}, of which {plan.completed:,} are done"],
            ["axes", axes],
            ["chunks", f"{plan.n_chunks:,} of {plan.chunk:,} runs"],
            ["store", size_text(plan.store_bytes)],
            ["memory of chunks", size_text(plan.memory_bytes)],
            ["runs a second", f"{plan.trajectories_per_second:,.4g}"],
            ["time left", duration_text(plan.seconds)],
        ]
        print_table(["dry run", ""], rows)
        return
    with progress("sweep", output, "runs") as bar:
        done = theory.sweep(
            design,
            out,
            workers=workers,
            scheduler=scheduler,
            progress=None if bar is None else lambda so_far: bar(so_far.completed, so_far.total),
            note=lambda text: note(text, output),
        )
    if picture.plot is not None:
        from analysis.sweeps.fates import swept_fates
        from figures.results.sweeps import figure_sweep
        from figures.style import save

        save(figure_sweep(swept_fates(design, out)), picture.plot)
    if json:
        print_json(done._asdict())
        return
    rows = [
        ["runs done", f"{done.completed:,} of {done.total:,}"],
        ["done before", f"{done.resumed:,}"],
        ["diverged or out of steps", f"{done.failed:,}"],
        ["runs a second", f"{done.trajectories_per_second:,.4g}"],
        ["time", duration_text(done.seconds)],
        ["store", done.store],
    ]
    print_table(["sweep", ""], rows)
