"""Results in a few lines: what happened, what was predicted, how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

LINES = 8
"""Modes, rows, points or results that are listed; the rest are counted."""


def summary(result: Any) -> str:
    """Text of at most eleven lines for a result of this package; `repr` for anything else.

    Examples
    --------
    >>> from analysis.runs.simulation import simulate_modes
    >>> from dynamics.fields.modes import full_mode_field
    >>> from dynamics.system import ModeSystem
    >>> system = ModeSystem(1.0, 0.5)
    >>> print(summary(simulate_modes(system.state(0.1, -0.3, 0.1), system, full_mode_field)).splitlines()[1])
    mode 1: r = 0.5, collapsed as predicted, (w1, w2, θ) = (0, -0.2828, 0)
    """
    text = _TEXTS.get(f"{type(result).__module__}:{type(result).__qualname__}")
    return repr(result) if text is None else "\n".join(text(result))


def listed(lines: Iterable[str], noun: str) -> list[str]:
    """The first lines, and how many more there are.

    >>> listed(["a"] * 10, "points")[-1]
    'and 2 more points'
    """
    known = list(lines)
    return known[:LINES] + ([f"and {len(known) - LINES} more {noun}"] if len(known) > LINES else [])


def number(value: float, digits: int = 4) -> str:
    """A number in a few digits; what is zero to rounding beside weights of size 1 is 0.

    >>> number(-3e-13), number(0.50001)
    ('0', '0.5')
    """
    return "0" if abs(value) < 1e-9 else f"{value:.{digits}g}"


def _triple(entry: dict[str, Any]) -> str:
    parts = (entry[name] for name in ("online", "predictor", "target"))
    return "(" + ", ".join("–" if part is None else number(part) for part in parts) + ")"


def _ended(report: dict[str, Any]) -> str:
    return f"{report['variant']} flow, {report['status']} at t = {report['t']:.4g}"


def _mode_simulation(simulation: Any) -> list[str]:
    report = simulation.report()
    lines = []
    for k, mode in enumerate(report["modes"], start=1):
        predicted = mode["predicted"]
        beside = {
            True: " as predicted",
            False: f", but {predicted['fate']} was predicted",
            None: f", {predicted['fate']} is predicted" if predicted["fate"] else ", no prediction",
        }[mode["agrees"]]
        ratio = "–" if mode["ratio"] is None else number(mode["ratio"])
        lines.append(f"mode {k}: r = {ratio}, {mode['fate']}{beside}, (w1, w2, θ) = {_triple(mode['final'])}")
    return [_ended(report), *listed(lines, "modes")]


def _matrix_simulation(simulation: Any) -> list[str]:
    report = simulation.report()
    final, system, theory = report["final"], report["system"], report["theory"]
    lines = []
    for k, row in enumerate(final["rows"], start=1):
        learned = row["mode"] is not None and row["fate"] == "learned"
        what = f" mode {row['mode'] + 1}, r = {number(row['ratio'])}" if learned else ""
        lines.append(
            f"row {k}: eigenvalue of P {number(row['predictor_eigenvalue'][0])}, {row['fate']}{what}"
        )
    floor = "" if theory["rank_floor"] is None else f", at least {theory['rank_floor']} by R8"
    return [
        f"{_ended(report)}; n1 = {system['n1']}, n2 = {system['n2']}, rank {final['rank']}{floor}",
        *listed(lines, "rows"),
    ]


def _fixed_points(found: Any) -> list[str]:
    lines = [
        f"{point.name}: (w1, w2, θ) = {_triple(point._asdict() if hasattr(point, '_asdict') else vars(point))},"
        f" {point.stability}"
        for point in found.points
    ]
    lines += [
        f"line {line.name}: {', '.join(dict.fromkeys(part.stability for part in line.segments))}"
        for line in found.lines
    ]
    return [f"fixed points of one mode, {found.variant} flow", *(listed(lines, "fixed points") or ["none"])]


def _encoder_simulation(simulation: Any) -> list[str]:
    report = simulation.report()
    lines = [
        f"mode {k}: λd = {number(mode['lambda_d'])}, {mode['fate']}"
        f"{ {True: ' as predicted', False: ', not as predicted', None: ''}[mode['agrees']] }"
        + _encoder_size(mode)
        for k, mode in enumerate(report["modes"], start=1)
    ]
    return [_ended(report), *listed(lines, "modes")]


def _encoder_size(mode: dict[str, Any]) -> str:
    if "amplitude" in mode["final"]:
        return f", w Σs wᵀ = {number(mode['final']['amplitude'])}"
    return "" if mode["share"] is None else f", {mode['share']:.4g} of ‖W‖²"


def _basins(found: Any) -> list[str]:
    report = found.report()
    shares = ", ".join(f"{share:.2%} {fate}" for fate, share in report["fractions"].items() if share)
    return [
        f"{report['variant']} flow, {report['trajectories']} {report['starts']} starts: {shares}",
        f"theory predicts {report['predicted_by_theory']} of them, {report['theory_mismatches']} otherwise than"
        " they went",
    ]


def _stability(found: Any) -> list[str]:
    counts = " / ".join(
        "?" if n is None else str(n) for n in (found.n_positive, found.n_zero, found.n_negative)
    )
    return [
        f"{found.verdict or 'not known'}: real parts positive / zero / negative = {counts} of {found.n_unknowns}",
        f"from {number(found.max_real)} to {number(found.min_real)}, {found.n_zero_forced} zeros forced by fixed"
        f" points around; residual {found.residual:.1e}, method {found.method}",
    ]


def _sylvester(found: Any) -> list[str]:
    shared = ", ".join(f"{value:.4g}" for value in found.shared_eigenvalues.tolist()[:LINES])
    more = len(found.shared_eigenvalues) - LINES
    return [
        f"P θ = θ M has a {found.nullity}-dimensional space of solutions",
        f"shared eigenvalues: {shared or 'none'}{f' and {more} more' if more > 0 else ''}",
        f"gap to the next pair {found.gap:.3g}, residual {found.residual:.1e}, tolerance {found.tolerance:.1e}",
    ]


def _alignment(found: Any) -> list[str]:
    if found.applicable:
        bound = f"the bound of R19 {'holds' if found.holds else 'is violated'}, λ0 = {found.lambda_0:.4g}"
    else:
        bound = f"the bound of R19 does not apply: {found.reason}"
    return [
        f"‖[F, P]‖ from {found.commutator[0]:.3g} to {found.commutator[-1]:.3g} at t = {found.t[-1]:.4g}",
        bound,
        f"least overlap of eigenvectors {found.overlap[-1].min():.4f}, symmetry of P {found.symmetry[-1]:.4f}",
    ]


def _contrast(found: Any) -> list[str]:
    learned = found.learned
    sizes = zip(learned.modes, learned.ratios.tolist(), learned.amplitudes.tolist(), strict=True)
    noun = "mode" if learned.basis == "M" else "eigenvector of Σd"
    lines = [f"{noun} {k + 1}: r = {number(r)}, w Σs wᵀ = {number(s)}" for k, r, s in sizes]
    return [
        f"{found.objective} learns rank {learned.rank}, {found.n_points} critical points",
        *listed(lines, "modes"),
    ]


def _tree(found: Any) -> list[str]:
    lines = [f"{found.tree.n_nodes} nodes, {len(found.tree.leaves)} leaves"]
    if found.bayes is not None:
        lines[0] += f", correlation with the root at most {found.bayes[-1].correlation:.4g}"
    if found.linear is not None:
        lines[0] += f", of linear functions {found.linear[-1]:.4g}"
        traces = found.layer_trace
        lines += [f"layer traces {traces[0]:.4g} at the root, {traces[-1]:.4g} at depth {found.tree.height}"]
    lucky = found.report()["lucky"]
    return [
        *lines,
        f"one of {found.units_per_latent} units is lucky with probability {found.lucky:.4g} or more,"
        f" {lucky['nodes_needed']} are enough for {lucky['confidence']:.0%}",
    ]


def _training(run: Any) -> list[str]:
    from dynamics.training import diagnose

    seeds = run.seeds.tolist()
    lines = [f"seed {seed}: {diagnose(run, index).text}" for index, seed in enumerate(seeds[: LINES + 1])]
    lines += ["" for _ in seeds[LINES + 1 :]]  # counted only
    return [f"{int(run.steps[-1])} steps, {run.status}, on {run.device}", *listed(lines, "runs")]


def _check(check: Any) -> list[str]:
    return [
        f"{check.result.id} {check.result.title}: {check.verdict},"
        f" residual {check.residual:.1e}, tolerance {check.tolerance:.1e}"
    ]


def _confirmation(confirmation: Any) -> list[str]:
    report = confirmation.report()
    lines = [
        f"{entry['name']}: predicted {entry['required']}, measured {_measured(entry['measured'])}"
        for entry in report["measurements"]
    ]
    return [f"{report['id']} {report['title']}: {report['verdict']}", *listed(lines, "measurements")]


def _measured(value: float | str | None) -> str:
    return "–" if value is None else value if isinstance(value, str) else f"{value:.5g}"


def _moments(moments: Any) -> list[str]:
    ratios = ", ".join(number(value) for value in moments.ratios[:LINES])
    more = f" and {moments.n1 - LINES} more" if moments.n1 > LINES else ""
    return [
        f"moments of {moments.n1} dimensions, commutator of Σs and Σd {number(moments.commutator, 3)}",
        f"ratios {ratios}{more}",
        *moments.notes[:LINES],
    ]


def _diagnosis(found: Any) -> list[str]:
    causes = [f"{cause.knob} ({cause.result}): {cause.advice}" for cause in found.causes]
    return [
        f"{found.verdict}: {found.reason}",
        f"rank {found.rank}, effective rank {number(found.effective_rank)}, RankMe {number(found.rankme)}",
        *listed(causes, "causes"),
    ]


_TEXTS: dict[str, Callable[[Any], list[str]]] = {
    "analysis.runs.simulation:ModeSimulation": _mode_simulation,
    "analysis.runs.simulation:MatrixSimulation": _matrix_simulation,
    "analysis.runs.encoders:EncoderSimulation": _encoder_simulation,
    "analysis.fixed_points.one_mode:FixedPoints": _fixed_points,
    "analysis.fates.basins:BasinMap": _basins,
    "analysis.stability.spectrum:Stability": _stability,
    "analysis.sylvester.solutions:SylvesterSolutions": _sylvester,
    "analysis.runs.alignment:Alignment": _alignment,
    "analysis.contrastive.contrast:Contrast": _contrast,
    "analysis.trees.summary:TreeSummary": _tree,
    "analysis.runs.diagnosis:FeatureDiagnosis": _diagnosis,
    "analysis.results.registry:Check": _check,
    "analysis.experiments:Confirmation": _confirmation,
    "dynamics.training.run:TrainingRun": _training,
    "dynamics.data.moments:Moments": _moments,
}
