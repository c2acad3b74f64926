"""What a sweep is: a spec in TOML, checked, as a design of runs in one fixed order.

Parameters with several values span a grid, an axis each in the order of the spec; parameters that are drawn have a
value of their own in every run. With `samples`, every cell of the grid has that many runs, along the last axis.
"""

from __future__ import annotations

import difflib
import math
import tomllib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from analysis.sweeps.kinds import Kind, Output, Parameter
from analysis.sweeps.matrices import MATRICES
from analysis.sweeps.modes import MODES

KINDS: Mapping[str, Kind] = {"modes": MODES, "matrices": MATRICES}
"""Kinds of run by name."""

LONGEST_AXIS = 10_000_000
BLOCK = 2**14
"""Runs that are drawn together: few enough to stay in a cache."""
_TOP = ("kind", "seed", "samples", "chunk", "settings", "parameters")
_AXES = ("values", "linspace", "geomspace", "range")
_DISTRIBUTIONS = ("uniform", "loguniform", "normal", "integers")


class Constant(NamedTuple):
    """A parameter with one value."""

    value: float


class Axis(NamedTuple):
    """A parameter whose values are an axis of the grid.

    Parameters
    ----------
    way, numbers
        "values" and all of them; "linspace" or "geomspace" and first, last, n; "range" and first, last.
    """

    way: str
    numbers: tuple[float, ...]

    @property
    def values(self) -> np.ndarray:
        """Values along the axis, shape (n,)."""
        return _spaced(self)


@lru_cache(maxsize=64)
def _spaced(axis: Axis) -> np.ndarray:
    """Values of an axis, made where they are needed: what is sent to a worker stays small."""
    if axis.way == "values":
        return np.array(axis.numbers)
    first, last = axis.numbers[:2]
    n = last - first + 1 if axis.way == "range" else axis.numbers[2]
    space = np.geomspace if axis.way == "geomspace" else np.linspace
    return space(first, last, int(n))


class Draw(NamedTuple):
    """A parameter that is drawn for every run.

    Parameters
    ----------
    distribution
        "uniform" or "loguniform" on [a, b], "normal" with mean a and deviation b, "integers" a, …, b.
    a, b
        Its two numbers.
    """

    distribution: str
    a: float
    b: float

    @property
    def ends(self) -> tuple[float, float]:
        """Least and largest value."""
        if self.distribution == "normal":
            return (-np.inf, np.inf) if self.b > 0 else (self.a, self.a)
        return self.a, self.b

    def sample(self, generator: np.random.Generator, n: int) -> np.ndarray:
        """Draw n values with a generator, shape (n,)."""
        a, b = self.a, self.b
        if self.distribution == "uniform":
            return a + (b - a) * generator.random(n)
        if self.distribution == "loguniform":
            return np.exp(np.log(a) + (np.log(b) - np.log(a)) * generator.random(n))
        if self.distribution == "integers":
            return generator.integers(int(a), int(b), n, endpoint=True).astype(np.float64)
        return a + b * generator.standard_normal(n)


