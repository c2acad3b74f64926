"""`dyn figure`: draw a named figure of the gallery, or all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

import typer

from commands.declaration import (
    FILLS,
    OUTPUT,
    WRITES,
    OneOf,
    Suggested,
    command,
    name_options,
    number,
    option,
)
from commands.output import ReportOptions, print_json, print_table, progress
from commands.saving import LookOptions, size_names

if TYPE_CHECKING:
    from figures.gallery.registry import Page


def _page_names() -> list[str]:
    from figures.gallery.registry import PAGES

    return list(PAGES)


@dataclass(frozen=True)
class PageLook(LookOptions):
    """How a page looks; a page that is given no size has one of its own."""

    size: Annotated[
        str | None,
        option(
            "--size", panel=OUTPUT, help="Room of the picture: a column, a page or a slide (as suits it)."
        ),
        OneOf(size_names),
    ] = None


@command(
    "figure",
    epilog="Example: dyn figure tied --lambda-d 0.7 --plot tied.svg --size single",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def figure(
    context: typer.Context,
    output: ReportOptions,
    appearance: PageLook,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME] [--PARAMETER VALUE]...", help="Figure, and what to change."),
        Suggested(_page_names),
    ] = None,
    everything: Annotated[bool, option("--all", panel=OUTPUT, help="Draw every figure.")] = False,
    plot: Annotated[
        Path | None, option("--plot", panel=OUTPUT, help="Picture to write: .png, .svg or .pdf."), WRITES
    ] = None,
    folder: Annotated[
        Path,
        option("--folder", panel=OUTPUT, help="Folder for pictures without --plot (out/figures)."),
        FILLS,
    ] = Path("out/figures"),
    picture_format: Annotated[
        str, option("--format", panel=OUTPUT, help="Format without --plot: png, svg or pdf (png).")
    ] = "png",
    out: Annotated[
        Path | None, option("--out", panel=OUTPUT, help="FILE.npz for the numbers in the figure."), WRITES
    ] = None,
    show_help: Annotated[bool, typer.Option("--help", "-h", help="Show this message and exit.")] = False,
) -> None:
    """Draw figures; a caption with every parameter is printed, and kept in the metadata of the picture."""
    from dynamics.files import checked_suffix, checked_target
    from figures.gallery.registry import PAGES, page
    from figures.style import PICTURES

    if show_help:
        typer.echo(context.get_help())
        if name is not None:
            typer.echo(_parameters_help(page(name)))
        return
    if name is None and not everything:
        _refuse_parameters(context.args, "a figure must be named before its parameters")
        _list([page(each) for each in PAGES], output)
        return
    if everything:
        for given, what in ((name, "a name"), (plot, "--plot"), (out, "--out")):
            if given is not None:
                raise ValueError(f"--all must go without {what}, got {given}")
        _refuse_parameters(context.args, "--all draws every figure with its defaults")
    suffix = f".{picture_format}"
    if suffix not in PICTURES:
        raise ValueError(
            f"--format must be one of {', '.join(item[1:] for item in PICTURES)}, got {picture_format!r}"
        )
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--folder must be a folder, got the file {folder}")
    if plot is not None:
        checked_target(checked_suffix(plot, PICTURES))
    if out is not None:
        checked_target(checked_suffix(out, (".npz",)))
    names = [name] if name is not None else list(PAGES)
    jobs = [(page(each), _arguments(page(each), context.args, output.seed)) for each in names]
    drawn = []
    with progress("drawing", output) as report_progress:
        for item, arguments in jobs:
            picture = folder / f"{item.name}{suffix}" if plot is None else plot
            drawn.append(_draw(item, arguments, picture, appearance.size, out))
            if report_progress is not None:
                report_progress(len(drawn), len(jobs))
    files = [file for entry in drawn for file in entry["files"]]
    if output.json:
        print_json({"files": files, "figures": drawn})
        return
    rows = [[entry["name"], ", ".join(entry["files"]), f"{entry['seconds']:.1f}"] for entry in drawn]
    print_table(["figure", "files", "s"], rows, drawn[0]["caption"] if name is not None else "")


def _draw(
    page: Page, arguments: Mapping[str, Any], picture: Path, size: str | None, data: Path | None
) -> dict[str, Any]:
    """Compute, draw and save one figure, its caption within it."""
    from dynamics.files import write_npz
    from figures.gallery.registry import flat_arrays
    from figures.style import look, save

    begin = perf_counter()
    result = page.compute(**arguments)
    caption = page.caption(result)
    with look(size=page.size if size is None else size):
        drawn = page.draw(result)
        picture.parent.mkdir(parents=True, exist_ok=True)  # not before there is something to be put into it
        save(drawn, picture, caption=caption)
    files = [picture]
    if data is not None:
        write_npz(data, flat_arrays(result))
        files.append(data)
    return {
        "name": page.name,
        "title": page.title,
        "caption": caption,
        "files": list(map(str, files)),
        "seconds": perf_counter() - begin,
    }


def _list(pages: list[Page], output: ReportOptions) -> None:
    if output.json:
        listed = [
            {"name": item.name, "title": item.title, "size": item.size, "parameters": item.parameters()}
            for item in pages
        ]
        print_json({"files": [], "figures": listed})
        return
    rows = [[item.name, item.title] for item in pages]
    print_table(
        ["figure", ""], rows, "dyn figure NAME draws one, dyn figure NAME --help lists its parameters"
    )


def _refuse_parameters(given: list[str], why: str) -> None:
    if given:
        raise ValueError(f"{why}, got {' '.join(given)}")


# --- parameters of a figure ---------------------------------------------------------------------------------


def _flag(parameter: str) -> str:
    return "--" + parameter.replace("_", "-")


def _parameters_help(page: Page) -> str:
    lines = [f"  {_flag(name):24} {_default_text(default)}" for name, default in _settable(page).items()]
    return f"Parameters of {page.name}, and their defaults:\n" + "\n".join(lines)


def _default_text(default: Any) -> str:
    if isinstance(default, tuple):
        between = " " if any(isinstance(part, tuple) for part in default) else ","
        return between.join(map(_default_text, default))
    return "as suits" if default is None else f"{default:g}" if isinstance(default, float) else str(default)


def _settable(page: Page) -> dict[str, Any]:
    """Parameters and defaults; the seed has an option of its own."""
    return {name: default for name, default in page.parameters().items() if name != "seed"}


def _arguments(page: Page, given: list[str], seed: int) -> dict[str, Any]:
    """Read ``--lambda-d 0.7`` and ``--lambda-d=0.7``; several values are joined by commas or given in turn."""
    settable = _settable(page)
    name_options(settable)
    flags = {_flag(name): name for name in settable}
    kinds = get_type_hints(page.compute)
    words: dict[str, list[str]] = {}
    rest = iter(given)
    for word in rest:
        flag, equals, text = word.partition("=")
        if flag not in flags:
            raise ValueError(
                f"a parameter of figure {page.name} must be one of {', '.join(flags)}, got {word!r}"
            )
        value = text if equals else next(rest, None)
        if value is None:
            raise ValueError(f"{flag} must have a value, got none")
        words.setdefault(flags[flag], []).append(value)
    arguments = {name: _value(_flag(name), texts, kinds[name]) for name, texts in words.items()}
    return arguments | ({"seed": seed} if "seed" in page.parameters() else {})


_NONE = "none"
"""Value of a parameter that takes any number of pairs, for none."""


def _value(flag: str, texts: list[str], kind: Any) -> Any:
    """Convert text to what the parameter is annotated with."""
    inside = [item for item in get_args(kind) if item not in (type(None), Ellipsis)]
    if getattr(kind, "__origin__", None) is tuple and getattr(inside[0], "__origin__", None) is tuple:
        if texts == [_NONE]:
            return ()
        return tuple(_several(flag, text, get_args(inside[0])) for text in texts)
    if getattr(kind, "__origin__", None) is tuple:
        return tuple(_one(flag, part, inside[0]) for text in texts for part in text.split(","))
    if len(texts) > 1:
        raise ValueError(f"{flag} must be given once, got {' and '.join(texts)}")
    return _one(flag, texts[0], inside[0] if inside else kind)


def _several(flag: str, text: str, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    """Convert text to a pair, or to as many as there are types."""
    parts = text.split(",")
    if len(parts) != len(kinds):
        raise ValueError(f"{flag} must be {len(kinds)} numbers with commas between them, got {text!r}")
    return tuple(_one(flag, part, kind) for part, kind in zip(parts, kinds, strict=True))


def _one(flag: str, text: str, kind: Any) -> Any:
    if kind is str:
        return text
    try:
        value = number(text)
    except typer.BadParameter as error:
        raise ValueError(f"{flag} {error.message}") from None
    if kind is not int:
        return value
    if not value.is_integer():
        raise ValueError(f"{flag} must be an integer, got {text}")
    return int(value)
