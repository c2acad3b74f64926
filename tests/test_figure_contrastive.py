"""Pictures of contrastive learning: colours, labels and marks belong to the data that they stand beside."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import to_rgba
from numpy.testing import assert_allclose

from analysis.contrastive.contrast import contrast
from analysis.runs.encoders import simulate_encoder
from dynamics.objectives import OBJECTIVES
from dynamics.states import EncoderState
from dynamics.system import MatrixSystem
from figures.gallery.infonce import compute_infonce_race, draw_infonce_race
from figures.results.contrast import figure_contrast
from figures.results.encoders import figure_encoder_simulation
from figures.style import theme

RACE = MatrixSystem(np.array([10.0, 1.0]), np.array([5.0, 0.9]))


def test_paths_and_their_numbers_have_the_colour_of_the_fate() -> None:
    found = simulate_encoder(EncoderState([[0.1, 0.1]]), RACE)
    left = figure_encoder_simulation(found).axes[0]
    wanted = [to_rgba(theme().fates[fate]) for fate in ("learned", "collapsed")]
    assert [to_rgba(line.get_color()) for line in left.lines] == wanted
    assert [(text.get_text(), to_rgba(text.get_color())) for text in left.texts] == [
        ("1", wanted[0]),
        ("2", wanted[1]),
    ]


def test_the_mark_of_a_learned_mode_stands_at_its_ratio() -> None:
    (ax,) = figure_contrast(contrast(RACE, 1, OBJECTIVES["infonce"])).axes
    marks = {line.get_label(): line for line in ax.lines}
    assert_allclose(marks["learned"].get_xdata(), [0.9])
    assert_allclose(marks["learned"].get_ydata(), [4.854102], rtol=1e-6)
    assert_allclose(marks["not learned"].get_xdata(), [0.5])
    assert marks["learned"].get_marker() != marks["not learned"].get_marker()


def test_each_mode_of_the_race_has_one_colour_and_its_own_dashes() -> None:
    result = compute_infonce_race()
    axes = draw_infonce_race(result).axes
    colours = {"A": theme().weights["online"], "B": theme().weights["predictor"]}
    for ax in axes:
        assert {line.get_label(): line.get_color() for line in ax.lines[:2]} == colours
    for k, name in enumerate("AB"):
        assert_allclose(axes[0].lines[k].get_ydata(), result.sizes[:, k])
        dashed = axes[0].lines[2 + k]
        assert dashed.get_color() == colours[name]
        assert_allclose(np.asarray(dashed.get_ydata()), result.predicted[k])
