"""Pages `infonce-spectrum` and `infonce-race`: where InfoNCE saturates, and which modes it learns in what order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.runs.infonce import simulate_saturating
from dynamics.exact.contrastive import simple_encoder
from dynamics.exact.infonce import one_negative_saturation, saturation
from dynamics.fields.infonce import SaturatingLoss
from dynamics.states import EncoderState
from dynamics.system import MatrixSystem
from figures.gallery.captions import described
from figures.gallery.registry import Page
from figures.layout.sheets import panels
from figures.panels.stability import mark
from figures.style import DASHED, style, theme

_CURVE = np.linspace(0.0, 0.97, 400)


@dataclass(frozen=True, eq=False)
class InfonceSpectrum:
    """Where modes saturate, by formula and by runs.

    Parameters
    ----------
    parameters
        As given.
    curve_ratios, many, one
        r, and y = s/τ of infinitely many negatives and of one, each (n,).
    ratios, many_runs, one_runs
        r of the modes that were run, and s/τ where runs of as many rows came to rest, (n_modes,).
    """

    parameters: dict[str, Any]
    curve_ratios: np.ndarray
    many: np.ndarray
    one: np.ndarray
    ratios: np.ndarray
    many_runs: np.ndarray
    one_runs: np.ndarray


def compute_infonce_spectrum(
    *,
    ratios: tuple[float, ...] = (0.15, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95),
    temperature: float = 0.5,
    online: float = 0.3,
    seed: int = 0,
) -> InfonceSpectrum:
    """Run an encoder of as many rows as modes to rest under InfoNCE, with one negative and with infinitely many.

    Parameters
    ----------
    ratios
        r of the modes, different, within 0 and 1; all have λs = 1.
    temperature
        τ > 0.
    online
        Standard deviation of the weights at the start, > 0.
    seed
        Of the start.

    Raises
    ------
    ValueError
        A parameter is out of range.
    """
    parameters = dict(locals())
    r = np.array(ratios, dtype=float)
    if r.ndim != 1 or r.size == 0 or not np.all((r > 0) & (r < 1)) or np.unique(r).size < r.size:
        raise ValueError(f"`ratios` must be different numbers within 0 and 1, got {ratios}")
    if not 0 < online < np.inf:
        raise ValueError(f"`online` must be finite and > 0, got {online}")
    system = MatrixSystem(np.ones(r.size), r)
    start = EncoderState(online * np.random.default_rng(seed).standard_normal((r.size, r.size)))
    at_rest = {}
    for negatives in (np.inf, 1):
        run = simulate_saturating(start, system, SaturatingLoss("infonce", temperature, negatives))
        at_rest[negatives] = np.where(run.trajectory.status.value == "steady", run.amplitudes, np.nan)
    order = np.argsort(np.argsort(-r))  # amplitudes descend as ratios do
    return InfonceSpectrum(
        parameters,
        _CURVE,
        saturation(_CURVE),
        one_negative_saturation(_CURVE),
        r,
        at_rest[np.inf][order] / temperature,
        at_rest[1][order] / temperature,
    )


def draw_infonce_spectrum(result: InfonceSpectrum) -> Figure:
    """Both closed forms against r, with dots where runs came to rest; beside it what they differ by, (1 − r) s/τ."""
    with style():
        figure, axes = panels("InfoNCE saturates where augmentation noise holds a mode", 2, columns=2)
        shown = result.curve_ratios > 0.02
        r = result.curve_ratios[shown]
        for ax, power in zip(axes, (0, 1), strict=True):
            ax.plot(r, (1 - r) ** power * result.many[shown], color=theme().ink, label=r"$H = \infty$ (R116)")
            ax.plot(
                r,
                (1 - r) ** power * result.one[shown],
                color=theme().muted,
                linestyle=DASHED,
                label="$H = 1$ (R114)",
            )
            own = (1 - result.ratios) ** power
            ax.plot(result.ratios, own * result.many_runs, **mark("stable"), label=r"at rest, $H = \infty$")
            ax.plot(result.ratios, own * result.one_runs, **mark("saddle"), label="at rest, $H = 1$")
            ax.set(xlim=(0, 1), xlabel=r"ratio $r = \lambda_d/\lambda_s$")
        axes[0].set_yscale("log")
        axes[0].set_ylabel(r"$w \Sigma_s w^T/\tau$")
        axes[1].set_ylabel(r"$(1 - r)\, w \Sigma_s w^T/\tau$")
        axes[0].legend(loc="upper left")
    return figure


def _caption_spectrum(result: InfonceSpectrum) -> str:
    worst = max(
        float(np.max(np.abs(runs / exact(result.ratios) - 1)))
        for runs, exact in (
            (result.many_runs, saturation),
            (result.one_runs, one_negative_saturation),
        )
    )
    return (
        "Eigenvalues of W Σs Wᵀ over the temperature at which modes of ratio r rest under InfoNCE, with infinitely many"
        " negatives (R116) and with one (R114), and dots where runs of one row for each mode came to rest,"
        " beside the same times 1 − r:"
        f" {described(result.parameters)}. The dots are within {worst:.1g} of the curves. Without augmentation noise,"
        " r = 1, nothing holds a mode."
    )


INFONCE_SPECTRUM = Page(
    "infonce-spectrum",
    "Where InfoNCE saturates, for one negative and for many",
    compute_infonce_spectrum,
    draw_infonce_spectrum,
    _caption_spectrum,
)


@dataclass(frozen=True, eq=False)
class InfonceRace:
    """Two modes under InfoNCE and under the simple loss, from one start.

    Parameters
    ----------
    parameters
        As given.
    t, sizes
        Times (T,) of the run under InfoNCE, and s of each mode (T, 2).
    predicted
        Where each mode would rest alone, τ y*, (2,).
    simple_t, simple_sizes
        The same under the simple loss, exactly.
    """

    parameters: dict[str, Any]
    t: np.ndarray
    sizes: np.ndarray
    predicted: np.ndarray
    simple_t: np.ndarray
    simple_sizes: np.ndarray


def compute_infonce_race(
    *,
    lambda_s: tuple[float, float] = (10.0, 1.0),
    ratio: tuple[float, float] = (0.5, 0.9),
    online: tuple[float, float] = (0.01, 0.001),
    temperature: float = 1.0,
    t_end: float = 16.0,
) -> InfonceRace:
    """Run one row on two modes, of which one has more variance and the other the larger ratio.

    Parameters
    ----------
    lambda_s, ratio
        λs > 0 and r within 0 and 1 of modes A and B.
    online
        Weights at the start, not zero.
    temperature
        τ > 0.
    t_end
        End of the run, > 0.

    Raises
    ------
    ValueError
        A parameter is out of range.
    """
    parameters = dict(locals())
    s, r = np.array(lambda_s, dtype=float), np.array(ratio, dtype=float)
    if s.shape != (2,) or not np.all((s > 0) & (s < np.inf)):
        raise ValueError(f"`lambda_s` must be two finite numbers > 0, got {lambda_s}")
    if r.shape != (2,) or not np.all((r > 0) & (r < 1)):
        raise ValueError(f"`ratio` must be two numbers within 0 and 1, got {ratio}")
    if len(online) != 2 or not np.all(np.array(online) != 0):
        raise ValueError(f"`online` must be two numbers other than 0, got {online}")
    system, start = MatrixSystem(s, r * s), EncoderState(np.array([online], dtype=float))
    run = simulate_saturating(start, system, SaturatingLoss("infonce", temperature), t_end)
    assert run.saturating is not None
    # the simple flow is the same at first, at τ times its speed; it is shown until its norm has left the panel
    simple_t = np.linspace(0.0, t_end / temperature / 4, 400)
    simple = simple_encoder(simple_t, start, system).online[:, 0]
    return InfonceRace(
        parameters,
        run.trajectory.ts,
        run.saturating.sizes,
        temperature * saturation(r),
        simple_t,
        simple**2 * s,
    )


def draw_infonce_race(result: InfonceRace) -> Figure:
    """Size and share of both modes over time under InfoNCE, and shares under the simple loss."""
    with style():
        colours = (theme().weights["online"], theme().weights["predictor"])
        figure, axes = panels(
            "Under InfoNCE variance leads and the ratio wins; under the simple loss variance leads",
            3,
            columns=3,
        )
        for ax, ts, values, y_label, title in (
            (axes[0], result.t, result.sizes, r"$s$", "InfoNCE: size"),
            (axes[1], result.t, _shares(result.sizes), "share of $s$", "InfoNCE: share"),
            (axes[2], result.simple_t, _shares(result.simple_sizes), "share of $s$", r"$r_+ - r_-$: share"),
        ):
            for name, colour, path in zip("AB", colours, values.T, strict=True):
                ax.plot(ts, path, color=colour, label=name)
            ax.set(xlabel="time $t$", ylabel=y_label, title=title)
        axes[0].set_yscale("log")
        axes[0].set_ylim(1e-6, 3 * float(np.max(result.predicted)))
        for colour, size in zip(colours, result.predicted, strict=True):
            axes[0].axhline(size, color=colour, linestyle=DASHED, linewidth=1.0, zorder=0)
        for ax in axes[1:]:
            ax.set_ylim(-0.03, 1.03)
        axes[0].legend(loc="lower right")
    return figure


def _shares(sizes: np.ndarray) -> np.ndarray:
    return sizes / np.sum(sizes, axis=1, keepdims=True)


def _caption_race(result: InfonceRace) -> str:
    share = _shares(result.sizes)[:, 0]
    (a, b), (r_a, r_b) = result.parameters["lambda_s"], result.parameters["ratio"]
    return (
        f"One row on modes A (λs = {a:g}, r = {r_a:g}) and B (λs = {b:g}, r = {r_b:g}): {described(result.parameters)}."
        " s = w Σs wᵀ of each mode and its share under InfoNCE with many negatives (R115), dashed where each rests"
        " alone, τ y* (R116); beside it the shares under the simple loss, exact (R113). The share of A rises to"
        f" {share.max():.6g} and ends at {share[-1]:.2g}; under the simple loss it ends at"
        f" {_shares(result.simple_sizes)[-1, 0]:.6g} (R120)."
    )


INFONCE_RACE = Page(
    "infonce-race",
    "Which mode InfoNCE learns first, and which in the end",
    compute_infonce_race,
    draw_infonce_race,
    _caption_race,
)
