"""The parts of a training run's settings: data, encoder, predictor, objective, target, optimiser."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from dynamics.data.augmentation import Augmentation
from dynamics.data.views import parse
from dynamics.fields.predictors import DIRECT_OPTIONS
from dynamics.objectives import OBJECTIVES, Objective, trained_objectives, with_weight

Swept = float | tuple[float, ...]
"""One number for all runs, or one a run."""

ENCODERS = ("linear", "mlp", "conv")
PREDICTORS = ("none", "linear", "mlp", "direct", "optimal")
STARTS = ("normal", "identity", "positive", "uniform")
TARGETS = ("ema", "none", "fixed")
SCHEDULES = ("constant", "cosine")
OPTIMIZERS = ("sgd", "momentum", "adam", "lars")
DTYPES = ("float32", "float64")


SMALLEST, LARGEST = 1e-30, 1e30
"""Sizes of the numbers of a run: products of two of them by weights are floats of 32 bits, or 0."""


def check_choice(name: str, value: Any, accepted: tuple[str, ...]) -> None:
    """Refuse what is none of the names."""
    if value not in accepted:
        raise ValueError(f"`{name}` must be one of {', '.join(accepted)}, got {value!r}")


def check_whole(name: str, value: Any, least: int) -> int:
    """Refuse what is not an integer in the range."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"`{name}` must be an integer >= {least}, got {value!r}")
    return int(value)


def _flag(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"`{name}` must be true or false, got {value!r}")


def _swept(name: str, value: Any, low: float, high: float = np.inf, *, open_low: bool = False) -> Swept:
    """Return a number, or a tuple with one a run, of [low, high] or (low, high]; `high` itself only if finite."""
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"`{name}` must be a number, or one a run, got {value!r}") from None
    if numbers.ndim > 1 or numbers.size == 0:
        raise ValueError(f"`{name}` must be a number, or one a run, got shape {numbers.shape}")
    bad = ~np.isfinite(numbers) | (numbers <= low if open_low else numbers < low) | (numbers > high)
    if np.any(bad):
        bound = f"{'>' if open_low else '>='} {low:g}" + (f" and <= {high:g}" if np.isfinite(high) else "")
        raise ValueError(f"`{name}` must be finite and {bound}, got {np.atleast_1d(numbers[bad])[0]}")
    beyond = (numbers != 0) & ((np.abs(numbers) < SMALLEST) | (np.abs(numbers) > LARGEST))
    if np.any(beyond):
        raise ValueError(
            f"`{name}` must be 0 or between {SMALLEST:g} and {LARGEST:g} in size, as runs have 32 bits,"
            f" got {np.atleast_1d(numbers[beyond])[0]}"
        )
    return float(numbers) if numbers.ndim == 0 else tuple(numbers.tolist())


def _widths(name: str, value: Any, *, empty: bool) -> tuple[int, ...]:
    if not isinstance(value, (tuple, list)):
        raise ValueError(f"`{name}` must be a sequence of integers >= 1, got {value!r}")
    if not value and not empty:
        raise ValueError(f"`{name}` must name at least one width, got none")
    return tuple(check_whole(name, width, 1) for width in value)


