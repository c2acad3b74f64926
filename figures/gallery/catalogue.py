"""The gallery: every figure as a picture, with the command that draws it and its caption, on one page of Markdown.

``python -m figures.gallery.catalogue docs`` writes ``docs/gallery.md`` and the pictures in ``docs/gallery``.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from dynamics.files import replacing
from figures.gallery.registry import PAGES, Page, page
from figures.style import look, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 150
_COLOURS = 256  # of a picture: a palette makes the file a third as large

_HEAD = """# Gallery

Every figure that `dyn figure` draws, with its parameters at their defaults. `dyn figure NAME --help` lists them,
`--theme dark` and `--size single` or `slide` change the look, and `--plot FILE.svg` or `.pdf` keeps text as text.
This page is written by `make gallery`.
"""


def gallery_markdown(entries: Iterable[tuple[Page, str]]) -> str:
    """Write the page that shows pages with their captions, in their order.

    Examples
    --------
    >>> text = gallery_markdown([(page("modes"), "Five modes.")])
    >>> text.splitlines()[-7:]  # doctest: +ELLIPSIS
    ['## modes', '', ..., '', 'Five modes.', '', '    dyn figure modes']
    """
    parts = [
        f"## {shown.name}\n\n![{shown.title}](gallery/{shown.name}.png)\n\n{caption}\n\n    dyn figure {shown.name}\n"
        for shown, caption in entries
    ]
    return "\n".join([_HEAD, *parts])


def write_gallery(folder: str | Path) -> Path:
    """Compute and draw every figure with its defaults, and write ``gallery.md`` into a folder.

    Parameters
    ----------
    folder
        An existing folder; its folder ``gallery`` receives the pictures.

    Returns
    -------
    Path
        The page.
    """
    folder = Path(folder)
    (folder / "gallery").mkdir(exist_ok=True)
    entries = []
    for shown in map(page, PAGES):
        result = shown.compute()
        with look(size=shown.size, theme="light"):
            _save_small(shown.draw(result), folder / "gallery" / f"{shown.name}.png")
        entries.append((shown, shown.caption(result)))
    written = folder / "gallery.md"
    with replacing(written) as temporary:
        temporary.write_text(gallery_markdown(entries), encoding="utf-8")
    return written


def _save_small(figure: Figure, path: Path) -> None:
    """Save a picture for the screen, in few colours."""
    from PIL import Image

    full = io.BytesIO()
    with style():
        figure.savefig(full, format="png", dpi=_DPI)
    few = (
        Image.open(full)
        .convert("RGB")
        .quantize(_COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    )
    with replacing(path) as temporary:
        few.save(temporary, format="png", optimize=True)


if __name__ == "__main__":
    write_gallery(sys.argv[1])
