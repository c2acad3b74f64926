"""The terminal: exit codes, and the letters that an output stream can show."""

from __future__ import annotations

import codecs
import io
import sys
import unicodedata

CHECK_FAILED, BAD_INPUT, FAILED, INTERRUPTED = 1, 2, 3, 130
"""Exit codes: a check did not hold; bad input; a run failed; Ctrl-C."""

_SPELLED = {
    "λ": "lambda", "√": "sqrt", "∈": "in", "∫": "int", "⁺": "^+", "¼": "1/4", "¾": "3/4",
    "–": "-", "—": "-", "−": "-", "─": "-", "·": "-", "…": "...", "×": "x", "±": "+-", "≥": ">=", "≤": "<=",
    "‖": "|", "→": "->", "∞": "inf", "≠": "!=", "≈": "~", "½": "1/2", "¹": "^1", "²": "^2", "³": "^3", "⁻": "^-",
    "ᵀ": "^T", "Û": "U", "’": "'", "∂": "d", "\u2011": "-",
}  # fmt: skip
"""How symbols are written where the terminal has ASCII alone; Greek letters by their names."""


def _spell(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    unknown = error.object[error.start : error.end]
    return "".join(_SPELLED.get(character) or _named(character) for character in unknown), error.end


def _named(character: str) -> str:
    """A Greek letter by its name, any other character by its plain letters, ? where it has none."""
    name = unicodedata.name(character, "")
    for kind, written in (("GREEK SMALL LETTER ", str.lower), ("GREEK CAPITAL LETTER ", str.capitalize)):
        if name.startswith(kind):
            return written(name.removeprefix(kind).split()[-1])
    parts = unicodedata.normalize("NFKD", character)
    return "".join(part if part.isascii() else _SPELLED.get(part, "") for part in parts) or "?"


def spell_out() -> None:
    """Let standard output and error spell what their encoding lacks, rather than fail."""
    codecs.register_error("dyn-spell", _spell)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="dyn-spell")


def shown(text: str, encoding: str) -> str:
    """Text as a stream of that encoding shows it.

    >>> shown("λd/λs ≥ ½", "ascii")
    'lambdad/lambdas >= 1/2'
    """
    codecs.register_error("dyn-spell", _spell)
    return text.encode(encoding, "dyn-spell").decode(encoding)
