"""`dyn confirm --quick`: all experiments, each with a verdict, and the exit code that follows from them."""

from __future__ import annotations

import json
from pathlib import Path

from analysis.experiments import EXPERIMENTS

# What follows from theory alone has to hold; the others set claims of papers beside digits, and say what they find.
THEORY = ("C1", "C2", "C3", "C4", "C5", "C6", "C7", "C9", "C12", "C14", "C15", "C21")


def test_the_theory_is_confirmed_and_what_is_not_is_said(dyn):
    code, out, _ = dyn("confirm", "--quick", "--json", "--folder", "figures")
    report = json.loads(out)
    found = {item["id"]: item for item in report["experiments"]}
    assert list(found) == list(EXPERIMENTS)
    assert {name: found[name]["verdict"] for name in THEORY} == dict.fromkeys(THEORY, "holds")
    violated = [item for item in found.values() if item["verdict"] == "violated"]
    assert report["n_failed"] == len(violated)
    assert code == (1 if violated else 0)
    assert all(item["reason"] for item in violated)
    keys = {"id", "title", "predicted", "measured", "tolerance", "verdict"}
    assert all(set(item) >= keys for item in found.values())
    assert {path.stem for path in Path("figures").glob("*.png")} == set(found)
