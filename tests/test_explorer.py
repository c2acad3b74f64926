"""The explorer without a browser: views, addresses and commands, its page, and its server's refusals."""

from __future__ import annotations

import io
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pytest
from conftest import HANG_S, ROOT, command_environment, report_of
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from analysis.fates.basins import FATES
from dynamics.objectives import linear_objectives
from dynamics.states import ModeState
from dynamics.variants import VARIANTS
from figures.explorer.canvas import Canvas
from figures.explorer.commands import basins_command, commands_of, figure_command, simulate_command
from figures.explorer.page import SLIDERS, Page, Workers
from figures.explorer.picture import arrays_of_view, figure_view
from figures.explorer.presets import PRESETS
from figures.explorer.runs import run_of, told
from figures.explorer.scene import (
    CELLS,
    Lattice,
    frame_of,
    lattice_of,
    plane_of,
    portrait_of,
    start_at,
)
from figures.explorer.server import Explorer, download, view_of
from figures.explorer.standalone import STANDALONE, write_standalone
from figures.explorer.state import (
    PLANES,
    STEPS,
    View,
)
from figures.style import THEMES

DEFAULT = View()


Dyn = Callable[..., tuple[Any, str, str]]

SIZES = st.floats(0.05, 20.0)
WEIGHTS = st.floats(-2.0, 2.0)


def a_view(kept: st.SearchStrategy[tuple[View, ...]]) -> st.SearchStrategy[View]:
    return st.builds(
        lambda ratio, lambda_s, **numbers: View(lambda_s=lambda_s, lambda_d=ratio * lambda_s, **numbers),
        ratio=st.floats(0.0, 0.999),
        lambda_s=SIZES,
        tau_online=SIZES,
        tau_predictor=SIZES,
        tau_target=SIZES,
        weight_decay=st.floats(0.0, 1.0),
        variant=st.sampled_from([name for name in VARIANTS if name != "tied"]),
        objective=st.sampled_from(list(linear_objectives())),
        plane=st.sampled_from(PLANES),
        invariant=WEIGHTS,
        online=WEIGHTS,
        predictor=WEIGHTS,
        target=WEIGHTS,
        extent=SIZES,
        theme=st.sampled_from(list(THEMES)),
        kept=kept,
    )


VIEWS = a_view(st.lists(a_view(st.just(())).map(View.run_view), max_size=3).map(tuple))


# --- views and addresses ------------------------------------------------------------------------------------


@given(VIEWS)
def test_an_address_restores_its_view_to_the_last_bit(view: View) -> None:
    assert View.from_query(view.query()) == view


