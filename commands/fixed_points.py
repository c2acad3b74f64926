"""`dyn fixed-points`: where one mode can rest, and whether rest is stable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from commands.declaration import OUTPUT, SYSTEM, OneOf, command, numeric, option
from commands.depth import deep_field_of, positive_mode
from commands.normalisation import (
    BatchNormOptions,
    batch_norm_report,
    check_decoupled,
    check_normalised,
    needs_field,
    normalised_moments,
)
from commands.objective_rest import (
    needs_encoder_or_modes,
    print_directional_rest,
    print_moment_rest,
    refuse_given,
)
from commands.options import (
    LossOptions,
    RedundancyOptions,
    SystemOptions,
    encoder_system,
    matrix_system,
    mode_system,
    read_moments,
    rest_objectives,
)
from commands.output import ReportOptions, eigenvalue_text, print_json, print_table, triple_text
from dynamics.objectives import OBJECTIVES

if TYPE_CHECKING:
    from dynamics.data.moments import Moments
    from dynamics.fields.infonce import SaturatingLoss
    from dynamics.normalisation import Normaliser

MOST_POINTS = 5000  # of the network that are listed
MOST_ENCODERS = 1000  # critical points of a loss of an encoder alone, each with a dense spectrum


@dataclass(frozen=True)
class RestOptions(LossOptions, RedundancyOptions, BatchNormOptions, SystemOptions):
    """A system of any objective."""

    objective: Annotated[
        str,
        option("--objective", panel=SYSTEM, help="Objective (byol)."),
        OneOf(rest_objectives),
    ] = "byol"


@command(
    "fixed-points",
    epilog="Example: dyn fixed-points --lambda-s 1 --lambda-d 0.5 --invariant -0.09",
)
def fixed_points(
    system: RestOptions,
    output: ReportOptions,
    invariant: Annotated[
        float | None,
        numeric("--invariant", panel=SYSTEM, help="Stay on the leaf τo w1² − τp w2² = C: isolated points."),
    ] = None,
    target: Annotated[
        float | None, numeric("--target", panel=SYSTEM, help="θ of the variant fixed-target (1).")
    ] = None,
    exact: Annotated[
        bool, option("--exact", panel=OUTPUT, help="Show exact forms in the table, too.")
    ] = False,
    dim: Annotated[
        int | None,
        option(
            "--dim",
            panel=SYSTEM,
            help="Feature dimension n2: the canonical fixed points of the full network, or of an encoder (1).",
        ),
    ] = None,
    rank: Annotated[
        int | None, option("--rank", panel=SYSTEM, help="With --dim: only points of this rank (any).")
    ] = None,
    amplitude: Annotated[
        float | None, numeric("--amplitude", panel=SYSTEM, help="With --dim: |w| of learned rows (balanced).")
    ] = None,
    depth: Annotated[
        int | None,
        option("--depth", panel=SYSTEM, help="Linear layers of the encoder, one mode (R320, R322).", min=1),
    ] = None,
) -> None:
    """Print isolated fixed points, and lines of them with the stability of each segment."""
    from analysis.fixed_points.one_mode import fixed_points as theory

    loss = system.loss_of(system.objective)
    redundancy = system.redundancy_of(system.objective)
    row = OBJECTIVES[system.objective]
    apart = needs_encoder_or_modes(system.objective)
    if apart:
        refuse_given(
            system.objective,
            {
                "--invariant": None if system.objective == "iso" else invariant,
                "--target": target,
                "--exact": exact or None,
                "--rank": rank,
                "--amplitude": amplitude,
                "--dim": dim if row.directional else None,
            },
        )
    normaliser = check_normalised(system, system, encoder=apart)
    moments = normalised_moments(system, system, read_moments(system, output), normaliser)
    if depth is not None:
        others = {
            "--invariant": invariant,
            "--target": target,
            "--exact": exact or None,
            "--dim": dim,
            "--rank": rank,
            "--amplitude": amplitude,
        }
        refused = [name for name, value in others.items() if value is not None]
        refused += [f"--batch-norm {system.batch_norm}"] * normaliser.active
        refused += [f"--objective {system.objective}"] * apart
        if refused:
            raise ValueError(f"{refused[0]} must not go with --depth")
        _print_deep(_deep_report(system, moments, depth), output)
        return
    if row.directional:
        print_directional_rest(system, moments, invariant, output)
        return
    if redundancy is not None:
        print_moment_rest(system, redundancy, moments, 1 if dim is None else dim, MOST_ENCODERS, output)
        return
    if row.contrastive:
        _print_encoders(_encoder_report(system, loss, moments, 1 if dim is None else dim), output)
        return
    if needs_field(normaliser):
        options = {"--invariant": invariant, "--target": target, "--exact": exact or None, "--rank": rank}
        for name, given in options.items():
            if given is not None:
                raise ValueError(f"{name} must not go with --batch-norm {system.batch_norm}, got {given}")
        size = 1.0 if amplitude is None else amplitude
        _print_network(
            _normalised_report(system, moments, normaliser, 1 if dim is None else dim, size), output
        )
        return
    if dim is not None:
        for name, given in (("--invariant", invariant), ("--target", target), ("--exact", exact or None)):
            if given is not None:
                raise ValueError(f"{name} is for one mode, and must not be given with --dim")
        _print_network(_network_report(system, moments, dim, rank, amplitude), output)
        return
    for name, of_network in (("--rank", rank), ("--amplitude", amplitude)):
        if of_network is not None:
            raise ValueError(f"{name} must go with --dim, got {of_network:g} alone")
    check_decoupled(moments, normaliser)
    if target is None and system.variant == "fixed-target":
        target = 1.0
    found = theory(mode_system(system, moments), str(system.variant), invariant=invariant, target=target)
    report = found.report(exact=exact or output.json)
    if output.json:
        print_json(report)
        return
    if report["fixed_points"]:
        rows = [
            [
                point["name"],
                triple_text(point),
                ", ".join(eigenvalue_text(pair) for pair in point["eigenvalues"]),
                point["stability"],
                point["sheet"] or "–",
                *([_exact_text(point)] if exact else []),
            ]
            for point in report["fixed_points"]
        ]
        columns = [
            "fixed point",
            "w1, w2, θ",
            "eigenvalues",
            "stability",
            "sheet",
            *(["exact"] if exact else []),
        ]
        notes = [f"{point['name']}: {point['note']}" for point in report["fixed_points"] if point["note"]]
        print_table(columns, rows, "\n".join(notes))
    if report["lines"]:
        rows = [
            [
                line["name"],
                _segment_text(line["parameter"], *segment["range"]),
                segment["stability"],
                *([_exact_text(line)] if exact else []),
            ]
            for line in report["lines"]
            for segment in line["segments"]
        ]
        print_table(["line", "where", "stability", *(["exact"] if exact else [])], rows)


def _deep_report(system: RestOptions, moments: Moments, depth: int) -> dict[str, Any]:
    """Where a mode of a deep encoder can rest (R320, R322)."""
    from analysis.depth.rest import deep_rest
    from analysis.runs.simulation import plain

    field = deep_field_of(system)
    deep = positive_mode(mode_system(system, moments), depth)
    report: dict[str, Any] = plain({"depth": depth, **deep_rest(deep, field)})
    return report


def _print_deep(report: dict[str, Any], output: ReportOptions) -> None:
    if output.json:
        print_json(report)
        return
    if report["fixed_points"]:
        rows = [
            [
                point["name"],
                ", ".join(f"{weight:.7g}" for weight in point["layers"]),
                f"{point['predictor']:.7g}",
                point["stability"],
                f"{point['eigenvalues'][0][0]:.4g}",
            ]
            for point in report["fixed_points"]
        ]
        print_table(
            ["fixed point", "w1 … wL", "v", "stability", "max re"], rows, "up to signs of w1 … wL (R322)"
        )
    rows = [
        [line["name"], line["where"], _range_text(line["parameter"], *segment["range"]), segment["stability"]]
        for line in report["lines"]
        for segment in line["segments"]
    ]
    if rows:
        print_table(["set", "", "where", "stability"], rows, "R320")


def _range_text(name: str, low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return f"any {name}"
    if low == high:
        return f"{name} = {low:.7g}"
    return ("" if low is None else f"{low:.7g} < ") + name + ("" if high is None else f" < {high:.7g}")


def _encoder_report(
    system: RestOptions, loss: SaturatingLoss | None, moments: Moments, dim: int
) -> dict[str, Any]:
    """Critical points of a contrastive loss of an encoder (R113, R114, R116), each with its spectrum where known."""
    from analysis.contrastive.encoder_rest import encoder_rest
    from analysis.runs.simulation import plain

    full = encoder_system(system, moments)
    points = encoder_rest(full, dim, loss, limit=MOST_ENCODERS)
    report: dict[str, Any] = plain({"objective": system.objective, "fixed_points": points, "lines": []})
    return report


def _print_encoders(report: dict[str, Any], output: ReportOptions) -> None:
    if output.json:
        print_json(report)
        return
    rows = [
        [
            point["name"],
            ", ".join(f"{s:.7g}" for s in point["amplitudes"]) or "0",
            point["stability"],
            "–" if point["eigenvalues"] is None else f"{point['eigenvalues'][0][0]:.4g}",
        ]
        for point in report["fixed_points"]
    ]
    print_table(["fixed point", "w Σs wᵀ", "stability", "max re"], rows, "up to W → Q W (R113, R114, R116)")


def _network_report(
    system: SystemOptions, moments: Moments, dim: int, rank: int | None, amplitude: float | None
) -> dict[str, Any]:
    """Canonical fixed points of the full network, each with its stability (R9, R10)."""
    from analysis.fixed_points.network import canonical_fixed_points
    from analysis.runs.simulation import plain
    from analysis.stability.spectrum import stability

    if system.variant != "full":
        raise ValueError(f"--variant must be full for fixed points of the network, got {system.variant}")
    full = matrix_system(system, moments)
    if amplitude is not None and not (amplitude == 0 or 1e-150 <= abs(amplitude) <= 1e150):
        raise ValueError(
            f"`amplitude` must lie within 1e-150 and 1e150, where squares are numbers, got {amplitude:g}"
        )
    points = []
    try:
        listed = canonical_fixed_points(full, dim, rank=rank, amplitude=amplitude, limit=MOST_POINTS)
    except ValueError as error:
        message = str(error).replace("`n2`", "--dim")
        if "`limit`" in message:
            there = message.split("at least the ")[1].split(" fixed points")[0]
            message = f"--rank must be given, or less: at most {MOST_POINTS} fixed points are listed, there are {there}"
        raise ValueError(message) from None
    for point in listed:
        result = stability(point.state, full)
        counts = {name: getattr(result, name) for name in ("n_positive", "n_zero", "n_negative")}
        points.append(
            {
                "name": "collapsed"
                if not point.modes
                else "modes " + ", ".join(str(m + 1) for m in point.modes),
                "modes": list(point.modes),
                "levels": list(point.levels),
                **point.state._asdict(),
                "stability": result.verdict,
                "spectrum": {**counts, "max_real": result.max_real, "min_real": result.min_real},
            }
        )
    return plain({"fixed_points": points, "lines": []})


def _normalised_report(
    system: RestOptions, moments: Moments, normaliser: Normaliser, dim: int, norm: float
) -> dict[str, Any]:
    """Fixed points with rows on distinct modes, all of one length, each with its stability (R220)."""
    from analysis.normalisation.spectrum import normalised_stability
    from analysis.normalisation.stability import normalised_fixed_points, normalised_point
    from analysis.runs.simulation import plain
    from dynamics.normalisation import centred_moments

    if system.variant != "full":
        raise ValueError(f"--variant must be full for fixed points of the network, got {system.variant}")
    if normaliser.mean == "forward":
        raise ValueError(
            "--detach must not be mean for fixed points: with a target that is not centred the encoder grows along the"
            " mean for ever (R216)"
        )
    if not 1e-150 <= norm <= 1e150:
        raise ValueError(f"`amplitude` must lie within 1e-150 and 1e150 for normalised rows, got {norm:g}")
    full = matrix_system(system, moments)
    seen = centred_moments(full, moments.mean) if normaliser.subtracts else full
    points = []
    for selection in normalised_fixed_points(seen, dim, limit=MOST_POINTS):
        point = normalised_point(selection, norm, seen)
        result = normalised_stability(point, full, normaliser, moments.mean)
        counts = {name: getattr(result, name) for name in ("n_positive", "n_zero", "n_negative")}
        points.append(
            {
                "name": "modes " + ", ".join(str(m + 1) for m in selection),
                "modes": list(selection),
                "levels": [],
                **point._asdict(),
                "stability": result.verdict,
                "spectrum": {**counts, "max_real": result.max_real, "min_real": result.min_real},
            }
        )
    return plain({"fixed_points": points, "lines": [], "batch_norm": batch_norm_report(normaliser)})


def _print_network(report: dict[str, Any], output: ReportOptions) -> None:
    if output.json:
        print_json(report)
        return
    rows = [
        [
            point["name"],
            ", ".join(sorted(set(point["levels"]))) or "–",
            ", ".join(f"{point['predictor'][i][i]:.4g}" for i in range(len(point["modes"]))) or "0",
            point["stability"] or "not known",
            " / ".join(str(point["spectrum"][name]) for name in ("n_positive", "n_zero", "n_negative")),
            f"{point['spectrum']['max_real']:.4g}",
        ]
        for point in report["fixed_points"]
    ]
    columns = ["fixed point", "level", "diagonal of P", "stability", "positive / zero / negative", "max re"]
    normalised = "up to mixtures of rows and their lengths, which are conserved (R220)"
    print_table(columns, rows, normalised if "batch_norm" in report else "up to W → S W, P → S P S⁻¹ (R4)")


def _exact_text(entry: dict[str, Any]) -> str:
    return ", ".join(entry["exact"][name] for name in ("online", "predictor", "target"))


def _segment_text(parameter: str, lo: float | None, hi: float | None) -> str:
    return _range_text({"a": "w1", "p": "w2"}[parameter], lo, hi)
