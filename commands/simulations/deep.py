"""Runs of modes of a deep linear encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from commands.declaration import number
from commands.options import mode_system
from commands.output import number_text, print_table
from commands.simulations.request import DepthOptions, Kind, Request
from commands.simulations.tables import cost_text, prediction_text

if TYPE_CHECKING:
    from analysis.runs.deep import DeepSimulation


def _layers(text: str) -> list[float]:
    """Weights of the layers of a mode, first to last."""
    try:
        return [number(part) for part in text.split(",")]
    except typer.BadParameter:
        raise ValueError(f"`layers` must be numbers such as .3,.5, got {text!r}") from None


def run_deep(request: Request) -> DeepSimulation:
    """Run the layers of every mode."""
    import numpy as np

    from analysis.runs.deep import simulate_deep
    from dynamics.fields.deep import DEEP_FIELDS, DeepSystem

    system, start, options = request.system, request.start, request.options
    depth = system.depth
    if depth is None:
        raise ValueError("`layers` must go with --depth, got --layers alone")
    if system.lambda_s is None:
        raise ValueError("--depth must go with --lambda-s and --lambda-d: layers run mode by mode")
    for name in ("online", "target", "dim", "state", "init_online", "init_predictor"):
        if (value := getattr(start, name)) is not None:
            raise ValueError(
                f"`{name}` must not go with --depth, whose start is --layers and --predictor, got {value}"
            )
    if system.variant not in DEEP_FIELDS:
        raise ValueError(f"--variant must be {' or '.join(DEEP_FIELDS)} with --depth, got {system.variant}")
    modes = mode_system(system, request.known)
    deep = DeepSystem(
        modes.lambda_s,
        modes.lambda_d,
        depth=depth,
        tau_online=modes.tau_online,
        tau_predictor=modes.tau_predictor,
        tau_target=modes.tau_target,
        weight_decay=modes.weight_decay,
    )
    given = [_layers(text) for text in system.layers or []]
    for one in given:
        if len(one) != depth:
            raise ValueError(f"`layers` must hold one number per layer ({depth}), got {len(one)}")
    if len(given) not in (0, 1, deep.n_modes):
        raise ValueError(
            f"`layers` must be given once, or once for each of {deep.n_modes} modes, got {len(given)}"
        )
    layers = np.transpose(given) if given else 0.1
    state = deep.deep_state(layers, [0.1] if start.predictor is None else start.predictor)
    return simulate_deep(state, deep, DEEP_FIELDS[system.variant], **options)


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
