"""Captions: the parameters of a figure in the field's letters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LETTERS = {
    "lambda_s": "λs",
    "lambda_d": "λd",
    "tau": "τo = τp",
    "tau_online": "τo",
    "tau_predictor": "τp",
    "tau_target": "τt",
    "weight_decay": "η",
    "online": "w1",
    "predictor": "w2",
    "target": "θ",
    "step": "ε",
    "ema_rate": "h",
    "invariant": "c",
    "invariants": "c",
}
"""How captions write parameters."""


def described(parameters: Mapping[str, Any]) -> str:
    """Every parameter and its value, to be put into a sentence; names without a letter are written out.

    >>> described({"lambda_s": 1.0, "lambda_d": 0.5, "n_starts": 3})
    'λs = 1, λd = 0.5, n starts = 3'
    """
    return ", ".join(
        f"{LETTERS.get(name, name.replace('_', ' '))} = {_text(value)}" for name, value in parameters.items()
    )


def _text(value: Any) -> str:
    if isinstance(value, tuple | list):
        return "(" + ", ".join(map(_text, value)) + ")"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
