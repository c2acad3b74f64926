"""How often `dyn diagnose` is right about 120 networks that PyTorch trained, broken in known ways or not at all.

    python benchmarks/diagnose_torch.py --python .venv/bin/python

needs PyTorch and scikit-learn here, and `dyn` in the interpreter of `--python`, which reads the dumps. Seeds below 1000
are for development (`--development`); the table is of the 120 others.

What was done to a run is its *cause*. What became of it is measured without `dyn`, on the last linear layer: an axis is
lost if the singular value of the layer is below 2 % of the largest, before or after. (Deviations of the outputs would
not tell: features may vary so little along an axis that a layer which holds it hardly shows it.) After the dump each
network trains as long again, and is measured once more.

- "healthy" is right if no axis was lost at either time, whatever was done to the run;
- "partly-collapsed" and "collapsed" are right if so many were lost when the features were dumped;
- "collapsing", a forecast, is right if some axis was lost after training as long again.

Of a run that diverged the last finite step is dumped, and "healthy" is wrong. First causes are judged on networks that
lost an axis by the end, or diverged.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

OUTPUTS, FEATURES, SAMPLES, BATCH, STEPS = 8, 32, 4096, 128, 2000
LOSS_FACTOR = 4.0
"""The loss is E‖P z1 − z2'‖² summed over both orders of the views."""
SLOWER = 0.1
"""Learning rate below the last linear layer over that of the layer."""
LOST = 0.02
"""An axis is lost below this share of the largest singular value, before or after training."""
DIVERGED = 1e4
"""A run has diverged where a weight is larger; weights of order one are learned."""
FIRST_SEED = {True: 0, False: 2000}
SHAPES = (
    ("linear", "digits"),
    ("mlp", "digits"),
    ("mlp-batchnorm", "fashion"),
    ("conv", "fashion"),
    ("linear", "photos"),
    ("conv", "photos"),
)
"""Encoder below the last linear layer, and data."""
RUNS = {
    "healthy": 60,
    "no predictor": 9,
    "no stop-gradient": 9,
    "weight decay": 9,
    "negative predictor": 9,
    "large predictor": 6,
    "long steps": 6,
    "fixed target": 6,
    "no average": 6,
}
"""How many runs of each; shapes take turns."""
KNOBS = {
    "no predictor": ("predictor", "R11"),
    "no stop-gradient": ("stop-gradient", "R12"),
    "weight decay": ("weight-decay", "R15"),
    "negative predictor": ("predictor", "R6"),
    "large predictor": ("predictor", "R6"),
    "long steps": ("learning-rate", "R303"),
    "fixed target": ("decay", "R13"),
    "no average": ("decay", "R14"),
}
"""Knob and result of the first cause that is right."""
FASHION = Path("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz")


class Job(NamedTuple):
    """One run."""

    cause: str
    encoder: str
    data: str
    seed: int


def jobs(development: bool) -> list[Job]:
    """All runs, in the order of their seeds."""
    listed = [(cause, *SHAPES[k % len(SHAPES)]) for cause, n in RUNS.items() for k in range(n)]
    return [Job(*row, FIRST_SEED[development] + k) for k, row in enumerate(listed)]


# --- data -----------------------------------------------------------------------------------------------------


