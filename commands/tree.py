"""`dyn tree`: what a latent tree lets a network learn of its root."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from commands.declaration import READS, SYSTEM, command, number, option
from commands.output import note, print_json, print_table
from commands.saving import OutputOptions, checked_outputs

if TYPE_CHECKING:
    from analysis.trees.summary import TreeSummary
    from dynamics.data.latent_trees import LatentTree


def _numbers(text: str) -> float | list[float]:
    values = [number(part) for part in str(text).split(",")]
    return values[0] if len(values) == 1 else values


@command("tree", epilog="Example: dyn tree --branching 2 --height 5 --polarity 0.8")
def tree(
    output: OutputOptions,
    branching: Annotated[
        int | None, option("--branching", panel=SYSTEM, help="b, children per node (2).", min=1)
    ] = None,
    height: Annotated[
        int | None, option("--height", panel=SYSTEM, help="H, edges from the root to a leaf (5).", min=1)
    ] = None,
    polarity: Annotated[
        Any,
        option(
            "--polarity",
            panel=SYSTEM,
            help="ρ in [-1, 1] of every edge, or one per level from the root down, e.g. 0.9,0.8,0.7 (0.8).",
            parser=_numbers,
            metavar="NUMBERS",
        ),
    ] = None,
    polarity_range: Annotated[
        tuple[float, float] | None,
        option(
            "--polarity-range",
            panel=SYSTEM,
            help="Draw ρ of each edge between two numbers instead.",
            parser=number,
            metavar="LOW HIGH",
        ),
    ] = None,
    tree: Annotated[
        Path | None,
        option(
            "--tree",
            panel=SYSTEM,
            help="FILE.json with parents, kernels or polarities, and root_law, instead of a complete tree.",
        ),
        READS,
    ] = None,
    units_per_latent: Annotated[
        int,
        option("--units-per-latent", panel=SYSTEM, help="Units that a network has per latent (1).", min=1),
    ] = 1,
) -> None:
    """Print how well leaves tell the state of the root, how much of it reaches each layer, and lucky units."""
    from analysis.runs.simulation import plain
    from analysis.trees.summary import summary

    checked_outputs(output)
    began = time.perf_counter()
    given = {"branching": branching, "height": height, "polarity": polarity, "polarity_range": polarity_range}
    found = summary(_read(tree, given, output.seed), units_per_latent, seed=output.seed)
    report = plain(found.report() | {"seconds": time.perf_counter() - began})
    if found.linear is None:
        note("polarities, layer traces and the linear ceiling are known for binary variables only", output)
    if found.bayes is not None and found.bayes[-1].n_atoms is None:
        note("the Bayes ceiling is sampled: its exact law has too many atoms", output)
    if output.out is not None:
        from analysis.runs.arrays import arrays_of
        from dynamics.files import write_arrays

        write_arrays(output.out, arrays_of(found), {"command": sys.argv[1:], "report": report})
    if output.plot is not None:
        from figures.results.trees import figure_tree
        from figures.style import save

        save(figure_tree(found), output.plot)
    if output.json:
        print_json(report)
        return
    _print(report, found)


def _read(file: Path | None, given: dict[str, Any], seed: int) -> LatentTree:
    from dynamics.data.latent_trees import complete_tree

    if file is None:
        return complete_tree(**given, seed=seed)
    from dynamics.data.tree_files import load_tree_file

    named = [name for name, value in given.items() if value is not None]
    if named:
        raise ValueError(f"`{named[0]}` must be left out with --tree, which holds the whole tree")
    return load_tree_file(file)


def _text(values: Any, depth: int) -> str:
    return "–" if values is None else f"{values[depth]:.7g}"


def _print(report: dict[str, Any], found: TreeSummary) -> None:
    ceiling, lucky = report["ceiling"], report["lucky"]
    rows = []
    for depth, level in enumerate(found.tree.levels):
        linear, bayes = (
            "1" if depth == 0 else _text(ceiling[f"{name}_by_depth"], depth - 1)
            for name in ("linear", "bayes")
        )
        rows.append([str(depth), str(len(level.nodes)), _text(report["layer_trace"], depth), linear, bayes])
    error = ceiling["standard_error"]
    words = [f"{report['nodes']} nodes, {report['leaves']} leaves"]
    if error:
        words.append(f"standard error of the Bayes ceiling {error:.2g}")
    words.append(
        f"units per latent {lucky['units_per_latent']}: one is lucky with probability {lucky['probability']:.4g} or"
        f" more; {lucky['nodes_needed']} units are enough for {lucky['confidence']:.0%}"
    )
    print_table(
        ["depth", "latents", "layer trace", "linear ceiling", "Bayes ceiling"], rows, "\n".join(words)
    )
