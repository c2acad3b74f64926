"""Spectrum of the flow of a deep encoder's modes at rest, and what decides it (R320, R322)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from analysis.depth.decay import balanced_speed, decay_rest
from analysis.depth.rest import deep_jacobian
from analysis.stability.adapted import bounded_spectrum
from analysis.stability.spectrum import Stability, counted
from dynamics.fields.deep import DEEP_FIELDS, DeepState, DeepSystem, deep_field, products_of_others
from dynamics.fields.vector_field import VectorField
from dynamics.states import pack

_EPS = float(np.finfo(float).eps)


class ModeCondition(NamedTuple):
    """What decides one mode.

    Parameters
    ----------
    mode
        Its number, from 0.
    verdict
        Stable, saddle, unstable or degenerate, across the fixed points around.
    dead_layers
        Layers at zero, from 0.
    n_zero_forced
        Dimension of the set of fixed points around: zeros that it forces.
    max_real
        Largest real part of the other eigenvalues.
    sentence
        The same in words.
    """

    mode: int
    verdict: str
    dead_layers: list[int]
    n_zero_forced: int
    max_real: float
    sentence: str


def deep_residual(state: DeepState, system: DeepSystem, vector_field: VectorField = deep_field) -> float:
    """How far modes are from rest: ‖d state/dt‖, and at η = 0 the distance from v = r or a layer at zero, θ = w.

    The field alone is small of order 2L where layers are. Without averages θ is w.

    >>> system = DeepSystem(1.0, 0.5, depth=2)
    >>> deep_residual(system.deep_state([0.3, 0.4], 0.5), system)
    0.0
    >>> deep_residual(system.deep_state([1e-3, 1e-3], 0.2), system)
    0.001
    """
    state = vector_field.constrain(0.0, state, system)
    w, v, th = state
    norms = [np.linalg.norm(pack(vector_field(0.0, state, system)))]
    away = np.minimum(np.abs(v - system.ratio), np.min(np.abs(w), axis=0))
    free = np.broadcast_to(system.weight_decay, v.shape) == 0
    norms += [np.max(np.where(free, away, 0.0)), np.linalg.norm(th - w)]
    return float(max(norms))


def deep_stability(
    state: DeepState, system: DeepSystem, vector_field: VectorField = deep_field, *, tolerance: float = 1e-6
) -> tuple[Stability, list[ModeCondition]]:
    """Spectrum of the flow of decoupled modes at rest: the union of those of the modes, a block each.

    Parameters
    ----------
    state, system
        Modes at rest, λs, λd > 0.
    vector_field
        With averages or without, one of `DEEP_FIELDS`.
    tolerance
        Largest `deep_residual` that counts as rest, in (0, 1). Without weight decay layers below a thousand times the
        residual, and at most this, beside the largest are taken as 0.

    Returns
    -------
    Stability, list of ModeCondition
        The spectrum, and for each mode what decides it. Zeros that the fixed points around force are set to 0: without
        weight decay L of them for v = r and for one layer at zero, L − z + 1 for z layers at zero.

    Raises
    ------
    ValueError
        The modes are not at rest within `tolerance`, or λs or λd is not positive.

    Notes
    -----
    Source: R320, R322.

    Examples
    --------
    >>> system = DeepSystem(1.0, 0.5, depth=2)
    >>> spectrum, (mode,) = deep_stability(system.deep_state([0.0, 0.4], 0.2), system)
    >>> spectrum.verdict, spectrum.n_zero_forced, mode.dead_layers
    ('saddle', 2, [0])
    """
    if not (np.isfinite(tolerance) and 0 < tolerance < 1):
        raise ValueError(f"`tolerance` must be above 0 and below 1, got {tolerance}")
    if not (np.all(system.lambda_s > 0) and np.all(system.lambda_d > 0)):
        raise ValueError(
            f"`system` must have λs and λd > 0, got {np.min(system.lambda_s):g} and {np.min(system.lambda_d):g}"
        )
    state = vector_field.constrain(0.0, system.deep_state(*state), system)
    residual = deep_residual(state, system, vector_field)
    if residual > tolerance:
        raise ValueError(
            f"the state must be a fixed point within `tolerance` = {tolerance:.3g}, got a residual of {residual:.3g}"
        )
    small = min(tolerance, 1e3 * (residual + _EPS))
    parts, conditions = [], []
    for k in range(system.n_modes):
        one, point = mode_of(system, k), DeepState(*(part[..., k : k + 1] for part in state))
        spectrum, condition = _one(point, one, vector_field, k, residual, small)
        parts.append(spectrum)
        conditions.append(condition)
    return _united(parts, residual), conditions


def mode_of(system: DeepSystem, k: int) -> DeepSystem:
    """System of mode k alone.

    >>> mode_of(DeepSystem([1.0, 2.0], [0.5, 0.6], depth=2), 1).lambda_s
    array([2.])
    """
    n = system.n_modes
    rates = {
        name: np.broadcast_to(getattr(system, name), (n,))[k]
        for name in ("tau_predictor", "tau_target", "weight_decay")
    }
    return DeepSystem(
        system.lambda_s[k],
        system.lambda_d[k],
        depth=system.depth,
        tau_online=system.layer_times[:, 0],
        **rates,
    )


def _one(
    state: DeepState, system: DeepSystem, vector_field: VectorField, k: int, residual: float, small: float
) -> tuple[Stability, ModeCondition]:
    L, v = system.depth, float(state.predictor[0])
    free = bool(np.max(system.weight_decay) == 0)
    dead: np.ndarray = np.abs(state.layers[:, 0]) <= small * max(float(np.max(np.abs(state.layers))), _EPS)
    if free and np.any(dead):
        state = DeepState(
            *(np.where(dead[:, None], 0.0, part) if i != 1 else part for i, part in enumerate(state))
        )
    z = int(np.sum(dead))
    forced = (L if z <= 1 else L - z + 1) if free else 0
    jacobian = deep_jacobian(state, system, vector_field)
    # entries are differences of terms, which may cancel: at v = r, or beside v = 0
    size = float(np.linalg.norm(jacobian))
    off = residual + _EPS * _size_of_terms(state, system)
    noise = min(1.0, max(_EPS, off / size)) if size > 0 else 1.0
    found = counted(bounded_spectrum([jacobian[None]], noise), len(jacobian), residual, forced, None)
    # the forced zeros are exact ones; one of each is left out for every zero that is forced
    others = np.delete(found.eigenvalues, np.flatnonzero(found.eigenvalues == 0)[:forced])
    rate = float(np.max(others.real))
    verdict = str(found.verdict)
    return found, ModeCondition(
        k,
        verdict,
        np.flatnonzero(dead).tolist(),
        forced,
        rate,
        _sentence(k, verdict, dead, v, free, system, forced),
    )


def _size_of_terms(state: DeepState, system: DeepSystem) -> float:
    """Size of what the entries of the Jacobian are differences of."""
    w, v = np.abs(state.layers), np.abs(state.predictor)
    others, omega = products_of_others(w), np.prod(w, axis=0)
    pushed = others**2 * v * (system.lambda_d + v * system.lambda_s) / system.layer_times
    return float(np.max(pushed) + np.max(omega**2 * system.lambda_s / system.tau_predictor))


def _sentence(
    k: int, verdict: str, dead: np.ndarray, v: float, free: bool, system: DeepSystem, forced: int
) -> str:
    name, z, r = f"mode {k + 1}", int(np.sum(dead)), float(system.ratio[0])
    around = f"{forced} neutral directions lead along fixed points (R320)"
    if not free:
        return f"{name} rests with weight decay, {verdict}: no direction is neutral (R322)"
    if z == 0:
        return f"{name} is learned, v = r, {verdict}: {around}"
    if z > 1:
        return f"{name} has {z} layers at zero, {verdict}: neither they nor v move to first order; {around}"
    layer = int(np.flatnonzero(dead)[0]) + 1
    return (
        f"{name} is collapsed, layer {layer} at zero and v = {v:.6g} beside r = {r:.6g}, {verdict}: {around}"
    )


def _united(parts: list[Stability], residual: float) -> Stability:
    """The union of the spectra of blocks."""
    eigenvalues = np.concatenate([part.eigenvalues for part in parts])
    eigenvalues = eigenvalues[np.argsort(-eigenvalues.real, kind="stable")]

    def total(name: str) -> int:
        return int(sum(getattr(part, name) for part in parts))

    return Stability(
        residual=residual,
        n_unknowns=eigenvalues.size,
        method="dense" if len(parts) == 1 else "blocks",
        largest_block=max(part.largest_block for part in parts),
        eigenvalues=eigenvalues,
        n_positive=total("n_positive"),
        n_zero=total("n_zero"),
        n_negative=total("n_negative"),
        n_zero_forced=total("n_zero_forced"),
        max_real=float(eigenvalues[0].real),
        min_real=float(eigenvalues[-1].real),
        zero_tolerance=max(part.zero_tolerance for part in parts),
        zero_spread=max(part.zero_spread for part in parts),
    )


class PolishedModes(NamedTuple):
    """Modes carried to fixed points; as `analysis.fixed_points.network.Polished`, in closed form."""

    state: DeepState
    status: str
    residual_before: float
    residual_after: float
    displacement: float
    n_steps: int


def polish_modes(
    state: DeepState, system: DeepSystem, vector_field: VectorField = DEEP_FIELDS["full"]
) -> PolishedModes:
    """Carry every mode to the fixed point beside it.

    Without weight decay to v = r, or the smallest layer to zero, whichever is nearer, and θ to w; with it to the
    nearest of the origin and the balanced points of R322, in the signs of the layers.

    Notes
    -----
    Source: R320, R322.

    Examples
    --------
    >>> system = DeepSystem(1.0, 0.5, depth=2)
    >>> found = polish_modes(system.deep_state([0.3, 0.4], 0.5 + 1e-7), system)
    >>> found.state.predictor.tolist(), found.residual_after
    ([0.5], 0.0)
    """
    state = system.deep_state(*state)
    w, v = state.layers.copy(), state.predictor.copy()
    for k in range(system.n_modes):
        one = mode_of(system, k)
        if np.max(one.weight_decay) == 0:
            smallest = int(np.argmin(np.abs(w[:, k])))
            if abs(v[k] - one.ratio[0]) <= abs(w[smallest, k]):
                v[k] = one.ratio[0]
            else:
                w[smallest, k] = 0.0
            continue
        tp = float(np.max(one.tau_predictor))
        rest = decay_rest(
            one.depth,
            float(one.lambda_s[0]),
            float(one.lambda_d[0]),
            float(np.max(one.weight_decay)),
            balanced_speed(one.layer_times, tp),
        )
        shape = np.sign(w[:, k]) * np.sqrt(tp / one.layer_times[:, 0])
        levels = [level for level in (0.0, rest.lower, rest.upper) if np.isfinite(level)]
        away = [np.linalg.norm(np.append(level * shape - w[:, k], level - v[k])) for level in levels]
        level = levels[int(np.argmin(away))]
        w[:, k], v[k] = level * shape, level
    end = DeepState(w, v, w.copy())
    before, after = (deep_residual(one, system, vector_field) for one in (state, end))
    moved = float(np.linalg.norm(pack(end) - pack(state)))
    return PolishedModes(end, "converged", before, after, moved, 0)
