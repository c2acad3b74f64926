"""The figures by name: what each computes, how it is drawn, and what its caption says."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGES = {
    "figure-5": "figures.gallery.portraits:FIGURE_5",
    "fixed-target": "figures.gallery.portraits:FIXED_TARGET",
    "tied": "figures.gallery.portraits:TIED",
    "no-predictor": "figures.gallery.portraits:NO_PREDICTOR",
    "portrait": "figures.gallery.own_portrait:PORTRAIT",
    "leaf": "figures.gallery.leaf:LEAF",
    "basins": "figures.gallery.basins:BASINS",
    "bifurcation": "figures.gallery.bifurcation:BIFURCATION",
    "trajectories": "figures.gallery.trajectories:TRAJECTORIES",
    "three-d": "figures.gallery.three_d:THREE_D",
    "spectrum": "figures.gallery.spectrum:SPECTRUM",
    "modes": "figures.gallery.stepwise:MODES",
    "augmentations": "figures.gallery.augmentations:AUGMENTATIONS",
    "stability-map": "figures.gallery.stability_map:STABILITY_MAP",
    "stability-plane": "figures.gallery.stability_plane:STABILITY_PLANE",
    "sylvester": "figures.gallery.sylvester:SYLVESTER",
    "errata": "figures.gallery.errata:ERRATA",
    "figure-3": "figures.gallery.rings:FIGURE_3",
    "ring-plane": "figures.gallery.rings:RING_PLANE",
    "figure-7": "figures.gallery.two_layers:FIGURE_7",
    "figure-8": "figures.gallery.two_layers:FIGURE_8",
    "cluster-directions": "figures.gallery.clusters:CLUSTER_DIRECTIONS",
    "restarts": "figures.gallery.restarts:RESTARTS",
    "covariance-operator": "figures.gallery.covariance_operator:COVARIANCE_OPERATOR",
    "infonce-spectrum": "figures.gallery.infonce:INFONCE_SPECTRUM",
    "infonce-race": "figures.gallery.infonce:INFONCE_RACE",
    "step-boundary": "figures.gallery.step_boundary:STEP_BOUNDARY",
    "critical-steps": "figures.gallery.critical_steps:CRITICAL_STEPS",
    "period-doubling": "figures.gallery.period_doubling:PERIOD_DOUBLING",
    "slow-balancing": "figures.gallery.slow_balancing:SLOW_BALANCING",
    "mode-competition": "figures.gallery.mode_competition:MODE_COMPETITION",
    "tree-ceilings": "figures.gallery.trees:TREE_CEILINGS",
    "layer-traces": "figures.gallery.trees:LAYER_TRACES",
    "table-2": "figures.gallery.tree_networks:TABLE_2",
    "figure-9": "figures.gallery.tree_networks:FIGURE_9",
    "batch-norm-spectrum": "figures.gallery.normalisation:BATCH_NORM_SPECTRUM",
    "table-4": "figures.gallery.normalisation:TABLE_4",
    "depth-fates": "figures.gallery.depth:DEPTH_FATES",
    "depth-basins": "figures.gallery.depth_basins:DEPTH_BASINS",
    "depth-thresholds": "figures.gallery.depth:DEPTH_THRESHOLDS",
    "vicreg-spectrum": "figures.gallery.redundancy:VICREG_SPECTRUM",
    "barlow-plateaus": "figures.gallery.redundancy:BARLOW_PLATEAUS",
    "compare-objectives": "figures.gallery.objectives:COMPARE_OBJECTIVES",
    "raft-figure-5": "figures.gallery.raft:RAFT_FIGURE_5",
}
"""Where each figure is defined, "module:NAME" of its `Page`; modules are imported when a page is asked for."""


@dataclass(frozen=True)
class Page:
    """One figure of the gallery.

    Parameters
    ----------
    name, title
        As on the command line, and what it shows, in one line.
    compute
        Keyword parameters -> result, a dataclass or NamedTuple of arrays and numbers. Its annotations and
        defaults are the parameters of the figure; it raises ValueError on what it does not accept.
    draw
        Result -> Figure, in the style, size and theme of `figures.style`.
    caption
        Result -> one paragraph: every parameter, and what is seen.
    size
        Size that suits it, a name in `figures.style.SIZES`, worn unless another is asked for.
    """

    name: str
    title: str
    compute: Callable[..., Any]
    draw: Callable[[Any], Figure]
    caption: Callable[[Any], str]
    size: str = "double"

    def parameters(self) -> dict[str, Any]:
        """Names and defaults of the parameters of `compute`."""
        return {name: item.default for name, item in inspect.signature(self.compute).parameters.items()}


def page(name: str) -> Page:
    """Return a figure by name.

    Raises
    ------
    ValueError
        There is no such figure: which there are.

    Examples
    --------
    >>> page("figure-6")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: a figure must be one of figure-5, fixed-target, ..., got 'figure-6'
    """
    if name not in PAGES:
        raise ValueError(f"a figure must be one of {', '.join(PAGES)}, got {name!r}")
    module, attribute = PAGES[name].split(":")
    return getattr(import_module(module), attribute)


def flat_arrays(result: Any, prefix: str = "") -> dict[str, np.ndarray]:
    """Arrays of a result by name; fields within fields, and items of sequences, are joined by dots.

    Functions, fields whose names begin with an underscore, empty sequences and None have none.

    Examples
    --------
    >>> from dynamics.states import ModeState
    >>> flat_arrays({"start": ModeState(0.1, 0.2, 0.3)})
    {'start.online': array(0.1), 'start.predictor': array(0.2), 'start.target': array(0.3)}
    """
    parts: dict[str, Any]
    if is_dataclass(result):
        parts = {item.name: getattr(result, item.name) for item in fields(result)}
    elif isinstance(result, tuple) and hasattr(result, "_asdict"):
        parts = result._asdict()
    elif isinstance(result, dict):
        parts = result
    elif isinstance(result, list | tuple) and not all(np.isscalar(item) for item in result):
        parts = {str(i): item for i, item in enumerate(result)}
    elif result is None or callable(result) or (isinstance(result, list | tuple) and not result):
        return {}
    else:
        return {prefix: np.asarray(result)}
    arrays: dict[str, np.ndarray] = {}
    for name, part in parts.items():
        if not name.startswith("_"):
            arrays |= flat_arrays(part, f"{prefix}.{name}" if prefix else name)
    return arrays
