"""Checks that hide parts in a map's order: deletion beside Quantus, ROAD beside pytorch-grad-cam."""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

import underhood as uh
from benchmarks.contest import Match, Scene, Timed
from benchmarks.floor import floor, forward
from benchmarks.measure import Run
from benchmarks.rows import OURS
from underhood.checks import ROAD, Check, Deletion
from underhood.engine.precision import has_bfloat16
from underhood.engine.settings import Precision
from underhood.inputs.baseline import gaussian_blur
from underhood.methods import Explanations, Given

INPUTS = 8
STEPS = 21  # near 16; Quantus takes only steps of so many values that they divide 224 × 224
SHARES = tuple(tenth / 10 for tenth in range(1, 10))


def deletion(scene: Scene) -> Match:
    """Single pixels, most relevant first, set to zero; the bare curve, which is all that Quantus has."""
    x = scene.pictures(INPUTS)
    check = Deletion("MoRF", "zeros", "elements", STEPS, shifts=0)
    theirs = partial(_quantus, scene, x)

    def notes() -> dict[str, str]:
        """A pixel's channels are three features to Quantus: only every third of its steps is ours."""
        coarse = Deletion("MoRF", "zeros", "elements", STEPS // 3, shifts=0)(_explained(scene, x, "float32"))
        ours = np.array([reading.details["curves"]["MoRF"]["score"][1:] for reading in coarse])
        return {"difference of the curves": f"{abs(ours - np.array(theirs())[:, 2::3]).max():.0e}"}

    return Match(
        {**_ours(scene, check, x), "quantus": theirs},
        partial(floor, scene.module, x[:1], STEPS * INPUTS, forward),
        STEPS * INPUTS,
        inputs=INPUTS,
        notes=notes,
    )


def road(scene: Scene) -> Match:
    """Nine shares in both orders; its linear systems weigh more than its passes."""
    from pytorch_grad_cam.metrics.road import ROADCombined
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    x = scene.pictures()
    found, check, passes = _explained(scene, x, "float32"), ROAD(SHARES, shifts=0), 2 * len(SHARES)
    there, maps = scene.there(x), np.stack([e.heatmap() for e in found])

    def theirs() -> Tensor:
        return ROADCombined()(there, maps, [ClassifierOutputTarget(0)] * len(maps), scene.module)

    def notes() -> dict[str, str]:
        """Both add noise of 0.01, each its own."""
        apart = abs(float(theirs()[0]) - float(check(found)[0].value or 0))
        calls = f"{check(found)[0].calls:.0f} and {2 * passes}"
        return {"difference": f"{apart:.0e}", "passes, ours and theirs": calls}

    return Match(
        {**_ours(scene, check, x), "pytorch-grad-cam": theirs},
        partial(floor, scene.module, x, passes, forward),
        passes,
        notes=notes,
    )


def _ours(scene: Scene, check: Check, x: Tensor) -> dict[str, Run]:
    """In float32, and in `auto` precision where that differs."""
    wanted: dict[str, Precision] = {OURS: "float32", f"{OURS} auto": "auto"}
    if not has_bfloat16(scene.device):
        del wanted[f"{OURS} auto"]
    return {name: partial(_read, check, _explained(scene, x, p)) for name, p in wanted.items()}


def _explained(scene: Scene, x: Tensor, precision: Precision) -> Explanations:
    """Smooth maps without ties, which cost nothing to make."""
    noise = torch.randn(len(x), 1, *x.shape[2:], generator=torch.Generator().manual_seed(0))
    return uh.explain(scene.model, x, 0, methods=Given(gaussian_blur(noise, 6.0)[:, 0]), precision=precision)


def _read(check: Check, found: Explanations) -> list[float]:
    return check(found).values


def _quantus(scene: Scene, x: Tensor) -> Any:
    import quantus

    maps = np.stack([e.heatmap() for e in _explained(scene, x, "float32")])[:, None]
    metric = quantus.PixelFlipping(
        features_in_step=3 * 224 * 224 // STEPS, perturb_func_kwargs={"perturb_baseline": 0.0},
        normalise=False, disable_warnings=True,
    )  # fmt: skip
    return metric(
        model=scene.module, x_batch=x.numpy().copy(), y_batch=np.zeros(len(x), dtype=int), a_batch=maps,
        softmax=False, device=str(scene.device),
    )  # fmt: skip


CONTESTS = (
    Timed(
        "deletion",
        f"Deletion in {STEPS} steps, {INPUTS} pictures",
        "at least 3 × faster than Quantus' pixel flipping, the same curve.",
        1.3,
        deletion,
        networks=("resnet18",),
    ),
    Timed(
        "road",
        f"ROAD, {len(SHARES)} shares in both orders",
        "at least 5 × faster than pytorch-grad-cam, the same figure.",
        6.0,
        road,
        networks=("resnet18",),
    ),
)
