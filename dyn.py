"""The theory of linear BYOL in a few words, for notebooks and scripts.

    import dyn
    run = dyn.simulate(lambda_s=1, lambda_d=.5)
    print(run); run.plot()

Every question takes a system, `dyn.system(...)`, or the words that make one. Variants and objectives are rows of
`dyn.variants` and `dyn.objectives`. Answers are `dyn.Result`: they print in a few lines, draw themselves, and hold the
object of the analysis. Nothing is loaded before it is asked for.
"""

from __future__ import annotations

# type checkers take it for true, whoever defines it; `typing` would be the slowest import here
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from analysis.experiments import EXPERIMENTS as experiments
    from analysis.results import RESULTS as results
    from face.checks import check, confirm, figure, train
    from face.diagnosis import diagnose
    from face.result import Result
    from face.runs import align, basins, simulate
    from face.systems import System, moments, objectives, system, variants
    from face.theory import bifurcation, contrast, fixed_points, stability, sylvester
    from face.trees import tree
    from figures.gallery.registry import PAGES as figures
    from figures.style import look

__all__ = [
    "Result",
    "System",
    "align",
    "basins",
    "bifurcation",
    "check",
    "confirm",
    "contrast",
    "diagnose",
    "experiments",
    "figure",
    "figures",
    "fixed_points",
    "look",
    "moments",
    "objectives",
    "results",
    "simulate",
    "stability",
    "sylvester",
    "system",
    "train",
    "tree",
    "variants",
]

_RENAMED = {
    "experiments": ("analysis.experiments", "EXPERIMENTS"),
    "figures": ("figures.gallery.registry", "PAGES"),
    "look": ("figures.style", "look"),
    "results": ("analysis.results", "RESULTS"),
}
_HOMES = {
    "face.checks": ("check", "confirm", "figure", "train"),
    "face.diagnosis": ("diagnose",),
    "face.result": ("Result",),
    "face.runs": ("align", "basins", "simulate"),
    "face.systems": ("System", "moments", "objectives", "system", "variants"),
    "face.theory": ("bifurcation", "contrast", "fixed_points", "stability", "sylvester"),
    "face.trees": ("tree",),
}
_LAZY = _RENAMED | {name: (module, name) for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a name when it is asked for, and keep it."""
    from importlib import import_module

    if name not in _LAZY:
        raise AttributeError(f"module 'dyn' has no attribute {name!r}; it has {', '.join(__all__)}")
    module, attribute = _LAZY[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Public names alone."""
    return __all__
