"""One rectified neuron that looks at objects on a ring (R123)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dynamics.data.rings import RingObjects
from dynamics.fields.two_layers import branch_speed


class NeuronTable(NamedTuple):
    """What a neuron sees: the inputs that occur, and how often each source shows them.

    Parameters
    ----------
    inputs
        x_p, shape (n_patterns, k); with a last 1 where the neuron has a bias.
    frequencies
        P(p | source), shape (n_sources, n_patterns).
    prior
        Probability of each source, shape (n_sources,).
    """

    inputs: np.ndarray
    frequencies: np.ndarray
    prior: np.ndarray


def ring_table(ring: RingObjects, offsets: Any, *, bias: bool = False) -> NeuronTable:
    """Distinct inputs of a neuron with a receptive field on a ring, and their frequencies.

    >>> ring_table(RingObjects(8, ["11", "101"]), [0, 1]).frequencies * 8
    array([[5., 1., 1., 1.],
           [4., 2., 2., 0.]])
    """
    seen = ring.views(offsets).views
    inputs, where = np.unique(seen.reshape(-1, seen.shape[-1]), axis=0, return_inverse=True)
    counts = np.stack([np.bincount(row, minlength=len(inputs)) for row in where.reshape(seen.shape[:2])])
    if bias:
        inputs = np.column_stack([inputs, np.ones(len(inputs))])
    return NeuronTable(inputs, counts / ring.length, ring.prior)


def gated_operator(table: NeuronTable, gates: Any) -> np.ndarray:
    """Covariance over sources of the gated mean view, V[Σ_p P(p | source) g_p x_p], for given gates.

    Parameters
    ----------
    table
        Inputs and their frequencies.
    gates
        g_p, 1 or True for patterns at which the neuron is active, shape (n_patterns,).

    Returns
    -------
    array
        Symmetric and positive semidefinite, shape (k, k).

    Notes
    -----
    Source: DD theorem 3; R123. For one pattern p alone it is V[P(p | source)] x_p x_pᵀ.
    """
    K = table.frequencies @ (np.asarray(gates, dtype=np.float64)[:, None] * table.inputs)
    K = K - table.prior @ K
    return np.asarray((table.prior[:, None] * K).T @ K)


def gated_field(w: Any, table: NeuronTable, gates: Any, *, branches: str = "one") -> np.ndarray:
    """Field c V[K̄] w of a neuron whose gates are given: linear between the switching surfaces x_pᵀw = 0."""
    return branch_speed(branches) * gated_operator(table, gates) @ np.asarray(w, dtype=np.float64)


def ring_neuron_field(
    t: float, w: Any, ring: RingObjects, offsets: Any, *, bias: bool = False, branches: str = "one"
) -> np.ndarray:
    """Flow of one rectified neuron on a ring under the simple contrastive loss, dw/dt = c V[K̄(w)] w.

    Parameters
    ----------
    t
        Time; the field does not depend on it.
    w
        Weights of the k pixels, and of the constant input 1 where there is a bias; shape (k,) or (k + 1,).
    ring, offsets
        The objects, and the pixels that the neuron sees.
    bias
        Whether it has a bias.
    branches
        "one" or "all": c = 1 or 2.

    Returns
    -------
    array
        The shape of w. A pattern with x_pᵀw = 0 counts as inactive; `dynamics.integration.sliding` follows
        trajectories that reach such a surface and cannot leave it.

    Raises
    ------
    ValueError
        `w` is not so shaped, or `branches` is neither.

    Notes
    -----
    Source: DD 4.1; R123.

    Examples
    --------
    >>> ring_neuron_field(0.0, [1.0, -2.0], RingObjects(8, ["11", "101"]), [0, 1]) * 256
    array([1., 0.])
    """
    table = ring_table(ring, offsets, bias=bias)
    w = np.asarray(w, dtype=np.float64)
    if w.shape != table.inputs.shape[1:]:
        raise ValueError(f"`w` must have shape {table.inputs.shape[1:]}, got {w.shape}")
    return gated_field(w, table, table.inputs @ w > 0, branches=branches)
