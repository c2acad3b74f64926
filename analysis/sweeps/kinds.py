"""What a sweep can repeat: kinds of run, each with its parameters, its settings, its outputs and its chunk.

A kind is a table entry. Another one, such as training runs, needs an entry in `KINDS` and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from dynamics.integration.trajectory import LOOSEST, Status

Columns = Mapping[str, np.ndarray]
Settings = Mapping[str, Any]


class Parameter(NamedTuple):
    """A number that may differ from run to run.

    Parameters
    ----------
    meaning
        Long name, with its symbol.
    units
        Units; "1" for a pure number.
    default
        Value of a parameter that a spec leaves out; None if it then has none.
    required
        Whether a spec has to give it.
    lower, strict
        Values are >= lower, or > lower if strict.
    integer
        Whether values are whole.
    drawn
        Whether every run draws its own, a whole number below 2⁵³, when a spec leaves it out.
    """

    meaning: str
    units: str = "1"
    default: float | None = None
    required: bool = False
    lower: float = -np.inf
    strict: bool = False
    integer: bool = False
    drawn: bool = False


class Setting(NamedTuple):
    """A word, a list or a tolerance that is the same for all runs of a sweep.

    Parameters
    ----------
    default
        Value when a spec leaves it out.
    check
        (name, value) -> value in its canonical form; raises ValueError.
    """

    default: Any
    check: Callable[[str, Any], Any]


class Output(NamedTuple):
    """An array of results: one value, or one array over `dims`, a run.

    Parameters
    ----------
    dtype
        NumPy type.
    meaning, units
        Long name with its symbol, and units.
    dims
        Further axes by name, with their lengths.
    attributes
        Further attributes, such as the meanings of flags.
    """

    dtype: str
    meaning: str
    units: str = "1"
    dims: tuple[tuple[str, int], ...] = ()
    attributes: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Kind:
    """A kind of run.

    Parameters
    ----------
    settings
        Its settings by name.
    parameters
        settings -> parameters by name.
    check
        (settings, taken) -> None: refuses what no single value shows. `taken` has, for every parameter, the values
        that it takes: all of an axis, both ends of what is drawn.
    outputs
        (settings, taken) -> outputs by name.
    run
        (settings, columns, outputs) -> the results of one chunk, an array for each output in their order, the runs
        first; a function of its arguments alone. Columns hold the parameters, shape (n,) each.
    fingerprint
        settings -> digest of the files that the runs read, so that a sweep is not continued with others; None
        without files.
    prepare
        settings -> None: compiles what the runs need, so that their rate is that of the runs alone.
    """

    settings: Mapping[str, Setting]
    parameters: Callable[[Settings], Mapping[str, Parameter]]
    check: Callable[[Settings, Columns], None]
    outputs: Callable[[Settings, Columns], Mapping[str, Output]]
    run: Callable[[Settings, Columns, Mapping[str, Output]], Columns]
    fingerprint: Callable[[Settings], str | None] = lambda settings: None
    prepare: Callable[[Settings], None] = lambda settings: None


def empty(outputs: Mapping[str, Output], n: int) -> dict[str, np.ndarray]:
    """Results of n runs to be filled in: NaN where they hold floats, else 0.

    >>> empty({"drift": Output("float64", "drift", dims=(("component", 2),))}, 1)
    {'drift': array([[nan, nan]])}
    """
    return {
        name: np.full(
            (n, *(length for _, length in output.dims)),
            np.nan if np.dtype(output.dtype).kind == "f" else 0,
            output.dtype,
        )
        for name, output in outputs.items()
    }


def tolerance(name: str, value: Any) -> float:
    """Check a tolerance, > 0 and at most `LOOSEST`.

    >>> tolerance("rtol", 1e-3)
    0.001
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LOOSEST:
        raise ValueError(f"settings.{name} must be > 0 and <= {LOOSEST}, got {value!r}")
    return float(value)


def count(name: str, value: Any) -> int:
    """Check a whole number >= 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"settings.{name} must be an integer >= 1, got {value!r}")
    return value


def one_of(*words: str) -> Callable[[str, Any], str]:
    """Make a check that a value is one of some words."""

    def check(name: str, value: Any) -> str:
        if value not in words:
            raise ValueError(f"settings.{name} must be one of {', '.join(words)}, got {value!r}")
        return str(value)

    return check


def rates() -> dict[str, Parameter]:
    """τo, τp, τt and η, which every flow has."""
    return {
        "tau_online": Parameter("time constant of the online weights τo", "time", 1.0, lower=0, strict=True),
        "tau_predictor": Parameter("time constant of the predictor τp", "time", 1.0, lower=0, strict=True),
        "tau_target": Parameter("time constant of the target τt", "time", 1.0, lower=0, strict=True),
        "weight_decay": Parameter("weight decay η", "1/time", 0.0, lower=0),
    }


def status_output(statuses: Sequence[Status]) -> Output:
    """Status of each run, as numbers with their meanings."""
    return word_output(statuses, "why the run ended")


def word_output(words: Sequence[str], meaning: str) -> Output:
    """One of some words for each run, as numbers with their meanings in the way of the CF conventions."""
    flags = (("flag_values", list(range(len(words)))), ("flag_meanings", " ".join(map(str, words))))
    return Output("uint8", meaning, attributes=flags)


def failed(outputs: Mapping[str, Output], results: Columns) -> int:
    """Number of runs that diverged or spent their steps."""
    words = dict(outputs["status"].attributes)["flag_meanings"].split()
    codes = [code for code, word in enumerate(words) if Status(word).failed]
    return int(np.count_nonzero(np.isin(results["status"], codes)))
