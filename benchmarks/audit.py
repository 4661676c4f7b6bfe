"""How many explanations a second an audit makes, beside the passes of the network that they need.

python -m benchmarks.audit [--pictures 2000] [--networks resnet18,vit_small] [--rounds 3] [--threads 2]

Passes: the network as it is, on inputs that are in memory already: forward, and backward from the predicted
class's score to the layer that Grad-CAM looks at; in the best of several batch sizes and memory layouts.
Audit: from JPEG files to the last record on the disk: digests, decoding, passes, maps, files, database; no
playbooks.
"""

import argparse
import copy
import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import underhood as uh
from benchmarks.measure import Cost, cost_of
from tests.support import torchvision_ops  # noqa: F401 - before torchvision
from tests.support.data import DATA
from tests.support.untrained import untrained
from underhood.engine import Engine, grad_cam_layer
from underhood.models.preprocess import PRESETS

OUT = Path(__file__).parent / "AUDIT.md"
AIM = 0.85
BATCHES = (8, 16, 32)
NETWORKS = {"resnet18": "torchvision:resnet18", "vit_small": "timm:vit_small_patch16_224"}
HELD = 32  # inputs


@dataclass(frozen=True)
class Passes:
    """A network's forward pass, and its backward pass above a layer, in plain torch."""

    module: nn.Module
    layer: str
    batch: int
    channels_last: bool

    def __call__(self, inputs: Tensor, count: int) -> None:
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        inputs, module = inputs.contiguous(memory_format=layout), self.module.to(memory_format=layout)
        leaves: list[Tensor] = []

        def cut(_module: nn.Module, _args: object, output: Tensor) -> Tensor:
            leaves.append(output.detach().requires_grad_())
            return leaves[-1]

        handle = module.get_submodule(self.layer).register_forward_hook(cut)
        try:
            for start in range(0, count, self.batch):
                at = start % len(inputs)
                scores = module(inputs[at : at + min(self.batch, count - start)])
                torch.autograd.grad(scores.amax(1).sum(), leaves.pop())
        finally:
            handle.remove()


def best(module: nn.Module, layer: str, inputs: Tensor) -> Passes:
    """The quickest, each tried on all inputs."""
    ways = [Passes(module, layer, *way) for way in itertools.product(BATCHES, (False, True))]
    ways[0](inputs, len(inputs))  # to warm up
    return min(ways, key=lambda way: cost_of(lambda: way(inputs, len(inputs))).cpu)


def photos(folder: Path, count: int) -> None:
    """JPEG files of photos from the shared data, again and again; smooth noise where there are none."""
    found = sorted([*(DATA / "imagenet" / "images").glob("*"), *(DATA / "coco" / "images").glob("*")])
    folder.mkdir()
    for number in range(count):
        path = folder / f"{number:06d}.jpg"
        if found:
            path.symlink_to(found[number % len(found)])
            continue
        coarse = np.random.default_rng(number).integers(0, 255, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=90)


def audited(model: uh.Model, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as out:
        uh.audit(model, folder, (), out=Path(out) / "audit")


def read(model: uh.Model, folder: Path) -> None:
    """Reading alone: what the audit does beside the passes, most of all."""
    for path in folder.iterdir():
        uh.gather(model, path)


def measured(name: str, pictures: int, rounds: int) -> dict[str, Any]:
    model = replace(untrained(NETWORKS[name]), preprocess=PRESETS["imagenet"])
    module = copy.deepcopy(model.module).eval().requires_grad_(False)
    with tempfile.TemporaryDirectory() as out:
        folder = Path(out) / "data"
        photos(folder, pictures)
        inputs = torch.stack([uh.gather(model, path).tensor[0] for path in sorted(folder.iterdir())[:HELD]])
        passes = best(module, grad_cam_layer(Engine(model), inputs[0]).name, inputs)
        uh.audit(model, sorted(folder.iterdir())[:4], ())  # to warm up
        spent: dict[str, list[Cost]] = {"passes": [], "audit": [], "reading": []}
        for _ in range(rounds):
            spent["passes"].append(cost_of(lambda: passes(inputs, pictures)))
            spent["audit"].append(cost_of(lambda: audited(model, folder)))
            spent["reading"].append(cost_of(lambda: read(model, folder)))
    wall, cpu = (_summary(spent, of) for of in ("wall", "cpu"))
    return {"network": name, "pictures": pictures, "rounds": rounds, "threads": torch.get_num_threads(),
            "setting": f"{passes.batch} at a time{', channels last' if passes.channels_last else ''}",
            "wall": wall, "cpu": cpu}  # fmt: skip


def _summary(spent: dict[str, list[Cost]], of: str) -> dict[str, float]:
    """Medians of seconds, and of each round's ratio: what came one after the other met the same weather."""
    seconds = {what: np.array([getattr(cost, of) for cost in costs]) for what, costs in spent.items()}
    ratio = np.median(seconds["passes"] / seconds["audit"])
    return {**{what: float(np.median(values)) for what, values in seconds.items()}, "ratio": float(ratio)}


def told(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    columns = [
        "network",
        "pictures",
        "threads",
        "passes alone",
        "audit",
        "ratio",
        "of CPU time",
        "reading alone",
    ]
    yield f"| {' | '.join(columns)} | rounds |"
    yield "| --- " * (len(columns) + 1) + "|"
    for row in rows:
        wall, cpu, n = row["wall"], row["cpu"], row["pictures"]
        cells = [
            row["network"], f"{n:,}", str(row["threads"]),
            f"{n / wall['passes']:.1f}/s ({row['setting']})", f"{n / wall['audit']:.1f}/s",
            f"{wall['ratio']:.2f}", f"{cpu['ratio']:.2f}",
            f"{1000 * cpu['reading'] / n:.1f} ms of CPU each", str(row["rounds"]),
        ]  # fmt: skip
        yield f"| {' | '.join(cells)} |"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, help="a page for the table, such as benchmarks/AUDIT.md")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    rows = []
    for name in asked.networks.split(","):
        rows.append(measured(name, asked.pictures, asked.rounds))
        print(*told(rows[-1:]), sep="\n", flush=True)
    if asked.out:
        text = f"# Throughput of an audit\n\n{__doc__ or ''}\nAim: a ratio of {AIM} at least.\n"
        when = time.strftime("%Y-%m-%d", time.gmtime())
        asked.out.write_text("\n".join([text, *told(rows), "", f"Measured on {when}.", ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
