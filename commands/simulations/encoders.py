"""Runs of an encoder alone, under a contrastive loss or one of its output moments."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from commands.options import LossOptions, RedundancyOptions, check_no_mode_start, encoder_system, matrix_start
from commands.output import number_text, print_table
from commands.simulations.request import BranchOptions, Kind, Request
from commands.simulations.tables import LISTED, cost_text, prediction_text

if TYPE_CHECKING:
    from analysis.runs.encoders import EncoderSimulation


def run_encoder(request: Request) -> EncoderSimulation:
    """Run W alone."""
    import numpy as np

    from analysis.runs.encoders import simulate_encoder
    from analysis.runs.infonce import simulate_saturating
    from analysis.runs.redundancy import simulate_redundancy
    from dynamics.states import EncoderState

    system, start, moments, options = request.system, request.start, request.known, request.options
    loss = system.loss_of(system.objective)
    redundancy = system.redundancy_of(system.objective)
    full = encoder_system(system, moments)
    for name in ("predictor", "target", "init_predictor"):
        if getattr(start, name) is not None:
            raise ValueError(
                f"`{name}` must not go with --objective {system.objective}, which trains an encoder alone"
            )
    if (
        system.lambda_s is not None
        and start.dim is None
        and start.state is None
        and start.init_online is None
    ):
        weights = start.online or [0.1]
        if len(weights) not in (1, full.n1):
            raise ValueError(
                f"`online` must be given once, or once for each of {full.n1} modes, got {len(weights)}"
            )
        state = EncoderState(np.broadcast_to(weights, (1, full.n1)))
    else:
        check_no_mode_start(start)
        state = matrix_start(start, moments, request.output.seed, EncoderState)
    if redundancy is not None:
        return simulate_redundancy(state, full, redundancy, **options)
    if loss is None:
        return simulate_encoder(state, full, system.branches or "all", **options)
    return simulate_saturating(state, full, loss, **options)


def _predicted_size(predicted: dict[str, Any]) -> str:
    if predicted["amplitude"] is None:
        return "∞" if predicted["fate"] else "–"
    return f"{predicted['amplitude']:.6g}"


def print_encoder(report: dict[str, Any]) -> None:
    """Print a row per mode."""
    saturates = report["objective"] != "simple"
    rows = []
    for k, mode in enumerate(report["modes"][:LISTED]):
        row = [str(k + 1), number_text(mode["lambda_d"]), number_text(mode["ratio"])]
        if saturates:
            row += [f"{mode[when]['amplitude']:.6g}" for when in ("initial", "final")]
            row.append(_predicted_size(mode["predicted"]))
        else:
            row += [number_text(mode[when]["online"]) for when in ("initial", "final")]
            row.append("–" if mode["share"] is None else f"{mode['share']:.4g}")
        rows.append([*row, mode["fate"], prediction_text(mode)])
    rest = Counter(mode["fate"] for mode in report["modes"][LISTED:])
    more = ", ".join(f"{count} {fate}" for fate, count in rest.items())
    error = report["exact"]["error"]
    caption = (f"and {rest.total()} more modes: {more} (--json lists them)\n" if rest else "") + (
        f"rank {report['final']['rank']} · error {'–' if error is None else f'{error:.1e}'} · {cost_text(report)}"
    )
    measure = "w Σd wᵀ" if report["objective"] == "barlow-twins" and not report["normalised"] else "w Σs wᵀ"
    sizes = [f"start {measure}", "end", "predicted end"] if saturates else ["start", "end", "share of ‖W‖²"]
    columns = ["mode", "λd", "λd/λs", *sizes, "fate", "predicted"]
    print_table(columns, rows, caption)


ENCODER = Kind(
    words=lambda request: f"--objective {request.system.objective}, which trains an encoder alone",
    asked=lambda request: request.of_encoder,
    obeys=(LossOptions, RedundancyOptions, BranchOptions),
    run=run_encoder,
    show=print_encoder,
)
"""An encoder alone."""
