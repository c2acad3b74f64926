"""Exact solution of a linear encoder under the simple contrastive loss."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynamics.exact.arithmetic import solution_times
from dynamics.fields.contrastive import encoder_start
from dynamics.states import EncoderState
from dynamics.system import MatrixSystem


def check_branches(branches: int) -> None:
    """Refuse a number of branches that the gradient goes through that is neither one nor two."""
    if branches not in (1, 2):
        raise ValueError(f"`branches` must be 1 or 2, got {branches}")


def simple_encoder(ts: Any, start: EncoderState, system: MatrixSystem, *, branches: int = 2) -> EncoderState:
    """W(t) = W(0) e^{(c Σd − η) t}, the solution of dW/dt = c W Σd − η W.

    Parameters
    ----------
    ts
        Times >= 0, shape (T,).
    start
        W(0), shape (n2, n1).
    system
        Σd and η.
    branches
        c, the number of branches that the gradient goes through: 2, or 1 behind a stop-gradient.

    Returns
    -------
    EncoderState
        W of shape (T, n2, n1). Every row turns to the top eigenvector of Σd: the smallest singular values fall behind
        the largest like e^{−c(λ1 − λ2)t}.

    Raises
    ------
    ValueError
        A time is negative or not finite, a shape does not fit, or `branches` is neither 1 nor 2.

    Notes
    -----
    Entries that no float holds are infinite or NaN. Source: R113; DD 4.1.

    Examples
    --------
    >>> system = MatrixSystem(np.eye(2), np.diag([1.0, 0.5]))
    >>> simple_encoder([0.0, np.log(2)], EncoderState([[1.0, 1.0]]), system).online
    array([[[1., 1.]],
    <BLANKLINE>
           [[4., 2.]]])
    """
    times = solution_times(ts)
    check_branches(branches)
    (W,) = encoder_start(start, system)
    sigma = system.sigma_d if system.sigma_d.ndim == 2 else np.diag(system.sigma_d)
    values, vectors = np.linalg.eigh(sigma)
    with np.errstate(over="ignore", invalid="ignore"):
        growth = np.exp((branches * values - system.weight_decay) * times[:, None])
        return EncoderState(np.einsum("ik,tk,jk->tij", W @ vectors, growth, vectors))