def _matrix(name: str, value: Any) -> tuple[Any, ...]:
    """Return a symmetric matrix, or its diagonal, as nested tuples."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"`{name}` must be a matrix or its diagonal, got {value!r}") from None
    if array.ndim not in (1, 2) or array.shape[0] != array.shape[-1] or array.size == 0:
        raise ValueError(f"`{name}` must be a square matrix or its diagonal, got shape {array.shape}")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"`{name}` must be finite, got {array[~np.isfinite(array)][0]}")
    return tuple(array.tolist()) if array.ndim == 1 else tuple(tuple(row) for row in array.tolist())


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Where samples come from and how views are made of them.

    Parameters
    ----------
    source
        ``gaussian``: x ~ N(0, Σd) with independent noise N(0, Σs − Σd) a view, so that views have exactly the
        moments Σs and Σd (R16); ``exact``: 2 n1 pairs whose averages over the batch are Σs and Σd without error,
        used whole at every step, so that a step on a linear network is a step of the flow; anything else is a
        source of `dynamics.data.datasets.load`.
    sigma_s, sigma_d
        Σs and Σd, (n1, n1), or vectors (n1,) for diagonals; for ``gaussian`` and ``exact``.
    augmentations
        Specs of `dynamics.data.views.parse`, applied in order, drawn afresh for each view; not for ``exact``.
    held_out
        Fraction of samples kept from training for the linear probe, in [0, 1): 0 trains on all and probes nothing.
        Ignored by sources that come with a test split, which is used instead (CIFAR-10, STL-10).
    limit
        Use this many samples, picked by `seed`; None for all.
    seed
        Picks the held-out samples and what ``scramble`` scrambles.
    """

    source: str = "digits"
    sigma_s: Any = None
    sigma_d: Any = None
    augmentations: tuple[str, ...] = ()
    held_out: float = 0.25
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.source, str) or not self.source:
            raise ValueError(f"`data.source` must be the name of a source, got {self.source!r}")
        for name in ("sigma_s", "sigma_d"):
            value = getattr(self, name)
            if self.from_moments != (value is not None):
                wanted = "given" if self.from_moments else "left out"
                raise ValueError(f"`data.{name}` must be {wanted} for the source {self.source}")
            if value is not None:
                object.__setattr__(self, name, _matrix(f"data.{name}", value))
        specs: Any = self.augmentations
        if isinstance(specs, str) or not all(isinstance(spec, str) for spec in specs):
            raise ValueError(f"`data.augmentations` must be a sequence of specs, got {specs!r}")
        object.__setattr__(self, "augmentations", tuple(self.augmentations))
        object.__setattr__(self, "seed", check_whole("data.seed", self.seed, 0))
        if self.source == "exact" and self.augmentations:
            raise ValueError(
                "`data.augmentations` must be left out for the source exact: its pairs are views"
            )
        self.chain()
        held_out = _swept("data.held_out", self.held_out, 0)
        if isinstance(held_out, tuple) or held_out >= 1:
            raise ValueError(f"`data.held_out` must be a fraction in [0, 1), got {self.held_out}")
        object.__setattr__(self, "held_out", held_out)
        if self.limit is not None:
            object.__setattr__(self, "limit", check_whole("data.limit", self.limit, 2))

    @property
    def from_moments(self) -> bool:
        """Whether samples are made from given moments rather than loaded."""
        return self.source in ("gaussian", "exact")

    def chain(self) -> tuple[Augmentation, ...]:
        """Augmentations that make a view, in order."""
        return tuple(parse(spec, seed=self.seed) for spec in self.augmentations)


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """The encoder f and, behind it, the projector g; their composition is the W of the theory.

    Parameters
    ----------
    kind
        ``linear`` (no bias); ``mlp``, ReLU; ``conv``, blocks of 3 x 3 convolution, ReLU and 2 x 2 mean pooling, then
        the mean over pixels, then a linear layer.
    features
        Dimension of the representation f(x).
    widths
        Hidden widths of ``mlp``, or channels of the blocks of ``conv``.
    batch_norm
        Batch normalisation before each ReLU of the encoder.
    projector
        () for none, or (hidden, output) for linear, ReLU, linear, as in RAFT.
    projector_batch_norm
        Batch normalisation before the projector's ReLU.
    scale
        Weights start as scale·N(0, 1)/√fan-in, times √2 before a ReLU; biases at 0. May be swept.
    """

    kind: str = "linear"
    features: int = 16
    widths: tuple[int, ...] = ()
    batch_norm: bool = False
    projector: tuple[int, ...] = ()
    projector_batch_norm: bool = False
    scale: Swept = 1.0

    def __post_init__(self) -> None:
        check_choice("encoder.kind", self.kind, ENCODERS)
        object.__setattr__(self, "features", check_whole("encoder.features", self.features, 1))
        widths = _widths("encoder.widths", self.widths, empty=self.kind == "linear")
        if self.kind == "linear" and (widths or self.batch_norm):
            raise ValueError(
                "`encoder.widths` and `encoder.batch_norm` must be left out for a linear encoder"
            )
        object.__setattr__(self, "widths", widths)
        projector = _widths("encoder.projector", self.projector, empty=True)
        if len(projector) not in (0, 2):
            raise ValueError(f"`encoder.projector` must be () or (hidden, output), got {projector}")
        if self.projector_batch_norm and not projector:
            raise ValueError("`encoder.projector_batch_norm` must be false without a projector")
        object.__setattr__(self, "projector", projector)
        for name in ("batch_norm", "projector_batch_norm"):
            _flag(f"encoder.{name}", getattr(self, name))
        object.__setattr__(self, "scale", _swept("encoder.scale", self.scale, 0))

    @property
    def output(self) -> int:
        """Dimension n2 of what the predictor sees."""
        return self.projector[-1] if self.projector else self.features


