"""Invariant planes of one mode: the two-dimensional phase planes on which the flow of a variant can be drawn whole.

On a plane the flow of (u, v), two of w1, w2 and θ, closes: the third weight is a function of them, or constant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dynamics.exact.fixed_points import refuse_weight_decay
from dynamics.fields.modes import (
    directpred_mode_field,
    fixed_target_mode_field,
    full_mode_field,
    no_ema_mode_field,
    no_predictor_mode_field,
    no_stop_gradient_mode_field,
    tied_mode_field,
)
from dynamics.fields.vector_field import VectorField
from dynamics.states import ModeState
from dynamics.system import ModeSystem
from dynamics.variants import MODE_FIELDS

ON_LEAVES = ("full", "symmetric-predictor")
"""Variants whose flow has a plane for every value of the invariant c."""


@dataclass(frozen=True, eq=False)
class Plane:
    """A two-dimensional surface that the flow of one mode does not leave, with coordinates (u, v) on it.

    Parameters
    ----------
    name
        What it is, for a title.
    axes
        The weights that are u and v: two of "online", "predictor", "target".
    embed
        (u, v) -> ModeState on the plane; u and v are arrays of one shape, real or complex.
    vector_field, system
        The flow. The system has one mode.

    Raises
    ------
    ValueError
        The system has more than one mode.
    """

    name: str
    axes: tuple[str, str]
    embed: Callable[[Any, Any], ModeState]
    vector_field: VectorField
    system: ModeSystem

    def __post_init__(self) -> None:
        if self.system.n_modes != 1:
            raise ValueError(f"`system` must have one mode to be drawn in a plane, got {self.system.n_modes}")

    def __call__(self, u: Any, v: Any) -> tuple[np.ndarray, np.ndarray]:
        """Evaluate (du/dt, dv/dt) at points (u, v), arrays that broadcast."""
        u, v = np.broadcast_arrays(u, v)
        rate = self.vector_field(0.0, self.embed(u[..., None], v[..., None]), self.system)
        du, dv = (np.broadcast_to(getattr(rate, axis), (*u.shape, 1))[..., 0] for axis in self.axes)
        return du, dv

    def coordinates(self, state: ModeState) -> tuple[Any, Any]:
        """Return (u, v) of a state on the plane."""
        return getattr(state, self.axes[0]), getattr(state, self.axes[1])


def checked_window(u_range: tuple[float, float], v_range: tuple[float, float]) -> np.ndarray:
    """Return the window as an array [[u_min, u_max], [v_min, v_max]].

    Raises
    ------
    ValueError
        A bound is not finite or a range is empty.
    """
    for name, bounds in (("u_range", u_range), ("v_range", v_range)):
        if not (len(bounds) == 2 and np.all(np.isfinite(bounds)) and bounds[0] < bounds[1]):
            raise ValueError(f"`{name}` must be two finite numbers, the smaller first, got {bounds}")
    return np.array([u_range, v_range], dtype=np.float64)


def _sign(sheet: int) -> int:
    if sheet not in (-1, 1):
        raise ValueError(f"`sheet` must be 1 or -1, got {sheet!r}")
    return sheet


def leaf_plane(system: ModeSystem, invariant: float, sheet: int = 1) -> Plane:
    """Exact phase plane of the full flow on a leaf τo w1² − τp w2² = c (R2).

    c > 0: (w2, θ) with w1 = ± sqrt((c + τp w2²)/τo);  c <= 0: (w1, θ) with w2 = ± sqrt((τo w1² − c)/τp).

    Parameters
    ----------
    system
        One mode, η = 0.
    invariant
        c, finite.
    sheet
        The sign of the weight that keeps its sign, 1 or −1.

    Raises
    ------
    ValueError
        η ≠ 0: then c decays and leaves do not last; see `balanced_plane`. An argument is out of range.

    Examples
    --------
    >>> plane = leaf_plane(ModeSystem(1.0, 0.5), -0.09)
    >>> plane.axes, plane.embed(np.array([0.4]), 0.0).predictor
    (('online', 'target'), array([0.5]))
    """
    refuse_weight_decay(system)
    if not np.isfinite(invariant):
        raise ValueError(f"`invariant` must be finite, got {invariant}")
    c, sign, to, tp = invariant, _sign(sheet), system.tau_online, system.tau_predictor
    side = ">" if sheet > 0 else "<"
    if c > 0:
        return Plane(
            f"leaf c = {c:g}, w1 {side} 0",
            ("predictor", "target"),
            lambda w2, th: ModeState(sign * np.sqrt((c + tp * w2**2) / to), w2, th),
            full_mode_field,
            system,
        )
    return Plane(
        f"leaf c = {c:g}, w2 {side} 0",
        ("online", "target"),
        lambda w1, th: ModeState(w1, sign * np.sqrt((to * w1**2 - c) / tp), th),
        full_mode_field,
        system,
    )


def balanced_plane(system: ModeSystem, sheet: int = 1) -> Plane:
    """Balanced sheet of the full flow, w2 = ± sqrt(τo/τp) w1, on which weight decay ends (R15).

    It is invariant for every η; at η = 0 it is half of the leaf c = 0, continued smoothly through the origin.

    Parameters
    ----------
    system
        One mode, any η.
    sheet
        The sign of w1 w2, 1 or −1; fixed points other than the origin need that of λd.

    Examples
    --------
    >>> float(balanced_plane(ModeSystem(1.0, 0.5, tau_online=4.0)).embed(0.1, 0.0).predictor)
    0.2
    """
    slope = _sign(sheet) * np.sqrt(system.tau_online / system.tau_predictor)
    return Plane(
        f"balanced sheet, w1 w2 {'>' if sheet > 0 else '<'} 0",
        ("online", "target"),
        lambda w1, th: ModeState(w1, slope * w1, th),
        full_mode_field,
        system,
    )


def tied_plane(system: ModeSystem) -> Plane:
    """Phase plane (w, θ) of tied weights, w1 = w2 = w (R7).

    Raises
    ------
    ValueError
        τo ≠ τp: then the weights do not stay equal.

    Examples
    --------
    >>> du, dv = tied_plane(ModeSystem(1.0, 0.5))(0.2, 0.2)
    >>> float(du.round(12)), float(dv)
    (0.012, 0.0)
    """
    tied_mode_field.require(system.state(), system)
    return Plane(
        "tied weights", ("online", "target"), lambda w, th: ModeState(w, w, th), tied_mode_field, system
    )


def no_predictor_plane(system: ModeSystem) -> Plane:
    """Phase plane (w1, θ) without predictor, w2 = 1: a linear flow (R11)."""
    return Plane(
        "no predictor",
        ("online", "target"),
        lambda w1, th: ModeState(w1, np.ones_like(w1), th),
        no_predictor_mode_field,
        system,
    )


def direct_plane(system: ModeSystem, vector_field: VectorField = directpred_mode_field) -> Plane:
    """Phase plane (w1, θ) of DirectPred or DirectSet, w2 a function of w1 (R22).

    Parameters
    ----------
    system
        One mode.
    vector_field
        A field of `dynamics.fields.modes.direct_mode_field`.
    """
    return Plane(
        vector_field.name,
        ("online", "target"),
        lambda w1, th: vector_field.constrain(0.0, ModeState(w1, w1, th), system),
        vector_field,
        system,
    )


def fixed_target_plane(system: ModeSystem, target: float) -> Plane:
    """Phase plane (w1, w2) under a constant target θ (R13; DD Figure 5 left)."""
    if not np.isfinite(target):
        raise ValueError(f"`target` must be finite, got {target}")
    return Plane(
        f"fixed target {target:g}",
        ("online", "predictor"),
        lambda w1, w2: ModeState(w1, w2, np.full_like(w1, target)),
        fixed_target_mode_field,
        system,
    )


def no_ema_plane(system: ModeSystem) -> Plane:
    """Phase plane (w1, w2) without EMA, θ = w1 behind the stop-gradient (R14)."""
    return _target_is_online("no EMA", no_ema_mode_field, system)


def no_stop_gradient_plane(system: ModeSystem) -> Plane:
    """Phase plane (w1, w2) with θ = w1 and the gradient through both branches (R12)."""
    return _target_is_online("no stop-gradient", no_stop_gradient_mode_field, system)


def _target_is_online(name: str, vector_field: VectorField, system: ModeSystem) -> Plane:
    return Plane(name, ("online", "predictor"), lambda w1, w2: ModeState(w1, w2, w1), vector_field, system)


_OF_VARIANT = {
    "tied": tied_plane,
    "no-predictor": no_predictor_plane,
    "no-ema": no_ema_plane,
    "no-stop-gradient": no_stop_gradient_plane,
}


def plane_of_variant(
    variant: str,
    system: ModeSystem,
    *,
    invariant: float = 0.0,
    target: float = 1.0,
    sheet: int | None = None,
) -> Plane:
    """Phase plane of a variant.

    Parameters
    ----------
    variant
        A name in `dynamics.variants.VARIANTS`. That of a variant which sets w2 from w1 is (w1, θ).
    system
        One mode.
    invariant
        c of the leaf, for variants in `ON_LEAVES`: 0, or any number without weight decay.
    target
        θ, for fixed-target.
    sheet
        1 or −1, the sign of w1 w2 on the plane of a variant in `ON_LEAVES`; left out, that of λd.

    Raises
    ------
    ValueError
        The name is unknown, or the variant has no such plane for this system.

    Examples
    --------
    >>> plane_of_variant("full", ModeSystem(1.0, 0.5)).name
    'balanced sheet, w1 w2 > 0'
    """
    if variant not in MODE_FIELDS:
        raise ValueError(f"`variant` must be one of {', '.join(MODE_FIELDS)}, got {variant!r}")
    if variant == "fixed-target":
        return fixed_target_plane(system, target)
    if variant in ON_LEAVES:
        side = (1 if system.lambda_d[0] >= 0 else -1) if sheet is None else sheet
        # the sheet c = 0 of a leaf has a corner at the origin, the balanced one goes through it smoothly
        return leaf_plane(system, invariant, side) if invariant else balanced_plane(system, side)
    if variant in _OF_VARIANT:
        return _OF_VARIANT[variant](system)
    return direct_plane(system, MODE_FIELDS[variant])
