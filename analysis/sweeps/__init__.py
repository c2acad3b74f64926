"""Sweeps: the same run for millions of settings, resumable, on one machine or many.

`spec` reads and checks what to run, `kinds` (`modes`, `matrices`) what one run is, `store` keeps the results, `run`
does the work in this process and `cluster` on Dask.
"""

from analysis.sweeps.design import Design
from analysis.sweeps.run import Plan, Progress, Sweep, plan, sweep
from analysis.sweeps.spec import design, load_spec

__all__ = ["Design", "Plan", "Progress", "Sweep", "design", "load_spec", "plan", "sweep"]
