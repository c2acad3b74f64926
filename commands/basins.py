"""`dyn basins`: which starts of a plane learn and which collapse, against theory."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands.declaration import RUN, START, SYSTEM, command, number, numeric, option
from commands.depth import deep_field_of, layer_weights, positive_mode
from commands.options import ModeOptions, eigenvalue_moments, mode_system
from commands.output import note, print_json, print_table, progress
from commands.saving import OutputOptions, checked_outputs

if TYPE_CHECKING:
    from analysis.fates.basins import BasinMap
    from dynamics.system import ModeSystem

_LATTICE = 200  # cells a side if nothing else is asked for
_REASONS = {
    "steady": "at rest, though nothing shows where",
    "slow": "crawling",
    "end-time": "not there by --t-end",
    "diverged": "grew without bound",
    "max-steps": "spent their steps, or sank below what numbers can hold",
}


@command(
    "basins",
    epilog="Example: dyn basins --lambda-s 1 --lambda-d 0.5 --grid 100 --range online:-1:1",
)
def basins(
    system: ModeOptions,
    output: OutputOptions,
    plane: Annotated[
        str | None,
        option(
            "--plane",
            panel=START,
            help="Two of online, predictor, target that vary (online,predictor); with --depth of layers, which is all"
            " of them together, layer1, layer2, …, predictor, targets (layers,predictor).",
        ),
    ] = None,
    grid: Annotated[
        int | None, option("--grid", panel=START, help=f"Cells a side of a lattice of starts ({_LATTICE}).")
    ] = None,
    random: Annotated[
        int | None, option("--random", panel=START, help="Number of random starts instead.")
    ] = None,
    ranges: Annotated[
        list[str] | None,
        option(
            "--range",
            panel=START,
            metavar="NAME:LOW:HIGH",
            help="Range of a coordinate, e.g. online:-2:2 (-1.5 to 1.5, predictor -1 to 1.5).",
        ),
    ] = None,
    at: Annotated[
        float, numeric("--at", panel=START, help="The third coordinate, or with --depth every other (0.3).")
    ] = 0.3,
    depth: Annotated[
        int | None,
        option("--depth", panel=SYSTEM, help="Linear layers of the encoder (R320).", min=1),
    ] = None,
    layers: Annotated[
        str | None,
        option(
            "--layers",
            panel=START,
            metavar="W1,W2,…",
            help="With --depth: layers that are not in the plane, first to last (--at).",
        ),
    ] = None,
    t_end: Annotated[
        float | None,
        numeric("--t-end", panel=RUN, help="End time; left out, until every fate is decided."),
    ] = None,
    rtol: Annotated[float, numeric("--rtol", panel=RUN, help="Relative tolerance (1e-7).")] = 1e-7,
    boundary: Annotated[
        bool,
        option("--boundary", panel=RUN, help="Find the boundary between basins by bisection, too."),
    ] = False,
) -> None:
    """Print the share of each fate, and how often trajectory and theory disagree."""
    began = time.perf_counter()
    from analysis.fates.boundaries import basin_boundary
    from analysis.runs.simulation import plain

    checked_outputs(output)
    if layers is not None and (depth is None or depth == 1):
        raise ValueError(f"`layers` must go with --depth of 2 or more, got --layers {layers}")
    if plane is None:
        plane = "online,predictor" if depth in (None, 1) else "layers,predictor"
    names = plane.split(",")
    bounds = dict(_range(text) for text in ranges or [])
    for name in bounds:
        if name not in names:
            raise ValueError(f"--range must name a coordinate of --plane {plane}, got {name!r}")
    modes = mode_system(system, eigenvalue_moments(system))
    options: dict[str, Any] = {
        "plane": names,
        "ranges": [bounds.get(name) for name in names],
        "at": at,
        "grid": _LATTICE if grid is None and random is None else grid,
        "random": random,
        "seed": output.seed,
        "t_end": float("inf") if t_end is None else t_end,
        "rtol": rtol,
        "notice": lambda text: note(text, output),
    }
    with progress("basins", output) as report_progress:
        options["progress"] = report_progress
        if depth is None or depth == 1:  # one layer is the encoder itself
            found = _basins(system, modes, options)
        else:
            found = _deep_basins(system, modes, depth, layers, options)
        edge = basin_boundary(found, signs=True) if boundary else None
    report = plain({**found.report(), "seconds": time.perf_counter() - began})
    if edge is not None:
        report["boundary"] = plain(edge._asdict())
    if output.out is not None:
        _save(found, report, output.out)
    if output.plot is not None:
        from figures.results.objects import figure_basin_map
        from figures.style import save

        save(figure_basin_map(found, None if edge is None else edge.points), output.plot)
    if output.json:
        print_json(report)
        return
    rows = []
    for fate, share in report["fractions"].items():
        interval = (
            "–" if report["intervals"] is None else "{:.4f} to {:.4f}".format(*report["intervals"][fate])
        )
        rows.append([fate, f"{share:.6f}", interval])
    predicted, total = report["predicted_by_theory"], report["trajectories"]
    caption = (
        f"{total} {report['starts']} starts, {report['seconds']:.1f} s · theory predicts {predicted},"
        f" {report['theory_mismatches']} of them otherwise than the trajectory"
    )
    if report["undecided_because"]:
        reasons = ", ".join(f"{n} {_REASONS[word]}" for word, n in report["undecided_because"].items())
        caption += f"\nundecided: {reasons}"
    if edge is not None:
        widest = f", known to {edge.half_width.max():.1e}" if len(edge.points) else ""
        caption += f"\n{len(edge.points)} points on the boundary between basins{widest}"
    print_table(["fate", "share", "95 % interval"], rows, caption)


def _basins(system: ModeOptions, modes: ModeSystem, options: dict[str, Any]) -> BasinMap:
    from analysis.fates.basins import basins as theory
    from dynamics.variants import VARIANTS

    return theory(modes, VARIANTS[system.variant].mode_field, **options)


def _deep_basins(
    system: ModeOptions, modes: ModeSystem, depth: int, layers: str | None, options: dict[str, Any]
) -> BasinMap:
    """Basins of a deep encoder (R320, R322)."""
    from analysis.depth.basins import deep_basins

    given = None if layers is None else layer_weights(layers, depth)
    return deep_basins(positive_mode(modes, depth), deep_field_of(system), layers=given, **options)


def _range(text: str) -> tuple[str, tuple[float, float]]:
    name, *bounds = text.split(":")
    if len(bounds) != 2:
        raise typer.BadParameter(f"--range must be NAME:LOW:HIGH such as online:-2:2, got {text!r}")
    return name, (number(bounds[0]), number(bounds[1]))


def _save(found: BasinMap, report: dict[str, Any], path: Path) -> None:
    """Starts, ends and fates; the codes of the fates are in the description."""
    from analysis.runs.arrays import basin_arrays, fate_codes
    from dynamics.files import write_arrays

    meta = {"command": sys.argv[1:], "codes": fate_codes(), "shape": found.shape, "report": report}
    write_arrays(path, basin_arrays(found), meta)
