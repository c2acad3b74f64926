"""Pages `figure-3` and `ring-plane`: what a neuron that sees part of a ring can learn, and where clusters turn one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.contrastive.rings import invariant_projection, linear_operator, selectivity_time
from dynamics.data.rings import RingObjects, pattern_frequencies, receptive_field
from dynamics.exact.two_layers import blow_up_time, two_layer_time
from dynamics.fields.rings import NeuronTable, gated_field, gated_operator, ring_table
from dynamics.integration.sliding import integrate_sliding
from figures.gallery.captions import described
from figures.gallery.registry import Page
from figures.layout.sheets import panels, sheet
from figures.panels import rings
from figures.panels.portrait import draw_flow
from figures.style import style

OBJECTS = ("11", "101")
"""The two objects of the source, and what a neuron sees of them, are words of 0s and 1s."""
_OFFSETS = (0, 1)
_AFTER = 2.0  # ct after the corner that is drawn
_ANGLES = (15.0, 45.0, 75.0, 88.0)  # of starts to Δ, in degrees; the others are their mirror images
_SAMPLES, _LAST = (
    60,
    12.0,
)  # values of s, in units of 1/λ, and the largest: what is across Δ has shrunk by e⁻¹²


@dataclass(frozen=True, eq=False)
class Figure3:
    """What Figure 3 of the source shows, and what it leaves out.

    Parameters
    ----------
    parameters
        As given.
    patterns, counts
        Patterns and how many of the d positions show each, shape (n_objects, n_patterns).
    widths, equal, unequal
        ‖OP‖ of a linear neuron that sees k neighbouring pixels: two objects of equal mass, and the pixels 1 and 11.
    rate, corner
        c, the rate of pattern 10, and ct at which its selectivity ends.
    ts, states
        ct, shape (T,), and the weights of the rectified neuron, shape (T, 2).
    shares, cosines
        t/T* and the cosine of the angle between w1 and Δ, for two clusters, shape (T, n_starts).
    """

    parameters: dict[str, Any]
    patterns: tuple[str, ...]
    counts: np.ndarray
    widths: np.ndarray
    equal: np.ndarray
    unequal: np.ndarray
    rate: float
    corner: float
    ts: np.ndarray
    states: np.ndarray
    shares: np.ndarray
    cosines: np.ndarray


def _operator_norms(length: int, objects: tuple[str, ...]) -> np.ndarray:
    """Norm of the operator of a linear neuron that sees 1 … d − 1 neighbouring pixels."""
    ring = RingObjects(length, list(objects))
    identity = np.eye(length)
    P = invariant_projection([np.roll(identity, shift, axis=0) for shift in range(length)])
    norms = [
        np.linalg.norm(linear_operator(receptive_field(ring, range(k)), P, ring.profiles, ring.prior), 2)
        for k in range(1, length)
    ]
    return np.array(norms)


def _trajectory(table: NeuronTable, rate: float, start: Any, t_end: float) -> tuple[np.ndarray, np.ndarray]:
    """Times ct and weights of a rectified neuron."""
    run = integrate_sliding(
        lambda w, gates: gated_field(w, table, gates) / rate, table.inputs, start, t_end, rtol=1e-8
    )
    return run.ts, run.states


def _rate_of_10(table: NeuronTable) -> float:
    """The rate c at which a neuron that responds to 10 alone grows."""
    gates = table.inputs @ np.array([1.0, -1.0]) > 0
    return float(np.trace(gated_operator(table, gates)))


def compute_figure_3(
    *, length: int = 8, w1: float = 0.2, w2: float = -0.6, top: float = 0.5, bottom: float = 0.3
) -> Figure3:
    """Count patterns on a ring, follow a rectified neuron past its selectivity, and turn a node to two clusters.

    Parameters
    ----------
    length
        d >= 4, pixels of the ring.
    w1, w2
        Start of the rectified neuron, w1 > 0 > −w1 > w2: it responds to 10 alone.
    top, bottom
        w2 and ‖w1‖ of the two-layer nodes at the start, != 0.

    Raises
    ------
    ValueError
        A parameter is out of range.

    Examples
    --------
    >>> compute_figure_3().counts
    array([[1., 1., 1., 5.],
           [0., 2., 2., 4.]])
    """
    parameters = {**locals()}
    if length < 4:
        raise ValueError(f"`length` must be >= 4, so that the objects do not touch themselves, got {length}")
    if not 0 < w1 < -w2:
        raise ValueError(f"`w2` must be below −w1 < 0, so that 10 alone is seen, got w1 = {w1} and w2 = {w2}")
    for name, value in (("top", top), ("bottom", bottom)):
        if not (math.isfinite(value) and value != 0):
            raise ValueError(f"`{name}` must be finite and not 0, got {value}")
    ring = RingObjects(length, list(OBJECTS))
    found = pattern_frequencies(ring, _OFFSETS)
    order = ("11", "01", "10", "00")
    table = ring_table(ring, _OFFSETS)
    rate = _rate_of_10(table)
    corner = rate * selectivity_time([w1, w2], table)
    ts, states = _trajectory(table, rate, [w1, w2], corner + _AFTER)

    # two clusters at ±Δ/2, Δ of length 2 along the first axis: A = ¼ΔΔᵀ, and w1 = e^{As} w1(0)
    A, clock = np.array([1.0, 0.0]), np.linspace(0.0, _LAST, _SAMPLES)
    shares, cosines = [], []
    for angle in np.deg2rad(_ANGLES):
        w = bottom * np.array([math.cos(angle), math.sin(angle)])
        shares.append(two_layer_time(clock, w, top, A) / blow_up_time(w, top, A))
        turned = w * np.exp(np.outer(clock, A))
        cosines.append(turned[:, 0] / np.linalg.norm(turned, axis=1))
    return Figure3(
        parameters=parameters,
        patterns=order,
        counts=np.stack([length * found[pattern] for pattern in order], axis=1),
        widths=np.arange(1, length),
        equal=_operator_norms(length, OBJECTS),
        unequal=_operator_norms(length, ("1", "11")),
        rate=rate,
        corner=corner,
        ts=ts,
        states=states,
        shares=np.stack(shares * 2, axis=1),
        cosines=np.stack([*cosines, *(-one for one in cosines)], axis=1),
    )


def figure_3(found: Figure3) -> Figure:
    """Table and linear neuron above, rectified neuron and two clusters below."""
    with style():
        figure, axes = panels(
            "A rectified neuron breaks the tie that a linear one cannot", 4, columns=2, aspect=0.62
        )
        table, linear, slide, turning = axes
        rings.draw_counts(table, found.counts, found.patterns, OBJECTS)
        table.set_title(f"Positions of {found.parameters['length']} that show a pattern")
        table.set_xlabel("pattern in the window")
        table.set_ylabel("object")
        rings.draw_norms_of_operator(linear, found.widths, found.equal, found.unequal)
        linear.set_title("Linear neuron, any shift: brightness alone")
        linear.set_xlabel("pixels that it sees")
        linear.set_ylabel(r"$\Vert$OP$\Vert$")
        linear.legend(loc="upper left")
        rings.draw_slide(slide, found.ts, found.states, found.corner, found.parameters["w1"])
        slide.set_title("Rectified neuron: growth, then a slide")
        slide.set_xlabel("time $ct$")
        slide.set_ylabel("weights")
        slide.legend(loc="lower right")
        rings.draw_turning(turning, found.shares, found.cosines)
        turning.set_title(r"Two clusters: $w_1$ turns to $\pm\Delta$")
        turning.set_xlabel("time over blow-up time, $t/T^*$")
        turning.set_ylabel(r"$\cos(w_1, \Delta)$")
        turning.set_ylim(-1.08, 1.08)
        return figure


def caption_figure_3(found: Figure3) -> str:
    """Say what is counted, and when selectivity ends."""
    return (
        f"Objects 11 and 101 on a ring; {described(found.parameters)}. Top left: how many positions show each pattern "
        "to two neighbouring pixels (R121). Top right: norm of the operator of a linear neuron under all shifts: for "
        f"these objects, of equal mass, it is at most {np.max(found.equal):.1g} whatever the neuron sees, and for the "
        "objects 1 and 11 it is of rank one and learns brightness (R122). Bottom left: a rectified neuron that "
        f"responds to 10 alone grows at the rate c = {found.rate:.4g} until ct = ln(−w2/w1) = {found.corner:.4g}, "
        "where 11 switches on; from there it slides along w1 = −w2 at c/2 (R123; dashed: slopes 1 and ½). Bottom "
        "right: nodes of two linear layers between two clusters, in closed form (R124), from starts at "
        f"{', '.join(f'{angle:g}°' for angle in _ANGLES)} to Δ and to −Δ; A = ¼ΔΔᵀ with eigenvalue 1."
    )


@dataclass(frozen=True, eq=False)
class RingPlane:
    """Plane of weights of a rectified neuron that sees two pixels.

    Parameters
    ----------
    parameters
        As given.
    rate
        c, in which time is measured.
    normals
        x_p, shape (n_patterns, 2): the response to p switches at x_pᵀw = 0.
    u, v, du, dv
        Grid and direction of the flow, NaN where it vanishes, shape (n, n).
    trajectories
        One (T, 2) per start.
    """

    parameters: dict[str, Any]
    rate: float
    normals: np.ndarray
    u: np.ndarray
    v: np.ndarray
    du: np.ndarray
    dv: np.ndarray
    trajectories: tuple[np.ndarray, ...]


def compute_ring_plane(
    *,
    length: int = 8,
    extent: float = 1.0,
    starts_w1: tuple[float, ...] = (0.1, 0.2, 0.6, -0.15, -0.4, -0.7),
    starts_w2: tuple[float, ...] = (-0.3, -0.6, -0.2, 0.5, 0.15, 0.2),
    t_end: float = 4.0,
    resolution: int = 24,
) -> RingPlane:
    """Flow of a rectified neuron over its two weights, with trajectories that slide (R123).

    Parameters
    ----------
    length
        d >= 4, pixels of the ring.
    extent
        Half the side of the square, > 0.
    starts_w1, starts_w2
        Starts, as many of one as of the other.
    t_end
        ct up to which they are followed, > 0.
    resolution
        Points of the grid along a side, >= 2.

    Raises
    ------
    ValueError
        A parameter is out of range.

    Examples
    --------
    >>> compute_ring_plane(starts_w1=(0.2,), starts_w2=(-0.6,)).trajectories[0][0]
    array([ 0.2, -0.6])
    """
    parameters = {**locals()}
    if length < 4:
        raise ValueError(f"`length` must be >= 4, so that the objects do not touch themselves, got {length}")
    if not (math.isfinite(extent) and extent > 0):
        raise ValueError(f"`extent` must be finite and > 0, got {extent}")
    if len(starts_w1) != len(starts_w2):
        raise ValueError(f"`starts_w2` must be {len(starts_w1)} numbers, as w1 is, got {len(starts_w2)}")
    if resolution < 2:
        raise ValueError(f"`resolution` must be >= 2, got {resolution}")
    table = ring_table(RingObjects(length, list(OBJECTS)), _OFFSETS)
    rate = _rate_of_10(table)
    sides = extent * (np.arange(resolution) + 0.5) / resolution * 2 - extent  # never on an axis
    u, v = np.meshgrid(sides, sides)
    gates = np.stack([u, v], axis=-1) @ table.inputs.T > 0
    flow = np.array(
        [
            gated_field(w, table, on) / rate
            for w, on in zip(
                np.stack([u, v], -1).reshape(-1, 2), gates.reshape(-1, len(table.inputs)), strict=True
            )
        ]
    ).reshape(*u.shape, 2)
    speeds = np.linalg.norm(flow, axis=-1, keepdims=True)
    # arrows of one length; none where the four terms of the sums cancel but for rounding
    flow = flow / np.where(speeds > 1e-12 * extent, speeds, np.nan)
    trajectories = tuple(
        _trajectory(table, rate, list(start), t_end)[1] for start in zip(starts_w1, starts_w2, strict=True)
    )
    return RingPlane(parameters, rate, table.inputs, u, v, flow[..., 0], flow[..., 1], trajectories)


def figure_ring_plane(found: RingPlane) -> Figure:
    """Arrows, lines at which responses switch, the sliding line, and trajectories."""
    with style():
        figure = sheet("Selectivity ends on a line along which both weights grow", 3.3)
        ax = figure.subplots()
        extent = found.parameters["extent"]
        ax.set_aspect("equal")
        ax.set(xlim=(-extent, extent), ylim=(-extent, extent), xlabel="$w_1$", ylabel="$w_2$")
        ax.locator_params(nbins=5)
        for corner in ((extent, -extent), (-extent, extent)):
            rings.draw_sliding_line(ax, np.array([(0.0, 0.0), corner]))
        rings.draw_still(ax, (0, extent), (0, extent), "linear:\nOP = 0")
        rings.draw_still(ax, (-extent, 0), (-extent, 0), "dead")
        rings.draw_switching(ax, extent, found.normals)
        draw_flow(ax, found.u, found.v, found.du, found.dv)
        rings.draw_trajectories(ax, found.trajectories)
        return figure


def caption_ring_plane(found: RingPlane) -> str:
    """Say what the regions are."""
    return (
        f"Weights of a rectified neuron that sees two pixels of a ring with the objects 11 and 101, without bias; "
        f"{described(found.parameters)}, time in units of 1/c = {1 / found.rate:.4g}. Dashed: the lines w1 = 0, w2 = 0 "
        "and w1 + w2 = 0, at which the responses to 10, 01 and 11 switch. Between w1 = 0 and w1 = −w2 the neuron is "
        "selective for one pattern, and one weight grows; past the line it would respond to 11 as well, and OP turns "
        "the other weight. Both sides point to the line, and the neuron slides along it (grey band) at half the rate, "
        "w1 = −w2. Where both weights are positive it is linear on the data and OP = 0, and where both are negative it "
        "is dead (R123)."
    )


FIGURE_3 = Page(
    "figure-3",
    "Objects on a ring and two clusters: what one neuron learns (DD Figure 3)",
    compute_figure_3,
    figure_3,
    caption_figure_3,
)
"""What one neuron learns."""

RING_PLANE = Page(
    "ring-plane",
    "Phase plane of a rectified neuron on a ring, with its sliding line",
    compute_ring_plane,
    figure_ring_plane,
    caption_ring_plane,
    size="single",
)
"""Weights of a rectified neuron on a ring."""
