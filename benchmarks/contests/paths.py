"""Methods that are passes and little else: the mean of gradients at many points."""

from collections.abc import Callable
from functools import partial

import torch
from captum.attr import GradientShap, IntegratedGradients, NoiseTunnel, Saliency
from torch import Tensor

import underhood as uh
from benchmarks.contest import Match, Scene, Timed
from benchmarks.floor import floor, forward_backward
from benchmarks.measure import Run
from benchmarks.rows import OURS

STEPS = 50
AIM = "at most 1.05 × the floor, under 500 MiB, never slower than captum."
LIMIT = 1.05
Peer = Callable[[Scene, Tensor], Run]


def along(ours: Callable[[Tensor], uh.Method], captum: Peer | None, scene: Scene) -> Match:
    """`STEPS` passes forward and backward, and their mean."""
    x = scene.pictures()
    method = ours(x)
    runs: dict[str, Run] = {OURS: lambda: method(scene.model, x, 0)}
    if captum:
        runs["captum"] = captum(scene, scene.there(x))
    return Match(runs, partial(floor, scene.module, x, STEPS, forward_backward), STEPS)


def integrated_gradients(scene: Scene, x: Tensor) -> Run:
    peer = IntegratedGradients(scene.module)
    return lambda: peer.attribute(x, target=0, n_steps=STEPS, internal_batch_size=8)


def smoothgrad(scene: Scene, x: Tensor) -> Run:
    peer = NoiseTunnel(Saliency(scene.module))
    return lambda: peer.attribute(x, target=0, nt_samples=STEPS, nt_samples_batch_size=10, stdevs=0.5)


def gradient_shap(scene: Scene, x: Tensor) -> Run:
    """All draws of one call go through at once, which takes gigabytes; five calls are faster."""
    peer, background = GradientShap(scene.module), background_of(x)

    def run() -> Tensor:
        parts = [peer.attribute(x, background, n_samples=STEPS // 5, target=0) for _ in range(5)]
        return torch.stack(parts).mean(0)

    return run


def background_of(x: Tensor) -> Tensor:
    """Ten samples like x."""
    return torch.cat([x.roll(20 * i, -1) * (0.5 + i / 10) for i in range(10)])


def _contest(key: str, title: str, ours: Callable[[Tensor], uh.Method], captum: Peer | None) -> Timed:
    return Timed(key, f"{title}, {STEPS} passes", AIM, LIMIT, partial(along, ours, captum), memory=True)


CONTESTS = (
    _contest(
        "integrated_gradients",
        "Integrated gradients",
        lambda _: uh.IntegratedGradients(STEPS),
        integrated_gradients,
    ),
    _contest("smoothgrad", "SmoothGrad", lambda _: uh.SmoothGrad(STEPS), smoothgrad),
    _contest(
        "expected_gradients",
        "Expected gradients (GradientSHAP), background of 10",
        lambda x: uh.ExpectedGradients(STEPS, baseline=background_of(x)),
        gradient_shap,
    ),
    _contest("blur_ig", "Blur integrated gradients", lambda _: uh.BlurIG(STEPS), None),
)
