"""The theory of linear BYOL in a few words, for notebooks and scripts.

    import dyn
    run = dyn.simulate(lambda_s=1, lambda_d=.5)
    print(run); run.plot()

Every question takes a system, `dyn.system(...)`, or the words that make one. Variants and objectives are rows of
`dyn.variants` and `dyn.objectives`. Answers are `dyn.Result`: they print in a few lines, draw themselves, and hold the
object of the analysis. Nothing is loaded before it is asked for.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any, TypedDict, Unpack

    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from analysis.experiments import EXPERIMENTS as experiments
    from analysis.results import RESULTS as results
    from dynamics.data.moments import Moments
    from dynamics.integration.trajectory import Trajectory
    from dynamics.objectives import Objective
    from dynamics.states import MatrixState
    from dynamics.system import MatrixSystem, ModeSystem
    from dynamics.training import TrainingSettings
    from dynamics.variants import Variant
    from figures.gallery.registry import PAGES as figures
    from figures.style import look

    Numbers = float | Sequence[float]

    class Words(TypedDict, total=False):
        """The words of `dyn.system`."""

        lambda_s: Numbers
        lambda_d: Numbers
        moments: Moments | None
        variant: Variant | None
        objective: Objective | None
        alpha: float | None
        beta: float | None
        tau_online: float
        tau_predictor: float
        tau_target: float
        weight_decay: float


__all__ = [
    "Result",
    "System",
    "align",
    "basins",
    "bifurcation",
    "check",
    "confirm",
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
    "variants",
]

_LAZY = {
    "experiments": "analysis.experiments:EXPERIMENTS",
    "figures": "figures.gallery.registry:PAGES",
    "look": "figures.style:look",
    "results": "analysis.results:RESULTS",
}


def __getattr__(name: str) -> Any:
    """Load what is only passed on when it is asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module 'dyn' has no attribute {name!r}; it has {', '.join(__all__)}")
    module, attribute = _LAZY[name].split(":")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    """Public names alone."""
    return __all__


class _Rows:
    """Rows of a table by name, as attributes and as items; the table is loaded when a row is asked for."""

    def __init__(self, name: str, module: str, table: str) -> None:
        self._name, self._module, self._table = name, module, table

    def _rows(self) -> Mapping[str, Any]:
        rows: Mapping[str, Any] = getattr(import_module(self._module), self._table)
        return rows

    def __getitem__(self, name: str) -> Any:
        rows = self._rows()
        if name not in rows:
            raise KeyError(f"dyn.{self._name} has {', '.join(rows)}, got {name!r}")
        return rows[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name.replace("_", "-")]
        except KeyError as error:
            raise AttributeError(error.args[0]) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows())

    def __len__(self) -> int:
        return len(self._rows())

    def __dir__(self) -> list[str]:
        return [name.replace("-", "_") for name in self]

    def __repr__(self) -> str:
        return f"dyn.{self._name}: {', '.join(self)}"

    def checked(self, name: str, row: Any, default: str) -> Any:
        """Return a row, the default for None."""
        rows = self._rows()
        if row is None:
            return rows[default]
        if not any(row is known for known in rows.values()):
            example = row if isinstance(row, str) and row in rows else default
            raise ValueError(
                f"`{name}` must be a row of dyn.{self._name}, such as dyn.{self._name}[{example!r}], got {row!r}"
            )
        return row


variants = _Rows("variants", "dynamics.variants", "VARIANTS")
"""Variants of the flow: dyn.variants.no_ema, or dyn.variants["no-ema"]."""

objectives = _Rows("objectives", "dynamics.objectives", "OBJECTIVES")
"""Objectives: dyn.objectives.byol_prime, or dyn.objectives["byol-prime"]."""


