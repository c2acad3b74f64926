"""Page `portrait`: its planes, its orbits against the flow of all three weights, its colours, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import report_of
from matplotlib.colors import to_hex
from numpy.testing import assert_allclose
from picture_checks import clashes
from scipy.integrate import solve_ivp

from analysis.phase_planes.orbits import orbit
from analysis.phase_planes.planes import leaf_plane
from dynamics.system import ModeSystem
from dynamics.variants import MODE_FIELDS
from figures.gallery.own_portrait import WITH_PLANE, compute_portrait, figure_own_portrait
from figures.gallery.registry import page
from figures.style import SIZES, THEMES, look

Dyn = Callable[..., tuple[Any, str, str]]

WINDOW = ((-1.0, 1.0), (-1.0, 1.0))


def test_every_variant_but_the_fast_predictor_has_a_portrait() -> None:
    assert set(MODE_FIELDS) - set(WITH_PLANE) == {"fast-predictor"}


@pytest.mark.parametrize("weight_decay", [0.0, 0.03])
@pytest.mark.parametrize("variant", WITH_PLANE)
def test_runs_do_what_theory_says_and_end_where_the_plane_rests(variant: str, weight_decay: float) -> None:
    found = compute_portrait(variant=variant, weight_decay=weight_decay, start=((0.6, -0.2), (-0.3, 0.8)))
    portrait = found.portrait
    for one in found.orbits:
        assert one.predicted in (one.fate, "")
        gaps = [np.linalg.norm(portrait.points - one.forward[-1], axis=1)] if len(portrait.points) else []
        for line in portrait.lines:  # polylines of 400 points and more, of which hyperbolas are the coarsest
            a, b = (line.points[:-1], line.points[1:]) if len(line.points) > 1 else (line.points, line.points)
            along = np.sum((b - a) ** 2, axis=1)
            share = np.sum((one.forward[-1] - a) * (b - a), axis=1) / np.where(along > 0, along, 1.0)
            foot = a + np.clip(share, 0, 1)[:, None] * (b - a)
            gaps.append(np.linalg.norm(foot - one.forward[-1], axis=1))
        # algebraic approaches (R7) end where `dyn simulate` calls them slow, at 1e-3 or so
        assert min(np.min(gap) for gap in gaps) < 5e-3
    for size in SIZES:
        with look(size=size):
            assert clashes(figure_own_portrait(found)) == []


def test_the_past_of_a_start_leads_to_it_along_the_flow_of_three_weights() -> None:
    system, c = ModeSystem(1.0, 0.5), -0.1
    found = orbit(leaf_plane(system, c), (0.6, -0.2), *WINDOW)
    w1, th = found.backward[-1]
    assert max(abs(w1), abs(th)) == pytest.approx(1.5, abs=1e-6)  # half a window beyond the window

    def rate(t: float, y: np.ndarray) -> list[float]:  # R1 of one mode, written out
        online, predictor, target = y
        error = predictor * online - 0.5 * target
        return [-predictor * error, -error * online, online - target]

    # the equation of the full flow in λs = 1, λd = 0.5: e = w2 w1 λs − θ λd
    start = [w1, np.sqrt(w1**2 - c), th]
    passed = solve_ivp(rate, (0, 20), start, method="DOP853", rtol=1e-11, atol=1e-13, dense_output=True)
    times = np.linspace(0, 20, 200_001)
    path = passed.sol(times)[[0, 2]].T
    for point in (found.start, found.backward[100], found.forward[200]):
        # between times 1e-4 apart the path moves by 1e-4 of its speed, of order one
        assert np.min(np.linalg.norm(path - point, axis=1)) < 1e-4


def test_orbits_have_the_colours_of_what_the_runs_did() -> None:
    found = compute_portrait(variant="full", weight_decay=0.04, start=((0.3, 0.2), (-0.5, 0.1)))
    assert [one.fate for one in found.orbits] == ["learned", "collapsed"]
    (ax,) = figure_own_portrait(found).axes
    for one in found.orbits:
        colour = THEMES["light"].fates[one.fate]
        mine = [line for line in ax.lines if to_hex(line.get_color()) == colour]
        dot, *_ = (line for line in mine if line.get_marker() == "o")
        assert_allclose(dot.get_xydata(), [one.start])
        assert any(np.array_equal(line.get_xydata(), one.forward) for line in mine)
    caption = page("portrait").caption(found)
    assert "(0.3, 0.2) learned, predicted learned (R15" in caption
    assert "(-0.5, 0.1) collapsed, predicted collapsed (R15" in caption


def test_a_start_at_rest_stays_and_one_on_the_separatrix_is_no_error() -> None:
    found = compute_portrait(variant="tied", start=((0.5, 0.5), (0.0, 0.4)))
    at_rest, on_line = found.orbits
    assert len(at_rest.backward) == 1
    assert_allclose(at_rest.forward, 0.5)
    assert_allclose(on_line.forward[:, 0], 0.0)


def test_no_start_at_all_is_a_portrait() -> None:
    found = compute_portrait(variant="full", start=())
    figure = figure_own_portrait(found)
    assert figure.get_suptitle() == "Leaf $c$ = −0.1, $w_2$ > 0"
    assert "Starts" not in page("portrait").caption(found)
    assert "Orbits" not in page("portrait").caption(found)


def test_the_flow_of_an_objective_is_that_of_its_moments() -> None:
    # R24: with β = 1 and α the pair is 2α(λs − λd) + λs and λs
    one = compute_portrait(objective="byol-prime", alpha=0.5, beta=1.0, lambda_s=1.0, lambda_d=0.5)
    other = compute_portrait(lambda_s=1.5, lambda_d=1.0)
    assert_allclose(one.portrait.points, other.portrait.points, rtol=1e-14)
    assert_allclose(one.portrait.du, other.portrait.du, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--start", ".3"), "--start must be 2 numbers with commas between them, got '.3'"),
        (("--start", ".3,.2,.1"), "--start must be 2 numbers with commas between them, got '.3,.2,.1'"),
        (("--start", ".3,up"), "--start must be a number such as 0.5, 1/2 or 1e-3, got 'up'"),
        (("--start", "inf,1"), "--start must be two finite numbers, got (inf, 1.0)"),
        (("--variant", "fast-predictor"), "--variant must be one of full, fixed-target, tied"),
        (("--objective", "infonce"), "--objective must be one of byol, byol-prime, raft, got 'infonce'"),
        (("--variant", "tied", "--invariant", "0"), "--invariant must go with variant full or"),
        (("--weight-decay", ".1", "--invariant", "0"), "--invariant must go with variant full or"),
        (("--variant", "tied", "--sheet", "1"), "--sheet must go with variant full or"),
        (("--variant", "full", "--sheet", "2"), "--sheet must be 1 or -1, got 2"),
        (("--target", "1"), "--target must go with variant fixed-target, got no-ema"),
        (("--variant", "tied", "--tau-online", "2"), "--tau-online"),
        (("--beta", "2"), "--beta"),
    ],
)
def test_what_does_not_apply_is_refused_by_name(
    dyn: Dyn, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    code, out, err = dyn("figure", "portrait", *words, "--plot", tmp_path / "p.png")
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "p.png").exists()


def test_starts_are_repeated_pairs_and_the_help_writes_them_so(dyn: Dyn, tmp_path: Path) -> None:
    words = ("--start", ".3,.2", "--start=-.5,.1", "--start", "1/2,-1e-1")
    report = report_of(
        dyn, "figure", "portrait", *words, "--plot", tmp_path / "p.png", "--out", tmp_path / "p.npz"
    )
    assert "of 3 starts" not in report["figures"][0]["caption"]
    with np.load(tmp_path / "p.npz") as saved:
        starts = [saved[f"orbits.{k}.start"].tolist() for k in range(3)]
    assert starts == [[0.3, 0.2], [-0.5, 0.1], [0.5, -0.1]]
    assert "0.6,-0.2 -0.2,0.8 0.4,-0.8" in dyn("figure", "portrait", "--help")[1]
