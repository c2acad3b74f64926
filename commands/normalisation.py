"""Options of batch normalisation, and the moments and normaliser that they name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from commands.declaration import SYSTEM, OneOf, numeric, option
from commands.options import MomentOptions, SystemOptions

if TYPE_CHECKING:
    from dynamics.data.moments import Moments
    from dynamics.normalisation import Normaliser

_SUBTRACTS, _DIVIDES = ("mean", "both"), ("variance", "both")


@dataclass(frozen=True)
class BatchNormOptions:
    """Batch normalisation of the features that the predictor sees, and the mean of the views."""

    batch_norm: Annotated[
        str,
        option(
            "--batch-norm",
            panel=SYSTEM,
            help="Normalise features before the predictor: none, mean, variance or both (none).",
        ),
        OneOf(lambda: ("none", "mean", "variance", "both")),
    ] = "none"
    detach: Annotated[
        list[str] | None,
        option(
            "--detach",
            panel=SYSTEM,
            metavar="STATISTIC",
            help="Stop gradients at the mean, whose target is then not centred, or at the variance; once for each.",
        ),
    ] = None
    mean: Annotated[
        list[float] | None,
        numeric(
            "--mean", panel=SYSTEM, help="Mean of the views, once for each mode (that of --moments, or 0)."
        ),
    ] = None


def normaliser_of(options: BatchNormOptions) -> Normaliser:
    """What the options do to features; what they leave without effect is refused."""
    from dynamics.normalisation import Normaliser

    kind, detached = options.batch_norm, set(options.detach or ())
    for name in detached:
        if name not in ("mean", "variance"):
            raise ValueError(f"--detach must be mean or variance, got {name!r}")
    for name, kinds in (("mean", _SUBTRACTS), ("variance", _DIVIDES)):
        if name in detached and kind not in kinds:
            raise ValueError(f"--detach {name} must go with --batch-norm {' or '.join(kinds)}, got {kind}")
    mean = "none" if kind not in _SUBTRACTS else "forward" if "mean" in detached else "full"
    std = "none" if kind not in _DIVIDES else "detached" if "variance" in detached else "full"
    return Normaliser(mean=mean, std=std)


def needs_field(normaliser: Normaliser) -> bool:
    """Whether its flow is not that of centred moments."""
    return normaliser.std != "none" or normaliser.mean == "forward"


def check_normalised(options: BatchNormOptions, system: SystemOptions, *, encoder: bool) -> Normaliser:
    """Read the options; objectives and variants without a flow of normalised features are refused."""
    normaliser = normaliser_of(options)
    if not normaliser.active:
        if options.mean is not None:
            raise ValueError("--mean must go with --batch-norm mean, variance or both, got none")
        return normaliser
    if encoder:
        raise ValueError(
            f"--batch-norm must be none for --objective {system.objective}, got {options.batch_norm}"
        )
    if needs_field(normaliser) and system.objective != "byol":
        raise ValueError(
            "--objective must be byol where features are divided by their deviation or the mean is detached,"
            f" got {system.objective}"
        )
    return normaliser


def moments_with_mean(options: BatchNormOptions, given: MomentOptions, moments: Moments) -> Moments:
    """Moments whose mean is known: that of `--mean`, of the file, or 0 for eigenvalues and for centred images."""
    from dynamics.data.centring import with_mean

    if options.mean is not None:
        if given.data is not None or given.augment is not None:
            raise ValueError("--mean must not go with --data, whose images are centred")
        return with_mean(moments, options.mean)
    if given.moments is not None and moments.mean is None:
        raise ValueError(
            f"--moments must hold `mean` for --batch-norm {options.batch_norm}, or --mean must give it;"
            f" {given.moments} holds none"
        )
    return moments if moments.mean is not None else with_mean(moments, np.zeros(moments.n_inputs))


def normalised_moments(
    options: BatchNormOptions, given: MomentOptions, moments: Moments, normaliser: Normaliser
) -> Moments:
    """Moments of the flow: centred where the mean is subtracted and gradients see it, otherwise with their mean."""
    from dynamics.data.centring import centred_views

    if not normaliser.active:
        return moments
    known = moments_with_mean(options, given, moments)
    return known if needs_field(normaliser) else centred_views(known)


def check_decoupled(moments: Moments, normaliser: Normaliser) -> None:
    """Refuse moments whose modes the mean couples, where modes are to run one by one."""
    S, D = moments.sigma_s, moments.sigma_d
    if normaliser.active and (
        moments.support is not None or any(np.any(np.diag(M.diagonal()) != M) for M in (S, D))
    ):
        raise ValueError(
            "--mean must be nonzero in one mode at most, and its square less than λs there, for modes one by one: the"
            " mean couples the others; --dim asks for the network"
        )


def batch_norm_report(normaliser: Normaliser) -> dict[str, Any]:
    """What was done to features, as reports hold it."""
    return {"mean": normaliser.mean, "std": normaliser.std}
