"""C11: what DD takes away from BYOL, on digits: Tables 3, 5 and 7 to 10."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.experiments.experiment import Effort, Experiment, Measurement, Outcome
from analysis.experiments.seeds import (
    along_training,
    clearly_above,
    network,
    not_below,
    said,
    seeds_of,
    trained,
)

Runs = dict[str, np.ndarray]
"""Probe accuracy along training by name of the setting, (n_seeds, T)."""

EPOCH = 42
"""Steps that see as many samples as there are digits to train on, 1,348 in batches of 32; other data keep it."""
RANGES = (0.003, 0.005, 0.007, 0.01, 0.02, 0.05)
"""Ranges of the weights of a predictor at the start: Tables 7, 8 and 9."""
TABLE_10 = ((0.01, 0.02, 0.03, 0.05), 20)
"""Ranges of the weights of a two-layer predictor, and epochs after which it starts anew."""


def accuracy(effort: Effort, **parts: Any) -> np.ndarray:
    """Probe accuracy along training, (n_seeds, T)."""
    return trained(network(effort, **parts), seeds_of(effort)).metrics["probe_accuracy"]


def swept(effort: Effort, scales: tuple[float, ...], **parts: Any) -> dict[float, np.ndarray]:
    """Probe accuracy along training for each range of the predictor's weights at the start."""
    seeds = seeds_of(effort)
    predictor = parts.pop("predictor") | {"scale": tuple(s for s in scales for _ in seeds)}
    found = trained(network(effort, predictor=predictor, **parts), seeds * len(scales))
    values = found.metrics["probe_accuracy"]
    return dict(zip(scales, values.reshape(len(scales), len(seeds), -1), strict=True))


def factors(effort: Effort) -> Runs:
    """Table 3: predictor (P), moving average (EMA) and batch normalisation (BN), each there or not."""
    cases = {
        (p, ema, bn)
        for p in (False, True)
        for ema in (False, True)
        for bn in (False, True)
        if p or not (bn and effort.quick)
    }
    found = {}
    for p, ema, bn in sorted(cases):
        parts: dict[str, Any] = {"target": {"decay": 0.99 if ema else 0.0}}
        if bn:
            parts["encoder"] = {"kind": "mlp", "widths": (64,), "features": 16, "batch_norm": True}
        if not p:
            parts["predictor"] = {"kind": "none"}
        name = ", ".join(n for n, there in (("P", p), ("EMA", ema), ("BN", bn)) if there) or "none"
        found[name] = accuracy(effort, **parts)
    return found


def fresh_predictors(effort: Effort, kind: str) -> Runs:
    """Table 5: a predictor that starts anew every T epochs; the source's has two layers."""
    periods = (10,) if effort.quick else (5, 10, 20)
    return {
        f"{kind} predictor anew every {t} epochs": accuracy(
            effort, predictor={"kind": kind, "reinitialise": t * EPOCH}
        )
        for t in periods
    }


def positive_starts(effort: Effort) -> Runs:
    """Tables 7, 8 and 9: small positive weights at the start, without EMA, and with EMA and starting anew."""
    positive = {"kind": "linear", "start": "positive"}
    scales = RANGES[3:]
    found = {
        f"[0, {scale:g}], no EMA": values
        for scale, values in swept(effort, scales, predictor=positive, target={"decay": 0.0}).items()
    }
    if not effort.quick:
        anew = positive | {"reinitialise": 10 * EPOCH}
        found |= {
            f"[0, {scale:g}], EMA, anew every 10 epochs": values
            for scale, values in swept(effort, RANGES, predictor=anew).items()
        }
    return found


def two_layers(effort: Effort) -> Runs:
    """Table 10: two layers with batch normalisation from small weights of both signs, started anew."""
    ranges, epochs = TABLE_10
    anew = {"kind": "mlp", "batch_norm": True, "start": "uniform", "reinitialise": epochs * EPOCH}
    return {
        f"two layers, [−{scale:g}, {scale:g}]": values
        for scale, values in swept(effort, ranges, predictor=anew).items()
    }


