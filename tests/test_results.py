"""What holds of all results: they hold, those with a proof are proved, and departures from print are said."""

from __future__ import annotations

import inspect
import re
import shlex
import sys
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest

from analysis.results import PARTS, RESULTS, Result, check
from analysis.results.registry import AsPrinted

# Results whose proof is an argument, an integral or a limit that SymPy does not do.
UNPROVED = {
    *("R8", "R18", "R30"),
    *("R113", "R117", "R118", "R119", "R120", "R122"),
    *("R207", "R211", "R212", "R222", "R225"),
    *("R329", "R330", "R333", "R335", "R336"),
}

each = pytest.mark.parametrize("result", RESULTS.values(), ids=list(RESULTS))


def test_all_are_there_in_order() -> None:
    assert PARTS["linear"] == tuple(f"R{k}" for k in range(1, 31))


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
        assert result.id in UNPROVED


def cited(source: str) -> set[int]:
    """Numbers of the results that a text cites, R6 or R9–R12."""
    found = re.findall(r"\bR(\d+)(?:[–-]R?(\d+))?\b", source)
    return {k for first, last in found for k in range(int(first), int(last or first) + 1)}


@each
def test_the_code_of_a_result_cites_it(result: Result) -> None:
    module, name = result.code.rsplit(".", 1)
    getattr(import_module(module), name)
    assert int(result.id[1:]) in cited(inspect.getsource(sys.modules[module]))


@pytest.mark.parametrize(
    ("name", "seen"), [("R6", '"fate": "collapsed"'), ("R7", '"stability": "half-stable"')]
)
def test_a_counterexample_shows_it(name: str, seen: str, dyn) -> None:
    command, *arguments = shlex.split(RESULTS[name].counterexample)
    assert command == "dyn"
    code, out, _ = dyn(*arguments, "--json")
    assert code == 0
    assert seen in out


def test_every_counterexample_is_tried() -> None:
    assert [name for name, result in RESULTS.items() if result.counterexample] == ["R6", "R7"]


def test_a_trial_that_is_refused_names_its_result() -> None:
    def refusing(*given: Any, **more: Any) -> Any:
        raise ValueError("`state` must be another")

    result = replace(RESULTS["R2"], trial=refusing)
    with pytest.raises(ValueError, match="trial 0 of R2 was refused: `state` must be another"):
        check(result)
