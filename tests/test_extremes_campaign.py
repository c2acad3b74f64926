"""Calls of the command line with numbers over two hundred decades, judged by closed forms in many digits."""

from __future__ import annotations

import json
from typing import Any

import campaign_extremes as extremes
import pytest


def test_every_call_is_right_or_refused() -> None:
    found = extremes.campaign(60, seed=7)
    assert not found.violations, "\n".join(f"{text}: {call}" for call, text in found.violations)
    assert found.codes.total() == 60


def call(**options: Any) -> extremes.Call:
    return extremes.Call("simulate", {"lambda-s": 1.0, "lambda-d": 0.5, **options})


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"online": 0.4999}, "closed form"),
        ({"predictor": 0.51}, "closed form"),
    ],
)
def test_a_wrong_end_is_a_violation(change: dict[str, float], word: str) -> None:
    right = call(online=0.1, predictor=0.1, target=0.1)
    outcome = extremes.run(right)
    assert extremes.judge(right, outcome) == []
    report = json.loads(outcome.out)
    report["modes"][0]["final"] |= change
    outcome.out = json.dumps(report)
    assert any(word in text for text in extremes.judge(right, outcome))


def test_a_wrong_fate_and_an_internal_error_are_violations() -> None:
    right = call(online=0.1, predictor=0.1, target=0.1)
    outcome = extremes.run(right)
    report = json.loads(outcome.out)
    report["modes"][0]["fate"] = "collapsed"
    outcome.out = json.dumps(report)
    assert any("fate collapsed" in text for text in extremes.judge(right, outcome))
    outcome.code, outcome.err = 3, "dyn: internal error, RuntimeWarning: overflow"
    assert extremes.judge(right, outcome)
