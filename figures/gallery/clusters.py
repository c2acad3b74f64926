"""Page `cluster-directions`: which cluster a rectified neuron turns to, and how it grows there (R124, R127, R128)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.contrastive.mixtures import (
    fixed_directions,
    gated_covariance,
    selectivity_objective,
)
from dynamics.data.clusters import GaussianMixture
from dynamics.exact.two_layers import blow_up_time, two_layer_time
from figures.gallery.captions import described
from figures.gallery.registry import Page
from figures.layout.sheets import panels
from figures.panels import clusters
from figures.style import style

_ANGLES = 721  # of V and of its basins
_LATE = 12.0  # s, in units of 1/V, after which a direction has come to rest
_SAMPLES, _KNOTS = 80, 120
_CLOSE = 0.999  # of the blow-up time that is drawn


@dataclass(frozen=True, eq=False)
class ClusterDirections:
    """Directions of a neuron in the plane of some clusters.

    Parameters
    ----------
    parameters
        As given.
    centres
        Angles of the centres in degrees, shape (K,).
    angles, values
        Directions, shape (N,), and V there for every σ, each over its largest value, shape (n_deviations, N).
    maxima
        Angles of the stable directions of the first σ, shape (n,).
    starts, ends
        Directions of starts, and where the flow of the first σ took them, shape (n_starts,); NaN where V = 0.
    nearest
        Angle of the centre with the largest μ_kᵀw at each start, shape (n_starts,).
    shares, norms
        t/T* of the flow from one start, and ‖w1‖ there, shape (T,).
    exact
        ‖w1‖ at the same times by R124 with A of the final direction, shape (T,).
    """

    parameters: dict[str, Any]
    centres: np.ndarray
    angles: np.ndarray
    values: np.ndarray
    maxima: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    nearest: np.ndarray
    shares: np.ndarray
    norms: np.ndarray
    exact: np.ndarray


def _unit(degrees: Any) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def _degrees(w: np.ndarray) -> np.ndarray:
    return np.rad2deg(np.arctan2(w[..., 1], w[..., 0])) % 360


def _ends(starts: np.ndarray, mixture: GaussianMixture) -> np.ndarray:
    """Directions to which dŵ/ds = (I − ŵŵᵀ)A(ŵ)ŵ takes unit vectors (n, 2); NaN where a neuron is dead."""
    from scipy.integrate import solve_ivp

    values = np.array([selectivity_objective(w, mixture) for w in starts])
    w0 = starts[values > 0]

    def turning(_: float, flat: np.ndarray) -> np.ndarray:
        w = flat.reshape(-1, 2)
        climb = np.einsum("jab,jb->ja", gated_covariance(w, mixture), w)
        along = (w * climb).sum(axis=1, keepdims=True) / (w * w).sum(axis=1, keepdims=True)
        return np.asarray(climb - w * along).ravel()

    until = _LATE / (mixture.prior.min() * values.max())
    ends = np.full_like(starts, np.nan)
    ends[values > 0] = (
        solve_ivp(turning, (0, until), w0.ravel(), rtol=1e-8, atol=1e-10).y[:, -1].reshape(-1, 2)
    )
    return ends


def _growth(
    start: np.ndarray, top: float, mixture: GaussianMixture
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times over that of R124's blow-up with A of the final direction, ‖w1‖ of the flow, and of R124."""
    from scipy.integrate import solve_ivp
    from scipy.interpolate import CubicSpline

    (final,) = _ends(start[None] / np.linalg.norm(start), mixture)
    A = gated_covariance(final, mixture)
    blow_up = blow_up_time(start, top, A)
    rates, modes = np.linalg.eigh(A)
    # R124 in its own clock s, smooth in the logarithm of what is left of the time
    clock = np.linspace(0.0, 10.0 / rates[-1], _KNOTS)
    weights = (start @ modes) * np.exp(np.outer(clock, rates))
    left = -np.log1p(-two_layer_time(clock, start, top, A) / blow_up)
    ts = np.linspace(0.0, _CLOSE * blow_up, _SAMPLES)
    log_norm = CubicSpline(left, np.log(np.linalg.norm(weights, axis=1)))
    exact = np.exp(log_norm(-np.log1p(-ts / blow_up)))

    def field(_: float, z: np.ndarray) -> np.ndarray:
        w, v = z[:2], z[2]
        climb = gated_covariance(w, mixture) @ w
        return np.array([*(v**2 * climb), v * (w @ climb)])

    def large(_: float, z: np.ndarray) -> float:
        return float(np.linalg.norm(z[:2]) - 30 * np.max(exact))

    large.terminal = True  # type: ignore[attr-defined]
    run = solve_ivp(field, (0, ts[-1]), [*start, top], t_eval=ts, rtol=1e-9, atol=1e-12, events=large)
    norms = np.full(ts.size, np.nan)
    norms[: run.t.size] = np.linalg.norm(run.y[:2], axis=0)
    return ts / blow_up, norms, exact


