"""`dyn fixed-points`: where one mode can rest, and whether rest is stable."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.application import command
from cli.options import SYSTEM, ReportOptions, SystemOptions, Variant, mode_system, numeric, read_moments
from cli.printing import eigenvalue_text, print_json, print_table, triple_text


@command(
    "fixed-points",
    help="Where can one mode rest, and is rest stable: complete and exact, for every variant.",
    epilog="Example: dyn fixed-points --lambda-s 1 --lambda-d 0.5 --invariant -0.09",
)
def fixed_points(
    system: SystemOptions,
    output: ReportOptions,
    invariant: Annotated[
        float | None,
        numeric("--invariant", panel=SYSTEM, help="Stay on the leaf τo w1² − τp w2² = C: isolated points."),
    ] = None,
    target: Annotated[
        float | None, numeric("--target", panel=SYSTEM, help="θ of the variant fixed-target (1).")
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Show exact forms in the table, too.")] = False,
) -> None:
    """Print isolated fixed points, and lines of them with the stability of each segment."""
    from analysis.fixed_points import fixed_points as theory

    moments = read_moments(system, output)
    if target is None and system.variant is Variant.FIXED_TARGET:
        target = 1.0
    found = theory(mode_system(system, moments), str(system.variant), invariant=invariant, target=target)
    report = found.report(exact=exact or output.json)
    if output.json:
        print_json(report)
        return
    if report["fixed_points"]:
        rows = [
            [
                point["name"],
                triple_text(point),
                ", ".join(eigenvalue_text(pair) for pair in point["eigenvalues"]),
                point["stability"],
                point["sheet"] or "–",
                *([_exact_text(point)] if exact else []),
            ]
            for point in report["fixed_points"]
        ]
        columns = [
            "fixed point",
            "w1, w2, θ",
            "eigenvalues",
            "stability",
            "sheet",
            *(["exact"] if exact else []),
        ]
        notes = [f"{point['name']}: {point['note']}" for point in report["fixed_points"] if point["note"]]
        print_table(columns, rows, "\n".join(notes))
    if report["lines"]:
        rows = [
            [
                line["name"],
                _segment_text(line["parameter"], *segment["range"]),
                segment["stability"],
                *([_exact_text(line)] if exact else []),
            ]
            for line in report["lines"]
            for segment in line["segments"]
        ]
        print_table(["line", "where", "stability", *(["exact"] if exact else [])], rows)


def _exact_text(entry: dict[str, Any]) -> str:
    return ", ".join(entry["exact"][name] for name in ("online", "predictor", "target"))


def _segment_text(parameter: str, lo: float | None, hi: float | None) -> str:
    name = {"a": "w1", "p": "w2"}[parameter]
    if lo is not None and lo == hi:
        return f"{name} = {lo:.7g}"
    below = "" if lo is None else f"{lo:.7g} < "
    above = "" if hi is None else f" < {hi:.7g}"
    return f"{below}{name}{above}"
