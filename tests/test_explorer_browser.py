"""The explorer in a browser: every control, a click, reloads, downloads, and that nothing from outside is asked for."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, command_environment, report_of
from PIL import Image

from figures.explorer.page import SLIDERS
from figures.explorer.presets import PRESETS
from figures.explorer.standalone import STANDALONE, write_standalone
from figures.explorer.state import View
from figures.style import THEMES

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium: apt-get install chromium"),
    # Playwright's event loop leaves its sockets to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

Dyn = Callable[..., tuple[Any, str, str]]
PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Address of a running explorer, without a query string."""
    command = [sys.executable, "-m", "cli", "explore", "--no-browser"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=command_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
        errors = process.stderr.read()
    assert not re.search("ERROR|Traceback", errors), (
        errors
    )  # of the server, which reports what failed in a page


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that may ask 127.0.0.1 alone and must not complain."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    made = context.new_page()
    made.set_default_timeout(PATIENCE_MS)
    strangers: list[str] = []
    complaints: list[str] = []

    def judge(route: Any) -> None:
        if re.match(r"(http://127\.0\.0\.1:|file:|data:|blob:)", route.request.url):
            route.continue_()
        else:
            strangers.append(route.request.url)
            route.abort()

    made.route("**/*", judge)
    made.on(
        "console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None
    )
    made.on("pageerror", lambda error: complaints.append(str(error)))
    yield made
    context.close()
    assert (strangers, complaints) == ([], [])


def opened(page: Any, address: str, view: View | str = "") -> Any:
    """Open a view and wait until its cells are drawn."""
    query = view if isinstance(view, str) else view.query()
    page.goto(f"{address}?{query}" if query else address)
    settle(page)
    return page


def settle(page: Any) -> None:
    page.wait_for_function(
        "() => window.Bokeh?.documents?.[0]?.get_model_by_name('plane')?.title.text.match(/of \\d+ starts/)"
    )


def change(page: Any, act: Callable[[], Any]) -> None:
    """Do something that changes the view, and wait until its new address and its cells are there."""
    before = page.url
    act()
    page.wait_for_function("before => location.href !== before", arg=before)
    settle(page)


def text(page: Any, name: str) -> str:
    """Text of a part of the page, as its model has it."""
    return page.evaluate("name => Bokeh.documents[0].get_model_by_name(name).text", name)


def view_of_page(page: Any) -> View:
    return View.from_query(page.url.partition("?")[2])


def commands(page: Any) -> list[str]:
    return text(page, "plain").splitlines()


def control(page: Any, name: str) -> Any:
    """Part of the page of a model."""
    root = page.evaluate("name => Bokeh.documents[0].get_model_by_name(name).id", name)
    return page.locator(f"[data-model-id='{root}'], .bk-{root}").first


def element(page: Any, name: str, inside: str) -> Any:
    """An element within the shadow of a model's view."""
    handle = page.evaluate_handle(
        "([name, inside]) => Bokeh.index.get_one_by_id(Bokeh.documents[0].get_model_by_name(name).id)"
        ".shadow_el.querySelector(inside)",
        [name, inside],
    ).as_element()
    assert handle is not None, (name, inside)
    return handle


def click_at(page: Any, u: float, v: float) -> None:
    """Click a place of the plane, in its own coordinates."""
    x, y = page.evaluate(
        """([u, v]) => {
            const view = Bokeh.index.get_one_by_id(Bokeh.documents[0].get_model_by_name('plane').id)
            const frame = view.frame
            const box = view.el.getBoundingClientRect()
            return [box.left + frame.x_scale.compute(u), box.top + frame.y_scale.compute(v)]
        }""",
        [u, v],
    )
    page.mouse.click(x, y)


def test_a_clicked_start_has_the_fate_that_its_command_reports(page: Any, address: str, dyn: Dyn) -> None:
    opened(page, address, View(lambda_d=0.6))
    for u, v in ((-0.7, 0.8), (0.1, 0.9), (0.4, -0.8)):
        change(page, lambda u=u, v=v: click_at(page, u, v))
        view = view_of_page(page)
        pixel = 3.0 / 400  # of the window, whose sides are 3 wide
        np.testing.assert_allclose([view.online, view.predictor], [u, v], atol=pixel)
        (mode,) = report_of(dyn, *shlex.split(commands(page)[0])[1:])["modes"]
        said = text(page, "fate")
        assert said.startswith(f"{mode['fate']}: ")
        assert f"Predicted: {mode['predicted']['fate']} by theory" in said
        assert control_text(page, "fate") == re.sub(r"\s+", " ", said)


def control_text(page: Any, name: str) -> str:
    return re.sub(r"\s+", " ", element(page, name, ".bk-clearfix").inner_text()).strip()


def test_every_slider_obeys_the_keyboard(page: Any, address: str) -> None:
    opened(page, address, View(objective="byol-prime", plane="leaf"))
    for name, (_, _, step) in SLIDERS.items():
        before = getattr(view_of_page(page), name)
        change(page, lambda name=name: element(page, name, ".noUi-handle").press("ArrowRight"))
        after = getattr(view_of_page(page), name)
        assert after == pytest.approx(before + step, abs=1e-9), name
    assert text(page, "message") == ""


def test_every_list_button_and_field_obeys(page: Any, address: str) -> None:
    opened(page, address)
    for name, choice in (
        ("variant", "tied"),
        ("objective", "byol-prime"),
        ("parameter", "beta"),
        ("variant", "full"),
    ):
        change(page, lambda name=name, choice=choice: element(page, name, "select").select_option(choice))
        assert getattr(view_of_page(page), name) == choice
    preset = "Leaf c = −0.1: a saddle decides the sign"
    change(page, lambda: element(page, "preset", "select").select_option(preset))
    assert view_of_page(page) == PRESETS[preset]
    change(page, lambda: element(page, "planes", ".bk-btn").click())
    assert view_of_page(page).plane == "weights"
    for name, typed in (("online", "0.7"), ("predictor", "-0.2")):
        element(page, name, "input").fill(typed)
        element(page, name, "input").press("Tab")
    change(page, lambda: element(page, "run", "button").press("Enter"))
    assert (view_of_page(page).online, view_of_page(page).predictor) == (0.7, -0.2)
    change(page, lambda: element(page, "keep", "button").click())
    assert view_of_page(page).kept == (view_of_page(page).run_view(),)
    change(page, lambda: element(page, "clear", "button").click())
    assert view_of_page(page).kept == ()
    element(page, "extent", "input").fill("0.9")
    change(page, lambda: element(page, "extent", "input").press("Enter"))
    assert view_of_page(page).extent == 0.9
    element(page, "copy", "button").click()
    assert page.evaluate("() => navigator.clipboard.readText()") == text(page, "plain")


def test_a_reload_and_another_theme_restore_the_view(page: Any, address: str) -> None:
    view = View(weight_decay=0.03, online=0.7, parameter="lambda-d", kept=(View(online=0.3),))
    opened(page, address, view)
    page.reload()
    settle(page)
    assert view_of_page(page) == view
    fate = text(page, "fate")
    with page.expect_navigation():
        element(page, "theme", "select").select_option("dark")
    settle(page)
    assert text(page, "fate") == fate
    assert view_of_page(page).theme == "dark"
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(22, 25, 29)"


def test_downloads_open(page: Any, address: str, tmp_path: Path) -> None:
    opened(page, address, View(variant="no-ema", online=0.3))
    for kind in ("png", "svg", "npz"):
        with page.expect_download() as saved:
            element(page, "downloads", f"a[href*='.{kind}']").click()
        path = tmp_path / saved.value.suggested_filename
        assert path.name == f"explore.{kind}"
        saved.value.save_as(path)
    with Image.open(tmp_path / "explore.png") as picture:
        assert "no-ema" in picture.info["Description"]
        assert min(picture.size) > 300
    assert ET.parse(tmp_path / "explore.svg").getroot().tag.endswith("svg")
    with np.load(tmp_path / "explore.npz") as arrays:
        assert View.from_query(str(arrays["address"])) == view_of_page(page)
        assert arrays["cells.fate"].shape == (180, 180)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("lambda_s=-1", "This address has no view, so the default one is shown: "),
        ("colour=red", "This address has no view, so the default one is shown: "),
        ("variant=fixed-target&objective=raft&target=0", "This address has no picture"),
    ],
)
def test_an_address_without_a_view_shows_the_default_one(
    page: Any, address: str, query: str, said: str
) -> None:
    opened(page, address, query)
    assert said in text(page, "message")
    assert (
        commands(page)[0]
        == "dyn simulate --lambda-s 1 --lambda-d 0.5 --online 0.1 --predictor 0.1 --target 0.1"
    )


