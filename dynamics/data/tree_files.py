"""Latent trees in files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from dynamics.data.latent_trees import LatentTree
from dynamics.files import check_file

_KEYS = ("parents", "kernels", "polarities", "root_law")


def load_tree_file(path: str | Path) -> LatentTree:
    """Read a latent tree from a JSON object.

    Parameters
    ----------
    path
        File with ``parents``, the number of each node's parent and −1 for the root; either ``kernels``, one matrix per
        node and null for the root, or ``polarities``, one number in [−1, 1] per node and null for the root, of
        symmetric binary kernels; and ``root_law``, the probabilities of the root's states (equal for ``polarities``).

    Returns
    -------
    LatentTree
        See there.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is not so; the message begins with its name.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "tree.json")
    ...     _ = file.write_text('{"parents": [-1, 0, 0], "polarities": [null, 0.5, 0.9]}')
    ...     load_tree_file(file).leaves
    array([1, 2])
    """
    path = Path(path)
    check_file(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} must hold a JSON object: {error}") from None
    try:
        return _tree(content)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{path}: {str(error).replace('`', '')}") from None


def _tree(content: Any) -> LatentTree:
    if not isinstance(content, dict):
        raise ValueError(f"a tree must be a JSON object, got {type(content).__name__}")
    unknown = [key for key in content if key not in _KEYS]
    if unknown:
        raise ValueError(f"keys must be among {', '.join(_KEYS)}, got {unknown[0]!r}")
    if ("kernels" in content) == ("polarities" in content):
        raise ValueError("a tree must have either kernels or polarities, got both or neither")
    parents = content.get("parents")
    if not isinstance(parents, list) or not all(type(parent) is int for parent in parents):
        raise ValueError(f"parents must be a list of whole numbers, got {parents!r}")
    if "kernels" in content:
        kernels, law = content["kernels"], content.get("root_law")
        if not isinstance(kernels, list):
            raise ValueError(f"kernels must be a list, got {kernels!r}")
    else:
        kernels, law = _symmetric(content["polarities"], parents), content.get("root_law", [0.5, 0.5])
    if not isinstance(law, list) or not all(type(p) in (int, float) for p in law):
        raise ValueError(f"root_law must be a list of probabilities, got {law!r}")
    return LatentTree(parents, kernels, law)


def _symmetric(polarities: Any, parents: list[int]) -> list[Any]:
    if not isinstance(polarities, list) or len(polarities) != len(parents):
        raise ValueError(
            f"polarities must be a list of {len(parents)} entries, one per node, got {polarities!r}"
        )
    kernels: list[Any] = []
    for node, (rho, parent) in enumerate(zip(polarities, parents, strict=True)):
        if parent == -1:
            kernels.append(None)
            continue
        if type(rho) not in (int, float) or not abs(rho) <= 1:
            raise ValueError(f"polarities must be numbers in [-1, 1], got {rho!r} for node {node}")
        same, other = (1 + rho) / 2, (1 - rho) / 2
        kernels.append(np.array([[same, other], [other, same]]))
    return kernels
