"""C9: RAFT and BYOL′ in pairs; and that it can fail."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.experiments import Effort, Verdict, mirrored
from analysis.experiments.mirrored import LINEAR, NONLINEAR, distances
from dynamics.training import train

SEEDS = (0, 1, 2, 3)


@pytest.mark.parametrize("networks", [LINEAR, NONLINEAR], ids=["linear", "nonlinear"])
def test_pairs_stay_mirror_images(networks: dict) -> None:
    # before a batch normalisation the gradient of a bias is rounding, 1e-15, which Adam divides by 1e-8 at the least
    steps = np.array([1, 30])
    assert np.all(
        distances(networks, SEEDS, tuple(steps), normalize=True) < steps * mirrored.RATE * 1e-15 / 1e-8
    )


def test_pairs_part_where_theory_says_so() -> None:
    assert not mirrored.stays_mirrored("", distances(LINEAR, SEEDS, (30,), normalize=False)[-1]).holds


def test_pairs_from_one_start_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirrored, "mirrored", lambda state: state)
    monkeypatch.setattr(mirrored, "STEPS", 100)
    outcome = mirrored.run(Effort(quick=True))
    assert outcome.verdict is Verdict.VIOLATED


def test_the_mirror_negates_the_last_layer_alone() -> None:
    one = train(mirrored.settings("raft", NONLINEAR, normalize=True, steps=1), SEEDS).start
    other = mirrored.mirrored(one)
    assert np.array_equal(other.predictor[-1]["weight"], -one.predictor[-1]["weight"])
    assert np.array_equal(other.predictor[0]["weight"], one.predictor[0]["weight"])
    assert mirrored.distance(mirrored.mirrored(other), one) == 0
    assert mirrored.distance(one, other) == pytest.approx(2 * np.max(np.abs(one.predictor[-1]["weight"])))


def test_a_start_of_other_networks_is_refused() -> None:
    start = train(mirrored.settings("raft", LINEAR, normalize=True, steps=1), SEEDS).start
    with pytest.raises(ValueError, match="`initial` must be the start of as many runs of the same networks"):
        train(mirrored.settings("raft", NONLINEAR, normalize=True, steps=1), SEEDS, initial=start)
