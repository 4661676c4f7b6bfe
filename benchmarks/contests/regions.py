"""Hiding windows or random parts: occlusion and RISE, which need nothing but scores."""

from functools import partial

import torch
from captum.attr import Occlusion
from scipy.stats import spearmanr
from torch import Tensor

import underhood as uh
from benchmarks.contest import Match, Scene, Timed
from benchmarks.floor import floor, forward

SIZE, STRIDE = 32, 8
FEW = {"resnet50": 24, "vgg16": 24}  # strides at which slow networks' full passes are measured
MASKS = 400


def windows(stride: int) -> int:
    return (-(-(224 - SIZE) // stride) + 1) ** 2


def occlusion(scene: Scene) -> Match:
    """Ours computes only what each window changes; peers' passes are measured on fewer windows."""
    x, peer, few = scene.pictures(), Occlusion(scene.module), FEW.get(scene.network, STRIDE)
    there, ours = scene.there(x), scene.ours(uh.Occlusion(SIZE, STRIDE), x)

    def captum() -> Tensor:
        with torch.inference_mode():
            return peer.attribute(
                there, target=0, perturbations_per_eval=16,
                sliding_window_shapes=(3, SIZE, SIZE), strides=(3, few, few),
            )  # fmt: skip

    def notes() -> dict[str, str]:
        maps = [run() for run in ours.values()]
        told = {"work": maps[0].diagnostics["work"]}  # type: ignore[attr-defined]
        if len(maps) > 1:
            ranks = spearmanr(*(one.values.ravel() for one in maps)).statistic  # type: ignore[attr-defined]
            told["rank correlation, auto and float32"] = f"{ranks:.4f}"
        return told | {"difference from full passes": f"{_difference(scene, peer, x):.0e}"}

    return Match(
        {**ours, "captum": captum},
        partial(floor, scene.module, x, windows(few), forward),
        windows(STRIDE),
        other={"captum": windows(few)},
        notes=notes,
    )


def _difference(scene: Scene, peer: Occlusion, x: Tensor) -> float:
    """Greatest difference between the map and that of captum's full passes, as a share of the greatest score.

    On windows side by side, as captum adds up where windows overlap.
    """
    side, there = (3, SIZE, SIZE), scene.there(x)
    theirs = peer.attribute(there, target=0, sliding_window_shapes=side, strides=side)[0, 0].cpu()
    ours = uh.Occlusion(SIZE, SIZE)(scene.model, x, 0, precision="float32").values
    greatest = scene.module(there).detach().abs().max()
    return float((torch.from_numpy(ours) - theirs).abs().max() / greatest)


def rise(scene: Scene) -> Match:
    x = scene.pictures()
    base = partial(floor, scene.module, x, MASKS, forward)
    return Match(scene.ours(uh.RISE(MASKS), x), base, MASKS)


CONTESTS = (
    Timed(
        "occlusion",
        f"Occlusion, {windows(STRIDE)} windows of {SIZE}",
        "at least 2 × (ResNet-18) and 4 × (VGG-16) below the floor of full passes, 3 × faster than captum.",
        0.5,
        occlusion,
    ),
    Timed(
        "rise",
        f"RISE, {MASKS} masks",
        "at most 1.05 × its masked forward passes in float32. No PyTorch peer.",
        1.05,
        rise,
    ),
)
