"""The models, trained once and kept; how far each really goes by its mark.

    python -m benchmarks.shortcuts.models [--folder FOLDER] [--half set|report] [--seconds N]

Trains those that are not kept yet, one after the other, and stops after so many seconds; to be called again.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.shortcuts.bases import missing
from benchmarks.shortcuts.cases import Case, Half, cases
from benchmarks.shortcuts.nets import ARCHITECTURES
from benchmarks.shortcuts.planted import Marked, base, held_out, seed_of, training
from underhood.demo.training import Batch, Recipe, fit
from underhood.models import Model, Preprocess

PREPROCESS = Preprocess(size=None, crop=None, mean=(0.55, 0.45, 0.45), std=(0.22, 0.22, 0.22))
RECIPES = {"cnn": Recipe(160), "resnet": Recipe(140), "vgg": Recipe(200, rate=2e-3)}
SHIFT = 2  # pixels, either way
CHEATING = 0.10  # a model whose accuracy changes by more as the mark moves goes by the mark


def main() -> None:
    asked = arguments(__doc__).parse_args()
    torch.set_num_threads(1)  # on networks so small, threads cost more than they give
    until = time.perf_counter() + asked.seconds
    left = [case for case in asked_for(asked.half) if not weights(case, asked.folder).exists()]
    for done, case in enumerate(left):
        if time.perf_counter() > until:
            print(f"{len(left) - done} models are left; call again.")
            break
        started = time.perf_counter()
        model(case, asked.folder)
        print(f"{case.name}: {time.perf_counter() - started:.1f} s", flush=True)


def arguments(told: str | None) -> argparse.ArgumentParser:
    """Of the commands that go through the models; told: what `--help` says."""
    parser = argparse.ArgumentParser(description=told, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("out/shortcuts"))
    parser.add_argument("--half", choices=("set", "report"))
    parser.add_argument("--seconds", type=float, default=float("inf"))
    return parser


def asked_for(half: Half | None) -> list[Case]:
    """All of them or one half, without those whose data are not there."""
    without = missing()
    for sentence in without.values():
        print(sentence)
    return [case for case in cases() if half in (None, case.half) and case.base not in without]


def weights(case: Case, folder: Path) -> Path:
    return folder / "models" / f"{case.name}.safetensors"


def model(case: Case, folder: Path) -> Model:
    """The model, trained now unless it is in the folder already."""
    on, path = base(case.base, folder), weights(case, folder)
    torch.manual_seed(seed_of(case, 0))
    net = ARCHITECTURES[case.architecture](len(on.labels), on.stride)
    if path.exists():
        net.load_state_dict(load_file(path))
    else:
        fit(net, RECIPES[case.architecture], batches(training(case, folder), seed_of(case, 0)))
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in net.state_dict().items()}, path)
    preprocess = replace(PREPROCESS, crop=on.shape)
    return Model(net.eval(), preprocess=preprocess, labels=on.labels, name=case.name)


def batches(data: Marked, seed: int) -> Callable[[int, torch.Generator], Batch]:
    """Random pictures, shifted by a pixel or two and a little brighter or darker."""
    pictures = torch.from_numpy(data.pictures).permute(0, 3, 1, 2)
    wanted = F.one_hot(torch.from_numpy(data.classes)).float()
    own = torch.Generator().manual_seed(seed)  # `fit` always draws alike

    def batch(size: int, _generator: torch.Generator) -> Batch:
        rows = torch.randint(len(pictures), (size,), generator=own)
        light = 1 + 0.04 * torch.randn(size, 1, 1, 1, generator=own)
        pixels = (shifted(pictures[rows].float() / 255, own) * light).clamp(0, 1)
        return PREPROCESS.normalise(pixels), wanted[rows]

    return batch


def shifted(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """(B, 3, H, W), all by the same few pixels; the edge is repeated."""
    down, right = torch.randint(0, 2 * SHIFT + 1, (2,), generator=generator).tolist()
    padded = F.pad(pixels, (SHIFT, SHIFT, SHIFT, SHIFT), mode="replicate")
    height, width = pixels.shape[2:]
    return padded[:, :, down : down + height, right : right + width]


def accuracy(model: Model, data: Marked) -> float:
    assert model.preprocess is not None
    pixels = torch.from_numpy(data.pictures).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        parts = [model.module(model.preprocess.normalise(part)).argmax(1) for part in pixels.split(100)]
    found = torch.cat(parts)
    return float((found == torch.from_numpy(data.classes)).float().mean())


def accuracies(case: Case, model: Model, folder: Path) -> dict[str, float]:
    """With the mark as in training, on all of its class, on all of the others, and nowhere."""
    return {
        where: accuracy(model, held_out(case, folder, where))
        for where in ("as trained", "on its class", "on the others", "nowhere")
    }


def cheats(found: dict[str, float]) -> bool:
    """Moving the mark from its class to the others costs more than a tenth of all pictures."""
    return found["on its class"] - found["on the others"] > CHEATING


if __name__ == "__main__":
    main()
