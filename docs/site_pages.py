"""Pages of the documentation site that are written from the code: commands, results, figures, reference."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import pkgutil
import re
from collections.abc import Iterable
from pathlib import Path

from site_docstrings import escaped

ROOT = Path(__file__).resolve().parent.parent

REPLACED = {"gallery.md": "generated/gallery/index.rst", "results.md": "generated/results/index.rst"}
"""Files of docs/ written for readers on a forge, by what the site shows in their place."""

OUTSIDE = {
    "benchmarks/README.md": "generated/benchmarks.md",
    "CONTRIBUTING.md": "generated/contributing.md",
    "CHANGELOG.md": "generated/changelog.md",
    "README.md": "index.md",
}
"""Files outside docs/ that the site shows, by where."""

PACKAGES = ("dynamics", "analysis", "figures")
"""Layers whose modules the reference describes; `dyn` comes first, by itself."""

UNDESCRIBED = re.compile(r"analysis\.results\.|figures\.(gallery|results|layout|explorer)\b")
"""Modules of rows, results and figures, which have pages of their own, and what draws them."""

WIDTH = 480  # pixels of a thumbnail


def home_of(path: Path) -> str | None:
    """Document of the site, relative to docs/, that shows a file in its place; None where the file shows itself.

    >>> home_of(ROOT / "docs" / "results.md"), home_of(ROOT / "docs" / "guide.md")
    ('generated/results/index.rst', None)
    """
    name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
    return REPLACED.get(name.removeprefix("docs/")) if name.startswith("docs/") else OUTSIDE.get(name)


def heading(text: str, line: str = "=") -> str:
    """Title or section of a reStructuredText page."""
    return f"{text}\n{line * max(3, 2 * len(text))}\n"


def contents(names: Iterable[str]) -> str:
    """Table of contents that only the navigation shows."""
    return "\n".join([".. toctree::", "   :hidden:", "", *(f"   {name}" for name in names), ""])


def table(columns: Iterable[str], rows: Iterable[Iterable[str]], widths: str) -> str:
    """Table of reStructuredText, whose cells are single paragraphs."""
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for row in (columns, *rows):
        lines += [f"   {'* -' if at == 0 else '  -'} {cell}" for at, cell in enumerate(row)]
    return "\n".join([*lines, ""])


# --- commands -------------------------------------------------------------------------------------------------


def help_of(*arguments: str) -> str:
    """What `dyn … --help` prints in a terminal that is wide enough, without colours."""
    from cli import app

    printed = io.StringIO()
    before = dict(os.environ)
    os.environ |= {"COLUMNS": "100", "NO_COLOR": "1"}
    try:
        with contextlib.redirect_stdout(printed):
            app([*arguments, "--help"])
    except SystemExit as leaving:
        if leaving.code:
            raise RuntimeError(f"dyn {' '.join(arguments)} --help ended with {leaving.code}") from None
    finally:
        os.environ.clear()
        os.environ.update(before)
    return printed.getvalue().rstrip()


def command_pages() -> dict[str, str]:
    """One page for each command, and their list."""
    from cli import COMMANDS

    def page(title: str, text: str, *words: str) -> str:
        shown = "\n".join(f"   {line}".rstrip() for line in help_of(*words).splitlines())
        return f"{heading(title)}\n{escaped(text)}\n\n.. code-block:: text\n\n{shown}\n"

    pages = {f"commands/{name}.rst": page(f"dyn {name}", text, name) for name, text in COMMANDS.items()}
    rows = [[f":doc:`dyn {name} <{name}>`", escaped(text)] for name, text in COMMANDS.items()]
    lead = "What ``dyn COMMAND --help`` prints. Exit codes: 0 done, 1 a check failed, 2 bad input, 3 a run failed.\n"
    listed = table(["command", "what it answers"], rows, "22 78")
    pages["commands/index.rst"] = f"{heading('Commands')}\n{lead}\n{listed}\n{contents(COMMANDS)}"
    return pages


# --- results --------------------------------------------------------------------------------------------------

_PART_TITLES = {
    "linear": "Linear BYOL",
    "contrastive": "Contrastive learning",
    "trees": "Latent trees, batch normalisation and restarts",
    "steps": "Real steps and noise",
    "objectives": "Other objectives, deep encoders and claims",
}
_ERRATUM = re.compile(r"(?=\bE\d+(?:, E\d+)*: )")
_NUMBER = re.compile(r"\bE\d+\b")
_PRINTED = {
    "yes": "The source is right as printed.",
    "corrected": "The source is wrong as printed; the statement above holds.",
    "refined": "The source is right in part; the statement above is the whole of it.",
    "new": "New here.",
}


def errata() -> list[tuple[str, str, str]]:
    """Errata in the order of their numbers: number, result, and what was wrong.

    >>> [row[:2] for row in errata()][:2]
    [('E1', 'R16'), ('E2', 'R1')]
    """
    from analysis.results import RESULTS

    rows = []
    for result in RESULTS.values():
        for piece in _ERRATUM.split(result.correction):
            numbers, colon, text = piece.partition(": ")
            if not (colon and _NUMBER.match(numbers)):  # named at its end, if at all: "… is not needed (E30)"
                numbers, text = piece, re.sub(r" \(E\d+(, E\d+)*\)", "", piece)
            rows += [(number, result.id, text.strip()) for number in _NUMBER.findall(numbers)]
    return sorted(rows, key=lambda row: int(row[0][1:]))


def result_pages() -> dict[str, str]:
    """A page for each part of the theory, the table of all results, and the errata."""
    from analysis.results import PARTS, RESULTS

    pages = {}
    for part, names in PARTS.items():
        blocks = [heading(_PART_TITLES[part])]
        for name in names:
            result = RESULTS[name]
            facts = {
                "Holds for": escaped(result.hypotheses),
                "Source": escaped(result.source),
                "As printed": _PRINTED[result.as_printed],
                "What was wrong": escaped(result.correction),
                "See it fail": f"``{result.counterexample}``" if result.counterexample else "",
                "Code": f":py:obj:`{result.code}`",
                "Check": f"``dyn check {name}``",
            }
            told = "\n".join(f":{key}: {text}" for key, text in facts.items() if text)
            title = heading(f"{name} {escaped(result.title)}", "-")
            blocks.append(f".. _{name}:\n\n{title}\n{escaped(result.statement)}\n\n{told}\n")
        pages[f"results/{part}.rst"] = "\n".join(blocks)
    rows = [
        [f":ref:`{name} <{name}>`", escaped(result.title), escaped(result.source), str(result.as_printed)]
        for name, result in RESULTS.items()
    ]
    lead = (
        "What is true of the flow, as the registry of ``dyn check`` states it. Each number leads to\n"
        "the statement, its hypotheses, its source and its code. :doc:`errata` lists what was wrong in print.\n"
    )
    listed = table(["result", "title", "source", "as printed"], rows, "9 43 33 15")
    forge = (ROOT / "docs" / "results.md").read_text("utf-8")
    sources = [  # titles stay in italics
        [escaped(cell).replace(r"\*", "*") for cell in line.strip("| ").split(" | ")]
        for line in forge.partition("## Sources")[2].splitlines()
        if line.startswith("| ") and not line.startswith(("| ---", "| short"))
    ]
    told = f"{heading('Sources', '-')}\n{table(['short', 'source'], sources, '15 85')}"
    toc = contents([*PARTS, "errata"])
    pages["results/index.rst"] = f"{heading('Results')}\n{lead}\n{listed}\n.. _sources:\n\n{told}\n{toc}"
    wrong = [
        [
            number,
            f":ref:`{name} <{name}>`",
            escaped(RESULTS[name].source),
            escaped(text),
            str(RESULTS[name].as_printed),
        ]
        for number, name, text in errata()
    ]
    lead = (
        "What the sources print, against what holds. *corrected*: the source is wrong as printed. *refined*: it is\n"
        "right in part. Each row links to the result that holds, which ``dyn check`` measures.\n"
    )
    listed = table(["erratum", "result", "source", "what was wrong", "verdict"], wrong, "9 9 22 48 12")
    pages["results/errata.rst"] = f"{heading('Errata')}\n{lead}\n{listed}"
    return pages


# --- figures --------------------------------------------------------------------------------------------------


def captions() -> dict[str, str]:
    """Captions by figure, as `make gallery` wrote them into gallery.md."""
    text = (ROOT / "docs" / "gallery.md").read_text("utf-8")
    sections = re.findall(
        r"^## (\S+)\n\n!\[[^\n]*\]\([^\n]*\)\n\n(.*?)\n\n    dyn figure ", text, re.M | re.S
    )
    return dict(sections)


def gallery_pages() -> dict[str, str]:
    """One page for each figure, and the grid of all."""
    from figures.gallery.registry import PAGES, page

    told = captions()
    whole = "Three views of the phase plane, as pages that need no server."
    pages, grid = {}, [_card("/explore.png", "explorer.html", "explorer", whole)]
    for name in PAGES:
        if name not in told:
            raise ValueError(
                f"the figure {name} must have its caption in docs/gallery.md: run `make gallery`"
            )
        shown = page(name)
        options = "\n".join(
            f"   * - ``--{key.replace('_', '-')}``\n     - ``{value}``"
            for key, value in shown.parameters().items()
        )
        listed = f".. list-table::\n   :header-rows: 1\n\n   * - parameter\n     - default\n{options}\n"
        pages[f"gallery/{name}.rst"] = (
            f"{heading(name)}\n.. image:: /gallery/{name}.png\n   :alt: {shown.title}\n\n{escaped(told[name])}\n\n"
            f".. code-block:: bash\n\n   dyn figure {name} --plot {name}.png\n\n{listed}"
        )
        grid.append(_card(f"/generated/thumbnails/{name}.webp", f"{name}.html", name, shown.title))
    lead = (
        "Every figure that ``dyn figure`` draws, after three views of the :doc:`explorer <explorer>`. Each picture\n"
        "links to its caption, its command and its parameters.\n"
    )
    cells = "\n".join(grid)
    toc = contents([*PAGES, "explorer"])
    pages["gallery/index.rst"] = f"{heading('Gallery')}\n{lead}\n.. container:: gallery\n\n{cells}\n{toc}"
    return pages


def _card(picture: str, target: str, name: str, title: str) -> str:
    return (
        f"   .. figure:: {picture}\n      :target: {target}\n      :alt: {title}\n\n"
        f"      **{name}** {escaped(title)}\n"
    )


EXPLORED = {
    "slice": "The full flow: a slice of starts with one θ, whose trajectories leave it.",
    "leaf": "The leaf c = −0.1: an exact phase plane, on which a saddle decides the sign.",
    "tied": "Tied weights, the middle of Figure 5: the origin attracts from one side.",
}
"""What each view of the explorer shows, by the stem of its file."""


def explorer_page() -> dict[str, str]:
    """The page of the explorer's views that need no server."""
    frames = "\n".join(
        f"{heading(name, '-')}\n{text}\n\n.. raw:: html\n\n"
        f'   <p><a href="../../_static/explorer/explore-{name}.html">Open it by itself</a></p>\n'
        f'   <iframe class="explorer" loading="lazy" title="{name}"\n'
        f'     src="../../_static/explorer/explore-{name}.html"></iframe>\n'
        for name, text in EXPLORED.items()
    )
    lead = (
        "Three views of ``dyn explore``, computed beforehand: zoom, pan and read values below the pointer. To move\n"
        "parameters and starts, :doc:`run the explorer </explore>` itself.\n"
    )
    return {"gallery/explorer.rst": f"{heading('Explorer')}\n{lead}\n{frames}"}


