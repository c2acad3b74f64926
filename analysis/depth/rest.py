"""Where one mode of a deep encoder can rest, and whether rest is stable (R320, R322)."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.depth.decay import balanced_speed, decay_rest
from dynamics.fields.deep import DeepState, DeepSystem, deep_field
from dynamics.fields.vector_field import VectorField
from dynamics.states import pack, unpack

_STEP = 1e-100  # of a complex step, whose square is nothing beside 1


def deep_jacobian(state: DeepState, system: DeepSystem, vector_field: VectorField = deep_field) -> np.ndarray:
    """Jacobian of the flow of one mode, shape (n, n), by complex steps: exact to rounding.

    The unknowns are w_1 … w_L, v, θ_1 … θ_L; without averages w_1 … w_L, v.

    Raises
    ------
    ValueError
        The system has more than one mode.

    Examples
    --------
    >>> system = DeepSystem(1.0, 0.5, depth=1)
    >>> deep_jacobian(system.deep_state(0.2, 0.5), system).round(12).tolist()
    [[-0.25, -0.1, 0.25], [-0.1, -0.04, 0.1], [1.0, 0.0, -1.0]]
    """
    if system.n_modes != 1:
        raise ValueError(f"`system` must hold one mode, got {system.n_modes}")
    y = pack(state)
    n = len(y) if vector_field is deep_field else system.depth + 1
    columns = []
    for j in range(n):
        moved = y.astype(complex)
        moved[j] += 1j * _STEP
        speed = vector_field(0.0, unpack(moved, state), system)
        columns.append(np.concatenate([np.ravel(part) for part in speed])[:n].imag / _STEP)
    return np.transpose(columns)


def approach_rate(layers: Any, predictor: float, system: DeepSystem) -> float:
    """Rate at which the slowest direction approaches a resting mode without weight decay; negative where one leaves it.

    L eigenvalues are zero, along the set of fixed points; it is minus the largest real part of the others.

    Parameters
    ----------
    layers, predictor
        w_1 … w_L and v at rest.
    system
        One mode.

    Examples
    --------
    >>> approach_rate([0.0], 0.2, DeepSystem(1.0, 0.5, depth=1)) < 0 < approach_rate([0.4], 0.5, DeepSystem(1.0, 0.5))
    True
    """
    values = np.linalg.eigvals(deep_jacobian(system.deep_state(layers, predictor), system))
    size = np.argsort(np.abs(values), kind="stable")
    return -float(np.max(values[size[system.depth :]].real))


def deep_rest(system: DeepSystem, vector_field: VectorField = deep_field) -> dict[str, Any]:
    """Fixed points of one mode of a deep encoder with weight decay, and sets of them without.

    With η > 0 weights end balanced, τ_l w_l² = τp v²: the origin, and where η is at most the threshold of R322 the two
    roots v of κ v^{2L−1} (λd − λs v) = η, w_l = v √(τp/τ_l), up to signs. Without, v = r with any weights but zero,
    which attracts, and one layer at zero with v = p and any other weights: attracting for p < 0 and p > r, a saddle
    between.

    Parameters
    ----------
    system
        One mode, λs, λd > 0.
    vector_field
        With averages or without, one of `DEEP_FIELDS`.

    Returns
    -------
    dict
        `fixed_points` and `lines`, as `dyn fixed-points --json` prints them.

    Raises
    ------
    ValueError
        The system has more than one mode, or λs or λd is not positive.

    Notes
    -----
    Source: R320, R322.

    Examples
    --------
    >>> found = deep_rest(DeepSystem(1.0, 0.8, depth=2, weight_decay=0.99 * 0.0432))
    >>> [(p["name"], round(p["predictor"], 4), p["stability"]) for p in found["fixed_points"]]
    [('origin', 0.0, 'stable'), ('lower', 0.5748, 'saddle'), ('upper', 0.6239, 'stable')]
    """
    if system.n_modes != 1:
        raise ValueError(f"`system` must hold one mode, got {system.n_modes}")
    s, d = float(system.lambda_s[0]), float(system.lambda_d[0])
    if s <= 0 or d <= 0:
        raise ValueError(f"`system` must have λs and λd > 0, got {s} and {d}")
    eta, L = float(np.max(system.weight_decay)), system.depth
    if eta == 0:
        return {"fixed_points": [], "lines": _sets(d / s, L)}
    tp = float(np.max(system.tau_predictor))
    found = decay_rest(L, s, d, eta, balanced_speed(system.layer_times, tp))
    points = [_point("origin", 0.0, system, vector_field)]
    if found.lower == found.upper:
        points.append(_point("saddle-node", found.fold, system, vector_field))
    elif np.isfinite(found.upper):
        points += [
            _point(name, v, system, vector_field)
            for name, v in (("lower", found.lower), ("upper", found.upper))
        ]
    return {"fixed_points": points, "lines": []}


def _point(name: str, v: float, system: DeepSystem, vector_field: VectorField) -> dict[str, Any]:
    weights = v * np.sqrt(np.max(system.tau_predictor) / system.layer_times)
    state = system.deep_state(weights, v)
    values = np.linalg.eigvals(deep_jacobian(state, system, vector_field))
    values = values[np.argsort(-values.real, kind="stable")]
    if name == "saddle-node":
        stability = "degenerate"
    else:
        growing = int(np.sum(values.real > 0))
        stability = {0: "stable", len(values): "unstable"}.get(growing, "saddle")
    omega = float(np.prod(weights))
    return {
        "name": name,
        "online": omega,
        "predictor": v,
        "target": omega,
        "layers": weights[:, 0].tolist(),
        "eigenvalues": [[float(value.real), float(value.imag)] for value in values],
        "stability": stability,
        "exact": None,
    }


def _sets(r: float, depth: int) -> list[dict[str, Any]]:
    """Sets of fixed points without weight decay; their names say which."""

    def segments(*parts: tuple[float | None, float | None, str]) -> list[dict[str, Any]]:
        return [{"range": [low, high], "stability": word} for low, high, word in parts]

    lines = [
        {
            "name": "learned",
            "where": "v = r, every layer any weight but 0",
            "parameter": "w",
            "dimension": depth,
            "segments": segments(
                (None, 0.0, "attracting"), (0.0, 0.0, "degenerate"), (0.0, None, "attracting")
            ),
        },
        {
            "name": "collapsed",
            "where": "one layer 0, the others any weight but 0, v = p",
            "parameter": "p",
            "dimension": depth,
            "segments": segments(
                (None, 0.0, "attracting"),
                (0.0, 0.0, "degenerate"),
                (0.0, r, "saddle"),
                (r, r, "degenerate"),
                (r, None, "attracting"),
            ),
        },
    ]
    if depth > 1:
        lines.append(
            {
                "name": "several layers 0",
                "where": "at least two layers 0, v = p",
                "parameter": "p",
                "dimension": depth - 1,
                "segments": segments((None, None, "degenerate")),
            }
        )
    return lines
