"""The table of variants: every variant of linear BYOL is one row, and nothing else lists them.

Options, help texts, `dyn info`, compiled kernels and checks are derived from it. What is known of a variant's ends is
kept where it is proved (`analysis`), keyed by these names; a variant that a question does not cover is refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass

from dynamics.fields import matrices as matrix
from dynamics.fields import modes as mode
from dynamics.fields.vector_field import VectorField
from dynamics.integration import mode_flow as flow


@dataclass(frozen=True)
class Variant:
    """One variant of the flow.

    Parameters
    ----------
    name
        As on the command line.
    meaning
        One line for `dyn info`.
    mode_field
        Vector field of one mode.
    matrix_field
        Vector field of the full network; None for a variant of one mode alone.
    mode_balanced, matrix_balanced
        Whether τo w1² − τp w2², and τo W Wᵀ − τp Pᵀ P, equal e^{−2ηt} times their start (R2).
    kind
        Kind of `dynamics.integration.mode_flow`; None where one mode is not compiled.
    direct
        (α½, α1) of a predictor w2 = α½ √s + α1 s with s = λs w1² (R22).
    """

    name: str
    meaning: str
    mode_field: VectorField
    matrix_field: VectorField | None
    mode_balanced: bool
    matrix_balanced: bool
    kind: int | None
    direct: tuple[float, float] = (0.0, 0.0)


_ROWS = (
    Variant(
        *(
            "full",
            "W and P by gradient flow, Θ follows W by an exponential moving average",
            mode.full_mode_field,
            matrix.full_field,
        ),
        *(True, True, flow.FULL),
    ),
    Variant(
        *("fixed-target", "Θ constant", mode.fixed_target_mode_field, matrix.fixed_target_field),
        *(True, True, flow.FIXED),
    ),
    Variant("tied", "one mode with w1 = w2 and τo = τp", mode.tied_mode_field, None, True, False, flow.TIED),
    Variant(
        *("no-predictor", "P = I constant", mode.no_predictor_mode_field, matrix.no_predictor_field),
        *(False, False, flow.IDENTITY),
    ),
    Variant(
        *("no-ema", "Θ = W behind the stop-gradient", mode.no_ema_mode_field, matrix.no_ema_field),
        *(True, True, flow.NO_EMA),
    ),
    Variant(
        "no-stop-gradient",
        "Θ = W, gradient through both branches",
        mode.no_stop_gradient_mode_field,
        matrix.no_stop_gradient_field,
        *(False, False, flow.NO_STOP),
    ),
    Variant(
        "symmetric-predictor",
        "P kept symmetric",
        mode.symmetric_predictor_mode_field,
        matrix.symmetric_predictor_field,
        *(True, False, flow.FULL),
    ),
    Variant(
        "fast-predictor",
        "P optimal for the current W and Θ, the limit τp → 0",
        mode.fast_predictor_mode_field,
        matrix.fast_predictor_field,
        *(False, False, flow.FAST),
    ),
    Variant(
        "directpred",
        "P = Û diag(√s + 0.1 max s) Ûᵀ from the feature covariance F = Û diag(s) Ûᵀ",
        mode.directpred_mode_field,
        matrix.directpred_field,
        *(False, False, flow.DIRECT, (1.0, 0.1)),
    ),
    Variant(
        "directset",
        "P = F",
        mode.directset_mode_field,
        matrix.directset_field,
        *(False, False, flow.DIRECT, (0.0, 1.0)),
    ),
)

VARIANTS: dict[str, Variant] = {row.name: row for row in _ROWS}
"""All variants by name."""

MODE_FIELDS: dict[str, VectorField] = {name: row.mode_field for name, row in VARIANTS.items()}
"""Vector fields of one mode by the variant's name."""

FIELDS: dict[str, VectorField] = {
    name: row.matrix_field for name, row in VARIANTS.items() if row.matrix_field is not None
}
"""Vector fields of the full network by the variant's name."""

PROPORTIONAL = "proportional-ema"
"""Name of the field whose target is a given function of time: it is no row, but conserves the balance (R2)."""

BALANCED_VARIANTS = frozenset(
    {PROPORTIONAL, *(name for name, row in VARIANTS.items() if row.matrix_balanced)}
)
"""Matrix variants whose balance matrix obeys C(t) = e^{−2ηt} C(0) (R2).

They are the gradient flows of W and P behind a stop-gradient, whatever the target does. Not so the symmetric
predictor: dC/dt = −2ηC + ½[P, E Wᵀ − W Eᵀ], and a commutator leaves only the trace τo‖W‖² − τp‖P‖² to obey
the law. Nor the fast predictor, which conserves W Wᵀ instead (R21).
"""

BALANCED_MODE_VARIANTS = frozenset(
    {PROPORTIONAL, *(name for name, row in VARIANTS.items() if row.mode_balanced)}
)
"""One-mode variants with c(t) = e^{−2ηt} c(0): 1×1 predictors commute, and tied weights have c = 0."""


def mode_variant(vector_field: VectorField) -> Variant:
    """Row of a vector field of one mode.

    Raises
    ------
    ValueError
        The field is none of the table's.
    """
    row = VARIANTS.get(vector_field.name)
    if row is None or row.mode_field is not vector_field:
        raise ValueError(
            f"`vector_field` must be the mode field of a variant ({', '.join(VARIANTS)}), got {vector_field.name}"
        )
    return row
