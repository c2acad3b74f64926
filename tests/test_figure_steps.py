"""Pages of real steps and noise: what they draw against the library's numbers, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from analysis.steps.critical_steps import pair_critical_steps
from dynamics.integration.discrete import balanced_map
from dynamics.system import ModeSystem
from figures.gallery.critical_steps import compute_critical_steps, figure_critical_steps
from figures.gallery.mode_competition import compute_mode_competition, figure_mode_competition
from figures.gallery.period_doubling import compute_period_doubling, figure_period_doubling
from figures.gallery.slow_balancing import compute_slow_balancing, figure_slow_balancing
from figures.gallery.step_boundary import compute_step_boundary, figure_step_boundary


def test_the_boundary_and_what_is_left_of_the_invariant() -> None:
    found = compute_step_boundary(points=4)
    edge, kept = figure_step_boundary(found).axes
    assert_allclose(edge.lines[0].get_ydata(), found.practical)
    assert edge.lines[2].get_ydata()[0] == found.flow == pytest.approx(np.sqrt(1.25))
    # two methods: the product along the run, and the invariant that the boundary asks for
    line, circles = (part.get_ydata() for part in kept.lines)
    known = np.isfinite(line)
    assert known.sum() >= 2
    assert_allclose(line[known], circles[known], atol=2e-4)


def test_critical_steps_are_those_of_the_formula() -> None:
    found = compute_critical_steps(points=9)
    system = ModeSystem(1.0, found.ratios[3])
    assert (
        found.practical[3, 5]
        == pair_critical_steps(found.ratios[3], found.amplitudes[5], system, 0.5).flip[0]
    )
    assert len(figure_critical_steps(found).axes) == 2


def test_orbits_are_orbits_and_shares_shares() -> None:
    found = compute_period_doubling(points=40, transient=500)
    drawn = found.orbits[:, :-1][np.isfinite(found.orbits[:, 1:])]
    gains = np.broadcast_to(found.gains[:, None], found.orbits[:, 1:].shape)[np.isfinite(found.orbits[:, 1:])]
    assert_allclose(balanced_map(drawn, gains), found.orbits[:, 1:][np.isfinite(found.orbits[:, 1:])])
    assert np.all(found.shares[found.gains < found.collapse] == 0)
    assert found.shares[-1] > 0.9
    cascade, shares = figure_period_doubling(found).axes
    assert_allclose(shares.lines[0].get_ydata(), found.shares)
    assert len(cascade.lines) == 4


def test_slow_balancing_shows_runs_beside_both_orders() -> None:
    found = compute_slow_balancing(runs=100, t_end=100.0)
    invariant, amplitudes = figure_slow_balancing(found).axes
    mean, law, path = (line.get_ydata() for line in invariant.lines)
    assert np.abs(mean[-1] - path[-1]) < 5 * found.deviation[-1] / 10 + 1e-3 < np.abs(mean[-1] - law[-1])
    assert_allclose(amplitudes.lines[0].get_ydata(), found.amplitudes[:, 0])


def test_competition_shows_runs_and_law() -> None:
    found = compute_mode_competition(runs=1, t_end=20.0)
    rows, _, gains = figure_mode_competition(found).axes
    assert_allclose(rows.lines[0].get_ydata(), found.rows[:, 0])
    assert_allclose(rows.lines[1].get_ydata(), found.law[:, 0])
    best = gains.lines[0].get_xdata()[np.argmax(gains.lines[0].get_ydata())]
    assert best == pytest.approx(np.sqrt(0.5), abs=0.01)


@pytest.mark.parametrize(
    ("compute", "parameters", "message"),
    [
        (compute_step_boundary, {"ratio": 0.0}, "`ratio` must be in"),
        (compute_step_boundary, {"largest": 2.0}, "`largest` must be in"),
        (compute_step_boundary, {"points": 1}, "`points` must be >= 2"),
        (compute_critical_steps, {"ema_rate": 2.0}, "`ema_rate` must be >= 0 and <= 1"),
        (compute_critical_steps, {"largest": 0.0}, "`largest` must be > 0"),
        (compute_period_doubling, {"lowest": 4.0}, "`lowest` must be > 0 and below `highest`"),
        (compute_slow_balancing, {"runs": 1}, "`runs` must be >= 2"),
        (compute_slow_balancing, {"batch": 0}, "`batch` must be an integer >= 1"),
        (compute_mode_competition, {"ratios": (0.5, 0.9)}, "`ratios` must be two numbers"),
        (compute_mode_competition, {"t_end": 0.0}, "`t_end` must be finite and > 0"),
    ],
)
def test_refusals(compute, parameters: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compute(**parameters)
