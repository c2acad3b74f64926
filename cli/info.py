"""`dyn info`: versions, devices, and the names of things."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.application import command
from cli.options import JsonOption
from cli.printing import print_json, print_table

LIBRARIES = (
    "numpy",
    "scipy",
    "sympy",
    "matplotlib",
    "typer",
    "rich",
    "jax",
    "diffrax",
    "scikit-learn",
    "xarray",
)
VARIANT_MEANINGS = {
    "full": "W and P by gradient flow, Θ follows W by an exponential moving average",
    "fixed-target": "Θ constant",
    "tied": "one mode with w1 = w2 and τo = τp",
    "no-predictor": "P = I constant",
    "no-ema": "Θ = W behind the stop-gradient",
    "no-stop-gradient": "Θ = W, gradient through both branches",
    "symmetric-predictor": "P kept symmetric",
    "fast-predictor": "P optimal for the current W and Θ, the limit τp → 0",
    "directpred": "P = Û diag(√s + 0.1 max s) Ûᵀ from the feature covariance F = Û diag(s) Ûᵀ",
    "directset": "P = F",
}
DATASET_MEANINGS = {
    "digits": "1,797 images of 8 by 8 pixels, bundled with scikit-learn",
    "FILE.npy, FILE.npz": "an array (N, d), (N, h, w) or (N, h, w, c)",
    "cifar10:DIR": "CIFAR-10, python or binary version, unpacked in DIR",
    "stl10:DIR": "STL-10, binary version, unpacked in DIR",
}
TOPICS = ("versions", "augmentations", "variants", "objectives", "datasets", "formats")


@command(
    "info",
    help="Versions, devices, and the names of things.",
    epilog="Example: dyn info augmentations",
)
def info(
    topic: Annotated[str, typer.Argument(metavar="[TOPIC]", help=", ".join(TOPICS))] = "versions",
    json: JsonOption = False,
) -> None:
    """Print what this installation has."""
    names = {
        "augmentations": _augmentation_names,
        "variants": lambda: VARIANT_MEANINGS,
        "objectives": _objective_names,
        "datasets": lambda: DATASET_MEANINGS,
        "formats": _format_names,
    }
    if topic not in TOPICS:
        raise ValueError(f"the topic must be one of {', '.join(TOPICS)}, got {topic!r}")
    if json:
        report = {"versions": _versions(), "devices": _devices()}
        print_json(report | {name: read() for name, read in names.items()})
        return
    if topic != "versions":
        print_table(["name", "meaning"], [[name, text] for name, text in names[topic]().items()])
        return
    print_table(["library", "version"], [[name, text] for name, text in _versions().items()])
    print_table(["device"], [[device] for device in _devices()])


def _versions() -> dict[str, str]:
    from importlib.metadata import version
    from platform import python_version

    return {
        "dyn": version("dyn-byol"),
        "python": python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


def _devices() -> list[str]:
    import jax

    return [f"{device.platform}: {device.device_kind}" for device in jax.devices()]


def _augmentation_names() -> dict[str, str]:
    from dynamics.augment import AUGMENTATIONS

    return {kind.signature: kind.meaning for kind in AUGMENTATIONS.values()}


def _format_names() -> dict[str, str]:
    from dynamics.storage import SUFFIXES
    from figures.style import PICTURES

    return {"--out": ", ".join(SUFFIXES), "--plot": ", ".join(PICTURES)}


def _objective_names() -> dict[str, str]:
    from dynamics.objectives import OBJECTIVES

    return {name: row.meaning for name, row in OBJECTIVES.items()}