class Result:
    """An answer: the object of the analysis in `found`, whose attributes are the result's own.

    >>> found = fixed_points(lambda_s=1, lambda_d=0.5, weight_decay=0.01)
    >>> found.variant, type(found.found).__name__
    ('full', 'FixedPoints')
    """

    def __init__(self, found: Any, **facts: Any) -> None:
        self.found = found
        self._facts = facts

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "found":
            raise AttributeError(name)
        return getattr(self.found, name)

    def __dir__(self) -> list[str]:
        own = [name for name in object.__dir__(self) if not name.startswith("_")]
        return sorted({*own, *(name for name in dir(self.found) if not name.startswith("_"))})

    def __repr__(self) -> str:
        from analysis.summaries import listed, summary

        if isinstance(self.found, tuple) and not hasattr(self.found, "_fields"):
            return "\n".join(listed((summary(item).splitlines()[0] for item in self.found), "of them"))
        return self._facts["caption"] if "caption" in self._facts else summary(self.found)

    def report(self) -> dict[str, Any]:
        """Return the result as a dictionary of plain numbers and words, as the command's --json prints it.

        >>> fixed_points(lambda_s=1, lambda_d=0.5).report()["variant"]
        'full'
        """
        from analysis.runs.simulation import plain

        if type(self.found).__name__ == "TrainingRun":
            from analysis.runs.training_report import report_of

            return report_of(self.found)
        if isinstance(self.found, tuple) and not hasattr(self.found, "_fields"):
            return {"results": [plain(item.report()) for item in self.found]}
        if not hasattr(self.found, "report"):
            raise ValueError(f"a result must have a report, got {type(self.found).__name__}, which has none")
        report: dict[str, Any] = plain(self.found.report())
        return report

    def plot(self, ax: Axes | None = None) -> Figure | Axes:
        """Draw the page of the result, or its main panel on axes that are given.

        Parameters
        ----------
        ax
            Axes of any figure; left out, a page is made.

        Returns
        -------
        Figure or Axes
            The page, or the axes that were given.

        Raises
        ------
        ValueError
            The result has no picture; or, on axes, it is a figure of the gallery, which is a page of its own.

        Examples
        --------
        >>> len(fixed_points(lambda_s=1, lambda_d=0.5).plot().axes)
        1
        """
        from figures.results import drawers

        if "page" in self._facts:
            if ax is not None:
                raise ValueError("`ax` must be left out: a figure of the gallery is a page of its own")
            drawn: Figure = self._facts["page"].draw(self.found)
            return drawn
        return drawers.page_of(self.found) if ax is None else drawers.panel_of(ax, self.found)

    def to_xarray(self) -> xarray.Dataset:
        """Return the numbers as a Dataset with named axes, those of the command's --out.

        Raises
        ------
        ValueError
            The result holds no arrays.

        Examples
        --------
        >>> sorted(simulate(lambda_s=1, lambda_d=0.5).to_xarray().variables)
        ['online', 'predictor', 't', 'target']
        """
        from analysis.runs.arrays import arrays_of
        from dynamics.files import dataset

        return dataset(arrays_of(self.found, self._facts.get("support")), {})

    def _repr_png_(self) -> bytes | None:
        from figures.results.drawers import drawer_of, png_of

        if "page" not in self._facts and drawer_of(self.found) is None:
            return None  # it has no picture, and is printed
        page: Any = self.plot()
        return png_of(page)


class System:
    """Moments of the views, a variant, an objective and rates: what `dyn.system` makes."""

    def __init__(
        self,
        moments: Moments,
        variant: Variant,
        objective: Objective,
        settings: dict[str, Any],
        *,
        modes: bool,
    ) -> None:
        self.moments, self.variant, self.objective = moments, variant, objective
        self._settings, self._has_modes = settings, modes

    def __repr__(self) -> str:
        given = [f"{name}={value:g}" for name, value in self._settings.items() if value is not None]
        return (
            f"System({self.objective.name}, {self.variant.name} flow, {self.moments.n1} dimensions,"
            f" {', '.join(given)})"
        )

    @property
    def modes(self) -> ModeSystem:
        """The decoupled modes.

        >>> system(lambda_s=2, lambda_d=1).modes.ratio
        array([0.5])
        """
        from dynamics.data.systems import mode_system

        if not self._has_modes:
            raise ValueError("`lambda_s` and `lambda_d` must be given for modes, got moments of matrices")
        return mode_system(self.moments, self.objective, self.variant.name, **self._settings)

    @property
    def matrices(self) -> MatrixSystem:
        """The full network, on the support of Σs.

        >>> system(lambda_s=[1, 1], lambda_d=[0.5, 0.2]).matrices.n1
        2
        """
        from dynamics.data.systems import matrix_system

        return matrix_system(self.moments, self.objective, **self._settings)


