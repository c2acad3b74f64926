"""The registry of `dyn check`: what is true of the systems of the sources, each result with a test that can fail."""

from collections.abc import Iterable

from analysis.results import contrastive, linear, objectives, steps, trees
from analysis.results.registry import Check, Measurement, Result, Verdict, check

__all__ = ["PARTS", "RESULTS", "Check", "Measurement", "Result", "Verdict", "check", "select"]

_PARTS = {
    "linear": linear.RESULTS,
    "contrastive": contrastive.RESULTS,
    "trees": trees.RESULTS,
    "steps": steps.RESULTS,
    "objectives": objectives.RESULTS,
}

RESULTS: dict[str, Result] = {key: result for part in _PARTS.values() for key, result in part.items()}
"""All results by id, in order."""

PARTS: dict[str, tuple[str, ...]] = {name: tuple(part) for name, part in _PARTS.items() if part}
"""Ids of the results of each part of the theory."""


def select(names: Iterable[str] = ()) -> list[Result]:
    """Results by their ids, or by parts of the theory; all of them where none is named.

    Raises
    ------
    ValueError
        A name is neither.

    Examples
    --------
    >>> [result.id for result in select(["R6", "R2", "R6"])]
    ['R6', 'R2']
    >>> len(select(["linear"])) == len(PARTS["linear"])
    True
    """
    asked = list(names) or list(PARTS)
    if unknown := [name for name in asked if name not in RESULTS and name not in PARTS]:
        first, *_, last = RESULTS
        raise ValueError(
            f"a result must be one of {first} to {last}, or a part: {', '.join(PARTS)}; got {', '.join(unknown)}"
        )
    return [RESULTS[key] for key in dict.fromkeys(key for name in asked for key in PARTS.get(name, (name,)))]