def drawn(draw: Draw, seed: int, name: str, start: int, stop: int) -> np.ndarray:
    """Values drawn for the runs start, …, stop − 1: a function of draw, seed, name and run number alone.

    Parameters
    ----------
    draw
        The distribution.
    seed
        Seed of the sweep, 0 <= seed < 2⁶⁴.
    name
        Name of the parameter: each has a stream of its own.
    start, stop
        Run numbers.

    Notes
    -----
    Runs k B, …, (k + 1) B − 1 with B = `BLOCK` are drawn together, by the counter-based generator Philox with key
    (seed, CRC-32 of the name) from count k 2⁶⁴ on; no block draws so many numbers that it reaches the next one.

    Examples
    --------
    >>> law = Draw("normal", 0, 1)
    >>> bool(drawn(law, 0, "online", 3, 9)[2] == drawn(law, 0, "online", 5, 6)[0])
    True
    """
    values = np.empty(stop - start)
    key = np.array([seed, zlib.crc32(name.encode())], np.uint64)
    for block in range(start // BLOCK, -(-stop // BLOCK)):
        sample = draw.sample(np.random.Generator(np.random.Philox(key=key, counter=block << 64)), BLOCK)
        first = block * BLOCK
        low, high = max(start, first), min(stop, first + BLOCK)
        values[low - start : high - start] = sample[low - first : high - first]
    return values


@dataclass(frozen=True, eq=False)
class Design:
    """A checked sweep: runs numbered 0, …, size − 1 in row-major order of its axes.

    Parameters
    ----------
    kind
        Name of the kind of run, in `KINDS`.
    parameters
        All parameters by name, those with axes in the order of the axes.
    settings
        All settings by name.
    samples
        Runs in every cell of the grid; None for one, without an axis.
    seed
        Seed of everything that is drawn.
    chunk
        Runs in a chunk; None if that is to be chosen by measuring.
    fingerprint
        Digest of the files that are read, or None.
    """

    kind: str
    parameters: Mapping[str, Constant | Axis | Draw]
    settings: Mapping[str, Any]
    samples: int | None = None
    seed: int = 0
    chunk: int | None = None
    fingerprint: str | None = None

    @property
    def axes(self) -> dict[str, np.ndarray]:
        """Values along the axes of the grid by name, in their order."""
        return {name: item.values for name, item in self.parameters.items() if isinstance(item, Axis)}

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the axes of every result."""
        return (*self.axes, *(() if self.samples is None and self.axes else ("sample",)))

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes of every result."""
        lengths = tuple(len(values) for values in self.axes.values())
        return lengths if len(self.dims) == len(lengths) else (*lengths, self.samples or 1)

    @property
    def size(self) -> int:
        """Number of runs."""
        return math.prod(self.shape)

    @property
    def draws(self) -> dict[str, Draw]:
        """Parameters that are drawn, by name."""
        return {name: item for name, item in self.parameters.items() if isinstance(item, Draw)}

    @property
    def outputs(self) -> Mapping[str, Output]:
        """Results of every run, by name."""
        return KINDS[self.kind].outputs(self.settings, _taken(self.parameters))

    @property
    def meanings(self) -> Mapping[str, Parameter]:
        """What the parameters mean, by name."""
        return KINDS[self.kind].parameters(self.settings)

    def column_dtype(self, name: str) -> str:
        """Type in which a parameter is stored: whole numbers as such."""
        return "int64" if self.meanings[name].integer else "float64"

    @property
    def bytes_a_run(self) -> int:
        """Bytes that one run takes in the store."""
        widths = [
            np.dtype(output.dtype).itemsize * math.prod(length for _, length in output.dims)
            for output in self.outputs.values()
        ]
        return sum(widths) + 8 * len(self.draws)

    def columns(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """Parameters of the runs start, …, stop − 1, an array (stop − start,) each.

        >>> design({"kind": "modes", "parameters": {"lambda_s": 1, "ratio": {"values": [0.2, 0.5]},
        ...         "t_end": 50}}).columns(1, 2)["ratio"]
        array([0.5])
        """
        stride, columns = self.size, {}
        run = np.arange(start, stop)
        for name, item in self.parameters.items():
            if isinstance(item, Constant):
                columns[name] = np.broadcast_to(np.float64(item.value), run.shape)
            elif isinstance(item, Axis):
                stride //= len(item.values)
                columns[name] = item.values[run // stride % len(item.values)]
            else:
                columns[name] = drawn(item, self.seed, name, start, stop)
        return columns

    def compute(self, bounds: tuple[int, int]) -> dict[str, np.ndarray]:
        """Run everything from one run number up to another, and return what is drawn and what results, runs first."""
        return self.run(self.columns(*bounds))

    def run(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run with given parameters, and return what is drawn and what results, runs first."""
        own = {name: columns[name].astype(self.column_dtype(name), copy=False) for name in self.draws}
        return own | dict(KINDS[self.kind].run(self.settings, columns, self.outputs))

    @property
    def identity(self) -> dict[str, Any]:
        """All that the results depend on, as plain values: equal for equal sweeps."""
        plain: dict[str, Any] = {}
        for name, item in self.parameters.items():
            if isinstance(item, Constant):
                plain[name] = item.value
            elif isinstance(item, Axis):
                plain[name] = {item.way: list(item.numbers)}
            else:
                plain[name] = {item.distribution: [item.a, item.b]}
        return {
            "kind": self.kind,
            "seed": self.seed,
            "samples": self.samples,
            "axes": list(self.axes),
            "parameters": plain,
            "settings": dict(self.settings),
            "files": self.fingerprint,
        }


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
        have the axis ``sample``), ``chunk`` (runs a chunk), ``settings`` and ``parameters``: numbers, or a table
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
    outputs = kind.outputs(settings, _taken(parameters))
    taken = {"sample", *outputs, *(dim for output in outputs.values() for dim, _ in output.dims)}
    if not taken.isdisjoint(parameters):
        raise ValueError(
            f"a parameter must not have the name of a result, got {min(taken & set(parameters))}"
        )
    samples = _whole("samples", table, 1)
    random = [name for name in given if isinstance(parameters[name], Draw)]
    if random and samples is None and not any(isinstance(item, Axis) for item in parameters.values()):
        raise ValueError(f"samples must say how many runs to draw, since parameters.{random[0]} is drawn")
    kind.check(settings, _taken(parameters))
    return Design(
        kind=kind_name,
        parameters=parameters,
        settings=settings,
        samples=samples,
        seed=_whole("seed", table, 0) or 0,
        chunk=_whole("chunk", table, 1),
        fingerprint=kind.fingerprint(settings),
    )


def _taken(parameters: Mapping[str, Constant | Axis | Draw]) -> dict[str, np.ndarray]:
    """Values that parameters take: all of an axis, both ends of what is drawn."""
    taken = {}
    for name, item in parameters.items():
        if isinstance(item, Axis):
            taken[name] = item.values
        else:
            taken[name] = np.array([item.value] if isinstance(item, Constant) else item.ends)
    return taken


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


def _whole(name: str, table: Mapping[str, Any], least: int) -> int | None:
    value = table.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**63:
        raise ValueError(f"{name} must be an integer >= {least} and below 2**63, got {value!r}")
    return value


def _parameter(name: str, value: Any, parameter: Parameter) -> Constant | Axis | Draw:
    item = _number_axis_or_draw(name, value)
    (taken,) = _taken({name: item}).values()
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
