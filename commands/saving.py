"""Where results are saved and how their pictures look: --out, --plot, --theme, --size and --dpi of every command."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from commands.declaration import OUTPUT, WRITES, OneOf, Surrounding, option
from commands.output import ReportOptions, ShowOptions


def size_names() -> list[str]:
    """Names of the sizes of pictures."""
    from figures.style import SIZES

    return list(SIZES)


def theme_names() -> list[str]:
    """Names of the themes of pictures."""
    from figures.style import THEMES

    return list(THEMES)


@dataclass(frozen=True)
class LookOptions(Surrounding):
    """How a picture looks."""

    theme: Annotated[
        str | None,
        option("--theme", panel=OUTPUT, help="Colours of the picture (light)."),
        OneOf(theme_names),
    ] = None
    size: Annotated[
        str | None,
        option("--size", panel=OUTPUT, help="Room of the picture: a column, a page or a slide (double)."),
        OneOf(size_names),
    ] = None
    dpi: Annotated[
        int | None, option("--dpi", panel=OUTPUT, help="Dots per inch of .png pictures (300).", min=10)
    ] = None

    @property
    def draws(self) -> bool:
        """Whether a picture is drawn at all."""
        return True

    def surrounding(self) -> AbstractContextManager[None]:
        """Wear the look while the command runs; refuse one that nothing wears."""
        given = [name for name in ("theme", "size", "dpi") if getattr(self, name) is not None]
        if not given:
            return nullcontext()
        if not self.draws:
            raise ValueError(
                f"--{given[0]} must go with a picture, got none, which --plot or --folder would name"
            )
        from figures.style import look

        return look(size=self.size, theme=self.theme, dpi=self.dpi)


@dataclass(frozen=True)
class SaveOptions(LookOptions, ShowOptions):
    """How results are shown, and where they are saved."""

    out: Annotated[
        Path | None, option("--out", panel=OUTPUT, help="Save the data: .npz, .csv, .json or .nc."), WRITES
    ] = None
    plot: Annotated[
        Path | None, option("--plot", panel=OUTPUT, help="Save a picture: .png, .svg or .pdf."), WRITES
    ] = None

    @property
    def draws(self) -> bool:
        """Whether --plot is given."""
        return self.plot is not None


@dataclass(frozen=True)
class OutputOptions(SaveOptions, ReportOptions):
    """How results are shown and where they are saved, where something is drawn at random."""


def checked_outputs(output: SaveOptions, more: tuple[str, ...] = ()) -> None:
    """Refuse places and formats, SUFFIXES and `more`, that cannot be written before anything is computed."""
    from dynamics.files import SUFFIXES, checked_suffix, checked_target

    if output.out is not None:
        checked_target(checked_suffix(output.out, tuple(dict.fromkeys((*SUFFIXES, *more)))))
    if output.plot is not None:
        from figures.style import PICTURES

        checked_target(checked_suffix(output.plot, PICTURES))
