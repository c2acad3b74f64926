"""Branches of rest points of a deep encoder as weight decay moves (R322)."""

from __future__ import annotations

import numpy as np

from analysis.depth.decay import balanced_speed, decay_rest, decay_threshold
from analysis.depth.rest import deep_jacobian
from analysis.fixed_points.diagrams import Bifurcation, Branch, SpecialPoint
from analysis.stability.verdicts import Verdict
from dynamics.fields.deep import DeepSystem, deep_field
from dynamics.fields.vector_field import VectorField

POINTS = 201
"""Values of the parameter on a branch that spans the interval."""


def decay_branches(
    system: DeepSystem, interval: tuple[float, float], vector_field: VectorField = deep_field
) -> Bifurcation:
    """Fixed points of one mode of a deep encoder over weight decay, and their fold.

    Weights are balanced, τ_l w_l² = τp v²; `online` and `target` of a branch are ω = w_L ⋯ w_1, and its eigenvalues the
    two with the largest real parts.

    Parameters
    ----------
    system
        One mode, λs, λd > 0; its own weight decay is not used.
    interval
        Weight decays, 0 < first < last.
    vector_field
        With averages or without.

    Raises
    ------
    ValueError
        The interval is none, or the system has more than one mode.

    Notes
    -----
    Source: R322. At η = 0 points are not isolated, so the interval begins above it.

    Examples
    --------
    >>> found = decay_branches(DeepSystem(1.0, 0.8, depth=2), (0.01, 0.06))
    >>> [(point.type, round(point.value, 6), round(point.predictor, 6)) for point in found.points]
    [('saddle-node', 0.0432, 0.6)]
    """
    begin, end = (float(value) for value in interval)
    if not (np.isfinite(end) and 0 < begin < end):
        raise ValueError(
            f"`interval` must be two numbers 0 < first < last for a deep encoder, got {begin} and {end}"
        )
    if system.n_modes != 1:
        raise ValueError(f"`system` must hold one mode, got {system.n_modes}")
    s, d, L = float(system.lambda_s[0]), float(system.lambda_d[0]), system.depth
    speed = balanced_speed(system.layer_times, float(np.max(system.tau_predictor)))
    star = float(decay_threshold(L, s, d, speed))
    values = np.linspace(begin, end, POINTS)
    branches = [_branch("origin", values, np.zeros(POINTS), system, vector_field, fold=False)]
    points: tuple[SpecialPoint, ...] = ()
    if begin < star:
        ends = star <= end
        # dense at the fold, which a branch reaches like a square root
        kept = star - (star - begin) * np.linspace(1, 0, POINTS) ** 2 if ends else values
        rests = [decay_rest(L, s, d, float(min(value, star)), speed) for value in kept]
        for name in ("lower", "upper"):
            level = np.array([getattr(rest, name) for rest in rests])
            if ends:
                level[-1] = rests[-1].fold
            branches.append(_branch(name, kept, level, system, vector_field, fold=ends))
        if ends:
            fold = rests[-1].fold
            omega = float(_encoder(np.array([fold]), system)[0])
            note = f"above it the mode is lost, at depth {L} (R322)"
            points = (SpecialPoint("saddle-node", "weight-decay", star, omega, fold, omega, note),)
    return Bifurcation("weight-decay", (begin, end), tuple(branches), points)


def _weights(level: float, system: DeepSystem) -> np.ndarray:
    return level * np.sqrt(np.max(system.tau_predictor) / system.layer_times[:, 0])


def _encoder(level: np.ndarray, system: DeepSystem) -> np.ndarray:
    return np.array([float(np.prod(_weights(v, system))) for v in level])


def _branch(
    name: str,
    values: np.ndarray,
    level: np.ndarray,
    system: DeepSystem,
    vector_field: VectorField,
    *,
    fold: bool,
) -> Branch:
    eigenvalues, stability = [], []
    for eta, v in zip(values, level, strict=True):
        decayed = DeepSystem(
            system.lambda_s,
            system.lambda_d,
            depth=system.depth,
            tau_online=system.layer_times[:, 0],
            tau_predictor=system.tau_predictor,
            tau_target=system.tau_target,
            weight_decay=float(eta),
        )
        found = np.linalg.eigvals(
            deep_jacobian(decayed.deep_state(_weights(float(v), system), v), decayed, vector_field)
        )
        found = found[np.argsort(-found.real, kind="stable")].astype(complex)
        eigenvalues.append(found[:2])
        growing = int(np.sum(found.real > 0))
        verdict: Verdict = "stable" if growing == 0 else "unstable" if growing == len(found) else "saddle"
        stability.append(verdict)
    if fold:
        stability[-1] = "degenerate"
    online = _encoder(level, system)
    return Branch(name, values, online, level, online, np.array(eigenvalues), tuple(stability))
