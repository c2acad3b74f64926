"""Pictures of sweeps: shares counted by hand, the boundaries of R6 and R15 beside runs, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
from conftest import report_of
from matplotlib.colors import to_hex, to_rgb
from numpy.testing import assert_allclose, assert_array_equal
from picture_checks import clashes

from analysis.fates.margins import leaf_margin
from analysis.sweeps import design, sweep
from analysis.sweeps.fates import SweptFates, check_drawable, swept_fates
from dynamics.integration.ensemble import FATES
from figures.panels.sweeps import boundary_places, cell_edges, swept_handles
from figures.results.sweeps import figure_sweep
from figures.style import SIZES, look, theme

Dyn = Callable[..., tuple[Any, str, str]]

STARTS = {
    "lambda_s": 1.0,
    "ratio": 0.5,
    "online": {"linspace": [-0.95, 0.93, 12]},
    "predictor": {"linspace": [-0.9, 0.98, 11]},
}
DECAYS = {
    "lambda_s": 1.0,
    "ratio": {"linspace": [0.1, 0.9, 5]},
    "weight_decay": {"geomspace": [1e-2, 0.3, 6]},
    "online": {"normal": [0, 0.7]},
    "predictor": {"normal": [0, 0.7]},
}


def _made(folder: Path, parameters: dict[str, Any], **more: Any) -> SweptFates:
    made = design({"parameters": parameters} | more)
    sweep(made, folder / "s.zarr")
    return swept_fates(made, folder / "s.zarr")


def _clashes(found: SweptFates) -> list[str]:
    problems = []
    for size in SIZES:
        with look(size=size):
            problems += clashes(figure_sweep(found))
    return problems


def test_runs_learn_where_the_margin_of_r6_is_positive(tmp_path: Path) -> None:
    found = _made(tmp_path, STARTS)
    assert found.rule == "R6"
    assert found.margin is not None
    assert_array_equal(found.shares["learned"], found.margin > 0)
    assert_array_equal(found.shares["collapsed"], found.margin < 0)
    assert _clashes(found) == []


def test_nothing_is_learned_beyond_the_fold_of_r15(tmp_path: Path) -> None:
    found = _made(tmp_path, DECAYS, samples=20)
    assert (found.rule, found.samples) == ("R15", 20)
    ratio, eta = found.axes["ratio"][:, None], found.axes["weight_decay"]
    assert found.margin is not None
    assert_allclose(found.margin, ratio**2 / 4 - eta, rtol=1e-12, atol=1e-15)
    assert np.all(found.shares["learned"][found.margin < 0] == 0)
    assert np.max(found.shares["learned"]) > 0.2
    assert found.logarithmic == {"ratio": False, "weight_decay": True}
    figure = figure_sweep(found)
    assert (figure.axes[0].get_xscale(), figure.axes[0].get_yscale()) == ("linear", "log")
    assert _clashes(found) == []


def test_shares_are_the_counts_of_the_store(tmp_path: Path) -> None:
    found = _made(tmp_path, DECAYS | {"t_end": 20}, samples=7)
    with xarray.open_zarr(tmp_path / "s.zarr") as data:
        fate = data.fate.values
    for code, name in enumerate(FATES):
        assert_allclose(found.shares[name], np.sum(fate == code, axis=-1) / 7, rtol=1e-15)
    assert np.max(found.shares["undecided"]) > 0.5  # t = 20 is too early for some


def test_one_axis_shows_shares_and_where_theory_has_them_change(tmp_path: Path) -> None:
    start = {"lambda_s": 1.0, "ratio": 0.5, "online": 0.3, "predictor": {"values": [0.9, 0.2, 0.5, 0.7]}}
    found = _made(tmp_path, start)
    (place,) = boundary_places(found)
    # c = −τp r² at w2 = √(0.09 + 0.25); by a straight line between the values 0.5 and 0.7
    assert 0.5 < place < 0.7
    assert place == pytest.approx(math.sqrt(0.34), abs=0.2**2 / 8 * 2 / 1.0)
    (ax,) = figure_sweep(found).axes
    learned = next(line for line in ax.lines if line.get_marker() == "o")
    assert_allclose(learned.get_xydata(), [[0.2, 1], [0.5, 1], [0.7, 0], [0.9, 0]])
    shares = {to_hex(line.get_color()): line.get_ydata() for line in ax.lines if line.get_marker() == "o"}
    for fate, share in found.shares.items():
        if np.any(share > 0):
            assert_allclose(shares[theme().fates[fate]], share[np.argsort(found.axes["predictor"])])
    for handle in swept_handles(found)[:2]:
        assert to_hex(handle.get_color()) == theme().fates[handle.get_label()]
    assert _clashes(found) == []


def test_three_axes_are_a_map_for_each_value_of_the_first(tmp_path: Path) -> None:
    found = _made(tmp_path, STARTS | {"tau_online": {"values": [4.0, 1.0, 0.5]}})
    assert list(found.axes) == ["online", "predictor", "tau_online"]
    reordered = {"tau_online": {"values": [4.0, 1.0, 0.5]}} | STARTS
    (tmp_path / "again").mkdir()
    found = _made(tmp_path / "again", reordered)
    titles = [ax.get_title(loc="left") for ax in figure_sweep(found).axes[:3]]
    assert titles == ["tau online = 4", "tau online = 1", "tau online = 0.5"]
    assert found.margin is not None
    assert_array_equal(found.shares["learned"], found.margin > 0)
    assert _clashes(found) == []
    mesh = figure_sweep(found).axes[0].collections[0]
    ends = [np.array(mesh.to_rgba(share)[:3]) for share in (0.0, 1.0)]
    for fate, end, other in (("collapsed", *ends), ("learned", *ends[::-1])):
        colour = np.array(to_rgb(theme().fates[fate]))
        assert np.linalg.norm(end - colour) < np.linalg.norm(other - colour)


def test_values_in_any_order_are_drawn_where_they_belong(tmp_path: Path) -> None:
    parameters = STARTS | {"online": {"values": [0.5, -0.7, 0.1]}, "predictor": {"values": [0.6, -0.4]}}
    found = _made(tmp_path, parameters)
    (mesh,) = (part for part in figure_sweep(found).axes[0].collections if hasattr(part, "get_coordinates"))
    drawn = np.reshape(mesh.get_array(), (2, 3))
    for row, w2 in enumerate((-0.4, 0.6)):
        for column, w1 in enumerate((-0.7, 0.1, 0.5)):
            assert drawn[row, column] == (leaf_margin(w1, w2, 0.5, 1, 1) > 0)


@pytest.mark.parametrize(
    "change",
    [
        {"predictor": {"normal": [0, 1]}},  # R6 needs w2
        {"lambda_s": {"uniform": [0.5, 1]}},
        {"ratio": -0.5},
        {"weight_decay": {"uniform": [0, 0.1]}},
    ],
)
def test_no_boundary_is_drawn_where_what_it_depends_on_is_drawn_at_random(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    found = _made(tmp_path, STARTS | change, samples=2)
    assert found.rule is None
    assert found.margin is None
    figure_sweep(found)


def test_no_boundary_is_drawn_for_variants_of_other_laws(tmp_path: Path) -> None:
    assert _made(tmp_path, STARTS, settings={"variant": "no-predictor"}).rule is None


def test_edges_lie_half_way_also_in_the_logarithm_and_around_one_value() -> None:
    assert_allclose(cell_edges(np.array([1.0, 100.0]), logarithmic=True), [0.1, 10.0, 1000.0])
    assert_allclose(cell_edges(np.array([2.0])), [1.0, 3.0])
    assert_allclose(cell_edges(np.array([0.0])), [-0.5, 0.5])


REFUSED = {
    "no axis": (
        {"lambda_s": 1, "ratio": 0.5, "online": {"normal": [0, 1]}},
        "1 to 3 axes, got 0: samples alone",
    ),
    "four axes": (
        STARTS | {"tau_online": {"values": [1, 2]}, "tau_target": {"values": [1, 2]}},
        "1 to 3 axes, got 4: online, predictor, tau_online, tau_target",
    ),
    "many panels": (
        {"target": {"linspace": [0, 1, 13]}} | STARTS,
        "a first axis of at most 12 values where there are three, as it has a panel for each, got 13 of target",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_sweeps_without_a_picture_are_refused(case: str) -> None:
    parameters, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        check_drawable(design({"parameters": parameters, "samples": 2}))


SPEC = """
samples = 2

