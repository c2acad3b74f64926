"""`dyn confirm --quick`: every experiment has a verdict, a picture, and the exit code that follows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from analysis.experiments import EXPERIMENTS

CLAIMS = ("C8", "C10", "C11", "C13")
"""Set claims of papers beside digits, and say what they find; what follows from theory alone has to hold."""

LONG = ("C1", "C3", "C7", "C8", "C10", "C11", "C12", "C13", "C15", "C16", "C17")
"""Whose quick versions compile several networks, and whose parts have tests of their own."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in EXPERIMENTS],
)
def test_theory_is_confirmed_and_what_is_not_is_said(name: str, dyn: Any) -> None:
    code, out, _ = dyn("confirm", name, "--quick", "--json", "--folder", "figures")
    report = json.loads(out)
    (found,) = report["experiments"]
    assert found["id"] == name
    assert name in CLAIMS or found["verdict"] == "holds"
    violated = found["verdict"] == "violated"
    assert (report["n_failed"], code) == ((1, 1) if violated else (0, 0))
    assert found["reason"] or not violated
    assert set(found) >= {"id", "title", "predicted", "measured", "tolerance", "verdict"}
    assert [path.stem for path in Path("figures").glob("*.png")] == [name]
