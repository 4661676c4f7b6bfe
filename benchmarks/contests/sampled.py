"""LIME and KernelSHAP at equal numbers of model calls, with 49 square patches for everyone's superpixels."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

import underhood as uh
from benchmarks.contest import Match, Scene, Timed
from benchmarks.floor import floor, forward
from benchmarks.measure import Run
from underhood.inputs.grouping import patches

CALLS = 200
BATCH = 16  # of the peers, the fastest for most networks
GROUPS = patches((224, 224), 32)  # 7 × 7
AIM = (
    "at most 1.05 × its forward passes in float32, at least 3 × faster than the fastest peer in `auto` "
    "precision."
)


def against(ours: uh.Method, peers: Callable[[Scene, Tensor], dict[str, Run]], scene: Scene) -> Match:
    x = scene.pictures()
    runs = {**scene.ours(ours, x), **peers(scene, scene.there(x))}
    return Match(runs, partial(floor, scene.module, x, CALLS, forward), CALLS)


def _captum(kind: str, scene: Scene, x: Tensor) -> Run:
    import captum.attr

    peer = getattr(captum.attr, kind)(scene.module)

    def run() -> Tensor:
        with torch.inference_mode():
            return peer.attribute(
                x, target=0, feature_mask=GROUPS.numbers.to(x.device),
                n_samples=CALLS, perturbations_per_eval=BATCH,
            )  # fmt: skip

    return run


def limes(scene: Scene, x: Tensor) -> dict[str, Run]:
    from lime.lime_image import LimeImageExplainer

    explainer, image = LimeImageExplainer(random_state=0), x[0].permute(1, 2, 0).double().cpu().numpy()

    def scores(batch: np.ndarray) -> np.ndarray:
        rows = torch.from_numpy(batch).to(x).permute(0, 3, 1, 2)
        with torch.inference_mode():
            return scene.module(rows).cpu().numpy()

    def run() -> object:
        return explainer.explain_instance(
            image, scores, labels=(0,), top_labels=None, hide_color=0, num_samples=CALLS, batch_size=BATCH,
            segmentation_fn=lambda _: GROUPS.numbers.numpy(),
        )  # fmt: skip

    return {"lime": run, "captum": _captum("Lime", scene, x)}


def kernels(scene: Scene, x: Tensor) -> dict[str, Run]:
    import shap

    numbers = GROUPS.numbers.to(x.device)

    def scores(kept: np.ndarray) -> np.ndarray:
        masks = torch.from_numpy(kept).to(x)  # (n, 49)
        with torch.inference_mode():
            parts = [scene.module(x * part[:, None, numbers])[:, 0] for part in masks.split(BATCH)]
        return torch.cat(parts).cpu().numpy()

    explainer = shap.KernelExplainer(scores, np.zeros((1, GROUPS.count)), silent=True)
    everything = np.ones((1, GROUPS.count))

    def run() -> object:
        return explainer.shap_values(everything, nsamples=CALLS - 2, l1_reg=0, silent=True)

    return {"shap": run, "captum": _captum("KernelShap", scene, x)}


CONTESTS = (
    Timed(
        "lime",
        f"LIME, {CALLS} model calls",
        AIM,
        1.05,
        partial(against, uh.LIME(CALLS, grouping=GROUPS), limes),
    ),
    Timed(
        "kernel_shap",
        f"KernelSHAP, {CALLS} model calls",
        AIM,
        1.05,
        partial(against, uh.KernelSHAP(CALLS, grouping=GROUPS), kernels),
    ),
)
