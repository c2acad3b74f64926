"""Runs of the full network, and of one with normalised features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from commands.normalisation import BatchNormOptions, needs_field
from commands.options import check_no_mode_start, matrix_start, matrix_system
from commands.output import number_text, print_table
from commands.simulations.request import Kind, Request
from commands.simulations.restarts import RestartOptions, print_restarts
from commands.simulations.tables import cost_text

if TYPE_CHECKING:
    from analysis.runs.restarts import RestartedSimulation
    from analysis.runs.simulation import MatrixSimulation


def run_matrices(request: Request) -> MatrixSimulation | RestartedSimulation:
    """Run W, P and Θ, with restarts of the predictor if there are any."""
    from analysis.runs.simulation import simulate_matrices
    from dynamics.states import MatrixState
    from dynamics.variants import VARIANTS

    system, start, moments, options = request.system, request.start, request.known, request.options
    check_no_mode_start(start)
    field = VARIANTS[system.variant].matrix_field
    if field is None:
        raise ValueError(f"--variant {system.variant} is defined for modes only, got a matrix run")
    state = matrix_start(start, moments, request.output.seed, MatrixState)
    full = matrix_system(system, moments)
    if (restarts := request.restart.restarts) is not None:
        from analysis.runs.restarts import restarted_matrices

        return restarted_matrices(state, full, field, restarts, seed=request.output.seed, **options)
    return simulate_matrices(state, full, field, **options)


def run_normalised(request: Request) -> MatrixSimulation:
    """Run W, P and Θ with features that are normalised in a way that is no change of moments."""
    from analysis.runs.normalised import simulate_normalised
    from dynamics.fields.batch_normalised import BASES
    from dynamics.states import MatrixState

    system, start, moments = request.system, request.start, request.known
    bases = {field.name: field for field in BASES}
    if system.variant not in bases:
        raise ValueError(
            f"--variant must be one of {', '.join(bases)} where features are divided by their deviation or the mean is"
            f" detached, got {system.variant}"
        )
    full = matrix_system(system, moments)
    scalars = (start.online, start.predictor, start.target)
    drawn = (start.dim, start.state, start.init_online, start.init_predictor)
    if system.lambda_s is not None and all(option is None for option in drawn):  # one row per mode
        parts = []
        for name, values in zip(("online", "predictor", "target"), scalars, strict=True):
            if len(values or [0.1]) not in (1, full.n1):
                raise ValueError(
                    f"`{name}` must be given once, or once for each of {full.n1} modes, got {len(values or ())}"
                )
            parts.append(
                [[x if i == j else 0.0 for j in range(full.n1)] for i, x in _spread(values, full.n1)]
            )
        state = MatrixState(*parts)
    else:
        check_no_mode_start(start)
        state = matrix_start(start, moments, request.output.seed, MatrixState)
    base = bases[system.variant]
    return simulate_normalised(state, full, request.normaliser, moments.mean, base=base, **request.options)


def _spread(values: list[float] | None, n: int) -> list[tuple[int, float]]:
    """Scalars of a start, one per mode."""
    given = values or [0.1]
    return list(enumerate(given * n if len(given) == 1 else given))


def print_matrices(report: dict[str, Any]) -> None:
    """Print a row per eigenspace of the predictor, and the restarts."""
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
    top = ", ".join(number_text(ratio) for ratio in theory["ratios"][: system["n2"]])
    floor = "–" if theory["rank_floor"] is None else theory["rank_floor"]
    resonance = "–" if theory["resonance_error"] is None else f"{theory['resonance_error']:.1e}"
    drift = report["invariant"]["drift"]
    conserved = (report.get("batch_norm", {}).get("conserved") or "balance").replace("-", " ")
    caption = (
        f"n1 = {system['n1']}, n2 = {system['n2']}, dropped directions {system['dropped_directions']},"
        f" commutator of Σs and Σd {system['commutator']:.3g}\n"
        f"top of M's spectrum: {top}\n"
        f"rank {report['final']['rank']} (floor {floor}) · resonance error {resonance}"
        f" · drift of the {conserved} {'–' if drift is None else f'{drift:.1e}'}\n{cost_text(report)}"
    )
    columns = ["row", "predictor eigenvalue", "ratio of M", "mode of M", "amplitude", "fate"]
    print_table(columns, rows, caption + _normalised_text(report.get("batch_norm", {})))
    if "restarts" in report:
        print_restarts(report["restarts"], as_modes=False)


def _normalised_text(found: dict[str, Any]) -> str:
    """What a run with normalised features has besides."""
    if "row_norms" not in found:
        return ""
    ends = (", ".join(f"{norm:.4g}" for norm in found["row_norms"][when]) for when in ("initial", "final"))
    lines = ["norms of rows: {} → {}".format(*ends)]
    if found["dead_row"] is not None:
        predicted = found["predicted"]["death"]
        said = "no result applies" if predicted is None else f"predicted {predicted:.7g}"
        lines.append(f"row {found['dead_row'] + 1} reached zero ({said})")
    if (rate := found["predicted"]["runaway_rate"]) is not None:
        lines.append(f"a mode grows like e^(gt), g = {rate:.7g} (R216)")
    return "\n" + "\n".join(lines)


MATRICES = Kind(
    words=lambda request: "a run of the full network",
    asked=lambda request: True,
    obeys=(BatchNormOptions, RestartOptions),
    run=run_matrices,
    show=print_matrices,
)
"""The full network."""

NORMALISED = Kind(
    words=lambda request: (
        f"--batch-norm {request.system.batch_norm}, whose flow is not that of centred moments"
    ),
    asked=lambda request: needs_field(request.normaliser),
    obeys=(BatchNormOptions,),
    run=run_normalised,
    show=print_matrices,
)
"""The full network with features that are divided by their deviation, or whose mean is detached."""