def system(
    *,
    lambda_s: Numbers | None = None,
    lambda_d: Numbers | None = None,
    moments: Moments | None = None,
    variant: Variant | None = None,
    objective: Objective | None = None,
    alpha: float | None = None,
    beta: float | None = None,
    tau_online: float = 1.0,
    tau_predictor: float = 1.0,
    tau_target: float = 1.0,
    weight_decay: float = 0.0,
) -> System:
    """Make a system: dW/dt = Pᵀ E/τo − η W, dP/dt = E Wᵀ/τp − η P, dΘ/dt = (W − Θ)/τt, E = Θ Σd − P W Σs.

    Parameters
    ----------
    lambda_s, lambda_d
        Eigenvalues λs > 0 and 0 <= λd <= λs, one number or one per mode; or, in their place,
    moments
        Σs and Σd, from `dyn.moments`.
    variant, objective
        A row of `dyn.variants` (full) and of `dyn.objectives` (byol).
    alpha, beta
        Weights of the objectives that have them (1).
    tau_online, tau_predictor, tau_target
        τo, τp, τt > 0.
    weight_decay
        η >= 0.

    Raises
    ------
    ValueError
        A number out of range, a string for a row, or no one way of giving the moments.

    Examples
    --------
    >>> system(lambda_s=1, lambda_d=0.5, variant=variants.no_ema, weight_decay=0.01)
    System(byol, no-ema flow, 1 dimensions, tau_online=1, tau_predictor=1, tau_target=1, weight_decay=0.01)
    >>> system(lambda_s=1, lambda_d=0.5, variant="tied")
    Traceback (most recent call last):
    ValueError: `variant` must be a row of dyn.variants, such as dyn.variants['tied'], got 'tied'
    """
    row = variants.checked("variant", variant, "full")
    aim = objectives.checked("objective", objective, "byol")
    from dynamics.data.moments import Moments

    if (moments is None) == (lambda_s is None and lambda_d is None):
        raise ValueError(
            "a system must be given by `lambda_s` and `lambda_d`, or by `moments`, got"
            f" {'neither' if moments is None else 'both'}"
        )
    if moments is None:
        for name, value in (("lambda_s", lambda_s), ("lambda_d", lambda_d)):
            if value is None:
                raise ValueError(f"`lambda_s` and `lambda_d` must both be given, got no `{name}`")
        known = Moments.from_eigenvalues(lambda_s, lambda_d)
    elif isinstance(moments, Result) and isinstance(moments.found, Moments):
        known = moments.found
    elif isinstance(moments, Moments):
        known = moments
    else:
        raise ValueError(f"`moments` must be made by dyn.moments, got {moments!r}")
    settings = {
        "alpha": alpha,
        "beta": beta,
        "tau_online": tau_online,
        "tau_predictor": tau_predictor,
        "tau_target": tau_target,
        "weight_decay": weight_decay,
    }
    made = System(known, row, aim, settings, modes=moments is None)
    _ = made.modes if moments is None else made.matrices  # refuses nonsense at once
    return made


def _made(given: System | None, words: Mapping[str, Any]) -> System:
    """The system that was given, or the one that the words make."""
    if given is None:
        return system(**words)
    if not isinstance(given, System):
        raise ValueError(f"`system` must be made by dyn.system, got {given!r}")
    if words:
        raise ValueError(
            f"`system` must be given without the words that make one, got {', '.join(words)} too"
        )
    return given


def _full(made: System, what: str) -> System:
    """Refuse variants that a question does not cover."""
    if made.variant.name != "full":
        raise ValueError(f"`variant` must be dyn.variants.full for {what}, got {made.variant.name}")
    return made