def judged(claim: str, measured: Measurement, a: np.ndarray, b: np.ndarray) -> Measurement:
    """A comparison of two settings with the accuracies of both in words."""
    return Measurement(
        name=claim,
        predicted=f"{measured.predicted:.3f} or more",
        measured=f"{measured.measured:+.3f}: {said(a)} against {said(b)}",
        tolerance=measured.tolerance,
        holds=measured.holds,
        note=measured.note,
        relation=measured.relation,
    )


def above(claim: str, a: np.ndarray, b: np.ndarray) -> Measurement:
    """Measure that accuracies `a` are above `b`, seed by seed."""
    return judged(claim, clearly_above(claim, a, b), a, b)


def no_worse(claim: str, a: np.ndarray, b: np.ndarray) -> Measurement:
    """Measure that accuracies `a` are not below `b`, seed by seed."""
    return judged(claim, not_below(claim, a, b), a, b)


def table_3(found: Runs) -> list[Measurement]:
    """What Table 3 says of each factor, with the random encoder in place of guessing."""
    end = {name: values[:, -1] for name, values in found.items()}
    measurements = [
        above(f"{name} falls below the random encoder", found[name][:, 0], end[name])
        for name in found
        if "P" not in name
    ]
    for rest in ("", "EMA", "BN", "EMA, BN"):
        with_p = f"P, {rest}".rstrip(", ")
        if (rest or "none") in end:
            measurements.append(above(f"{with_p} above {rest or 'none'}", end[with_p], end[rest or "none"]))
    for better, worse in (("P, BN", "P"), ("P, EMA, BN", "P, EMA"), ("P, EMA, BN", "P, BN")):
        measurements.append(no_worse(f"{better} not below {worse}", end[better], end[worse]))
    return measurements


def run(effort: Effort) -> Outcome:
    """Train all settings and put what the tables claim beside what digits show."""
    by_factor = factors(effort)
    effort.report(1, 4)
    original = accuracy(effort, predictor={"kind": "mlp"})
    fresh = fresh_predictors(effort, "mlp")
    effort.report(2, 4)
    positive = positive_starts(effort)
    effort.report(3, 4)
    deep = {} if effort.quick else two_layers(effort)
    linear = {} if effort.quick else fresh_predictors(effort, "linear")
    measurements = table_3(by_factor)
    for reference, runs in ((original, fresh | deep), (by_factor["P, EMA"], linear)):
        for name, values in runs.items():
            measurements.append(
                no_worse(f"{name}: not below one that stays", values[:, -1], reference[:, -1])
            )
    for name, values in positive.items():
        measurements.append(above(f"{name}: above the random encoder", values[:, -1], values[:, 0]))
    steps = trained(network(effort), seeds_of(effort)).steps
    curves = [
        along_training(panel, name, steps, values, "held-out accuracy")
        for panel, runs in (
            ("Table 3", by_factor),
            ("Table 5", {"mlp predictor": original} | fresh | linear),
            ("Tables 7 to 9, no EMA", {name: r for name, r in positive.items() if "anew" not in name}),
            ("Tables 7 to 9, EMA", {name: r for name, r in positive.items() if "anew" in name}),
            ("Table 10", deep),
        )
        for name, values in runs.items()
    ]
    failed = [m.name for m in measurements if not m.holds]
    reason = f"on {effort.data_name} these claims of DD do not show: {'; '.join(failed)}" if failed else ""
    return Outcome(tuple(measurements), tuple(curves), reason)


EXPERIMENTS = (
    Experiment(
        "C11",
        "DD's ablations on digits",
        "a predictor keeps features from collapsing, with EMA and batch normalisation better than without; it may start"
        " anew, or from small positive weights (R11; DD, Tables 3, 5 and 7 to 10)",
        run,
        data="classes",
    ),
)
