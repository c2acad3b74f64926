"""`dyn contrast`: what a contrastive loss learns from the moments of the views, how large and how fast."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from commands.declaration import SYSTEM, OneOf, command, numeric, option
from commands.options import MomentOptions, contrastive_names, negatives_of, read_moments
from commands.output import note, print_json, print_table
from commands.saving import OutputOptions, checked_outputs
from dynamics.objectives import OBJECTIVES

if TYPE_CHECKING:
    from analysis.contrastive.contrast import Contrast
    from dynamics.data.moments import Moments


@command(
    "contrast",
    epilog="Example: dyn contrast --lambda-s 10 --lambda-d 5 --lambda-s 1 --lambda-d 0.9 --objective infonce --dim 1",
)
def contrast(
    system: MomentOptions,
    output: OutputOptions,
    objective: Annotated[
        str,
        option("--objective", panel=SYSTEM, help="Contrastive objective (infonce)."),
        OneOf(contrastive_names),
    ] = "infonce",
    temperature: Annotated[
        float | None, numeric("--temperature", panel=SYSTEM, help="τ > 0 of infonce and triplet (1).")
    ] = None,
    negatives: Annotated[
        float | None,
        option(
            "--negatives",
            panel=SYSTEM,
            help="H of infonce for each positive, an integer >= 1 or inf (inf).",
            parser=negatives_of,
            metavar="H",
        ),
    ] = None,
    margin: Annotated[float | None, numeric("--margin", panel=SYSTEM, help="m >= 0 of triplet (0).")] = None,
    dim: Annotated[
        int | None, option("--dim", panel=SYSTEM, help="Feature dimension n2 (8, at most n1).", min=1)
    ] = None,
    weight_decay: Annotated[float, numeric("--weight-decay", panel=SYSTEM, help="η >= 0 (0).")] = 0.0,
) -> None:
    """Print the modes, where each saturates, which are learned, and the critical points of the loss."""
    from analysis.contrastive.contrast import contrast as theory
    from analysis.runs.simulation import plain
    from dynamics.system import MatrixSystem

    checked_outputs(output)
    began = time.perf_counter()
    moments = read_moments(system, output)
    found = theory(
        MatrixSystem(moments.sigma_s, moments.sigma_d, weight_decay=weight_decay),
        min(8, moments.n1) if dim is None else dim,
        OBJECTIVES[objective],
        temperature=temperature,
        negatives=negatives,
        margin=margin,
    )
    report = plain(found.report() | {"seconds": time.perf_counter() - began})
    for text in moments.notes:
        note(text, output)
    if len(found.points) < found.n_points:
        shown = "the stable one" if found.points else "none"
        note(f"{found.n_points} critical points, of which {shown} is listed", output)
    if output.out is not None:
        _save(found, moments, report, output.out)
    if output.plot is not None:
        from figures.results.contrast import figure_contrast
        from figures.style import save

        save(figure_contrast(found), output.plot)
    if output.json:
        print_json(report)
        return
    _print(report, found)


def _save(found: Contrast, moments: Moments, report: dict[str, Any], path: Path) -> None:
    from analysis.runs.arrays import arrays_of
    from dynamics.files import write_arrays

    meta = {"command": sys.argv[1:], "notes": list(moments.notes), "report": report}
    write_arrays(path, arrays_of(found, moments.support), meta)


_LISTED = 24  # modes that have a row; data have hundreds


def _size(value: float | None) -> str:
    return "∞" if value is None else f"{value:.7g}"


def _print(report: dict[str, Any], found: Contrast) -> None:
    learned, growth = report["learned"], report["growth"]
    of_modes = learned["basis"] == "M"
    rows = [
        [
            str(k + 1),
            f"{mode['ratio']:.7g}",
            _size(mode["saturation"]),
            "learned" if of_modes and k in learned["modes"] else "–",
        ]
        for k, mode in enumerate(report["modes"][:_LISTED])
    ]
    more = len(report["modes"]) - _LISTED
    words = [] if more <= 0 else [f"and {more} more modes (--json lists them)"]
    words += [
        f"saturates at w Σs wᵀ = {found.ceiling}" if found.objective != "simple" else "nothing saturates"
    ]
    if not of_modes:
        words.append(
            f"every row turns to the top eigenvector of Σd, of ratio {learned['ratios'][0]:.7g}, no mode of M"
        )
    if not learned["decided"]:
        words.append("equal modes leave it open which of them is learned")
    rate, bound = growth["initial_rate"], growth["bound"]
    limit = "no bound" if bound is None else f"at most {bound:.7g}"
    words.append(
        f"rank {learned['rank']} · a small start grows at rate {rate:.7g} at most · d‖W‖²/dt: {limit}"
    )
    print_table(["mode", "λd/λs", "saturates at", "fate"], rows, "\n".join(words))
    if report["critical_points"]:
        rows = [
            [
                ", ".join(str(k + 1) for k in point["modes"]) or "none",
                ", ".join(map(_size, point["amplitudes"])) or "0",
                point["stability"],
                "−∞" if point["loss"] is None else f"{point['loss']:.7g}",
            ]
            for point in report["critical_points"]
        ]
        caption = f"{report['n_critical_points']} critical points, up to W → Q W"
        print_table(["learned modes", "w Σs wᵀ", "stability", "loss"], rows, caption)
