"""The command ``dyn``: the list of its commands, and the place where every error becomes one line and an exit code.

Bad input is a ValueError from below, turned here into one sentence that names the option, with exit code 2; a
failed run has exit code 3, a failed check 1.
"""

from __future__ import annotations

import sys

try:
    import os
    import re
    import signal
    import warnings
    from collections.abc import Sequence
    from importlib import import_module
    from typing import Annotated, Any

    import typer
    from typer.core import TyperGroup

    from commands import declaration
    from commands.terminal import BAD_INPUT, FAILED, INTERRUPTED, shown, spell_out
except KeyboardInterrupt:
    sys.stderr.write("dyn: interrupted\n")
    sys.exit(130)

__all__ = ["COMMANDS", "app"]

# click's own class, wherever this version of typer keeps click
USAGE_ERROR: Any = typer.BadParameter.__mro__[1]

COMMANDS = {
    "simulate": "What happens from this start: run the flow and compare with what theory predicts.",
    "fixed-points": "Where can one mode rest, and is rest stable: complete and exact, for every variant.",
    "stability": "Is this state of the full system stable: the spectrum of the flow's Jacobian at a fixed point.",
    "basins": "Which starts collapse: follow a lattice or a random draw of starts, and compare with theory.",
    "bifurcation": "Where does behaviour change as one parameter moves: branches of fixed points, and where they meet.",
    "sweep": "The same run for millions of settings, resumable: run it again and it goes on where it stopped.",
    "sylvester": "Which encoders can this predictor hold: all non-trivial θ with P θ = θ M.",
    "align": "Do predictor and features align as predicted: their commutator along a run, and its bound (R19).",
    "contrast": "What does a contrastive loss learn from these moments: which modes, how large, how fast.",
    "tree": "What does a latent tree let a network learn: ceilings, layer traces, lucky nodes.",
    "train": "What does a real network do: train by gradient steps and compare with what theory predicts.",
    "diagnose": "Why did my network collapse, or will it: two views of its features, a verdict, causes.",
    "moments": "Which moments do these views have: Σs and Σd in a file for all other commands.",
    "check": "Do the results of the theory hold: each one measured on random systems.",
    "confirm": "Does training agree with theory: each prediction beside what gradient steps do.",
    "figure": "Draw one named figure of the gallery, or all of them; without a name, list them. "
    "`dyn figure NAME --help` lists the parameters of a figure.",
    "explore": "What does the phase plane look like, by hand: click a start, move a parameter, in a browser.",
    "info": "Versions, devices, and the names of things.",
}
"""What each command answers, in the order of ``dyn --help``; the module of its name in `commands` declares it."""


def _summary(text: str) -> str:
    """What a command answers: its help up to the details.

    >>> _summary("Which starts collapse: follow a lattice of starts.")
    'Which starts collapse'
    """
    return re.split("[:;.]", text)[0]


class Dyn(typer.Typer):
    """A typer application that reports every error in one line on standard error and never shows a traceback."""

    def __call__(self, arguments: Sequence[str] | None = None) -> Any:
        """Run the command line and exit with the code of the contract."""
        if (
            arguments is None and not sys.warnoptions
        ):  # what overflows on the way, the status of a run tells in words
            warnings.simplefilter("ignore", RuntimeWarning)
        try:
            sys.exit(self._exit_code(list(sys.argv[1:] if arguments is None else arguments) or ["--help"]))
        except KeyboardInterrupt:
            sys.exit(_interrupted())

    def _exit_code(self, arguments: list[str]) -> int:
        spell_out()
        # Import only the command being run; the list needs none, completion and errors need them all.
        called = [name for name in arguments[:1] if name in COMMANDS]
        listed = arguments in (["--help"], ["-h"]) and "_DYN_COMPLETE" not in os.environ
        for name in called or ([] if listed else COMMANDS):
            import_module(f"commands.{name.replace('-', '_')}")
        known = {str(each.name): each for each in declaration.declared.registered_commands}
        for name, each in known.items():
            each.help, each.short_help = COMMANDS[name], _summary(COMMANDS[name])
        self.registered_commands = [known[name] for name in COMMANDS if name in known]
        try:
            code = super().__call__(arguments, prog_name="dyn", standalone_mode=False)
            sys.stdout.flush()
            if code == INTERRUPTED:  # typer turns Ctrl-C into this
                return _interrupted()
            return code if isinstance(code, int) else 0
        except BrokenPipeError:
            return _unread()
        except SystemExit as leaving:
            if isinstance(leaving.__context__, BrokenPipeError):  # typer turns a closed pipe into this
                return _unread()
            raise
        except USAGE_ERROR as error:
            message = error.format_message()
        except typer.Abort:
            return _interrupted()
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
            return FAILED
        message = declaration.with_suggestion(declaration.in_terms_of_options(message))
        sys.stderr.write(f"dyn: {message}\n")
        return BAD_INPUT


def _interrupted() -> int:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C ends at once what is left to be done
    sys.stderr.write("dyn: interrupted\n")
    return INTERRUPTED


def _unread() -> int:
    """Whoever read standard output has gone, as `head` does: nothing is left to be said."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # for what Python flushes when it ends
    return 0


class Group(TyperGroup):
    """The list of commands, whose summaries are wrapped and never cut."""

    def get_help(self, ctx: Any) -> str:
        """Help in letters that the terminal has."""
        return shown(super().get_help(ctx), sys.stdout.encoding or "utf-8")

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each command with its summary."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _summary(text)) for name, text in COMMANDS.items()])

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        """Write how a command is called, whether or not one has been imported."""
        formatter.write_usage(ctx.command_path, "[OPTIONS] COMMAND [ARGS]...")


app = Dyn(
    name="dyn",
    cls=Group,
    help="Theory and dynamics of linear BYOL: why it learns without negatives, and when it collapses.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        from commands.info import version_of

        typer.echo(f"dyn {version_of('dyn-byol') or 'of a folder of sources, not installed'}")
        raise typer.Exit


@app.callback()
def _group(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    pass


if __name__ == "__main__":
    app()
