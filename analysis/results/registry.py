"""What a result of the registry is, how it is checked, and the registry itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np


class Verdict(StrEnum):
    """Outcome of a numerical check."""

    HOLDS = "holds"
    VIOLATED = "violated"
    NOT_APPLICABLE = "not-applicable"


class AsPrinted(StrEnum):
    """Whether the source's own wording survives."""

    YES = "yes"
    CORRECTED = "corrected"
    REFINED = "refined"
    NEW = "new"


class Measurement(NamedTuple):
    """What one random trial of a result measured.

    Parameters
    ----------
    residual
        How far the two sides of the statement are apart, >= 0; NaN counts as violated.
    tolerance
        What rounding, or the stated accuracy of an integration, can explain: derived in the test, not fitted.
    """

    residual: float
    tolerance: float


@dataclass(frozen=True)
class Result:
    """A statement of the theory with a test that can fail.

    Parameters
    ----------
    id
        "R" and a number.
    title
        A few words.
    statement
        The result as it holds, with its equation.
    source
        Paper and equation.
    hypotheses
        What it is conditional on.
    as_printed
        Whether the source's wording survives.
    code
        Dotted address of the formula, or of the code that follows from it.
    correction
        What was wrong with the printed statement, with the number of the erratum; empty where nothing was.
    counterexample
        A command that shows where the printed statement fails; empty where none is as short.
    trial
        (rng, **subjects) -> Measurement. Draws a random system and measures. Keyword arguments with defaults are
        the subjects, the pieces of the library that the result speaks of, so that a wrong one can be put in.
    proof
        () -> bool, a symbolic proof by SymPy; None where there is none.
    """

    id: str
    title: str
    statement: str
    source: str
    hypotheses: str
    as_printed: AsPrinted
    code: str
    trial: Callable[..., Measurement]
    correction: str = ""
    counterexample: str = ""
    proof: Callable[[], bool] | None = None


class Check(NamedTuple):
    """Verdict on one result; residual and tolerance are those of the worst trial, by their quotient."""

    result: Result
    verdict: Verdict
    residual: float
    tolerance: float
    seconds: float
    proved: bool | None
    n_trials: int

    def report(self) -> dict[str, Any]:
        """Return the check as a dictionary of plain values, as `dyn check --json` prints it."""
        return {
            "id": self.result.id,
            "title": self.result.title,
            "statement": self.result.statement,
            "hypotheses": self.result.hypotheses,
            "source": self.result.source,
            "code": self.result.code,
            "counterexample": self.result.counterexample,
            "as_printed": str(self.result.as_printed),
            "correction": self.result.correction,
            "verdict": str(self.verdict),
            "residual": self.residual if np.isfinite(self.residual) else None,
            "tolerance": self.tolerance if np.isfinite(self.tolerance) else None,
            "proved": self.proved,
            "n_trials": self.n_trials,
            "seconds": self.seconds,
        }


def check(
    result: Result, *, n_trials: int = 5, seed: int = 0, symbolic: bool = False, **subjects: Any
) -> Check:
    """Test a result on random systems.

    Parameters
    ----------
    result
        One of `analysis.results.RESULTS`.
    n_trials
        Number of random systems, >= 1.
    seed
        Seed; trial k draws from the generator seeded by (seed, number of the result, k).
    symbolic
        Run the symbolic proof as well, where there is one; a proof that fails violates the result.
    **subjects
        Replacements for the subjects of the trial: how a mutant is put in.

    Returns
    -------
    Check
        holds when every trial's residual is within its tolerance.

    Raises
    ------
    ValueError
        `n_trials` < 1, or a subject refused a trial: the message names the result.
    """
    if n_trials < 1:
        raise ValueError(f"`n_trials` must be an integer >= 1, got {n_trials}")
    began = time.perf_counter()
    worst = Measurement(0.0, np.inf)
    holds = True
    for k in range(n_trials):
        rng = np.random.default_rng([seed, int(result.id[1:]), k])
        try:
            measured = result.trial(rng, **subjects)
        except ValueError as error:  # a subject that refuses what the statement says it takes
            raise ValueError(f"trial {k} of {result.id} was refused: {error}") from error
        within = measured.residual <= measured.tolerance  # False for NaN
        if (holds and not within) or (holds == within and _excess(measured) >= _excess(worst)):
            worst = measured
        holds &= within
    proved = result.proof() if symbolic and result.proof is not None else None
    verdict = Verdict.HOLDS if holds and proved is not False else Verdict.VIOLATED
    return Check(result, verdict, *worst, time.perf_counter() - began, proved, n_trials)


def _excess(measured: Measurement) -> float:
    quotient = measured.residual / measured.tolerance if measured.tolerance else np.inf
    return np.inf if np.isnan(quotient) else quotient


def collect(modules: Iterable[Any]) -> dict[str, Result]:
    """Index the `RESULTS` of some modules by id, in numerical order, refusing duplicates."""
    results = [result for module in modules for result in module.RESULTS]
    registry = {result.id: result for result in sorted(results, key=lambda result: int(result.id[1:]))}
    if len(registry) != len(results):
        raise ValueError("two results of the registry have one id")
    return registry
