"""The application: how commands are declared, and how every error becomes one line and an exit code.

Bad input is a ValueError from below, turned here into one sentence that names the option, with exit code 2; a
failed run has exit code 3, a failed check 1.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields, is_dataclass
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import typer
from typer.core import TyperCommand

CHECK_FAILED, BAD_INPUT, FAILED, INTERRUPTED = 1, 2, 3, 130
# click's own class, wherever this version of typer keeps click
USAGE_ERROR: Any = typer.BadParameter.__mro__[1]


COMMANDS = (
    "simulate",
    "fixed-points",
    "stability",
    "basins",
    "bifurcation",
    "sweep",
    "sylvester",
    "align",
    "train",
    "check",
    "confirm",
    "figure",
    "info",
)
"""Names of the commands, in the order of ``dyn --help``; each is declared by the module of its name."""


class Dyn(typer.Typer):
    """A typer application that reports every error in one line on standard error and never shows a traceback."""

    def __call__(self, arguments: Sequence[str] | None = None) -> Any:
        """Run the command line and exit with the code of the contract."""
        arguments = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
        # Only the command that is called is declared, the others cost time: for help, completion and errors, all.
        called = [name for name in arguments[:1] if name in COMMANDS]
        for name in called or COMMANDS:
            import_module(f"cli.{name.replace('-', '_')}")
        self.registered_commands.sort(key=lambda known: COMMANDS.index(str(known.name)))
        try:
            code = super().__call__(arguments, prog_name="dyn", standalone_mode=False)
            if code == INTERRUPTED:  # typer turns Ctrl-C into this
                raise KeyboardInterrupt
        except USAGE_ERROR as error:
            message = error.format_message()
        except BrokenPipeError:
            sys.exit(0)
        except typer.Abort:
            sys.exit(_interrupted())
        except (ValueError, OSError) as error:
            message = str(error)
        except MemoryError as error:
            message = f"not enough memory: {error}"
        except Exception as error:
            if "DYN_DEBUG" in os.environ:
                raise
            sys.stderr.write(
                f"dyn: internal error, {type(error).__name__}: {error}; set DYN_DEBUG=1 for the traceback\n"
            )
            sys.exit(FAILED)
        except KeyboardInterrupt:
            sys.exit(_interrupted())
        else:
            sys.exit(code if isinstance(code, int) else 0)
        sys.stderr.write(f"dyn: {_in_terms_of_options(message)}\n")
        sys.exit(BAD_INPUT)


def _interrupted() -> int:
    sys.stderr.write("dyn: interrupted\n")
    return INTERRUPTED


app = Dyn(
    name="dyn",
    help="Theory and dynamics of linear BYOL: why it learns without negatives, and when it collapses.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _group() -> None:
    pass


def _in_terms_of_options(message: str) -> str:
    """Name parameters as the options that set them: `weight_decay` becomes --weight-decay."""

    def replace(match: re.Match[str]) -> str:
        return "--" + match[1].replace("_", "-") if match[1] in _options else match[0]

    return " ".join(re.sub(r"`(\w+)`", replace, message).split())


class Role:
    """What a command does with the file that an option names; stands in the option's annotation."""


READS, WRITES = Role(), Role()


def _files(options: Mapping[str, Any], annotations: Mapping[str, Any], role: Role) -> dict[str, Path]:
    """Files of a role, by option; a path without a role is read."""
    found = {}
    for name, value in options.items():
        marks = [mark for mark in getattr(annotations[name], "__metadata__", ()) if isinstance(mark, Role)]
        default = READS if isinstance(value, Path) else None
        if value is not None and (marks[0] if marks else default) is role:
            found[f"--{name.replace('_', '-')}"] = Path(value)
    return found


def _claim(files: Mapping[str, Path], claims: ExitStack) -> None:
    """Keep other processes away from files that are about to be written."""
    from dynamics.storage import claimed

    for name, path in files.items():
        try:
            claims.enter_context(claimed(path))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None


_options: set[str] = set()  # of all commands, as parameters


def name_options(parameters: Iterable[str]) -> None:
    """Let errors name these parameters as options, too."""
    _options.update(parameters)


class Command(TyperCommand):
    """A command whose help lists options under the names of their groups."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the sections of the help: arguments, groups as the command declares them, and how it is shown."""
        first, *last = "Arguments", "Output", "Options"
        sections: dict[str, list[tuple[str, str]]] = {first: []}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx)
            if row is not None:
                other = first if parameter.param_type_name == "argument" else last[-1]
                sections.setdefault(getattr(parameter, "rich_help_panel", None) or other, []).append(row)
        for name in [*(name for name in sections if name not in last), *last]:
            if sections.get(name):
                with formatter.section(name):
                    formatter.write_dl(sections[name])


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
                if written := _files(options, run.__annotations__, WRITES):
                    from dynamics.storage import check_distinct

                    check_distinct(_files(options, run.__annotations__, READS), written)
                    _claim(written, claims)
                for group, kind in groups.items():
                    options[group] = kind(**{item.name: options.pop(item.name) for item in fields(kind)})
                return function(**options)

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        _options.update(parameter.name for parameter in parameters)
        app.command(name, cls=Command, **settings)(run)
        return function

    return register
