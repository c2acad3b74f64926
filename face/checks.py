"""Questions that trials answer: check, confirm, train; and the figures of the gallery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from face.result import Result
from face.systems import objectives

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dynamics.training import TrainingSettings


def train(
    settings: TrainingSettings | None = None, *, seeds: int | Sequence[int] = 0, **parts: Any
) -> Result:
    """Train networks by gradient steps, and compare with what theory predicts.

    Parameters
    ----------
    settings
        A `dynamics.training.TrainingSettings`; or, in its place,
    **parts
        Its fields: data, encoder, predictor, target and optimizer as dictionaries, objective as a row of
        `dyn.objectives` or a dictionary with its row as "kind", steps, batch, dtype, metrics_every.
    seeds
        One seed, or one per run.

    Returns
    -------
    Result
        Of a `dynamics.training.TrainingRun`: `metrics`, `steps`, `final` and so on. A run that diverged says so in
        `status`.

    Raises
    ------
    ValueError
        A value out of range, or parts that do not fit one another.

    Examples
    --------
    >>> import dyn
    >>> source = {"source": "exact", "sigma_s": [1.0], "sigma_d": [0.5]}
    >>> dyn.train(data=source, batch=None, encoder={"features": 1}, objective=dyn.objectives.byol, steps=5).status
    'done'
    """
    from dynamics.training import TrainingSettings
    from dynamics.training import train as run

    if settings is None:
        if (aim := parts.get("objective")) is not None:
            given = dict(aim) if isinstance(aim, dict) else {"kind": aim}
            if "kind" in given:
                given["kind"] = objectives.checked("objective", given["kind"], "byol").name
            parts["objective"] = given
        settings = TrainingSettings(**parts)
    elif parts:
        raise ValueError(f"`settings` must be given without its fields, got {', '.join(parts)} too")
    many = [seeds] if isinstance(seeds, int) else list(seeds)
    return Result(run(settings.repeated(len(many)), many * settings.n_settings))


def check(*names: str, seeds: int = 5, seed: int = 0, symbolic: bool = False) -> Result:
    """Do results of the theory hold: each measured on random systems.

    Parameters
    ----------
    *names
        Results such as "R6", or parts such as "linear"; left out, all.
    seeds, seed
        Random systems per result, and the seed of their draws.
    symbolic
        Run the symbolic proofs as well.

    Returns
    -------
    Result
        Of a tuple of `analysis.results.registry.Check`, each with its `verdict`.

    Raises
    ------
    ValueError
        There is no such result.

    Examples
    --------
    >>> import dyn
    >>> [str(item.verdict) for item in dyn.check("R3", seeds=2).found]
    ['holds']
    """
    from analysis.results import check as measure
    from analysis.results import select

    chosen = select(names)
    if seeds < 1:
        raise ValueError(f"`seeds` must be an integer >= 1, got {seeds}")
    return Result(tuple(measure(item, n_trials=seeds, seed=seed, symbolic=symbolic) for item in chosen))


def confirm(name: str, *, quick: bool = False, seed: int = 0, data: str | None = None) -> Result:
    """Does training agree with theory: one experiment, each prediction beside what gradient steps do.

    Parameters
    ----------
    name
        One of `dyn.experiments`.
    quick, seed
        A small version, in seconds; the seed of everything random.
    data
        Source of data in place of digits, as ``dyn confirm --data`` takes it, for the experiments that can use one.

    Returns
    -------
    Result
        Of an `analysis.experiments.Confirmation`: `outcome` with its `verdict` and measurements.

    Raises
    ------
    ValueError
        There is no such experiment, or it takes no such data.

    Examples
    --------
    >>> import dyn
    >>> dyn.confirm("C99")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: an experiment must be one of C1, C2, ..., got C99
    """
    from analysis.experiments import EXPERIMENTS, Effort
    from analysis.experiments import confirm as make

    if name not in EXPERIMENTS:
        raise ValueError(f"an experiment must be one of {', '.join(EXPERIMENTS)}, got {name}")
    return Result(make(EXPERIMENTS[name], Effort(quick=quick, seed=seed, data=data)))


def figure(name: str, **parameters: Any) -> Result:
    """A named figure of the gallery, with other parameters where they are given.

    Parameters
    ----------
    name
        One of `dyn.figures`.
    **parameters
        Those of the figure, as `dyn figure NAME --help` lists them, with _ for -.

    Returns
    -------
    Result
        `plot()` draws it, in the size and theme of `dyn.look`; it prints as its caption.

    Raises
    ------
    ValueError
        There is no such figure or parameter, or a value is out of range.

    Examples
    --------
    >>> import dyn
    >>> dyn.figure("figure-6")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: a figure must be one of figure-5, fixed-target, ..., got 'figure-6'
    """
    from textwrap import fill

    from figures.gallery.registry import page

    found = page(name)
    if unknown := [each for each in parameters if each not in found.parameters()]:
        known = ", ".join(found.parameters())
        raise ValueError(f"a parameter of figure {name} must be one of {known}, got {', '.join(unknown)}")
    computed = found.compute(**parameters)
    return Result(computed, page=found, caption=fill(found.caption(computed), 110))
