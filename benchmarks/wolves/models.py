"""Two models of one recipe: one trained where the background goes with the class, one where it does not."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import underhood as uh
from benchmarks.wolves.scenes import CLASSES, SIZE, Material, Scenes, scenes
from underhood.demo.nets import SmallCNN
from underhood.demo.training import Recipe, fit, jitter
from underhood.models import Preprocess

PREPROCESS = Preprocess(size=SIZE, crop=(SIZE, SIZE), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
CHANCES = {"background": (0.0, 0.0), "object": (0.5, 0.5)}  # of the other class's background, in training
PICTURES = 1500
RECIPE = Recipe(steps=500)


def trained(name: str, material: Material, recipe: Recipe = RECIPE) -> uh.Model:
    """The model that can use the "background", or the one that has to use the "object"."""
    shown = scenes(material, PICTURES, CHANCES[name], seed=1)
    images, kinds = torch.from_numpy(shown.images), torch.from_numpy(shown.kind)

    def batch(size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        rows = torch.randint(len(kinds), (size,), generator=generator)
        pixels = jitter(images[rows].permute(0, 3, 1, 2).float() / 255, generator)
        flip = torch.rand(size, 1, 1, 1, generator=generator) < 0.5
        pixels = torch.where(flip, pixels.flip(3), pixels)
        return PREPROCESS.normalise(pixels), F.one_hot(kinds[rows], len(CLASSES)).float()

    torch.manual_seed(0)
    net = SmallCNN(len(CLASSES), widths=(16, 24, 32, 48, 48))
    fit(net, recipe, batch)
    return uh.Model(net.eval(), PREPROCESS, CLASSES, name=f"wolves:{name}")


def accuracy(model: uh.Model, shown: Scenes) -> dict[str, float]:
    """Where the background goes with the class, and where it is the other's."""
    predicted = np.array([found.index for found in model.predict(list(shown.images))])
    right, usual = predicted == shown.kind, shown.kind == shown.background
    return {"usual": float(right[usual].mean()), "swapped": float(right[~usual].mean())}
