"""What holds of all thirty results: they hold, those with a proof are proved, and departures from print are said."""

from __future__ import annotations

import pytest

from analysis.results import RESULTS, Result, check
from analysis.results.registry import AsPrinted

each = pytest.mark.parametrize("result", RESULTS.values(), ids=list(RESULTS))


def test_all_thirty_are_there_in_order() -> None:
    assert list(RESULTS) == [f"R{k}" for k in range(1, 31)]


@pytest.mark.parametrize("seed", range(3))
@each
def test_holds(result: Result, seed: int) -> None:
    assert check(result, n_trials=4, seed=seed).verdict == "holds"


@each
def test_what_departs_from_print_says_how(result: Result) -> None:
    assert bool(result.correction) == (result.as_printed in (AsPrinted.CORRECTED, AsPrinted.REFINED))
    assert all((result.title, result.statement, result.source, result.hypotheses))


@each
def test_is_proved_where_there_is_a_proof(result: Result) -> None:
    if result.proof is not None:
        assert result.proof() is True
    else:
        assert result.id in ("R8", "R18", "R30")