def moments(
    *,
    lambda_s: Numbers | None = None,
    lambda_d: Numbers | None = None,
    sigma_s: Any = None,
    sigma_d: Any = None,
    x1: Any = None,
    x2: Any = None,
    data: Any = None,
    augment: Sequence[str] = (),
    seed: int = 0,
) -> Result:
    """Second moments of the views, Σs = E[x1 x1ᵀ] and Σd = E[x2 x1ᵀ], given in one of four ways.

    Parameters
    ----------
    lambda_s, lambda_d
        Their eigenvalues.
    sigma_s, sigma_d
        The matrices, shape (n1, n1).
    x1, x2
        Two views of each sample, shape (N, n1).
    data, augment, seed
        Images, shape (N, h, w), (N, h, w, c) or (N, d), or the name of a data set ("digits", a file), the
        augmentations that make a view of them, such as ["shift:1", "noise:0.3"], and the seed of their draws.

    Returns
    -------
    Result
        Of a `dynamics.data.moments.Moments`: `ratios`, `sigma_s`, `commutator` and so on.

    Raises
    ------
    ValueError
        None or several of the ways, or matrices that no views have.

    Examples
    --------
    >>> moments(sigma_s=[[2, 0], [0, 1]], sigma_d=[[1, 0], [0, 0.2]])
    moments of 2 dimensions, commutator of Σs and Σd 0
    ratios 0.5, 0.2
    """
    from dynamics.data.moments import Moments

    pairs = {
        ("lambda_s", "lambda_d"): (Moments.from_eigenvalues, lambda_s, lambda_d),
        ("sigma_s", "sigma_d"): (Moments.from_matrices, sigma_s, sigma_d),
        ("x1", "x2"): (Moments.from_views, x1, x2),
    }
    used = [names for names, (_, *values) in pairs.items() if any(value is not None for value in values)]
    if len(used) + (data is not None) != 1:
        raise ValueError(
            "moments must be given in one way, by `lambda_s` and `lambda_d`, by `sigma_s` and `sigma_d`, by `x1` and"
            f" `x2`, or by `data`, got {len(used) + (data is not None)} of them"
        )
    if used:
        make, first, second = pairs[used[0]]
        if first is None or second is None or augment:
            raise ValueError(
                f"`{used[0][0]}` and `{used[0][1]}` must both be given, without `augment`, which goes with `data`"
            )
        return Result(make(first, second))
    from dynamics.data.datasets import load
    from dynamics.data.views import parse

    if isinstance(augment, str) or not augment:
        raise ValueError(f"`augment` must be a list of augmentations, such as ['shift:1'], got {augment!r}")
    images = load(data).images if isinstance(data, str) else data
    return Result(Moments.from_data(images, [parse(spec, seed=seed) for spec in augment], seed=seed))


def simulate(
    system: System | None = None,
    *,
    online: Numbers | None = None,
    predictor: Numbers | None = None,
    target: Numbers | None = None,
    dim: int | None = None,
    init_online: float = 0.3,
    init_predictor: float = 0.1,
    state: MatrixState | None = None,
    seed: int = 0,
    t_end: float | None = None,
    rtol: float = 1e-8,
    atol: float = 1e-10,
    max_steps: int = 100_000,
    **words: Unpack[Words],
) -> Result:
    """Run the flow from one start, and compare its end with what theory predicts.

    Parameters
    ----------
    system, **words
        From `dyn.system`, or its words. Eigenvalues run as modes, unless `dim` or `state` is given.
    online, predictor, target
        w1, w2 and θ of modes at the start, one number or one per mode (0.1).
    dim, init_online, init_predictor, seed
        Of the full network: n2 (8, at most n1), and a start W ~ init_online N(0, 1)/√n1, P ~ init_predictor N(0, 1).
    state
        Or its start, (W, P, Θ) as arrays.
    t_end, rtol, atol, max_steps
        How long (until at rest) and how exactly.

    Returns
    -------
    Result
        Of an `analysis.runs.simulation.ModeSimulation` or `MatrixSimulation`: `trajectory`, `fate`, `prediction` and
        so on. A run that failed says so in `trajectory.status`.

    Raises
    ------
    ValueError
        A value out of range, or one that does not go with the others.

    Examples
    --------
    >>> simulate(lambda_s=1, lambda_d=0.5, predictor=-0.3)  # doctest: +ELLIPSIS
    full flow, steady at t = ...
    mode 1: r = 0.5, collapsed as predicted, (w1, w2, θ) = (0, -0.2828, 0)
    """
    from analysis.runs.simulation import simulate_matrices, simulate_modes

    made = _made(system, words)
    options: dict[str, Any] = {"t_end": t_end, "rtol": rtol, "atol": atol, "max_steps": max_steps}
    if made._has_modes and dim is None and state is None:
        first = 0.1 if online is None else online
        second = predictor if predictor is not None else first if made.variant.name == "tied" else 0.1
        modes = made.modes
        start = modes.state(first, second, 0.1 if target is None else target)
        return Result(simulate_modes(start, modes, made.variant.mode_field, **options))
    for name, given in (("online", online), ("predictor", predictor), ("target", target)):
        if given is not None:
            raise ValueError(
                f"`{name}` must go with modes; the full network starts from `state` or at random"
            )
    full = made.matrices
    field = _matrix_field(made)
    begin = _start(made, state, dim, init_online, init_predictor, seed)
    return Result(simulate_matrices(begin, full, field, **options), support=made.moments.support)


