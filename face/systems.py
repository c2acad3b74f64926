"""Systems and moments, given in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from face.result import Result
from face.rows import Rows

if TYPE_CHECKING:
    from dynamics.data.moments import Moments
    from dynamics.objectives import Objective
    from dynamics.system import MatrixSystem, ModeSystem
    from dynamics.variants import Variant

Numbers = float | Sequence[float]


class Words(TypedDict, total=False):
    """The words of `dyn.system`."""

    lambda_s: Numbers
    lambda_d: Numbers
    moments: Moments | Result | None
    variant: Variant | None
    objective: Objective | None
    alpha: float | None
    beta: float | None
    tau_online: float
    tau_predictor: float
    tau_target: float
    weight_decay: float


variants = Rows("variants", "dynamics.variants", "VARIANTS")
"""Variants of the flow: dyn.variants.no_ema, or dyn.variants["no-ema"]."""

objectives = Rows("objectives", "dynamics.objectives", "OBJECTIVES")
"""Objectives: dyn.objectives.byol_prime, or dyn.objectives["byol-prime"]."""


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
        self.settings, self.of_modes = settings, modes

    def __repr__(self) -> str:
        given = [f"{name}={value:g}" for name, value in self.settings.items() if value is not None]
        return (
            f"System({self.objective.name}, {self.variant.name} flow, {self.moments.n1} dimensions,"
            f" {', '.join(given)})"
        )

    @property
    def modes(self) -> ModeSystem:
        """The decoupled modes.

        >>> import dyn
        >>> dyn.system(lambda_s=2, lambda_d=1).modes.ratio
        array([0.5])
        """
        from dynamics.data.systems import mode_system

        if not self.of_modes:
            raise ValueError("`lambda_s` and `lambda_d` must be given for modes, got moments of matrices")
        return mode_system(self.moments, self.objective, self.variant.name, **self.settings)

    @property
    def matrices(self) -> MatrixSystem:
        """The full network, on the support of Σs.

        >>> import dyn
        >>> dyn.system(lambda_s=[1, 1], lambda_d=[0.5, 0.2]).matrices.n1
        2
        """
        from dynamics.data.systems import matrix_system

        return matrix_system(self.moments, self.objective, **self.settings)

    @property
    def moments_alone(self) -> MatrixSystem:
        """Σs, Σd and η for objectives of an encoder alone, which have no other rates.

        >>> import dyn
        >>> dyn.system(lambda_s=1, lambda_d=0.5, objective=dyn.objectives.simple).moments_alone.n1
        1
        """
        from dynamics.system import MatrixSystem

        known = {"tau_online": 1.0, "tau_predictor": 1.0, "tau_target": 1.0, "alpha": None, "beta": None}
        for name, value in known.items():
            if self.settings[name] != value:
                raise ValueError(
                    f"`{name}` must not go with {self.objective.name}, got {self.settings[name]}"
                )
        if self.variant.name != "full":
            raise ValueError(f"`variant` must not go with {self.objective.name}, got {self.variant.name}")
        moments = self.moments
        return MatrixSystem(moments.sigma_s, moments.sigma_d, weight_decay=self.settings["weight_decay"])


def system(
    *,
    lambda_s: Numbers | None = None,
    lambda_d: Numbers | None = None,
    moments: Moments | Result | None = None,
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
    >>> import dyn
    >>> dyn.system(lambda_s=1, lambda_d=0.5, variant=dyn.variants.no_ema, weight_decay=0.01)
    System(byol, no-ema flow, 1 dimensions, tau_online=1, tau_predictor=1, tau_target=1, weight_decay=0.01)
    >>> dyn.system(lambda_s=1, lambda_d=0.5, variant="tied")
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
    # refuses nonsense at once
    _ = made.moments_alone if aim.encoder_flow else made.modes if moments is None else made.matrices
    return made


def made_of(given: System | None, words: Mapping[str, Any]) -> System:
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


def full_only(made: System, what: str) -> System:
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
    >>> import dyn
    >>> dyn.moments(sigma_s=[[2, 0], [0, 1]], sigma_d=[[1, 0], [0, 0.2]])
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
    from dynamics.data.dataset_moments import dataset_moments
    from dynamics.data.datasets import load
    from dynamics.data.views import parse

    dataset = load(data) if isinstance(data, str) else None
    has_views = dataset is not None and dataset.tree is not None  # and needs no augmentation
    if isinstance(augment, str) or not (augment or has_views):
        raise ValueError(f"`augment` must be a list of augmentations, such as ['shift:1'], got {augment!r}")
    chain = [parse(spec, seed=seed) for spec in augment or ()]
    if dataset is not None:
        return Result(dataset_moments(dataset, chain, seed=seed))
    return Result(Moments.from_data(data, chain, seed=seed))
