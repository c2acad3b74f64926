"""Every compiled variant for one mode, with rates, units and paths by another method: what tests of its flow share."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from dynamics.integration import mode_flow
from dynamics.system import ModeSystem
from dynamics.variants import VARIANTS, Variant

ROWS = [row for row in VARIANTS.values() if row.kind is not None]
IDS = [row.name for row in ROWS]
STATE = (0.7, -0.4, 0.9)
RATES = (1.3, 0.8, 0.6, 1.7, 2.1, 0.07)  # λs, λd, τo, τp, τt, η


def system_of(rates: Any) -> ModeSystem:
    ls, ld, to, tp, tt, eta = rates
    return ModeSystem(ls, ld, tau_online=to, tau_predictor=tp, tau_target=tt, weight_decay=eta)


def rates_for(row: Variant, rates: Any = RATES) -> Any:
    """The rates, with τp = τo for tied weights."""
    ls, ld, to, _tp, tt, eta = rates
    return (ls, ld, to, to, tt, eta) if row.name == "tied" else rates


def opened(row: Variant, state: Any, rates: Any, t_end: float = math.inf) -> Any:
    """Balanced, scaled start, parameters and end time, the units, and whether numbers hold all of it."""
    assert row.kind is not None
    return mode_flow.scaled(row.kind, state, rates, t_end, row.direct)


def path(row: Variant, start: Any, rates: Any, ts: np.ndarray) -> np.ndarray:
    """States (T, 3) at the times, from the variant's vector field by SciPy's method for stiff equations."""
    system, field = system_of(rates), row.mode_field

    def kept(x: Any) -> Any:
        return field.constrain(0.0, system.state(*x), system)

    def f(_: float, x: np.ndarray) -> np.ndarray:
        return np.ravel(field(0.0, kept(x), system))

    found = solve_ivp(f, (0, ts[-1]), np.ravel(kept(start)), "LSODA", ts, rtol=1e-11, atol=1e-14)
    return np.array([np.ravel(kept(x)) for x in found.y.T])


def integrated(row: Variant, state: Any, rates: Any, t: float) -> np.ndarray:
    """The last state of `path` after a time."""
    return path(row, state, rates, np.array([0.0, t]))[-1]
