"""Docstrings are plain text with equations: made into reStructuredText here, for the reference of the site."""

from __future__ import annotations

import re
from types import GenericAlias
from typing import Any

_UNDERLINE = re.compile(r"-{3,}\s*$")
_LONGEST_VALUE = 60
_QUOTED = re.compile(r"(``[^`]+``|`[^`]+`)")
_PARAMETERS = frozenset(
    {"Parameters", "Returns", "Yields", "Raises", "Attributes", "Methods", "See Also", "Warns"}
)


def escaped(text: str) -> str:
    r"""Escape what reStructuredText would read as markup, outside backquotes.

    >>> escaped("|w1| -> `w_` and C* x_")
    '\\|w1\\| -> `w_` and C\\* x\\_'
    """
    parts = _QUOTED.split(text)
    for at in range(0, len(parts), 2):
        parts[at] = re.sub(r"([\\*|`]|(?<=\w)_(?!\w))", r"\\\1", parts[at])
    for at in range(1, len(parts), 2):
        if not parts[at].startswith("``") and re.search(r"[<>~!\s]", parts[at]):
            parts[at] = f"`{parts[at]}`"
        if parts[at + 1][:1].isalnum():
            parts[at] += "\\ "  # markup must end at the end of a word
    return "".join(parts)


def plain_text(lines: list[str]) -> list[str]:
    """Turn a docstring into reStructuredText: equations are literal blocks, and no letter is markup.

    Parameters
    ----------
    lines
        The docstring without its indentation.

    Returns
    -------
    list of str
        With sections as numpydoc reads them.
    """
    made: list[str] = []
    section, in_example, in_literal = "", False, False
    for at, line in enumerate(lines):
        following = lines[at + 1] if at + 1 < len(lines) else ""
        if not line.strip():
            in_example = False
            made.append("")
            continue
        indented = line.startswith(" ")
        if in_literal and indented:
            made.append(line)
            continue
        in_literal = False
        if _UNDERLINE.match(following) and not indented:
            section = line.strip()
            made.append(line)
        elif _UNDERLINE.match(line):
            made.append(line)
        elif in_example or line.lstrip().startswith(">>> "):
            in_example = True
            made.append(line)
        elif indented and section not in _PARAMETERS:
            before = made[-1].strip() if made else ""
            if before:  # a list item or the like that goes on
                made.append("")
            made += ["::", "", line]
            in_literal = True
        else:
            made.append(escaped(line))
    return _with_ends(made)


def _with_ends(lines: list[str]) -> list[str]:
    """End literal blocks with a blank line."""
    ended: list[str] = []
    for line in lines:
        if ended and ended[-1].startswith(" ") and line and not line.startswith(" "):
            ended.append("")
        ended.append(line)
    return ended


def process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Hook of autodoc: rewrite the lines of a docstring in place."""
    lines[:] = plain_text(lines)


def shorten_value(app: Any, domain: str, kind: str, content: Any) -> None:
    """Hook of Sphinx: leave out the value of a constant that does not fit on a line."""
    if kind in ("data", "attribute"):
        for part in [part for signature in content.parent.children[:-1] for part in signature.children]:
            text = part.astext().lstrip()
            if part.tagname == "desc_annotation" and text.startswith("=") and len(text) > _LONGEST_VALUE:
                part.parent.remove(part)


def skip(app: Any, what: str, name: str, obj: Any, skipped: bool, options: Any) -> bool | None:
    """Hook of autodoc: fields of named tuples are told as parameters of their class, and aliases where they are used.

    >>> skip(None, "module", "Pair", tuple[int, int], False, None)
    True
    """
    return True if isinstance(obj, GenericAlias) or type(obj).__name__ == "_tuplegetter" else None
