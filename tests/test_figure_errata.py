"""The page `errata`: what its panels show of the numbers behind them."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.testing import assert_allclose, assert_array_equal

from figures.gallery.errata import Errata, caption_errata, compute_errata, figure_errata
from figures.style import THEMES

LIGHT = THEMES["light"]


@cache
def found() -> Errata:
    return compute_errata()


@cache
def drawn() -> Figure:
    return figure_errata(found())


def by_look(ax: Axes) -> dict[tuple[str, str], Line2D]:
    return {(to_hex(line.get_color()), line.get_marker()): line for line in ax.lines}


def test_printed_ratios_lie_where_none_can_be() -> None:
    ax = drawn().axes[0]
    shown = by_look(ax)
    printed, true = shown[LIGHT.muted, "s"].get_ydata(), shown[LIGHT.ink, "None"].get_ydata()
    measured = shown[LIGHT.fates["undecided"], "x"].get_ydata()
    assert np.max(printed) > 1.5
    assert_allclose(true, [1, 1, 1, 1, 0, 0], atol=1e-12)
    assert_allclose(measured, true, atol=10 / np.sqrt(20000))
    (band,) = ax.patches
    assert band.get_bbox().y0 == 1.0  # what no views have


def test_one_recurrence_grows_and_the_printed_one_decays() -> None:
    shown = [np.asarray(line.get_ydata()) for line in drawn().axes[1].lines]
    claimed, printed, true = shown
    assert printed[-1] < printed[0] / 100
    assert true[-1] > true[0]
    assert_allclose(true[-1] / true[-2], claimed[-1] / claimed[-2], rtol=1e-12)
    assert drawn().axes[1].get_yscale() == "log"


def test_paths_have_the_colour_of_where_they_end() -> None:
    ax = drawn().axes[2]
    paths = [line for line in ax.lines if len(line.get_xdata()) > 100]
    assert len(paths) == 24
    for path in paths:
        w1, w2 = path.get_xdata()[-1], path.get_ydata()[-1]
        learned = abs(w1) > 0.1
        assert to_hex(path.get_color()) == LIGHT.fates["learned" if learned else "collapsed"]
        if learned:
            assert w2 == pytest.approx(0.5, abs=1e-6)
        else:
            assert w2 < 0
    origin = [line for line in ax.lines if line.get_fillstyle() == "left"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in origin] == [(0, 0)]
    assert ax.get_title(loc="left") == "E5  25% of the starts collapse"


def test_the_eigenvalue_changes_sign_at_the_border() -> None:
    ax = drawn().axes[3]
    curve = by_look(ax)[LIGHT.ink, "None"]
    w, leading = curve.get_data()
    border = np.sqrt(0.45 * (0.9 - 0.45))
    assert_array_equal(np.asarray(leading) > 0, np.asarray(w) < border)
    (dotted,) = ax.collections
    assert dotted.get_segments()[0][0, 0] == pytest.approx(border, rel=1e-12)
    (dot,) = [line for line in ax.lines if line.get_marker() == "o"]
    assert dot.get_xdata()[0] == pytest.approx(0.9)
    assert dot.get_ydata()[0] < 0
    grey, red = sorted(ax.patches, key=lambda patch: -patch.get_bbox().y0)
    assert grey.get_bbox().y0 == red.get_bbox().y1 == 0


def test_every_panel_says_what_is_printed() -> None:
    for ax, name in zip(drawn().axes, ("E1", "E3", "E5", "E6"), strict=True):
        assert ax.get_title(loc="left").startswith(name)
        assert sum(text.get_text().startswith("printed: ") for text in ax.texts) == 1
    caption = caption_errata(found())
    assert all(f"{name}:" in caption for name in ("E1", "E3", "E5", "E6"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gain": -1.0}, "`gain` must be >= 0, got -1.0"),
        ({"ratios": (0.4, 0.5)}, "must have two modes with r_0 > r_1 > 0"),
        ({"ratios": ()}, "must hold one eigenvalue a mode"),
        ({"radius": np.inf}, "`radius` must be finite and > 0, got inf"),
        ({"lambda_s": np.nan}, "`lambda_s` must be finite, got nan"),
        ({"n_samples": 1}, "`x1` must hold at least two views"),
    ],
)
def test_nonsense_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compute_errata(**settings)


def test_axes_hold_what_is_drawn_from_end_to_end() -> None:
    e3 = drawn().axes[1]
    steps = e3.lines[0].get_xdata()
    assert e3.get_xlim() == (steps[0], steps[-1]) == (0, 60)
    e1 = drawn().axes[0]
    highest = max(np.max(line.get_ydata()) for line in e1.lines)
    (band,) = e1.patches
    assert highest < band.get_bbox().y1 == e1.get_ylim()[1]


def test_every_path_begins_with_a_dot_on_the_circle() -> None:
    ax = drawn().axes[2]
    dots = {tuple(line.get_xydata()[0]) for line in ax.lines if line.get_marker() == "."}
    starts = {tuple(line.get_xydata()[0]) for line in ax.lines if len(line.get_xdata()) > 100}
    assert dots == starts
    assert_allclose([np.hypot(*dot) for dot in dots], 0.25, rtol=1e-12)
