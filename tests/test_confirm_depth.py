"""C21: what is measured follows theory, and fails where the theory it tests is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analysis.depth.decay import decay_threshold
from analysis.depth.fates import DeepFate, deep_fate
from analysis.experiments import EXPERIMENTS, Effort, depth
from dynamics.exact.deep import jepa_time
from dynamics.fields.deep import DeepState, DeepSystem, layer_invariants


def by_mean(state: DeepState, system: DeepSystem) -> DeepFate:
    """The mean of c_l in place of the least."""
    c = np.mean(layer_invariants(state, system), axis=0)
    dies = np.where(state.predictor > 0, c <= -(system.ratio**2), c <= 0)
    return deep_fate(state, system)._replace(fate=np.where(dies, "collapsed", "learned"))


def test_training_agrees() -> None:
    outcome = EXPERIMENTS["C21"].run(Effort(quick=True))
    assert outcome.verdict == "holds"
    assert [m.name.split(",")[0] for m in outcome.measurements[:3]] == [
        "fates as predicted",
        "time of growth",
        "threshold over η*",
    ]


@pytest.mark.parametrize(
    ("name", "mutant"),
    [
        ("deep_fate", by_mean),
        ("jepa_time", lambda v0, v, L, s, d: jepa_time(v0, v, L, s, d) / L),
        ("decay_threshold", lambda L, s, d: decay_threshold(L, s, d) * 0.97),
    ],
)
def test_a_wrong_theory_is_violated(monkeypatch: pytest.MonkeyPatch, name: str, mutant: Any) -> None:
    monkeypatch.setattr(depth, name, mutant)
    assert EXPERIMENTS["C21"].run(Effort(quick=True)).verdict == "violated"
