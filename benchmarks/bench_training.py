"""What a gradient step costs: the linear problem in dyn, as a jitted step in a Python loop, and in PyTorch.

n1 = 64, n2 = 16, batches of 128 drawn from an array, two views by additive noise, symmetric squared error, SGD, moving
average as target. All contenders draw their own batches and noise, and take the same steps, which is checked before
they are timed. PyTorch comes with `pip install dyn-byol[bench]`; without it its rows say so.

A step cannot cost less than its arithmetic, which has a row of its own, and the 16,384 normal numbers of its noise. The
last column is the traffic of the views alone, written once and read three times (both encoders, and their gradient).

The second table is a convolutional network of 16 and 32 channels on images of 28 x 28: blocks of convolution, ReLU and
the mean of 2 x 2 pixels. PyTorch has all cores for it; a loop over seeds is as long as so many single ones.

    python benchmarks/bench_training.py               # on the CPU, as in `make bench`
    python benchmarks/bench_training.py --table conv  # one of the two tables, linear or conv
    python benchmarks/bench_training.py --device gpu  # on an NVIDIA GPU, with 1,024 seeds
"""

from __future__ import annotations

import argparse
import copy
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

from dynamics.cores import available_cores
from dynamics.training import DataSettings, TrainingData, TrainingSettings, load_data, networks, train
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
SIDE, CHANNELS = 28, (16, 32)
CONV_STEPS, CONV_STEPS_MANY, CONV_SEEDS = 200, 40, 32
CONV_LIMITS = {"dyn, 1 seed": 1, "dyn, many seeds": 1}
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


def in_dyn(settings: TrainingSettings, data: TrainingData, n_seeds: int, steps: int, device: str) -> Work:
    """The command as it is used: start, compiled steps, and a measurement at the start and at the end."""
    shorter = replace(settings, steps=steps, metrics_every=steps)
    return Work(lambda: train(shorter, list(range(n_seeds)), data=data, device=device), steps, n_seeds)


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


# --- the convolutional network ------------------------------------------------------------------------------


def conv_problem() -> tuple[TrainingSettings, TrainingData]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        images = np.random.default_rng(0).standard_normal((N_SAMPLES, SIDE, SIDE, 1))
        np.save(path, images.astype(np.float32))
        settings = TrainingSettings(
            **NETWORK | {"encoder": {"kind": "conv", "widths": CHANNELS, "features": N2}},
            data=DataSettings(source=str(path), augmentations=(f"noise:{NOISE}",), held_out=0),
            batch=BATCH,
        )
        return settings, load_data(settings.data)


