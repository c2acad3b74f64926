"""The terminal: exit codes, and the letters that an output stream can show."""

from __future__ import annotations

import codecs
import io
import sys

CHECK_FAILED, BAD_INPUT, FAILED, INTERRUPTED = 1, 2, 3, 130
"""Exit codes: a check did not hold; bad input; a run failed; Ctrl-C."""

_SPELLED = {
    "λ": "lambda", "θ": "theta", "Θ": "Theta", "Σ": "Sigma", "σ": "sigma", "τ": "tau", "η": "eta", "α": "alpha",
    "₊": "+", "₋": "-",
    "β": "beta", "γ": "gamma", "ε": "epsilon", "κ": "kappa", "ρ": "rho", "φ": "phi", "Δ": "Delta", "√": "sqrt",
    "–": "-", "—": "-", "−": "-", "─": "-", "·": "-", "…": "...", "×": "x", "±": "+-", "≥": ">=", "≤": "<=",
    "‖": "|", "→": "->", "∞": "inf", "≠": "!=", "≈": "~", "½": "1/2", "¹": "^1", "²": "^2", "³": "^3", "⁻": "^-",
    "ᵀ": "^T", "Û": "U", "’": "'", "∂": "d", "\u2011": "-",
}  # fmt: skip
"""How text for people is written where the terminal has ASCII alone."""


def _spell(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    unknown = error.object[error.start : error.end]
    return "".join(_SPELLED.get(character, "?") for character in unknown), error.end


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
