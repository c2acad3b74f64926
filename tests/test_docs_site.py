"""The documentation site: every row of every table has a page, every page is found, and the site works offline."""

from __future__ import annotations

import ast
import contextlib
import doctest
import io
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import site_docstrings
import site_pages
from conftest import ROOT

import dyn
from analysis.results import RESULTS
from cli import COMMANDS
from figures.explorer.standalone import STANDALONE
from figures.gallery.registry import PAGES

DOCS = ROOT / "docs"
TUTORIALS = ("student", "theorist", "engineer")
SLOW = ("engineer",)  # it compiles three training programs
CHROMIUM = shutil.which("chromium")
PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return site_pages.all_pages()


# --- settings and navigation ----------------------------------------------------------------------------------


def test_the_settings_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    settings = runpy.run_path(str(DOCS / "conf.py"))
    assert settings["project"] == "dyn"
    assert callable(settings["setup"])
    # a cell that fails is a warning, so the build must fail at warnings
    assert re.search(r"^docs:.*\n\t.* -m sphinx .*-W", (ROOT / "Makefile").read_text("utf-8"), re.M)


def toctree_of(text: str) -> list[str]:
    """Documents that the tables of contents of a page name, as they are written."""
    blocks = re.findall(r"^(?:```\{toctree\}|\.\. toctree::)\n(.*?)(?=^```|\Z)", text, re.M | re.S)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    named = [re.sub(r"^.*<(.+)>$", r"\1", line) for line in lines]
    return [name for name in named if re.fullmatch(r"[\w./-]+", name)]


def reachable(sources: dict[str, str], start: str = "index") -> set[str]:
    """Documents that a reader reaches from the first page through tables of contents alone."""
    found, todo = {start}, [start]
    while todo:
        document = todo.pop()
        folder = Path(document).parent
        for name in toctree_of(sources[document]):
            target = (folder / name).as_posix()
            assert target in sources, f"{document} lists {target}, which is not there"
            if target not in found:
                found.add(target)
                todo.append(target)
    return found


def test_every_document_is_in_a_table_of_contents(pages: dict[str, str]) -> None:
    written = {
        path.relative_to(DOCS).with_suffix("").as_posix(): path.read_text("utf-8")
        for path in (*DOCS.glob("*.md"), *DOCS.glob("tutorials/*.md"))
        if path.name not in site_pages.REPLACED
    }
    generated = {f"generated/{Path(name).with_suffix('')}": text for name, text in pages.items()}
    sources = written | generated
    assert reachable(sources) == set(sources)


def test_what_a_page_links_to_has_a_page(pages: dict[str, str]) -> None:
    shown = {f"generated/{name}" for name in pages}
    for home in (*site_pages.REPLACED.values(), *site_pages.OUTSIDE.values()):
        assert home in shown or (DOCS / home).exists()
    for path in (*DOCS.glob("*.md"), *DOCS.glob("tutorials/*.md")):
        for link in re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", path.read_text("utf-8")):
            target = (path.parent / link).resolve()
            assert target.exists(), f"{path.name} links to {link}"
            inside = target.is_relative_to(DOCS)
            assert inside or site_pages.home_of(target), f"{path.name} links to {link}, which the site lacks"


def test_links_of_a_borrowed_page_lead_to_documents_of_the_site() -> None:
    text = "[a](../docs/results.md) [b](../docs/guide.md#the-flow) [c](../README.md) [d](https://x.org)"
    assert site_pages.relinked(text, "benchmarks/README.md") == (
        "[a](/generated/results/index.rst) [b](/guide.md#the-flow) [c](/index.md) [d](https://x.org)"
    )


# --- rows have pages ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_a_page_with_its_help(name: str, pages: dict[str, str]) -> None:
    page = pages[f"commands/{name}.rst"]
    printed = site_pages.help_of(name)
    assert f"Usage: dyn {name}" in printed
    assert [line for line in printed.splitlines() if line.strip() not in page] == []
    assert f"<{name}>`" in pages["commands/index.rst"]


