"""What became of the runs of a sweep over its axes, beside the boundary that theory gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.fates.margins import leaf_margin
from analysis.sweeps.design import Axis, Constant, Design, Draw
from dynamics.exact.fixed_points import saddle_node
from dynamics.integration.ensemble import FATES
from dynamics.integration.trajectory import Status
from dynamics.system import ModeSystem

if TYPE_CHECKING:
    import xarray

MOST_AXES, MOST_PANELS = 3, 12
_SAME_PLACES = ("full", "symmetric-predictor", "no-ema")
"""Variants whose fate R6 and R14 read off c alike, and whose points of rest fold at η* alike."""


@dataclass(frozen=True, eq=False)
class SweptFates:
    """Shares of fates in the cells of a grid.

    Parameters
    ----------
    axes
        Values along each axis by name, in the order of the spec.
    meanings
        Long name of each axis.
    logarithmic
        Whether each axis is spaced evenly in the logarithm.
    samples
        Runs in a cell.
    counted
        What shares are of: "runs", or the "directions" of W.
    shares
        Share of each fate in a cell, by name, of the axes' shape.
    rule
        "R6", "R15" or None.
    margin
        Positive where the rule lets a mode be learned, of the axes' shape; None without a rule. R6 says that it is
        learned there; R15 that there are learned points at all, below η*.
    """

    axes: dict[str, np.ndarray]
    meanings: dict[str, str]
    logarithmic: dict[str, bool]
    samples: int
    counted: str
    shares: dict[str, np.ndarray]
    rule: str | None
    margin: np.ndarray | None


def check_drawable(design: Design) -> None:
    """Refuse a sweep that has no picture, before anything of it is run.

    Raises
    ------
    ValueError
        The store does not keep what became of runs, it has no axis or more than three, or an axis of panels is too
        long.
    """
    for name in _NEEDED[design.kind]:
        if name not in design.stored and name not in design.axes and name not in _constants(design):
            raise ValueError(
                f"`plot` must go with a spec whose keep holds {name}, got keep = {list(design.keep or ())}"
            )
    lengths = {name: len(values) for name, values in design.axes.items()}
    if not 1 <= len(lengths) <= MOST_AXES:
        raise ValueError(
            f"`plot` must go with 1 to {MOST_AXES} axes, got {len(lengths)}: {', '.join(lengths) or 'samples alone'}"
        )
    first = next(iter(lengths))
    if len(lengths) == MOST_AXES and lengths[first] > MOST_PANELS:
        raise ValueError(
            f"`plot` must go with a first axis of at most {MOST_PANELS} values where there are three, as it has a panel"
            f" for each, got {lengths[first]} of {first}"
        )


def swept_fates(design: Design, store: str | Path) -> SweptFates:
    """Read the fates of a finished sweep.

    Parameters
    ----------
    design
        The sweep, of 1 to 3 axes.
    store
        Its store.

    Raises
    ------
    ValueError
        As for `check_drawable`.

    Notes
    -----
    Of a mode the fate counts. Of a matrix the directions of W do: as many as its rank are learned, all others have
    collapsed; those of a run that diverged or spent its steps are undecided.

    For modes, the boundary is R6's where nothing decays and the start is not drawn, and the fold of R15 where something
    decays; none is given where what it depends on is drawn. Sources: R6, R14, R15.

    Examples
    --------
    >>> import tempfile
    >>> from analysis.sweeps import design, sweep
    >>> spec = {"parameters": {"lambda_s": 1, "ratio": 0.5, "predictor": {"values": [0.2, 0.8]}}}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     done = sweep(design(spec), f"{folder}/s.zarr")
    ...     found = swept_fates(design(spec), f"{folder}/s.zarr")
    >>> found.shares["learned"].tolist(), found.rule
    ([1.0, 0.0], 'R6')
    """
    import xarray

    check_drawable(design)
    with xarray.open_zarr(store) as data:
        each = _SHARES[design.kind](data)
        over = [name for name in next(iter(each.values())).dims if name not in design.axes]
        shares = {
            name: np.asarray(share.mean(over).transpose(*design.axes).values, np.float64)
            for name, share in each.items()
        }
    rule, margin = _theory(design) if design.kind == "modes" else (None, None)
    parameters = {name: design.parameters[name] for name in design.axes}
    return SweptFates(
        dict(design.axes),
        {name: design.meanings[name].meaning for name in design.axes},
        {name: isinstance(item, Axis) and item.way == "geomspace" for name, item in parameters.items()},
        design.size // next(iter(shares.values())).size,
        _COUNTED[design.kind],
        shares,
        rule,
        margin,
    )


def _constants(design: Design) -> list[str]:
    return [name for name, item in design.parameters.items() if isinstance(item, Constant)]


def _of_modes(data: xarray.Dataset) -> dict[str, xarray.DataArray]:
    """Whether each run had each fate."""
    return {name: data.fate == code for code, name in enumerate(FATES)}


def _of_matrices(data: xarray.Dataset) -> dict[str, xarray.DataArray]:
    """Share of the directions of each run with each fate."""
    words = data.status.attrs["flag_meanings"].split()
    broken = data.status.isin([code for code, word in enumerate(words) if Status(word).failed])
    learned = (data["rank"] / data["dim"]).where(~broken, 0.0)
    return {"learned": learned, "collapsed": (1 - learned).where(~broken, 0.0), "undecided": broken}


_SHARES: dict[str, Callable[[xarray.Dataset], dict[str, xarray.DataArray]]] = {
    "modes": _of_modes,
    "matrices": _of_matrices,
}
_COUNTED = {"modes": "runs", "matrices": "directions"}
_NEEDED = {"modes": ("fate",), "matrices": ("rank", "status", "dim")}


def _theory(design: Design) -> tuple[str | None, np.ndarray | None]:
    """Rule that holds for the sweep, and its margin in every cell."""
    if design.settings["variant"] not in _SAME_PLACES:
        return None, None
    grid = dict(zip(design.axes, np.meshgrid(*design.axes.values(), indexing="ij"), strict=True))
    shape = next(iter(grid.values())).shape
    drawn = {name for name, item in design.parameters.items() if isinstance(item, Draw)}
    values: dict[str, Any] = {
        name: grid[name] if name in grid else np.full(shape, getattr(item, "value", np.nan))
        for name, item in design.parameters.items()
    }
    moments = {"lambda_s", "lambda_d", "ratio", "tau_online"}
    ls = values["lambda_s"]
    ld = values["lambda_d"] if "lambda_d" in values else values["ratio"] * ls
    if drawn & (moments | {"weight_decay"}) or np.any(ls <= 0) or np.any(ld < 0):
        return None, None
    eta = values["weight_decay"]
    if np.any(eta > 0):
        system = ModeSystem(ls.ravel(), ld.ravel(), tau_online=values["tau_online"].ravel())
        return "R15", saddle_node(system).reshape(shape) - eta
    if drawn & {"online", "predictor", "tau_predictor"}:
        return None, None
    taus = (values["tau_online"], values["tau_predictor"])
    return "R6", leaf_margin(values["online"], values["predictor"], ld / ls, *taus)
