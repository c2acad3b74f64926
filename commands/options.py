"""Options that commands share, and the systems and starts that they name."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands.declaration import READS, RUN, START, SYSTEM, OneOf, Suggested, numeric, option
from commands.output import ReportOptions, ShowOptions, duration_text, note, progress
from dynamics.objectives import OBJECTIVES, flow_objectives, linear_objectives

if TYPE_CHECKING:
    from dynamics.data.moments import Moments
    from dynamics.fields.infonce import SaturatingLoss
    from dynamics.fields.redundancy import RedundancyLoss
    from dynamics.states import State
    from dynamics.system import MatrixSystem, ModeSystem


def variant_names() -> list[str]:
    """Names of the variants of the flow."""
    from dynamics.variants import VARIANTS

    return list(VARIANTS)


def _augmentation_words() -> list[str]:
    """Names of augmentations, with a colon where a value has to follow."""
    from dynamics.data.views import AUGMENTATIONS

    signatures = (kind.signature.partition(":") for kind in AUGMENTATIONS.values())
    return [name + colon for name, colon, _ in signatures]


def source_words() -> list[str]:
    """Names of sources of samples, with a colon where something has to follow."""
    from dynamics.data.datasets import SOURCES

    forms = ((name, row.form.removeprefix(name)) for name, row in SOURCES.items())
    return [name + ":" * rest.startswith(":") for name, rest in forms]


ARRAYS = (".npy", ".npz")
"""Suffixes of arrays that are data."""

AugmentOption = Annotated[
    list[str] | None,
    option(
        "--augment", panel=SYSTEM, metavar="SPEC", help="Augmentation, e.g. shift:1; any number, in order."
    ),
    Suggested(_augmentation_words),
]


@dataclass(frozen=True)
class EigenvalueOptions:
    """Eigenvalues of Σs and Σd, a pair for each mode."""

    lambda_s: Annotated[
        list[float] | None, numeric("--lambda-s", panel=SYSTEM, help="Eigenvalue of Σs; once for each mode.")
    ] = None
    lambda_d: Annotated[
        list[float] | None, numeric("--lambda-d", panel=SYSTEM, help="Eigenvalue of Σd; once for each mode.")
    ] = None


@dataclass(frozen=True)
class ObjectiveOptions:
    """The objective, one whose flow is that of BYOL with moments of its own (R24, R26), and its weights."""

    objective: Annotated[
        str,
        option("--objective", panel=SYSTEM, help="Objective, linear with squared error (byol)."),
        OneOf(linear_objectives),
    ] = "byol"
    alpha: Annotated[
        float | None, numeric("--alpha", panel=SYSTEM, help="Weight of alignment in byol-prime and raft (1).")
    ] = None
    beta: Annotated[
        float | None, numeric("--beta", panel=SYSTEM, help="Weight of the target in byol-prime and raft (1).")
    ] = None


@dataclass(frozen=True)
class _RateOptions:
    """Rates and variant."""

    tau_online: Annotated[float, numeric("--tau-online", panel=SYSTEM, help="τo > 0 (1).")] = 1.0
    tau_predictor: Annotated[float, numeric("--tau-predictor", panel=SYSTEM, help="τp > 0 (1).")] = 1.0
    tau_target: Annotated[float, numeric("--tau-target", panel=SYSTEM, help="τt > 0 (1).")] = 1.0
    weight_decay: Annotated[float, numeric("--weight-decay", panel=SYSTEM, help="η >= 0 (0).")] = 0.0
    variant: Annotated[
        str, option("--variant", panel=SYSTEM, help="Variant of the flow (full)."), OneOf(variant_names)
    ] = "full"


@dataclass(frozen=True)
class FlowOptions(ObjectiveOptions, _RateOptions):
    """Rates, variant and objective."""


@dataclass(frozen=True)
class ModeOptions(FlowOptions, EigenvalueOptions):
    """A system of modes, for commands that know no other."""


@dataclass(frozen=True)
class MomentOptions(EigenvalueOptions):
    """Moments of the data, in one of three ways."""

    moments: Annotated[
        Path | None, option("--moments", panel=SYSTEM, help="FILE.npz with sigma_s and sigma_d."), READS
    ] = None
    data: Annotated[
        str | None,
        option(
            "--data",
            panel=SYSTEM,
            metavar="SOURCE",
            help="digits, photos, an array FILE.npy or FILE.npz, or another of dyn info datasets.",
        ),
        READS,
        Suggested(source_words, files=ARRAYS),
    ] = None
    augment: AugmentOption = None


@dataclass(frozen=True)
class SystemOptions(FlowOptions, MomentOptions):
    """The system in one of three ways, its rates, variant and objective."""


def negatives_of(text: str | float) -> float:
    """Read a number of negatives: an integer, or inf.

    >>> negatives_of("inf")
    inf
    """
    if str(text) == "inf":
        return math.inf
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise typer.BadParameter(f"must be an integer >= 1, or inf, got {text!r}")
    return value


@dataclass(frozen=True)
class LossOptions:
    """What infonce and triplet take."""

    temperature: Annotated[
        float | None, numeric("--temperature", panel=SYSTEM, help="Of infonce and triplet: τ > 0 (1).")
    ] = None
    negatives: Annotated[
        float | None,
        option(
            "--negatives",
            panel=SYSTEM,
            help="Of infonce: negatives for each positive, 1 or inf (inf).",
            parser=negatives_of,
            metavar="H",
        ),
    ] = None
    margin: Annotated[float | None, numeric("--margin", panel=SYSTEM, help="Of triplet: m >= 0 (0).")] = None

    def loss_of(self, objective: str) -> SaturatingLoss | None:
        """Return infonce or triplet with its numbers; None of an objective that does not saturate."""
        from dynamics.fields.infonce import saturating_loss

        return saturating_loss(OBJECTIVES[objective], self.temperature, self.negatives, self.margin)


@dataclass(frozen=True)
class RedundancyOptions:
    """What barlow-twins and vicreg take."""

    off_diagonal: Annotated[
        float | None,
        numeric(
            "--off-diagonal", panel=SYSTEM, help="Of barlow-twins: λ >= 0 of off-diagonal terms (0.005)."
        ),
    ] = None
    normalised: Annotated[
        bool | None,
        option(
            "--normalised/--raw", panel=SYSTEM, help="Of barlow-twins: whether outputs have variance 1 (raw)."
        ),
    ] = None
    invariance: Annotated[
        float | None, numeric("--invariance", panel=SYSTEM, help="Of vicreg: λ_i >= 0 (25).")
    ] = None
    variance: Annotated[float | None, numeric("--variance", panel=SYSTEM, help="Of vicreg: μ >= 0 (25).")] = (
        None
    )
    covariance: Annotated[
        float | None, numeric("--covariance", panel=SYSTEM, help="Of vicreg: ν >= 0 (1).")
    ] = None

    def redundancy_of(self, objective: str) -> RedundancyLoss | None:
        """Return the loss of output moments with its numbers; None of an objective of another kind."""
        from dynamics.fields.redundancy import redundancy_loss

        numbers = {item.name: getattr(self, item.name) for item in fields(RedundancyOptions)}
        return redundancy_loss(OBJECTIVES[objective], **numbers)


def encoder_system(system: SystemOptions, moments: Moments) -> MatrixSystem:
    """Σs, Σd and η of an encoder alone; what it has not is refused."""
    from dynamics.system import MatrixSystem

    known = SystemOptions()
    for name in ("variant", "tau_online", "tau_predictor", "tau_target", "alpha", "beta"):
        if (value := getattr(system, name)) != getattr(known, name):
            raise ValueError(f"`{name}` must not go with --objective {system.objective}, got {value}")
    return MatrixSystem(moments.sigma_s, moments.sigma_d, weight_decay=system.weight_decay)


def contrastive_names() -> list[str]:
    """Objectives that compare different samples, whose encoder needs no predictor."""
    return [name for name, row in OBJECTIVES.items() if row.contrastive]


def rest_objectives() -> list[str]:
    """Objectives that fixed points and their stability are asked of: all whose flow is known."""
    return list(flow_objectives())


@dataclass(frozen=True)
class StartOptions:
    """Where the run starts: scalars for modes, a random draw or a file for matrices."""

    online: Annotated[
        list[float] | None,
        numeric("--online", panel=START, help="w1, once for all modes or once for each (0.1)."),
    ] = None
    predictor: Annotated[
        list[float] | None, numeric("--predictor", panel=START, help="w2, likewise (0.1).")
    ] = None
    target: Annotated[list[float] | None, numeric("--target", panel=START, help="θ, likewise (0.1).")] = None
    dim: Annotated[
        int | None,
        option("--dim", panel=START, help="Feature dimension n2 of a matrix run (8, at most n1).", min=1),
    ] = None
    init_online: Annotated[
        float | None, numeric("--init-online", panel=START, help="s in W = s·N(0, 1)/√n1 (0.3).")
    ] = None
    init_predictor: Annotated[
        float | None, numeric("--init-predictor", panel=START, help="s in P = s·N(0, 1) (0.1).")
    ] = None
    state: Annotated[
        Path | None,
        option("--state", panel=START, help="FILE.npz with online, predictor and target, as --out writes."),
        READS,
    ] = None


@dataclass(frozen=True)
class RunOptions:
    """How long and how exactly."""

    t_end: Annotated[
        float | None,
        numeric("--t-end", panel=RUN, help="End time; left out, until steady or known to be slow."),
    ] = None
    rtol: Annotated[float, numeric("--rtol", panel=RUN, help="Relative tolerance (1e-8).")] = 1e-8
    atol: Annotated[float, numeric("--atol", panel=RUN, help="Absolute tolerance (1e-10).")] = 1e-10
    method: Annotated[
        str, option("--method", panel=RUN, help="auto, explicit, exponential or implicit (auto).")
    ] = "auto"
    max_steps: Annotated[int, option("--max-steps", panel=RUN, help="Step budget (100000).", min=1)] = 100_000


def _given(options: MomentOptions) -> str:
    """Which of the three ways of giving a system was used."""
    ways = {
        "--lambda-s/--lambda-d": options.lambda_s is not None or options.lambda_d is not None,
        "--moments": options.moments is not None,
        "--data/--augment": options.data is not None or options.augment is not None,
    }
    used = [way for way, given in ways.items() if given]
    if len(used) != 1:
        got = " and ".join(used) or "none of them"
        raise ValueError(
            "a system must be given in one way, by --lambda-s and --lambda-d, by --moments, or by --data"
            f" with --augment, got {got}"
        )
    return used[0]


def read_moments(options: MomentOptions, output: ReportOptions) -> Moments:
    """Build the second moments that the options name."""
    from dynamics.data.moments import load_moments

    way = _given(options)
    if way == "--moments":
        assert options.moments is not None
        return load_moments(options.moments)
    if way == "--data/--augment":
        from dynamics.data.dataset_moments import dataset_moments
        from dynamics.data.datasets import load
        from dynamics.data.views import parse

        chain = options.augment or []
        augmentations = [parse(spec, seed=output.seed) for spec in chain]
        dataset = load(options.data or "digits")
        if not chain and dataset.tree is None:
            raise _no_selection("none")
        _announce(math.prod(dataset.images.shape[1:]), output)
        with progress("moments", output) as report:
            moments = dataset_moments(dataset, augmentations, seed=output.seed, progress=report)
        if (
            dataset.tree is None
            and abs(moments.sigma_s - moments.sigma_d).max() <= _EQUAL * abs(moments.sigma_s).max()
        ):
            raise _no_selection(" ".join(chain))
        return moments
    return eigenvalue_moments(options)


_EQUAL = 1e-12  # of the largest moment: what sums over images lose to rounding


def _no_selection(got: str) -> ValueError:
    return ValueError(
        "--augment must make two views of an image differ: where they are equal, M = I, and no direction is selected;"
        f" got {got} (`dyn info augmentations` lists them)"
    )


_LONG = 6000  # dimensions whose eigenvalues take minutes
_MATRICES = 10  # of n by n float64 that moments and their eigenvalues hold at once: 9.4, measured
_DECOMPOSITIONS = 2.6  # time of all that is done with n by n matrices, in eigen-decompositions, measured


def _announce(n: int, output: ShowOptions) -> None:
    """Say how long moments of many dimensions take, and refuse those for which memory is too small."""
    if n < _LONG:
        return
    needed, there = _MATRICES * 8 * n**2, available_memory()
    if there is not None and needed > there:
        raise ValueError(
            f"--data must have a dimension whose moments fit into memory, got {n:,}: they take"
            f" {needed / 2**30:.0f} GiB, of which {there / 2**30:.0f} GiB are available; crop the images, or make them"
            " smaller"
        )
    import numpy as np

    small = 500
    matrix = np.random.default_rng(0).standard_normal((small, small))
    began = time.perf_counter()
    np.linalg.eigh(matrix + matrix.T)
    seconds = _DECOMPOSITIONS * (time.perf_counter() - began) * (n / small) ** 3
    note(
        f"eigenvalues of moments in {n:,} dimensions: about {duration_text(seconds)} and {needed / 2**30:.0f} GiB,"
        " after the images are read",
        output,
    )


def available_memory() -> int | None:
    """Bytes that can be used without swapping; None where the system does not tell."""
    try:
        facts = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(r"^MemAvailable: +(\d+) kB", facts, re.MULTILINE)
    return None if found is None else 1024 * int(found[1])


def _described(options: FlowOptions) -> dict[str, Any]:
    """What else a system takes: the objective's row and weights, and the rates."""
    names = ("alpha", "beta", "tau_online", "tau_predictor", "tau_target", "weight_decay")
    return {"objective": OBJECTIVES[options.objective], **{name: getattr(options, name) for name in names}}