def _matrix_field(made: System) -> Any:
    if made.variant.matrix_field is None:
        raise ValueError(
            f"`variant` must be one of matrices, too, for the full network, got {made.variant.name}"
        )
    return made.variant.matrix_field


def _start(
    made: System, state: Any, dim: int | None, init_online: float, init_predictor: float, seed: int
) -> MatrixState:
    """W, P and Θ on the support of Σs, from a state in terms of the samples or at random."""
    from dynamics.data.starts import draw_start, on_support
    from dynamics.states import MatrixState

    n = made.moments.n_inputs
    if state is None:
        n2 = min(8, n) if dim is None else dim
        return draw_start(made.moments, n2, init_online=init_online, init_predictor=init_predictor, seed=seed)
    if dim is not None:
        raise ValueError(f"`dim` must not be given with `state`, which has its own, got {dim}")
    import numpy as np

    parts = [np.asarray(part, dtype=float) for part in state]
    if len(parts) != 3 or parts[0].ndim != 2 or parts[0].shape[1] != n:
        raise ValueError(
            f"`state` must hold W, P and Θ, W of shape (n2, {n}), got {[p.shape for p in parts]}"
        )
    return made.matrices.state(*on_support(MatrixState(*parts), made.moments))


def fixed_points(
    system: System | None = None,
    *,
    invariant: float | None = None,
    target: float | None = None,
    **words: Unpack[Words],
) -> Result:
    """All states at which one mode can rest, and whether rest is stable.

    Parameters
    ----------
    system, **words
        One mode, from `dyn.system` or its words.
    invariant
        c, to stay on the leaf τo w1² − τp w2² = c at weight decay 0.
    target
        θ of the variant fixed-target (1).

    Returns
    -------
    Result
        Of an `analysis.fixed_points.one_mode.FixedPoints`: `points` and `lines`.

    Raises
    ------
    ValueError
        Several modes, or an invariant or target that does not apply.

    Examples
    --------
    >>> fixed_points(lambda_s=1, lambda_d=0.5, weight_decay=0.04).points[1].name
    'lower'
    """
    from analysis.fixed_points.one_mode import fixed_points as theory

    made = _made(system, words)
    if target is None and made.variant.name == "fixed-target":
        target = 1.0
    return Result(theory(made.modes, made.variant.mode_field, invariant=invariant, target=target))


def stability(
    state: Any,
    system: System | None = None,
    *,
    polish: bool = False,
    tolerance: float = 1e-6,
    **words: Unpack[Words],
) -> Result:
    """Spectrum of the flow's Jacobian at a fixed point of the full network.

    Parameters
    ----------
    state
        W, P and Θ as arrays, or a result of `dyn.simulate`, whose end is taken.
    system, **words
        From `dyn.system`, or its words.
    polish
        Carry the state to a fixed point beside it first.
    tolerance
        What counts as rest.

    Returns
    -------
    Result
        Of an `analysis.stability.spectrum.Stability`: `verdict`, `eigenvalues` and so on.

    Raises
    ------
    ValueError
        The state is not at rest, does not fit, or the variant is not the full flow.

    Examples
    --------
    >>> stability(([[0.5]], [[0.5]], [[0.5]]), lambda_s=1, lambda_d=0.5).verdict
    'stable'
    """
    from analysis.fixed_points.network import polish as carry
    from analysis.stability.spectrum import stability as theory

    made = _full(_made(system, words), "a stability analysis")
    full = made.matrices
    if isinstance(state, Result):
        start = state.trajectory.final
        if start.predictor.ndim != 2:
            raise ValueError("`state` must be the run of a full network (`dim`), got a run of modes")
    else:
        start = _start(made, state, None, 0.3, 0.1, 0)
    if polish:
        start = carry(start, full).state
    return Result(theory(start, full, tolerance=tolerance))


