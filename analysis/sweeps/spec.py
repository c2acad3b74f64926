"""What a sweep is: a spec in TOML, checked, as a design of runs in one fixed order.

Parameters with several values span a grid, an axis each in the order of the spec; parameters that are drawn have a
value of their own in every run. With `samples`, every cell of the grid has that many runs, along the last axis.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.sweeps.design import LONGEST_AXIS, Axis, Constant, Design, Draw, values_taken
from analysis.sweeps.kinds import Parameter
from analysis.sweeps.registry import KINDS

_TOP = ("kind", "seed", "samples", "chunk", "keep", "settings", "parameters")
_AXES = ("values", "linspace", "geomspace", "range")
_DISTRIBUTIONS = ("uniform", "loguniform", "normal", "integers")


def load_spec(path: str | Path) -> Design:
    """Read the spec of a sweep from a TOML file.

    Parameters
    ----------
    path
        The file; see `design` for what it holds.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is not TOML, or `design` refuses what it holds.

    Examples
    --------
    >>> load_spec("missing.toml")
    Traceback (most recent call last):
    FileNotFoundError: missing.toml does not exist
    """
    from dynamics.files import check_file

    path = Path(path)
    check_file(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} must be TOML: {error}") from None
    try:
        return design(table)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def design(table: Mapping[str, Any]) -> Design:
    """Check the spec of a sweep.

    Parameters
    ----------
    table
        ``kind`` (of run), ``seed`` (0), ``samples`` (runs a cell; with it, or when nothing has an axis, results
        have the axis ``sample``), ``chunk`` (runs a chunk), ``keep`` (names of the results and of the drawn
        parameters that are stored; all when left out), ``settings`` and ``parameters``: numbers, or a table
        with one entry. Axes: ``values`` [x, …], ``linspace`` [first, last, n], ``logspace`` [first, last, n],
        ``range`` [first, last]. Drawn: ``uniform`` [a, b], ``loguniform`` [a, b], ``normal`` [mean, deviation],
        ``integers`` [first, last].

    Returns
    -------
    Design
        With every default filled in.

    Raises
    ------
    ValueError
        An unknown name, with the nearest known one; a value out of range, missing or not finite; no runs at all.

    Examples
    --------
    >>> spec = {"kind": "modes", "samples": 5, "parameters": {"lambda_s": 1, "ratio": {"uniform": [0, 1]}}}
    >>> spec["parameters"]["t_end"] = 50
    >>> design(spec).shape
    (5,)
    """
    for name in table:
        _known("", name, _TOP)
    kind_name = table.get("kind", "modes")
    if kind_name not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind_name!r}")
    kind = KINDS[kind_name]
    given_settings, given = _table("settings", table), _table("parameters", table)
    for name in given_settings:
        _known("settings.", name, kind.settings)
    settings = {
        name: setting.check(name, given_settings[name]) if name in given_settings else setting.default
        for name, setting in kind.settings.items()
    }
    known = kind.parameters(settings)
    for name in given:
        _known("parameters.", name, known)
    parameters = {name: _parameter(name, given[name], known[name]) for name in given}
    for name, parameter in known.items():
        if name not in parameters and parameter.required:
            raise ValueError(f"parameters must give {name}, {parameter.meaning}")
        if name not in parameters and parameter.drawn:
            parameters[name] = Draw("integers", 0, 2.0**53 - 1)
        if name not in parameters and parameter.default is not None:
            parameters[name] = Constant(parameter.default)
    outputs = kind.outputs(settings, values_taken(parameters))
    taken = {"sample", *outputs, *(dim for output in outputs.values() for dim, _ in output.dims)}
    if not taken.isdisjoint(parameters):
        raise ValueError(
            f"a parameter must not have the name of a result, got {min(taken & set(parameters))}"
        )
    samples = _whole("samples", table, 1)
    random = [name for name in given if isinstance(parameters[name], Draw)]
    if random and samples is None and not any(isinstance(item, Axis) for item in parameters.values()):
        raise ValueError(f"samples must say how many runs to draw, since parameters.{random[0]} is drawn")
    kind.check(settings, values_taken(parameters))
    return Design(
        kind=kind_name,
        parameters=parameters,
        settings=settings,
        samples=samples,
        seed=_whole("seed", table, 0) or 0,
        chunk=_whole("chunk", table, 1),
        keep=_kept(table, [name for name, item in parameters.items() if isinstance(item, Draw)], outputs),
        fingerprint=kind.fingerprint(settings),
    )


def _known(where: str, name: str, names: Any) -> None:
    if name in names:
        return
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(names)}"
    raise ValueError(f"{where}{name} is not known: {hint}")


def _table(name: str, table: Mapping[str, Any]) -> Mapping[str, Any]:
    value = table.get(name, {})
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must be a table, got {value!r}")
    return value


def _kept(
    table: Mapping[str, Any], drawn: Sequence[str], outputs: Mapping[str, Any]
) -> tuple[str, ...] | None:
    """Names under `keep`, in the order of the store."""
    names = table.get("keep")
    if names is None:
        return None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"keep must be a list of names, such as ['fate'], got {names!r}")
    for name in names:
        _known("keep: ", name, (*drawn, *outputs))
    return tuple(name for name in (*drawn, *outputs) if name in names)


def _whole(name: str, table: Mapping[str, Any], least: int) -> int | None:
    value = table.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**63:
        raise ValueError(f"{name} must be an integer >= {least} and below 2**63, got {value!r}")
    return value


def _parameter(name: str, value: Any, parameter: Parameter) -> Constant | Axis | Draw:
    item = _number_axis_or_draw(name, value)
    (taken,) = values_taken({name: item}).values()
    low, strict = parameter.lower, parameter.strict
    bad = taken <= low if strict else taken < low
    if np.any(bad):
        bound = f"{'>' if strict else '>='} {low:g}"
        raise ValueError(f"parameters.{name} must be {bound}, got {taken[bad][0]:g} in {value!r}")
    whole = isinstance(item, Draw) and item.distribution == "integers"
    if parameter.integer and not whole and (isinstance(item, Draw) or np.any(taken % 1 != 0)):
        raise ValueError(f"parameters.{name} must be whole, got {value!r}")
    return item


def _number_axis_or_draw(name: str, value: Any) -> Constant | Axis | Draw:
    if not isinstance(value, Mapping):
        return Constant(_finite(name, [value])[0])
    if len(value) != 1:
        ways = ", ".join((*_AXES, *_DISTRIBUTIONS))
        raise ValueError(f"parameters.{name} must have one of {ways}, got {', '.join(value) or 'nothing'}")
    ((way, numbers),) = value.items()
    if way == "logspace":
        raise ValueError(
            f"parameters.{name}.logspace is not known, for NumPy's takes exponents: use geomspace = [first, last, n]"
        )
    _known(f"parameters.{name}.", way, (*_AXES, *_DISTRIBUTIONS))
    where = f"{name}.{way}"
    if not isinstance(numbers, list):
        raise ValueError(f"parameters.{where} must be a list, got {numbers!r}")
    if way == "values":
        if not numbers:
            raise ValueError(f"parameters.{where} must not be empty")
        if len(set(numbers)) != len(numbers):
            raise ValueError(f"parameters.{where} must differ from each other, got {numbers!r}")
        return Axis(way, tuple(_finite(where, numbers)))
    length = 3 if way in ("linspace", "geomspace") else 2
    if len(numbers) != length:
        raise ValueError(f"parameters.{where} must have {length} numbers, got {numbers!r}")
    a, b, *rest = _finite(where, numbers)
    if way in ("geomspace", "loguniform") and min(a, b) <= 0:
        raise ValueError(f"parameters.{where} must have two ends > 0, got {numbers!r}")
    if way in ("range", "integers") and (a % 1 or b % 1):
        raise ValueError(f"parameters.{where} must have whole ends, got {numbers!r}")
    if way in ("range", *_DISTRIBUTIONS) and way != "normal" and b < a:
        raise ValueError(f"parameters.{where} must not end before it begins, got {numbers!r}")
    if way == "normal" and b < 0:
        raise ValueError(f"parameters.{where} must have a deviation >= 0, got {numbers!r}")
    if way in _DISTRIBUTIONS:
        return Draw(way, a, b)
    n = rest[0] if rest else b - a + 1
    if n > 1 and a == b:
        raise ValueError(f"parameters.{where} must have two different ends, got {numbers!r}")
    if n % 1 or not 1 <= n <= LONGEST_AXIS:
        raise ValueError(f"parameters.{where} must have 1 to {LONGEST_AXIS} values, got {n:g}")
    return Axis(way, (a, b, *rest))


def _finite(name: str, numbers: list[Any]) -> list[float]:
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) < np.inf:
            raise ValueError(f"parameters.{name} must be finite numbers, got {number!r}")
    return [float(number) for number in numbers]
