"""Modified backward passes: LRP, DeepLIFT and its kin, guided backpropagation."""

from collections.abc import Mapping
from functools import partial

import torch
import zennit.composites
import zennit.torchvision
from captum.attr import DeepLift, DeepLiftShap, GuidedBackprop
from torch import Tensor

import underhood as uh
from benchmarks.contest import Match, Scene, Timed
from benchmarks.contests.paths import background_of
from benchmarks.floor import floor, forward_backward
from benchmarks.measure import Run
from benchmarks.rows import OURS


def _match(scene: Scene, x: Tensor, each: int, runs: Mapping[str, Run]) -> Match:
    """Beside `each` passes forward and backward for every input."""
    passes = each * len(x)
    base = partial(floor, scene.module, x[:1], passes, forward_backward)
    return Match(runs, base, passes, inputs=len(x))


def deeplift(scene: Scene) -> Match:
    x, peer = scene.pictures(8), DeepLift(scene.module)
    there = scene.there(x)
    runs: dict[str, Run] = {
        OURS: lambda: uh.DeepLIFT()(scene.model, x, 0),
        "captum": lambda: peer.attribute(there, torch.zeros_like(there), target=0),
    }
    return _match(scene, x, 2, runs)


def deepshap(scene: Scene) -> Match:
    x, peer = scene.pictures(), DeepLiftShap(scene.module)
    there, background = scene.there(x), background_of(x)
    samples = scene.there(background)
    runs: dict[str, Run] = {
        OURS: lambda: uh.DeepSHAP(background)(scene.model, x, 0),
        "captum": lambda: peer.attribute(there, samples, target=0),
    }
    return _match(scene, x, 2 * len(background), runs)


def guided_backprop(scene: Scene) -> Match:
    x, peer = scene.pictures(8), GuidedBackprop(scene.module)
    there = scene.there(x)
    runs: dict[str, Run] = {
        OURS: lambda: uh.GuidedBackprop()(scene.model, x, 0),
        "captum": lambda: peer.attribute(there, target=0),
    }
    return _match(scene, x, 1, runs)


def lrp(scene: Scene) -> Match:
    """zennit's canonizers merge batch normalisation."""
    x = scene.pictures(16)
    there = scene.there(x)
    vgg = scene.network.startswith("vgg")
    canonizer = zennit.torchvision.VGGCanonizer if vgg else zennit.torchvision.ResNetCanonizer
    kinds = {"epsilon-plus-flat": "EpsilonPlusFlat", "epsilon-gamma-box": "EpsilonGammaBox"}
    bounds = {"low": there.amin().expand(1, *x.shape[1:]), "high": there.amax().expand(1, *x.shape[1:])}
    peer = getattr(zennit.composites, kinds[scene.case])(
        canonizers=[canonizer()], **(bounds if "box" in scene.case else {})
    )
    ready = scene.module.requires_grad_(False).to(memory_format=torch.channels_last)

    def run() -> Tensor:
        with peer.context(ready) as modified:
            leaf = there.clone().requires_grad_()
            return torch.autograd.grad(modified(leaf)[:, 0].sum(), leaf)[0]

    ours = uh.LRP(scene.case)
    return _match(scene, x, 1, {OURS: lambda: ours(scene.model, x, 0, memory="8GB"), "zennit": run})


CONTESTS = (
    Timed(
        "lrp",
        "LRP, 16 inputs",
        "at most 2.5 × forward and backward pass; at least 3 × faster than zennit on ResNet-18.",
        2.5,
        lrp,
        cases=("epsilon-plus-flat", "epsilon-gamma-box"),
        networks=("resnet18", "resnet50", "vgg16"),  # zennit has no rules for transformers
    ),
    Timed(
        "deeplift",
        "DeepLIFT, 8 inputs",
        "at most 1.5 × forward and backward pass of the doubled batch.",
        1.5,
        deeplift,
        memory=True,
    ),
    Timed(
        "deepshap",
        "DeepSHAP, background of 10",
        "at most 1.5 × forward and backward pass of the doubled batch; under 1 GiB on VGG-16.",
        1.5,
        deepshap,
        memory=True,
    ),
    Timed(
        "guided_backprop",
        "Guided backpropagation, 8 inputs",
        "not slower than captum.",
        1.4,
        guided_backprop,
        memory=True,
    ),
)