def basins(
    system: System | None = None,
    *,
    plane: Sequence[str] = ("online", "predictor"),
    ranges: Sequence[tuple[float, float] | None] = (None, None),
    at: float = 0.3,
    grid: int | None = None,
    random: int | None = None,
    seed: int = 0,
    t_end: float = float("inf"),
    rtol: float = 1e-7,
    **words: Unpack[Words],
) -> Result:
    """Follow starts of a plane to their ends: which learn, which collapse, and what theory says.

    Parameters
    ----------
    system, **words
        One mode, from `dyn.system` or its words.
    plane, ranges, at
        Two of online, predictor and target that vary, the range of each, and the third coordinate.
    grid, random, seed
        Cells a side of a lattice of starts (200), or the number of random ones and their seed.
    t_end, rtol
        How long a start is followed at most, and how exactly.

    Returns
    -------
    Result
        Of an `analysis.fates.basins.BasinMap`: `fractions`, `fate`, `predicted` and so on.

    Raises
    ------
    ValueError
        Nonsense in an argument, or several modes.

    Examples
    --------
    >>> basins(lambda_s=1, lambda_d=0.5, grid=15)
    full flow, 225 lattice starts: 64.89% learned, 35.11% collapsed
    theory predicts 225 of them, 0 otherwise than they went
    """
    from analysis.fates.basins import basins as theory

    made = _made(system, words)
    cells = 200 if grid is None and random is None else grid
    options: dict[str, Any] = {"grid": cells, "random": random, "seed": seed, "t_end": t_end, "rtol": rtol}
    return Result(theory(made.modes, made.variant.mode_field, plane=plane, ranges=ranges, at=at, **options))


def bifurcation(
    system: System | None = None,
    *,
    parameter: str,
    begin: float,
    end: float,
    invariant: float | None = None,
    **words: Unpack[Words],
) -> Result:
    """Branches of fixed points as one parameter of the full flow moves, and where they change.

    Parameters
    ----------
    system, **words
        One mode, from `dyn.system` or its words; its value of what moves is not used.
    parameter, begin, end
        What moves, as dyn.system calls it or "invariant", and from where to where.
    invariant
        c of the leaf to stay on, at weight decay 0.

    Returns
    -------
    Result
        Of an `analysis.fixed_points.diagrams.Bifurcation`: `branches`, `points` and `escapes`.

    Raises
    ------
    ValueError
        An unknown parameter, an empty range, or an invariant that has no meaning.

    Examples
    --------
    >>> bifurcation(lambda_s=1, lambda_d=0.5, parameter="weight_decay", begin=0, end=0.1).points[0].value
    0.0625
    """
    from analysis.fixed_points.bifurcations import PARAMETERS
    from analysis.fixed_points.bifurcations import bifurcation as theory

    names = [name.replace("-", "_") for name in PARAMETERS]
    if parameter not in names:
        raise ValueError(f"`parameter` must be one of {', '.join(names)}, got {parameter!r}")
    if not begin < end:
        raise ValueError(f"`begin` must be less than `end`, got {begin} and {end}")
    made = _full(_made(system, words), "a bifurcation diagram")
    base = _plain_modes(made)
    weights = {name: made._settings[name] for name in ("alpha", "beta") if made._settings[name] is not None}
    found = theory(
        base,
        parameter.replace("_", "-"),
        (begin, end),
        invariant=invariant,
        objective=made.objective.name,
        **weights,
    )
    return Result(found)


def _plain_modes(made: System) -> ModeSystem:
    """Modes of the views themselves, before the objective changes their moments."""
    from dynamics.data.systems import mode_system

    rates = {name: value for name, value in made._settings.items() if name not in ("alpha", "beta")}
    _ = made.modes  # says what is missing
    return mode_system(made.moments, objectives.byol, **rates)


def sylvester(
    predictor: Any, system: System | None = None, *, tolerance: float | None = None, **words: Unpack[Words]
) -> Result:
    """All encoders that a predictor can hold: the non-trivial θ with P θ = θ M.

    Parameters
    ----------
    predictor
        P, shape (n2, n2), or a result of `dyn.simulate`, whose last predictor is taken.
    system, **words
        Whose M = Σd Σs⁻¹ it is, from `dyn.system` or its words.
    tolerance
        Relative perturbation up to which eigenvalues count as shared.

    Returns
    -------
    Result
        Of an `analysis.sylvester.solutions.SylvesterSolutions`: `nullity`, `basis`, `shared_eigenvalues` and so on.

    Raises
    ------
    ValueError
        P is no square matrix of finite numbers, or the tolerance is out of range.

    Examples
    --------
    >>> sylvester([[0.5, 1.0], [0.0, 0.2]], lambda_s=[1, 1], lambda_d=[0.5, 0.3]).nullity
    1
    """
    from analysis.sylvester.solutions import sylvester_solutions

    P = predictor.trajectory.final.predictor if isinstance(predictor, Result) else predictor
    return Result(sylvester_solutions(P, _made(system, words).matrices, tolerance=tolerance))