def test_a_download_of_no_view_is_refused(page: Any, address: str) -> None:
    answer = page.request.get(f"{address}/export.png?lambda_s=-1")
    assert answer.status == 400
    assert "`lambda_s` must be finite and > 0" in answer.text()
    assert page.request.get(address.rpartition("/")[0] + "/explore").status == 404  # without the token


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (800, 600)])
def test_nothing_is_wider_than_the_window_or_overlaps(
    page: Any, address: str, theme: str, width: int, height: int
) -> None:
    page.set_viewport_size({"width": width, "height": height})
    opened(page, address, View(theme=theme, plane="leaf", parameter="invariant"))
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
    boxes = page.evaluate(
        """names => names.map(name => {
            const view = Bokeh.index.get_one_by_id(Bokeh.documents[0].get_model_by_name(name).id)
            const box = view.el.getBoundingClientRect()
            return [name, box.left, box.top, box.right, box.bottom]
        })""",
        [
            "preset",
            "plane",
            "fate",
            "legend",
            "notes",
            "diagram",
            "about",
            "course",
            "drift",
            "commands",
            *SLIDERS,
        ],
    )
    seen = [box for box in boxes if box[3] > box[1]]  # not hidden
    for k, (name, left, top, right, bottom) in enumerate(seen):
        for other, left_, top_, right_, bottom_ in seen[k + 1 :]:
            overlap = min(right, right_) - max(left, left_) > 1 and min(bottom, bottom_) - max(top, top_) > 1
            assert not overlap, (name, other)


def test_standalone_files_show_their_views_without_a_server(page: Any, tmp_path: Path) -> None:
    for path, name in zip(write_standalone(tmp_path), STANDALONE, strict=True):
        page.goto(path.as_uri())
        page.wait_for_function("() => window.Bokeh?.documents?.[0]?.is_idle")
        assert json.dumps(text(page, "fate")).startswith('"learned: w1 = '), name
