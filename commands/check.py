"""`dyn check`: whether the results of the theory hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from commands.declaration import OUTPUT, RUN, Suggested, command, option
from commands.output import ReportOptions, print_entries, print_json, print_markdown, print_table, progress
from commands.terminal import CHECK_FAILED


def _result_names() -> list[str]:
    from analysis.results import PARTS, RESULTS

    return [*PARTS, *RESULTS]


if TYPE_CHECKING:
    from analysis.results import Result


@command(
    "check",
    epilog="Example: dyn check R2 R6 --seeds 3",
)
def check(
    output: ReportOptions,
    results: Annotated[
        list[str] | None,
        typer.Argument(metavar="RESULT", help="Results such as R6, or parts such as linear; left out, all."),
        Suggested(_result_names),
    ] = None,
    seeds: Annotated[int, option("--seeds", panel=RUN, help="Random systems for each result (5).")] = 5,
    symbolic: Annotated[
        bool, option("--symbolic", panel=RUN, help="Run the symbolic proofs as well.")
    ] = False,
    markdown: Annotated[bool, option("--markdown", panel=OUTPUT, help="Print a Markdown table.")] = False,
) -> int:
    """Check results of the registry; exit code 1 if one is violated."""
    from analysis.results import RESULTS, Verdict, select
    from analysis.results import check as measure

    if seeds < 1:
        raise ValueError(f"--seeds must be an integer >= 1, got {seeds}")
    chosen = select(results or ())
    checks = []
    with progress("checking", output) as report_progress:
        for done, result in enumerate(chosen):
            checks.append(measure(result, n_trials=seeds, seed=output.seed, symbolic=symbolic))
            if report_progress is not None:
                report_progress(done + 1, len(chosen))
    n_violated = sum(item.verdict is Verdict.VIOLATED for item in checks)
    if output.json:
        print_json({"results": [item.report() for item in checks], "n_violated": n_violated})
    elif markdown:
        print_markdown(
            ["result", "statement", "source", "as printed", "what was wrong", "verdict"],
            [
                [
                    f"{item.result.id} {item.result.title}",
                    item.result.statement,
                    item.result.source,
                    str(item.result.as_printed),
                    item.result.correction,
                    str(item.verdict),
                ]
                for item in checks
            ],
        )
    else:
        rows = [
            [
                item.result.id,
                item.result.title,
                str(item.result.as_printed),
                str(item.verdict),
                f"{item.residual:.1e}",
                f"{item.tolerance:.1e}",
                {None: "–", True: "proved", False: "FAILS"}[item.proved],
                f"{item.seconds:.2f}",
            ]
            for item in checks
        ]
        columns = ["result", "", "as printed", "verdict", "residual", "tolerance", "proof", "s"]
        verdict = "all hold" if n_violated == 0 else f"{n_violated} violated"
        print_table(columns, rows, f"{len(checks)} {'result' if len(checks) == 1 else 'results'}, {verdict}")
        for name in results or ():
            if name in RESULTS:
                _print_result(RESULTS[name])
    return CHECK_FAILED if n_violated else 0


def _print_result(result: Result) -> None:
    entries = {
        "statement": result.statement,
        "hypotheses": result.hypotheses,
        "source": result.source,
        "as printed": f"{result.as_printed}. {result.correction}"
        if result.correction
        else str(result.as_printed),
        "counterexample": result.counterexample,
        "code": result.code,
    }
    print_entries(f"{result.id} {result.title}", {name: text for name, text in entries.items() if text})
