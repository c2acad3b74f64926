"""Puts the trainer's random numbers to Debian's dieharder: `python benchmarks/randomness.py [STREAM ...]`.

Each stream is written to dieharder's standard input as raw 32-bit words. Streams differ in how keys follow one another,
as in training: one key for long, the steps of one run, neighbouring seeds, and keys that were split. Short reads
of many keys, side by side, are where a counter-based generator with weak keys would show.

Without dieharder (`apt-get install dieharder`) nothing is run, and the message says so.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

TESTS = (0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 13, 15, 16, 17, 100, 101, 202, 204, 206, 207, 208, 209)
"""Tests that dieharder calls good, but for those that take tens of minutes."""
WORDS = 16
"""Words that are read from a key before the next one's turn, where keys change."""
KEYS = 2**18
LONG = 2**26


def long_stream() -> Iterator[Any]:
    """One key for 2²⁶ words, then the next one."""
    from jax import jit, random

    from dynamics.training.generator import new_key

    draw = jit(lambda seed: random.bits(new_key(seed), (LONG,)))
    return (draw(seed) for seed in range(2**32))


def _many(keys: Callable[[Any], Any]) -> Iterator[Any]:
    import jax
    import jax.numpy as jnp
    from jax import random

    draw = jax.jit(lambda first: jax.vmap(lambda key: random.bits(key, (WORDS,)))(keys(first)))
    return (draw(jnp.uint32(first)) for first in range(0, 2**32, KEYS))


def steps() -> Iterator[Any]:
    """Consecutive steps of one key, 16 words each."""
    import jax
    import jax.numpy as jnp

    from dynamics.training.generator import new_key

    return _many(
        lambda first: jax.vmap(lambda k: jax.random.fold_in(new_key(0), k))(first + jnp.arange(KEYS))
    )


def seeds() -> Iterator[Any]:
    """Consecutive seeds, 16 words each."""
    import jax
    import jax.numpy as jnp

    from dynamics.training.generator import new_key

    return _many(lambda first: jax.vmap(new_key)(first + jnp.arange(KEYS, dtype=jnp.uint32)))


def splits() -> Iterator[Any]:
    """Keys that were split from consecutive seeds, 16 words each."""
    import jax

    from dynamics.training.generator import new_key

    return _many(lambda first: jax.random.split(new_key(first), KEYS))


STREAMS = {"long": long_stream, "steps": steps, "seeds": seeds, "splits": splits}


def assessed(name: str) -> list[tuple[str, str, float, str]]:
    """Test, its parameter, p and dieharder's word, for every test of a stream."""
    import numpy as np

    found = []
    for test in TESTS:
        with subprocess.Popen(
            ["dieharder", "-g", "200", "-d", str(test)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=False,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                for words in STREAMS[name]():
                    process.stdin.write(np.asarray(words, np.uint32).tobytes())
            except BrokenPipeError:  # it has read enough
                pass
            rows = process.stdout.read().decode()
        for row in rows.splitlines():
            cells = [cell.strip() for cell in row.split("|")]
            if cells[-1] in ("PASSED", "WEAK", "FAILED"):
                found.append((cells[0], cells[1], float(cells[4]), cells[-1]))
    return found


def main() -> None:
    """Print a line for each test that is not passed, and counts."""
    if shutil.which("dieharder") is None:
        sys.exit("benchmarks/randomness.py needs dieharder: apt-get install dieharder")
    for name in sys.argv[1:] or STREAMS:
        found = assessed(name)
        for test, parameter, p, word in found:
            if word != "PASSED":
                print(f"{name}: {test} ({parameter}) p = {p:.3g} {word}", flush=True)
        print(f"{name}: {dict(Counter(word for *_, word in found))} of {len(found)}", flush=True)


if __name__ == "__main__":
    main()
