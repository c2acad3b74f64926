"""Closed-form eigenvalues of one (row, mode) block of a decoupled fixed point (R9, R10)."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynamics.exact.fixed_points import leaf_eigenvalues, refuse_weight_decay
from dynamics.system import ModeSystem


def pair_eigenvalues(predictor: Any, amplitude: Any, system: ModeSystem) -> np.ndarray:
    """Eigenvalues that row i with predictor p_i has towards mode j, which a row of amplitude w_j holds.

    Of the three of R9's block one is 0, forced by W → S W, P → S P S⁻¹ (R4). The others are the roots of

        s² + s (1/τt + p_i² λs_j/τo + w_j² λs_j/τp) + [w_j² λs_j/τp + p_i (p_i λs_j − λd_j)/τo]/τt = 0.

    Parameters
    ----------
    predictor
        p_i, scalar or shape (..., n_modes).
    amplitude
        w_j, broadcasting with it; 0 where no row selected mode j: then R9's block is 2×2, without forced zero.
    system
        One mode for each j, with η = 0.

    Returns
    -------
    array (..., n_modes, 2)
        Complex, the larger real part first: positive iff w_j²/τp < (p_i/τo)(r_j − p_i), for λs > 0 (R10).

    Raises
    ------
    ValueError
        η ≠ 0: then decoupled fixed points are others.

    Notes
    -----
    With i = j, p = r it is the learned line of R5, with w = 0 the collapsed one. Source: R9, R10.

    Examples
    --------
    >>> pair_eigenvalues(0.4, [[0.3], [0.6]], ModeSystem(1.0, 0.9))[:, 0, 0].real.round(6)
    array([ 0.082549, -0.11378 ])
    """
    refuse_weight_decay(system)
    p, w = np.asarray(predictor), np.asarray(amplitude)
    support = w**2 * system.lambda_s / system.tau_predictor
    push = p * (system.lambda_d - p * system.lambda_s) / system.tau_online
    return leaf_eigenvalues(p * system.lambda_d / system.tau_online, support - push, system)
