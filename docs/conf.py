"""Settings of the documentation site, for Sphinx: `make docs` builds it into out/docs."""

from __future__ import annotations

import os
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE)]

import site_docstrings  # noqa: E402 — found by the path above
import site_pages  # noqa: E402

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "dyn"
author = "The dyn developers"
project_copyright = author
try:
    release = metadata.version("dyn-byol")
except metadata.PackageNotFoundError:
    release = ""
language = "en"

extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "myst_nb"]
exclude_patterns = [
    "gallery/*",
    "generated/thumbnails/*",
    "generated/static/*",
    "static/*",
    *site_pages.REPLACED,
]
default_role = "py:obj"

# --- Markdown and notebooks -----------------------------------------------------------------------------------

myst_heading_anchors = 4
myst_enable_extensions: list[str] = []
nb_execution_mode = "force"
nb_execution_in_temp = True
# A cell that fails is a warning with its traceback, which `make docs` turns into an error; raised in one of several
# processes it would be lost.
nb_execution_raise_on_error = False
nb_execution_timeout = 240
nb_execution_show_tb = True
nb_merge_streams = True
nb_ipywidgets_js: dict[str, Any] = {}  # no widgets, and nothing fetched for them

# --- reference ------------------------------------------------------------------------------------------------

autosummary_generate = False  # site_pages writes the pages
autodoc_default_options = {
    "members": True,
    "member-order": "bysource",
    "ignore-module-all": True,
}
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
numpydoc_show_class_members = False
# Annotations are strings, and a few short names, such as Flow, name two classes.
suppress_warnings = ["ref.python"]
add_module_names = False

# --- pages ----------------------------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = "dyn"
html_static_path = ["static", "generated/static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_show_search_summary = False  # a page opened from the disk may not fetch others
html_theme_options = {
    "show_prev_next": False,
    "show_toc_level": 2,
    "navbar_align": "left",
    "header_links_before_dropdown": 8,
    "footer_start": ["copyright"],
    "footer_end": [],
    "navigation_depth": 2,
    "collapse_navigation": True,
    "secondary_sidebar_items": {
        "**": ["page-toc"],
        "index": [],
        "generated/gallery/index": [],
        "generated/gallery/explorer": [],
    },
    "pygments_light_style": "tango",
    "pygments_dark_style": "monokai",
}
html_context = {"default_mode": "auto"}
html_sidebars: dict[str, list[str]] = {"index": [], "why": [], "generated/benchmarks": []}

_LINK = re.compile(r"(\]\()(?P<path>[^)#\s:]+\.md)(?=[)#])")


def _read(app: Sphinx, docname: str, source: list[str]) -> None:
    """Point links to pages that the site replaces, or that lie outside docs/, at the pages of the site."""
    folder = Path(app.srcdir, docname).parent

    def site_path(match: re.Match[str]) -> str:
        named = (folder / match["path"]).resolve()
        home = site_pages.home_of(named)
        return f"{match[1]}{match['path'] if home is None else '/' + home}"

    source[0] = _LINK.sub(site_path, source[0])


def _prepare_kernels() -> None:
    """Let the kernels of the tutorials, processes of their own, import this checkout and no start-up file of a user."""
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    os.environ["IPYTHONDIR"] = str(HERE / "generated" / "ipython")
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # the debugger of a kernel warns of frozen modules


def setup(app: Sphinx) -> None:
    """Write the generated pages first; read docstrings as the plain text that they are."""
    _prepare_kernels()
    # before Sphinx looks whether html_static_path is there
    app.connect("config-inited", lambda started, _: site_pages.write_all(Path(started.srcdir)), priority=100)
    app.connect("source-read", _read)
    app.connect("autodoc-process-docstring", site_docstrings.process, priority=100)
    app.connect("object-description-transform", site_docstrings.shorten_value)
    app.connect("autodoc-skip-member", site_docstrings.skip)
