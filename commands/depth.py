"""Deep encoders as commands describe them: layers as they are typed, and the system of a mode with layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from commands.declaration import number
from commands.options import FlowOptions

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
