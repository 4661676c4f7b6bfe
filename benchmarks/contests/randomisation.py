"""Randomisation of a network's weights, layer by layer."""

from functools import partial
from typing import Any

import numpy as np
import torch

import underhood as uh
from benchmarks.contest import Match, Scene, Timed
from benchmarks.floor import floor, forward_backward
from benchmarks.measure import Run
from benchmarks.rows import OURS
from underhood.checks import Randomisation

INPUTS = 8
LAYERS = 41  # of a ResNet-18 that have weights


def cascade(scene: Scene) -> Match:
    """Of |gradient|, by rank correlation, beside the passes that explain the inputs once for each layer."""
    x = scene.pictures(INPUTS)
    found = uh.explain(scene.model, x, 0, methods="saliency")
    check = Randomisation(draws=1, measures=("spearman",))

    def quantus() -> None:
        from quantus import MPRT

        metric = MPRT(disable_warnings=True, normalise=False, return_average_correlation=True)
        metric(
            model=scene.module, x_batch=x.numpy(), y_batch=np.zeros(INPUTS, dtype=int),
            explain_func=_saliency, device=str(scene.device),
        )  # fmt: skip

    runs: dict[str, Run] = {OURS: lambda: check(found), "quantus": quantus}
    passes, theirs = LAYERS * INPUTS, (LAYERS + 1) * INPUTS
    base = partial(floor, scene.module, x[:1], passes, forward_backward)
    return Match(runs, base, passes, other={"quantus": theirs}, inputs=INPUTS)


def _saliency(model: Any, inputs: np.ndarray, targets: np.ndarray, **_: Any) -> np.ndarray:
    """As a user of Quantus would write it."""
    device = next(model.parameters()).device
    leaf = torch.as_tensor(inputs, dtype=torch.float32, device=device).requires_grad_()
    scores = model(leaf)[torch.arange(len(leaf)), torch.as_tensor(targets, device=device)]
    return torch.autograd.grad(scores.sum(), leaf)[0].abs().amax(1, keepdim=True).cpu().numpy()


CONTESTS = (
    Timed(
        "randomisation",
        f"Cascading randomisation of |gradient|, {INPUTS} inputs, {LAYERS} layers",
        "at least twice as fast as Quantus.",
        1.3,
        cascade,
        networks=("resnet18",),
    ),
)
