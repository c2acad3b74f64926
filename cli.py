"""The command ``dyn``: reads options, calls the library, prints tables for people and JSON for programs.

Nothing heavy is imported until the command that needs it runs. Bad input is a ValueError from below, turned here
into one sentence that names the option, with exit code 2; a failed run has exit code 3, a failed check 1.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_type_hints

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.simulation import MatrixSimulation, ModeSimulation
    from dynamics.moments import Moments
    from dynamics.states import MatrixState
    from dynamics.system import MatrixSystem, ModeSystem

CHECK_FAILED, BAD_INPUT, FAILED, INTERRUPTED = 1, 2, 3, 130
USAGE_ERROR: Any = typer.BadParameter.__mro__[
    1
]  # click's own class, wherever this version of typer keeps click


class Dyn(typer.Typer):
    """A typer application that reports every error in one line on standard error and never shows a traceback."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line and exit with the code of the contract."""
        try:
            code = super().__call__(*args, standalone_mode=False, **kwargs)
        except USAGE_ERROR as error:
            message = error.format_message()
        except BrokenPipeError:
            sys.exit(0)
        except typer.Abort:
            sys.exit(_interrupted())
        except (ValueError, OSError) as error:
            message = str(error)
        except MemoryError as error:
            message = f"not enough memory: {error}"
        except Exception as error:
            if "DYN_DEBUG" in os.environ:
                raise
            sys.stderr.write(
                f"dyn: internal error, {type(error).__name__}: {error}; set DYN_DEBUG=1 for the traceback\n"
            )
            sys.exit(FAILED)
        except KeyboardInterrupt:
            sys.exit(_interrupted())
        else:
            sys.exit(code if isinstance(code, int) else 0)
        sys.stderr.write(f"dyn: {_in_terms_of_options(message)}\n")
        sys.exit(BAD_INPUT)


def _interrupted() -> int:
    sys.stderr.write("dyn: interrupted\n")
    return INTERRUPTED


