"""Presets: the rows of RAFT's Table 2 are what their names say."""

from __future__ import annotations

import re

import pytest

from dynamics.training import TrainingSettings
from dynamics.training.presets import DEFAULT, PRESETS, TABLE_2, preset

# as printed in the table
ROWS = (
    "BYOL-MLPP", "BYOL-NP", "BYOL-LP", "BYOL-LPI", "TanBYOL-LP", "BYOL’-MLPP", "BYOL’-LP", "BYOL’-NP",
    "TanBYOL’-LP", "RAFT-MLPP", "RAFT-NP", "RAFT-LP", "TanRAFT-LP",
)  # fmt: skip
OBJECTIVES = {"BYOL": "byol", "BYOL’": "byol-prime", "RAFT": "raft"}
PREDICTORS = {
    "MLPP": ("mlp", "normal"),
    "LP": ("linear", "normal"),
    "LPI": ("linear", "identity"),
    "NP": ("none", "normal"),
}


def test_every_row_of_the_table_is_there_and_no_other() -> None:
    assert [row.replace("’", "'") for row in ROWS] == list(TABLE_2)
    assert (DEFAULT, *TABLE_2) == PRESETS


@pytest.mark.parametrize("row", ROWS)
def test_rows_are_what_their_names_say(row: str) -> None:
    named = re.fullmatch(r"(Tan)?(BYOL’?|RAFT)-(\w+)", row)
    assert named is not None
    settings = preset(row)
    assert settings.objective.kind == OBJECTIVES[named[2]]
    assert (settings.predictor.kind, settings.predictor.start) == PREDICTORS[named[3]]
    assert settings.objective.tangential == (named[1] is not None)


@pytest.mark.parametrize("row", ROWS)
def test_rows_share_the_set_up_of_appendix_b(row: str) -> None:
    settings = preset(row)
    objective, encoder = settings.objective, settings.encoder
    assert (objective.normalize, objective.symmetric, objective.stop_gradient) == (True, True, True)
    assert (objective.alpha, objective.beta) == (1, 1)
    assert settings.target.decay == 1 - 4e-3
    assert (settings.optimizer.kind, settings.batch) == ("adam", 128)
    assert (len(encoder.projector), encoder.projector_batch_norm) == (2, True)
    assert not settings.predictor.batch_norm
    # 300 epochs of three quarters of the 1,797 digits
    assert settings.steps * settings.batch == pytest.approx(300 * 0.75 * 1797, rel=1e-3)
    assert settings.steps % settings.metrics_every == 0


@pytest.mark.parametrize("name", PRESETS)
def test_presets_read_back_from_json(name: str) -> None:
    assert TrainingSettings.from_json(preset(name).to_json()) == preset(name)


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("byol", "BYOL-MLPP"),
        ("BYOL'", "BYOL'-MLPP"),
        ("raft", "RAFT-MLPP"),
        ("byol-prime-lp", "BYOL'-LP"),
        ("byol-prime", "BYOL'-MLPP"),
        ("tanbyol-prime-lp", "TanBYOL'-LP"),
        ("Linear", "linear"),
    ],
)
def test_names_may_be_written_as_on_a_keyboard(alias: str, name: str) -> None:
    assert preset(alias) == preset(name)


def test_an_unknown_name_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(
        ValueError, match=r"`preset` must be one of linear, BYOL-MLPP, .*TanRAFT-LP, got 'SimSiam'"
    ):
        preset("SimSiam")