@dataclass(frozen=True, kw_only=True)
class PredictorSettings:
    """The predictor q.

    Parameters
    ----------
    kind
        ``none`` (P = I); ``linear``; ``mlp`` (linear, ReLU, linear); ``direct``, P = Û p(ŝ) Ûᵀ of the running
        average F̂ ← ρF̂ + (1 − ρ)E_B[f fᵀ] (R22); ``optimal``, least squares P = Ĉ F̂⁺ with Ĉ the running average
        of the correlation of target and online features (R21).
    start
        Where weights start: ``normal``, scale·N(0, 1)/√fan-in; ``identity`` (linear only); ``positive``, uniform on
        [0, scale]; ``uniform``, on [−scale, scale].
    scale
        See `start`; may be swept.
    symmetric
        Keep a linear predictor symmetric: its start and its gradients G are replaced by ½(G + Gᵀ).
    hidden, batch_norm
        Width of ``mlp``, and batch normalisation before its ReLU.
    option
        A name of `dynamics.fields.predictors.DIRECT_OPTIONS`, for ``direct``.
    average
        ρ in [0, 1) for ``direct`` and ``optimal``: 0 takes each batch by itself. May be swept.
    refresh
        Steps between two settings of P, for ``direct`` and ``optimal``.
    reinitialise
        Steps after which a ``linear`` or ``mlp`` predictor starts anew, its optimiser too; 0 for never.
    """

    kind: str = "linear"
    start: str = "normal"
    scale: Swept = 1.0
    symmetric: bool = False
    hidden: int = 64
    batch_norm: bool = False
    option: str = "sqrt-0.1"
    average: Swept = 0.3
    refresh: int = 1
    reinitialise: int = 0

    def __post_init__(self) -> None:
        check_choice("predictor.kind", self.kind, PREDICTORS)
        check_choice("predictor.start", self.start, STARTS)
        check_choice("predictor.option", self.option, tuple(DIRECT_OPTIONS))
        for name in ("symmetric", "batch_norm"):
            _flag(f"predictor.{name}", getattr(self, name))
        for name, least in (("hidden", 1), ("refresh", 1), ("reinitialise", 0)):
            object.__setattr__(self, name, check_whole(f"predictor.{name}", getattr(self, name), least))
        object.__setattr__(self, "scale", _swept("predictor.scale", self.scale, 0))
        object.__setattr__(self, "average", _swept("predictor.average", self.average, 0, 1))
        if np.any(np.asarray(self.average) == 1):
            raise ValueError("`predictor.average` must be < 1, got 1.0: nothing would ever be averaged in")
        for name, kinds in (
            ("start", ("linear", "mlp")),
            ("scale", ("linear", "mlp")),
            ("symmetric", ("linear",)),
            ("hidden", ("mlp",)),
            ("batch_norm", ("mlp",)),
            ("option", ("direct",)),
            ("average", ("direct", "optimal")),
            ("refresh", ("direct", "optimal")),
            ("reinitialise", ("linear", "mlp")),
        ):
            if self.kind not in kinds and getattr(self, name) != default_of(PredictorSettings, name):
                raise ValueError(
                    f"`predictor.{name}` must be left out unless the predictor is {' or '.join(kinds)},"
                    f" got {self.kind}"
                )
        if self.start == "identity" and self.kind != "linear":
            raise ValueError(f"`predictor.start` identity needs a linear predictor, got {self.kind}")

    @property
    def trained(self) -> bool:
        """Whether gradients move it."""
        return self.kind in ("linear", "mlp")


