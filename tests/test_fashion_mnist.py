"""Fashion-MNIST as Debian's package dataset-fashion-mnist installs it: read whole, gzipped or not, and trained on."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import report_of
from numpy.testing import assert_array_equal
from PIL import Image

from dynamics.data.datasets import load

Dyn = Callable[..., tuple[Any, str, str]]

FOLDER = Path("/usr/share/datasets/fashion-mnist")
pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"the package dataset-fashion-mnist is not installed: no {FOLDER}"
)


@pytest.mark.parametrize(("split", "n"), [("train", 60_000), ("test", 10_000)])
def test_all_images_and_ten_equal_classes_are_read(split: str, n: int) -> None:
    found = load(f"mnist:{FOLDER}", split=split)
    assert found.images.shape == (n, 28, 28, 1)
    assert found.images.dtype == np.uint8
    assert found.labels is not None
    assert_array_equal(np.bincount(found.labels), np.full(10, n // 10))
    assert (found.images.min(), found.images.max()) == (0, 255)


def test_gzipped_files_and_plain_ones_hold_the_same(tmp_path: Path) -> None:
    for path in FOLDER.glob("t10k-*.gz"):
        (tmp_path / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    zipped, plain = (load(f"mnist:{folder}", split="test") for folder in (FOLDER, tmp_path))
    assert_array_equal(zipped.images, plain.images)
    assert_array_equal(np.asarray(zipped.labels), np.asarray(plain.labels))


@pytest.mark.slow
def test_a_network_is_trained_and_drawn(dyn: Dyn, tmp_path: Path) -> None:
    network = (
        "--encoder",
        "mlp",
        "--features",
        "16",
        "--predictor-kind",
        "linear",
        "--steps",
        "200",
        "--seeds",
        "2",
    )
    rates = ("--optimizer", "adam", "--learning-rate", "1e-3", "--set", "data.limit=5000")
    report_of(
        dyn,
        "train",
        "--data",
        f"mnist:{FOLDER}",
        *network,
        *rates,
        "--plot",
        tmp_path / "p.png",
        "--dpi",
        "40",
    )
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.width > 200
