"""`dyn moments`: Σs and Σd of two views, in a file for all other commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from commands.declaration import OUTPUT, READS, SYSTEM, WRITES, command, option
from commands.diagnose import _DUMP, NamesOption, names_of
from commands.output import ShowOptions, note, print_json, print_table


@command("moments", epilog=f"Example: {_DUMP} && dyn moments --views views.npz --out moments.npz")
def moments(
    output: ShowOptions,
    views: Annotated[
        Path,
        option("--views", panel=SYSTEM, help="FILE.npz, .npy or .safetensors with view1 and view2."),
        READS,
    ],
    out: Annotated[
        Path | None, option("--out", panel=OUTPUT, help="Write FILE.npz for --moments."), WRITES
    ] = None,
    names: NamesOption = None,
) -> None:
    """Estimate the moments of two views as they are, and print the ratios."""
    from analysis.runs.simulation import plain
    from dynamics.data.dumps import moments_of_views, read_dump
    from dynamics.data.moments import save_moments
    from dynamics.files import checked_suffix, checked_target

    if out is not None:
        checked_target(checked_suffix(out, (".npz",)))
    dump = read_dump(views, names_of(names))
    found = moments_of_views(dump.view1, dump.view2)
    for text in found.notes:
        note(text, output)
    if out is not None:
        save_moments(out, found)
    report = {
        "n_inputs": found.n_inputs,
        "dropped_directions": found.dropped_directions,
        "ratios": found.ratios,
        "commutator": found.commutator,
        "standard_error": found.standard_error,
        "notes": list(found.notes),
    }
    if output.json:
        print_json(plain(report))
        return
    listed = [[str(k), f"{r:.7g}"] for k, r in enumerate(found.ratios[:24], start=1)]
    more = found.n1 - len(listed)
    caption = f"‖Σs Σd − Σd Σs‖/‖Σs Σd‖ = {found.commutator:.3g}"
    print_table(["mode", "λd/λs"], listed, caption + (f"; and {more} more modes" if more > 0 else ""))
