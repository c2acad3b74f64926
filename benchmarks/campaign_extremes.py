"""Random calls of the command line with numbers over two hundred decades, judged by closed forms in many digits.

python benchmarks/campaign_extremes.py [--n N] [--seed SEED] [--first K] [COMMAND ...] prints how the calls ended, the slowest one, and
every violation with the command that shows it.

Every call has to be right, or to end with exit code 2 or 3 and a sentence; no warning and no internal error may
appear. What it prints is compared with `Truth`, which shares no code with the program: R5, R6, R11 to R15, R21,
R22, R24 and R26 in mpmath, whose exponents have no limit, with as many digits as the numbers have decades.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import random
import shlex
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mpmath

COMMANDS = ("simulate", "basins", "fixed-points", "bifurcation")
VARIANTS = (
    "full",
    "fixed-target",
    "tied",
    "no-predictor",
    "no-ema",
    "no-stop-gradient",
    "symmetric-predictor",
    "fast-predictor",
    "directpred",
    "directset",
)
OBJECTIVES = ("byol", "byol", "byol", "byol-prime", "raft")
PARAMETERS = (
    "lambda-s",
    "lambda-d",
    "tau-online",
    "tau-predictor",
    "tau-target",
    "weight-decay",
    "invariant",
    "alpha",
    "beta",
)
WIDTHS = (5, 20, 50, 100, 100, 100)
"""Decades on either side of 1, from which each call takes one number."""
EDGES = (5e-324, 1e-320, 2.3e-308, 1e-300, 1e300, 8e307, 1.7e308)
"""Numbers near the ends of floats, which one call in ten has among its own."""

ACCURACY = 1e-6
"""Of ends, relative to the largest weight in balanced units: a hundred times the default tolerance of `simulate`."""
RESIDUAL = 1e-9
"""Of equations at fixed and special points, relative to their largest term."""
LONGEST = 20.0
"""Seconds that a call may take; reported, and never part of a test."""

mp: Any = mpmath.mp.clone()
mp.dps = 1500


# --- calls --------------------------------------------------------------------------------------------------


@dataclass
class Call:
    """One call of the command line.

    Parameters
    ----------
    command
        Its name.
    options
        What was given, by option without dashes.
    """

    command: str
    options: dict[str, Any]

    @property
    def arguments(self) -> list[str]:
        """As typed."""
        words = [self.command]
        for name, value in self.options.items():
            for each in value if isinstance(value, list) else [value]:
                words.append(f"--{name}={each!r}" if isinstance(each, float) else f"--{name}={each}")
        return [*words, "--json", "--quiet"]

    def __str__(self) -> str:
        """As typed in a shell."""
        return "dyn " + shlex.join(self.arguments)

    def number(self, name: str, default: float = 0.0) -> Any:
        """An option as a number of many digits."""
        return mp.mpf(self.options.get(name, default))


def draw(rng: random.Random, command: str) -> Call:
    """Draw a call: log-uniform numbers over the same decades, each with or without its sign as its option allows."""
    width, edge = rng.choice(WIDTHS), rng.random() < 0.1

    def size(most: float = math.inf) -> float:
        if edge and rng.random() < 0.3:
            return rng.choice(EDGES)
        return 10 ** rng.uniform(-width, min(width, most))

    def signed() -> float:
        return rng.choice((-1.0, 1.0)) * size()

    lambda_s = size()
    lambda_d = lambda_s * 10 ** -rng.uniform(0, width / rng.choice((1, 10, 100)))
    if rng.random() < 0.1:
        lambda_d = size()
    options: dict[str, Any] = {"lambda-s": lambda_s, "lambda-d": lambda_d}
    for name in ("tau-online", "tau-predictor", "tau-target"):
        if rng.random() < 0.6:
            options[name] = size()
    decays = rng.random() < 0.4
    if decays:
        options["weight-decay"] = size()
        if rng.random() < 0.5:  # near the saddle-node, where there is something to decide
            level = mp.mpf(lambda_d) ** 2 / (4 * mp.mpf(options.get("tau-online", 1.0)) * lambda_s)
            with contextlib.suppress(OverflowError):
                options["weight-decay"] = float(level * mp.mpf(10) ** rng.uniform(-6, 1)) or size()
    objective = rng.choice(OBJECTIVES)
    if objective != "byol":
        options["objective"] = objective
        for name in ("alpha", "beta"):
            if rng.random() < 0.7:
                options[name] = size()
    if command == "bifurcation":
        return Call(command, _moving(rng, options, decays, size))
    variant = rng.choice(VARIANTS)
    if variant != "full":
        options["variant"] = variant
        if variant == "tied" and rng.random() < 0.9:
            options["tau-predictor"] = options.get("tau-online", 1.0)
    if command == "simulate":
        for name in ("online", "predictor", "target"):
            options[name] = signed()
        if variant == "tied":
            options["predictor"] = options["online"]
        if rng.random() < 0.3:
            options["t-end"] = size()
    elif command == "basins":
        options["grid"] = 3
        if rng.random() < 0.7:
            reach = size()
            options["range"] = [f"online:{-reach!r}:{reach!r}"]
            if variant not in SLAVED:
                low, high = sorted((signed(), signed()))
                options["range"].append(f"predictor:{low!r}:{high!r}")
            options["at"] = signed()
        if variant in SLAVED:
            options["plane"] = "online,target"
            if rng.random() < 0.7 and "range" in options:
                options["range"].append(f"target:{-size()!r}:{size()!r}")
        if variant == "tied":
            options["variant"] = "full"
            options.pop("plane", None)
    else:
        if variant == "fixed-target":
            options["target"] = signed()
        if not decays and variant in LEAVES and rng.random() < 0.6:
            options["invariant"] = signed()
    return Call(command, options)


SLAVED = ("no-predictor", "fast-predictor", "directpred", "directset")
"""Variants that set the predictor."""
LEAVES = ("full", "symmetric-predictor", "no-ema", "fixed-target")
"""Variants whose fixed points lie on leaves."""


def _moving(
    rng: random.Random, options: dict[str, Any], decays: bool, size: Callable[[], float]
) -> dict[str, Any]:
    """Let one parameter of the full flow move, over a range that it may have."""
    objective = options.get("objective", "byol")
    known = [name for name in PARAMETERS if name not in ("alpha", "beta") or objective != "byol"]
    parameter = rng.choice(known)
    options.pop(parameter, None)
    low, high = sorted((size(), size()))
    if parameter in ("weight-decay", "alpha") and rng.random() < 0.5:
        low = 0.0
    if parameter in ("lambda-s", "lambda-d", "invariant") and rng.random() < 0.5:
        low = -size()
    if parameter == "invariant":
        options.pop("weight-decay", None)
    elif not decays and parameter != "weight-decay":
        options["invariant"] = rng.choice((-1.0, 1.0)) * size()
    return {**options, "parameter": parameter, "from": low, "to": high}


@dataclass
class Outcome:
    """What a call did: exit code, standard output and error, seconds, and a warning or error that reached its user."""

    code: int
    out: str
    err: str
    seconds: float


def run(call: Call) -> Outcome:
    """Run a call in this process, with warnings as errors."""
    from cli import app

    out, err = io.StringIO(), io.StringIO()
    began = time.perf_counter()
    with warnings.catch_warnings(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        warnings.simplefilter("error")
        try:
            app(call.arguments)
        except SystemExit as leaving:
            code = int(leaving.code or 0)
    return Outcome(code, out.getvalue(), err.getvalue(), time.perf_counter() - began)
