"""`dyn bifurcation`: where behaviour changes as one parameter moves."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from cli.application import command
from cli.options import (
    SYSTEM,
    Objective,
    OutputOptions,
    SystemOptions,
    checked_outputs,
    effective_moments,
    mode_system,
    numeric,
    option,
    read_moments,
)
from cli.printing import number_text, print_json, print_table, triple_text

if TYPE_CHECKING:
    from analysis.bifurcations import Bifurcation, Branch


@command(
    "bifurcation",
    help="Where does behaviour change as one parameter moves: branches of fixed points and their bifurcations.",
    epilog="Example: dyn bifurcation --lambda-s 1 --lambda-d 0.5 --parameter weight-decay --from 0 --to 0.1",
)
def bifurcation(
    system: SystemOptions,
    output: OutputOptions,
    parameter: Annotated[
        str,
        option(
            "--parameter",
            panel=SYSTEM,
            help="What moves: lambda-s, lambda-d, tau-online, tau-predictor, tau-target, weight-decay, invariant,"
            " alpha or beta.",
        ),
    ],
    begin: Annotated[float, numeric("--from", panel=SYSTEM, help="Where it begins.")],
    end: Annotated[float, numeric("--to", panel=SYSTEM, help="Where it ends.")],
    invariant: Annotated[
        float | None,
        numeric("--invariant", panel=SYSTEM, help="Leaf τo w1² − τp w2² = C to stay on, at weight decay 0."),
    ] = None,
    method: Annotated[
        str, option("--method", panel=SYSTEM, help="auto, 'closed form' or continuation (auto).")
    ] = "auto",
) -> None:
    """Print branches of fixed points and the points where they change."""
    from analysis.bifurcations import bifurcation as theory

    checked_outputs(output)
    if system.variant != "full":
        raise ValueError(f"--variant must be full for bifurcations, got {system.variant}")
    moments = read_moments(system, output)
    effective_moments(system, moments)  # refuses weights that the objective does not have
    found = theory(
        mode_system(replace(system, objective=Objective.BYOL, alpha=None, beta=None), moments),
        parameter,
        (begin, end),
        invariant=invariant,
        objective=cast(Any, str(system.objective)),
        alpha=1.0 if system.alpha is None else system.alpha,
        beta=1.0 if system.beta is None else system.beta,
        method=cast(Any, method),
    )
    report = found.report()
    if output.out is not None:
        _save(found, output.out)
    if output.plot is not None:
        from figures.pages.objects import figure_diagram
        from figures.style import save

        save(figure_diagram(found), output.plot)
    if output.json:
        print_json(report)
        return
    rows = [[branch.name, *row, branch.status] for branch in found.branches for row in _stretches(branch)]
    print_table(["branch", found.parameter, "w1, w2, θ", "stability", "status"], rows)
    rows = [
        [point["type"], f"{point['value']:.9g}", triple_text(point), point["note"]]
        for point in report["points"]
    ]
    if rows:
        print_table(["bifurcation", found.parameter, "w1, w2, θ", ""], rows, f"by {found.method}")
    else:
        print_table([f"no bifurcation between {begin:g} and {end:g}, by {found.method}"], [])


def _stretches(branch: Branch) -> Iterator[list[str]]:
    """Parts of a branch of one stability: the parameter, the weights and the stability from end to end."""
    begin = 0
    for stability, points in groupby(branch.stability):
        last = begin + len(list(points)) - 1
        ends = [
            (
                number_text(branch.value[k]),
                f"({branch.online[k]:.4g}, {branch.predictor[k]:.4g}, {branch.target[k]:.4g})",
            )
            for k in (begin, last)
        ]
        yield [*(" to ".join(dict.fromkeys(pair)) for pair in zip(*ends, strict=True)), stability]
        begin = last + 1


def _short_text(weight: float) -> str:
    return f"{round(weight, 12) + 0.0:.4g}"


def _save(found: Bifurcation, path: Path) -> None:
    """One row a point of a branch; `branch` numbers the branches, whose names are in the description."""
    import numpy as np

    from dynamics.storage import Variable, write_arrays

    def column(name: str) -> np.ndarray:
        return np.concatenate([getattr(branch, name) for branch in found.branches])

    eigenvalues = column("eigenvalues")
    columns = {
        "branch": np.repeat(np.arange(len(found.branches)), [len(branch.value) for branch in found.branches]),
        **{name: column(name) for name in ("value", "online", "predictor", "target")},
        "eigenvalues_real": eigenvalues.real,
        "eigenvalues_imag": eigenvalues.imag,
    }
    variables = {
        name: Variable(("point", "eigenvalue")[: values.ndim], values) for name, values in columns.items()
    }
    report = found.report()
    branches = [{"name": branch["name"], "status": branch["status"]} for branch in report["branches"]]
    meta = {
        "command": sys.argv[1:],
        "parameter": found.parameter,
        "branches": branches,
        "points": report["points"],
    }
    write_arrays(path, variables, meta)
