"""Checks of stability: how far noise moves a map."""

from functools import partial
from typing import Any

import numpy as np
import torch

import underhood as uh
from benchmarks.contest import Match, Scene, Timed
from benchmarks.floor import floor, forward_backward
from benchmarks.measure import Run
from benchmarks.rows import OURS
from underhood.checks import MaxSensitivity

DRAWS, RADIUS, INPUTS = 10, 0.02, 8


def max_sensitivity(scene: Scene) -> Match:
    """Of |gradient|, beside the passes that explain the noisy copies; peers also explain the inputs anew."""
    x = scene.pictures(INPUTS)
    there, classes = scene.there(x), torch.zeros(INPUTS, dtype=torch.long)
    found = uh.explain(scene.model, x, 0, methods="saliency")
    check = MaxSensitivity(DRAWS, RADIUS, unit="input")
    told: dict[str, list[float]] = {}

    def ours() -> None:
        told[OURS] = check(found).values

    def captum() -> None:
        from captum.attr import Saliency
        from captum.metrics import sensitivity_max

        told["captum"] = sensitivity_max(
            Saliency(scene.module).attribute, there, perturb_radius=RADIUS, n_perturb_samples=DRAWS, target=0
        ).tolist()

    def quantus() -> None:
        from quantus import MaxSensitivity as Theirs

        metric = Theirs(
            nr_samples=DRAWS, lower_bound=RADIUS, disable_warnings=True, abs=False, normalise=False
        )
        told["quantus"] = metric(
            model=scene.module, x_batch=x.numpy(), y_batch=classes.numpy(), explain_func=_saliency,
            device=str(scene.device),
        )  # fmt: skip

    def figures() -> dict[str, str]:
        """Theirs are of |gradient| by channel, ours of the heatmap."""
        return {"mean figure": ", ".join(f"{name} {np.mean(v):.3f}" for name, v in told.items())}

    runs: dict[str, Run] = {OURS: ours, "captum": captum, "quantus": quantus}
    passes, theirs = DRAWS * INPUTS, (DRAWS + 1) * INPUTS
    base = partial(floor, scene.module, x[:1], passes, forward_backward)
    return Match(
        runs, base, passes, other={"captum": theirs, "quantus": theirs}, inputs=INPUTS, notes=figures
    )


def _saliency(model: Any, inputs: np.ndarray, targets: np.ndarray, **_: Any) -> np.ndarray:
    """As a user of Quantus would write it."""
    device = next(model.parameters()).device
    leaf = torch.as_tensor(inputs, dtype=torch.float32, device=device).requires_grad_()
    scores = model(leaf)[torch.arange(len(leaf)), torch.as_tensor(targets, device=device)]
    return torch.autograd.grad(scores.sum(), leaf)[0].abs().cpu().numpy()


CONTESTS = (
    Timed(
        "max_sensitivity",
        f"Max-sensitivity of |gradient|, {INPUTS} inputs, {DRAWS} draws",
        "at most 1.05 × its own passes, at less than 500 MiB.",
        1.05,
        max_sensitivity,
        networks=("resnet18",),
        memory=True,
    ),
)