def test_a_command_that_is_not_there_is_no_page() -> None:
    with (
        contextlib.redirect_stderr(io.StringIO()),
        pytest.raises(RuntimeError, match="dyn nothing --help ended with 2"),
    ):
        site_pages.help_of("nothing")


def test_every_result_has_an_entry_with_its_statement_source_and_code(pages: dict[str, str]) -> None:
    parts = "".join(text for name, text in pages.items() if name.startswith("results/"))
    for name, result in RESULTS.items():
        entry = parts.partition(f".. _{name}:\n")[2].partition("\n.. _")[0]
        assert site_pages.escaped(result.statement) in entry
        assert f":Source: {site_pages.escaped(result.source)}" in entry
        assert f":Code: :py:obj:`{result.code}`" in entry
        assert parts.count(f".. _{name}:\n") == 1
        assert f":ref:`{name} <{name}>`" in pages["results/index.rst"]


def test_every_erratum_has_a_row() -> None:
    printed = {number for result in RESULTS.values() for number in re.findall(r"\bE\d+\b", result.correction)}
    rows = site_pages.errata()
    assert {row[0] for row in rows} == printed
    assert [row for row in rows if not row[2]] == []


def test_the_code_of_every_result_is_in_the_reference(pages: dict[str, str]) -> None:
    described = {
        name
        for page, text in pages.items()
        if page.startswith("reference/")
        for name in re.findall(r"^\.\. automodule:: (\S+)", text, re.M)
    }
    for result in RESULTS.values():
        module = result.code
        while module and not (ROOT / f"{module.replace('.', '/')}.py").exists():
            module = module.rpartition(".")[0]
        assert module in described, f"{result.id}: {result.code}"


@pytest.mark.parametrize("name", PAGES)
def test_a_figure_has_a_page_and_a_thumbnail(name: str, pages: dict[str, str]) -> None:
    assert (DOCS / "gallery" / f"{name}.png").exists()
    page = pages[f"gallery/{name}.rst"]
    assert site_pages.escaped(site_pages.captions()[name]) in page
    assert f"dyn figure {name} --plot" in page
    assert (
        f".. figure:: /generated/thumbnails/{name}.webp\n      :target: {name}.html"
        in pages["gallery/index.rst"]
    )


def test_a_figure_without_a_caption_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_pages, "captions", dict)
    with pytest.raises(ValueError, match=r"figure figure-5 must have its caption in docs/gallery.md"):
        site_pages.gallery_pages()


def test_thumbnails_are_small_pictures_of_every_figure(tmp_path: Path) -> None:
    from PIL import Image

    site_pages.write_thumbnails(tmp_path)
    assert set(PAGES) <= {path.stem for path in tmp_path.glob("*.webp")}
    for path in tmp_path.glob("*.webp"):
        with Image.open(path) as picture, Image.open(DOCS / "gallery" / f"{path.stem}.png") as whole:
            assert picture.width <= site_pages.WIDTH
            # sizes are rounded to pixels
            assert abs(picture.height - picture.width * whole.height / whole.width) <= 1


def test_every_view_of_the_explorer_is_shown(pages: dict[str, str]) -> None:
    assert set(site_pages.EXPLORED) == set(STANDALONE)
    for name in STANDALONE:
        assert f"explore-{name}.html" in pages["gallery/explorer.rst"]


def test_every_public_name_of_dyn_is_in_the_reference(pages: dict[str, str]) -> None:
    page = pages["reference/dyn.rst"]
    described = re.findall(r"^\.\. (?:auto\w+:: dyn\.|py:data:: )(\w+)", page, re.M)
    assert sorted(described) == sorted(dyn.__all__)
    rows = set(site_pages.ROWS)
    assert {name for name in dyn.__all__ if not callable(getattr(dyn, name))} == rows


def test_every_public_module_is_in_the_reference_once(pages: dict[str, str]) -> None:
    described = [
        name
        for page, text in pages.items()
        if page.startswith("reference/") and page != "reference/dyn.rst"
        for name in re.findall(r"^\.\. automodule:: (\S+)", text, re.M)
    ]
    files = [path for layer in site_pages.PACKAGES for path in (ROOT / layer).rglob("*.py")]
    names = [
        path.relative_to(ROOT).as_posix().removesuffix(".py").removesuffix("/__init__") for path in files
    ]
    modules = [name.replace("/", ".") for name in names]
    assert sorted(described) == sorted(name for name in modules if not site_pages.UNDESCRIBED.match(name))


