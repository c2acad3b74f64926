"""`dyn align`: whether predictor and features align as predicted."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from commands.declaration import START, SYSTEM, command, numeric, option
from commands.options import (
    RunOptions,
    StartOptions,
    SystemOptions,
    check_no_mode_start,
    matrix_start,
    matrix_system,
    read_moments,
)
from commands.output import note, print_json, print_table, status_code, ticker
from commands.saving import OutputOptions, checked_outputs
from commands.terminal import CHECK_FAILED

if TYPE_CHECKING:
    from analysis.runs.alignment import Alignment
    from dynamics.data.moments import Moments

SHOWN_TIMES = 12


@command(
    "align",
    epilog="Example: dyn align --isotropic 0.5 --inputs 12 --dim 6 --ema-ratio 0.9 --weight-decay 0.05 --t-end 20",
)
def align(
    system: SystemOptions,
    start: StartOptions,
    run: RunOptions,
    output: OutputOptions,
    isotropic: Annotated[
        float | None,
        numeric(
            "--isotropic", panel=SYSTEM, help="The isotropic model Σd = I, Σs = (1 + σ²) I, by its σ >= 0."
        ),
    ] = None,
    inputs: Annotated[
        int | None, option("--inputs", panel=SYSTEM, help="Input dimension n1 of --isotropic (8).", min=1)
    ] = None,
    ema_ratio: Annotated[
        float | None,
        numeric("--ema-ratio", panel=START, help="Symmetric predictor and Θ = τ W at all times, by this τ."),
    ] = None,
) -> int | None:
    """Run the full network and compare the commutator of features and predictor with its bound."""
    from analysis.runs.alignment import align as theory
    from analysis.runs.alignment import direct_distance
    from analysis.runs.simulation import plain
    from dynamics.fields.matrices import aligned_field
    from dynamics.fields.predictors import DIRECT_OPTIONS
    from dynamics.integration.integrate import integrate
    from dynamics.states import MatrixState
    from dynamics.variants import FIELDS

    checked_outputs(output)
    began = time.perf_counter()
    moments = _isotropic(isotropic, inputs, system) if isotropic is not None else read_moments(system, output)
    if isotropic is None and inputs is not None:
        raise ValueError(f"--inputs must go with --isotropic, got {inputs} alone")
    check_no_mode_start(start)
    if ema_ratio is not None and system.variant != "full":
        raise ValueError(
            f"--ema-ratio must not be given with --variant {system.variant}: it is one of its own"
        )
    if ema_ratio is None and system.variant not in FIELDS:
        raise ValueError(f"--variant {system.variant} is defined for modes only, got a matrix run")
    if ema_ratio is not None and not 0 <= ema_ratio < float("inf"):
        raise ValueError(f"--ema-ratio must be finite and >= 0, got {ema_ratio}")
    field = FIELDS[system.variant] if ema_ratio is None else aligned_field(lambda t: ema_ratio)
    full = matrix_system(system, moments)
    state = matrix_start(start, moments, output.seed, MatrixState)
    with ticker("simulating", output) as progress:
        trajectory = integrate(
            state,
            full,
            field,
            run.t_end,
            rtol=run.rtol,
            atol=run.atol,
            method=run.method,
            max_steps=run.max_steps,
            dense=True,
            progress=progress,
        ).resampled(401)
    found = theory(trajectory, full, field, rtol=run.rtol)
    last = trajectory.resampled(2)
    direct = {name: direct_distance(last, full, **options)[-1] for name, options in DIRECT_OPTIONS.items()}
    report: dict[str, Any] = plain(
        found.report()
        | {"direct_distance": direct, "variant": field.name, "seconds": time.perf_counter() - began}
        | {"status": trajectory.status.value}
    )
    for text in moments.notes:
        note(text, output)
    if output.out is not None:
        _save(found, report, output.out)
    if output.plot is not None:
        from figures.results.alignment import figure_alignment
        from figures.style import save

        save(figure_alignment(found), output.plot)
    if output.json:
        print_json(report)
    else:
        _print(report)
    return status_code(trajectory) or (CHECK_FAILED if found.holds is False else None)


def _isotropic(sigma: float, inputs: int | None, system: SystemOptions) -> Moments:
    """Σd = I and Σs = (1 + σ²) I, in place of the three ways of giving a system."""
    import numpy as np

    from dynamics.data.moments import Moments

    given = ("lambda_s", "lambda_d", "moments", "data", "augment")
    if any(getattr(system, name) is not None for name in given):
        raise ValueError(
            f"--isotropic must be given without eigenvalues, moments and data, as a system of its own, got {sigma:g}"
        )
    n1 = 8 if inputs is None else inputs
    if not 0 <= sigma < float("inf"):
        raise ValueError(f"--isotropic must be finite and >= 0, got {sigma}")
    return Moments.additive_noise(np.eye(n1), sigma**2 * np.eye(n1))


def _save(found: Alignment, report: dict[str, Any], path: Path) -> None:
    from analysis.runs.arrays import alignment_arrays
    from dynamics.files import write_arrays

    variables = alignment_arrays(found)
    report = {name: value for name, value in report.items() if name not in variables}
    write_arrays(path, variables, {"command": sys.argv[1:], "report": report})


def _print(report: dict[str, Any]) -> None:
    n = len(report["t"])
    rows = []
    for k in sorted({round(i * (n - 1) / (SHOWN_TIMES - 1)) for i in range(SHOWN_TIMES)}):
        rows.append(
            [
                f"{report['t'][k]:.4g}",
                f"{report['commutator'][k]:.3e}",
                "–" if report["bound"][k] is None else f"{report['bound'][k]:.3e}",
                "–" if report["sharp_bound"][k] is None else f"{report['sharp_bound'][k]:.3e}",
                f"{min(report['overlap'][k]):.6f}",
                f"{report['symmetry'][k]:.6f}",
            ]
        )
    if report["applicable"]:
        held = "holds" if report["holds"] else "is violated"
        verdict = f"the bound of R19 {held} at all {n} times; λ0 = {report['lambda_0']:.4g}"
        if report["lambda_0"] <= 0:
            verdict += ": it does not decay"
    else:
        verdict = f"the bound of R19 does not apply: {report['reason']}"
    nearest = min(report["direct_distance"], key=lambda name: report["direct_distance"][name])
    direct = f"nearest DirectPred predictor at the end: {nearest}, at {report['direct_distance'][nearest]:.3g} of ‖P‖"
    columns = ["t", "‖[F, P]‖", "bound", "sharp bound", "least overlap", "symmetry of P"]
    print_table(columns, rows, f"{verdict}\n{direct}\n{report['status']} · {report['seconds']:.2f} s")
