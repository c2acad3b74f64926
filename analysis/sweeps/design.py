"""The design of a sweep: axes and draws of parameters, as runs in one fixed order."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from analysis.sweeps.kinds import Output, Parameter
from analysis.sweeps.registry import KINDS

LONGEST_AXIS = 10_000_000
BLOCK = 2**14
"""Runs that are drawn together: few enough to stay in a cache."""


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
        values = np.empty(n)
        self.fill(generator, values)
        return values

    def fill(self, generator: np.random.Generator, values: np.ndarray) -> None:
        """Draw as many values with a generator as an array of floats holds, into it."""
        a, b = self.a, self.b
        if self.distribution == "integers":
            values[:] = generator.integers(int(a), int(b), values.size, endpoint=True)
            return
        if self.distribution == "normal":
            generator.standard_normal(out=values)
        else:
            generator.random(out=values)
            if self.distribution == "loguniform":
                a, b = np.log(a), np.log(b)
            b -= a
        values *= b
        values += a
        if self.distribution == "loguniform":
            np.exp(values, out=values)


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
        generator = np.random.Generator(np.random.Philox(key=key, counter=block << 64))
        first = block * BLOCK
        low, high = max(start, first), min(stop, first + BLOCK)
        if low == first and high == first + BLOCK:
            draw.fill(generator, values[low - start : high - start])
        else:
            values[low - start : high - start] = draw.sample(generator, BLOCK)[low - first : high - first]
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
    keep
        Names of results, and of parameters that are drawn, that the store holds; None for all of them.
    fingerprint
        Digest of the files that are read, or None.
    """

    kind: str
    parameters: Mapping[str, Constant | Axis | Draw]
    settings: Mapping[str, Any]
    samples: int | None = None
    seed: int = 0
    chunk: int | None = None
    keep: tuple[str, ...] | None = None
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
        return KINDS[self.kind].outputs(self.settings, values_taken(self.parameters))

    @property
    def stored(self) -> dict[str, Output | None]:
        """What the store holds of every run by name: what is drawn (without an `Output`), then what results."""
        every: dict[str, Output | None] = dict.fromkeys(self.draws)
        every |= self.outputs
        return {name: output for name, output in every.items() if self.keep is None or name in self.keep}

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
        return sum(_width(output) for output in self.stored.values())

    @property
    def memory_a_run(self) -> int:
        """Bytes that one run takes in memory, kept or not."""
        return 8 * len(self.draws) + sum(_width(output) for output in self.outputs.values())

    def columns(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """Parameters of the runs start, …, stop − 1, an array (stop − start,) each.

        >>> from analysis.sweeps.spec import design
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
        """Run everything from one run number up to another, and return what `run` does."""
        return self.run(self.columns(*bounds))

    def run(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run with given parameters, and return what is stored, and the status, runs first."""
        own = {name: columns[name].astype(self.column_dtype(name), copy=False) for name in self.draws}
        found = own | dict(KINDS[self.kind].run(self.settings, columns, self.outputs))
        wanted = self.stored
        return {name: values for name, values in found.items() if name in wanted or name == "status"}

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
            "keep": None if self.keep is None else list(self.keep),
        }


def _width(output: Output | None) -> int:
    """Bytes of one run; a parameter is a number of eight."""
    if output is None:
        return 8
    return np.dtype(output.dtype).itemsize * math.prod(length for _, length in output.dims)


def values_taken(parameters: Mapping[str, Constant | Axis | Draw]) -> dict[str, np.ndarray]:
    """Values that parameters take: all of an axis, both ends of what is drawn."""
    taken = {}
    for name, item in parameters.items():
        if isinstance(item, Axis):
            taken[name] = item.values
        else:
            taken[name] = np.array([item.value] if isinstance(item, Constant) else item.ends)
    return taken
