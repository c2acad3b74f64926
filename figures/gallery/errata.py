"""Page `errata`: four printed claims beside the truth (E1, E3, E5, E6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from analysis.results.linear.errata import (
    AmplitudeStability,
    EmaPaths,
    OriginFates,
    ScrambledRatios,
    amplitude_stability,
    ema_paths,
    origin_fates,
    scrambled_ratios,
)
from dynamics.system import ModeSystem
from figures.gallery.captions import described
from figures.gallery.registry import Page
from figures.layout.sheets import panels
from figures.panels import errata as claims
from figures.style import style

_DIMENSION, _SCRAMBLED = 6, 2  # of the data of E1


@dataclass(frozen=True, eq=False)
class Errata:
    """Numbers of the four panels.

    Parameters
    ----------
    parameters
        As given.
    scrambled, ema, origin, amplitude
        E1, E3, E5, E6.
    ratio
        r of the mode of E5.
    """

    parameters: dict[str, Any]
    scrambled: ScrambledRatios
    ema: EmaPaths
    origin: OriginFates
    amplitude: AmplitudeStability
    ratio: float


def compute_errata(
    *,
    n_samples: int = 20000,
    learning_rate: float = 0.3,
    target_rate: float = 0.2,
    gain: float = 0.5,
    n_steps: int = 60,
    lambda_s: float = 1.0,
    lambda_d: float = 0.5,
    radius: float = 0.25,
    n_starts: int = 24,
    ratios: tuple[float, ...] = (0.9, 0.45),
    seed: int = 0,
) -> Errata:
    """Put numbers on E1, E3, E5 and E6.

    Parameters
    ----------
    n_samples
        E1: pairs of scrambled views to measure on, >= 2.
    learning_rate, target_rate, gain, n_steps
        E3: α and η in (0, 1], λ >= 0, and the steps to take.
    lambda_s, lambda_d, radius, n_starts
        E5: the mode, and the circle of starts around its origin.
    ratios
        E6: r of the two modes that the rows hold, the larger first.
    seed
        Of all draws.

    Raises
    ------
    ValueError
        A parameter is out of range.
    """
    parameters = dict(locals())
    mode = ModeSystem(lambda_s, lambda_d)
    return Errata(
        parameters=parameters,
        scrambled=scrambled_ratios(_DIMENSION, _SCRAMBLED, n_samples=n_samples, seed=seed),
        ema=ema_paths(learning_rate, target_rate, gain, n_steps),
        origin=origin_fates(mode, radius, n_starts),
        amplitude=amplitude_stability(ModeSystem([1.0] * len(ratios), ratios)),
        ratio=float(mode.ratio[0]),
    )


def figure_errata(found: Errata) -> Figure:
    """One panel for each claim."""
    with style():
        figure, (e1, e3, e5, e6) = panels("Four printed claims, and what is true", 4, columns=2, aspect=0.62)
        e1.set_title("E1  Scrambled views: $\\Sigma_s \\neq \\Sigma_x$")
        claims.draw_scrambled_ratios(e1, found.scrambled)
        claims.write_claim(e1, "$\\Sigma_s = \\Sigma_x$, hence $r > 1$", x=0.97, y=0.95)
        e3.set_title("E3  EMA: $1 + \\lambda$ grows, $1 - \\lambda$ decays")
        claims.draw_ema_paths(e3, found.ema)
        claims.write_claim(e3, "$1 - \\lambda$")
        e5.set_title(f"E5  {found.origin.share_collapsed:.0%} of the starts collapse")
        claims.draw_origin_fates(e5, found.origin, found.ratio)
        claims.write_claim(e5, "the origin is unstable", y=0.95)
        e6.set_title("E6  Top modes: unstable at small amplitude")
        claims.draw_amplitude_stability(e6, found.amplitude)
        claims.write_claim(e6, "stable at every amplitude")
        claims.claim_legends(e1, e3, e5)
        return figure


def caption_errata(found: Errata) -> str:
    """Say what each panel measures."""
    given, amplitude = found.parameters, found.amplitude
    return (
        f"Printed claims beside the truth; {described(given)}. E1: ratios of M when {_SCRAMBLED} of {_DIMENSION}"
        f" directions are scrambled; with the printed Σs = Σx they reach {found.scrambled.printed[0]:.3g}, which no"
        " views can have; with Σs = Pc Σx Pc + tr(Uᵀ Σx U) U Uᵀ (R16) they are those measured on drawn views. E3: the"
        " recurrence of the moving average; with the printed 1 − λ the weight decays, with 1 + λ it grows as (1 + κ)ᵗ,"
        f" κ = {found.ema.rate:.3g} (R28). E5: the flow of one mode from a circle around the collapsed state, θ = w1;"
        f" {found.origin.share_collapsed:.0%} of the starts collapse (R6), on the line w1 = 0, w2 < 0, and with tied"
        " weights the origin is half-stable (R7). E6: largest real part of the eigenvalues with which a row on the"
        f" second mode meets the first: below the amplitude {amplitude.border:.3g} the fixed point on the top modes is"
        f" unstable (R10); the dot is the balanced point, w = {amplitude.balanced:.3g}."
    )


ERRATA = Page("errata", "Four printed claims beside the truth", compute_errata, figure_errata, caption_errata)
"""E1, E3, E5 and E6."""