def align(
    system: System | None = None,
    *,
    ema_ratio: float | None = None,
    dim: int | None = None,
    init_online: float = 0.3,
    init_predictor: float = 0.1,
    state: MatrixState | None = None,
    seed: int = 0,
    t_end: float | None = None,
    rtol: float = 1e-8,
    atol: float = 1e-10,
    **words: Unpack[Words],
) -> Result:
    """Do predictor and features align along a run: ‖[F, P]‖ and its bound e^{−2 λ0 t} (R19).

    Parameters
    ----------
    system, **words
        From `dyn.system`, or its words.
    ema_ratio
        Keep the predictor symmetric and Θ = τ W at all times, by this τ >= 0.
    dim, init_online, init_predictor, state, seed, t_end, rtol, atol
        As for `dyn.simulate`.

    Returns
    -------
    Result
        Of an `analysis.runs.alignment.Alignment`: `commutator`, `bound`, `holds` and so on.

    Raises
    ------
    ValueError
        A value out of range, or a variant of modes alone.

    Examples
    --------
    >>> align(lambda_s=[1.5] * 3, lambda_d=[1] * 3, ema_ratio=0.9, weight_decay=0.05, t_end=5, dim=2).holds
    True
    """
    from math import inf

    from analysis.runs.alignment import align as theory
    from dynamics.fields.matrices import aligned_field
    from dynamics.integration.integrate import integrate

    made = _made(system, words)
    field = _matrix_field(made)
    if ema_ratio is not None:
        if not 0 <= ema_ratio < inf:
            raise ValueError(f"`ema_ratio` must be finite and >= 0, got {ema_ratio}")
        field = aligned_field(lambda t: _full(made, "a run with `ema_ratio`") and ema_ratio)
    start = _start(made, state, dim, init_online, init_predictor, seed)
    run: Trajectory = integrate(start, made.matrices, field, t_end, rtol=rtol, atol=atol, dense=True)
    return Result(theory(run.resampled(401), made.matrices, field, rtol=rtol))


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
    >>> source = {"source": "exact", "sigma_s": [1.0], "sigma_d": [0.5]}
    >>> train(data=source, batch=None, encoder={"features": 1}, objective=objectives.byol, steps=5).status
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
        "R1" to "R30"; left out, all (a minute).
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
    >>> [str(item.verdict) for item in check("R3", seeds=2).found]
    ['holds']
    """
    from analysis.results import RESULTS
    from analysis.results import check as measure

    chosen = _chosen(RESULTS, names, "a result")
    if seeds < 1:
        raise ValueError(f"`seeds` must be an integer >= 1, got {seeds}")
    return Result(tuple(measure(item, n_trials=seeds, seed=seed, symbolic=symbolic) for item in chosen))


def confirm(name: str, *, quick: bool = False, seed: int = 0) -> Result:
    """Does training agree with theory: one experiment, each prediction beside what gradient steps do.

    Parameters
    ----------
    name
        "C1" to "C12".
    quick, seed
        A small version, in seconds; the seed of everything random.

    Returns
    -------
    Result
        Of an `analysis.experiments.Confirmation`: `outcome` with its `verdict` and measurements.

    Raises
    ------
    ValueError
        There is no such experiment.

    Examples
    --------
    >>> confirm("C99")
    Traceback (most recent call last):
    ValueError: an experiment must be one of C1, C2, C3, C4, C5, C6, C7, C8, C9, C10, C11, C12, got C99
    """
    from analysis.experiments import EXPERIMENTS, Effort
    from analysis.experiments import confirm as make

    (experiment,) = _chosen(EXPERIMENTS, (name,), "an experiment")
    return Result(make(experiment, Effort(quick=quick, seed=seed)))


def _chosen(table: Mapping[str, Any], names: Sequence[str], what: str) -> list[Any]:
    unknown = [name for name in names if name not in table]
    if unknown:
        raise ValueError(f"{what} must be one of {', '.join(table)}, got {', '.join(map(str, unknown))}")
    return [table[name] for name in names or table]


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
    >>> figure("figure-6")  # doctest: +ELLIPSIS
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