def torch_encoder() -> Any:
    from torch import nn

    first, second = CHANNELS
    return nn.Sequential(
        *(nn.Conv2d(1, first, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Conv2d(first, second, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(second, N2)),
    )


def torch_conv_loss(f: Any, P: Any, target: Any, v1: Any, v2: Any) -> Any:
    import torch

    views = torch.cat([v1, v2])
    q1, q2 = P(f(views)).chunk(2)
    with torch.no_grad():
        t1, t2 = target(views).chunk(2)
    return ((q1 - t2).square().sum(-1) + (q2 - t1).square().sum(-1)).mean()


def conv_in_torch(data: TrainingData, *, compiled: bool) -> Work:
    """The loop that one writes, with the losses and gradients of a step compiled or not."""
    import torch

    samples = torch.tensor(data.samples.images).movedim(-1, 1).contiguous()
    loss = torch.compile(torch_conv_loss) if compiled else torch_conv_loss
    f, P = torch_encoder(), torch.nn.Linear(N2, N2, bias=False)
    target = copy.deepcopy(f)

    def run() -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(available_cores())
        optimizer = torch.optim.SGD([*f.parameters(), *P.parameters()], lr=RATE)
        for _ in range(CONV_STEPS):
            optimizer.zero_grad()
            loss(f, P, target, *torch_views(samples)).backward()
            optimizer.step()
            with torch.no_grad():
                for average, weight in zip(target.parameters(), f.parameters(), strict=True):
                    average.lerp_(weight, 1 - DECAY)
        torch.set_num_threads(threads)

    return Work(run, CONV_STEPS, 1)


def check_the_same_network(settings: TrainingSettings, data: TrainingData) -> None:
    """With the same weights and views, the gradients in dyn and in PyTorch are the same."""
    import torch

    state = jax.tree.map(
        lambda leaf: leaf[0], train(replace(settings, steps=1), data=data, device="cpu").start
    )
    layers = networks.encoder_layers(settings.encoder, stacked=False)
    views = data.samples.images[: 2 * BATCH].reshape(2, BATCH, SIDE, SIDE, 1)
    online, P = state.online.encoder, state.predictor["weight"]

    def ours(weights: Any) -> Any:
        z, _ = networks.apply(layers, weights, state.statistics.encoder, views, training=True)
        q, t = z @ P.T, jax.lax.stop_gradient(z)
        return np.sum((q - t[::-1]) ** 2) / BATCH

    f, predictor = torch_encoder(), torch.nn.Linear(N2, N2, bias=False)
    given = [np.asarray(part[name]) for part in online if part for name in ("weight", "bias")]
    turned = [np.transpose(a, (3, 2, 0, 1)) if a.ndim == 4 else a for a in given]
    with torch.no_grad():
        for parameter, value in zip((*f.parameters(), predictor.weight), (*turned, P), strict=True):
            parameter.copy_(torch.tensor(np.array(value)))
    torch_conv_loss(f, predictor, f, *torch.tensor(views).movedim(-1, 2)).backward()
    found = [g[name] for g in jax.grad(ours)(online) if g for name in ("weight", "bias")]
    for mine, theirs in zip(found, f.parameters(), strict=True):
        wanted = theirs.grad.numpy()
        wanted = np.transpose(wanted, (2, 3, 1, 0)) if wanted.ndim == 4 else wanted
        assert_allclose(mine, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())


def conv_contenders() -> dict[str, Work]:
    settings, data = conv_problem()
    works = {
        "dyn, 1 seed": in_dyn(settings, data, 1, CONV_STEPS, "cpu"),
        "dyn, many seeds": in_dyn(settings, data, CONV_SEEDS, CONV_STEPS_MANY, "cpu"),
    }
    if not NO_TORCH:
        check_the_same_network(settings, data)
        works |= {
            "PyTorch eager, 1 seed": conv_in_torch(data, compiled=False),
            "torch.compile, 1 seed": conv_in_torch(data, compiled=True),
        }
    return works


# --- tables -------------------------------------------------------------------------------------------------


def contenders(device: str, many: int) -> dict[str, Work]:
    settings, data = problem()
    works = {
        "dyn, 1 seed": in_dyn(settings, data, 1, STEPS, device),
        "dyn, many seeds": in_dyn(settings, data, many, STEPS_MANY, device),
        "dyn, 1 seed, arithmetic alone": in_dyn(
            without_noise(), load_data(without_noise().data), 1, STEPS, device
        ),
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


def rows(
    works: dict[str, Work],
    times: dict[str, Timing],
    limits: dict[str, int],
    many: int,
    device: str,
    view_bytes: int = 0,
) -> list[dict[str, object]]:
    """Rows of a table; with the traffic of the views, where a step of one seed has so many bytes of them."""

    def per_step(name: str) -> float:
        return times[name].median / (works[name].steps * works[name].seeds)

    eager = None if NO_TORCH else per_step("PyTorch eager, 1 seed")
    found: list[dict[str, object]] = []
    for name, work in works.items():
        scale = 1e6 / (work.steps * work.seeds)
        ratio = "no PyTorch" if eager is None else f"{eager / per_step(name):.1f}"
        row = {
            "contender": name.replace("many seeds", f"{many:,} seeds"),
            "a seed's step (µs)": f"{scale * times[name].median:.4g}",
            "spread (µs)": f"{scale * times[name].spread:.2g}",
            "rounds": len(times[name].seconds),
            "times PyTorch eager, 1 seed": ratio,
            "limit": limits.get(name, ""),
            "device": device,
        }
        found.append(row | ({"GB/s": f"{view_bytes / per_step(name) / 1e9:.3g}"} if view_bytes else {}))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--table", choices=("linear", "conv"), help="both on the CPU when left out")
    asked = parser.parse_args()
    if asked.device == "gpu" and asked.table == "conv":
        parser.error("--table conv must go with --device cpu")
    kind = jax.devices(asked.device)[0].device_kind
    if asked.table != "conv":
        many = 1024 if asked.device == "gpu" else 32
        works = contenders(asked.device, many)
        times = measure({name: work.run for name, work in works.items()}, repeats=5)
        table = rows(works, times, LIMITS, many, kind, VIEW_BYTES)
        write_table("training-gpu" if asked.device == "gpu" else "training", table)
    if asked.table != "linear" and asked.device == "cpu":
        works = conv_contenders()
        times = measure({name: work.run for name, work in works.items()}, repeats=5)
        write_table("training-conv", rows(works, times, CONV_LIMITS, CONV_SEEDS, kind))


if __name__ == "__main__":
    main()
