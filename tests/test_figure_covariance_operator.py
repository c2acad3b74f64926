"""The page `covariance-operator`: what its lines are, when it says the operator is indefinite, what it refuses."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import solve_ivp

from figures.gallery.covariance_operator import (
    SemidefiniteRuns,
    caption_covariance_operator,
    compute_covariance_operator,
    figure_covariance_operator,
)
from figures.style import look

EXAMPLES = [((1.0, 10.0), (0.05, 0.9), (0.18, 0.001)), ((1.0, 2.0), (0.5, 0.9), (2.0, 0.1))]


@cache
def found() -> SemidefiniteRuns:
    return compute_covariance_operator()


@pytest.mark.parametrize("k", [0, 1])
def test_runs_are_those_of_the_mean_field_flow_written_out(k: int) -> None:
    lambda_s, r, start = map(np.array, EXAMPLES[k])

    def operator(w: np.ndarray) -> np.ndarray:
        s = np.sum(lambda_s * w**2)
        u = 1 / (1 + s)
        pulled = lambda_s * w
        return 2 * (np.diag(lambda_s * r) - (1 - (u + u**2) / 2) * np.outer(pulled, pulled) / s)

    run = found().runs[k]
    exact = solve_ivp(
        lambda t, w: operator(w) @ w, (0, 4), start, t_eval=run.ts, method="DOP853", rtol=1e-12, atol=1e-14
    ).y.T
    # the page integrates to 1e-9 per step, over hundreds of steps
    assert_allclose(run.weights, exact, rtol=0, atol=1e-6)
    assert_allclose(run.lowest, [np.linalg.eigvalsh(operator(w))[0] for w in exact], rtol=0, atol=1e-4)


def test_the_sign_of_the_lowest_eigenvalue_is_decided_by_the_number_beneath() -> None:
    for run in found().runs:
        assert_array_equal(run.lowest < 0, run.excess > 0)
    first, second = found().runs
    assert first.turns == pytest.approx(0.35, abs=0.02)
    assert first.lowest.min() == pytest.approx(-0.026, abs=0.0005)
    assert np.all(first.lowest[first.ts >= first.turns] < 0)  # it does not recover
    assert second.lowest[0] == pytest.approx(-0.76, abs=0.005)
    assert second.lowest[-1] > 0


@pytest.mark.parametrize(("room", "order"), [("double", (0, 2, 1, 3)), ("single", (0, 1, 2, 3))])
def test_each_run_has_a_panel_of_eigenvalues_and_one_beneath(room: str, order: tuple[int, ...]) -> None:
    with look(size=room):
        axes = figure_covariance_operator(found()).axes
    for k, run in enumerate(found().runs):
        above, below = axes[order[2 * k]], axes[order[2 * k + 1]]
        for ax, values in ((above, run.lowest), (below, run.excess)):
            assert_array_equal(ax.lines[-1].get_ydata(), values)
            assert_array_equal(ax.lines[-1].get_xdata(), run.ts)
        assert "r_i" in below.get_ylabel()


def test_captions_and_headlines_say_what_the_runs_did() -> None:
    caption = caption_covariance_operator(found())
    assert "the first is indefinite from t = 0.35 on, by 0.026 at most" in caption
    assert (
        "the second is indefinite from the start, by 0.76 at most (t = 0), and no longer is at t = 4"
        in caption
    )
    assert "indefinite" in figure_covariance_operator(found()).get_suptitle()
    # one mode alone, from below its saturation: semidefinite throughout
    tame = compute_covariance_operator(
        first_lambda_s=(1.0,), first_ratios=(0.5,), first_start=(0.1,), second_start=(0.0, 0.01), t_end=1.0
    )
    assert np.isnan(tame.runs[0].turns)
    assert "stays positive semidefinite" in figure_covariance_operator(tame).get_suptitle().replace("\n", " ")
    assert "the first is semidefinite at all times shown" in caption_covariance_operator(tame)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"t_end": 0.0}, "`t_end` must be finite and > 0, got 0"),
        ({"points": 1}, "`points` must be >= 2, got 1"),
        ({"first_ratios": (0.5,)}, "`first_ratios` must be 2 numbers, as `first_lambda_s`, got 1"),
        ({"second_start": (0.1, 0.2, 0.3)}, "`second_start` must be 2 numbers, as `second_lambda_s`, got 3"),
        ({"second_start": (0.0, 0.0)}, "`second_start` must be finite and have an entry that is not 0"),
        ({"first_ratios": (0.5, 1.5)}, "`first_ratios` must be finite and > 0 and <= 1"),
        ({"temperature": 0.0}, "`temperature` must be finite and > 0, got 0"),
    ],
)
def test_nonsense_is_refused_by_the_name_of_the_parameter(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        compute_covariance_operator(**parameters)
