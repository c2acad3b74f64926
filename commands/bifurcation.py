"""`dyn bifurcation`: where behaviour changes as one parameter moves."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from commands.averaging import EmaOptions
from commands.declaration import READS, SYSTEM, command, numeric, option
from commands.options import ObjectiveOptions
from commands.output import note, number_text, print_json, print_table, triple_text
from commands.saving import SaveOptions, checked_outputs
from dynamics.objectives import OBJECTIVES, with_weight

if TYPE_CHECKING:
    from analysis.fixed_points.diagrams import Bifurcation, Branch
    from dynamics.system import ModeSystem


@dataclass(frozen=True)
class _RatesOfOneMode:
    """One mode of the full flow; what moves is left out."""

    lambda_s: Annotated[list[float] | None, numeric("--lambda-s", panel=SYSTEM, help="λs of the mode.")] = (
        None
    )
    lambda_d: Annotated[list[float] | None, numeric("--lambda-d", panel=SYSTEM, help="λd of the mode.")] = (
        None
    )
    moments: Annotated[
        Path | None, option("--moments", panel=SYSTEM, help="FILE.npz with 1×1 sigma_s and sigma_d."), READS
    ] = None
    tau_online: Annotated[float | None, numeric("--tau-online", panel=SYSTEM, help="τo > 0 (1).")] = None
    tau_predictor: Annotated[float | None, numeric("--tau-predictor", panel=SYSTEM, help="τp > 0 (1).")] = (
        None
    )
    tau_target: Annotated[float | None, numeric("--tau-target", panel=SYSTEM, help="τt > 0 (1).")] = None
    weight_decay: Annotated[
        float | None, numeric("--weight-decay", panel=SYSTEM, help="η >= 0 (0), not with --invariant.")
    ] = None


@dataclass(frozen=True)
class OneMode(ObjectiveOptions, _RatesOfOneMode):
    """One mode of the full flow with its objective."""


@command(
    "bifurcation",
    epilog="Example: dyn bifurcation --lambda-s 1 --lambda-d 0.5 --parameter weight-decay --from 0 --to 0.1",
)
def bifurcation(
    mode: OneMode,
    average: EmaOptions,
    output: SaveOptions,
    parameter: Annotated[
        str,
        option(
            "--parameter",
            panel=SYSTEM,
            help="What moves: lambda-s, lambda-d, tau-online, tau-predictor, tau-target, weight-decay, invariant,"
            " alpha, beta or step.",
        ),
    ],
    begin: Annotated[float, numeric("--from", panel=SYSTEM, help="Where it begins.")],
    end: Annotated[float, numeric("--to", panel=SYSTEM, help="Where it ends.")],
    invariant: Annotated[
        float | None,
        numeric("--invariant", panel=SYSTEM, help="Leaf τo w1² − τp w2² = C to stay on, at weight decay 0."),
    ] = None,
    depth: Annotated[
        int | None,
        option(
            "--depth",
            panel=SYSTEM,
            help="Linear layers of the encoder, where weight-decay moves (R322).",
            min=1,
        ),
    ] = None,
) -> None:
    """Print branches of fixed points and the points where they change."""
    from analysis.fixed_points.bifurcations import PARAMETERS
    from analysis.fixed_points.bifurcations import bifurcation as theory

    checked_outputs(output)
    if parameter not in (*PARAMETERS, "step"):
        raise ValueError(f"--parameter must be one of {', '.join((*PARAMETERS, 'step'))}, got {parameter!r}")
    _check_weights(mode, parameter)
    _check_average(mode, average, parameter, invariant)
    with _named_as_typed():
        if depth is not None:
            found = _deep(mode, parameter, (begin, end), invariant, depth)
        elif parameter == "step":
            found = _by_steps(mode, average, (begin, end), invariant)
        else:
            found = theory(
                _system(mode, parameter),
                parameter,
                (begin, end),
                invariant=invariant,
                objective=cast(Any, mode.objective),
                alpha=1.0 if mode.alpha is None else mode.alpha,
                beta=1.0 if mode.beta is None else mode.beta,
            )
    unused = {"lambda-s": mode.lambda_s, "lambda-d": mode.lambda_d}.get(parameter)
    if unused:
        note(f"--{parameter} {unused[0]:g} is not used: it moves from --from to --to", output)
    report = found.report()
    if output.out is not None:
        _save(found, output.out)
    if output.plot is not None:
        from figures.results.objects import figure_diagram
        from figures.style import save

        save(figure_diagram(found), output.plot)
    if output.json:
        print_json(report)
        return
    rows = [[branch.name, *row, branch.status] for branch in found.branches for row in _stretches(branch)]
    print_table(["branch", found.parameter, "w1, w2, θ", "stability", "status"], rows, "\n".join(found.notes))
    rows = [
        [point["type"], f"{point['value']:.9g}", triple_text(point), point["note"]]
        for point in report["points"]
    ]
    rows += [
        ["escape", f"{escape.value:.9g}", "infinite", ", ".join(escape.branches) + " run to infinity"]
        for escape in found.escapes
    ]
    if rows:
        print_table(["bifurcation", found.parameter, "w1, w2, θ", ""], rows)
    else:
        print_table([f"no bifurcation between {begin:g} and {end:g}"], [])


@contextmanager
def _named_as_typed() -> Iterator[None]:
    """Let messages name the options of this command."""
    typed = {"`interval`": "--from and --to", "`system`": "--lambda-s and --lambda-d"}
    try:
        yield
    except ValueError as error:
        message = str(error)
        for name, options in typed.items():
            message = message.replace(name, options)
        raise ValueError(message) from None


def _check_weights(mode: OneMode, parameter: str) -> None:
    """Refuse options that would be ignored."""
    for name in ("tau_online", "tau_predictor", "tau_target", "weight_decay", "alpha", "beta"):
        given, option_name = getattr(mode, name), "--" + name.replace("_", "-")
        if given is not None and option_name[2:] == parameter:
            raise ValueError(f"{option_name} must not be given where --parameter moves it, got {given:g}")
        if given is not None and name in ("alpha", "beta") and name not in OBJECTIVES[mode.objective].weights:
            takers = " or ".join(with_weight(name))
            raise ValueError(f"{option_name} must go with --objective {takers}, got {mode.objective}")


def _deep(
    mode: OneMode, parameter: str, interval: tuple[float, float], invariant: float | None, depth: int
) -> Bifurcation:
    """Rest points of a deep encoder over weight decay (R322)."""
    from analysis.depth.branches import decay_branches
    from dynamics.fields.deep import DeepSystem

    if parameter != "weight-decay":
        raise ValueError(f"--parameter must be weight-decay with --depth, got {parameter}")
    if invariant is not None:
        raise ValueError(f"--invariant must not go with --depth, got {invariant:g}")
    if mode.objective != "byol":
        raise ValueError(f"--objective must be byol with --depth, got {mode.objective}")
    one = _system(mode, parameter)
    if one.lambda_s[0] <= 0 or one.lambda_d[0] <= 0:
        raise ValueError(f"--lambda-d must be > 0 with --depth, got {one.lambda_d[0]:g}")
    rates = {name: getattr(one, name) for name in ("tau_online", "tau_predictor", "tau_target")}
    return decay_branches(DeepSystem(one.lambda_s, one.lambda_d, depth=depth, **rates), interval)


def _check_average(mode: OneMode, average: EmaOptions, parameter: str, invariant: float | None) -> None:
    """Refuse an average without steps, and steps without what they need."""
    if parameter != "step":
        for name in ("ema_rate", "ema_order"):
            if getattr(average, name) is not None:
                raise ValueError(f"`{name}` must go with --parameter step, got {parameter}")
        return
    for name, given in (("--ema-rate", average.ema_rate), ("--invariant", invariant)):
        if given is None:
            raise ValueError(f"{name} must be given with --parameter step, got none")
    if mode.weight_decay:
        raise ValueError(f"`weight_decay` must be 0 with --parameter step, got {mode.weight_decay}")
    if mode.objective != "byol":
        raise ValueError(f"--objective must be byol with --parameter step, got {mode.objective}")


def _by_steps(
    mode: OneMode, average: EmaOptions, interval: tuple[float, float], invariant: float | None
) -> Bifurcation:
    """Bifurcations of gradient descent as its step grows."""
    from analysis.steps.diagrams import step_bifurcation
    from dynamics.integration.discrete import EmaOrder

    assert average.ema_rate is not None
    assert invariant is not None
    order = EmaOrder(average.ema_order or EmaOrder.PRACTICAL)
    return step_bifurcation(_system(mode, "step"), interval, invariant, average.ema_rate, order)


def _system(mode: OneMode, parameter: str) -> ModeSystem:
    """The mode, with any number in the place of what moves."""
    from dynamics.data.moments import Moments, load_moments
    from dynamics.system import ModeSystem

    rates = {
        "tau_online": mode.tau_online,
        "tau_predictor": mode.tau_predictor,
        "tau_target": mode.tau_target,
        "weight_decay": mode.weight_decay,
    }
    given = {name: value for name, value in rates.items() if value is not None}
    if mode.moments is not None:
        if mode.lambda_s or mode.lambda_d:
            raise ValueError("--moments must not be given together with --lambda-s or --lambda-d, got both")
        moments = load_moments(mode.moments)
        if moments.n1 != 1:
            raise ValueError(f"--moments must hold one mode, 1×1 matrices, got {moments.n1} modes")
        return ModeSystem(moments.sigma_s.diagonal(), moments.sigma_d.diagonal(), **given)
    lambdas = {"lambda-s": mode.lambda_s, "lambda-d": mode.lambda_d}
    for name, values in lambdas.items():
        if values is not None and len(values) > 1:
            raise ValueError(f"--{name} must be given once, for one mode, got {len(values)} times")
        if values is None and name != parameter:
            raise ValueError(f"--{name} must be given, or --moments, got neither")
    fixed = [values[0] for name, values in lambdas.items() if values is not None and name != parameter]
    if len(fixed) == 2:
        Moments.from_eigenvalues(*([value] for value in fixed))  # refuses λs and λd that no views have
    lambda_s, lambda_d = fixed if len(fixed) == 2 else (fixed[0], fixed[0])
    return ModeSystem(lambda_s, lambda_d, **given)


def _stretches(branch: Branch) -> Iterator[list[str]]:
    """Parts of a branch of one stability: the parameter, the weights and the stability from end to end.

    Single degenerate points, where a part ends in a bifurcation, belong to the parts on both sides.
    """
    runs, begin = [], 0
    for stability, points in groupby(branch.stability):
        last = begin + len(list(points)) - 1
        runs.append((stability, begin, last))
        begin = last + 1
    single = [stability == "degenerate" and first == last for stability, first, last in runs]
    for i, (stability, first, last) in enumerate(runs):
        if single[i] and len(runs) > 1:
            continue
        ends = first - (i > 0 and single[i - 1]), last + (i + 1 < len(runs) and single[i + 1])
        texts = [
            (
                number_text(branch.value[k]),
                f"({branch.online[k]:.4g}, {branch.predictor[k]:.4g}, {branch.target[k]:.4g})",
            )
            for k in ends
        ]
        yield [*(" to ".join(dict.fromkeys(pair)) for pair in zip(*texts, strict=True)), stability]


def _save(found: Bifurcation, path: Path) -> None:
    """Points of branches; the names of the branches are in the description."""
    from analysis.runs.arrays import bifurcation_arrays
    from dynamics.files import write_arrays

    report = found.report()
    branches = [{"name": branch["name"], "status": branch["status"]} for branch in report["branches"]]
    meta = {
        "command": sys.argv[1:],
        "parameter": found.parameter,
        "branches": branches,
        "points": report["points"],
    }
    write_arrays(path, bifurcation_arrays(found), meta)
