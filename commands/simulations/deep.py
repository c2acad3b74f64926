"""Runs of modes of a deep linear encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from commands.depth import deep_field_of, deep_system, layer_weights
from commands.options import mode_system
from commands.output import number_text, print_table
from commands.simulations.request import DepthOptions, Kind, Request
from commands.simulations.tables import cost_text, prediction_text

if TYPE_CHECKING:
    from analysis.runs.deep import DeepSimulation


def run_deep(request: Request) -> DeepSimulation:
    """Run the layers of every mode."""
    import numpy as np

    from analysis.runs.deep import simulate_deep

    system, start, options = request.system, request.start, request.options
    depth = system.depth
    if depth is None:
        raise ValueError("`layers` must go with --depth, got --layers alone")
    for name in ("online", "target", "init_online", "init_predictor"):
        if (value := getattr(start, name)) is not None:
            raise ValueError(
                f"`{name}` must not go with --depth, whose start is --layers and --predictor, got {value}"
            )
    field = deep_field_of(system)
    deep = deep_system(mode_system(system, request.known), depth)
    given = [layer_weights(text, depth) for text in system.layers or []]
    if len(given) not in (0, 1, deep.n_modes):
        raise ValueError(
            f"`layers` must be given once, or once for each of {deep.n_modes} modes, got {len(given)}"
        )
    layers = np.transpose(given) if given else 0.1
    state = deep.deep_state(layers, [0.1] if start.predictor is None else start.predictor)
    return simulate_deep(state, deep, field, **options)


def _row_text(values: list[float | None]) -> str:
    return ", ".join("–" if value is None else f"{value:.6g}" for value in values)


def print_deep(report: dict[str, Any]) -> None:
    """Print a row per mode."""
    rows = []
    for k, mode in enumerate(report["modes"]):
        said, drift = mode["predicted"], mode["invariant"]["drift"]
        known = said["fate"] is not None
        rows.append(
            [
                str(k + 1),
                number_text(mode["ratio"]),
                *(
                    f"{_row_text(mode[when]['layers'])}; {mode[when]['predictor']:.6g}"
                    for when in ("initial", "final")
                ),
                mode["fate"],
                prediction_text(mode),
                f"{_row_text(said['layers'])}; {said['predictor']:.6g}" if known else "–",
                "–" if drift is None else f"{drift:.1e}",
            ]
        )
    columns = [
        "mode",
        "λd/λs",
        "start w1 … wL; v",
        "end",
        "fate",
        "predicted",
        "predicted end",
        "drift of c",
    ]
    print_table(columns, rows, cost_text(report))


DEEP = Kind(
    words=lambda request: "--depth",
    asked=lambda request: request.system.depth is not None or request.system.layers is not None,
    obeys=(DepthOptions,),
    run=run_deep,
    show=print_deep,
)
"""Modes of a deep encoder."""
