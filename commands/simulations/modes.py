"""Runs of modes one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from commands.normalisation import BatchNormOptions, check_decoupled
from commands.options import mode_system
from commands.output import number_text, print_table, triple_text
from commands.simulations.request import Kind, Request
from commands.simulations.restarts import RestartOptions, print_restarts
from commands.simulations.tables import cost_text, prediction_text

if TYPE_CHECKING:
    from analysis.runs.restarts import RestartedSimulation
    from analysis.runs.simulation import ModeSimulation


def run_modes(request: Request) -> ModeSimulation | RestartedSimulation:
    """Run decoupled modes, with restarts of their predictors if there are any."""
    from analysis.runs.simulation import simulate_modes
    from dynamics.variants import VARIANTS

    system, start, options = request.system, request.start, request.options
    check_decoupled(request.known, request.normaliser)
    if (method := options.pop("method")) != "auto":
        raise ValueError(
            f"--method must go with a matrix run, as a run of modes has one method of its own, got {method}"
        )
    for name in ("init_online", "init_predictor"):
        if getattr(start, name) is not None:
            raise ValueError(
                f"`{name}` must go with a matrix run (--dim, --moments or --data), got eigenvalues alone"
            )
    modes = mode_system(system, request.known)
    online = start.online or [0.1]
    predictor = start.predictor or (online if system.variant == "tied" else [0.1])
    state = modes.state(online, predictor, start.target or [0.1])
    field = VARIANTS[system.variant].mode_field
    if (restarts := request.restart.restarts) is not None:
        from analysis.runs.restarts import restarted_modes

        return restarted_modes(state, modes, field, restarts, seed=request.output.seed, **options)
    return simulate_modes(state, modes, field, **options)


def print_modes(report: dict[str, Any]) -> None:
    """Print a row per mode, and the restarts."""
    rows = []
    for k, mode in enumerate(report["modes"]):
        predicted = mode["predicted"]
        drift = mode["invariant"]["drift"]
        rows.append(
            [
                str(k + 1),
                number_text(mode["ratio"]),
                triple_text(mode["initial"]),
                triple_text(mode["final"]),
                mode["fate"],
                prediction_text(mode),
                triple_text(predicted) if predicted["fate"] else "–",
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
    print_table(columns, rows, cost_text(report))
    if "restarts" in report:
        print_restarts(report["restarts"], as_modes=True)


MODES = Kind(
    words=lambda request: "modes that run one by one",
    asked=lambda request: request.by_modes,
    obeys=(BatchNormOptions, RestartOptions),
    run=run_modes,
    show=print_modes,
    unit="modes",
)
"""Modes one by one."""
