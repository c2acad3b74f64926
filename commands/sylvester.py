"""`dyn sylvester`: which encoders a predictor can hold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from commands.declaration import READS, RUN, SYSTEM, command, numeric, option
from commands.options import SystemOptions, matrix_system, read_moments
from commands.output import ReportOptions, eigenvalue_text, print_json, print_table

if TYPE_CHECKING:
    from analysis.sylvester.solutions import SylvesterSolutions


@command(
    "sylvester",
    epilog="Example: dyn simulate --lambda-s 1 --lambda-d 0.5 --dim 1 --seed 1 --out end.npz"
    " && dyn sylvester --lambda-s 1 --lambda-d 0.5 --state end.npz --tolerance 1e-6",
)
def sylvester(
    system: SystemOptions,
    output: ReportOptions,
    state: Annotated[
        Path,
        option("--state", panel=SYSTEM, help="FILE.npz with predictor, as --out writes, or FILE.npy."),
        READS,
    ],
    tolerance: Annotated[
        float | None,
        numeric(
            "--tolerance", panel=RUN, help="Relative perturbation up to which eigenvalues count as shared."
        ),
    ] = None,
) -> None:
    """Print nullity, shared eigenvalues and the gap to the next pair."""
    from analysis.sylvester.solutions import sylvester_solutions
    from dynamics.files import load_predictor

    moments = read_moments(system, output)
    P = load_predictor(state)
    found = sylvester_solutions(P, matrix_system(system, moments), tolerance=tolerance)
    report = found.report()
    if output.json:
        print_json(report)
        return
    shared = ", ".join(eigenvalue_text(pair) for pair in report["shared_eigenvalues"])
    tolerance_text = f"{found.tolerance:.1e}"
    if found.precision != "float64" and tolerance is None:
        tolerance_text += f", the rounding of a predictor stored as {found.precision}"
    rounding = _rounding(found, len(P), moments.n1)
    reached = ", ".join(f"{size:.1e}" for size in found.perturbation.tolist())
    reached = f"{reached} of P and M" if found.nullity else "–"
    open_ones = [
        f"{eigenvalue_text(pair)}: cannot be decided. P and M share it after a perturbation of {size:.1e}, more than"
        f" they are rounded by ({rounding:.1e}) and less than the tolerance ({found.tolerance:.1e})"
        for pair, size in zip(report["shared_eigenvalues"], found.perturbation.tolist(), strict=True)
        if size > rounding
    ]
    rows = [
        ["nullity", str(found.nullity)],
        ["shared eigenvalues", shared or "none"],
        ["equal after a perturbation", reached],
        ["gap to the next pair", f"{found.gap:.3g}"],
        ["residual", f"{found.residual:.1e}"],
        ["tolerance", tolerance_text],
        ["method", found.method],
    ]
    print_table(["P θ = θ M", ""], rows, "\n".join(dict.fromkeys(open_ones)))


def _rounding(found: SylvesterSolutions, n2: int, n1: int) -> float:
    """Relative size of the rounding of P and M as they are stored: each entry by half a unit, √n of them a row."""
    import numpy as np

    return float(np.sqrt(max(n2, n1)) * np.finfo(found.precision).eps)