app = Dyn(
    name="dyn",
    help="Theory and dynamics of linear BYOL: why it learns without negatives, and when it collapses.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _group() -> None:
    pass


def _in_terms_of_options(message: str) -> str:
    """Name parameters as the options that set them: `weight_decay` becomes --weight-decay."""
    options = {item.name for kind in (SystemOptions, StartOptions, RunOptions) for item in fields(kind)}

    def replace(match: re.Match[str]) -> str:
        return "--" + match[1].replace("_", "-") if match[1] in options else match[0]

    return " ".join(re.sub(r"`(\w+)`", replace, message).split())


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


def _option(*names: str, panel: str, help: str, **settings: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, show_default=False, **settings)


def _number(*names: str, panel: str, help: str) -> Any:
    return _option(*names, panel=panel, help=help, parser=number, metavar="NUMBER")


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


class Objective(StrEnum):
    """Objectives that follow the flow with moments of their own (R24, R26)."""

    BYOL = "byol"
    BYOL_PRIME = "byol-prime"
    RAFT = "raft"


SYSTEM, START, RUN, OUTPUT = "System", "Start", "Run", "Output"


@dataclass(frozen=True)
class SystemOptions:
    """The system in one of three ways, its rates, variant and objective."""

    lambda_s: Annotated[
        list[float] | None, _number("--lambda-s", panel=SYSTEM, help="Eigenvalue of Σs; once for each mode.")
    ] = None
    lambda_d: Annotated[
        list[float] | None, _number("--lambda-d", panel=SYSTEM, help="Eigenvalue of Σd; once for each mode.")
    ] = None
    moments: Annotated[
        Path | None, _option("--moments", panel=SYSTEM, help="FILE.npz with sigma_s and sigma_d.")
    ] = None
    data: Annotated[
        str | None,
        _option(
            "--data",
            panel=SYSTEM,
            help="digits, an array FILE.npy or FILE.npz, cifar10:DIR or stl10:DIR.",
        ),
    ] = None
    augment: Annotated[
        list[str] | None,
        _option("--augment", panel=SYSTEM, help="Augmentation, e.g. shift:1; any number, in order."),
    ] = None
    tau_online: Annotated[float, _number("--tau-online", panel=SYSTEM, help="τo > 0 (1).")] = 1.0
    tau_predictor: Annotated[float, _number("--tau-predictor", panel=SYSTEM, help="τp > 0 (1).")] = 1.0
    tau_target: Annotated[float, _number("--tau-target", panel=SYSTEM, help="τt > 0 (1).")] = 1.0
    weight_decay: Annotated[float, _number("--weight-decay", panel=SYSTEM, help="η >= 0 (0).")] = 0.0
    variant: Annotated[Variant, _option("--variant", panel=SYSTEM, help="Variant of the flow (full).")] = (
        Variant.FULL
    )
    objective: Annotated[
        Objective, _option("--objective", panel=SYSTEM, help="Objective, linear with squared error (byol).")
    ] = Objective.BYOL
    alpha: Annotated[
        float | None, _number("--alpha", panel=SYSTEM, help="Weight of alignment in byol-prime and raft (1).")
    ] = None
    beta: Annotated[
        float | None, _number("--beta", panel=SYSTEM, help="Weight of the target in byol-prime and raft (1).")
    ] = None


@dataclass(frozen=True)
class StartOptions:
    """Where the run starts: scalars for modes, a random draw or a file for matrices."""

    online: Annotated[
        list[float] | None,
        _number("--online", panel=START, help="w1, once for all modes or once for each (0.1)."),
    ] = None
    predictor: Annotated[
        list[float] | None, _number("--predictor", panel=START, help="w2, likewise (0.1).")
    ] = None
    target: Annotated[list[float] | None, _number("--target", panel=START, help="θ, likewise (0.1).")] = None
    dim: Annotated[
        int | None,
        _option("--dim", panel=START, help="Feature dimension n2 of a matrix run (8, at most n1)."),
    ] = None
    init_online: Annotated[
        float | None, _number("--init-online", panel=START, help="s in W = s·N(0, 1)/√n1 (0.3).")
    ] = None
    init_predictor: Annotated[
        float | None, _number("--init-predictor", panel=START, help="s in P = s·N(0, 1) (0.1).")
    ] = None
    state: Annotated[
        Path | None,
        _option("--state", panel=START, help="FILE.npz with online, predictor and target, as --out writes."),
    ] = None


@dataclass(frozen=True)
class RunOptions:
    """How long and how exactly."""

    t_end: Annotated[
        float | None,
        _number("--t-end", panel=RUN, help="End time; left out, until steady or known to be slow."),
    ] = None
    rtol: Annotated[float, _number("--rtol", panel=RUN, help="Relative tolerance (1e-8).")] = 1e-8
    atol: Annotated[float, _number("--atol", panel=RUN, help="Absolute tolerance (1e-10).")] = 1e-10
    method: Annotated[str, _option("--method", panel=RUN, help="auto, explicit or exponential (auto).")] = (
        "auto"
    )
    max_steps: Annotated[int, _option("--max-steps", panel=RUN, help="Step budget (100000).")] = 100_000


@dataclass(frozen=True)
class ReportOptions:
    """How results are shown."""

    seed: Annotated[int, _option("--seed", panel=OUTPUT, help="Seed of every random draw (0).", min=0)] = 0
    json: Annotated[bool, _option("--json", panel=OUTPUT, help="Print one JSON object.")] = False
    quiet: Annotated[bool, _option("--quiet", panel=OUTPUT, help="No notes and no progress bar.")] = False


@dataclass(frozen=True)
class OutputOptions(ReportOptions):
    """How results are shown, and where they are saved."""

    out: Annotated[
        Path | None, _option("--out", panel=OUTPUT, help="Save the data: .npz, .csv, .json or .nc.")
    ] = None
    plot: Annotated[
        Path | None, _option("--plot", panel=OUTPUT, help="Save a picture: .png, .svg or .pdf.")
    ] = None


def command(name: str, **settings: Any) -> Callable[[Callable[..., int | None]], Callable[..., int | None]]:
    """Register a command whose parameters may be option groups: each group's fields become its options."""

    def register(function: Callable[..., int | None]) -> Callable[..., int | None]:
        hints = get_type_hints(function, include_extras=True)
        parameters: list[inspect.Parameter] = []
        groups: dict[str, type] = {}
        for parameter in inspect.signature(function).parameters.values():
            kind = hints[parameter.name]
            if not is_dataclass(kind):
                parameters.append(parameter.replace(annotation=kind, kind=inspect.Parameter.KEYWORD_ONLY))
                continue
            assert isinstance(kind, type)
            groups[parameter.name] = kind
            inside = get_type_hints(kind, include_extras=True)
            parameters += [
                inspect.Parameter(
                    item.name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=item.default,
                    annotation=inside[item.name],
                )
                for item in fields(kind)
            ]

        @wraps(function)
        def run(**options: Any) -> int | None:
            for group, kind in groups.items():
                options[group] = kind(**{item.name: options.pop(item.name) for item in fields(kind)})
            return function(**options)

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        app.command(name, **settings)(run)
        return function

    return register


# ---------------------------------------------------------------------------------------------------------- systems


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
    from dynamics.moments import byol_prime_moments, raft_moments

    if options.objective is Objective.BYOL:
        for name in ("alpha", "beta"):
            if getattr(options, name) is not None:
                raise ValueError(f"--{name} must go with --objective byol-prime or raft, got byol")
        return moments.sigma_s, moments.sigma_d
    transform = byol_prime_moments if options.objective is Objective.BYOL_PRIME else raft_moments
    alpha = 1.0 if options.alpha is None else options.alpha
    beta = 1.0 if options.beta is None else options.beta
    return transform(moments, alpha, beta)


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
    from dynamics.states import MatrixState, random_state

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
    else:
        dim = min(8, n1) if start.dim is None else start.dim
        if dim < 1:
            raise ValueError(f"`dim` must be an integer >= 1, got {dim}")
        scale_online = 0.3 if start.init_online is None else start.init_online
        scale_predictor = 0.1 if start.init_predictor is None else start.init_predictor
        for name, scale in (("init_online", scale_online), ("init_predictor", scale_predictor)):
            if not 0 <= scale < float("inf"):
                raise ValueError(f"`{name}` must be finite and >= 0, got {scale}")
        state = random_state(
            n1, dim, scale_online=scale_online / n1**0.5, scale_predictor=scale_predictor, seed=seed
        )
    if moments.support is None:
        return state
    return MatrixState(state.online @ moments.support, state.predictor, state.target @ moments.support)


# ----------------------------------------------------------------------------------------------------------- output


@contextmanager
def progress(label: str, output: ReportOptions) -> Iterator[Callable[[float, float], None] | None]:
    """Show a progress bar on standard error, if that is a terminal and the user wants it."""
    if output.quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def ticker(label: str, output: ReportOptions) -> Iterator[Callable[[float, float], None] | None]:
    """Show how far an open-ended run has come, on standard error, if that is a terminal."""
    if output.quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    with Console(stderr=True).status(label) as status:
        yield lambda t, end: status.update(f"{label}: t = {t:.4g}")


def note(text: str, output: ReportOptions) -> None:
    """Say something beside the result, on standard error."""
    if not output.quiet:
        sys.stderr.write(text + "\n")


def print_json(report: dict[str, Any]) -> None:
    """Print one JSON object on standard output."""
    sys.stdout.write(json.dumps(report, allow_nan=False) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> None:
    """Print a table for people on standard output."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    console.print(table)
    if caption:
        console.print(caption, soft_wrap=True)


def checked_outputs(output: OutputOptions) -> None:
    """Refuse places and formats that cannot be written before anything is computed."""
    from dynamics.storage import SUFFIXES, checked_suffix, checked_target

    if output.out is not None:
        checked_target(checked_suffix(output.out, SUFFIXES))
    if output.plot is not None:
        from figures.style import PICTURES

        checked_target(checked_suffix(output.plot, PICTURES))


# --------------------------------------------------------------------------------------------------------- simulate


@command(
    "simulate",
    help="What happens from this start: run the flow and compare with what theory predicts.",
    epilog="Example: dyn simulate --lambda-s 1 --lambda-d 0.5",
)
def simulate(
    system: SystemOptions, start: StartOptions, run: RunOptions, output: OutputOptions
) -> int | None:
    """Run the flow from one start, for modes or for matrices."""
    checked_outputs(output)
    began = time.perf_counter()
    moments = read_moments(system, output)
    as_modes = system.lambda_s is not None and start.dim is None and start.state is None
    settings = {"t_end": run.t_end, "rtol": run.rtol, "atol": run.atol, "method": run.method}
    simulation: ModeSimulation | MatrixSimulation
    with ticker("simulating", output) as report_progress:
        options = {**settings, "max_steps": run.max_steps, "progress": report_progress}
        if as_modes:
            simulation = _simulate_modes(system, start, moments, options)
        else:
            simulation = _simulate_matrices(system, start, moments, output.seed, options)
    report = {**simulation.report(), "seconds": time.perf_counter() - began}
    if not as_modes:
        report["system"] |= {"n1": moments.n_inputs, "dropped_directions": moments.dropped_directions}
    for text in moments.notes:
        note(text, output)
    if output.out is not None:
        _save_simulation(simulation, moments, report, output.out)
    if output.plot is not None:
        _plot_simulation(simulation, output.plot)
    if output.json:
        print_json(report)
    elif as_modes:
        _print_modes(report)
    else:
        _print_matrices(report)
    status = simulation.trajectory.status
    if status.failed:
        sys.stderr.write(f"dyn: {status.value} at t = {simulation.trajectory.t:.6g}: {status.message}\n")
        return FAILED
    return None


def _simulate_modes(
    system: SystemOptions, start: StartOptions, moments: Moments, options: dict[str, Any]
) -> ModeSimulation:
    from analysis.simulation import simulate_modes
    from dynamics.mode_fields import MODE_FIELDS

    for name in ("init_online", "init_predictor"):
        if getattr(start, name) is not None:
            raise ValueError(
                f"`{name}` must go with a matrix run (--dim, --moments or --data), got eigenvalues alone"
            )
    modes = mode_system(system, moments)
    online = start.online or [0.1]
    predictor = start.predictor or (online if system.variant is Variant.TIED else [0.1])
    state = modes.state(online, predictor, start.target or [0.1])
    return simulate_modes(state, modes, MODE_FIELDS[system.variant], **options)


def _simulate_matrices(
    system: SystemOptions, start: StartOptions, moments: Moments, seed: int, options: dict[str, Any]
) -> MatrixSimulation:
    from analysis.simulation import simulate_matrices
    from dynamics.fields import FIELDS

    for name in ("online", "predictor", "target"):
        if getattr(start, name) is not None:
            raise ValueError(
                f"`{name}` must go with eigenvalues alone; a matrix run starts from --state or --init-{name}"
            )
    if system.variant not in FIELDS:
        raise ValueError(f"--variant {system.variant} is defined for modes only, got a matrix run")
    state = matrix_start(start, moments, seed)
    return simulate_matrices(state, matrix_system(system, moments), FIELDS[system.variant], **options)


def _save_simulation(
    simulation: ModeSimulation | MatrixSimulation, moments: Moments, report: dict[str, Any], path: Path
) -> None:
    from dynamics.storage import Variable, write_arrays

    trajectory = simulation.trajectory.resampled(401)
    W, P, Th = trajectory.states
    encoder: tuple[str, ...] = ("t", "mode")
    square = encoder
    if P.ndim == 3:
        encoder, square = ("t", "feature", "input"), ("t", "feature", "feature_in")
        if moments.support is not None:
            W, Th = W @ moments.support.T, Th @ moments.support.T
    variables = {
        "t": Variable(("t",), trajectory.ts),
        "online": Variable(encoder, W),
        "predictor": Variable(square, P),
        "target": Variable(encoder, Th),
    }
    meta = {"command": sys.argv[1:], "notes": list(moments.notes), "report": report}
    write_arrays(path, variables, meta)


def _plot_simulation(simulation: ModeSimulation | MatrixSimulation, path: Path) -> None:
    from analysis.simulation import ModeSimulation
    from figures.pages import figure_matrix_simulation, figure_mode_simulation
    from figures.style import save

    if isinstance(simulation, ModeSimulation):
        save(figure_mode_simulation(simulation), path)
    else:
        save(figure_matrix_simulation(simulation), path)


def _number_text(value: float | None) -> str:
    return "–" if value is None else f"{value:.7g}"


def _triple(entry: dict[str, float | None]) -> str:
    return ", ".join(_number_text(entry[name]) for name in ("online", "predictor", "target"))


def _cost_text(report: dict[str, Any]) -> str:
    return (
        f"{report['status']} at t = {report['t']:.6g} · {report['n_field_evaluations']} field evaluations"
        f" · {report['seconds']:.2f} s · {report['method']}"
    )


def _print_modes(report: dict[str, Any]) -> None:
    rows = []
    for k, mode in enumerate(report["modes"]):
        predicted = mode["predicted"]
        drift = mode["invariant"]["drift"]
        rows.append(
            [
                str(k + 1),
                _number_text(mode["ratio"]),
                _triple(mode["initial"]),
                _triple(mode["final"]),
                mode["fate"],
                predicted["fate"] or "no result applies",
                _triple(predicted) if predicted["fate"] else "–",
                "–" if drift is None else f"{drift:.1e}",
            ]
        )
    columns = [
        "mode",
        "λd/λs",
        "start w1, w2, θ",
        "end w1, w2, θ",
        "fate",
        "predicted",
        "predicted end",
        "drift of c",
    ]
    print_table(columns, rows, _cost_text(report))


def _print_matrices(report: dict[str, Any]) -> None:
    rows = []
    for k, row in enumerate(report["final"]["rows"]):
        real, imaginary = row["predictor_eigenvalue"]
        learned = row["mode"] is not None and row["fate"] == "learned"
        rows.append(
            [
                str(k + 1),
                f"{real:.7g}" + (f" {imaginary:+.3g}i" if imaginary else ""),
                f"{row['ratio']:.7g}" if learned else "–",
                str(row["mode"] + 1) if learned else "–",
                f"{row['amplitude']:.4g}",
                row["fate"],
            ]
        )
    system, theory = report["system"], report["theory"]
    top = ", ".join(_number_text(ratio) for ratio in theory["ratios"][: system["n2"]])
    floor = "–" if theory["rank_floor"] is None else theory["rank_floor"]
    resonance = "–" if theory["resonance_error"] is None else f"{theory['resonance_error']:.1e}"
    drift = report["invariant"]["drift"]
    caption = (
        f"n1 = {system['n1']}, n2 = {system['n2']}, dropped directions {system['dropped_directions']},"
        f" commutator of Σs and Σd {system['commutator']:.3g}\n"
        f"top of M's spectrum: {top}\n"
        f"rank {report['final']['rank']} (floor {floor}) · resonance error {resonance}"
        f" · drift of the balance {'–' if drift is None else f'{drift:.1e}'}\n{_cost_text(report)}"
    )
    columns = ["row", "predictor eigenvalue", "ratio of M", "mode of M", "amplitude", "fate"]
    print_table(columns, rows, caption)


# --------------------------------------------------------------------------------- fixed-points, stability, sylvester


@command(
    "fixed-points",
    help="Where can one mode rest, and is rest stable: complete and exact, for every variant.",
    epilog="Example: dyn fixed-points --lambda-s 1 --lambda-d 0.5 --invariant -0.09",
)
def fixed_points(
    system: SystemOptions,
    output: ReportOptions,
    invariant: Annotated[
        float | None,
        _number("--invariant", panel=SYSTEM, help="Stay on the leaf τo w1² − τp w2² = C: isolated points."),
    ] = None,
    target: Annotated[
        float | None, _number("--target", panel=SYSTEM, help="θ of the variant fixed-target (1).")
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Show exact forms in the table, too.")] = False,
) -> None:
    """Print isolated fixed points, and lines of them with the stability of each segment."""
    from analysis.fixed_points import fixed_points as theory

    moments = read_moments(system, output)
    if target is None and system.variant is Variant.FIXED_TARGET:
        target = 1.0
    found = theory(mode_system(system, moments), str(system.variant), invariant=invariant, target=target)
    report = found.report(exact=exact or output.json)
    if output.json:
        print_json(report)
        return
    if report["fixed_points"]:
        rows = [
            [
                point["name"],
                _triple(point),
                ", ".join(_eigenvalue_text(pair) for pair in point["eigenvalues"]),
                point["stability"],
                point["sheet"] or "–",
                *([_exact_text(point)] if exact else []),
            ]
            for point in report["fixed_points"]
        ]
        columns = [
            "fixed point",
            "w1, w2, θ",
            "eigenvalues",
            "stability",
            "sheet",
            *(["exact"] if exact else []),
        ]
        notes = [f"{point['name']}: {point['note']}" for point in report["fixed_points"] if point["note"]]
        print_table(columns, rows, "\n".join(notes))
    if report["lines"]:
        rows = [
            [
                line["name"],
                _segment_text(line["parameter"], *segment["range"]),
                segment["stability"],
                *([_exact_text(line)] if exact else []),
            ]
            for line in report["lines"]
            for segment in line["segments"]
        ]
        print_table(["line", "where", "stability", *(["exact"] if exact else [])], rows)


def _eigenvalue_text(pair: Sequence[float]) -> str:
    real, imaginary = pair
    return f"{real:.7g}" + (f" {imaginary:+.4g}i" if imaginary else "")


def _exact_text(entry: dict[str, Any]) -> str:
    return ", ".join(entry["exact"][name] for name in ("online", "predictor", "target"))


def _segment_text(parameter: str, lo: float | None, hi: float | None) -> str:
    name = {"a": "w1", "p": "w2"}[parameter]
    if lo is not None and lo == hi:
        return f"{name} = {lo:.7g}"
    below = "" if lo is None else f"{lo:.7g} < "
    above = "" if hi is None else f" < {hi:.7g}"
    return f"{below}{name}{above}"


@command(
    "stability",
    help="Is this state of the full system stable: the spectrum of the flow's Jacobian at a fixed point.",
    epilog="Example: dyn stability --lambda-s 1 --lambda-d 0.9 --lambda-s 1 --lambda-d 0.4 --state point.npz",
)
def stability(
    system: SystemOptions,
    output: ReportOptions,
    state: Annotated[Path, typer.Option("--state", help="FILE.npz with online, predictor and target.")],
    method: Annotated[
        str, typer.Option("--method", help="auto, blocks, dense or iterative (auto).", show_default=False)
    ] = "auto",
    tolerance: Annotated[
        float,
        typer.Option(
            "--tolerance",
            parser=number,
            metavar="NUMBER",
            help="What counts as rest (1e-6).",
            show_default=False,
        ),
    ] = 1e-6,
    eigenvalues: Annotated[bool, typer.Option("--eigenvalues", help="Print every eigenvalue.")] = False,
) -> None:
    """Print the spectrum of the Jacobian at a fixed point, and which pairs of row and mode decide it."""
    from analysis import stability as theory
    from analysis.pair_conditions import decoupled_form, pair_conditions
    from analysis.simulation import plain

    if system.variant is not Variant.FULL:
        raise ValueError(f"--variant must be full for a stability analysis of matrices, got {system.variant}")
    moments = read_moments(system, output)
    full = matrix_system(system, moments)
    start = full.state(*matrix_start(StartOptions(state=state), moments, output.seed))
    result = theory.stability(start, full, method=cast(Any, method), tolerance=tolerance)
    conditions = []
    r10_applies = full.weight_decay == 0 and system.objective is not Objective.RAFT
    if r10_applies and decoupled_form(start, full, tolerance=tolerance) is not None:
        conditions = pair_conditions(start, full, tolerance=tolerance)
    counts = {name: getattr(result, name) for name in ("n_positive", "n_zero", "n_negative")}
    report: dict[str, Any] = {
        "residual": result.residual,
        "n_unknowns": result.n_unknowns,
        "method": result.method,
        "verdict": result.verdict,
        "spectrum": {**counts, "max_real": result.max_real, "min_real": result.min_real},
        "n_zero_forced": result.n_zero_forced,
        "conditions": [condition._asdict() for condition in conditions],
    }
    pairs = [[value.real, value.imag] for value in result.eigenvalues.tolist()]
    if eigenvalues:
        report["eigenvalues"] = pairs
    if output.json:
        print_json(plain(report))
        return
    rows = [
        ["verdict", result.verdict or "not known"],
        ["unknowns", str(result.n_unknowns)],
        ["method", result.method],
        ["residual", f"{result.residual:.1e}"],
        ["positive / zero / negative", " / ".join("?" if n is None else str(n) for n in counts.values())],
        ["zeros forced by the fixed points around", str(result.n_zero_forced)],
        ["real parts", f"{result.max_real:.6g} to {result.min_real:.6g}"],
    ]
    decisive = [condition.sentence for condition in conditions if condition.verdict != "stable"]
    print_table(["spectrum", ""], rows, "\n".join(decisive))
    if eigenvalues:
        print_table(["re", "im"], [[f"{real:.10g}", f"{imaginary:.10g}"] for real, imaginary in pairs])


@command(
    "sylvester",
    help="Which encoders can this predictor hold: all non-trivial θ with P θ = θ M.",
    epilog="Example: dyn sylvester --lambda-s 1 --lambda-d 0.9 --lambda-s 1 --lambda-d 0.4 --predictor point.npz",
)
def sylvester(
    system: SystemOptions,
    output: ReportOptions,
    predictor: Annotated[Path, typer.Option("--predictor", help="FILE.npz with predictor, or FILE.npy.")],
    tolerance: Annotated[
        float | None,
        typer.Option(
            "--tolerance",
            parser=number,
            metavar="NUMBER",
            help="Relative perturbation up to which eigenvalues count as shared.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print nullity, shared eigenvalues and the gap to the next pair."""
    from analysis.simulation import plain
    from analysis.sylvester import sylvester_solutions
    from dynamics.storage import load_predictor

    moments = read_moments(system, output)
    P = load_predictor(predictor)
    found = sylvester_solutions(P, matrix_system(system, moments), tolerance=tolerance)
    report: dict[str, Any] = {
        "nullity": found.nullity,
        "shared_eigenvalues": [[value.real, value.imag] for value in found.shared_eigenvalues.tolist()],
        "gap": found.gap,
        "residual": found.residual,
        "method": found.method,
        "tolerance": found.tolerance,
    }
    if output.json:
        print_json(plain(report))
        return
    shared = ", ".join(_eigenvalue_text(pair) for pair in report["shared_eigenvalues"])
    rows = [
        ["nullity", str(found.nullity)],
        ["shared eigenvalues", shared or "none"],
        ["gap to the next pair", f"{found.gap:.3g}"],
        ["residual", f"{found.residual:.1e}"],
        ["tolerance", f"{found.tolerance:.1e}"],
        ["method", found.method],
    ]
    print_table(["P θ = θ M", ""], rows)


# ------------------------------------------------------------------------------------------------------------ check


@command(
    "check",
    help="Do the results of the theory hold: each one measured on random systems.",
    epilog="Example: dyn check R2 R6 --seeds 3",
)
def check(
    output: ReportOptions,
    results: Annotated[
        list[str] | None, typer.Argument(metavar="[RESULT]...", help="R1 to R30; left out, all.")
    ] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", help="Random systems for each result (5).", show_default=False)
    ] = 5,
    symbolic: Annotated[bool, typer.Option("--symbolic", help="Run the symbolic proofs as well.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
) -> int:
    """Check results of the registry; exit code 1 if one is violated."""
    from analysis.results import RESULTS, Verdict
    from analysis.results import check as measure

    if seeds < 1:
        raise ValueError(f"--seeds must be an integer >= 1, got {seeds}")
    names = results or list(RESULTS)
    unknown = [name for name in names if name not in RESULTS]
    if unknown:
        raise ValueError(f"a result must be one of R1 to R30, got {', '.join(unknown)}")
    checks = []
    with progress("checking", output) as report_progress:
        for done, name in enumerate(names):
            checks.append(measure(RESULTS[name], n_trials=seeds, seed=output.seed, symbolic=symbolic))
            if report_progress is not None:
                report_progress(done + 1, len(names))
    n_violated = sum(item.verdict is Verdict.VIOLATED for item in checks)
    if output.json:
        print_json({"results": [item.report() for item in checks], "n_violated": n_violated})
    elif markdown:
        print_markdown(
            ["result", "statement", "source", "as printed", "what was wrong", "verdict"],
            [
                [
                    f"{item.result.id} {item.result.title}",
                    item.result.statement,
                    item.result.source,
                    str(item.result.as_printed),
                    item.result.correction,
                    str(item.verdict),
                ]
                for item in checks
            ],
        )
    else:
        rows = [
            [
                item.result.id,
                item.result.title,
                str(item.result.as_printed),
                str(item.verdict),
                f"{item.residual:.1e}",
                f"{item.tolerance:.1e}",
                {None: "–", True: "proved", False: "FAILS"}[item.proved],
                f"{item.seconds:.2f}",
            ]
            for item in checks
        ]
        columns = ["result", "", "as printed", "verdict", "residual", "tolerance", "proof", "s"]
        verdict = "all hold" if n_violated == 0 else f"{n_violated} violated"
        print_table(columns, rows, f"{len(checks)} results, {verdict}")
    return CHECK_FAILED if n_violated else 0


def print_markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table on standard output."""
    for row in (columns, ["---"] * len(columns), *rows):
        cells = (" ".join(cell.split()).replace("|", "\\|") for cell in row)
        sys.stdout.write("| " + " | ".join(cells) + " |\n")


# ------------------------------------------------------------------------------------------------------------- info

LIBRARIES = (
    "numpy",
    "scipy",
    "sympy",
    "matplotlib",
    "typer",
    "rich",
    "jax",
    "diffrax",
    "scikit-learn",
    "xarray",
)
VARIANT_MEANINGS = {
    "full": "W and P by gradient flow, Θ follows W by an exponential moving average",
    "fixed-target": "Θ constant",
    "tied": "one mode with w1 = w2 and τo = τp",
    "no-predictor": "P = I constant",
    "no-ema": "Θ = W behind the stop-gradient",
    "no-stop-gradient": "Θ = W, gradient through both branches",
    "symmetric-predictor": "P kept symmetric",
    "fast-predictor": "P optimal for the current W and Θ, the limit τp → 0",
    "directpred": "P = Û diag(√s + 0.1 max s) Ûᵀ from the feature covariance F = Û diag(s) Ûᵀ",
    "directset": "P = F",
}
OBJECTIVE_MEANINGS = {
    "byol": "E‖P W x1 − Θ x2‖²",
    "byol-prime": "α E‖P W (x1 − x2)‖² + β E‖P W x2 − Θ x2‖², an upper bound (R24)",
    "raft": "α E‖P W (x1 − x2)‖² − β E‖P W x2 − Θ x2‖² (R26)",
}
DATASET_MEANINGS = {
    "digits": "1,797 images of 8 by 8 pixels, bundled with scikit-learn",
    "FILE.npy, FILE.npz": "an array (N, d), (N, h, w) or (N, h, w, c)",
    "cifar10:DIR": "CIFAR-10, python or binary version, unpacked in DIR",
    "stl10:DIR": "STL-10, binary version, unpacked in DIR",
}
TOPICS = ("versions", "augmentations", "variants", "objectives", "datasets", "formats")


@command(
    "info",
    help="Versions, devices, and the names of things.",
    epilog="Example: dyn info augmentations",
)
def info(
    topic: Annotated[str, typer.Argument(metavar="[TOPIC]", help=", ".join(TOPICS))] = "versions",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print what this installation has."""
    names = {
        "augmentations": _augmentation_names,
        "variants": lambda: VARIANT_MEANINGS,
        "objectives": lambda: OBJECTIVE_MEANINGS,
        "datasets": lambda: DATASET_MEANINGS,
        "formats": _format_names,
    }
    if topic not in TOPICS:
        raise ValueError(f"the topic must be one of {', '.join(TOPICS)}, got {topic!r}")
    if json:
        report = {"versions": _versions(), "devices": _devices()}
        print_json(report | {name: read() for name, read in names.items()})
        return
    if topic != "versions":
        print_table(["name", "meaning"], [[name, text] for name, text in names[topic]().items()])
        return
    print_table(["library", "version"], [[name, text] for name, text in _versions().items()])
    print_table(["device"], [[device] for device in _devices()])


def _versions() -> dict[str, str]:
    from importlib.metadata import version
    from platform import python_version

    return {
        "dyn": version("dyn-byol"),
        "python": python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


def _devices() -> list[str]:
    import jax

    return [f"{device.platform}: {device.device_kind}" for device in jax.devices()]


def _augmentation_names() -> dict[str, str]:
    from dynamics.augment import AUGMENTATIONS

    return {kind.signature: kind.meaning for kind in AUGMENTATIONS.values()}


def _format_names() -> dict[str, str]:
    from dynamics.storage import SUFFIXES
    from figures.style import PICTURES

    return {"--out": ", ".join(SUFFIXES), "--plot": ", ".join(PICTURES)}


if __name__ == "__main__":
    app()
