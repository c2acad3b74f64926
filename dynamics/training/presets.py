"""Named settings: the linear network of the theory, and the models of RAFT's Table 2, scaled to digits."""

from __future__ import annotations

from typing import Any

from dynamics.training.settings import TrainingSettings

DEFAULT = "linear"
"""The preset that a run starts from if none is named."""

_DATA = {"source": "digits", "augmentations": ("shift:1", "noise:0.3")}

# The larger encoder keeps its rank (R8), and steps are so small that the network follows the flow. Six random
# directions are seldom good ones: the probe of each of 24 seeds gained .05 to .24 by training.
_LINEAR: dict[str, Any] = {
    "data": _DATA,
    "encoder": {"features": 6, "scale": 0.3},
    "predictor": {"kind": "linear", "scale": 0.1},
    "optimizer": {"kind": "sgd", "learning_rate": 0.01},
    "steps": 5000,
    "metrics_every": 100,
}

# Appendix B of RAFT: an encoder, a projector of two layers with batch normalisation and a predictor like it
# without; Adam, batches of 128, 300 epochs, a target that follows at 4e-3. ResNet18 on CIFAR-10 becomes one hidden
# layer on digits, 512 and 128 dimensions 64 and 32, and the learning rate 1e-3, as the network is so much smaller.
_SOURCE_001: dict[str, Any] = {
    "data": _DATA,
    "encoder": {
        "kind": "mlp",
        "widths": (64,),
        "features": 16,
        "projector": (64, 32),
        "projector_batch_norm": True,
    },
    "target": {"kind": "ema", "decay": 0.996},
    "optimizer": {"kind": "adam", "learning_rate": 1e-3},
    "steps": 3160,
    "batch": 128,
    "metrics_every": 158,
}

_MLPP: dict[str, Any] = {"kind": "mlp", "hidden": 64}
_LP: dict[str, Any] = {"kind": "linear"}
_LPI: dict[str, Any] = {"kind": "linear", "start": "identity"}
_NP: dict[str, Any] = {"kind": "none"}

TABLE_2: dict[str, tuple[str, dict[str, Any], bool]] = {
    "BYOL-MLPP": ("byol", _MLPP, False),
    "BYOL-NP": ("byol", _NP, False),
    "BYOL-LP": ("byol", _LP, False),
    "BYOL-LPI": ("byol", _LPI, False),
    "TanBYOL-LP": ("byol", _LP, True),
    "BYOL'-MLPP": ("byol-prime", _MLPP, False),
    "BYOL'-LP": ("byol-prime", _LP, False),
    "BYOL'-NP": ("byol-prime", _NP, False),
    "TanBYOL'-LP": ("byol-prime", _LP, True),
    "RAFT-MLPP": ("raft", _MLPP, False),
    "RAFT-NP": ("raft", _NP, False),
    "RAFT-LP": ("raft", _LP, False),
    "TanRAFT-LP": ("raft", _LP, True),
}
"""Rows of Table 2 of RAFT: objective, predictor, and whether only the tangential gradient is kept."""

PRESETS = (DEFAULT, *TABLE_2)
"""Names that `preset` knows."""


def preset(name: str) -> TrainingSettings:
    """Return the settings of that name.

        linear      linear encoder of 8 features and linear predictor, SGD on squared errors: what the theory is about
        BYOL-MLPP … a row of Table 2 of RAFT, (α, β) = (1, 1), normalised and symmetric losses, on digits

    Parameters
    ----------
    name
        One of `PRESETS`, in capitals or not; ``-prime`` may stand for the prime, BYOL alone for BYOL-MLPP, and so
        with BYOL' and RAFT, as the table has it.

    Raises
    ------
    ValueError
        There is none of that name: which there are.

    Notes
    -----
    The source calls BYOL's predictor "two-layer MLP with batch normalization" in section 3 and without it in
    Appendix B, which is followed here. 3,160 steps are 300 epochs of the 1,348 digits that are trained on.

    Examples
    --------
    >>> preset("byol-prime-np").objective.kind, preset("RAFT") == preset("RAFT-MLPP")
    ('byol-prime', True)
    """
    wanted = name.casefold().replace("’", "'").replace("-prime", "'")
    names = {known.casefold(): known for known in PRESETS}
    known = names.get(wanted) or names.get(f"{wanted}-mlpp")
    if known is None:
        raise ValueError(f"`preset` must be one of {', '.join(PRESETS)}, got {name!r}")
    if known == DEFAULT:
        return TrainingSettings(**_LINEAR)
    objective, predictor, tangential = TABLE_2[known]
    parts: dict[str, Any] = {
        "predictor": predictor,
        "objective": {"kind": objective, "normalize": True, "tangential": tangential},
    }
    return TrainingSettings(**_SOURCE_001, **parts)
