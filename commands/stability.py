"""`dyn stability`: the spectrum of the flow's Jacobian at a fixed point of the full system."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import numpy as np

from commands.averaging import EmaOptions, averaging
from commands.declaration import OUTPUT, READS, RUN, START, SYSTEM, OneOf, command, numeric, option
from commands.normalisation import (
    BatchNormOptions,
    batch_norm_report,
    check_normalised,
    needs_field,
    normalised_moments,
)
from commands.objective_rest import (
    needs_encoder_or_modes,
    print_directional_stability,
    print_moment_stability,
)
from commands.options import (
    LossOptions,
    RedundancyOptions,
    StartOptions,
    SystemOptions,
    encoder_system,
    matrix_start,
    matrix_system,
    read_moments,
    rest_objectives,
    variant_names,
)
from commands.output import ReportOptions, print_json, print_table
from dynamics.objectives import OBJECTIVES

if TYPE_CHECKING:
    from analysis.stability.spectrum import Stability
    from dynamics.fields.infonce import SaturatingLoss
    from dynamics.normalisation import Normaliser
    from dynamics.states import MatrixState
    from dynamics.system import MatrixSystem


@dataclass(frozen=True)
class MatrixOptions(LossOptions, RedundancyOptions, BatchNormOptions, EmaOptions, SystemOptions):
    """A system whose variant is the full flow: the option is read, and not listed, for it has one value."""

    objective: Annotated[
        str,
        option("--objective", panel=SYSTEM, help="Objective (byol)."),
        OneOf(rest_objectives),
    ] = "byol"
    step: Annotated[
        float | None,
        numeric(
            "--step", panel=RUN, help="Step ε > 0 of gradient descent: adds the largest stable one (R303)."
        ),
    ] = None
    variant: Annotated[
        str,
        option("--variant", panel=SYSTEM, help="Variant of the flow (full).", hidden=True),
        OneOf(variant_names),
    ] = "full"


@command(
    "stability",
    epilog="Example: dyn simulate --lambda-s 1 --lambda-d 0.5 --dim 1 --seed 1 --out end.npz"
    " && dyn stability --lambda-s 1 --lambda-d 0.5 --state end.npz --polish",
)
def stability(
    system: MatrixOptions,
    output: ReportOptions,
    state: Annotated[
        Path,
        option(
            "--state",
            panel=START,
            help="FILE.npz with online, predictor and target; with --depth with layers, predictor and targets.",
        ),
        READS,
    ],
    method: Annotated[
        str, option("--method", panel=RUN, help="auto, blocks, dense or iterative (auto).")
    ] = "auto",
    tolerance: Annotated[
        float,
        numeric("--tolerance", panel=RUN, help="What counts as rest (1e-6)."),
    ] = 1e-6,
    polish: Annotated[
        bool,
        option(
            "--polish",
            panel=RUN,
            help="Carry the state, such as the end of a run, to a fixed point beside it.",
        ),
    ] = False,
    eigenvalues: Annotated[
        bool, option("--eigenvalues", panel=OUTPUT, help="Print every eigenvalue.")
    ] = False,
    depth: Annotated[
        int | None,
        option("--depth", panel=SYSTEM, help="Linear layers of the encoder, mode by mode (R320).", min=1),
    ] = None,
) -> None:
    """Print the spectrum of the Jacobian at a fixed point, and which pairs of row and mode decide it."""
    from dynamics.states import EncoderState, MatrixState

    loss = system.loss_of(system.objective)
    redundancy = system.redundancy_of(system.objective)
    apart = needs_encoder_or_modes(system.objective)
    normaliser = check_normalised(system, system, encoder=apart)
    _check_step(system)
    if depth is not None:
        from commands.depth import print_deep_stability

        others = {
            f"--objective {system.objective}": apart,
            f"--batch-norm {system.batch_norm}": normaliser.active,
            "--step": system.step is not None,
            f"--method {method}": method not in ("auto", "blocks"),
        }
        for name, given in others.items():
            if given:
                raise ValueError(f"{name} must not go with --depth")
        print_deep_stability(
            system, depth, state, output, tolerance=tolerance, polish=polish, eigenvalues=eigenvalues
        )
        return
    if apart:
        for name, given in (("--polish", polish), (f"--method {method}", method not in ("auto", "dense"))):
            if given:
                raise ValueError(
                    f"{name} must not go with --objective {system.objective}, whose spectrum is dense"
                )
        if OBJECTIVES[system.objective].directional:
            moments = read_moments(system, output)
            print_directional_stability(system, moments, state, tolerance, eigenvalues, output)
        elif redundancy is not None:
            moments = read_moments(system, output)
            encoder = matrix_start(StartOptions(state=state), moments, output.seed, EncoderState)
            print_moment_stability(system, redundancy, moments, encoder, tolerance, eigenvalues, output)
        else:
            _encoder_stability(system, loss, output, state, tolerance, eigenvalues)
        return
    from analysis.fixed_points import network as network_fixed_points
    from analysis.runs.simulation import plain
    from analysis.stability import spectrum as theory
    from analysis.stability.pair_conditions import decoupled_form, pair_conditions

    if system.variant != "full":
        raise ValueError(f"--variant must be full for a stability analysis of matrices, got {system.variant}")
    moments = normalised_moments(system, system, read_moments(system, output), normaliser)
    of_normalised = needs_field(normaliser)
    if of_normalised:
        for name, given in (("--polish", polish), (f"--method {method}", method not in ("auto", "dense"))):
            if given:
                raise ValueError(
                    f"{name} must not go with --batch-norm {system.batch_norm}, whose spectrum is dense"
                )
    full = matrix_system(system, moments)
    start = full.state(*matrix_start(StartOptions(state=state), moments, output.seed, MatrixState))
    polished: dict[str, Any] = {}
    if polish:
        start, *facts = network_fixed_points.polish(start, full)
        polished = {"polished": dict(zip(network_fixed_points.Polished._fields[1:], facts, strict=True))}
    conditions: list[Any] = []
    r10_applies = full.weight_decay == 0 and OBJECTIVES[system.objective].cross > 0
    if of_normalised:
        result, conditions = _normalised_stability(start, full, normaliser, moments.mean, tolerance)
    else:
        result = theory.stability(start, full, method=cast(Any, method), tolerance=tolerance)
    if not of_normalised and r10_applies and decoupled_form(start, full, tolerance=tolerance) is not None:
        conditions = pair_conditions(start, full, tolerance=tolerance)
    critical = _critical_step(system, start, full, tolerance)
    counts = {name: getattr(result, name) for name in ("n_positive", "n_zero", "n_negative")}
    report: dict[str, Any] = {
        **result.report(),
        "conditions": [condition._asdict() for condition in conditions],
        **polished,
        **critical,
        **({"batch_norm": batch_norm_report(normaliser)} if normaliser.active else {}),
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
        *_undetermined(result),
        *_width_of_zero(result),
        ["real parts", f"{result.max_real:.6g} to {result.min_real:.6g}"],
    ]
    rows += _critical_rows(report.get("critical_step"))
    if polish:
        done = report["polished"]
        moved = f"{done['status']}, moved by {done['displacement']:.3g} in {done['n_steps']} steps"
        rows.insert(0, ["polished", f"{moved}, residual was {done['residual_before']:.1e}"])
    decisive = [condition.sentence for condition in conditions if condition.verdict != "stable"]
    print_table(["spectrum", ""], rows, "\n".join(decisive))
    if eigenvalues:
        print_table(["re", "im"], [[f"{real:.10g}", f"{imaginary:.10g}"] for real, imaginary in pairs])


def _check_step(system: MatrixOptions) -> None:
    """Refuse options of steps where there is no step, or where no critical step is known."""
    if system.step is None:
        for name in ("ema_rate", "ema_order"):
            if (value := getattr(system, name)) is not None:
                raise ValueError(f"`{name}` must go with --step, got {value} alone")
        return
    if needs_encoder_or_modes(system.objective):
        raise ValueError(
            f"--step must not go with --objective {system.objective}, whose critical step is not known"
        )
    if system.batch_norm not in (None, "none"):
        raise ValueError(
            f"--step must not go with --batch-norm {system.batch_norm}, whose critical step is not known"
        )


def _critical_step(
    system: MatrixOptions, state: MatrixState, full: MatrixSystem, tolerance: float
) -> dict[str, Any]:
    """Largest stable step of gradient descent, where a step is given."""
    if system.step is None:
        return {}
    from analysis.steps.critical_steps import critical_step

    rate, order = averaging(system, system.step, full.tau_target)
    found = critical_step(state, full, rate, order, tolerance=tolerance)
    given = {
        "step": system.step,
        "ema_rate": rate,
        "ema_order": str(order),
        "stable": system.step < found.value,
    }
    return {"critical_step": {**found._asdict(), **given}}


def _critical_rows(found: dict[str, Any] | None) -> list[list[str]]:
    if found is None:
        return []
    if found["kind"] is None:
        text = "every step is stable" if found["value"] else "no step is stable"
    else:
        text = f"{found['value']:.8g}, {found['kind']}"
    pair = f"row {found['row'] + 1}, mode {found['mode'] + 1}"
    average = f"h = {found['ema_rate']:g}, {found['ema_order']}"
    verdict = "stable" if found["stable"] else "not stable"
    return [
        [f"critical step ({average})", f"{text} ({pair})"],
        [f"gradient descent at ε = {found['step']:g}", verdict],
    ]


def _normalised_stability(
    start: MatrixState, system: MatrixSystem, normaliser: Normaliser, mean: Any, tolerance: float
) -> tuple[Stability, list[Any]]:
    """The dense spectrum with normalised features, and the conditions of R220 where they decide it."""
    from analysis.normalisation.spectrum import normalised_stability
    from analysis.normalisation.stability import decoupled_selection, stability_conditions
    from dynamics.normalisation import centred_moments

    result = normalised_stability(start, system, normaliser, mean, tolerance=tolerance)
    seen = centred_moments(system, mean) if normaliser.subtracts else system
    one_mean = normaliser.mean == "full" or (normaliser.mean == "none" and not np.any(mean))
    found = decoupled_selection(start, seen, tolerance) if one_mean and normaliser.std == "full" else None
    return result, [] if found is None else stability_conditions(*found, seen)


def _encoder_stability(
    system: MatrixOptions,
    loss: SaturatingLoss | None,
    output: ReportOptions,
    state: Path,
    tolerance: float,
    eigenvalues: bool,
) -> None:
    """Print the dense spectrum at a resting encoder."""
    from analysis.runs.simulation import plain
    from analysis.stability.encoders import encoder_stability
    from dynamics.states import EncoderState

    moments = read_moments(system, output)
    full = encoder_system(system, moments)
    start = matrix_start(StartOptions(state=state), moments, output.seed, EncoderState)
    found = encoder_stability(start, full, loss, tolerance=tolerance)
    report = {**found.report(), "objective": system.objective}
    pairs = [[value, 0.0] for value in found.eigenvalues.tolist()]
    if eigenvalues:
        report["eigenvalues"] = pairs
    if output.json:
        print_json(plain(report))
        return
    rows = [
        ["verdict", found.verdict],
        ["unknowns", str(report["n_unknowns"])],
        ["residual", f"{found.residual:.1e}"],
        ["positive / zero / negative", " / ".join(str(n) for n in found.counts.values())],
        ["zeros forced by rotations of the outputs", str(found.n_zero_forced)],
        ["real parts", f"{found.eigenvalues[0]:.6g} to {found.eigenvalues[-1]:.6g}"],
    ]
    print_table(["spectrum", ""], rows, "by the Jacobian of the flow of moments (R113, R114, R117)")
    if eigenvalues:
        print_table(["re", "im"], [[f"{real:.10g}", f"{imaginary:.10g}"] for real, imaginary in pairs])


def _width_of_zero(result: Stability) -> list[list[str]]:
    """Say what an iterative search counts as zero: it has no error of each eigenvalue to judge by."""
    if result.method != "iterative":
        return []
    return [["counted as zero", f"real parts within ±{result.zero_tolerance:.2g}"]]


def _undetermined(result: Stability) -> list[list[str]]:
    """Name the signs that no rounding error lets anybody tell."""
    if not result.n_zero_other or not result.zero_tolerance:
        return []
    return [["signs not determined", f"{result.n_zero_other}, errors up to {result.zero_tolerance:.2g}"]]
