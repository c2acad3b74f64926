"""How large a contrastive loss makes each mode, by its ratio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.contrastive.contrast import Contrast
from dynamics.exact.infonce import one_negative_saturation, saturation
from figures.panels.stability import mark
from figures.style import DASHED, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEAST = 1e-4  # smallest norm in sight, of the largest
MANY, ONE = "many negatives, $y^*(r)$", "one negative, $2r/((1-r)(3+r))$"
"""Labels of the two curves."""


def draw_saturation(ax: Axes, found: Contrast) -> Axes:
    """Norms over the temperature against r: both closed forms, all modes, and those that are learned.

    Modes that grow without bound are marked on the upper edge, those that are never learned on the lower one. Weight
    decay moves a mode below the curve, as r less ητ/(2λs) decides.
    """
    temperature = 1.0 if found.temperature is None else found.temperature
    r, sizes = found.modes.ratios, found.norms / temperature
    bounded = sizes[np.isfinite(sizes) & (sizes > 0)]
    top = 3.0 * max(float(np.max(bounded, initial=0.0)), float(saturation(0.75)))
    bottom = max(float(np.min(bounded, initial=0.1)) / 2, top * _LEAST)
    curve = np.linspace(0, 1 - 1e-6, 2001)
    ax.plot(curve, saturation(curve), color=theme().ink, label=MANY)
    ax.plot(curve, one_negative_saturation(curve), color=theme().muted, linestyle=DASHED, label=ONE)
    of_modes = found.learned.basis == "M"
    learned = np.isin(np.arange(r.size), found.learned.modes) & of_modes
    height = np.clip(sizes, bottom, top)
    for which, look, label in (
        (~learned, mark("saddle"), "not learned"),
        (learned, mark("stable"), "learned"),
    ):
        if np.any(which):
            ax.plot(r[which], height[which], **look, label=label, clip_on=False, zorder=4)
    ax.set_yscale("log")
    ax.set(
        xlim=(0, 1),
        ylim=(bottom, top),
        xlabel=r"ratio $r = \lambda_d/\lambda_s$",
        ylabel=r"$w \Sigma_s w^T/\tau$",
    )
    return ax
