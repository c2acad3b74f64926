"""Options that make up a training run: a preset, a file of settings, and options, each laid over the one before."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from commands.declaration import READS, RUN, SYSTEM, WRITES, Suggested, numeric, option
from commands.options import ARRAYS, AugmentOption, source_words
from dynamics.objectives import OBJECTIVES

if TYPE_CHECKING:
    from dynamics.training import TrainingSettings

NETWORK, TRAINING = "Networks and objective", "Training"


def _training_sources() -> list[str]:
    return ["gaussian", "exact", *source_words()]


@dataclass(frozen=True)
class TrainingOptions:
    """What to train; whatever is left out is as in the preset."""

    preset: Annotated[
        str | None,
        option(
            "--preset",
            panel=SYSTEM,
            help="Settings to start from, e.g. BYOL-NP (linear); see docs/training.md.",
        ),
    ] = None
    config: Annotated[
        Path | None,
        option("--config", panel=SYSTEM, help="Settings, FILE.toml or FILE.json, over the preset's."),
        READS,
    ] = None
    assign: Annotated[
        list[str] | None,
        option(
            "--set",
            panel=SYSTEM,
            metavar="PART.NAME=VALUE",
            help="Any setting, e.g. predictor.start=identity, or one a run: target.decay=[0.9,0.99].",
        ),
    ] = None
    data: Annotated[
        str | None,
        option(
            "--data",
            panel=SYSTEM,
            help="gaussian, exact, digits, photos, an array FILE.npy or FILE.npz, or another of dyn info datasets.",
        ),
        READS,
        Suggested(_training_sources, files=ARRAYS),
    ] = None
    augment: AugmentOption = None
    lambda_s: Annotated[
        list[float] | None,
        numeric(
            "--lambda-s", panel=SYSTEM, help="Eigenvalue of Σs of gaussian or exact data; once for each mode."
        ),
    ] = None
    lambda_d: Annotated[
        list[float] | None, numeric("--lambda-d", panel=SYSTEM, help="Eigenvalue of Σd, likewise.")
    ] = None
    moments: Annotated[
        Path | None,
        option(
            "--moments", panel=SYSTEM, help="FILE.npz with sigma_s and sigma_d, for gaussian or exact data."
        ),
        READS,
    ] = None
    encoder: Annotated[str | None, option("--encoder", panel=NETWORK, help="linear, mlp or conv.")] = None
    widths: Annotated[
        list[int] | None,
        option(
            "--widths", panel=NETWORK, help="Hidden width of mlp, or channels of conv; once for each layer."
        ),
    ] = None
    features: Annotated[
        int | None, option("--features", panel=NETWORK, help="Dimension of the representation.")
    ] = None
    predictor_kind: Annotated[
        str | None, option("--predictor-kind", panel=NETWORK, help="none, linear, mlp, direct or optimal.")
    ] = None
    objective: Annotated[
        str | None,
        option("--objective", panel=NETWORK, help="byol, byol-prime, raft, infonce, simple or triplet."),
    ] = None
    alpha: Annotated[
        float | None, numeric("--alpha", panel=NETWORK, help="Weight of alignment in byol-prime and raft.")
    ] = None
    beta: Annotated[
        float | None, numeric("--beta", panel=NETWORK, help="Weight of the target in byol-prime and raft.")
    ] = None
    normalize: Annotated[
        bool | None,
        option(
            "--normalize/--no-normalize", panel=NETWORK, help="Divide features by their norm first, or not."
        ),
    ] = None
    projector_norm: Annotated[
        str | None,
        option(
            "--projector-norm",
            panel=NETWORK,
            metavar="MEAN/STD",
            help="Normalise what the predictor sees by its batch: none, forward, full or backward / none, full or"
            " detached.",
        ),
    ] = None
    predictor_norm: Annotated[
        str | None,
        option("--predictor-norm", panel=NETWORK, metavar="MEAN/STD", help="The same of what it puts out."),
    ] = None
    norm_epsilon: Annotated[
        float | None, numeric("--norm-epsilon", panel=NETWORK, help="ε >= 0 added to their variances.")
    ] = None
    mean: Annotated[
        list[float] | None,
        numeric("--mean", panel=SYSTEM, help="Mean added to all views, once, or once for each input."),
    ] = None
    target_kind: Annotated[str | None, option("--target-kind", panel=NETWORK, help="ema, none or fixed.")] = (
        None
    )
    decay: Annotated[float | None, numeric("--decay", panel=NETWORK, help="γ of the ema.")] = None
    optimizer: Annotated[
        str | None, option("--optimizer", panel=TRAINING, help="sgd, momentum, adam or lars.")
    ] = None
    learning_rate: Annotated[float | None, numeric("--learning-rate", panel=TRAINING, help="ε > 0.")] = None
    predictor_rate: Annotated[
        float | None, numeric("--predictor-rate", panel=TRAINING, help="Of the predictor, in units of ε.")
    ] = None
    weight_decay: Annotated[
        float | None,
        numeric("--weight-decay", panel=TRAINING, help="Added to gradients as weight decay times θ."),
    ] = None
    steps: Annotated[int | None, option("--steps", panel=TRAINING, help="Gradient steps.")] = None
    batch: Annotated[int | None, option("--batch", panel=TRAINING, help="Samples a step.")] = None
    dtype: Annotated[str | None, option("--dtype", panel=TRAINING, help="float32 or float64.")] = None
    matmul: Annotated[
        str | None,
        option(
            "--matmul",
            panel=TRAINING,
            help="Products on a GPU: float32, or tf32, quicker and rougher (float32).",
        ),
    ] = None
    generator: Annotated[
        str | None,
        option(
            "--generator", panel=TRAINING, help="Random numbers: triple32, or threefry, JAX's own (triple32)."
        ),
    ] = None
    metrics_every: Annotated[
        int | None, option("--metrics-every", panel=TRAINING, help="Steps between two measurements.")
    ] = None


@dataclass(frozen=True)
class ExecutionOptions:
    """How many runs, where, and how they survive being stopped."""

    seeds: Annotated[
        int, option("--seeds", panel=RUN, help="Number of runs, with the seed and those after it (1).", min=1)
    ] = 1
    device: Annotated[str, option("--device", panel=RUN, help="auto, cpu or gpu (auto).")] = "auto"
    checkpoint: Annotated[
        Path | None,
        option("--checkpoint", panel=RUN, help="FILE.npz with the whole state, kept up to date."),
        WRITES,
    ] = None
    checkpoint_every: Annotated[
        int, option("--checkpoint-every", panel=RUN, help="Steps between checkpoints (1000).")
    ] = 1000
    resume: Annotated[
        bool,
        option("--resume", panel=RUN, help="Go on from the checkpoint, with the numbers of one long run."),
    ] = False


_PLACES = {
    "data": "data.source",
    "augment": "data.augmentations",
    "encoder": "encoder.kind",
    "widths": "encoder.widths",
    "features": "encoder.features",
    "predictor_kind": "predictor.kind",
    "objective": "objective.kind",
    "alpha": "objective.alpha",
    "beta": "objective.beta",
    "normalize": "objective.normalize",
    "projector_norm": "normalisation.projector",
    "predictor_norm": "normalisation.predictor",
    "norm_epsilon": "normalisation.epsilon",
    "mean": "normalisation.mean",
    "target_kind": "target.kind",
    "decay": "target.decay",
    "optimizer": "optimizer.kind",
    "learning_rate": "optimizer.learning_rate",
    "predictor_rate": "optimizer.predictor_rate",
    "weight_decay": "optimizer.weight_decay",
    "steps": "steps",
    "batch": "batch",
    "dtype": "dtype",
    "matmul": "matmul",
    "generator": "generator",
    "metrics_every": "metrics_every",
}
"""Settings that have an option of their own."""

_KEPT = {
    "encoder": ("features", "projector", "projector_batch_norm"),
    "objective": ("symmetric", "normalize"),
}
"""What a part keeps when it becomes one of another kind; all else starts from that kind's defaults."""

