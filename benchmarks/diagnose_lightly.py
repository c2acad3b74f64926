"""What `dyn diagnose` says of networks with the heads of lightly and with the modules of solo-learn.

    python benchmarks/diagnose_lightly.py --python .venv/bin/python

needs PyTorch, lightly and scikit-learn here, and `dyn` in the interpreter of `--python`. The lines that dump a network
are those of docs/diagnose.md, as they stand there. The loss is a cosine and the predictor is deep: features alone are
read, and no cause can be named. solo-learn itself is not needed: the network has its module names, and batches come as
its loaders have them.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from diagnose_torch import draw_view, images_of

GUIDE = Path(__file__).parents[1] / "docs" / "diagnose.md"
STEPS, BATCH, WIDTH, OUTPUTS = 1200, 128, 64, 16
BROKEN = ("healthy", "no predictor and no stop-gradient", "weight decay")


def snippet(library: str) -> str:
    """Lines of the guide that dump a network of a library: the first block of code after its name."""
    found = re.search(rf"With \[{library}\].*?```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    if found is None:
        raise ValueError(f"{GUIDE} must have lines for {library}")
    return found[1]


def network(library: str) -> Any:
    """Online network with the modules of lightly's or of solo-learn's BYOL."""
    import torch
    from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
    from torch import nn

    side = images_of("digits").shape[-1]
    layers = [nn.Flatten(), nn.Linear(side * side, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU()]

    class Lightly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = nn.Sequential(*layers)
            self.projection_head = BYOLProjectionHead(WIDTH, 2 * WIDTH, OUTPUTS)
            self.prediction_head = BYOLPredictionHead(OUTPUTS, 2 * WIDTH, OUTPUTS)

        def forward(self, x: Any) -> tuple[Any, Any]:
            z = self.projection_head(self.backbone(x))
            return z, self.prediction_head(z)

    def head(n_in: int) -> Any:
        return nn.Sequential(
            nn.Linear(n_in, 2 * WIDTH), nn.BatchNorm1d(2 * WIDTH), nn.ReLU(), nn.Linear(2 * WIDTH, OUTPUTS)
        )

    class SoloLearn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = nn.Sequential(*layers)
            self.classifier = nn.Linear(WIDTH, 10)
            self.projector, self.predictor = head(WIDTH), head(OUTPUTS)
            self.momentum_projector = copy.deepcopy(self.projector)

        def forward(self, x: Any) -> dict[str, Any]:
            feats = self.backbone(x)
            z = self.projector(feats)
            return {"logits": self.classifier(feats.detach()), "feats": feats, "z": z, "p": self.predictor(z)}

    torch.manual_seed(0)
    return Lightly() if library == "lightly" else SoloLearn()


def heads(made: Any) -> tuple[Any, Any]:
    """Projection and prediction of either network."""
    return (made["z"], made["p"]) if isinstance(made, dict) else made


def train(model: Any, how: str, seed: int) -> None:
    """BYOL with a cosine loss on noisy digits, healthy or broken."""
    import torch
    from lightly.loss import NegativeCosineSimilarity

    loss_of, rng, images = NegativeCosineSimilarity(), np.random.default_rng(seed), images_of("digits")
    target = copy.deepcopy(model)
    alone = how.startswith("no predictor")
    decay = 1.0 if how == "weight decay" else 0.0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=decay)
    for _ in range(STEPS):
        chosen = images[rng.integers(0, len(images), BATCH)]
        x1, x2 = (torch.from_numpy(draw_view(chosen, rng)) for _ in range(2))
        (z1, p1), (z2, p2) = heads(model(x1)), heads(model(x2))
        if alone:
            loss = loss_of(z1, z2)
        else:
            with torch.no_grad():
                t1, t2 = heads(target(x1))[0], heads(target(x2))[0]
            loss = (loss_of(p1, t2) + loss_of(p2, t1)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(target.parameters(), model.parameters(), strict=True):
                slow.lerp_(fast, 0.01)


def batches_of(library: str, seed: int) -> Iterator[Any]:
    """Batches as the library's loader has them, from views that were not trained on."""
    import torch

    rng, images = np.random.default_rng(seed), images_of("digits")
    for chosen in np.array_split(np.arange(len(images)), 8):
        views = [torch.from_numpy(draw_view(images[chosen], rng)) for _ in range(2)]
        labels = torch.zeros(len(chosen))
        yield (views, labels, [""] * len(chosen)) if library == "lightly" else (chosen, views, labels)


def main() -> None:
    """Train, dump with the lines of the guide, and print what the command says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", default=sys.executable, help="interpreter that has dyn")
    given = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    root = Path(__file__).parents[1]
    python = str(Path(given.python).absolute())
    print("| modules | run | spread of unit outputs | verdict |\n| --- | --- | --- | --- |")
    for library in ("lightly", "solo-learn"):
        for how in BROKEN:
            model = network(library)
            train(model, how, seed=0)
            with tempfile.TemporaryDirectory() as folder:
                here = Path.cwd()
                os.chdir(folder)
                try:
                    loader = list(batches_of(library, seed=1))
                    exec(snippet(library), {"model": model, "dataloader": loader, "loader": loader})
                    z = np.load("dump.npz")["view1"]
                    command = [python, "-m", "cli", "diagnose", "dump.npz", "--json"]
                    done = subprocess.run(
                        command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(root)}
                    )
                finally:
                    os.chdir(here)
            unit = z / np.linalg.norm(z, axis=1, keepdims=True)
            spread = np.sqrt(np.sum(unit.var(axis=0)))
            if done.returncode == 0:
                report = json.loads(done.stdout)
                said = f"{report['verdict']}: {report['reason']}"
            else:
                said = done.stderr.strip()
            print(f"| {library} | {how} | {spread:.2g} | {said} |", flush=True)


if __name__ == "__main__":
    main()
