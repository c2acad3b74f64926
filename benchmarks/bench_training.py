"""What a gradient step costs: the linear problem in dyn, as a jitted step in a Python loop, and in PyTorch.

n1 = 64, n2 = 16, batches of 128 drawn from an array, two views by additive noise, symmetric squared error, SGD, moving
average as target. All contenders draw their own batches and noise, and take the same steps, which is checked before
they are timed. PyTorch comes with `pip install dyn-byol[bench]`; without it its rows say so.

A step cannot cost less than its arithmetic, which has a row of its own, and the 16,384 normal numbers of its noise. The
last column is the traffic of the views alone, written once and read three times (both encoders, and their gradient).

    python benchmarks/bench_training.py               # on the CPU, as in `make bench`
    python benchmarks/bench_training.py --device gpu  # on an NVIDIA GPU, with 1,024 seeds
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from _harness import Timing, measure, write_table
from numpy.testing import assert_allclose

from dynamics.training import DataSettings, TrainingData, TrainingSettings, load_data, train
from dynamics.training.generator import new_key
from dynamics.training.loop import Program
from dynamics.training.run import _arrays

N1, N2, BATCH, N_SAMPLES, NOISE = 64, 16, 128, 1024, 0.3
RATE, DECAY = 0.01, 0.99
STEPS, STEPS_MANY = 10_000, 1_000  # of one seed, and of many at once: long beside the first measurement
NETWORK: dict[str, Any] = {
    "encoder": {"features": N2, "scale": 0.3},
    "predictor": {"kind": "linear", "scale": 0.1},
    "optimizer": {"kind": "sgd", "learning_rate": RATE},
    "target": {"kind": "ema", "decay": DECAY},
    "steps": STEPS,
    "metrics_every": STEPS,
}
VIEW_BYTES = 4 * 2 * BATCH * N1 * np.dtype(np.float32).itemsize
LIMITS = {"dyn, 1 seed": 10, "dyn, many seeds": 20}
NO_TORCH = find_spec("torch") is None


class Work(NamedTuple):
    """Something that takes steps: all of them in one call, for so many seeds at once."""

    run: Callable[[], object]
    steps: int
    seeds: int


def problem() -> tuple[TrainingSettings, TrainingData]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples.npy"
        np.save(path, np.random.default_rng(0).standard_normal((N_SAMPLES, N1)).astype(np.float32))
        settings = TrainingSettings(
            **NETWORK,
            data=DataSettings(source=str(path), augmentations=(f"noise:{NOISE}",), held_out=0),
            batch=BATCH,
        )
        return settings, load_data(settings.data)


def in_dyn(settings: TrainingSettings, data: TrainingData, n_seeds: int, device: str) -> Work:
    """The command as it is used: start, compiled steps, and a measurement at the start and at the end."""
    shorter = replace(settings, steps=STEPS if n_seeds == 1 else STEPS_MANY)
    return Work(
        lambda: train(shorter, list(range(n_seeds)), data=data, device=device), shorter.steps, n_seeds
    )


def in_a_loop(settings: TrainingSettings, data: TrainingData, device: str) -> Work:
    """The same step, jitted, called from Python."""
    program = Program(settings, data.shape, 0, device)
    arrays, _ = jax.device_put(_arrays(data, settings.dtype), jax.devices(device)[0])
    scalars = {name: np.asarray(value, np.float32) for name, value in settings.swept().items()}
    key = jax.device_put(new_key(0), jax.devices(device)[0])
    start, step = jax.jit(program.start), jax.jit(program.step, donate_argnums=0)

    def run() -> None:
        state = start(key, scalars, arrays)
        for index in range(STEPS):
            state = step(state, index, key, scalars, arrays)
        jax.block_until_ready(state)

    return Work(run, STEPS, 1)


def without_noise() -> TrainingSettings:
    """The same arithmetic on one batch that is given: what is left when drawing samples and noise costs nothing."""
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((N1, N1)))[0]
    sigma_d = (basis * np.linspace(1, 0.1, N1)) @ basis.T
    sigma_d = (sigma_d + sigma_d.T) / 2
    return TrainingSettings(
        **NETWORK
        | {"data": {"source": "exact", "sigma_s": sigma_d + NOISE**2 * np.eye(N1), "sigma_d": sigma_d}},
        batch=None,  # 2 n1 = 128 pairs
    )


# --- PyTorch ------------------------------------------------------------------------------------------------


def torch_weights(device: str, seeds: tuple[int, ...] = ()) -> tuple[Any, Any, Any]:
    import torch

    W = 0.3 / N1**0.5 * torch.randn(*seeds, N2, N1, device=device)
    P = 0.1 / N2**0.5 * torch.randn(*seeds, N2, N2, device=device)
    return W.requires_grad_(), P.requires_grad_(), W.detach().clone()


def torch_loss(W: Any, P: Any, Th: Any, v1: Any, v2: Any) -> Any:
    """Sum over seeds, so that each has the gradient of its own loss."""
    q1, q2 = v1 @ W.mT @ P.mT, v2 @ W.mT @ P.mT
    t1, t2 = v1 @ Th.mT, v2 @ Th.mT
    return ((q1 - t2).square().sum(-1) + (q2 - t1).square().sum(-1)).mean(-1).sum()


def torch_views(samples: Any, seeds: tuple[int, ...] = ()) -> tuple[Any, Any]:
    import torch

    x = samples[torch.randint(len(samples), (*seeds, BATCH), device=samples.device)]
    return x + NOISE * torch.randn_like(x), x + NOISE * torch.randn_like(x)


def in_torch(data: TrainingData, device: str, seeds: tuple[int, ...] = ()) -> Work:
    """The loop that one writes: autograd, torch.optim.SGD, a moving average in place."""
    import torch

    samples = torch.tensor(data.samples.images, device=device)
    steps = STEPS_MANY if seeds else STEPS

    def run() -> None:
        W, P, Th = torch_weights(device, seeds)
        optimizer = torch.optim.SGD([W, P], lr=RATE)
        for _ in range(steps):
            optimizer.zero_grad()
            torch_loss(W, P, Th, *torch_views(samples, seeds)).backward()
            optimizer.step()
            with torch.no_grad():
                Th.lerp_(W, 1 - DECAY)
        synchronize(device)

    return Work(run, steps, int(np.prod(seeds, dtype=int)))


def in_compiled_torch(data: TrainingData, device: str, seeds: tuple[int, ...] = ()) -> Work:
    """The whole step, gradients and updates too, as one compiled function."""
    import torch

    samples = torch.tensor(data.samples.images, device=device)

    def step(W: Any, P: Any, Th: Any) -> tuple[Any, Any, Any]:
        v1, v2 = torch_views(samples, seeds)
        g_W, g_P = torch.func.grad(torch_loss, argnums=(0, 1))(W, P, Th, v1, v2)
        W = W - RATE * g_W
        return W, P - RATE * g_P, torch.lerp(Th, W, 1 - DECAY)

    compiled, steps = torch.compile(step), STEPS_MANY if seeds else STEPS

    def run() -> None:
        with torch.no_grad():
            state = tuple(part.detach() for part in torch_weights(device, seeds))
            for _ in range(steps):
                state = compiled(*state)
        synchronize(device)

    return Work(run, steps, int(np.prod(seeds, dtype=int)))


def synchronize(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def check_the_same_work() -> None:
    """Ten steps on the same pairs from the same start end in the same weights, in dyn and in PyTorch."""
    import torch

    settings = replace(without_noise(), steps=10, dtype="float64")
    data = load_data(settings.data)
    ours = train(settings, data=data, device="cpu")
    v1, v2 = torch.tensor(data.samples.images)
    W, P, Th = (torch.tensor(part[0]) for part in ours.initial)
    for _ in range(settings.steps):
        g_W, g_P = torch.func.grad(torch_loss, argnums=(0, 1))(W, P, Th, v1, v2)
        W, P = W - RATE * g_W, P - RATE * g_P
        Th = torch.lerp(Th, W, 1 - DECAY)
    for mine, theirs in zip(ours.final, (W, P, Th), strict=True):
        assert_allclose(mine[0], theirs.numpy(), rtol=1e-10, atol=1e-13)


# --- tables -------------------------------------------------------------------------------------------------


def contenders(device: str, many: int) -> dict[str, Work]:
    settings, data = problem()
    works = {
        "dyn, 1 seed": in_dyn(settings, data, 1, device),
        "dyn, many seeds": in_dyn(settings, data, many, device),
        "dyn, 1 seed, arithmetic alone": in_dyn(without_noise(), load_data(without_noise().data), 1, device),
        "jitted step in a Python loop, 1 seed": in_a_loop(settings, data, device),
    }
    if not NO_TORCH:
        check_the_same_work()
        name = "cuda" if device == "gpu" else "cpu"
        works |= {
            "PyTorch eager, 1 seed": in_torch(data, name),
            "torch.compile, 1 seed": in_compiled_torch(data, name),
            "PyTorch eager, many seeds in one tensor": in_torch(data, name, (many,)),
            "torch.compile, many seeds in one tensor": in_compiled_torch(data, name, (many,)),
        }
    return works


def rows(works: dict[str, Work], times: dict[str, Timing], many: int, device: str) -> list[dict[str, object]]:
    def per_step(name: str) -> float:
        return times[name].median / (works[name].steps * works[name].seeds)

    eager = None if NO_TORCH else per_step("PyTorch eager, 1 seed")
    found: list[dict[str, object]] = []
    for name, work in works.items():
        scale = 1e6 / (work.steps * work.seeds)
        found.append(
            {
                "contender": name.replace("many seeds", f"{many:,} seeds"),
                "a seed's step (µs)": f"{scale * times[name].median:.4g}",
                "spread (µs)": f"{scale * times[name].spread:.2g}",
                "rounds": len(times[name].seconds),
                "times PyTorch eager, 1 seed": "no PyTorch"
                if eager is None
                else f"{eager / per_step(name):.1f}",
                "limit": LIMITS.get(name, ""),
                "device": device,
                "GB/s": f"{VIEW_BYTES / per_step(name) / 1e9:.3g}",
            }
        )
    return found


if __name__ == "__main__":
    on_gpu = sys.argv[1:] == ["--device", "gpu"]
    if sys.argv[1:] and not on_gpu:
        sys.exit(f"bench_training.py takes --device gpu or nothing, got {' '.join(sys.argv[1:])}")
    number = 1024 if on_gpu else 32
    works = contenders("gpu" if on_gpu else "cpu", number)
    times = measure({name: work.run for name, work in works.items()}, repeats=5)
    table = rows(works, times, number, jax.devices("gpu" if on_gpu else "cpu")[0].device_kind)
    write_table("training-gpu" if on_gpu else "training", table)