@dataclass(frozen=True, kw_only=True)
class ObjectiveSettings:
    """What is minimised, with q = q(f(x)) online, t the target's features, and d(a, b) = ‖a − b‖².

        byol        d(q1, t2)                    symmetric: d(q1, t2) + d(q2, t1)
        byol-prime  α d(q1, q2) + β d(q2, t2)    symmetric: α d(q1, q2) + β ½[d(q1, t1) + d(q2, t2)]
        raft        α d(q1, q2) − β d(q2, t2)    symmetric: α d(q1, q2) − β ½[d(q1, t1) + d(q2, t2)]
        simple      r₊ − mean r₋                 symmetric: the views exchanged, and added
        triplet     T mean log(1 + e^{(r₊ − r₋ + margin)/T})
        infonce     −log e^{−r₊/T}/(e^{−r₊/T} + Σ e^{−r₋/T})
        barlow-twins, vicreg, spectral, whitened: of moments of the batch, as in `dynamics.fields.redundancy`

    averaged over the batch, where r₊ = ½ d(z1, z2) for the two views of a sample and r₋ = ½ d(z1, z2′) for views of
    different samples of the batch (DD 2). In the flow's time, one step of size ε is dt = 2ε for byol, 4ε when
    symmetric, and half of that when `halved` (R1, R29).

    Parameters
    ----------
    kind, symmetric
        As above. ``raft`` symmetric is Algorithm 1 of RAFT.
    normalize
        Divide features by their l2 norm first, with gradients through the norm.
    halved
        Put ½ before everything: L = ½ E‖P W x1 − Θ x2‖² of the theory.
    tangential
        Replace d(z, t) by ‖t − λ z‖²/λ with λ = sg⟨z, t⟩ (R27); needs `normalize`. λ is clipped from below at
        `dynamics.training.objectives.TANGENTIAL_FLOOR` and the clipped pairs are counted.
    stop_gradient
        False lets gradients pass through the target branch too; needs target ``none`` (R12).
    alpha, beta
        α >= 0 and β >= 0 of byol-prime and raft; may be swept.
    temperature, margin
        T > 0 of triplet and infonce, and the margin of triplet; may be swept.
    off_diagonal, invariance, variance, covariance
        λ >= 0 of barlow-twins, whose outputs are not normalised; λ_i, μ and ν >= 0 of vicreg; may be swept.
    """

    kind: str = "byol"
    symmetric: bool = True
    normalize: bool = False
    halved: bool = False
    tangential: bool = False
    stop_gradient: bool = True
    alpha: Swept = 1.0
    beta: Swept = 1.0
    temperature: Swept = 1.0
    margin: Swept = 0.0
    off_diagonal: Swept = 0.005
    invariance: Swept = 25.0
    variance: Swept = 25.0
    covariance: Swept = 1.0

    def __post_init__(self) -> None:
        check_choice("objective.kind", self.kind, tuple(trained_objectives()))
        for name in ("symmetric", "normalize", "halved", "tangential", "stop_gradient"):
            _flag(f"objective.{name}", getattr(self, name))
        if self.tangential and (not self.normalize or self.row.alone):
            raise ValueError("`objective.tangential` must go with `normalize` and byol, byol-prime or raft")
        if self.normalize and self.row.of_moments:
            raise ValueError(f"`objective.normalize` must be false for {self.kind}, a loss of moments")
        for name in dict.fromkeys(name for row in OBJECTIVES.values() for name in row.weights):
            value = _swept(f"objective.{name}", getattr(self, name), 0, open_low=name == "temperature")
            object.__setattr__(self, name, value)
            if self.kind not in with_weight(name) and value != default_of(ObjectiveSettings, name):
                takers = f"the objective is {' or '.join(with_weight(name))}, got {self.kind}"
                raise ValueError(f"`objective.{name}` must be left out unless {takers}")

    @property
    def row(self) -> Objective:
        """Its row of the table of objectives."""
        return OBJECTIVES[self.kind]

    @property
    def step_factor(self) -> float:
        """Time dt/ε of the flow that one step of size ε is, for plain squared errors (R1, R24, R26, R29, R30)."""
        if self.row.of_moments:  # −∇L itself is the flow
            return 0.5 if self.halved else 1.0
        doubled = 4.0 if self.symmetric and (self.kind == "byol" or self.row.contrastive) else 2.0
        return doubled / 2 if self.halved else doubled


