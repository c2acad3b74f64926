"""Page `spectrum`: what a predictor learns on real data (R8, R18), and how it aligns with its features (R19)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.fates.fate import Fate
from analysis.runs.alignment import align
from analysis.runs.simulation import simulate_matrices
from analysis.runs.spectra import nearest_match, online_singular_value_paths, predictor_eigenvalue_paths
from dynamics.fields.matrices import aligned_field, full_field
from dynamics.integration.integrate import integrate
from dynamics.invariants import eigenvalue_floor
from dynamics.states import random_state
from dynamics.system import MatrixSystem, natural_time
from figures.gallery.captions import described
from figures.gallery.on_data import network_on_data
from figures.gallery.registry import Page
from figures.layout.legends import legend_below
from figures.layout.sheets import is_narrow, panels
from figures.panels import simulation as run_panels
from figures.panels import spectra
from figures.panels.scales import TIME, scale_log, scale_time
from figures.style import DASHED, style, theme

_DECADES = 2  # of singular values that are shown below the largest
_STEPS = 401
_FEATURES = 6  # rows of the isotropic run
_EMA = 0.95  # its target, Θ = τ W


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Spectra along a run on data, and the alignment of a run of the isotropic model.

    Parameters
    ----------
    parameters
        As given.
    t, natural
        Times (T,) of the run on data, and its natural time.
    predictor_eigenvalues
        Real parts, shape (T, n2), each followed through time, descending at the end.
    singular_values, floors
        Of W, shape (T, n2), and what R8 keeps them above: one column for each singular value that it guards.
    fates, ratios, modes
        What became of each predictor eigenvalue (n2,); the ratios of M, descending (n1,); index of the ratio that
        it came to, −1 where it collapsed (n2,).
    aligned_t, commutator, bound, sharp_bound, lambda_0
        The isotropic run: times (S,), ‖[F, P]‖ and R19's two bounds (S,), and the least eigenvalue λ0 of K.
    """

    parameters: dict[str, Any]
    t: np.ndarray
    natural: float
    predictor_eigenvalues: np.ndarray
    singular_values: np.ndarray
    floors: np.ndarray
    fates: np.ndarray
    ratios: np.ndarray
    modes: np.ndarray
    aligned_t: np.ndarray
    commutator: np.ndarray
    bound: np.ndarray
    sharp_bound: np.ndarray
    lambda_0: float


def compute_spectrum(
    *,
    source: str = "digits",
    augment: tuple[str, ...] = ("shift:1", "noise:0.3"),
    dim: int = 8,
    init_online: float = 0.3,
    init_predictor: float = 0.1,
    noise: float = 0.5,
    seed: int = 0,
) -> Spectrum:
    """Run the full flow on data to rest, and the symmetric flow of the isotropic model beside it.

    Parameters
    ----------
    source, augment
        Source of the samples, and the chain of augmentations that makes a view.
    dim
        n2, number of features, >= 1.
    init_online, init_predictor
        Standard deviations of √n1 W and of P at the start, >= 0.
    noise
        σ of the isotropic model Σd = I, Σs = (1 + σ²) I, >= 0.
    seed
        Of all draws.

    Raises
    ------
    ValueError
        A parameter is out of range.
    """
    parameters = dict(locals())
    if not 0 <= noise < np.inf:
        raise ValueError(f"`noise` must be finite and >= 0, got {noise}")
    system, start = network_on_data(
        source, augment, dim=dim, init_online=init_online, init_predictor=init_predictor, seed=seed
    )
    run = simulate_matrices(start, system, full_field)
    trajectory, rows = run.trajectory, run.rows
    paths = predictor_eigenvalue_paths(trajectory)
    match = nearest_match(paths[-1], rows.predictor_eigenvalue)
    floors = np.sqrt(eigenvalue_floor(trajectory.initial, system, trajectory.ts))

    model = MatrixSystem(np.full(_FEATURES, 1 + noise**2), np.ones(_FEATURES))
    near = random_state(_FEATURES, _FEATURES, scale_online=0.3, scale_predictor=0.3, seed=seed)
    begin = model.state(1.5 * np.eye(_FEATURES) + near.online, near.predictor)
    field = aligned_field(lambda t: _EMA)
    ts = np.linspace(0.0, 12.0, _STEPS)
    alignment = align(integrate(begin, model, field, ts=ts), model, field)
    return Spectrum(
        parameters=parameters,
        t=trajectory.ts,
        natural=natural_time(system),
        predictor_eigenvalues=paths.real,
        singular_values=online_singular_value_paths(trajectory),
        floors=floors[:, : run.rank_floor],
        fates=rows.fate[match],
        ratios=run.ratios,
        modes=rows.mode[match],
        aligned_t=alignment.t,
        commutator=alignment.commutator,
        bound=alignment.bound,
        sharp_bound=alignment.sharp_bound,
        lambda_0=alignment.lambda_0,
    )


