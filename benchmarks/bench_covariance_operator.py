"""Ends of the spectrum of a covariance operator, matrix-free and from the matrix, on a 64-64-32-16 net of digits."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from functools import partial

import numpy as np
from _harness import measure, write_table

from analysis.contrastive.covariance_operator import CovarianceOperator, covariance_operator
from dynamics.contrastive_losses import InfoNCELoss
from dynamics.data.datasets import load
from dynamics.data.view_tables import ViewTable
from dynamics.deep_networks import DeepReLU

WIDTHS = (64, 64, 32, 16)
DRAWS = 256
NOISE = 0.3


def digits_operator(layer: int) -> CovarianceOperator:
    """Operator of a layer of a random network under InfoNCE, through all branches, 4 negatives, noisy views."""
    rng = np.random.default_rng(0)
    images = load("digits").images.reshape(-1, 64) / 16
    images = images - images.mean(axis=0)
    views = images[:, None] + NOISE * rng.standard_normal((len(images), 2, 64))
    table = ViewTable(np.full(len(images), 1 / len(images)), views)
    shapes = zip(WIDTHS[1:], WIDTHS[:-1], strict=True)
    net = DeepReLU([rng.standard_normal(shape) * np.sqrt(2 / shape[1]) for shape in shapes])
    return covariance_operator(net, table, layer, InfoNCELoss(1.0), negatives=4, draws=DRAWS)


def matrix_free(layer: int) -> tuple[float, float]:
    return digits_operator(layer).extremes()


def dense(layer: int) -> tuple[float, float]:
    values = np.linalg.eigvalsh(digits_operator(layer).dense())
    return float(values[0]), float(values[-1])


def peak(work: Callable[[], object]) -> float:
    """Peak memory in MB."""
    tracemalloc.start()
    work()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found / 1e6


def main() -> None:
    rows: list[dict[str, object]] = []
    for layer in range(1, len(WIDTHS)):
        contenders: dict[str, Callable[[], tuple[float, float]]] = {
            "matrix-free": partial(matrix_free, layer),
            "dense": partial(dense, layer),
        }
        times = measure(contenders, repeats=3)
        ends = {name: np.array(work()) for name, work in contenders.items()}
        off = np.max(np.abs(ends["matrix-free"] - ends["dense"])) / np.max(np.abs(ends["dense"]))
        for name, work in contenders.items():
            rows.append(
                {
                    "layer": layer,
                    "unknowns": WIDTHS[layer] * WIDTHS[layer - 1],
                    "method": name,
                    **times[name].row(),
                    "peak memory (MB)": f"{peak(work):.0f}",
                    "dense/this": f"{times['dense'].median / times[name].median:.1f}",
                    "ends": ", ".join(f"{end:.5g}" for end in ends[name]),
                    "apart": f"{off:.0e}",
                }
            )
    write_table("covariance-operator", rows)


if __name__ == "__main__":
    main()
