"""Class activation maps from one gradient: Grad-CAM alone, and all of its kind at once."""

from collections.abc import Callable
from functools import partial

from captum.attr import LayerGradCam
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor

import underhood as uh
from benchmarks.contest import Match, Scene, Timed
from benchmarks.floor import floor, forward
from benchmarks.networks import CAM_LAYERS
from benchmarks.rows import OURS

FAMILY = (uh.GradCAM, uh.GradCAMPlusPlus, uh.HiResCAM, uh.LayerCAM, uh.XGradCAM, uh.EigenGradCAM)


def grid_of(network: str) -> Callable[[Tensor], Tensor] | None:
    """How pytorch-grad-cam is told that a layer holds tokens."""
    return _tokens if network.startswith("vit") else None


def _tokens(t: Tensor) -> Tensor:
    return t[:, 1:].reshape(len(t), 14, 14, -1).permute(0, 3, 1, 2)


def gradcam(scene: Scene) -> Match:
    batch = int(scene.case.split()[-1])
    x = scene.pictures(batch)
    there = scene.there(x)
    name = CAM_LAYERS[scene.network]
    layer = scene.module.get_submodule(name)
    captum, cam = LayerGradCam(scene.module, layer), GradCAM(scene.module, [layer], grid_of(scene.network))
    targets = [ClassifierOutputTarget(0)] * batch

    def upsampled() -> object:
        found = captum.attribute(there, target=0)
        return found if found.ndim < 4 else LayerGradCam.interpolate(found, (224, 224))

    runs = {
        OURS: lambda: uh.GradCAM(name)(scene.model, x, 0),
        "captum": upsampled,
        "pytorch-grad-cam": lambda: cam(there, targets),
    }
    base = partial(floor, scene.module, x[:1], batch, forward, batches=(batch,))
    return Match(runs, base, batch, inputs=batch)


def all_cams(scene: Scene) -> Match:
    x, name = scene.pictures(), CAM_LAYERS[scene.network]
    methods = [kind(name) for kind in FAMILY]

    def together() -> uh.Explanations:
        return uh.explain(scene.model, x, 0, methods=methods)

    def passes() -> dict[str, str]:
        ran = [one.provenance for one in together()]
        forwards, backwards = (sum(r[f"{way}_passes"] for r in ran) for way in ("forward", "backward"))
        return {"passes of all six": f"{forwards} forward, {backwards} backward above the layer"}

    runs = {OURS: together, f"{OURS}, Grad-CAM alone": lambda: methods[0](scene.model, x, 0)}
    return Match(runs, partial(floor, scene.module, x, 1, forward), notes=passes)


CONTESTS = (
    Timed(
        "gradcam",
        "Grad-CAM",
        "at most 1.15 × one forward pass, at least 2.5 × faster than pytorch-grad-cam, not slower than "
        "captum.",
        1.15,
        gradcam,
        cases=("batch 1", "batch 16"),
    ),
    Timed(
        "all_cams",
        "Six gradient CAMs together, beside one forward pass",
        "one forward and one backward pass for all of them; at most 1.15 × one forward pass.",
        1.15,
        all_cams,
    ),
)
