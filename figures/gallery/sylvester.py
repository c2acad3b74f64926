"""Page `sylvester`: a predictor holds an encoder only by eigenvalues that it shares with M (R17, R18)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.fixed_points.network import polish
from analysis.results.linear.moments import sylvester_operator
from analysis.sylvester.intertwiners import LARGEST_KRONECKER
from analysis.sylvester.solutions import SylvesterSolutions, ratio_matrix, sylvester_solutions
from dynamics.fields.matrices import full_field
from dynamics.integration.integrate import integrate
from dynamics.modes import spectrum
from figures.gallery.captions import described
from figures.gallery.on_data import network_on_data
from figures.gallery.registry import Page
from figures.layout.legends import legend_below
from figures.layout.sheets import is_narrow, panels
from figures.panels.spectra import draw_plane, draw_singular_values, draw_threshold
from figures.style import style, theme


@dataclass(frozen=True, eq=False)
class Resonance:
    """What a predictor shares with M before and after learning.

    Parameters
    ----------
    parameters
        As given.
    status
        "converged" where learning came to a fixed point, "stalled" where it could not be reached to rounding.
    ratios
        Eigenvalues of M, descending, shape (n1,).
    start, learned
        Eigenvalues of P at the start and at the fixed point, complex (n2,), by descending real part.
    start_shared, learned_shared
        Which of them are eigenvalues of M, (n2,).
    start_singular, learned_singular
        Singular values of θ ↦ P θ − θ M, ascending, shape (n1 n2,).
    start_nullity, learned_nullity
        Dimension of the space of θ with P θ = θ M.
    threshold
        Singular values up to it count as zero at the fixed point.
    """

    parameters: dict[str, Any]
    status: str
    ratios: np.ndarray
    start: np.ndarray
    learned: np.ndarray
    start_shared: np.ndarray
    learned_shared: np.ndarray
    start_singular: np.ndarray
    learned_singular: np.ndarray
    start_nullity: int
    learned_nullity: int
    threshold: float


def compute_sylvester(
    *,
    source: str = "digits",
    augment: tuple[str, ...] = ("shift:1", "noise:0.3"),
    dim: int = 8,
    init_online: float = 0.3,
    init_predictor: float = 0.2,
    seed: int = 0,
) -> Resonance:
    """Run the full flow on data to a fixed point and solve P θ = θ M with the predictors at both ends.

    Parameters
    ----------
    source, augment
        Source of the samples, and the chain of augmentations that makes a view.
    dim
        n2, number of features, >= 1; n1 n2 at most 1024.
    init_online, init_predictor
        Standard deviations of √n1 W and of P at the start, >= 0.
    seed
        Of all draws.

    Raises
    ------
    ValueError
        A parameter is out of range.
    """
    parameters = dict(locals())
    system, start = network_on_data(
        source, augment, dim=dim, init_online=init_online, init_predictor=init_predictor, seed=seed
    )
    if dim * system.n1 > LARGEST_KRONECKER:
        raise ValueError(
            f"n1·`dim` must be at most {LARGEST_KRONECKER} to write the operator out, got {system.n1}·{dim}"
        )
    rest = polish(integrate(start, system, full_field).final, system)
    M = ratio_matrix(system)
    spectra, shared, singular, nullity = [], [], [], []
    for P in (start.predictor, rest.state.predictor):
        solutions = sylvester_solutions(P, system, basis=False)
        eigenvalues = np.linalg.eigvals(P).astype(complex)
        eigenvalues = eigenvalues[np.lexsort((eigenvalues.imag, -eigenvalues.real))]
        spectra.append(eigenvalues)
        shared.append(are_shared(eigenvalues, solutions))
        singular.append(np.linalg.svd(sylvester_operator(P, M), compute_uv=False)[::-1])
        nullity.append(solutions.nullity)
    return Resonance(
        parameters=parameters,
        status=rest.status,
        ratios=spectrum(system),
        start=spectra[0],
        learned=spectra[1],
        start_shared=shared[0],
        learned_shared=shared[1],
        start_singular=singular[0],
        learned_singular=singular[1],
        start_nullity=nullity[0],
        learned_nullity=nullity[1],
        threshold=solutions.tolerance * float(np.linalg.norm(P, 2) + np.linalg.norm(M, 2)),
    )


def are_shared(eigenvalues: np.ndarray, solutions: SylvesterSolutions) -> np.ndarray:
    """Which eigenvalues of P are eigenvalues of M: those nearer to a shared one than any other can be.

    Examples
    --------
    >>> P, M = np.diag([0.5, 0.6]), np.diag([0.5, 0.3])
    >>> are_shared(np.diag(P), sylvester_solutions(P, M))
    array([ True, False])
    """
    distance = np.abs(np.subtract.outer(eigenvalues, solutions.shared_eigenvalues))
    return np.min(distance, axis=1, initial=np.inf) < solutions.gap / 2


def figure_sylvester(found: Resonance) -> Figure:
    """Spectra of P and M in the plane before and after learning, and singular values of the operator."""
    with style():
        n2, n = found.learned.size, found.learned_nullity
        headline = (
            f"Learning tunes {n} of {n2} predictor eigenvalues to M; a random predictor holds no encoder"
        )
        if found.start_nullity:
            headline = f"Learning tunes {n} of {n2} predictor eigenvalues to M"
        figure, (before, after, right) = panels(headline, 3, columns=3, aspect=0.75 if is_narrow() else 1.0)
        before.set_title("Spectra at the start")
        draw_plane(before, found.start, found.start_shared, found.ratios)
        before.set_ylabel("imaginary part")
        after.set_title("At the fixed point" if found.status == "converged" else "After learning")
        draw_plane(after, found.learned, found.learned_shared, found.ratios)
        both = np.concatenate([found.start, found.learned, found.ratios, [0.0]])
        for ax in (before, after):
            ax.set_xlim(1.1 * both.real.min(), 1.1 * both.real.max())
            ax.set_ylim(*np.array([-1.3, 1.3]) * (both.imag.max() or 1.0))
        right.set_title(r"Singular values of $\theta \mapsto P\theta - \theta M$")
        for values, n_zero, colour, label in (
            (found.start_singular, found.start_nullity, theme().muted, "at the start"),
            (found.learned_singular, found.learned_nullity, theme().ink, "after learning"),
        ):
            draw_singular_values(right, values, n_zero, colour, label)
        draw_threshold(right, found.threshold)
        right.legend(loc="center right")
        legend_below(figure, after.get_legend_handles_labels()[0])
        return figure


def caption_sylvester(found: Resonance) -> str:
    """Say what was run, what is shared and how clear the gap is."""
    n, values = found.learned_nullity, found.learned_singular
    zeros = f"from {values[n - 1]:.1g} to {values[n]:.2g}" if 0 < n < values.size else "nowhere"
    return (
        "Which encoders θ a predictor P can hold, P θ = θ M (R4, R17), in the full flow on data;"
        f" {described(found.parameters)}, Θ = W at the start, all τ = 1, η = 0. Left and middle: eigenvalues of P in"
        f" the complex plane, over those of M = Σd Σs⁻¹. The drawn P shares {np.sum(found.start_shared)} of"
        f" {found.start.size}, the learned one {np.sum(found.learned_shared)} (R18); what it does not share belongs to"
        " collapsed rows. Right: singular values of θ ↦ P θ − θ M, that is of I ⊗ P − Mᵀ ⊗ I; those below the dashed"
        f" line, {found.threshold:.1g}, count as zero: {found.start_nullity} at the start, {n} after learning"
        f" ({found.status} to a fixed point), and then the values jump {zeros}."
    )


SYLVESTER = Page(
    "sylvester",
    "Which encoders a predictor can hold, before and after learning",
    compute_sylvester,
    figure_sylvester,
    caption_sylvester,
)
"""Spectra of P and M, and the operator between them."""