@dataclass(frozen=True, kw_only=True)
class TargetSettings:
    """The target network: encoder and projector of its own weights ξ, beside the online weights θ.

    Parameters
    ----------
    kind
        ``ema``, ξ ← γξ + (1 − γ)θ after each step; ``none``, ξ = θ; ``fixed``, a random network that never moves.
    decay
        γ in [0, 1], at the start when the schedule is cosine; may be swept.
    schedule
        ``constant``, or ``cosine``, γ_k = 1 − (1 − γ)(cos(πk/K) + 1)/2 at step k of K.
    """

    kind: str = "ema"
    decay: Swept = 0.99
    schedule: str = "constant"

    def __post_init__(self) -> None:
        check_choice("target.kind", self.kind, TARGETS)
        check_choice("target.schedule", self.schedule, SCHEDULES)
        object.__setattr__(self, "decay", _swept("target.decay", self.decay, 0, 1))
        if self.kind != "ema" and (self.decay, self.schedule) != (0.99, "constant"):
            raise ValueError(f"`target.decay` and `target.schedule` must be left out for {self.kind}")


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """How weights move.

    Parameters
    ----------
    kind
        ``sgd``; ``momentum`` (v ← μv + g, θ ← θ − εv); ``adam`` (0.9, 0.999, 1e-8); ``lars`` (trust 0.001, then
        momentum; vectors are neither scaled nor decayed).
    learning_rate
        ε > 0; may be swept.
    predictor_rate
        αp >= 0: the predictor's learning rate is αp ε, hence τp = 1/αp; may be swept.
    weight_decay
        Added to gradients as weight_decay·θ, >= 0; may be swept. Under SGD the flow's η is weight_decay·ε/dt.
    predictor_weight_decay
        The same for the predictor; None takes `weight_decay`. May be swept.
    momentum
        μ in [0, 1), for momentum and lars; may be swept.
    schedule
        Of the learning rate: ``constant``, or ``cosine``, ε_k = ε (cos(πk/K) + 1)/2 at step k of K.
    """

    kind: str = "sgd"
    learning_rate: Swept = 0.05
    predictor_rate: Swept = 1.0
    weight_decay: Swept = 0.0
    predictor_weight_decay: Swept | None = None
    momentum: Swept = 0.9
    schedule: str = "constant"

    def __post_init__(self) -> None:
        check_choice("optimizer.kind", self.kind, OPTIMIZERS)
        check_choice("optimizer.schedule", self.schedule, SCHEDULES)
        rate = _swept("optimizer.learning_rate", self.learning_rate, 0, open_low=True)
        object.__setattr__(self, "learning_rate", rate)
        if self.predictor_weight_decay is None:
            object.__setattr__(self, "predictor_weight_decay", self.weight_decay)
        for name in ("predictor_rate", "weight_decay", "predictor_weight_decay"):
            object.__setattr__(self, name, _swept(f"optimizer.{name}", getattr(self, name), 0))
        momentum = _swept("optimizer.momentum", self.momentum, 0, 1)
        if np.any(np.asarray(momentum) == 1):
            raise ValueError("`optimizer.momentum` must be < 1, got 1.0")
        object.__setattr__(self, "momentum", momentum)
        if self.kind not in ("momentum", "lars") and momentum != 0.9:
            raise ValueError(f"`optimizer.momentum` must be left out for {self.kind}")


def default_of(kind: type, name: str) -> Any:
    """The default of a field of settings."""
    return next(item.default for item in fields(kind) if item.name == name)
