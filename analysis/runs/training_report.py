"""A training run in plain numbers and words: groups of runs, each run by itself, and what became of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.runs.simulation import plain

if TYPE_CHECKING:
    from dynamics.training import TrainingRun


def report_of(run: TrainingRun) -> dict[str, Any]:
    """Return a run as a dictionary of plain numbers and words, as `dyn train --json` prints it.

    It says what groups of runs have in common at the end and at the start, and what each run did by itself.

    Groups are the values of what is swept. With more than one of them, ``metrics``, ``initial``, ``spread`` and
    ``n_defined`` hold a list for each name, with one entry for each group.
    """
    from dynamics.training import diagnose

    diagnoses = [diagnose(run, index) for index in range(run.n_runs)]
    groups: list[dict[str, Any]] = [
        {
            "values": group.values,
            "runs": group.runs,
            "n_diverged": int((run.failed_at[group.runs] >= 0).sum()),
            "verdicts": _counts([diagnoses[index].verdict for index in group.runs]),
            **_over_seeds(run, group.runs),
        }
        for group in run.groups
    ]
    shared = ("metrics", "initial", "spread", "n_defined")
    if len(groups) == 1:
        together: dict[str, Any] = {key: groups[0][key] for key in shared}
    else:
        together = {
            key: {name: [group[key][name] for group in groups] for name in groups[0][key]} for key in shared
        }
    scalars = {name: values for name, values in run.metrics.items() if values.ndim == 2}
    value_of = {index: group.values for group in run.groups for index in group.runs.tolist()}
    report = {
        **together,
        "steps": int(run.steps[-1]),
        "steps_per_second": run.steps_per_second,
        "device": run.device,
        "status": run.status,
        "message": run.message,
        "seconds": run.seconds,
        "n_diverged": int((run.failed_at >= 0).sum()),
        "groups": groups,
        "runs": [
            {
                "seed": int(run.seeds[index]),
                "values": value_of[index],
                "diagnosis": diagnoses[index].text,
                "verdict": diagnoses[index].verdict,
                "held": diagnoses[index].held,
                "n_modes": diagnoses[index].n_modes,
                "predicted": diagnoses[index].prediction.text or None,
                "agreement": diagnoses[index].agreement,
                "failed_at": int(run.failed_at[index]) if run.failed_at[index] >= 0 else None,
                "metrics": {name: values[index, -1] for name, values in scalars.items()},
            }
            for index in range(run.n_runs)
        ],
        "settings": json.loads(run.settings.to_json()),
    }
    return plain(report)


def _counts(words: Iterable[str]) -> dict[str, int]:
    return dict(Counter(words).most_common())


def _over_seeds(run: TrainingRun, runs: Any) -> dict[str, dict[str, Any]]:
    """Means and deviations over those of some runs in which a metric is defined, and how many these are.

    Runs that diverged have no metrics at the end, and are left out at the start too.
    """
    there = runs[run.failed_at[runs] < 0]
    found: dict[str, dict[str, Any]] = {"metrics": {}, "initial": {}, "spread": {}, "n_defined": {}}
    for name, values in run.metrics.items():
        end = values[there, -1].astype(float)
        defined = np.all(np.isfinite(end), axis=tuple(range(1, end.ndim)))
        undefined = np.full(values.shape[2:], np.nan).tolist()
        found["n_defined"][name] = int(defined.sum())
        found["metrics"][name] = np.mean(end[defined], axis=0) if defined.any() else undefined
        found["initial"][name] = np.mean(values[there, 0].astype(float), axis=0) if len(there) else undefined
        if values.ndim == 2 and len(runs) > 1:
            found["spread"][name] = np.std(end[defined], ddof=1) if defined.sum() > 1 else np.nan
    return found
