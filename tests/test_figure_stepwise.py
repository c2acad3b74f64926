"""The page `modes`: its curves and escape times against an integration by SciPy."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp

from figures.gallery.stepwise import Stepwise, caption_modes, compute_modes, figure_modes

LAMBDA_D = np.array([0.9, 0.6, 0.4, 0.27, 0.18])


@cache
def modes() -> Stepwise:
    return compute_modes()


@cache
def drawn() -> Figure:
    return figure_modes(modes())


def curves() -> tuple[list, list, list]:
    """Lines with EMA, without, and the dots of escape times."""
    lines = drawn().axes[0].lines
    return lines[:5], lines[5:10], lines[10:]


def test_modes_follow_the_flow_of_tied_weights() -> None:
    for line, ld in zip(curves()[1], LAMBDA_D, strict=True):
        ts = line.get_xdata()
        run = solve_ivp(
            lambda t, w, ld=ld: w**2 * (ld - w), (0, ts[-1]), [0.01], t_eval=ts, rtol=1e-11, atol=1e-14
        )
        # errors grow on the way out, where dw/dt depends on w², and shrink again at rest
        assert_allclose(line.get_ydata(), run.y[0], atol=1e-7)


def test_curves_with_ema_follow_the_full_flow() -> None:
    for line, ld in zip(curves()[0], LAMBDA_D, strict=True):

        def flow(t: float, x: np.ndarray, ld: float = ld) -> list[float]:
            w1, w2, th = x
            e = th * ld - w2 * w1
            return [w2 * e, w1 * e, w1 - th]

        ts = line.get_xdata()
        run = solve_ivp(flow, (0, ts[-1]), [0.01] * 3, t_eval=ts, rtol=1e-10, atol=1e-13, method="LSODA")
        assert_allclose(line.get_ydata(), run.y[1], atol=1e-4)


def test_dots_are_where_the_curves_reach_half_of_their_ratio() -> None:
    for dot, line, ld in zip(curves()[2], curves()[1], LAMBDA_D, strict=True):
        (t,), (height,) = dot.get_xdata(), dot.get_ydata()
        assert height == pytest.approx(ld / 2, rel=1e-14)
        # 600 points over 1.6 decades: linear interpolation errs by (0.6 %)² of the way
        assert np.interp(t, line.get_xdata(), line.get_ydata()) == pytest.approx(height, rel=1e-2)
        assert dot.get_color() == line.get_color()
        w, half = 0.01, ld / 2
        exact = (1 / w - 1 / half) / ld + np.log(
            half * (ld - w) / (w * (ld - half))
        ) / ld**2  # ∫ dw/(w²(λd − w))
        assert t == pytest.approx(exact, rel=1e-9)


def test_modes_leave_in_the_order_of_their_ratios() -> None:
    times = [dot.get_xdata()[0] for dot in curves()[2]]
    assert times == sorted(times)


def test_the_staircase_counts_the_modes() -> None:
    line = drawn().axes[1].lines[0]
    total = sum(np.asarray(curve.get_ydata()) / ld for curve, ld in zip(curves()[1], LAMBDA_D, strict=True))
    assert_allclose(line.get_ydata(), total, rtol=1e-12)
    assert line.get_ydata()[-1] == pytest.approx(5, abs=1e-6)


def test_small_starts_wait_as_one_over_the_start() -> None:
    lines = drawn().axes[2].lines
    for limit, curve, ld in zip(lines[0:10:2], lines[1:10:2], LAMBDA_D, strict=True):
        w = limit.get_xdata()
        assert_allclose(limit.get_ydata() * w * ld, 1, rtol=1e-12)
        # t λd w = 1 + (w/r)(ln(r/w − 1) − 2), of which the second term is small at the smallest start
        assert_allclose(curve.get_ydata()[0] * w[0] * ld, 1, atol=10 * w[0] / ld)
    assert [line.get_ydata()[0] for line in lines[10:]] == list(modes().escape)


def test_labels_name_the_ratios_and_the_caption_the_times() -> None:
    labels = [text.get_text() for text in drawn().axes[0].texts]
    assert labels == [f"$r = {ld:.3g}$" for ld in LAMBDA_D]
    assert ", ".join(f"{t:.4g}" for t in modes().escape) in caption_modes(modes())


def test_modes_are_sorted_and_rates_are_used() -> None:
    found = compute_modes(lambda_d=(0.2, 0.8), lambda_s=2.0, tau=3.0, start=0.02)
    assert found.parameters["lambda_d"] == (0.8, 0.2)
    assert_allclose(found.ratios, [0.4, 0.1], rtol=1e-14)
    base = compute_modes(lambda_d=(0.8, 0.2), lambda_s=2.0, tau=1.0, start=0.02)
    for slower, unit in (
        (found.escape, base.escape),
        (found.limits, base.limits),
        (found.escapes, base.escapes),
    ):
        assert_allclose(slower, 3 * unit, rtol=1e-12)  # τ is the unit of time without EMA
    slow = compute_modes(lambda_d=(0.8, 0.2), lambda_s=2.0, tau=1.0, start=0.02, tau_target=20.0)
    assert_allclose(slow.exact, base.exact, rtol=1e-13)
    assert np.max(np.abs(slow.integrated - base.integrated)) > 0.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"start": 0.1}, "`start` must be less than half of the smallest ratio, 0.09, got 0.1"),
        ({"start": -0.1}, "`weight` must be > 0 to escape, got -0.1"),
        ({"lambda_d": (0.5, 0.0)}, "`lambda_d` must be > 0 for this closed form, got 0.0"),
        ({"lambda_d": ()}, "must hold one eigenvalue a mode"),
        ({"tau": 0.0}, "`tau_online` must be finite and > 0, got 0.0"),
    ],
)
def test_nonsense_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compute_modes(**settings)