def test_the_default_view_has_an_empty_query_and_every_name_is_kept() -> None:
    assert View().query() == ""
    everything = View(
        *(0.9, 0.4, 2.0, 3.0, 4.0, 0.01, "full", "raft", 0.5, 0.7, 0.3, "leaf", 0.2, 0.1, 0.2, 0.3, 1.0),
        *("alpha", "dark", (View(lambda_d=0.3),)),
    )
    assert View.from_query(everything.query()) == everything
    assert len(everything.query().split("&")) == 18  # all but w1 and the variant, which are the defaults


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("lambda_s=-1", "`lambda_s` must be finite and > 0, got -1.0"),
        ("lambda_s=nan", "`lambda_s` must be finite, got nan"),
        ("lambda_d=2", "`lambda_d` must be >= 0 and <= λs = 1.0, got 2.0"),
        ("lambda_d=one", "`lambda_d` must be a number, got 'one'"),
        ("variant=ful", "`variant` must be one of full, "),
        ("objective=infonce", "`objective` must be one of byol, byol-prime, raft, got 'infonce'"),
        ("plane=target", "`plane` must be one of weights, leaf, got 'target'"),
        ("tau_online=0", "`tau_online` must be finite and > 0, got 0.0"),
        ("weight_decay=-1", "`weight_decay` must be finite and >= 0, got -1.0"),
        ("extent=0", "`extent` must be > 0, got 0.0"),
        ("step=-1", "`step` must be >= 0, got -1.0"),
        ("step=0.1&variant=tied", "`step` must be 0 for every variant but full, got 0.1 with tied"),
        ("step=2", "`step` must be <= `tau_target` 1.0, got 2.0"),
        ("variant=tied&tau_online=2", "tau"),
        ("parameter=alpha", "`parameter` must be another than alpha for `objective` byol"),
        ("colour=red", "an address must name lambda_s, "),
        ("lambda_d=0.1&lambda_d=0.2", "`lambda_d` must be given once, got 2 values"),
        ("kept=kept%3Dlambda_d%253D0.1", "`kept` must hold views that keep none themselves"),
        ("&".join(f"kept=online%3D0.{k}" for k in range(11, 24)), "`kept` must hold at most 12 trajectories"),
    ],
)
def test_an_address_that_means_nothing_gives_the_default_view_and_says_why(query: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        View.from_query(query)
    view, message = view_of(parse_qs(query))
    assert view == View()
    assert why in message


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_its_address_and_can_be_drawn(name: str) -> None:
    view = PRESETS[name]
    assert View.from_query(view.query()) == view
    frame = frame_of(view, cells=None)
    assert np.all(np.isfinite(frame.run.path))


# --- commands -----------------------------------------------------------------------------------------------


def clicked(view: View, u: float, v: float) -> View:
    return start_at(view, u * view.extent, v * view.extent)


@pytest.mark.parametrize("name", PRESETS)
def test_the_fate_of_a_clicked_start_is_that_of_its_command(dyn: Dyn, name: str) -> None:
    for view in (PRESETS[name], clicked(PRESETS[name], 0.31, -0.47), clicked(PRESETS[name], -0.53, 0.29)):
        words = shlex.split(simulate_command(view))
        report = report_of(dyn, *words[1:])
        ours = run_of(view).report
        assert report["modes"] == [ours]
        assert told(run_of(view)).startswith(f"{ours['fate']}: w1 = ")


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_command_of_every_variant_reproduces_its_run(dyn: Dyn, variant: str) -> None:
    for objective in linear_objectives():
        view = clicked(View(variant=variant, objective=objective, weight_decay=0.02, beta=0.8), 0.4, 0.3)
        words = shlex.split(simulate_command(view))
        assert report_of(dyn, *words[1:])["modes"] == [run_of(view).report]


def test_the_command_of_steps_takes_as_many(dyn: Dyn) -> None:
    report = report_of(dyn, *shlex.split(simulate_command(PRESETS["Large steps"]))[1:])
    assert report["steps"]["n"] <= STEPS
    assert report["steps"]["size"] == 0.5


@pytest.mark.parametrize(
    "view",
    [
        View(variant="fixed-target", target=0.8, tau_online=2.0),
        View(variant="tied", tau_online=2.0, tau_predictor=2.0, weight_decay=0.02),
        View(variant="no-predictor", tau_target=3.0),
        View(plane="leaf", invariant=0.2, tau_predictor=2.0),
        View(plane="leaf", invariant=-0.1, lambda_s=2.0),
        View(plane="leaf", invariant=0.0),
        View(plane="leaf", weight_decay=0.02),
        View(variant="no-ema", objective="byol-prime", alpha=0.5, weight_decay=0.02),
        View(variant="no-stop-gradient", online=0.3),
        View(variant="directset"),
        View(variant="tied", objective="raft", beta=0.8),
    ],
    ids=lambda view: view.query(),
)
def test_the_figure_command_draws_the_same_portrait(dyn: Dyn, view: View) -> None:
    command = figure_command(view)
    assert command is not None
    code, _, err = dyn(*shlex.split(command)[1:], "--out", "portrait.npz")
    assert code == 0, err
    ours = portrait_of(view, manifolds=True)
    with np.load("portrait.npz") as theirs:
        for name in ("u", "v", "du", "dv", "points"):
            np.testing.assert_array_equal(theirs[f"portrait.{name}"], getattr(ours, name))


def test_the_figure_command_takes_the_trajectories_that_lie_on_the_plane() -> None:
    on_leaf = start_at(View(plane="leaf", invariant=-0.09), 0.4, 0.2)  # w2 = 0.5
    kept = replace(on_leaf, online=-0.4, target=-0.3).run_view()
    others = (replace(kept, predictor=0.7), replace(kept, lambda_d=0.4))  # off the leaf, and of another flow
    command = figure_command(replace(on_leaf, kept=(kept, *others)))
    assert command is not None
    words = shlex.split(command)
    assert [words[k + 1] for k, word in enumerate(words) if word == "--start"] == ["0.4,0.2", "-0.4,-0.3"]
    assert "--start none" in str(figure_command(View(plane="leaf", invariant=0.5)))
    other_target = View(variant="fixed-target", target=0.5).run_view()
    found = figure_command(View(variant="fixed-target", target=0.8, kept=(other_target,)))
    assert str(found).count("--start") == 1


def test_the_figure_command_ends_where_the_explorer_does(dyn: Dyn) -> None:
    view = View(variant="no-ema", online=0.5, predictor=-0.3)
    command = str(figure_command(view))
    code, _, err = dyn(*shlex.split(command)[1:], "--out", "portrait.npz")
    assert code == 0, err
    with np.load("portrait.npz") as theirs:
        ends = theirs["orbits.0.forward"][-1]
    final = run_of(view).report["final"]
    np.testing.assert_allclose(ends, [final["online"], final["predictor"]], atol=1e-5)


@pytest.mark.parametrize(
    "view",
    [View(target=0.3), View(variant="no-ema", weight_decay=0.02), View(variant="directset", extent=1.0)],
    ids=lambda view: view.variant,
)
def test_the_basins_command_follows_the_same_starts(dyn: Dyn, view: View) -> None:
    command = basins_command(view)
    assert command is not None
    words = shlex.split(command)
    report = report_of(dyn, *words[1:], "--grid", "20")
    lattice = lattice_of(view, 20)
    assert lattice is not None
    counts = np.bincount(lattice.fate.ravel(), minlength=len(FATES)) / 400
    assert list(report["fractions"].values()) == counts.tolist()


def test_no_command_is_offered_that_would_show_something_else() -> None:
    assert figure_command(View()) is None  # a slice
    assert figure_command(View(variant="fast-predictor")) is None  # it moves along a line
    assert basins_command(View(plane="leaf")) is None
    assert all(command.startswith("dyn ") for command in commands_of(View(plane="leaf")))


# --- page without a browser ---------------------------------------------------------------------------------


class AtOnce(Executor):
    """Works when it is asked to, so that a test need not wait."""

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        done: Future[Any] = Future()
        try:
            done.set_result(work(*args, **kwargs))
        except ValueError as error:
            done.set_exception(error)
        return done


def a_page(view: View = DEFAULT, message: str = "") -> tuple[Page, Callable[[], None]]:
    from bokeh.document import Document

    document = Document()
    page = Page(document, view, message, "/token/export", Workers(AtOnce(), AtOnce(), lambda work: work()))

    def settle() -> None:
        while document.session_callbacks:
            for callback in list(document.session_callbacks):
                document.callbacks.remove_session_callback(callback)
                callback.callback()

    settle()
    return page, settle


def test_what_is_done_for_a_visitor_who_has_gone_is_dropped() -> None:
    from bokeh.document import Document

    waiting: list[Callable[[], Any]] = []
    document = Document()
    page = Page(document, DEFAULT, "", "/token/export", Workers(AtOnce(), AtOnce(), waiting.append))
    (go_on,) = waiting
    page._left(None)
    del document.callbacks  # as bokeh takes a document apart
    go_on()


def test_a_page_shows_the_run_of_its_view_and_ends_with_the_finest_cells() -> None:
    page, _ = a_page(View(weight_decay=0.04, predictor=0.4))
    canvas = page.canvas
    run = run_of(page.view)
    for axis, weights in zip("xy", run.path.T, strict=False):  # (w1, w2), which differ
        np.testing.assert_array_equal(canvas.column("path", axis), weights)
    past = run.on(plane_of(page.view))[1]
    for axis, weights in zip("xy", past.T, strict=True):
        np.testing.assert_array_equal(canvas.column("past", axis), weights)
    assert canvas.fate.text == told(run)
    (image,) = canvas.column("basins", "image")
    assert image.shape == (CELLS[-1], CELLS[-1])
    assert canvas.now.location == 0.04
    assert "saddle-node at 0.0625" in canvas.about.text


@pytest.mark.parametrize("theme", THEMES)
def test_nullclines_have_the_colour_of_the_weight_that_stands_still_on_them(theme: str) -> None:
    page, _ = a_page(View(weight_decay=0.04, predictor=0.4, theme=theme))
    plane, canvas = plane_of(page.view), page.canvas
    seen = set()
    for x, y, colour in zip(
        *(canvas.column("nullclines", name) for name in ("xs", "ys", "colour")), strict=True
    ):
        for axis, rate in zip(plane.axes, plane(x, y), strict=True):
            if colour == THEMES[theme].weights[axis]:
                np.testing.assert_allclose(rate, 0, atol=1e-9)
                seen.add(axis)
    assert seen == set(plane.axes)


def test_arrows_point_along_the_flow() -> None:
    page, _ = a_page(View(weight_decay=0.04, predictor=0.4))
    plane, canvas = plane_of(page.view), page.canvas
    points = np.column_stack([canvas.column("flow", name) for name in "xy"]).reshape(-1, 6, 2)
    assert np.all(np.isnan(points[:, 5]))  # the gaps between arrows
    tail, tip = points[:, 0], points[:, 1]
    along, flow = tip - tail, np.column_stack(plane(*((tail + tip) / 2).T))
    cosine = np.sum(along * flow, axis=1) / np.linalg.norm(along, axis=1) / np.linalg.norm(flow, axis=1)
    assert len(cosine) > 100
    np.testing.assert_allclose(cosine, 1, atol=1e-9)
    (drawn,) = (one for one in canvas.plane.renderers if one.data_source is canvas._sources["flow"])
    assert drawn.visible
    assert drawn.glyph.line_color == THEMES["light"].muted


@pytest.mark.parametrize("name", SLIDERS)
def test_every_slider_moves_its_number(name: str) -> None:
    view = View(objective="byol-prime", plane="leaf")
    page, settle = a_page(view)
    low, high, _ = SLIDERS[name]
    value = low + 0.6 * (min(high, 1.0) - low)
    page.sliders[name].value = value
    settle()
    assert page.message.text == ""
    assert page.view == replace(view, **{name: value})
    assert View.from_query(page.address.text) == page.view
    assert page.plain.text.splitlines() == commands_of(page.view)


def test_a_move_that_no_view_accepts_is_said_and_leaves_the_page_as_it_was() -> None:
    page, settle = a_page()
    page.sliders["lambda_s"].value = 0.3
    settle()
    assert page.view == View()
    assert page.message.visible
    assert page.sliders["lambda_s"].value == 1.0
    page.sliders["lambda_d"].value = 0.2
    settle()
    assert page.view == View(lambda_d=0.2)
    assert not page.message.visible


def test_moves_that_arrive_together_are_drawn_once() -> None:
    page, settle = a_page()
    before = page._generation
    for value in (0.41, 0.42, 0.43):
        page.sliders["lambda_d"].value = value
    page.sliders["weight_decay"].value = 0.01
    settle()
    assert page.view == View(lambda_d=0.43, weight_decay=0.01)
    assert page._generation == before + 1


def test_what_was_computed_for_an_older_view_is_not_drawn() -> None:
    page, settle = a_page()
    older = page._generation
    page._show(View(lambda_d=0.3))
    settle()

    canvas = page.canvas.column("basins", "image")
    late: Future[Lattice | None] = Future()
    late.set_result(lattice_of(View(), 2))
    page._finished(older, [2], late)
    assert page.canvas.column("basins", "image") is canvas


def test_frozen_trajectories_stay_as_they_were_run() -> None:
    page, settle = a_page(View(online=0.3, predictor=0.6))
    page._keep()
    settle()
    page.sliders["lambda_d"].value = 0.2
    settle()
    assert page.view.kept == (View(online=0.3, predictor=0.6),)
    kept = run_of(page.view.kept[0])
    np.testing.assert_array_equal(page.canvas.column("kept", "xs")[0], kept.path[:, 0])
    restored, _ = a_page(View.from_query(page.address.text))
    np.testing.assert_array_equal(restored.canvas.column("kept", "xs")[0], kept.path[:, 0])
    full = tuple(View(online=0.4 + k / 100) for k in range(12))
    page._show(replace(page.view, kept=full))
    settle()
    page._keep()
    settle()
    assert page.view.kept == (*full[1:], page.view.run_view())
    page._try(lambda: replace(page.view, kept=()))
    settle()
    assert page.canvas.column("kept", "xs") == []


def test_a_view_without_a_picture_gives_the_default_one_and_a_sentence() -> None:
    page, _ = a_page(View(variant="fixed-target", objective="raft", target=0.0))
    assert page.view == View()
    assert "This address has no picture" in page.message.text


@pytest.mark.parametrize("theme", THEMES)
def test_every_variant_is_drawn_in_both_themes(theme: str) -> None:
    canvas = Canvas(theme)
    for variant in VARIANTS:
        frame = frame_of(View(variant=variant, theme=theme), cells=None)
        canvas.draw(frame)
        assert canvas.plane.title.text == f"{frame.portrait.name} · following starts"
        np.testing.assert_array_equal(
            canvas.column("start", "x"),
            frame.run.path[:1, list(ModeState._fields).index(frame.portrait.axes[0])],
        )


# --- downloads, files and the command -----------------------------------------------------------------------


@pytest.mark.parametrize("view", [View(), View(plane="leaf", kept=(View(online=0.3),), theme="dark")])
def test_downloads_are_pictures_and_arrays_of_the_view(view: View) -> None:
    with Image.open(io.BytesIO(download(view, "png"))) as picture:
        assert f"λs = {view.lambda_s:g}" in picture.info["Description"]
        assert simulate_command(view) in picture.info["Description"]
    assert ET.fromstring(download(view, "svg")).tag.endswith("svg")
    with np.load(io.BytesIO(download(view, "npz"))) as arrays:
        np.testing.assert_array_equal(arrays["run.path"], run_of(view).path)
        lattice = lattice_of(view, CELLS[-1])
        assert lattice is not None
        np.testing.assert_array_equal(arrays["cells.fate"], lattice.fate)
        assert View.from_query(str(arrays["address"])) == view
        assert ("kept.0.path" in arrays) == bool(view.kept)


def test_the_picture_of_a_view_holds_its_run() -> None:
    frame = frame_of(View(), cells=3)
    (ax,) = figure_view(frame).axes
    drawn = [line.get_xydata() for line in ax.lines]
    assert any(np.array_equal(line, frame.run.path[:, :2]) for line in drawn)
    assert arrays_of_view(frame)["cells.fate"].shape == (3, 3)


def test_standalone_files_fetch_nothing(tmp_path: Path) -> None:
    paths = write_standalone(tmp_path / "pages")
    assert [path.name for path in paths] == [f"explore-{name}.html" for name in STANDALONE]
    for path, view in zip(paths, STANDALONE.values(), strict=True):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"<(script|link)\s[^>]*(src|href)=", text)
        assert told(run_of(view)).split(". Predicted")[0].split(": w1")[1].split(",")[0] in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--port", "70000"), "--port must be from 0 to 65535, got 70000"),
        (("--port", "-1"), "--port must be from 0 to 65535, got -1"),
        (("--port", "x"), "must be an integer, got 'x'"),
        (("--lambda-s", "-1"), "--lambda-s must be finite and > 0, got -1.0"),
        (("--variant", "ful"), "Invalid value for '--variant': must be one of full, "),
        (
            ("--objective", "infonce"),
            "Invalid value for '--objective': must be one of byol, byol-prime, raft",
        ),
        (("--tau-online", "0"), "--tau-online must be finite and > 0, got 0.0"),
        (("--variant", "tied", "--tau-online", "2"), "tau"),
    ],
)
def test_what_cannot_be_explored_is_refused_in_a_sentence(
    dyn: Dyn, words: tuple[str, ...], said: str
) -> None:
    code, out, err = dyn("explore", "--no-browser", *words)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_a_port_that_is_taken_is_refused(dyn: Dyn) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, out, err = dyn("explore", "--no-browser", "--port", port)
    assert (code, out) == (2, "")
    assert err == f"dyn: --port must be one that is free (0 picks one), got {port}\n"


def test_two_explorers_have_addresses_that_nobody_guesses() -> None:
    one, other = Explorer(View(lambda_d=0.7)), Explorer(View())
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{22}\?lambda_d=0\.7", one.address)
    assert one.token != other.token
    for explorer in (one, other):
        explorer.close()


def test_ctrl_c_ends_the_server_and_no_display_is_no_obstacle() -> None:
    environment = {name: value for name, value in command_environment().items() if "DISPLAY" not in name}
    command = [sys.executable, "-m", "cli", "explore", "--lambda-d", "0.7"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().endswith("?lambda_d=0.7\n")
        said = [process.stderr.readline() for _ in range(2)]
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=HANG_S)
    assert (process.returncode, out) == (130, "")
    assert said == ["Ctrl-C ends it\n", "no browser could be opened: copy the address into one\n"]
    assert err == "dyn: interrupted\n"
