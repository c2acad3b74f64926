"""Pages on the objectives beside BYOL: what is drawn is what was computed, and that is what theory says."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from dynamics.exact.redundancy import barlow_twins_plateau
from figures.gallery.objectives import compute_compare_objectives, draw_compare_objectives
from figures.gallery.raft import NAMES, compute_raft_figure_5, draw_raft_figure_5
from figures.gallery.redundancy import (
    compute_barlow_plateaus,
    compute_vicreg_spectrum,
    draw_barlow_plateaus,
    draw_vicreg_spectrum,
)
from figures.style import theme


def test_what_is_above_the_water_is_what_vicreg_learns() -> None:
    result = compute_vicreg_spectrum(covariance=(0.2,))
    ax, last = draw_vicreg_spectrum(result).axes
    learned = [bar for bar in ax.patches if bar.get_facecolor()[:3] == ax.patches[6].get_facecolor()[:3]]
    heights = np.array([bar.get_height() for bar in learned])
    assert_allclose(heights / 0.2, result.amplitudes[0], atol=1e-12)  # (λ_i r − m)/ν
    assert_allclose(result.runs, result.amplitudes, atol=1e-4)
    assert last.lines[1].get_ydata()[0] == 3


def test_the_loss_of_barlow_twins_stands_on_its_plateaus() -> None:
    result = compute_barlow_plateaus(lambda_d=(1.0, 0.1), dim=2, off_diagonal=(0.3,))
    upper, lower = draw_barlow_plateaus(result).axes
    dashed = [float(line.get_ydata()[0]) for line in lower.lines if line.get_color() == theme().muted]
    assert_allclose(dashed, [2 - k * barlow_twins_plateau(k, 2, 0.3) for k in (1, 2)])
    loss = lower.lines[0].get_ydata()
    # the loss falls for ever, and stays for many samples within 1e-3 of its plateau
    assert np.all(np.diff(loss) < 1e-6)
    assert np.sum(np.abs(loss - dashed[0]) < 1e-3) >= 3
    assert len([line for line in upper.lines if line.get_color() != theme().muted]) == 2


def test_seven_objectives_are_drawn_from_one_start() -> None:
    result = compute_compare_objectives(components=5, dim=2)
    figure = draw_compare_objectives(result)
    assert [ax.get_title(loc="left") or ax.get_title() for ax in figure.axes][:7] == result.names
    by_name = dict(zip(result.names, result.amplitudes, strict=True))
    assert_allclose(by_name["whitened"][:2], 1.0, rtol=1e-6)
    assert_allclose(by_name["spectral"][:2], result.ratios[:2], rtol=1e-6)
    assert np.isinf(by_name["simple"]).any()
    for name in ("BYOL", "InfoNCE", "spectral", "whitened"):
        assert np.all(by_name[name][2:] == 0), name  # the two largest ratios alone
    for ax, name, share in zip(figure.axes, result.names, result.shares, strict=False):
        drawn = ax.lines[-1].get_ydata()  # the top mode lies over the others
        assert_allclose(drawn, share[1:, 0], err_msg=name)


def test_parameters_of_the_pages_are_refused_by_name() -> None:
    for call, message in (
        (lambda: compute_vicreg_spectrum(invariance=0.0), "`invariance` must be finite and > 0"),
        (lambda: compute_vicreg_spectrum(covariance=()), "`covariance` must be finite and > 0"),
        (lambda: compute_barlow_plateaus(dim=9), "`dim` must be from 1 to 4, got 9"),
        (lambda: compute_barlow_plateaus(start=0.0), "`start` must be finite and > 0"),
        (lambda: compute_barlow_plateaus(off_diagonal=(0.0,)), "`off_diagonal` must be finite and > 0"),
        (lambda: compute_compare_objectives(components=1), "`components` must be from 2 to 64, got 1"),
        (lambda: compute_compare_objectives(start=-1.0), "`start` must be finite and > 0"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_raft_from_minus_w_is_byol_prime_and_no_predictor_falls_on_a_line() -> None:
    result = compute_raft_figure_5(times=(0.0, 20.0, 100.0), samples=120)
    mirrored, without = NAMES.index("RAFT"), NAMES.index("no predictor")
    # a thousand steps of sums of 120 samples round to this at most (R25)
    assert np.max(result.mirrored) < 1e-10
    assert_allclose(result.densities[mirrored], result.densities[mirrored - 1], atol=1e-8)
    assert result.spreads[without, -1] < 0.1 < np.min(result.spreads[[0, 1, 3, 4], -1])
    assert_allclose(np.mean(result.densities[..., :-1], axis=-1), 1 / (2 * np.pi), rtol=1e-6)
    axes = draw_raft_figure_5(result).axes
    assert len(axes) == 15
    cell = axes[10 + without]
    assert f"{result.spreads[without, -1]:.3f}" in cell.texts[0].get_text()


def test_parameters_of_the_circles_are_refused_by_name() -> None:
    for given, message in (
        ({"times": (5.0, 1.0)}, "`times` must be finite, >= 0 and ascending"),
        ({"step": 0.0}, "`step` must be finite and > 0"),
        ({"samples": 3}, "`samples` must be from 20 to 1797, got 3"),
        ({"dim": 1}, "`dim` must be an integer >= 2, got 1"),
        ({"bandwidth": 0.0}, "`bandwidth` must be finite and >= 0.01"),
    ):
        with pytest.raises(ValueError, match=message):
            compute_raft_figure_5(**given)