def images_of(data: str) -> np.ndarray:
    """Images (N, side, side), partly whitened, with mean 0 and deviation 1 over all pixels."""
    if data == "digits":
        from sklearn.datasets import load_digits

        images = load_digits().images
    elif data == "fashion" and FASHION.exists():
        raw = np.frombuffer(gzip.decompress(FASHION.read_bytes()), np.uint8, offset=16)
        images = raw.reshape(-1, 28, 28)[:SAMPLES].reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4))
    else:  # patches of photos; also where Fashion-MNIST is not installed
        from sklearn.datasets import load_sample_images

        rng, patches = np.random.default_rng(0), []
        for photo in load_sample_images().images:
            grey = photo.mean(axis=2)[::2, ::2]
            rows, columns = (rng.integers(0, size - 10, SAMPLES // 2) for size in grey.shape)
            patches += [grey[i : i + 10, j : j + 10] for i, j in zip(rows, columns, strict=True)]
        images = np.array(patches)
    # whitened in part, as images often are: deviations along principal axes become their square roots
    flat = images.reshape(len(images), -1)
    flat = flat - flat.mean(0)
    values, axes = np.linalg.eigh(flat.T @ flat / len(flat))
    flat = flat @ (axes / (values + 1e-2 * values[-1]) ** 0.25) @ axes.T
    return (flat / flat.std()).reshape(images.shape).astype(np.float32)


def draw_view(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change contrast and add noise."""
    view = images * rng.uniform(0.8, 1.2, (len(images), 1, 1))
    return (view + 0.4 * rng.normal(size=images.shape)).astype(np.float32)


# --- networks -------------------------------------------------------------------------------------------------


def encoder_of(kind: str, side: int) -> tuple[Any, int]:
    """What lies below the last linear layer, and how many features it has."""
    from torch import nn

    if kind == "linear":
        return nn.Flatten(), side * side
    end = [] if kind == "mlp" else [nn.BatchNorm1d(FEATURES, affine=False)]
    if kind == "conv":
        inner = 16 * ((side + 1) // 2) ** 2
        layers = [nn.Unflatten(1, (1, side)), nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Flatten()]
        return nn.Sequential(*layers, nn.Linear(inner, FEATURES), *end), FEATURES
    layers = [nn.Flatten(), nn.Linear(side * side, 64), nn.ReLU(), nn.Linear(64, FEATURES)]
    return nn.Sequential(*layers, *end), FEATURES


class Trained(NamedTuple):
    """What a run leaves."""

    arrays: dict[str, Any]
    settings: dict[str, Any]
    held: int
    later: int
    left: float
    diverged: bool


def train(job: Job) -> Trained:
    """Train a network in a known way; diverging runs stop at the last finite step."""
    import copy

    import torch

    torch.set_num_threads(1)
    torch.manual_seed(job.seed)
    rng = np.random.default_rng(job.seed)
    images = images_of(job.data)
    body, d = encoder_of(job.encoder, images.shape[-1])
    online = torch.nn.Linear(d, OUTPUTS, bias=False)
    predictor = torch.nn.Linear(OUTPUTS, OUTPUTS, bias=False)

    def features(net: Any, count: int = SAMPLES) -> list[np.ndarray]:
        chosen = images[np.resize(np.arange(len(images)), count)]
        net.eval()
        with torch.no_grad():
            found = [
                np.concatenate([net(torch.from_numpy(draw_view(part, view_rng))).numpy() for part in parts])
                for parts in [np.array_split(chosen, 32)] * 2
            ]
        net.train()
        return found

    view_rng = np.random.default_rng(job.seed + 10**6)
    with torch.no_grad():  # batch norm sees some batches before it is measured
        for _ in range(50):
            body(torch.from_numpy(draw_view(images[rng.integers(0, len(images), BATCH)], rng)))
    f1, f2 = features(body)
    centred = [f - f.mean(0) for f in (f1, f2)]
    sigma_s = sum(f.T @ f for f in centred) / (2 * len(f1))
    sigma_d = centred[0].T @ centred[1] / len(f1)
    values, axes = np.linalg.eigh(sigma_s)
    top = float(values[-1] + np.sum(f1.mean(0) ** 2))
    with torch.no_grad():
        online.weight.copy_(torch.randn(OUTPUTS, d) * 0.5 / d**0.5)
        predictor.weight.copy_(0.4 * torch.eye(OUTPUTS) + 0.02 * torch.randn(OUTPUTS, OUTPUTS))
        if job.cause == "no predictor":
            predictor.weight.copy_(torch.eye(OUTPUTS))
        if job.cause == "negative predictor":
            online.weight.mul_(0.2)
            predictor.weight.copy_(torch.diag(torch.tensor([0.3] * 4 + [-0.5] * 4)))
        if job.cause == "large predictor":
            online.weight.mul_(0.1)
            predictor.weight.copy_(torch.diag(torch.tensor([0.3] * 4 + [1.3] * 4)))
    decay = {"fixed target": 1.0, "no average": 0.0}.get(job.cause, 0.95)
    # half of what the largest curvature of a predictor up to 1 allows, and well above it
    rate = (1.6 if job.cause == "long steps" else 0.4) / (LOSS_FACTOR * top)
    weight_decay = 0.0
    if job.cause == "weight decay":
        d_quotients = np.einsum("ij,ik,kj->j", axes, sigma_d, axes)
        weight_decay = float(2 * LOSS_FACTOR * np.max(d_quotients**2 / (4 * values)))
    target_body, target = copy.deepcopy(body), copy.deepcopy(online)
    head = [*online.parameters()] + ([] if job.cause == "no predictor" else [*predictor.parameters()])
    below = list(body.parameters())
    groups = [{"params": head, "weight_decay": weight_decay}]
    if below:  # what lies below learns slowly, as theory has it stand still
        groups.append({"params": below, "lr": SLOWER * rate})
    parameters, optimizer = [*head, *below], torch.optim.SGD(groups, lr=rate)

    def dump() -> dict[str, np.ndarray]:
        weights = {"online": online, "predictor": predictor, "target": target}
        view1, view2 = features(body)
        return {"view1": view1, "view2": view2} | {
            name: layer.weight.detach().numpy().copy() for name, layer in weights.items()
        }

    def sizes() -> np.ndarray:
        return np.linalg.svd(online.weight.detach().numpy(), compute_uv=False)

    before = sizes()[0]
    layers = (body, online, predictor, target_body, target)

    def diverges() -> bool:
        """Train; where the run diverges, go back to the last finite step."""
        last = [copy.deepcopy(layer.state_dict()) for layer in layers]
        for step in range(STEPS):
            chosen = images[rng.integers(0, len(images), BATCH)]
            x1, x2 = (torch.from_numpy(draw_view(chosen, rng)) for _ in range(2))
            z1, z2 = online(body(x1)), online(body(x2))
            if job.cause == "no stop-gradient":
                t1, t2 = z1, z2
            else:
                with torch.no_grad():
                    t1, t2 = target(target_body(x1)), target(target_body(x2))
            loss = ((predictor(z1) - t2) ** 2).sum(1).mean() + ((predictor(z2) - t1) ** 2).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for mean, layer in ((target_body, body), (target, online)):
                    for slow, fast in zip(mean.parameters(), layer.parameters(), strict=True):
                        slow.mul_(decay).add_(fast, alpha=1 - decay)
            if step % 10 == 9:
                if not all(bool((part.detach().abs() < DIVERGED).all()) for part in parameters):
                    for layer, known in zip(layers, last, strict=True):
                        layer.load_state_dict(known)
                    return True
                last = [copy.deepcopy(layer.state_dict()) for layer in layers]
        return False

    diverged = diverges()
    arrays, after = dump(), sizes()
    diverged = diverged or diverges()
    held, later = (int(np.sum(now > LOST * max(before, now[0]))) for now in (after, sizes()))
    settings = {
        "weight_decay": weight_decay,
        "decay": decay,
        "loss_factor": LOSS_FACTOR,
        "learning_rate": rate,
        "batch": BATCH,
        "stop_gradient": job.cause != "no stop-gradient",
    }
    return Trained(
        arrays,
        settings,
        held,
        later,
        float(after[0] / before),
        diverged,
    )


# --- judging --------------------------------------------------------------------------------------------------


def judge(folder: Path) -> None:
    """Diagnose all dumps of a folder, in the interpreter that has `dyn`; as the command does."""
    from analysis.runs.diagnosis import diagnose
    from analysis.runs.run_settings import RunSettings
    from dynamics.data.dumps import read_dump

    found = []
    for run in json.loads((folder / "runs.json").read_text()):
        try:
            report = diagnose(read_dump(folder / run["file"]), RunSettings(**run["settings"])).report()
        except ValueError as error:
            report = {"verdict": "refused", "reason": str(error), "causes": [], "directions": []}
        found.append(report)
    (folder / "reports.json").write_text(json.dumps(found))


def truth(held: int) -> str:
    """Verdict of the measurement."""
    return "healthy" if held == OUTPUTS else "partly-collapsed" if held else "collapsed"


def lost(run: dict[str, Any]) -> bool:
    """Whether a network lost an axis by the end, or diverged."""
    return bool(run["later"] < OUTPUTS or run["diverged"])


def is_right(verdict: str, run: dict[str, Any]) -> bool:
    """Whether what was measured bears a verdict out."""
    if verdict == "healthy":
        return run["held"] == OUTPUTS and not lost(run)
    if verdict == "collapsing" or run["diverged"]:
        return lost(run)
    return verdict == truth(run["held"])


def main() -> None:
    """Train, dump, diagnose, and print the table of confusion."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", default=sys.executable, help="interpreter that has dyn")
    parser.add_argument("--development", action="store_true", help="other seeds, for building")
    parser.add_argument("--cause", action="append", choices=RUNS, help="these alone")
    parser.add_argument("--every", type=int, default=1, help="of each cause, every so many")
    parser.add_argument("--verbose", action="store_true", help="a line a run")
    parser.add_argument("--workers", type=int, default=1, help="processes that train")
    parser.add_argument("--keep", help="folder, made before, in which dumps stay")
    parser.add_argument("--judge", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.judge is not None:
        judge(given.judge)
        return
    began = time.perf_counter()
    every = [job for job in jobs(given.development) if not given.cause or job.cause in given.cause]
    chosen = every[:: given.every]
    with nullcontext(given.keep) if given.keep else tempfile.TemporaryDirectory() as name:
        folder, runs = Path(name), []
        with ProcessPoolExecutor(given.workers, mp_context=get_context("spawn")) as pool:
            for k, (job, made) in enumerate(zip(chosen, pool.map(train, chosen), strict=True)):
                np.savez(folder / f"{k}.npz", **made.arrays)
                kept = {name: value for name, value in made._asdict().items() if name != "arrays"}
                runs.append(kept | {"file": f"{k}.npz"})
                if given.verbose:
                    became = f"{made.held} {made.later} {made.left:.2g}{' diverged' * made.diverged}"
                    print(k, *job[:3], became, flush=True)
        (folder / "runs.json").write_text(json.dumps(runs))
        trained = time.perf_counter() - began
        subprocess.run([given.python, __file__, "--judge", name], check=True)
        reports = json.loads((folder / "reports.json").read_text())
    if given.verbose:
        for job, run, report in zip(chosen, runs, reports, strict=True):
            mark = " " if is_right(report["verdict"], run) else "!"
            causes = [(c["knob"], c["result"], c["directions"]) for c in report["causes"]]
            became = f"held {run['held']} later {run['later']} left {run['left']:.2g}{' diverged' * run['diverged']}"
            print(mark, *job[:3], became, report["verdict"], report["reason"], causes, sep=" | ")
    print(table(chosen, runs, reports))
    judged = time.perf_counter() - began - trained
    print(f"{len(chosen)} runs, {trained:.0f} s of training and {judged:.0f} s of diagnosis")


def table(chosen: list[Job], runs: list[dict[str, Any]], reports: list[dict[str, Any]]) -> str:
    """Markdown: for each cause what became of the runs, verdicts, and first causes of those that lost something."""
    lines = [
        "| run | n | lost something | verdict right | first cause right |",
        "| --- | --- | --- | --- | --- |",
    ]
    total: Counter[str] = Counter()
    for cause in RUNS:
        own = [(r, q) for job, r, q in zip(chosen, runs, reports, strict=True) if job.cause == cause]
        right = sum(is_right(q["verdict"], r) for r, q in own)
        ended = [(r, q) for r, q in own if lost(r)]
        named = sum(
            bool(q["causes"]) and (q["causes"][0]["knob"], q["causes"][0]["result"]) == KNOBS.get(cause)
            for _, q in ended
        )
        alarms = sum(r["held"] == OUTPUTS and not lost(r) and q["verdict"] != "healthy" for r, q in own)
        total.update(n=len(own), lost=len(ended), right=right, named=named, alarms=alarms)
        lines.append(
            f"| {cause} | {len(own)} | {len(ended)} | {right} | {f'{named} of {len(ended)}' if ended else '–'} |"
        )
    lines.append(
        f"| all | {total['n']} | {total['lost']} | {total['right']} ({total['right'] / max(total['n'], 1):.1%}) |"
        f" {total['named']} of {total['lost']} ({total['named'] / max(total['lost'], 1):.1%}) |"
    )
    return "\n".join([*lines, "", f"Healthy networks that were called anything else: {total['alarms']}."])


if __name__ == "__main__":
    main()