[parameters]
lambda_s = 1
ratio = 0.5
online = { values = [0.1, 0.3] }
predictor = { values = [0.2, 0.8] }
"""


def test_directions_of_matrices_are_counted_by_rank(tmp_path: Path) -> None:
    spec = {
        "kind": "matrices",
        "samples": 3,
        "settings": {"lambda_s": [1.0, 1.5, 2.0, 1.2], "lambda_d": [0.9, 0.9, 0.8, 0.1]},
        "parameters": {
            "dim": {"values": [2, 3]},
            "weight_decay": {"values": [0.0, 0.15, 2.0]},
            "t_end": 60,
            "init_online": 1.0,
        },
    }
    made = design(spec)
    sweep(made, tmp_path / "s.zarr")
    found = swept_fates(made, tmp_path / "s.zarr")
    assert (found.counted, found.rule, found.margin, found.samples) == ("directions", None, None, 3)
    with xarray.open_zarr(tmp_path / "s.zarr") as data:
        sizes = data.online_singular_values.values[..., :3]  # NaN beyond dim
        rank = data["rank"].values
    by_hand = np.array([[[rank[i, j, k] / (2, 3)[i] for k in range(3)] for j in range(3)] for i in range(2)])
    assert_allclose(found.shares["learned"], by_hand.mean(-1))
    assert_allclose(found.shares["learned"] + found.shares["collapsed"], 1)
    assert np.all(found.shares["learned"][:, 0] == 1)
    assert np.all(found.shares["learned"][:, 2] == 0)  # beyond η* of every mode: λs r²/4 <= 0.3
    assert np.nanmax(sizes[:, 2]) < 1e-3
    assert _clashes(found) == []
    assert figure_sweep(found).get_suptitle() == "What became of the directions of 18 runs"


def test_directions_of_runs_that_spent_their_steps_are_undecided(tmp_path: Path) -> None:
    spec = {
        "kind": "matrices",
        "settings": {"lambda_s": [1.0, 1.5], "lambda_d": [0.9, 0.9], "max_steps": 3},
        "parameters": {"dim": 1, "init_online": {"values": [0.5, 1.0]}, "t_end": 60, "seed": 0},
    }
    made = design(spec)
    sweep(made, tmp_path / "s.zarr")
    found = swept_fates(made, tmp_path / "s.zarr")
    assert_allclose(found.shares["undecided"], 1)
    assert_allclose(found.shares["learned"] + found.shares["collapsed"], 0)


def test_a_finished_store_is_drawn_without_a_run(dyn: Dyn, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(SPEC, encoding="utf-8")
    report_of(dyn, "sweep", "s.toml", "--out", "s.zarr")
    done = report_of(dyn, "sweep", "s.toml", "--out", "s.zarr", "--plot", "p.svg")
    assert (done["resumed"], done["total"]) == (8, 8)
    assert "boundary of collapse" in (tmp_path / "p.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("spec", "words", "message"),
    [
        (SPEC, ("--plot", "p.txt"), "a file name must end in .png, .svg, .pdf"),
        (SPEC, ("--plot", "p.png", "--dry-run"), "--plot must go without --dry-run"),
        (
            SPEC.replace("{ values = [0.1, 0.3] }", "1").replace("{ values = [0.2, 0.8] }", "1"),
            (),
            "1 to 3 axes",
        ),
        (
            'kind = "matrices"\nkeep = ["drift"]\n[settings]\ndata = "digits"\n[parameters]\n'
            "dim = { values = [2, 3] }\n",
            (),
            "--plot must go with a spec whose keep holds rank, got keep = ['drift']",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_anything_runs(
    dyn: Dyn, tmp_path: Path, spec: str, words: tuple[str, ...], message: str
) -> None:
    (tmp_path / "s.toml").write_text(spec, encoding="utf-8")
    code, out, err = dyn("sweep", "s.toml", "--out", "s.zarr", *(words or ("--plot", "p.png")))
    assert (code, out) == (2, "")
    assert message in err
    assert not (tmp_path / "s.zarr").exists()
    assert not (tmp_path / "p.png").exists()
