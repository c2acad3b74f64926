"""Page `augmentations`: what each augmentation of images lets BYOL learn, and what SimCLR would (R16, R30)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.contrastive.spectra import compare_with_contrastive
from dynamics.data.datasets import load
from dynamics.data.moments import Moments
from dynamics.data.views import parse
from figures.gallery.captions import described
from figures.gallery.registry import Page
from figures.layout.legends import legend_below
from figures.layout.sheets import is_narrow, sheet
from figures.panels.images import draw_filter
from figures.panels.palette import CATEGORIES
from figures.panels.spectra import draw_angles, draw_ratios
from figures.style import style

_CHAIN = "+"  # joins the augmentations of a chain


@dataclass(frozen=True, eq=False)
class Augmentations:
    """Spectra of M under several augmentations, and what two learners find under one of them.

    Parameters
    ----------
    parameters
        As given.
    ratios
        Eigenvalues of M, descending, one array for each chain of `compare`.
    angles
        Principal angles between what BYOL and SimCLR find, degrees, ascending, shape (chains, components); NaN
        where an augmentation leaves open what BYOL finds.
    byol, contrastive
        Leading eigenvectors of M and of Σd under the first chain, as images (components, h, w, c).
    byol_ratios, contrastive_shares
        Their ratio r, and their share of the trace of Σd, shape (components,).
    """

    parameters: dict[str, Any]
    ratios: tuple[np.ndarray, ...]
    angles: np.ndarray
    byol: np.ndarray
    contrastive: np.ndarray
    byol_ratios: np.ndarray
    contrastive_shares: np.ndarray


def compute_augmentations(
    *,
    source: str = "digits",
    compare: tuple[str, ...] = (
        "shift:1+noise:0.3",
        "crop:0.6",
        "erase:1/4",
        "noise:1",
        "gain:0.5",
        "flip",
        "scramble:16",
    ),
    components: int = 6,
    draws: int = 8,
    seed: int = 0,
) -> Augmentations:
    """Compute the moments of images under several chains of augmentations, and compare BYOL with SimCLR.

    Parameters
    ----------
    source
        Source of images.
    compare
        Chains of augmentations, those of one chain joined by "+"; the first is shown in images.
    components
        Number k of leading directions that are compared, an integer >= 1.
    draws, seed
        Views drawn of each image where an augmentation has no closed form, and the seed of all draws.

    Raises
    ------
    ValueError
        A parameter is out of range, or the samples are not images.

    Examples
    --------
    >>> found = compute_augmentations(compare=("noise:1",), components=2)
    >>> found.angles.round(3) + 0.0
    array([[0., 0.]])
    """
    parameters = dict(locals())
    images = load(source).images
    if images.ndim != 4:
        raise ValueError(
            f"`source` must be images, (N, h, w) or (N, h, w, c), got samples of shape {images.shape[1:]}"
        )
    if not compare:
        raise ValueError("`compare` must name at least one augmentation, got none")
    ratios, comparisons = [], []
    for chain in compare:
        steps = [parse(spec, seed=seed) for spec in chain.split(_CHAIN)]
        moments = Moments.from_data(images, steps, draws=draws, seed=seed)
        ratios.append(moments.ratios)
        comparisons.append(compare_with_contrastive(moments, components))
    shown = comparisons[0]
    shape = (components, *images.shape[1:])
    return Augmentations(
        parameters=parameters,
        ratios=tuple(ratios),
        angles=np.degrees([found.angles for found in comparisons]),
        byol=shown.byol.T.reshape(shape),
        byol_ratios=shown.ratios,
        contrastive=shown.contrastive.T.reshape(shape),
        contrastive_shares=shown.shares,
    )


def figure_augmentations(found: Augmentations) -> Figure:
    """Spectra of M and principal angles for every augmentation, above the directions found under the first."""
    with style():
        return _figure(found)


def _figure(found: Augmentations) -> Figure:
    narrow, names = is_narrow(), found.parameters["compare"]
    figure = sheet(
        "BYOL learns what augmentation leaves alone, SimCLR what varies most", 7.2 if narrow else 5.0
    )
    grid = figure.add_gridspec(2, 1, height_ratios=(3.2, 1) if narrow else (1.3, 1))
    above, below = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
    left, right = above.subplots(*((2, 1) if narrow else (1, 2)))
    colours = list(islice(cycle(CATEGORIES), len(names)))
    left.set_title("Eigenvalues of $M$ under each augmentation")
    draw_ratios(left, found.ratios, names, colours)
    right.set_title("Angles between what the two learn")
    draw_angles(right, found.angles, colours)
    legend_below(above, left.lines)

    heading = f"What they learn under {names[0]}"
    below.suptitle(heading, x=0.01, ha="left", fontsize="medium", fontweight="normal")
    k, of = len(found.byol), "" if narrow else r" of $\Sigma_d$"
    panels = below.subplots(2, k, squeeze=False)
    rows = (
        ("BYOL", found.byol, [f"$r = {ratio:.2f}$" for ratio in found.byol_ratios]),
        ("SimCLR", found.contrastive, [f"{share:.0%}{of}" for share in found.contrastive_shares]),
    )
    for axes, (name, images, titles) in zip(panels, rows, strict=True):
        for ax, image, title in zip(axes, images, titles, strict=True):
            draw_filter(ax, image)
            ax.set_title(title, loc="center", fontsize="small", pad=3)
        axes[0].set_ylabel(name)
    return figure


def caption_augmentations(found: Augmentations) -> str:
    """Say what was augmented, and what is seen."""
    names = found.parameters["compare"]
    open_ended = [name for name, angles in zip(names, found.angles, strict=True) if np.any(np.isnan(angles))]
    without = (
        f"; none for {', '.join(open_ended)}, where equal ratios leave open what BYOL learns"
        if open_ended
        else ""
    )
    return (
        f"What augmentations let a linear encoder learn; {described(found.parameters)}. Top left: eigenvalues r of"
        " M = Σd Σs⁻¹, 1 for directions that an augmentation leaves alone and 0 for those it scrambles. Top right:"
        " principal angles between the spans of the leading eigenvectors of M, which BYOL learns, and of Σd, which"
        f" the simple contrastive loss learns (R30){without}. White noise changes no eigenvector: the angles are 0."
        f" Bottom: those eigenvectors under {names[0]} as images, with r and with their share of the trace of Σd;"
        " each is scaled by itself, and its sign is free."
    )


AUGMENTATIONS = Page(
    "augmentations",
    "What each augmentation lets BYOL learn, next to SimCLR",
    compute_augmentations,
    figure_augmentations,
    caption_augmentations,
)
"""Ratios and eigenvectors of M under augmentations."""