_SUITED: dict[tuple[str, str], dict[str, Any]] = {
    ("encoder", "mlp"): {"widths": [64]},
    ("encoder", "conv"): {"widths": [16, 32]},
    ("optimizer", "sgd"): {"learning_rate": 0.01},
    ("optimizer", "momentum"): {"learning_rate": 0.001},
    ("optimizer", "adam"): {"learning_rate": 0.001},
    ("optimizer", "lars"): {"learning_rate": 1.0},
}
"""Defaults of kinds that have to differ from those of the library, which cannot know the others."""


def read_settings(options: TrainingOptions) -> TrainingSettings:
    """Build the settings that the options name.

    Raises
    ------
    FileNotFoundError
        A file is not there.
    ValueError
        A name or value is not accepted, said with the option that gave it.
    """
    from dynamics.training import TrainingSettings
    from dynamics.training.presets import DEFAULT, preset

    values = asdict(preset(options.preset or DEFAULT))
    layers = [] if options.config is None else [_from_file(options.config)]
    layers += [_from_options(options), *map(_assignment, options.assign or [])]
    for layer in layers:
        values = _laid_over(values, layer)
    try:
        return TrainingSettings.from_json(json.dumps(values, default=str))
    except ValueError as error:
        raise ValueError(in_terms_of_options(str(error))) from None


