"""Runs of a deep linear encoder of matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from commands.options import matrix_system
from commands.output import print_table
from commands.simulations.matrices import print_matrices
from commands.simulations.request import DepthOptions, Kind, Request

if TYPE_CHECKING:
    from analysis.runs.deep_matrices import DeepMatrixSimulation


def run_deep_matrices(request: Request) -> DeepMatrixSimulation:
    """Run every layer of the network."""
    from analysis.runs.deep_matrices import simulate_deep_matrices
    from dynamics.data.layers import load_deep_state
    from dynamics.data.starts import draw_deep_start, on_support
    from dynamics.fields.deep_matrices import DEEP_MATRIX_FIELDS

    system, start, moments = request.system, request.start, request.known
    assert system.depth is not None
    if system.layers is not None:
        raise ValueError(
            f"`layers` must go with modes; a network starts from --state or at random, got {system.layers[0]}"
        )
    for name in ("online", "predictor", "target"):
        if (values := getattr(start, name)) is not None:
            raise ValueError(
                f"`{name}` must go with modes; a network starts from --state or at random, got {values[0]:g}"
            )
    if system.variant not in DEEP_MATRIX_FIELDS:
        raise ValueError(
            f"--variant must be {' or '.join(DEEP_MATRIX_FIELDS)} with --depth, got {system.variant}"
        )
    given = {name: getattr(start, name) for name in ("init_online", "init_predictor")}
    sizes = {name: value for name, value in given.items() if value is not None}
    if start.state is not None:
        for name, value in {"dim": start.dim, **sizes}.items():
            if value is not None:
                raise ValueError(
                    f"`{name}` must not be given with --state, which holds the whole start, got {value:g}"
                )
        state = load_deep_state(start.state, system.depth)
        if (columns := state.first.shape[1]) != moments.n_inputs:
            raise ValueError(
                f"--state: layer1 must have {moments.n_inputs} columns like the data, got {columns}"
            )
        state = on_support(state, moments)
    else:
        dim = min(8, moments.n_inputs) if start.dim is None else start.dim
        state = draw_deep_start(moments, dim, system.depth, seed=request.output.seed, **sizes)
    field = DEEP_MATRIX_FIELDS[system.variant]
    return simulate_deep_matrices(state, matrix_system(system, moments), field, **request.options)


def print_deep_matrices(report: dict[str, Any]) -> None:
    """Print a row per eigenspace of the predictor, and the singular values of every layer."""
    rows = [
        [str(k + 1), ", ".join(f"{value:.5g}" for value in values)]
        for k, values in enumerate(report["final"]["layer_singular_values"])
    ]
    print_matrices(report)
    print_table(["layer", "singular values"], rows)


DEEP_MATRICES = Kind(
    words=lambda request: "--depth",
    asked=lambda request: (
        request.system.depth is not None
        and not request.of_encoder
        and (
            request.system.lambda_s is None
            or request.start.dim is not None
            or request.start.state is not None
        )
    ),
    obeys=(DepthOptions,),
    run=run_deep_matrices,
    show=print_deep_matrices,
)
"""The full network with several layers."""
