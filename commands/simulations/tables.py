"""Pieces of tables that kinds of runs share."""

from __future__ import annotations

from typing import Any

LISTED = 12
"""Modes or restarts that have a row; data have hundreds."""


def cost_text(report: dict[str, Any]) -> str:
    """How a run ended and what it cost."""
    time = "∞, beyond floats" if report["t"] is None else f"{report['t']:.6g}"
    return (
        f"{report['status']} at t = {time} · {report['n_field_evaluations']} field evaluations"
        f" · {report['seconds']:.2f} s · {report['method']}"
    )


def prediction_text(mode: dict[str, Any]) -> str:
    """What theory says of a mode, and whether the run disagrees."""
    said = mode["predicted"]["fate"] or "no result applies"
    return f"{said}{' (disagrees)' if mode['agrees'] is False else ''}"