def write_thumbnails(folder: Path) -> None:
    """Shrink every picture of the gallery."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted((ROOT / "docs" / "gallery").glob("*.png")):
        small = folder / f"{path.stem}.webp"
        if not small.exists() or small.stat().st_mtime < path.stat().st_mtime:
            picture = Image.open(path).convert("RGB")
            picture.thumbnail((WIDTH, 10 * WIDTH), Image.Resampling.LANCZOS)
            picture.save(small, quality=85)


# --- reference ------------------------------------------------------------------------------------------------


def modules_of(package: str) -> list[str]:
    """Public modules of a package that the reference describes, itself first."""
    root = importlib.import_module(package)
    found = [item.name for item in pkgutil.walk_packages(root.__path__, f"{package}.")]
    return [package, *(name for name in found if not UNDESCRIBED.match(name) and "._" not in name)]


def first_line(text: str | None) -> str:
    """First line of a docstring, or nothing."""
    return escaped((text or "").strip().split("\n")[0])


def reference_pages() -> dict[str, str]:
    """The page of `import dyn`, and one for each room of the layers below."""
    pages = {"reference/dyn.rst": _dyn_page()}
    rooms: dict[str, list[str]] = {}
    for package in PACKAGES:
        for name in modules_of(package):
            rooms.setdefault(".".join(name.split(".")[:2]), []).append(name)
    packages = {name: names for name, names in rooms.items() if len(names) > 1 or name in PACKAGES}
    for name, names in rooms.items():  # a module beside the rooms belongs to the page of its layer
        if name not in packages:
            packages[name.split(".")[0]] += names
    for name, names in packages.items():
        blocks = [f"{heading(name)}\n.. automodule:: {name}\n"]
        blocks += [f"{heading(each, '-')}\n.. automodule:: {each}\n" for each in names if each != name]
        pages[f"reference/{name}.rst"] = "\n".join(blocks)
    listed = table(
        ["package", "what it holds"],
        [
            [f":doc:`{name}`", first_line(importlib.import_module(name).__doc__)]
            for name in ["dyn", *packages]
        ],
        "30 70",
    )
    lead = (
        "For notebooks there is :doc:`dyn`: about twenty names. Below it are the layers that it stands on, from what\n"
        "moves (``dynamics``) to what is true of it (``analysis``) and what it looks like (``figures``).\n"
    )
    toc = contents(["dyn", *packages])
    pages["reference/index.rst"] = f"{heading('Python')}\n{lead}\n{listed}\n{toc}"
    return pages


ROWS = {
    "variants": 'Variants of the flow by name: ``dyn.variants.no_ema`` or ``dyn.variants["no-ema"]``.',
    "objectives": "Objectives by name: ``dyn.objectives.infonce``.",
    "experiments": "Experiments of :py:func:`dyn.confirm` by number: ``C1``, ``C2``, …",
    "figures": "Figures of :py:func:`dyn.figure` by name.",
    "results": "Results of :py:func:`dyn.check` by number: ``R1``, ``R2``, …",
}


def _dyn_page() -> str:
    import dyn

    blocks = [heading("dyn"), ".. automodule:: dyn\n   :no-members:\n", ".. currentmodule:: dyn\n"]
    called = [name for name in dyn.__all__ if name not in ROWS]
    lines = "\n".join(f"   {name}" for name in called)
    blocks.append(f".. autosummary::\n\n{lines}\n")
    for name in called:
        kind = "class" if isinstance(getattr(dyn, name), type) else "function"
        blocks.append(f"{heading(name, '-')}\n.. auto{kind}:: dyn.{name}\n")
    blocks.append(heading("Rows", "-"))
    blocks += [f".. py:data:: {name}\n\n   {text}\n" for name, text in ROWS.items()]
    return "\n".join(blocks)


# --- all of them ----------------------------------------------------------------------------------------------


def borrowed_pages() -> dict[str, str]:
    """Files from outside docs/, as they are."""
    homes = {
        home.removeprefix("generated/"): name
        for name, home in OUTSIDE.items()
        if home.startswith("generated/")
    }
    return {home: relinked((ROOT / name).read_text("utf-8"), name) for home, name in homes.items()}


def relinked(text: str, name: str) -> str:
    """Point the links of a file from outside docs/ at the documents of the site."""

    def moved(match: re.Match[str]) -> str:
        named = (ROOT / name).parent.joinpath(match["path"]).resolve()
        home = home_of(named)
        if home is None and named.is_relative_to(ROOT / "docs"):
            home = named.relative_to(ROOT / "docs").as_posix()
        return match["text"] if home is None else f"[{match['text']}](/{home}{match['anchor'] or ''})"

    return re.sub(
        r"\[(?P<text>[^]]+)\]\((?!https?:|mailto:|#)(?P<path>[^)#\s]+)(?P<anchor>#[^)]*)?\)", moved, text
    )


def all_pages() -> dict[str, str]:
    """Every generated page by its path below docs/generated."""
    makers = (command_pages, result_pages, gallery_pages, explorer_page, reference_pages, borrowed_pages)
    return {path: text for make in makers for path, text in make().items()}


def write_pages(docs: Path) -> None:
    """Write all generated pages into docs/generated, and remove those that are no more.

    A file that would stay the same is left alone, so that Sphinx reads again only what has changed.
    """
    folder = docs / "generated"
    pages = all_pages()
    for old in [*folder.rglob("*.rst"), *folder.rglob("*.md")]:
        if old.relative_to(folder).as_posix() not in pages:
            old.unlink()
    for path, text in pages.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() or target.read_text("utf-8") != text:
            target.write_text(text, encoding="utf-8")


def write_all(docs: Path) -> None:
    """Write pages, thumbnails, views of the explorer and the settings of kernels into docs/generated."""
    from figures.explorer.standalone import write_standalone

    write_pages(docs)
    folder = docs / "generated"
    write_thumbnails(folder / "thumbnails")
    write_standalone(folder / "static" / "explorer")
    profile = folder / "ipython" / "profile_default"
    profile.mkdir(parents=True, exist_ok=True)
    # kernels talk over this machine's own network: their warning that they do so unencrypted says nothing here
    (profile / "ipython_kernel_config.py").write_text('get_config().IPKernelApp.log_level = "ERROR"\n')
