"""The gallery: that the page in docs shows every figure of the registry, and how it is written."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread

from figures.gallery import catalogue as gallery
from figures.gallery.catalogue import gallery_markdown, write_gallery
from figures.gallery.registry import PAGES, page

DOCS = Path(__file__).resolve().parent.parent / "docs"


@pytest.fixture(scope="module")
def shown() -> str:
    return (DOCS / "gallery.md").read_text(encoding="utf-8")


def test_the_page_shows_every_figure_in_the_order_of_the_registry(shown: str) -> None:
    assert re.findall(r"^## (\S+)$", shown, re.M) == list(PAGES)
    assert re.findall(r"^!\[(.+)\]\(gallery/(\S+)\.png\)$", shown, re.M) == [
        (page(name).title, name) for name in PAGES
    ]
    assert re.findall(r"^    (dyn figure .+)$", shown, re.M) == [f"dyn figure {name}" for name in PAGES]


def test_every_picture_is_there_small_and_none_is_left_over() -> None:
    pictures = sorted((DOCS / "gallery").iterdir())
    assert [path.name for path in pictures] == sorted(f"{name}.png" for name in PAGES)
    assert max(path.stat().st_size for path in pictures) <= 150_000


@pytest.mark.parametrize("name", ["modes", "stability-map", "errata"])
def test_captions_are_those_of_today(name: str, shown: str) -> None:
    one = page(name)
    section = gallery_markdown([(one, one.caption(one.compute()))]).partition("## ")[2]
    assert section in shown


def test_it_is_written_with_pictures_in_the_colours_of_the_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "PAGES", ["stability-map", "modes"])
    before = dict(matplotlib.rcParams)
    written = write_gallery(tmp_path)
    assert dict(matplotlib.rcParams) == before
    assert re.findall(r"^## (\S+)$", written.read_text("utf-8"), re.M) == ["stability-map", "modes"]
    for name in ("stability-map", "modes"):
        picture = imread(tmp_path / "gallery" / f"{name}.png")
        assert picture.shape[1] == 1080  # 7.2 inches at 150 dots each
        assert np.allclose(picture[0, 0, :3], 1.0)  # paper
    first = written.read_bytes(), (tmp_path / "gallery" / "modes.png").read_bytes()
    write_gallery(tmp_path)
    assert (written.read_bytes(), (tmp_path / "gallery" / "modes.png").read_bytes()) == first
