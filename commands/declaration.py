"""How a command is declared: option groups become options, files get roles, and errors name what was typed.

`command` collects into `declared`, the application whose commands the module `cli` runs.
"""

from __future__ import annotations

import inspect
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from enum import Enum
from functools import partial, wraps
from operator import attrgetter
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer
from typer.core import TyperCommand

from commands.terminal import shown

declared = typer.Typer()
"""The commands of the modules that have been imported."""


SYSTEM, START, RUN, OUTPUT = "System", "Start", "Run", "Output"
"""Groups of options in the help."""


def number(text: str | float) -> float:
    """Read a number: ``0.5``, ``1/2`` or ``1e-3``.

    >>> number("1/2")
    0.5
    """
    numerator, slash, denominator = str(text).partition("/")
    try:
        return float(numerator) / float(denominator) if slash else float(text)
    except (ValueError, ZeroDivisionError):
        raise typer.BadParameter(f"must be a number such as 0.5, 1/2 or 1e-3, got {text!r}") from None


def numbers(text: str | float) -> tuple[float, ...]:
    """Read numbers with commas between them.

    >>> numbers("1,1/2")
    (1.0, 0.5)
    """
    return tuple(number(part) for part in str(text).split(","))


def option(*names: str, panel: str, help: str, **settings: Any) -> Any:
    """Declare an option of a group; its help says its default."""
    return typer.Option(*names, help=help, rich_help_panel=panel, show_default=False, **settings)


def numeric(*names: str, panel: str, help: str) -> Any:
    """Declare an option that takes a number as `number` reads it; one that takes several takes them by commas, too."""
    return option(*names, panel=panel, help=help, parser=number, metavar="NUMBER")


_ALIASES = {
    "interval": "--from and --to",
    "n2": "--dim",
    "sigma_s": "Σs (--lambda-s or --moments)",
    "sigma_d": "Σd (--lambda-d or --moments)",
}
"""Parameters of the library that options of another name set."""


