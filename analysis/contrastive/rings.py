"""What a neuron that looks at objects on a ring can learn under the simple contrastive loss (R122, R123)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dynamics.data.rings import RingObjects, pattern_frequencies
from dynamics.fields.rings import NeuronTable
from dynamics.fields.two_layers import branch_speed

EPS = float(np.finfo(np.float64).eps)


def invariant_projection(group: Any) -> np.ndarray:
    """Projection on the vectors that a group of matrices leaves unchanged, the mean of its elements.

    Parameters
    ----------
    group
        All elements of a finite group of orthogonal matrices, shape (m, n, n).

    Returns
    -------
    array
        P_G, symmetric and idempotent, shape (n, n).

    Raises
    ------
    ValueError
        The mean is not a projection, so that the matrices are no such group.

    Notes
    -----
    Source: R122.

    Examples
    --------
    >>> invariant_projection([np.eye(2), np.eye(2)[::-1]])
    array([[0.5, 0.5],
           [0.5, 0.5]])
    """
    matrices = np.asarray(group, dtype=np.float64)
    if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2] or not matrices.size:
        raise ValueError(f"`group` must be matrices, shape (m, n, n), got shape {matrices.shape}")
    P = matrices.mean(axis=0)
    # sums of m terms, and n products
    rounding = (len(matrices) + len(P)) * 4 * EPS
    if np.max(np.abs(P @ P - P)) > rounding or np.max(np.abs(P - P.T)) > rounding:
        raise ValueError(
            "`group` must be all elements of a group of orthogonal matrices, got a mean that projects not"
        )
    return np.asarray(P)


def linear_operator(field_of_view: Any, projection: Any, objects: Any, prior: Any) -> np.ndarray:
    """Operator of a linear neuron whose views are one object moved by a random element of a group.

        OP = A P_G V[o] P_G Aᵀ

    Parameters
    ----------
    field_of_view
        A, shape (k, n): what the neuron sees of its n pixels; any linear map.
    projection
        P_G of `invariant_projection`, shape (n, n).
    objects
        o, shape (n_objects, n).
    prior
        Probability of each object, summing to 1, shape (n_objects,).

    Returns
    -------
    array
        Shape (k, k), symmetric and positive semidefinite. It is zero if V[P_G o] = 0: on a ring, for objects of equal
        mass, whatever A; for other masses it is (V[mass]/d²) (A1)(A1)ᵀ.

    Notes
    -----
    Source: R122; DD 4.1.

    Examples
    --------
    >>> linear_operator(np.eye(2), np.full((2, 2), 0.5), [[1.0, 0.0], [1.0, 2.0]], [0.5, 0.5])
    array([[0.25, 0.25],
           [0.25, 0.25]])
    """
    A, P, o = (np.asarray(x, dtype=np.float64) for x in (field_of_view, projection, objects))
    seen = o @ P.T @ A.T
    seen = seen - np.asarray(prior) @ seen
    return np.asarray((np.asarray(prior)[:, None] * seen).T @ seen)


def shift_spectrum(ring: RingObjects, shifts: Any) -> np.ndarray:
    """Eigenvalues of the operator of a linear neuron that sees the whole ring, under shifts of a given law.

        |p̂(ω)|² E|ô(ω)|²/d at the frequencies ω ≠ 0,    V[mass]/d at ω = 0

    Parameters
    ----------
    ring
        Objects, each at a position of its own, uniform.
    shifts
        p(b), b = 0 … d − 1, >= 0, in any unit: a view shifts that by b.

    Returns
    -------
    array
        Shape (d,), in the order of `numpy.fft.fftfreq`: the operator is circulant. A uniform law gives zeros but at
        ω = 0.

    Notes
    -----
    Source: R122.

    Examples
    --------
    >>> shift_spectrum(RingObjects(4, ["11"]), [1, 0, 0, 0]).round(3)
    array([0. , 0.5, 0. , 0.5])
    """
    law = np.asarray(shifts, dtype=np.float64)
    law = law / law.sum()
    power = ring.prior @ np.abs(np.fft.fft(ring.profiles, axis=1)) ** 2
    spectrum = np.abs(np.fft.fft(law)) ** 2 * power / ring.length
    spread = ring.masses - ring.prior @ ring.masses
    spectrum[0] = ring.prior @ spread**2 / ring.length
    return np.asarray(spectrum)


def selective_patterns(ring: RingObjects, offsets: Any, *, bias: bool = False) -> list[str]:
    """Patterns that a rectified neuron can respond to alone, of those that occur.

    There are weights w with w·x_p > 0 and w·x_q <= 0 for all other patterns q. Without a bias the pattern 00 gives
    no response, and 11 none alone: its response is the sum of those to 01 and 10.

    Parameters
    ----------
    ring, offsets
        Objects of zeros and ones, and the pixels that the neuron sees.
    bias
        Whether the neuron has a bias.

    Returns
    -------
    list
        Words of 0s and 1s, from 1…1 down.

    Notes
    -----
    Each is a linear program. Source: R123, which corrects DD 4.1.

    Examples
    --------
    >>> selective_patterns(RingObjects(8, ["11", "101"]), [0, 1])
    ['10', '01']
    """
    from scipy.optimize import linprog

    patterns = list(pattern_frequencies(ring, offsets))
    inputs = np.array([[float(letter) for letter in pattern] + [1.0] * bias for pattern in patterns])
    found = []
    for i, pattern in enumerate(patterns):
        signs = np.where(np.arange(len(patterns)) == i, -1.0, 1.0)[:, None]
        limits = np.where(np.arange(len(patterns)) == i, -1.0, 0.0)  # w·x_p >= 1: w may be scaled
        answer = linprog(np.zeros(inputs.shape[1]), A_ub=signs * inputs, b_ub=limits, bounds=(None, None))
        if answer.status == 0:
            found.append(pattern)
    return found


def selectivity_time(w: Any, table: NeuronTable, *, branches: str = "one") -> float:
    """Time for which a neuron that responds to one pattern alone goes on doing so.

        w(t) = w + x_p h (e^{gt} − 1)/‖x_p‖²,   h = w·x_p > 0,   g = c V[P(p | source)] ‖x_p‖²
        t = min_q ln(1 − (w·x_q) ‖x_p‖²/((x_p·x_q) h))/g over patterns q with x_p·x_q > 0

    Parameters
    ----------
    w
        Weights, with the bias last where there is one; active at one pattern that occurs, no more.
    table
        Inputs and frequencies, from `dynamics.fields.rings.ring_table`.
    branches
        "one" or "all": c = 1 or 2.

    Returns
    -------
    float
        inf where no pattern overlaps, or the neuron does not learn.

    Raises
    ------
    ValueError
        The neuron is active at no pattern, or at several.

    Notes
    -----
    Source: R123; it ends the regime of DD (6).

    Examples
    --------
    >>> from dynamics.fields.rings import ring_table
    >>> table = ring_table(RingObjects(8, ["11", "101"]), [0, 1])
    >>> round(selectivity_time([0.2, -0.6], table) / 256, 6)  # ln 3
    1.098612
    """
    w = np.asarray(w, dtype=np.float64)
    responses = table.inputs @ w
    active = np.flatnonzero(responses > 0)
    if len(active) != 1:
        raise ValueError(f"`w` must respond to one pattern alone, got one that responds to {len(active)}")
    p = int(active[0])
    x, h = table.inputs[p], float(responses[p])
    spread = table.frequencies[:, p] - table.prior @ table.frequencies[:, p]
    squared = float(x @ x)
    rate = branch_speed(branches) * float(table.prior @ spread**2) * squared
    overlaps = table.inputs @ x
    others = (overlaps > 0) & (np.arange(len(overlaps)) != p)
    if rate == 0 or not others.any():
        return math.inf
    grown = -responses[others] / h * (squared / overlaps[others])
    return float(np.log1p(grown.min()) / rate)
