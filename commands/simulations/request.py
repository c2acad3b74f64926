"""What a run is asked for, and what a kind of run is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from commands.averaging import EmaOptions
from commands.declaration import RUN, START, SYSTEM, OneOf, numeric, option
from commands.normalisation import BatchNormOptions
from commands.options import LossOptions, RedundancyOptions, RunOptions, StartOptions, SystemOptions
from commands.saving import OutputOptions
from commands.simulations.restarts import RestartOptions
from dynamics.objectives import OBJECTIVES, flow_objectives

if TYPE_CHECKING:
    from dynamics.data.moments import Moments
    from dynamics.normalisation import Normaliser


@dataclass(frozen=True)
class BranchOptions:
    """Which branches carry the gradient of the simple loss."""

    branches: Annotated[
        str | None,
        option("--branches", panel=SYSTEM, help="Of simple: branches that the gradient goes through (all)."),
        OneOf(lambda: ("all", "one")),
    ] = None


@dataclass(frozen=True)
class DepthOptions:
    """An encoder of several linear layers."""

    depth: Annotated[
        int | None,
        option(
            "--depth",
            panel=SYSTEM,
            help="Linear layers of the encoder, of modes or of the network (R320).",
            min=1,
        ),
    ] = None
    layers: Annotated[
        list[str] | None,
        option(
            "--layers",
            panel=START,
            metavar="W1,W2,…",
            help="With --depth: weights of a mode, first to last, and of its targets; once, or per mode (0.1).",
        ),
    ] = None


@dataclass(frozen=True)
class StepOptions(EmaOptions):
    """Gradient descent with real steps in place of the flow."""

    step: Annotated[
        float | None,
        numeric("--step", panel=RUN, help="Step ε > 0 of gradient descent, in place of the flow."),
    ] = None
    batch: Annotated[
        int | None, option("--batch", panel=RUN, help="Gaussian batches of B pairs of views; none left out.")
    ] = None


@dataclass(frozen=True)
class SimulatedOptions(
    LossOptions,
    RedundancyOptions,
    BranchOptions,
    BatchNormOptions,
    DepthOptions,
    StepOptions,
    SystemOptions,
):
    """A system whose objective may be one of an encoder alone."""

    objective: Annotated[
        str,
        option("--objective", panel=SYSTEM, help="Objective whose flow of linear networks is known (byol)."),
        OneOf(flow_objectives),
    ] = "byol"


@dataclass(frozen=True)
class Request:
    """Options of a run, and what was read of them.

    Parameters
    ----------
    system, start, run, restart, output
        Options as given.
    normaliser
        What is done to features.
    moments
        Moments of the flow, or None before they are read.
    progress
        Called as progress(done, total); None before the run begins.
    """

    system: SimulatedOptions
    start: StartOptions
    run: RunOptions
    restart: RestartOptions
    output: OutputOptions
    normaliser: Normaliser
    moments: Moments | None = None
    progress: Callable[[float, float], None] | None = None

    @property
    def by_modes(self) -> bool:
        """Whether eigenvalues alone are given, so that modes may run one by one."""
        return self.system.lambda_s is not None and self.start.dim is None and self.start.state is None

    @property
    def of_encoder(self) -> bool:
        """Whether the objective trains an encoder alone."""
        return OBJECTIVES[self.system.objective].encoder_flow

    @property
    def options(self) -> dict[str, Any]:
        """What every integrator takes."""
        run = self.run
        return {
            "t_end": run.t_end,
            "rtol": run.rtol,
            "atol": run.atol,
            "method": run.method,
            "max_steps": run.max_steps,
            "progress": self.progress,
        }

    @property
    def known(self) -> Moments:
        """Moments of the flow."""
        assert self.moments is not None
        return self.moments


class Kind(NamedTuple):
    """A kind of run.

    Parameters
    ----------
    words
        How a refusal names it: "must not go with …".
    asked
        Whether a request asks for it; the first kind of the table that is asked for runs.
    obeys
        Groups of `GROUPS` whose options it obeys. All others are refused.
    run
        Request -> result with `trajectory` and `report()`.
    show
        Print a report as tables.
    unit
        What its progress counts; None where it only tells the time.
    """

    words: Callable[[Request], str]
    asked: Callable[[Request], bool]
    obeys: tuple[type, ...]
    run: Callable[[Request], Any]
    show: Callable[[dict[str, Any]], None]
    unit: str | None = None

    def check(self, request: Request) -> None:
        """Refuse options of groups that this kind does not obey.

        Raises
        ------
        ValueError
            One is given.
        """
        for group in GROUPS:
            if group in self.obeys:
                continue
            for item in fields(group):
                for options in (request.system, request.restart):
                    value = getattr(options, item.name, item.default)
                    if value != item.default:
                        raise ValueError(f"`{item.name}` must not go with {self.words(request)}, got {value}")


GROUPS: tuple[type, ...] = (
    LossOptions,
    RedundancyOptions,
    BranchOptions,
    BatchNormOptions,
    DepthOptions,
    StepOptions,
    RestartOptions,
)
"""Groups of options that not every kind of run obeys."""
