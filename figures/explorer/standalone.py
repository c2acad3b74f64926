"""Views of the explorer as single files that need no server: figures and texts without controls."""

from __future__ import annotations

from pathlib import Path

from figures.explorer.canvas import SIDE, WIDE, Canvas
from figures.explorer.page import page_template
from figures.explorer.picture import whole
from figures.explorer.presets import PRESETS
from figures.explorer.scene import diagram_of
from figures.explorer.state import View

STANDALONE = {
    "slice": PRESETS["The full flow"],
    "leaf": PRESETS["Leaf c = −0.1: a saddle decides the sign"],
    "tied": PRESETS["Tied weights (Figure 5 middle)"],
}
"""Views that the documentation shows, by the stem of their files."""


def standalone_html(view: View, title: str = "dyn explore") -> str:
    """Return one HTML file with all of a view in it, and nothing to be fetched.

    >>> standalone_html(View()).startswith("<!DOCTYPE html>")
    True
    """
    from bokeh.document import Document
    from bokeh.embed import file_html
    from bokeh.layouts import column, row
    from bokeh.resources import INLINE

    canvas = Canvas(view.theme)
    canvas.draw(whole(view))
    canvas.draw_diagram(diagram_of(view), view)
    middle = column(canvas.plane, canvas.fate, canvas.legend, canvas.notes, width=SIDE + 70)
    beside = column(canvas.diagram, canvas.about, canvas.course, canvas.drift, width=WIDE + 60)
    document = Document()
    document.add_root(row(middle, beside, styles={"flex-wrap": "wrap"}))
    return file_html(document, INLINE, title, template=page_template(view.theme)).lstrip()


def write_standalone(folder: str | Path) -> list[Path]:
    """Write every view of `STANDALONE` as FOLDER/explore-NAME.html, and return their paths.

    Parameters
    ----------
    folder
        Made if it is not there.
    """
    from dynamics.files import replacing

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, view in STANDALONE.items():
        path = folder / f"explore-{name}.html"
        with replacing(path) as temporary:
            Path(temporary).write_text(standalone_html(view, f"dyn explore: {name}"), encoding="utf-8")
        paths.append(path)
    return paths
