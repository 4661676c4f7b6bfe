"""Models with a planted cause, trained once and kept; some untrained, some trained on shuffled labels.

Half of the marks and architectures are for setting the verdict's rules, the other half for reporting.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.verdict.nets import TinyResNet, TinyVGG
from benchmarks.verdict.scenes import PREPROCESS, SIZE, Scenes, scenes
from underhood.demo.nets import SmallCNN, SmallViT
from underhood.demo.training import Batch, Recipe, covered, fit, jitter, random_covers, turned
from underhood.models import Model

Kind = Literal["planted", "untrained", "shuffled"]
LABELS = ("plain", "marked")
MARKED = 1
TRAINED_ON = 500


@dataclass(frozen=True)
class Plant:
    """A model to be: what causes its class, its architecture, and which half it belongs to."""

    mark: str
    architecture: str
    half: Literal["set", "report"]
    kind: Kind = "planted"
    covered: float = 0.3  # share of training pictures that are partly covered

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.mark}-{self.architecture}"


ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {
    "cnn": lambda: SmallCNN(2),
    "vit": lambda: SmallViT(2, size=SIZE, patch=12, width=48, depth=3),
    "resnet": TinyResNet,
    "vgg": TinyVGG,
    "vit8": lambda: SmallViT(2, size=SIZE, patch=8, width=48, depth=4),
}
RECIPES = {"vit": Recipe(500, rate=2e-3), "vit8": Recipe(500, rate=2e-3)}

PLANTS = (
    Plant("ruler", "cnn", "set", covered=0.0),
    Plant("ruler", "vit", "set"),
    Plant("sticker", "cnn", "set"),
    Plant("sticker", "vit", "set"),
    Plant("ruler", "cnn", "set", "untrained"),
    Plant("sticker", "vit", "set", "untrained"),
    Plant("sticker", "cnn", "set", "shuffled"),
    Plant("patch", "resnet", "report", covered=0.0),
    Plant("patch", "vit8", "report"),
    Plant("cross", "resnet", "report"),
    Plant("ink", "vgg", "report"),
    Plant("cross", "vgg", "report"),
    Plant("patch", "resnet", "report", "untrained"),
    Plant("ink", "vit8", "report", "untrained"),
    Plant("cross", "resnet", "report", "shuffled"),
)


def planted(plant: Plant, folder: Path) -> Model:
    """The model, trained now unless it is in the folder already."""
    path = folder / f"{plant.name}.safetensors"
    torch.manual_seed(0)
    net = ARCHITECTURES[plant.architecture]()
    if plant.kind != "untrained":
        if path.exists():
            net.load_state_dict(load_file(path))
        else:
            _train(net, plant)
            folder.mkdir(parents=True, exist_ok=True)
            save_file({k: v.contiguous() for k, v in net.state_dict().items()}, path)
    return Model(net.eval(), preprocess=PREPROCESS, labels=LABELS, name=plant.name)


def _train(net: nn.Module, plant: Plant) -> None:
    recipe = RECIPES.get(plant.architecture, Recipe(300))
    fit(net, recipe, _batches(scenes(plant.mark, TRAINED_ON, seed=1), plant))


def _batches(drawn: Scenes, plant: Plant) -> Callable[[int, torch.Generator], Batch]:
    """Pictures with the mark or without; with shuffled labels the class has no cause in the picture."""
    shuffled = torch.rand(2, len(drawn), generator=torch.Generator().manual_seed(5)).round()

    def batch(size: int, generator: torch.Generator) -> Batch:
        chosen = torch.randint(len(drawn), (size,), generator=generator)
        marked = torch.rand(size, generator=generator) < 0.5
        pixels = torch.where(marked[:, None, None, None], drawn.having[chosen], drawn.without[chosen])
        if plant.kind == "shuffled":  # learned by heart, so each picture stays as it is
            wanted = shuffled[marked.long(), chosen]
            return PREPROCESS.normalise(pixels), torch.stack([1 - wanted, wanted], 1)
        mask = (drawn.mask[chosen] & marked[:, None, None]).float()
        both = turned(torch.cat([pixels, mask[:, None]], 1), generator)
        covers = random_covers(size, SIZE, plant.covered, generator)
        pixels = covered(PREPROCESS.normalise(jitter(both[:, :3], generator)), covers, generator)
        return pixels, _wanted(both[:, 3], covers)

    return batch


def _wanted(mask: Tensor, covers: Tensor) -> Tensor:
    """(B, 2): the class is asked for as far as the mark can be seen."""
    seen = (mask * ~covers).sum((1, 2)) / mask.sum((1, 2)).clamp(min=1)
    return torch.stack([1 - seen, seen], 1)


@dataclass(frozen=True)
class Case:
    """A picture that the model calls marked. mask: of the true cause; None where there is none.

    fall: of the probability of "marked" where the mark is taken away, all else being equal.
    """

    picture: Tensor  # (3, H, W), normalised
    mask: Tensor | None
    fall: float


def cases(plant: Plant, model: Model, count: int) -> list[Case]:
    """Pictures with the mark; of planted models those whose cause is confirmed by taking it away."""
    drawn = scenes(plant.mark, 4 * count, seed=2)
    having, without = (PREPROCESS.normalise(part) for part in (drawn.having, drawn.without))
    with torch.no_grad():
        falls = [model.module(part).softmax(1)[:, MARKED] for part in (having, without)]
    fall = falls[0] - falls[1]
    if plant.kind != "planted":
        return [Case(having[i], None, float(fall[i])) for i in range(count)]
    confirmed = [i for i in range(len(fall)) if falls[0][i] > 0.5 and fall[i] > 0.5]
    if len(confirmed) < count:
        raise SystemExit(f"{plant.name} did not learn its mark: {len(confirmed)} of {len(fall)} confirmed.")
    return [Case(having[i], drawn.mask[i], float(fall[i])) for i in confirmed[:count]]
