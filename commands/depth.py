"""Deep encoders as commands describe them: layers as they are typed, and the system of a mode with layers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from commands.declaration import number
from commands.options import FlowOptions, SystemOptions, mode_system, read_moments
from commands.output import ReportOptions, print_json, print_table

if TYPE_CHECKING:
    from dynamics.fields.deep import DeepSystem
    from dynamics.fields.vector_field import VectorField
    from dynamics.system import ModeSystem


def layer_weights(text: str, depth: int | None = None) -> list[float]:
    """Weights of the layers of a mode, first to last.

    >>> layer_weights(".3,.5", 2)
    [0.3, 0.5]
    """
    try:
        found = [number(part) for part in text.split(",")]
    except typer.BadParameter:
        raise ValueError(f"`layers` must be numbers such as .3,.5, got {text!r}") from None
    if depth is not None and len(found) != depth:
        raise ValueError(f"`layers` must hold one number per layer ({depth}), got {len(found)}")
    return found


def deep_system(modes: ModeSystem, depth: int) -> DeepSystem:
    """The same modes with several layers."""
    from dynamics.fields.deep import DeepSystem

    return DeepSystem(
        modes.lambda_s,
        modes.lambda_d,
        depth=depth,
        tau_online=modes.tau_online,
        tau_predictor=modes.tau_predictor,
        tau_target=modes.tau_target,
        weight_decay=modes.weight_decay,
    )


def positive_mode(modes: ModeSystem, depth: int) -> DeepSystem:
    """One mode with several layers, whose λs and λd are positive, as results of deep encoders need."""
    if modes.n_modes != 1:
        raise ValueError(f"--depth must go with one mode, got {modes.n_modes}")
    if modes.lambda_s[0] <= 0 or modes.lambda_d[0] <= 0:
        raise ValueError(
            f"--lambda-d must be > 0 with --depth, got λs = {modes.lambda_s[0]:g} and λd = {modes.lambda_d[0]:g}"
        )
    return deep_system(modes, depth)


def deep_field_of(options: FlowOptions) -> VectorField:
    """Flow of a deep encoder that the variant names."""
    from dynamics.fields.deep import DEEP_FIELDS

    if options.variant not in DEEP_FIELDS:
        raise ValueError(f"--variant must be {' or '.join(DEEP_FIELDS)} with --depth, got {options.variant}")
    return DEEP_FIELDS[options.variant]


def print_deep_stability(
    system: SystemOptions,
    depth: int,
    state: Path,
    output: ReportOptions,
    *,
    tolerance: float,
    polish: bool,
    eigenvalues: bool,
) -> None:
    """Print the spectrum of the flow of modes with layers at rest, and what decides each mode (R320, R322)."""
    from analysis.depth.stability import deep_stability, polish_modes
    from analysis.runs.simulation import plain
    from dynamics.data.layers import load_layers
    from dynamics.fields.deep import DeepState

    if system.lambda_s is None:
        raise ValueError("--depth must go with --lambda-s and --lambda-d: layers rest mode by mode")
    field = deep_field_of(system)
    modes = mode_system(system, read_moments(system, output))
    layers, predictor, targets = load_layers(state)
    if layers.shape != (depth, modes.n_modes):
        raise ValueError(
            f"--state must hold layers of --depth {depth} and {modes.n_modes} modes, got shape {layers.shape}"
        )
    full = deep_system(modes, depth)
    start = DeepState(layers, predictor, targets)
    polished: dict[str, Any] = {}
    if polish:
        start, *facts = polish_modes(start, full, field)
        names = ("status", "residual_before", "residual_after", "displacement", "n_steps")
        polished = {"polished": dict(zip(names, facts, strict=True))}
    result, conditions = deep_stability(start, full, field, tolerance=tolerance)
    report = {
        **result.report(),
        "depth": depth,
        "variant": system.variant,
        "conditions": [condition._asdict() for condition in conditions],
        **polished,
    }
    pairs = [[value.real, value.imag] for value in result.eigenvalues.tolist()]
    if eigenvalues:
        report["eigenvalues"] = pairs
    if output.json:
        print_json(plain(report))
        return
    counts = (result.n_positive, result.n_zero, result.n_negative)
    rows = [
        ["verdict", str(result.verdict)],
        ["unknowns", str(result.n_unknowns)],
        ["method", result.method],
        ["residual", f"{result.residual:.1e}"],
        ["positive / zero / negative", " / ".join(str(n) for n in counts)],
        ["zeros forced by the fixed points around", str(result.n_zero_forced)],
        ["real parts", f"{result.max_real:.6g} to {result.min_real:.6g}"],
    ]
    if polish:
        done = polished["polished"]
        moved = f"moved by {done['displacement']:.3g}, residual was {done['residual_before']:.1e}"
        rows.insert(0, ["polished", moved])
    sentences = "\n".join(condition.sentence for condition in conditions)
    several = "\nthe spectrum is the union of those of the modes, a block each" if len(conditions) > 1 else ""
    print_table(["spectrum", ""], rows, sentences + several)
    if eigenvalues:
        print_table(["re", "im"], [[f"{real:.10g}", f"{imaginary:.10g}"] for real, imaginary in pairs])
