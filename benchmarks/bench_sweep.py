"""What a sweep costs beside its integrator: drawing, cutting, checking and writing, for N trajectories.

python benchmarks/bench_sweep.py            # ten million
python benchmarks/bench_sweep.py 1_000_000  # below some seconds, starting and measuring a sweep shows
"""

from __future__ import annotations

import sys
import tempfile
from itertools import count
from pathlib import Path

import xarray
from _harness import measure, write_table

from analysis.sweeps import design, sweep
from analysis.sweeps.design import Design
from analysis.sweeps.registry import KINDS

LIMIT = 1.3
REPEATS = 7


def random_starts(n: int) -> Design:
    """Everything is drawn, so that every run has five parameters to be drawn and written."""
    return design(
        {
            "samples": n,
            "parameters": {
                "lambda_s": {"uniform": [0.5, 2]},
                "ratio": {"uniform": [0.2, 1]},
                **{part: {"normal": [0, 0.7]} for part in ("online", "predictor", "target")},
                "t_end": 50,
            },
        }
    )


def grid_of_starts(n: int) -> Design:
    """A plane of starts for ten ratios."""
    side = round((n / 10) ** 0.5)
    starts = {part: {"linspace": [-1.5, 1.5, side]} for part in ("online", "predictor")}
    ratios = {"linspace": [0.1, 0.9, 10]}
    return design({"parameters": {"lambda_s": 1, "ratio": ratios, **starts, "t_end": 50}})


def rows(name: str, made: Design, folder: Path) -> list[dict[str, object]]:
    """Time the integrator alone, on parameters that lie ready, and the sweep."""
    columns, stores = made.columns(0, made.size), (folder / f"{k}.zarr" for k in count())

    def integrator() -> None:
        KINDS[made.kind].run(made.settings, columns, made.outputs)

    def whole_sweep() -> None:
        sweep(made, next(stores))

    made.compute((0, 1))  # compiled
    times = measure({"integrator": integrator, "sweep": whole_sweep}, repeats=REPEATS, warmup=0)
    with xarray.open_zarr(folder / "0.zarr") as data:
        assert data.final_online.chunks is not None
    alone = times["integrator"].median
    return [
        {
            "trajectories": f"{made.size:,} {name}",
            "what": what,
            **time.row(),
            "a second": f"{made.size / time.median:,.3g}",
            "of the integrator alone": f"{time.median / alone:.2f}",
            "limit": LIMIT if what == "sweep" else "",
        }
        for what, time in times.items()
    ]


def main(n: int) -> None:
    """Write the table."""
    found = []
    for name, made in {"on a grid": grid_of_starts(n), "drawn": random_starts(n)}.items():
        with tempfile.TemporaryDirectory() as folder:
            found += rows(name, made, Path(folder))
    write_table("sweep", found)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000)
