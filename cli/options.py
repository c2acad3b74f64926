"""Options that commands share, and the systems and starts that they name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.application import READS, WRITES
from cli.printing import progress
from dynamics.objectives import OBJECTIVES, linear_objectives, with_weight

if TYPE_CHECKING:
    from dynamics.moments import Moments
    from dynamics.states import MatrixState
    from dynamics.system import MatrixSystem, ModeSystem


def number(text: str | float) -> float:
    """Read a number: ``0.5``, ``1/2`` or ``1e-3``.

    >>> number("1/2")
    0.5
    """
    numerator, slash, denominator = str(text).partition("/")
    try:
        return float(numerator) / float(denominator) if slash else float(text)
    except (ValueError, ZeroDivisionError):
        raise typer.BadParameter(f"must be a number such as 0.5, 1/2 or 1e-3, got {text!r}") from None


def option(*names: str, panel: str, help: str, **settings: Any) -> Any:
    """Declare an option of a group; its help says its default."""
    return typer.Option(*names, help=help, rich_help_panel=panel, show_default=False, **settings)


def numeric(*names: str, panel: str, help: str) -> Any:
    """Declare an option that takes a number as `number` reads it."""
    return option(*names, panel=panel, help=help, parser=number, metavar="NUMBER")


class Variant(StrEnum):
    """Variants of the flow."""

    FULL = "full"
    FIXED_TARGET = "fixed-target"
    TIED = "tied"
    NO_PREDICTOR = "no-predictor"
    NO_EMA = "no-ema"
    NO_STOP_GRADIENT = "no-stop-gradient"
    SYMMETRIC_PREDICTOR = "symmetric-predictor"
    FAST_PREDICTOR = "fast-predictor"
    DIRECTPRED = "directpred"
    DIRECTSET = "directset"


Objective = StrEnum("Objective", {name.upper().replace("-", "_"): name for name in linear_objectives()})  # type: ignore[misc]
"""Objectives whose flow is that of BYOL with moments of their own (R24, R26), as options."""
BYOL = Objective("byol")


SYSTEM, START, RUN, OUTPUT = "System", "Start", "Run", "Output"

AugmentOption = Annotated[
    list[str] | None,
    option("--augment", panel=SYSTEM, help="Augmentation, e.g. shift:1; any number, in order."),
]
JsonOption = Annotated[bool, option("--json", panel=OUTPUT, help="Print one JSON object.")]
QuietOption = Annotated[bool, option("--quiet", panel=OUTPUT, help="No notes and no progress bar.")]


@dataclass(frozen=True)
class SystemOptions:
    """The system in one of three ways, its rates, variant and objective."""

    lambda_s: Annotated[
        list[float] | None, numeric("--lambda-s", panel=SYSTEM, help="Eigenvalue of Σs; once for each mode.")
    ] = None
    lambda_d: Annotated[
        list[float] | None, numeric("--lambda-d", panel=SYSTEM, help="Eigenvalue of Σd; once for each mode.")
    ] = None
    moments: Annotated[
        Path | None, option("--moments", panel=SYSTEM, help="FILE.npz with sigma_s and sigma_d.")
    ] = None
    data: Annotated[
        str | None,
        option(
            "--data",
            panel=SYSTEM,
            help="digits, an array FILE.npy or FILE.npz, cifar10:DIR, stl10:DIR or stl10-unlabeled:DIR.",
        ),
        READS,
    ] = None
    augment: AugmentOption = None
    tau_online: Annotated[float, numeric("--tau-online", panel=SYSTEM, help="τo > 0 (1).")] = 1.0
    tau_predictor: Annotated[float, numeric("--tau-predictor", panel=SYSTEM, help="τp > 0 (1).")] = 1.0
    tau_target: Annotated[float, numeric("--tau-target", panel=SYSTEM, help="τt > 0 (1).")] = 1.0
    weight_decay: Annotated[float, numeric("--weight-decay", panel=SYSTEM, help="η >= 0 (0).")] = 0.0
    variant: Annotated[Variant, option("--variant", panel=SYSTEM, help="Variant of the flow (full).")] = (
        Variant.FULL
    )
    objective: Annotated[
        Objective, option("--objective", panel=SYSTEM, help="Objective, linear with squared error (byol).")
    ] = BYOL
    alpha: Annotated[
        float | None, numeric("--alpha", panel=SYSTEM, help="Weight of alignment in byol-prime and raft (1).")
    ] = None
    beta: Annotated[
        float | None, numeric("--beta", panel=SYSTEM, help="Weight of the target in byol-prime and raft (1).")
    ] = None


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
        option("--dim", panel=START, help="Feature dimension n2 of a matrix run (8, at most n1)."),
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
    method: Annotated[str, option("--method", panel=RUN, help="auto, explicit or exponential (auto).")] = (
        "auto"
    )
    max_steps: Annotated[int, option("--max-steps", panel=RUN, help="Step budget (100000).")] = 100_000


@dataclass(frozen=True)
class ReportOptions:
    """How results are shown."""

    seed: Annotated[int, option("--seed", panel=OUTPUT, help="Seed of every random draw (0).", min=0)] = 0
    json: JsonOption = False
    quiet: QuietOption = False


@dataclass(frozen=True)
class OutputOptions(ReportOptions):
    """How results are shown, and where they are saved."""

    out: Annotated[
        Path | None, option("--out", panel=OUTPUT, help="Save the data: .npz, .csv, .json or .nc."), WRITES
    ] = None
    plot: Annotated[
        Path | None, option("--plot", panel=OUTPUT, help="Save a picture: .png, .svg or .pdf."), WRITES
    ] = None


def _given(options: SystemOptions) -> str:
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


def read_moments(options: SystemOptions, output: ReportOptions) -> Moments:
    """Build the second moments that the options name."""
    from dynamics.moments import Moments, load_moments

    way = _given(options)
    if way == "--moments":
        assert options.moments is not None
        return load_moments(options.moments)
    if way == "--data/--augment":
        from dynamics.augment import parse
        from dynamics.datasets import load

        augmentations = [parse(spec, seed=output.seed) for spec in options.augment or []]
        dataset = load(options.data or "digits")
        with progress("moments", output) as report:
            return Moments.from_data(dataset.images, augmentations, seed=output.seed, progress=report)
    if options.lambda_s is None or options.lambda_d is None:
        missing = "--lambda-s" if options.lambda_s is None else "--lambda-d"
        raise ValueError(f"--lambda-s and --lambda-d must both be given, got no {missing}")
    return Moments.from_eigenvalues(options.lambda_s, options.lambda_d)


def effective_moments(options: SystemOptions, moments: Moments) -> tuple[Any, Any]:
    """Σs and Σd of the flow that the objective follows (R24, R26)."""
    from dynamics.moments import objective_moments

    row = OBJECTIVES[options.objective]
    weights = {name: getattr(options, name) for name in ("alpha", "beta")}
    for name, value in weights.items():
        if value is not None and name not in row.weights:
            takers = " or ".join(with_weight(name))
            raise ValueError(f"--{name} must go with --objective {takers}, got {row.name}")
    given = {name: value for name, value in weights.items() if value is not None}
    return objective_moments(row.name, moments, **given)


def _rates(options: SystemOptions) -> dict[str, float]:
    names = ("tau_online", "tau_predictor", "tau_target", "weight_decay")
    return {name: getattr(options, name) for name in names}


def mode_system(options: SystemOptions, moments: Moments) -> ModeSystem:
    """System of decoupled modes with the eigenvalues that were given."""
    from dynamics.system import ModeSystem

    sigma_s, sigma_d = effective_moments(options, moments)
    return ModeSystem(sigma_s.diagonal(), sigma_d.diagonal(), **_rates(options))


def matrix_system(options: SystemOptions, moments: Moments) -> MatrixSystem:
    """System of the full network on the support of Σs."""
    from dynamics.system import MatrixSystem

    return MatrixSystem(*effective_moments(options, moments), **_rates(options))


def matrix_start(start: StartOptions, moments: Moments, seed: int) -> MatrixState:
    """Start of a matrix run in the coordinates of the support: from a file, or drawn."""
    from dynamics.moments import draw_start, on_support

    n1 = moments.n_inputs
    if start.state is not None:
        for name in ("dim", "init_online", "init_predictor"):
            if getattr(start, name) is not None:
                raise ValueError(f"`{name}` must not be given with --state, which holds the whole start")
        from dynamics.storage import load_state

        state = load_state(start.state)
        if state.online.shape[1] != n1:
            raise ValueError(
                f"--state: online must have {n1} columns like the data, got {state.online.shape[1]}"
            )
        return on_support(state, moments)
    given = {name: getattr(start, name) for name in ("init_online", "init_predictor")}
    sizes = {name: value for name, value in given.items() if value is not None}
    return draw_start(moments, min(8, n1) if start.dim is None else start.dim, **sizes, seed=seed)


def checked_outputs(output: OutputOptions, more: tuple[str, ...] = ()) -> None:
    """Refuse places and formats, SUFFIXES and `more`, that cannot be written before anything is computed."""
    from dynamics.storage import SUFFIXES, checked_suffix, checked_target

    if output.out is not None:
        checked_target(checked_suffix(output.out, tuple(dict.fromkeys((*SUFFIXES, *more)))))
    if output.plot is not None:
        from figures.style import PICTURES

        checked_target(checked_suffix(output.plot, PICTURES))
