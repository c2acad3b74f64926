"""Measurements on disk as they come: a killed run leaves what it had measured, a resumed one repeats nothing.

One row for each run and measurement: ``run``, ``seed``, ``step``, the swept scalars that differ between runs, and the
metrics. ``.csv`` has a column for each entry of a vector (``feature_eigenvalues_0``); ``.jsonl`` one object a line,
null for what is not finite; ``.parquet`` columns of lists, with the settings under ``settings`` in its metadata.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dynamics.claims import claimed
from dynamics.files import append, checked_suffix, checked_target, replacing
from dynamics.training.checkpoints import measurements
from dynamics.training.settings import TrainingSettings

STREAMED = (".csv", ".jsonl", ".parquet")
"""Suffixes of files that are written while a run goes on."""
PARQUET_SHARE = 0.05
"""Share of the time that may go into rewriting a Parquet file, which cannot be appended to."""

Row = dict[str, Any]


class Recording:
    """A file that grows with the run; to be handed to `train` as `progress`, within a ``with`` block.

    Parameters
    ----------
    path
        Ends in .csv, .jsonl or .parquet. An old file is replaced at the first measurement, so that a run that is
        refused changes nothing.
    settings, seeds
        Of the run, as `train` has them.
    resumed
        Checkpoint that the run goes on from; what it holds is written first, whatever the old file had. None, or a
        file that does not exist, for a run from the start.

    Raises
    ------
    ValueError
        Another suffix, or a place that cannot be written to.

    Examples
    --------
    >>> Recording("metrics.txt", TrainingSettings(), [0])
    Traceback (most recent call last):
    ValueError: a file name must end in .csv, .jsonl, .parquet, got 'metrics.txt'
    """

    def __init__(
        self,
        path: str | Path,
        settings: TrainingSettings,
        seeds: Sequence[int],
        *,
        resumed: str | Path | None = None,
    ) -> None:
        self.path = checked_target(checked_suffix(path, STREAMED))
        self.settings = settings
        self.seeds = seeds
        self.resumed = None if resumed is None or not Path(resumed).exists() else Path(resumed)
        self._started = False
        self._rows: list[Row] = []  # of a Parquet file, which is always written whole
        self._written, self._cost = 0.0, 0.0

    def __enter__(self) -> Recording:
        self._claim = claimed(self.path)
        self._claim.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if self._started:
                if self._kind == ".parquet":
                    self._write_parquet()
            elif kind is None:  # resumed at the very end: there was nothing left to measure
                self._create(self._earlier())
        finally:
            self._claim.__exit__(None, None, None)

    def __call__(self, step: int, steps: int, metrics: Mapping[str, np.ndarray]) -> None:
        """Write the measurements of all runs at one step, (n_runs, …) each."""
        rows = self._at(step, metrics)
        if self._started:
            self._append(rows)
        else:
            self._create(self._earlier() + rows)

    @cached_property
    def _runs(self) -> list[Row]:
        """What names each run: its number, its seed, and swept scalars that have one value a run."""
        swept = self.settings.swept().items()
        varied = {name: values for name, values in swept if isinstance(values, tuple)}
        n_runs = max(len(self.seeds), self.settings.n_settings)
        seeds = np.broadcast_to(self.seeds, n_runs).tolist()
        return [
            {"run": run, "seed": seeds[run], **{name: values[run] for name, values in varied.items()}}
            for run in range(n_runs)
        ]

    def _at(self, step: int, metrics: Mapping[str, np.ndarray]) -> list[Row]:
        return [
            {**run, "step": step, **{name: values[index] for name, values in metrics.items()}}
            for index, run in enumerate(self._runs)
        ]

    def _earlier(self) -> list[Row]:
        if self.resumed is None:
            return []
        steps, metrics = measurements(self.resumed, self.settings)
        return [
            row
            for k, step in enumerate(steps)
            for row in self._at(int(step), {name: values[:, k] for name, values in metrics.items()})
        ]

    @property
    def _kind(self) -> str:
        return self.path.suffix.lower()

    def _create(self, rows: list[Row]) -> None:
        self._started = True
        if self._kind == ".parquet":
            self._rows = rows
            self._write_parquet()
            return
        head = ""
        if self._kind == ".csv":
            head = ",".join(_flat(rows[0])) + "\n"
        with replacing(self.path) as temporary:
            temporary.write_text(head + self._lines(rows), encoding="utf-8")

    def _append(self, rows: list[Row]) -> None:
        if self._kind == ".parquet":
            self._rows += rows
            if time.monotonic() - self._written > self._cost / PARQUET_SHARE:
                self._write_parquet()
            return
        append(self.path, self._lines(rows))

    def _lines(self, rows: list[Row]) -> str:
        if self._kind == ".csv":
            return "".join(",".join(map(str, _flat(row).values())) + "\n" for row in rows)
        return "".join(json.dumps({k: _listed(v) for k, v in row.items()}) + "\n" for row in rows)

    def _write_parquet(self) -> None:
        import pyarrow
        import pyarrow.parquet

        began = time.monotonic()
        rows = [{name: np.asarray(value).tolist() for name, value in row.items()} for row in self._rows]
        table = pyarrow.Table.from_pylist(rows)
        table = table.replace_schema_metadata({"settings": self.settings.to_json()})
        with replacing(self.path) as temporary:
            pyarrow.parquet.write_table(table, temporary)
        self._written = time.monotonic()
        self._cost = self._written - began


def _flat(row: Row) -> Row:
    """Row with an entry for each number: vectors become name_0, name_1 and so on."""
    flat: Row = {}
    for name, value in row.items():
        for index in np.ndindex(np.shape(value)):
            flat["_".join([name, *map(str, index)])] = np.asarray(value)[index]
    return flat


def _listed(value: Any) -> Any:
    """Numbers and lists as JSON has them: the shortest text that reads back as the same number of its precision."""
    if np.ndim(value):
        return [_listed(item) for item in value]
    if isinstance(value, np.floating):
        return float(str(value)) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
