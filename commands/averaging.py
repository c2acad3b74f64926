"""How the target follows the encoder in real steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from commands.declaration import RUN, OneOf, numeric, option

if TYPE_CHECKING:
    from dynamics.integration.discrete import EmaOrder


@dataclass(frozen=True)
class EmaOptions:
    """Rate and order of the moving average in real steps."""

    ema_rate: Annotated[
        float | None,
        numeric("--ema-rate", panel=RUN, help="Share h of the target that a step replaces (ε/τt)."),
    ] = None
    ema_order: Annotated[
        str | None,
        option(
            "--ema-order",
            panel=RUN,
            help="practical: the average takes in the encoder after the step; lagged: before it (practical).",
        ),
        OneOf(lambda: ("practical", "lagged")),
    ] = None


def averaging(options: EmaOptions, step: float, tau_target: Any) -> tuple[float, EmaOrder]:
    """Rate of the moving average at a step, ε/τt where none is given, and its order."""
    from dynamics.integration.discrete import EmaOrder, checked_step

    rate = options.ema_rate
    if rate is None:
        import numpy as np

        checked_step(step, 1.0)
        rate = step / float(np.max(tau_target))
        if rate > 1:
            raise ValueError(
                f"--ema-rate must be given where --step exceeds τt, for ε/τt would be {rate:.6g}, got none"
            )
    checked_step(step, rate)
    return rate, EmaOrder(options.ema_order or EmaOrder.PRACTICAL)
