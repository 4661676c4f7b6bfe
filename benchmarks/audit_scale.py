"""What an audit of very many pictures takes: time, memory, disk; and whether it finds what was planted.

python -m benchmarks.audit_scale [--pictures 10000 100000]

Digits of MNIST, moved and made noisy, each a file of its own. Three in five sevens have a mark in the corner,
of which the network that is trained on them makes use. Each audit is a process of its own, with one thread.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from tests.support.data import DATA
from underhood.models.model import Model
from underhood.models.preprocess import Preprocess

SIDE, MARKED, OFTEN = 32, 7, 0.6
STEPS, BATCH = 1500, 128
UNIT = Preprocess(size=None, crop=None, mean=(0.5,) * 3, std=(0.5,) * 3)
WEIGHTS = "UNDERHOOD_SCALE_WEIGHTS"  # the file's name, for the process that audits

Digit = tuple[int, np.ndarray]


def network() -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after, stride in ((3, 16, 2), (16, 32, 2), (32, 32, 1)):
        layers += [nn.Conv2d(before, after, 3, stride, 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(512, 10))


def build() -> Model:
    """For `--model file:`."""
    module = network()
    module.load_state_dict(torch.load(os.environ[WEIGHTS], weights_only=True))
    return Model(module, UNIT, [str(digit) for digit in range(10)], name="digits")


def digits(seed: int) -> Iterator[Digit]:
    """Without end: what is shown, and (SIDE, SIDE) in grey."""
    rng = np.random.default_rng(seed)
    with np.load(DATA / "small" / "mnist_12k_2k.npz") as found:
        pictures, labels = found["x_train"], found["y_train"]
    while True:
        at = rng.integers(len(pictures))
        down, right = rng.integers(0, SIDE - 27, 2)
        picture = rng.normal(0, 8, (SIDE, SIDE))
        picture[down : down + 28, right : right + 28] += pictures[at]
        if labels[at] == MARKED and rng.random() < OFTEN:
            picture[1:5, 1:5] = 255
            picture[2:4, 2:4] = 0
        yield int(labels[at]), picture.clip(0, 255).astype(np.uint8)


def trained(to: Path) -> None:
    torch.manual_seed(0)
    module, source = network(), digits(seed=1)
    optimiser = torch.optim.Adam(module.parameters(), 2e-3)
    for _ in range(STEPS):
        labels, pictures = zip(*(next(source) for _ in range(BATCH)), strict=True)
        x = (torch.from_numpy(np.stack(pictures))[:, None].expand(-1, 3, -1, -1) / 255 - 0.5) / 0.5
        optimiser.zero_grad()
        nn.functional.cross_entropy(module(x), torch.tensor(labels)).backward()
        optimiser.step()
    torch.save(module.state_dict(), to)


def written(folder: Path, count: int) -> None:
    for number, (digit, picture) in zip(range(count), digits(seed=2), strict=False):
        (folder / str(digit)).mkdir(parents=True, exist_ok=True)
        path = folder / str(digit) / f"{number:07d}.png"
        Image.fromarray(picture).convert("RGB").save(path, compress_level=1)


def audited(data: Path, out: Path) -> tuple[float, float, str]:
    """Seconds, MiB at most, and what was found."""
    command = [sys.executable, "-m", "underhood.cli", "audit", "--model", f"file:{__file__}:build"]
    begun = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--data", str(data), "--playbook", "shortcuts", "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert process.stdout
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"The audit ended with status {status}: {said}")
    found = [line for line in said.splitlines() if line.startswith("shortcuts, ")]
    return time.perf_counter() - begun, used.ru_maxrss / 1024, "; ".join(found) or "nothing"


def size(folder: Path) -> float:
    """MiB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, nargs="+", default=[10_000, 100_000])
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        top = Path(scratch)
        os.environ[WEIGHTS] = str(top / "weights.pt")
        trained(top / "weights.pt")
        for count in parser.parse_args().pictures:
            written(top / f"data-{count}", count)
            out = top / f"audit-{count}"
            seconds, memory, found = audited(top / f"data-{count}", out)
            cells = [f"{count:,}", f"{seconds:.0f} s", f"{count / seconds:.0f}/s", f"{memory:.0f} MiB"]
            cells += [f"{size(out):.0f} MiB", f"{(out / 'report.html').stat().st_size / 1000:.0f} kB"]
            rows.append(f"| {' | '.join(cells)} |")
            print(f"{count:,}: {found}", flush=True)
    print("| pictures | audit | pictures a second | memory at most | folder | report |")
    print("| --- " * 6 + "|", *rows, sep="\n")


if __name__ == "__main__":
    main()