def _from_file(path: Path) -> dict[str, Any]:
    from dynamics.files import check_file, checked_suffix

    check_file(checked_suffix(path, (".toml", ".json")))
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
    except ValueError as error:
        raise ValueError(f"--config: {path} cannot be read: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"--config: {path} must hold an object of settings, got {type(values).__name__}")
    return values


def _from_options(options: TrainingOptions) -> dict[str, Any]:
    layer: dict[str, Any] = {}
    for name, place in _PLACES.items():
        if (value := getattr(options, name)) is not None:
            _put(layer, place, value[0] if name == "mean" and len(value) == 1 else value)
    if (sigmas := _moments(options)) is not None:
        data = layer.setdefault("data", {})
        if data.setdefault("source", "gaussian") not in ("gaussian", "exact"):
            raise ValueError(
                f"eigenvalues and moments must go with --data gaussian or exact, got {data['source']}"
            )
        data["sigma_s"], data["sigma_d"] = sigmas
    return layer


def _moments(options: TrainingOptions) -> tuple[Any, Any] | None:
    """Σs and Σd, where they were given by eigenvalues or by a file."""
    if options.moments is not None:
        if options.lambda_s is not None or options.lambda_d is not None:
            raise ValueError(
                f"--moments must be given without --lambda-s and --lambda-d, got {options.moments}"
            )
        from dynamics.data.moments import load_moments

        moments = load_moments(options.moments)
        return moments.sigma_s.tolist(), moments.sigma_d.tolist()
    if options.lambda_s is None and options.lambda_d is None:
        return None
    if len(options.lambda_s or []) != len(options.lambda_d or []):
        raise ValueError("--lambda-s and --lambda-d must both be given, as often as there are modes")
    return options.lambda_s, options.lambda_d


def _assignment(text: str) -> dict[str, Any]:
    place, equals, written = text.partition("=")
    if not equals or not re.fullmatch(r"\w+(\.\w+)?", place):
        raise ValueError(f"--set must be PART.NAME=VALUE, e.g. predictor.start=identity, got {text!r}")
    try:
        value = json.loads(written)
    except json.JSONDecodeError:
        value = written
    layer: dict[str, Any] = {}
    _put(layer, place, value)
    return layer


def _put(layer: dict[str, Any], place: str, value: Any) -> None:
    part, dot, name = place.partition(".")
    if dot:
        layer.setdefault(part, {})[name] = value
    else:
        layer[part] = value


def _laid_over(values: Mapping[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    """Settings changed by a layer; a part that becomes one of another kind starts from that kind's defaults."""
    merged = dict(values)
    for name, change in layer.items():
        before = values.get(name)
        if not (isinstance(before, Mapping) and isinstance(change, Mapping)):
            merged[name] = change
        elif name == "data":
            merged[name] = _data_over(before, change)
        else:
            merged[name] = _part_over(name, before, change)
    source = merged["data"]["source"] if isinstance(merged["data"], Mapping) else None
    if "batch" not in layer and (source == "exact") != (merged["batch"] is None):
        merged["batch"] = None if source == "exact" else 128
    if source in ("gaussian", "exact") and "features" not in layer.get("encoder", {}):
        n1 = len(merged["data"]["sigma_s"] or ())
        merged["encoder"] = {**merged["encoder"], "features": min(merged["encoder"]["features"], n1)}
    kind = layer.get("objective", {}).get("kind")
    if kind in OBJECTIVES and OBJECTIVES[kind].alone:  # it has neither predictor nor target
        merged |= {name: {"kind": "none"} for name in ("predictor", "target") if name not in layer}
    return merged


def _part_over(part: str, before: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    kind = change.get("kind", before.get("kind"))
    if kind != before.get("kind"):
        kept = {name: before[name] for name in _KEPT.get(part, ())}
        return {**kept, **_SUITED.get((part, kind), {}), **change}
    if "weight_decay" in change:  # the predictor's follows it unless given too
        before = {**before, "predictor_weight_decay": None}
    return {**before, **change}


def _data_over(before: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    source = change.get("source", before["source"])
    if source == before["source"]:
        return {**before, **change}
    given = source in ("gaussian", "exact")
    dropped: dict[str, Any] = {} if given else {"sigma_s": None, "sigma_d": None}
    if given or source.partition(":")[0] == "tree":  # whose views are drawn by the source itself
        dropped["augmentations"] = ()
    return {**before, **dropped, **change}


def in_terms_of_options(message: str) -> str:
    """Name settings as what sets them: `optimizer.learning_rate` becomes --learning-rate, others --set."""
    options = {place: f"--{name.replace('_', '-')}" for name, place in _PLACES.items()}
    options |= {f"data.{name}": f"`{name}`" for name in ("sigma_s", "sigma_d")}
    return re.sub(r"`(\w+\.\w+)`", lambda match: options.get(match[1], f"--set {match[1]}"), message)
