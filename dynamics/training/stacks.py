"""The runs of one program on a device: stacked a few at a time, and stacks side by side on the cores of a CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

from dynamics.cores import available_cores
from dynamics.training.generator import new_key
from dynamics.training.loop import Arrays, Program, TrainingState
from dynamics.training.metrics import on_host
from dynamics.training.modes import Spectrum
from dynamics.training.settings import TrainingSettings

LARGEST_STACK, SMALLEST_STACK = 2**20, 2**16
"""Bytes of the views that the runs of a stack see in a step, all together: few enough to stay in the cache of a core,
and enough to be worth a thread."""


_new_keys = jax.jit(jax.vmap(new_key, in_axes=(0, None)), static_argnums=1)


# left to itself JAX rounds the factors of products to TF32 on GPUs that can
_PRECISIONS = {"float32": "float32", "tf32": "tensorfloat32"}


@contextmanager
def on(device: Any, settings: TrainingSettings) -> Iterator[None]:
    """Let JAX work on a device in the precision of the settings: in this thread, and in no other."""
    with (
        jax.enable_x64(settings.dtype == "float64"),
        jax.default_matmul_precision(_PRECISIONS[settings.matmul]),
        jax.default_device(device),
    ):
        yield


class Stacks:
    """All runs of a program.

    How runs are stacked depends on their number and the size of their views, not on the number of cores: the numbers
    are those of any machine of the kind. On a GPU all runs make one stack.

    Parameters
    ----------
    program
        What they run.
    seeds
        One a run, (n_runs,).
    scalars
        Swept scalars, (n_runs,) each.
    arrays, spectrum
        Data on the device, and the modes of the data.
    device
        A device of JAX.
    """

    def __init__(
        self,
        program: Program,
        seeds: np.ndarray,
        scalars: Mapping[str, Any],
        arrays: Arrays,
        spectrum: Spectrum,
        device: Any,
    ) -> None:
        self._program, self._arrays, self._device = program, arrays, device
        self._spectrum = spectrum
        self._n_runs = len(seeds)
        n_stacks = 1
        if device.platform == "cpu":
            views = self._n_runs * program.view_bytes
            n_stacks = max(1, -(-views // LARGEST_STACK), min(2, views // SMALLEST_STACK))
            n_stacks = min(n_stacks, self._n_runs)
        size = -(-self._n_runs // n_stacks)
        # a last stack that is short is filled up with copies of the last run: one compiled program does for all
        rows = np.minimum(np.arange(-(-self._n_runs // size) * size), self._n_runs - 1)
        self._rows = rows.reshape(-1, size)
        self._keys = [
            _new_keys(np.asarray(seeds[rows], np.uint32), program.settings.generator) for rows in self._rows
        ]
        self._scalars = [{name: value[rows] for name, value in scalars.items()} for rows in self._rows]
        self._states: list[TrainingState] = self._each(
            lambda k: program.initialise(self._keys[k], self._scalars[k], arrays), compiled=False
        )
        self._compiled = False

    def state(self) -> TrainingState:
        """States of all runs, copied to NumPy arrays with the run as first axis."""
        return self._joined(self._states)

    def start_from(self, state: TrainingState) -> None:
        """Take weights of all runs from `state`, and at the start whatever follows from them."""
        self.go_on_from(state)
        self._states = self._each(
            lambda k: self._program.complete(self._states[k], self._keys[k], self._scalars[k], self._arrays),
            compiled=False,
        )

    def go_on_from(self, state: TrainingState) -> None:
        """Take states of all runs, (n_runs, …), as they are."""
        leaves, structure = jax.tree.flatten(state)
        self._states = [
            jax.tree.unflatten(structure, jax.device_put([np.asarray(leaf)[rows] for leaf in leaves]))
            for rows in self._rows
        ]

    def advance(self, first: int, stop: int) -> dict[str, np.ndarray]:
        """Take steps first, …, stop − 1 of all runs, then measure, (n_runs, …) each."""

        def one(k: int) -> dict[str, Any]:
            self._states[k], measured = self._program.advance(
                self._states[k], first, stop, self._keys[k], self._scalars[k], self._arrays
            )
            return jax.device_get(measured)

        measured = self._each(one, compiled=self._compiled)
        self._compiled = True
        return on_host(self._joined(measured), self._spectrum)

    def failed_at(self) -> np.ndarray:
        """Step whose loss was not finite, −1 where all were, (n_runs,)."""
        return self._joined([state.failed_at for state in self._states])

    def _joined(self, stacks: list[Any]) -> Any:
        def join(*leaves: Any) -> np.ndarray:
            return np.concatenate([np.asarray(leaf) for leaf in leaves])[: self._n_runs]

        return jax.tree.map(join, *stacks)

    def _each(self, work: Callable[[int], Any], *, compiled: bool) -> list[Any]:
        """Do something for each stack, in threads; the first one alone if that compiles what the others need too."""

        def there(k: int) -> Any:
            with on(self._device, self._program.settings):
                return jax.block_until_ready(work(k))

        n = len(self._rows)
        alone = n if n == 1 else int(not compiled)
        done = [there(k) for k in range(alone)]
        if alone < n:
            with ThreadPoolExecutor(min(available_cores(), n - alone)) as pool:
                done += pool.map(there, range(alone, n))
        return done