def test_pages_that_no_longer_exist_are_removed_and_others_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "generated"
    stale, kept = folder / "commands" / "gone.rst", folder / "a.rst"
    stale.parent.mkdir(parents=True)
    stale.write_text("old")
    kept.write_text("same")
    os.utime(kept, (1, 1))
    monkeypatch.setattr(site_pages, "all_pages", lambda: {"a.rst": "same", "b/c.rst": "new"})
    site_pages.write_pages(tmp_path)
    assert not stale.exists()
    assert kept.stat().st_mtime == 1
    assert (folder / "b" / "c.rst").read_text() == "new"


# --- docstrings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [site_docstrings, site_pages])
def test_examples_of_the_writers(module: Any) -> None:
    assert doctest.testmod(module).failed == 0


def test_equations_of_docstrings_become_literal_blocks() -> None:
    parameters = ["Parameters", "----------", "w", "    Of |w| > 0.", ""]
    example = ["Examples", "--------", ">>> 2*|x|"]
    made = site_docstrings.plain_text(["A flow.", "", "    dw/dt = w*|p|", "", *parameters, *example])
    assert made == [
        "A flow.", "", "::", "", "    dw/dt = w*|p|", "",
        "Parameters", "----------", "w", r"    Of \|w\| > 0.", "",
        "Examples", "--------", ">>> 2*|x|",
    ]  # fmt: skip


def test_a_docstring_made_so_is_read_without_complaint() -> None:
    core = pytest.importorskip("docutils.core")
    text = "\n".join(
        site_docstrings.plain_text(["|w1|* and `N`³ of `a <b>`", "", "    x_ = |y|*", "", "end_"])
    )
    published = core.publish_string(text, settings_overrides={"halt_level": 2, "report_level": 2}).decode()
    assert "system-message" not in published


# --- tutorials ------------------------------------------------------------------------------------------------


def cells_of(name: str) -> list[str]:
    text = (DOCS / "tutorials" / f"{name}.md").read_text("utf-8")
    return re.findall(r"^```\{code-cell\} python\n(.*?)^```$", text, re.M | re.S)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in TUTORIALS]
)
def test_the_cells_of_a_tutorial_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cells = cells_of(name)
    assert len(cells) >= 8
    names: dict[str, Any] = {}
    for cell in cells:
        tree = ast.parse(cell)
        for node in tree.body:
            if node is tree.body[-1] and isinstance(node, ast.Expr):  # what a notebook would show
                shown = eval(compile(ast.Expression(node.value), name, "eval"), names)
                picture = getattr(shown, "_repr_png_", lambda: None)()
                assert shown is None or (picture or b"").startswith(b"\x89PNG"), ast.unparse(node)
            else:
                exec(compile(ast.Module([node], []), name, "exec"), names)
    SAID[name](capsys.readouterr().out)


def says(*texts: str) -> Any:
    """What the prose around the cells relies on."""

    def look(printed: str) -> None:
        at = 0
        for text in texts:
            assert text in printed[at:], f"{text!r} is not printed after {printed[:at][-80:]!r}"
            at = printed.index(text, at) + len(text)

    return look