def compute_cluster_directions(
    *,
    clusters: int = 3,
    deviations: tuple[float, ...] = (0.05, 0.3, 1.0),
    n_starts: int = 36,
    start: float = 40.0,
    length: float = 0.3,
    top: float = 0.5,
) -> ClusterDirections:
    """Turn a rectified neuron among clusters on a circle, from all sides, and follow one as it grows.

    Parameters
    ----------
    clusters
        K >= 2 equally likely clusters, centres at equal angles on the unit circle.
    deviations
        σ > 0 of the clusters; the first is that of the flow.
    n_starts
        Starts round the circle, >= 1.
    start, length, top
        Angle in degrees and ‖w1‖ > 0 of the node that is followed, and its upper weight w2 != 0.

    Raises
    ------
    ValueError
        A parameter is out of range.

    Examples
    --------
    >>> compute_cluster_directions(n_starts=4).maxima.round(6).tolist()
    [0.0, 120.0, 240.0]
    """
    parameters = {**locals()}
    if clusters < 2:
        raise ValueError(f"`clusters` must be >= 2, got {clusters}")
    if not deviations or not all(math.isfinite(sigma) and sigma > 0 for sigma in deviations):
        raise ValueError(f"`deviations` must be finite and > 0, got {deviations}")
    if n_starts < 1:
        raise ValueError(f"`n_starts` must be >= 1, got {n_starts}")
    if not math.isfinite(start):
        raise ValueError(f"`start` must be finite, got {start}")
    if not (math.isfinite(length) and length > 0):
        raise ValueError(f"`length` must be finite and > 0, got {length}")
    if not (math.isfinite(top) and top != 0):
        raise ValueError(f"`top` must be finite and not 0, got {top}")
    centres = 360.0 / clusters * np.arange(clusters)
    mixtures = [GaussianMixture(np.ones(clusters), _unit(centres), sigma**2) for sigma in deviations]
    angles = np.linspace(0, 360, _ANGLES)
    values = np.array([[selectivity_objective(w, one) for w in _unit(angles)] for one in mixtures])
    first = mixtures[0]
    # off the symmetric directions, between centres and along them
    starts = 360.0 / n_starts * (np.arange(n_starts) + 0.37)
    ends = _degrees(_ends(_unit(starts), first))
    found = fixed_directions(first, _unit(centres + 7.0)).directions
    maxima = np.sort(np.round(_degrees(found), 9) % 360)  # 360 less rounding is 0
    nearest = centres[np.argmax(_unit(starts) @ _unit(centres).T, axis=1)]
    return ClusterDirections(
        parameters,
        centres,
        angles,
        values / values.max(axis=1, keepdims=True),
        maxima,
        starts,
        ends,
        nearest,
        *_growth(length * _unit(start), top, first),
    )


def figure_cluster_directions(found: ClusterDirections) -> Figure:
    """What a neuron climbs, where it ends, and how it grows."""
    with style():
        figure, axes = panels(
            "A rectified neuron turns to the cluster that it starts nearest to", 3, columns=3, aspect=0.75
        )
        climbed, ended, grown = axes
        clusters.draw_objective(climbed, found.angles, found.values, found.parameters["deviations"])
        clusters.draw_centres(climbed, found.centres)
        climbed.set_title(r"What it climbs: $V(\hat w)$")
        climbed.set(xlabel=r"direction of $w$ (degrees)", ylabel=r"$V(\hat w)/\max V$")
        climbed.legend(loc="lower center", fontsize="small", ncols=3, columnspacing=1.0, handlelength=1.2)
        clusters.draw_ends(ended, found.starts, found.ends, found.nearest, found.maxima)
        ended.set_title("Where the flow takes it")
        ended.set(xlabel="start (degrees)", ylabel="end (degrees)")
        ended.legend(loc="upper left", fontsize="small")
        clusters.draw_growth(grown, found.shares, found.norms, found.exact)
        grown.set_title("How it grows: two layers")
        grown.set(xlabel="time over blow-up time, $t/T^*$", ylabel=r"$\Vert w_1 \Vert$")
        grown.legend(loc="upper left", fontsize="small")
        return figure


def caption_cluster_directions(found: ClusterDirections) -> str:
    """Say what is drawn, and what was counted."""
    alive = np.isfinite(found.ends)
    apart = np.abs((found.ends - found.nearest + 180) % 360 - 180)
    right = int(np.sum(apart[alive] < 180 / found.centres.size))
    sigma = found.parameters["deviations"][0]
    return (
        f"A rectified neuron among equally likely Gaussian clusters on the unit circle; {described(found.parameters)}. "
        "Left: variance over clusters of its mean output, V (R127), over its direction; dotted: the centres. Middle: "
        f"direction to which dw/ds = A(w) w takes each start at σ = {sigma:g}, beside the centre with the largest "
        f"μ_kᵀw: {right} of {np.sum(alive)} starts come to it (R128). Right: ‖w1‖ of a node of two layers that turns "
        "while it grows, beside the closed form of R124 with A of the final direction, T* its blow-up time: they part "
        "as far as the clusters that the node responds to change on the way."
    )


CLUSTER_DIRECTIONS = Page(
    "cluster-directions",
    "Which of several clusters a rectified neuron turns to, and how it grows there",
    compute_cluster_directions,
    figure_cluster_directions,
    caption_cluster_directions,
)
"""Which cluster a neuron turns to."""
