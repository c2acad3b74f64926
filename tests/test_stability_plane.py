"""Stability over two parameters: closed forms against multipliers and runs of gradient descent, and the picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.contour import ContourSet
from numpy.testing import assert_allclose, assert_array_equal
from picture_checks import clashes

from analysis.steps.balanced_points import balanced_bounds, balanced_stability
from dynamics.integration.discrete import EmaOrder
from dynamics.system import ModeSystem
from figures.gallery.registry import page
from figures.gallery.stability_plane import FIXED, compute_stability_plane, figure_stability_plane
from figures.panels.maps import kind_handles
from figures.style import theme

Dyn = Callable[..., tuple[Any, str, str]]


def _systems(rng: np.random.Generator, n: int, decay: float) -> ModeSystem:
    ls, ld, to = (
        rng.uniform(0.3, 2, n),
        rng.uniform(0.2, 2, n) * rng.choice([-1, 1], n),
        rng.uniform(0.3, 3, n),
    )
    return ModeSystem(
        ls,
        ld,
        tau_online=to,
        tau_predictor=rng.uniform(0.3, 3, n),
        tau_target=rng.uniform(0.3, 3, n),
        weight_decay=decay * rng.uniform(0.05, 0.95, n) * ld**2 / (4 * to * ls),
    )


def _bisect(stable: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray) -> np.ndarray:
    assert np.all(stable(low))
    assert not np.any(stable(high))
    for _ in range(60):
        middle = (low + high) / 2
        good = stable(middle)
        low, high = np.where(good, middle, low), np.where(good, high, middle)
    return (low + high) / 2


@pytest.mark.parametrize("decay", [0.0, 1.0])
@pytest.mark.parametrize("order", list(EmaOrder))
@pytest.mark.parametrize("ema_rate", [0.03, 0.5, 1.0])
def test_critical_steps_are_where_a_multiplier_leaves_the_unit_circle(
    order: EmaOrder, ema_rate: float, decay: float
) -> None:
    system = _systems(np.random.default_rng(1), 200, decay)
    bounds = balanced_bounds(system, ema_rate, order)
    expected = np.minimum(bounds.flip, bounds.across)
    found = _bisect(
        lambda step: balanced_stability(system, step, ema_rate, order).learned, 0.5 * expected, 2 * expected
    )
    # |μ| is known to a few roundings; near a double root its error is the root of that
    np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_the_fold_and_the_step_of_the_origin_are_found_by_bisection() -> None:
    system = _systems(np.random.default_rng(2), 100, 1.0)
    bounds = balanced_bounds(system, 0.2)

    def learned(eta: np.ndarray) -> np.ndarray:
        return balanced_stability(replace(system, weight_decay=eta), 0.0, 0.2).learned

    folds = _bisect(learned, 0.5 * bounds.fold, 1.5 * bounds.fold)
    np.testing.assert_allclose(folds, bounds.fold, rtol=1e-12)
    steps = _bisect(
        lambda step: balanced_stability(system, step, 0.2).origin, 0.5 * bounds.origin, 2 * bounds.origin
    )
    np.testing.assert_allclose(steps, bounds.origin, rtol=1e-12)


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_gradient_descent_stays_below_the_critical_step_and_leaves_above(decay: float) -> None:
    system, h = _systems(np.random.default_rng(3), 50, decay), 0.2
    bounds = balanced_bounds(system, h)
    critical = np.minimum(bounds.flip, bounds.across)
    ls, ld, to, tp, eta = (
        np.broadcast_to(part, critical.shape)
        for part in (
            system.lambda_s,
            system.lambda_d,
            system.tau_online,
            system.tau_predictor,
            system.weight_decay,
        )
    )
    p = np.sign(ld) * (np.abs(ld) + np.sqrt(ld**2 - 4 * eta * to * ls)) / (2 * ls)
    w = np.sqrt(tp / to) * np.abs(p)
    for share in (0.95, 1.05):
        step = share * critical
        w1, w2, th = w * (1 + 1e-6), p * (1 + 1e-6), w + 0
        for _ in range(3000):
            e = th * ld - w2 * w1 * ls
            w1, w2 = w1 + step * (w2 * e / to - eta * w1), w2 + step * (w1 * e / tp - eta * w2)
            th = th + h * (w1 - th)
            if share > 1:  # a flip may be supercritical: it leaves, to a cycle nearby
                w1, w2, th = (np.clip(part, -1e3, 1e3) for part in (w1, w2, th))
        gap = np.max(np.abs([(w1 - w) / w, (w2 - p) / p, (th - w) / w]), axis=0)
        # along the line of fixed points at η = 0 the start's own 1e-6 stays
        assert np.all(gap < 1e-5) if share < 1 else np.all(gap > 1e-3)


@pytest.mark.parametrize(
    ("x", "y"), [("weight-decay", "lambda-d"), ("weight-decay", "step"), ("tau-online", "step")]
)
def test_the_map_changes_where_its_curves_are(x: str, y: str) -> None:
    found = compute_stability_plane(
        x=x, y=y, y_to=40.0 if y == "step" else None, weight_decay=None if x == "weight-decay" else 0.03
    )
    inside = (found.folded > 0) & ~(found.flipped < 0) & ~(found.crossed < 0)
    edge = np.isclose(found.folded, 0, atol=1e-12)
    assert_array_equal((found.stable >= 2)[~edge], inside[~edge])
    figure = figure_stability_plane(found)
    assert clashes(figure) == []
    assert any(isinstance(part, ContourSet) for part in figure.axes[0].collections)
    (image,) = figure.axes[0].images
    shown = np.asarray(image.get_array())
    labels = {text: handle for handle in kind_handles(found.stable) for text in [handle.get_label()]}
    for kind, text, fate in (
        (1, "collapse alone stable", "collapsed"),
        (2, "learned points alone stable", "learned"),
        (3, "both stable", "undecided"),
    ):
        if text in labels:
            colour = labels[text].get_facecolor()[:3]
            assert_allclose(
                shown[found.stable == kind], np.broadcast_to(colour, (np.sum(found.stable == kind), 3))
            )
            # nearest to the colour of its fate
            gaps = {
                name: np.linalg.norm(np.array(to_rgb(mine)) - colour) for name, mine in theme().fates.items()
            }
            assert min(gaps, key=gaps.__getitem__) == fate


def test_every_pair_of_parameters_is_drawn_or_refused_by_name() -> None:
    for x in FIXED:
        for y in FIXED:
            if x == y or {x, y} == {"step", "tau-target"}:
                with pytest.raises(ValueError, match="must"):
                    compute_stability_plane(x=x, y=y, resolution=5)
            else:
                found = compute_stability_plane(x=x, y=y, resolution=5)
                caption = page("stability-plane").caption(found)
                assert f"x = {x}, y = {y}" in caption


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--x", "lambda"), "--x must be one of lambda-s, lambda-d"),
        (("--x", "step", "--y", "step"), "--x and --y must differ, got step twice"),
        (("--lambda-d", "1"), "--lambda-d must be left out where it is an axis"),
        (("--x", "step", "--tau-target", "1"), "--ema-rate must be given in place of --tau-target"),
        (("--x-from", "1"), "--x-from must be below --x-to"),
        (("--y", "lambda-s", "--y-from", "-1"), "--lambda-s must be > 0"),
        (("--ema-rate", "0"), "--ema-rate must be > 0 and <= 1, got 0"),
        (("--order", "late"), "--order must be one of practical, lagged, got 'late'"),
        (("--resolution", "1"), "--resolution must be an integer >= 2"),
    ],
)
def test_axes_that_make_no_sense_are_refused(
    dyn: Dyn, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    code, out, err = dyn("figure", "stability-plane", *words, "--plot", tmp_path / "p.png")
    assert (code, out) == (2, "")
    assert message in err