def figure_spectrum(spectrum: Spectrum) -> Figure:
    """Predictor eigenvalues and encoder singular values of the run on data, and the commutator of the model."""
    with style():
        return _figure(spectrum)


def _figure(spectrum: Spectrum) -> Figure:
    n_learned = int(np.sum(spectrum.fates == Fate.LEARNED))
    headline = f"{n_learned} of {len(spectrum.fates)} predictor eigenvalues climb to the top of M's spectrum"
    figure, (left, middle, right) = panels(headline, 3, columns=3, aspect=0.88 if is_narrow() else 1.25)

    left.set_title("Predictor: eigenvalues of $P$")
    scale_time(left, spectrum.t, spectrum.natural)
    run_panels.draw_spectrum(left, spectrum.ratios, len(spectrum.fates))
    run_panels.draw_paths(left, spectrum.t, spectrum.predictor_eigenvalues, spectrum.fates)
    strip = left.inset_axes((1.0, 0.0, 0.36, 1.0), ylim=left.get_ylim())
    ends = spectrum.predictor_eigenvalues[-1]
    run_panels.draw_matches(strip, ends, [f"${end:.3f}$" for end in ends], spectrum.fates)

    middle.set_title("Encoder: singular values of $W$")
    scale_time(middle, spectrum.t, spectrum.natural)
    order = (Fate.LEARNED, Fate.UNDECIDED, Fate.COLLAPSED).index
    descending = sorted(map(str, spectrum.fates), key=order)
    run_panels.draw_paths(middle, spectrum.t, spectrum.singular_values, descending)
    scale_log(middle, spectrum.singular_values, _DECADES)
    run_panels.draw_floors(middle, spectrum.t, spectrum.floors)

    right.set_title(r"Isotropic model: $\Vert[F, P]\Vert$")
    bounds = (spectrum.bound, spectrum.sharp_bound)
    spectra.draw_bounded(right, spectrum.aligned_t, spectrum.commutator, bounds)
    right.set_xlabel(TIME)

    handles = [Line2D([], [], color=theme().fates[fate], label=fate) for fate in dict.fromkeys(descending)]
    if spectrum.floors.size:
        handles.append(Line2D([], [], color=theme().ink, linewidth=0.7, linestyle=DASHED, label="floor (R8)"))
    handles += [
        Line2D([], [], color=theme().muted, linewidth=0.7, label="spectrum of $M$"),
        Line2D([], [], color=theme().muted, linewidth=1.3, linestyle=DASHED, label="bounds (R19)"),
    ]
    legend_below(figure, handles)
    return figure


def caption_spectrum(spectrum: Spectrum) -> str:
    """Say what was run and what is seen."""
    learned, n_floors = spectrum.fates == Fate.LEARNED, spectrum.floors.shape[1]
    guarded = f"the largest {n_floors} above the dashed floors" if n_floors else "none from falling"
    values = ", ".join(f"{ratio:.3f}" for ratio in spectrum.ratios[spectrum.modes[learned]])
    return (
        f"The full flow on data from √n1 W ~ init online·N(0, 1), P ~ init predictor·N(0, 1), Θ = W;"
        f" {described(spectrum.parameters)}, all τ = 1, η = 0. Left: real parts of P's eigenvalues over time;"
        f" {np.sum(learned)} of {learned.size} come to eigenvalues of M = Σd Σs⁻¹ ({values}; R18), whose spectrum is"
        f" drawn as horizontal lines. Middle: singular values of W, of which R8 keeps {guarded}."
        " Right: alignment in the isotropic model Σd = I, Σs = (1 + σ²) I with σ ="
        f" {spectrum.parameters['noise']:g}, n1 = n2 = {_FEATURES}, Θ = {_EMA:g} W and a symmetric predictor: the"
        " commutator of F = W Σs Wᵀ and P stays beneath both bounds of R19, exp(−2 ∫ λmin(K) dt) and, above it,"
        f" e^(−2 λ0 t) with λ0 = {spectrum.lambda_0:.3g}."
    )


SPECTRUM = Page(
    "spectrum",
    "Predictor eigenvalues approach M's spectrum on real data",
    compute_spectrum,
    figure_spectrum,
    caption_spectrum,
)
"""Spectra along a run on data."""