def in_terms_of_options(message: str) -> str:
    """Name parameters as the options that set them: `weight_decay` and weight_decay become --weight-decay."""

    def replace(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name in _options:
            return "--" + name.replace("_", "-")
        return _ALIASES.get(match[1], match[0])

    return " ".join(re.sub(r"`(\w+)`|\b([a-z]+_[a-z]+)\b", replace, message).split())


def with_suggestion(message: str) -> str:
    """Add the name that was probably meant to a message that lists names.

    >>> with_suggestion("a variant must be one of full, tied, got 'ful'")
    "a variant must be one of full, tied, got 'ful'; did you mean 'full'?"
    """
    listed = re.search(r"must be one of (.+?)[,;] got '?([^\s']+)'?$", message)
    near = get_close_matches(listed[2], listed[1].split(", "), n=1, cutoff=0.7) if listed else []
    return f"{message}; did you mean {near[0]!r}?" if near else message


def _blamed(message: str, options: Mapping[str, Any], annotations: Mapping[str, Any]) -> str:
    """Say which option named the file that an error is about, where the error does not."""
    if "--" not in message and "`" not in message:
        for name, value in options.items():
            if isinstance(value, Path) and re.search(rf"(?<!\w){re.escape(str(value))}(?!\w)", message):
                return f"{_typed(name, annotations)}: {message}"
    return message


class Role:
    """What a command does with the file that an option names; every option that names one has it in its annotation."""


READS, WRITES, FILLS = Role(), Role(), Role()
"""An input; an output, replaced when it is complete; a folder, whose other files are kept."""


def _files(options: Mapping[str, Any], annotations: Mapping[str, Any], role: Role) -> dict[str, Path]:
    """Files of a role, by option."""
    return {
        _typed(name, annotations): Path(value)
        for name, value in options.items()
        if value is not None and role in getattr(annotations[name], "__metadata__", ())
    }


def _typed(name: str, annotations: Mapping[str, Any]) -> str:
    """What a parameter is called on the command line: an option by its dashes, an argument as the help shows it."""
    for mark in getattr(annotations[name], "__metadata__", ()):
        if isinstance(mark, typer.models.ArgumentInfo):
            return str(mark.metavar)
    return f"--{name.replace('_', '-')}"


def _claim(files: Mapping[str, Path], claims: ExitStack) -> None:
    """Keep other processes away from files that are about to be written."""
    from dynamics.claims import claimed

    for name, path in files.items():
        try:
            claims.enter_context(claimed(path))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None


def _fingerprint(path: Path) -> tuple[int, int] | None:
    """What changes when a file is written."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


_options: set[str] = set()  # of all commands, as parameters


def name_options(parameters: Iterable[str]) -> None:
    """Let errors name these parameters as options, too."""
    _options.update(parameters)


class Surrounding(ABC):
    """An option group that holds while its command runs, as the look of pictures does."""

    @abstractmethod
    def surrounding(self) -> AbstractContextManager[None]:
        """Context to run the command in; refuses, before anything is computed, what the command would ignore."""


class OneOf:
    """Names that an option takes, read when they are needed; stands in the option's annotation.

    Parameters
    ----------
    names
        Gives the names; what it imports is not paid for by other commands.
    """

    def __init__(self, names: Callable[[], Iterable[str]]) -> None:
        self.names = names

    def read(self, text: str) -> str:
        """Refuse what is none of the names."""
        names = list(self.names())
        if text not in names:
            raise typer.BadParameter(f"must be one of {', '.join(names)}, got {text!r}")
        return text

    def complete(self, incomplete: str) -> list[str]:
        """Names that begin with what was typed."""
        return [name for name in self.names() if name.startswith(incomplete)]


class Suggested:
    """Names that the shell completes a word to, where the command itself says which it takes.

    Parameters
    ----------
    names
        Gives the names; what it imports is not paid for by other commands.
    files
        Suffixes of files that may be named instead.
    """

    def __init__(self, names: Callable[[], Iterable[str]], *, files: tuple[str, ...] = ()) -> None:
        self.names, self.files = names, files

    def complete(self, incomplete: str) -> list[str]:
        """Names, and paths of files and the folders above them, that begin with what was typed."""
        found = [name for name in self.names() if name.startswith(incomplete)]
        if not self.files:
            return found
        folder, _, start = incomplete.rpartition("/")
        inside = Path(folder or ("/" if incomplete.startswith("/") else "."))
        entries = sorted(inside.iterdir()) if inside.is_dir() else []
        lead = incomplete[: len(incomplete) - len(start)]
        return found + [
            f"{lead}{entry.name}{'/' if entry.is_dir() else ''}"
            for entry in entries
            if entry.name.startswith(start)
            and (start.startswith(".") or not entry.name.startswith("."))
            and (entry.is_dir() or entry.suffix in self.files)
        ]


def _integer(least: int | None, text: str | int) -> int:
    """Read an integer that is not less than `least`."""
    try:
        value = int(text)
    except ValueError:
        value = None
    if value is None or (least is not None and value < least):
        bound = "" if least is None else f" >= {least}"
        raise typer.BadParameter(f"must be an integer{bound}, got {text!r}")
    return value


def _lists_of_numbers(annotation: Any) -> bool:
    """Whether an option is given once for each number: list[float], or that or None."""
    kind = getattr(annotation, "__origin__", annotation)
    return list[float] in (kind, *get_args(kind))


_one_of: dict[tuple[str, str], OneOf] = {}  # by command and parameter

_METAVARS = {int: "INTEGER", float: "NUMBER", str: "NAME", Path: "FILE"}
"""How the help calls a value of each type."""


def _describe(command_name: str, parameter: str, annotation: Any) -> None:
    """Name the value of an option for its help, and list, check and complete its names if it has some."""
    kind: Any = getattr(annotation, "__origin__", annotation)
    marks: tuple[Any, ...] = getattr(annotation, "__metadata__", ())
    inside = [each for each in (get_args(kind) or (kind,)) if each is not type(None)]
    inside = [each for outer in inside for each in (get_args(outer) or (outer,))]
    choice = next((mark for mark in marks if isinstance(mark, OneOf)), None)
    suggested = next((mark for mark in marks if isinstance(mark, Suggested)), None)
    if inside[0] is Path and not any(isinstance(mark, Role) for mark in marks):
        raise TypeError(
            f"`{parameter}` of dyn {command_name} must say in its annotation what is done with its file"
        )
    for info in marks:
        if not hasattr(info, "metavar") or inside == [bool]:
            continue
        if choice is not None:
            info.parser, info.autocompletion = choice.read, choice.complete
        elif suggested is not None:
            info.autocompletion = suggested.complete
        elif info.parser is number and _lists_of_numbers(annotation):
            info.parser = numbers
        elif inside[0] is int and info.parser is None:
            info.parser = partial(_integer, info.min)
            info.min = None
        elif issubclass(inside[0], Enum):
            choice = OneOf(partial(map, attrgetter("value"), inside[0]))
        if choice is not None:
            _one_of[command_name, parameter] = choice
            info.metavar = info.metavar or "NAME"
        info.metavar = info.metavar or _METAVARS[inside[0]]


_UNBROKEN = "\u2011"  # a hyphen at which the formatter of the help does not break a name


class Command(TyperCommand):
    """A command whose help lists options under the names of their groups."""

    def get_help(self, ctx: Any) -> str:
        """Help in letters that the terminal has."""
        return shown(super().get_help(ctx), sys.stdout.encoding or "utf-8")

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the sections of the help: arguments, groups as the command declares them, and how it is shown."""
        first, *last = "Arguments", "Output", "Options"
        sections: dict[str, list[tuple[str, str]]] = {first: []}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx)
            if row is not None:
                row = (row[0], row[1].replace("-", _UNBROKEN))
                if (choice := _one_of.get((str(self.name), str(parameter.name)))) is not None:
                    row = (row[0], f"{row[1]} One of {', '.join(choice.names())}.".replace("-", _UNBROKEN))
                other = last[-1]
                if parameter.param_type_name == "argument":  # which some versions of typer follow by a type
                    other, row = first, (re.sub(" <.*>$", "", row[0]), row[1])
                sections.setdefault(getattr(parameter, "rich_help_panel", None) or other, []).append(row)
        for name in [*(name for name in sections if name not in last), *last]:
            if sections.get(name):
                with formatter.section(name):
                    formatter.write_dl(sections[name])
        formatter.buffer[:] = [part.replace(_UNBROKEN, "-") for part in formatter.buffer]

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the example in one line, to be copied."""
        formatter.write(f"\n  {self.epilog}\n")


def command(name: str, **settings: Any) -> Callable[[Callable[..., int | None]], Callable[..., int | None]]:
    """Register a command whose parameters may be option groups: each group's fields become its options."""

    def register(function: Callable[..., int | None]) -> Callable[..., int | None]:
        hints = get_type_hints(function, include_extras=True)
        parameters: list[inspect.Parameter] = []
        groups: dict[str, type] = {}
        for parameter in inspect.signature(function).parameters.values():
            kind = hints[parameter.name]
            if not is_dataclass(kind):
                parameters.append(parameter.replace(annotation=kind, kind=inspect.Parameter.KEYWORD_ONLY))
                continue
            assert isinstance(kind, type)
            groups[parameter.name] = kind
            inside = get_type_hints(kind, include_extras=True)
            parameters += [
                inspect.Parameter(
                    item.name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=item.default,
                    annotation=inside[item.name],
                )
                for item in fields(kind)
            ]

        @wraps(function)
        def run(**options: Any) -> int | None:
            with ExitStack() as claims:
                written, filled = (_files(options, run.__annotations__, role) for role in (WRITES, FILLS))
                if written or filled:
                    from dynamics.claims import check_distinct

                    check_distinct(_files(options, run.__annotations__, READS), written | filled)
                    _claim(written, claims)
                before = {path: _fingerprint(path) for path in written.values()}
                for option_name in listed:
                    if options[option_name] is not None:
                        options[option_name] = [each for part in options[option_name] for each in part]
                given = dict(options)
                for group, kind in groups.items():
                    options[group] = kind(**{item.name: options.pop(item.name) for item in fields(kind)})
                    if isinstance(options[group], Surrounding):
                        claims.enter_context(options[group].surrounding())
                try:
                    code = function(**options)
                except BrokenPipeError:
                    raise
                except (ValueError, OSError) as error:
                    raise ValueError(_blamed(str(error), given, run.__annotations__)) from error
                for path, fingerprint in before.items():
                    if not given.get("quiet") and _fingerprint(path) != fingerprint:
                        sys.stderr.write(f"wrote {path}\n")
                return code

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        for parameter in parameters:
            _describe(name, parameter.name, parameter.annotation)
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        listed = [each.name for each in parameters if _lists_of_numbers(each.annotation)]
        _options.update(parameter.name for parameter in parameters)
        declared.command(name, cls=Command, **settings)(run)
        return function

    return register
