"""Questions that theory answers: fixed points, stability, bifurcations, encoders that a predictor holds, results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from face.result import Result
from face.starts import start_of
from face.systems import System, Words, full_only, made_of, objectives

if TYPE_CHECKING:
    from dynamics.system import ModeSystem


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
    >>> import dyn
    >>> dyn.fixed_points(lambda_s=1, lambda_d=0.5, weight_decay=0.04).points[1].name
    'lower'
    """
    from analysis.fixed_points.one_mode import fixed_points as theory

    made = made_of(system, words)
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
    >>> import dyn
    >>> dyn.stability(([[0.5]], [[0.5]], [[0.5]]), lambda_s=1, lambda_d=0.5).verdict
    'stable'
    """
    from analysis.fixed_points.network import polish as carry
    from analysis.stability.spectrum import stability as theory

    made = full_only(made_of(system, words), "a stability analysis")
    full = made.matrices
    if isinstance(state, Result):
        start = state.trajectory.final
        if start.predictor.ndim != 2:
            raise ValueError("`state` must be the run of a full network (`dim`), got a run of modes")
    else:
        start = start_of(made, state)
    if polish:
        start = carry(start, full).state
    return Result(theory(start, full, tolerance=tolerance))


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
    >>> import dyn
    >>> dyn.bifurcation(lambda_s=1, lambda_d=0.5, parameter="weight_decay", begin=0, end=0.1).points[-1].value
    0.0625
    """
    from analysis.fixed_points.bifurcations import PARAMETERS
    from analysis.fixed_points.bifurcations import bifurcation as theory

    names = [name.replace("-", "_") for name in PARAMETERS]
    if parameter not in names:
        raise ValueError(f"`parameter` must be one of {', '.join(names)}, got {parameter!r}")
    if not begin < end:
        raise ValueError(f"`begin` must be less than `end`, got {begin} and {end}")
    made = full_only(made_of(system, words), "a bifurcation diagram")
    base = _plain_modes(made)
    weights = {name: made.settings[name] for name in ("alpha", "beta") if made.settings[name] is not None}
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

    rates = {name: value for name, value in made.settings.items() if name not in ("alpha", "beta")}
    _ = made.modes  # says what is missing
    return mode_system(made.moments, objectives.byol, **rates)


def contrast(
    system: System | None = None,
    *,
    dim: int | None = None,
    temperature: float | None = None,
    negatives: float | None = None,
    margin: float | None = None,
    **words: Unpack[Words],
) -> Result:
    """What a contrastive loss of a linear encoder learns from the moments of the views, how large and how fast.

    Parameters
    ----------
    system, **words
        Moments and weight decay, from `dyn.system` or its words, and as a word `objective`: dyn.objectives.infonce
        (left out), triplet or simple. Time constants and variants are BYOL's.
    dim
        Number of rows n2 of the encoder (8, at most n1).
    temperature, negatives, margin
        τ > 0 of infonce and triplet (1); H of infonce, an integer or infinite (infinite); m >= 0 of triplet (0).

    Returns
    -------
    Result
        Of an `analysis.contrastive.contrast.Contrast`: `learned`, `points`, `growth` and so on.

    Raises
    ------
    ValueError
        A number out of range or without meaning for the objective, or rows that are coupled in a way that no result
        solves.

    Examples
    --------
    >>> import dyn
    >>> dyn.contrast(lambda_s=[10, 1], lambda_d=[5, 0.9], dim=1)
    infonce learns rank 1, 3 critical points
    mode 2: r = 0.9, w Σs wᵀ = 4.854
    """
    from analysis.contrastive.contrast import contrast as theory
    from dynamics.system import MatrixSystem

    aim = objectives.checked("objective", words.pop("objective", None), "infonce")
    made = full_only(made_of(system, words), "contrastive losses")
    if made.objective.name != "byol":
        raise ValueError(
            f"`system` must have moments of the views themselves, got those of {made.objective.name}"
        )
    for name in ("tau_online", "tau_predictor", "tau_target"):
        if made.settings[name] != 1:
            raise ValueError(f"`{name}` must be left out for contrastive losses, got {made.settings[name]:g}")
    moments = made.moments
    found = theory(
        MatrixSystem(moments.sigma_s, moments.sigma_d, weight_decay=made.settings["weight_decay"]),
        min(8, moments.n1) if dim is None else dim,
        aim,
        temperature=temperature,
        negatives=negatives,
        margin=margin,
    )
    return Result(found, support=moments.support)


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
    >>> import dyn
    >>> dyn.sylvester([[0.5, 1.0], [0.0, 0.2]], lambda_s=[1, 1], lambda_d=[0.5, 0.3]).nullity
    1
    """
    from analysis.sylvester.solutions import sylvester_solutions

    P = predictor.trajectory.final.predictor if isinstance(predictor, Result) else predictor
    return Result(sylvester_solutions(P, made_of(system, words).matrices, tolerance=tolerance))