def eigenvalue_moments(options: EigenvalueOptions) -> Moments:
    """Moments with the eigenvalues that were given."""
    from dynamics.data.moments import Moments

    if options.lambda_s is None or options.lambda_d is None:
        missing = "--lambda-s" if options.lambda_s is None else "--lambda-d"
        raise ValueError(f"--lambda-s and --lambda-d must both be given, got no {missing}")
    return Moments.from_eigenvalues(options.lambda_s, options.lambda_d)


def mode_system(options: FlowOptions, moments: Moments) -> ModeSystem:
    """System of decoupled modes with the eigenvalues that were given."""
    from dynamics.data.systems import mode_system as of_modes

    return of_modes(moments, variant=options.variant, **_described(options))


def matrix_system(options: FlowOptions, moments: Moments) -> MatrixSystem:
    """System of the full network on the support of Σs."""
    from dynamics.data.systems import matrix_system as of_matrices

    return of_matrices(moments, **_described(options))


def matrix_start(start: StartOptions, moments: Moments, seed: int, kind: type[State]) -> State:
    """Start of a matrix run in the coordinates of the support, a state of the given kind: from a file, or drawn."""
    from dynamics.data.starts import draw_start, on_support

    n1 = moments.n_inputs
    if start.state is not None:
        for name in ("dim", "init_online", "init_predictor"):
            if (value := getattr(start, name)) is not None:
                raise ValueError(
                    f"`{name}` must not be given with --state, which holds the whole start, got {value:g}"
                )
        from dynamics.files import load_state

        state = load_state(start.state, kind)
        if (columns := state[0].shape[1]) != n1:
            raise ValueError(f"--state: online must have {n1} columns like the data, got {columns}")
        return on_support(state, moments)
    given = {name: getattr(start, name) for name in ("init_online", "init_predictor")}
    sizes = {name: value for name, value in given.items() if value is not None}
    drawn = draw_start(moments, min(8, n1) if start.dim is None else start.dim, **sizes, seed=seed)
    return kind._make(getattr(drawn, name) for name in kind._fields)


def check_no_mode_start(start: StartOptions) -> None:
    """Refuse starts of modes where matrices run."""
    for name in ("online", "predictor", "target"):
        if (values := getattr(start, name)) is not None:
            raise ValueError(
                f"`{name}` must go with eigenvalues alone: a run of matrices starts from --state, or from --init-online"
                f" and --init-predictor; got {' '.join(f'{value:g}' for value in values)}"
            )