SAID = {
    "student": says(
        "learned as predicted, (w1, w2, θ) = (0.5, 0.5, 0.5)",
        "0.3: mode 1: r = 0.5, learned", "0.5: mode 1: r = 0.5, learned",
        "0.6: mode 1: r = 0.5, collapsed", "-0.3: mode 1: r = 0.5, collapsed",
        "theory predicts 3600 of them, 0 otherwise",
        "full ", "learned", "no-ema ", "learned", "no-predictor ", "collapsed", "no-stop-gradient ", "collapsed",
        "saddle-node at 0.0625", "0.06 mode 1: r = 0.5, learned", "0.065 mode 1: r = 0.5, collapsed",
    ),
    "theorist": says(
        "R2 balance law: holds", "R6 exact fate of one mode: holds", "R15 weight decay: holds",
        "holds violated", "1 + λ: 27.378,  1 − λ: 0.010", "corrected – E3",
        "both decay      learns", "4.79e-01", "both decay      doomed", "4.79e-01",
        "encoder alone   learns", "e-08", "encoder alone   doomed", "e-10",
        "predictor alone learns", "2.86e+00", "predictor alone doomed", "2.78e+00",
    ),
    "engineer": says(
        "collapsed: none of 6 modes held", "collapsed: no direction is held", "weight-decay = 2, threshold 1.49 (R15)",
        "4 of 6 modes collapsed", "partly-collapsed: 2 directions are held", "below its threshold",
        "learned", "collapsed", "healthy: 6 directions are held",
    ),
}  # fmt: skip


# --- the built site -------------------------------------------------------------------------------------------


class Fetched(HTMLParser):
    """Addresses of scripts, styles, fonts, pictures and frames that a page asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag in ("script", "img", "iframe", "source"):
            self.addresses.append(named.get("src") or "")
        elif tag == "link" and named.get("rel") not in ("canonical", "index", "search", "next", "prev"):
            self.addresses.append(named.get("href") or "")


def outside(html: str) -> list[str]:
    reader = Fetched()
    reader.feed(html)
    return [address for address in reader.addresses if re.match(r"(https?:)?//", address)]


def test_addresses_outside_are_told_apart() -> None:
    page = '<script src="//cdn.org/a.js"></script><a href="https://x.org">x</a><img src="b.png"><link rel="stylesheet" href="https://y/z.css">'
    assert outside(page) == ["//cdn.org/a.js", "https://y/z.css"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site as `make docs` does."""
    pytest.importorskip("myst_nb", reason="needs the extra docs: make docs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "docs", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "WARNING" not in done.stderr
    return folder


@pytest.mark.slow
def test_what_results_and_dyn_name_is_linked_to_its_description(built: Path) -> None:
    results = "".join(path.read_text("utf-8") for path in (built / "generated" / "results").glob("*.html"))
    assert [result.code for result in RESULTS.values() if f'#{result.code}"' not in results] == []
    reference = (built / "generated" / "reference" / "dyn.html").read_text("utf-8")
    assert [name for name in dyn.__all__ if f'id="dyn.{name}"' not in reference] == []


@pytest.mark.slow
def test_the_site_asks_for_nothing_from_outside(built: Path) -> None:
    for path in built.rglob("*.html"):
        assert outside(path.read_text("utf-8")) == [], path
    for path in built.rglob("*.css"):
        assert re.findall(r"url\(['\"]?(?:https?:)?//", path.read_text("utf-8")) == [], path


@pytest.fixture
def browser_page() -> Iterator[tuple[Any, list[str]]]:
    """A page of a browser, and what went wrong in it: errors of the console, and requests beyond the disk."""
    if CHROMIUM is None:
        pytest.skip("needs Debian's chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    wrong: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request",
            lambda request: None if re.match("file:|data:|blob:", request.url) else wrong.append(request.url),
        )
        yield page, wrong
        browser.close()


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning"
)  # playwright's event loop leaves its sockets to the collector
def test_a_reader_without_network_finds_the_saddle_node(
    built: Path, browser_page: tuple[Any, list[str]]
) -> None:
    page, wrong = browser_page
    page.goto((built / "search.html").as_uri() + "?q=saddle-node")
    page.wait_for_selector("ul.search li a")
    page.locator("ul.search li a").first.click()
    page.wait_for_selector("article")
    assert "saddle" in page.locator("article").inner_text().lower()
    for name in ("index", "why", "tutorials/student", "generated/gallery/index", "generated/results/errata"):
        page.goto((built / f"{name}.html").as_uri())
        # nothing is wider than the window, and every picture is there
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280, name
        broken = "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
        assert page.evaluate(broken) == [], name
    page.goto((built / "generated" / "gallery" / "explorer.html").as_uri())
    page.frame_locator("iframe").first.locator("canvas").first.wait_for()
    assert wrong == []
