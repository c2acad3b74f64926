"""Reports of rest and its stability under objectives of directions and of output moments."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.options import SystemOptions, encoder_system, mode_system
from commands.output import ReportOptions, eigenvalue_text, print_json, print_table
from dynamics.objectives import OBJECTIVES

if TYPE_CHECKING:
    from analysis.stability.directional import DirectionalStability
    from analysis.stability.output_moments import MomentStability
    from dynamics.data.moments import Moments
    from dynamics.fields.redundancy import RedundancyLoss
    from dynamics.states import EncoderState
    from dynamics.system import ModeSystem

_COSINE_NOTES = (
    "each point stands for any κ > 0, any sizes of learned modes and any q < 0 or q > 1 of collapsed ones, q = κ p/r;"
    " they are shown at κ = 1 and q = 2",
    "with κ < 0 the same modes rest, and none of two or more learned ones is stable",
    "with weight decay no weights are at rest (R312)",
)


def refuse_given(objective: str, options: dict[str, Any]) -> None:
    """Refuse options that an objective has no use for.

    >>> refuse_given("iso", {"--rank": None, "--dim": 2})
    Traceback (most recent call last):
        ...
    ValueError: --dim must not go with --objective iso
    """
    for name, given in options.items():
        if given is not None:
            raise ValueError(f"{name} must not go with --objective {objective}")


# --- fixed points -------------------------------------------------------------------------------------------


def print_moment_rest(
    system: SystemOptions,
    loss: RedundancyLoss,
    moments: Moments,
    dim: int,
    limit: int,
    output: ReportOptions,
) -> None:
    """Points of rest of an encoder under a loss of its output moments (R325–R329)."""
    from analysis.objectives.moment_rest import moment_rest
    from analysis.runs.simulation import plain

    found = moment_rest(encoder_system(system, moments), dim, loss, limit=limit)
    report: dict[str, Any] = plain({"objective": system.objective, **found})
    if output.json:
        print_json(report)
        return
    raw = system.objective == "barlow-twins" and not loss.scale_free
    rows = [
        [
            point["name"],
            ", ".join(f"{size:.7g}" for size in point["amplitudes"]) or "0",
            point["stability"] or "not known",
            f"{point['eigenvalues'][0][0]:.4g}" if point["eigenvalues"] else "–",
            _zeros_text(point["zero_directions"] or {}),
        ]
        for point in report["fixed_points"]
    ]
    columns = ["fixed point", "w Σd wᵀ" if raw else "w Σs wᵀ", "stability", "max re", "zeros forced"]
    print_table(columns, rows, "\n".join([f"up to these zeros ({loss.source})", *report["notes"]]))


def _zeros_text(directions: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in directions.items()) or "none"


def directional_system(system: SystemOptions, moments: Moments) -> ModeSystem:
    """Modes under an objective of directions; variants and weights that it has not are refused."""
    from analysis.runs.directional import FIELDS

    for name in ("alpha", "beta"):
        if (value := getattr(system, name)) is not None:
            raise ValueError(f"`{name}` must not go with --objective {system.objective}, got {value}")
    known = [variant for objective, variant in FIELDS if objective == system.objective]
    if system.variant not in known:
        raise ValueError(
            f"--variant must be {' or '.join(known)} with --objective {system.objective}, got {system.variant}"
        )
    return mode_system(replace(system, objective="byol"), moments)  # moments as they are


def print_directional_rest(
    system: SystemOptions, moments: Moments, invariant: float | None, output: ReportOptions
) -> None:
    """Points of rest of modes under the cosine loss or the IsoLoss (R311, R312, R315, R323)."""
    from analysis.objectives.directional_points import cosine_rest, iso_rest
    from analysis.runs.simulation import plain

    modes = directional_system(system, moments)
    if system.objective == "cosine":
        found = {**cosine_rest(modes, system.variant), "notes": list(_COSINE_NOTES)}
    else:
        found = {**iso_rest(modes, system.variant, invariant=invariant), "notes": []}
    report: dict[str, Any] = plain(found)
    if output.json:
        print_json(report)
        return
    if report["fixed_points"]:
        rows = [
            [
                point["name"],
                *(_numbers(point[name]) for name in ("online", "predictor", "target")),
                point["stability"],
                eigenvalue_text(point["eigenvalues"][0]),
                _zeros_text(point["zero_directions"]),
            ]
            for point in report["fixed_points"]
        ]
        columns = ["fixed point", "w1", "w2", "θ", "stability", "largest eigenvalue", "zeros forced"]
        print_table(columns, rows, "\n".join(report["notes"]))
    rows = [
        [line["name"], _where(line["parameter"], *segment["range"]), segment["stability"]]
        for line in report["lines"]
        for segment in line["segments"]
    ]
    if rows:
        print_table(["line", "where", "stability"], rows)


def _numbers(value: Any) -> str:
    return ", ".join(f"{x:.7g}" for x in (value if isinstance(value, list) else [value]))


def _where(parameter: str, low: float | None, high: float | None) -> str:
    name = {"a": "w1", "p": "w2", "q": "q"}[parameter]
    if low is None and high is None:
        return f"any {name}"
    if low == high:
        return f"{name} = {low:.7g}"
    return ("" if low is None else f"{low:.7g} < ") + name + ("" if high is None else f" < {high:.7g}")


# --- stability ----------------------------------------------------------------------------------------------


def print_moment_stability(
    system: SystemOptions,
    loss: RedundancyLoss,
    moments: Moments,
    start: EncoderState,
    tolerance: float,
    eigenvalues: bool,
    output: ReportOptions,
) -> None:
    """The dense spectrum at an encoder at rest under a loss of its output moments."""
    from analysis.stability.output_moments import moment_stability

    found = moment_stability(start, encoder_system(system, moments), loss, tolerance=tolerance)
    within = {
        "vicreg": ", within std = 1 of rows "
        + (", ".join(str(row + 1) for row in found.held) or "that are held, of which there are none"),
        "whitened": ", within W Σs Wᵀ = I",
    }
    caption = f"by the Jacobian of the flow ({loss.source}){within.get(loss.name, '')}"
    _print_spectrum(system.objective, found, caption, eigenvalues, output)


def print_directional_stability(
    system: SystemOptions,
    moments: Moments,
    state: Path,
    tolerance: float,
    eigenvalues: bool,
    output: ReportOptions,
) -> None:
    """The dense spectrum at modes at rest under the cosine loss or the IsoLoss."""
    from analysis.stability.directional import directional_stability
    from dynamics.files import load_modes

    name = system.objective
    if system.lambda_s is None:
        raise ValueError(
            f"--objective {name} must go with --lambda-s and --lambda-d: its flow is known of modes"
        )
    modes = directional_system(system, moments)
    start = load_modes(state)
    if start.online.size != modes.n_modes:
        raise ValueError(
            f"--state: online must have {modes.n_modes} modes like the system, got {start.online.size}"
        )
    found = directional_stability(start, modes, name, system.variant, tolerance=tolerance)
    source = "R311, R315" if name == "cosine" else "R323"
    _print_spectrum(name, found, f"by the Jacobian of the flow of modes ({source})", eigenvalues, output)


def _print_spectrum(
    objective: str,
    found: MomentStability | DirectionalStability,
    caption: str,
    eigenvalues: bool,
    output: ReportOptions,
) -> None:
    from analysis.runs.simulation import plain

    report: dict[str, Any] = {**found.report(), "objective": objective}
    pairs = [[complex(value).real, complex(value).imag] for value in found.eigenvalues.tolist()]
    if eigenvalues:
        report["eigenvalues"] = pairs
    if output.json:
        print_json(plain(report))
        return
    spectrum = report["spectrum"]
    extent = f"{spectrum['max_real']:.6g} to {spectrum['min_real']:.6g}" if pairs else "none: nothing is free"
    rows = [
        ["verdict", found.verdict],
        ["unknowns", str(report["n_unknowns"])],
        ["residual", f"{found.residual:.1e}"],
        ["positive / zero / negative", " / ".join(str(n) for n in found.counts.values())],
        ["zeros forced", _zeros_text(found.zero_directions)],
        ["real parts", extent],
    ]
    print_table(["spectrum", ""], rows, caption)
    if eigenvalues:
        print_table(["re", "im"], [[f"{real:.10g}", f"{imaginary:.10g}"] for real, imaginary in pairs])


def needs_encoder_or_modes(objective: str) -> bool:
    """Whether its rest is that of an encoder alone, or of modes under a loss of directions.

    >>> needs_encoder_or_modes("whitened"), needs_encoder_or_modes("byol")
    (True, False)
    """
    row = OBJECTIVES[objective]
    return row.alone or row.directional
