"""`dyn info`: versions, devices, and the names of things."""

from __future__ import annotations

import re
import sys
from typing import Annotated

import typer

from commands.declaration import Suggested, command
from commands.output import JsonOption, print_json, print_table

SWEEP = """\
# Run it with: dyn sweep FILE.toml --out FILE.zarr
kind = "modes"  # one-mode trajectories
samples = 20    # random starts in every cell of the grid
seed = 0

[parameters]
lambda_s = 1.0
ratio = { linspace = [0.1, 0.9, 5] }         # axis
weight_decay = { values = [0, 0.02, 0.05] }  # axis
online = { normal = [0, 0.7] }               # drawn
predictor = { normal = [0, 0.7] }            # drawn
t_end = 50
"""
TOPICS = ("versions", "augmentations", "variants", "objectives", "datasets", "formats", "sweep")


@command(
    "info",
    epilog="Example: dyn info augmentations",
)
def info(
    topic: Annotated[
        str, typer.Argument(metavar="TOPIC", help=", ".join(TOPICS)), Suggested(lambda: TOPICS)
    ] = "versions",
    json: JsonOption = False,
) -> None:
    """Print what this installation has."""
    names = {
        "augmentations": _augmentation_names,
        "variants": _variant_names,
        "objectives": _objective_names,
        "datasets": _source_meanings,
        "formats": _format_names,
    }
    if topic not in TOPICS:
        raise ValueError(f"the topic must be one of {', '.join(TOPICS)}, got {topic!r}")
    if json:
        report = {"versions": _versions(), "devices": _devices()}
        print_json(report | {name: read() for name, read in names.items()} | {"sweep": SWEEP})
        return
    if topic == "sweep":
        sys.stdout.write(SWEEP)
        return
    if topic != "versions":
        print_table(["name", "meaning"], [[name, text] for name, text in names[topic]().items()])
        return
    print_table(["library", "version"], [[name, text] for name, text in _versions().items()])
    print_table(["device"], [[device] for device in _devices()])


def _versions() -> dict[str, str]:
    from platform import python_version

    return {"dyn": version_of("dyn-byol") or "not installed", "python": python_version(), **_libraries()}


def _libraries() -> dict[str, str]:
    """Versions of what the project names as a dependency, of the optional ones those that are installed."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        needed = requires("dyn-byol") or []
    except PackageNotFoundError:  # run from a folder of sources
        return {}
    names = dict.fromkeys(re.split(r"[^\w.-]", requirement)[0] for requirement in needed)
    return {name: version for name in sorted(names) if (version := version_of(name)) is not None}


def version_of(name: str) -> str | None:
    """Version of a distribution, None where it is not installed.

    >>> version_of("no-such-library") is None
    True
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _devices() -> list[str]:
    import jax

    try:
        return [f"{device.platform}: {device.device_kind}" for device in jax.devices()]
    except RuntimeError as error:  # a platform asked for in JAX_PLATFORMS that is not there
        return [f"none: {error}"]


def _variant_names() -> dict[str, str]:
    from dynamics.variants import VARIANTS

    return {row.name: row.meaning for row in VARIANTS.values()}


def _source_meanings() -> dict[str, str]:
    from dynamics.data.datasets import SOURCES

    arrays = {"FILE.npy, FILE.npz": "an array (N, d), (N, h, w) or (N, h, w, c)"}
    return {row.form: row.meaning for row in SOURCES.values()} | arrays


def _augmentation_names() -> dict[str, str]:
    from dynamics.data.views import AUGMENTATIONS

    return {kind.signature: kind.meaning for kind in AUGMENTATIONS.values()}


def _format_names() -> dict[str, str]:
    from dynamics.files import SUFFIXES
    from figures.style import PICTURES

    return {"--out": ", ".join(SUFFIXES), "--plot": ", ".join(PICTURES)}


def _objective_names() -> dict[str, str]:
    from dynamics.objectives import OBJECTIVES

    return {name: row.meaning for name, row in OBJECTIVES.items()}
