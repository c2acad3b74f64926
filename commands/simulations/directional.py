"""Runs of modes under the cosine loss and the IsoLoss."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from commands.options import mode_system
from commands.simulations.modes import print_modes
from commands.simulations.request import Kind, Request
from dynamics.objectives import OBJECTIVES

if TYPE_CHECKING:
    from analysis.runs.simulation import ModeSimulation


def run_directional(request: Request) -> ModeSimulation:
    """Run all modes together."""
    from analysis.runs.directional import FIELDS, simulate_directional

    system, start = request.system, request.start
    name = system.objective
    if system.lambda_s is None:
        raise ValueError(
            f"--objective {name} must go with --lambda-s and --lambda-d: its flow is known of modes"
        )
    for option in ("dim", "state", "init_online", "init_predictor"):
        if (value := getattr(start, option)) is not None:
            raise ValueError(f"`{option}` must not go with --objective {name}, a run of modes, got {value}")
    for option in ("alpha", "beta"):
        if (value := getattr(system, option)) is not None:
            raise ValueError(f"`{option}` must not go with --objective {name}, got {value}")
    known = [variant for objective, variant in FIELDS if objective == name]
    if system.variant not in known:
        raise ValueError(
            f"--variant must be {' or '.join(known)} with --objective {name}, got {system.variant}"
        )
    modes = mode_system(replace(system, objective="byol"), request.known)  # moments as they are
    begin = modes.state(start.online or [0.1], start.predictor or [0.1], start.target or [0.1])
    return simulate_directional(begin, modes, name, system.variant, **request.options)


DIRECTIONAL = Kind(
    words=lambda request: f"--objective {request.system.objective}",
    asked=lambda request: OBJECTIVES[request.system.objective].directional,
    obeys=(),
    run=run_directional,
    show=print_modes,
)
"""Modes under the cosine loss or the IsoLoss."""
