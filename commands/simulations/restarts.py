"""The table of restarts of the predictor."""

from __future__ import annotations

from typing import Any

from commands.output import print_table
from commands.simulations.tables import LISTED, prediction_text


def print_restarts(restarts: dict[str, Any], *, as_modes: bool) -> None:
    """Print a row per restart, and per mode where modes run one by one."""
    events = restarts["events"]
    if as_modes:
        columns = ["restart", "t", "mode", "fresh w2", "fate", "predicted", "|w1| predicted", "w1 at the end"]
        rows = [
            [
                str(k + 1),
                f"{event['t']:.6g}",
                str(j + 1),
                f"{mode['predictor']:.6g}",
                mode["fate"],
                prediction_text(mode),
                "–" if mode["predicted"]["amplitude"] is None else f"{mode['predicted']['amplitude']:.6g}",
                f"{mode['online']:.6g}",
            ]
            for k, event in enumerate(events[:LISTED])
            for j, mode in enumerate(event["modes"])
        ]
    else:
        columns = ["restart", "t", "‖P‖", "rank floor", "rank at the end", "τo ‖W‖² before", "after"]
        rows = [
            [
                str(k + 1),
                f"{event['t']:.6g}",
                f"{event['predictor_norm']:.4g}",
                "–" if event["rank_floor"] is None else str(event["rank_floor"]),
                str(event["rank"]),
                *(f"{value:.6g}" for value in event["online_trace"]),
            ]
            for k, event in enumerate(events[:LISTED])
        ]
    more = f"and {len(events) - LISTED} more restarts (--json lists them)" if len(events) > LISTED else ""
    print_table(columns, rows, more)
