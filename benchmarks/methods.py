"""Each method by each library, in the library's fastest setting that we found."""

from collections.abc import Callable

import torch
from captum.attr import (
    DeepLift,
    DeepLiftShap,
    GuidedBackprop,
    IntegratedGradients,
    LayerGradCam,
    NoiseTunnel,
    Occlusion,
    Saliency,
)
from torch import Tensor, nn

import underhood as uh
from benchmarks.networks import CAM_LAYERS

Run = Callable[[], object]
STEPS = 50


def integrated_gradients(_name: str, module: nn.Module, x: Tensor, **how: object) -> dict[str, Run]:
    model, peer = uh.Model(module), IntegratedGradients(module)
    return {
        "underhood": lambda: uh.IntegratedGradients(STEPS)(model, x, 0, **how),
        "captum": lambda: peer.attribute(x, target=0, n_steps=STEPS, internal_batch_size=8),
    }


def smoothgrad(_name: str, module: nn.Module, x: Tensor, **how: object) -> dict[str, Run]:
    model, peer = uh.Model(module), NoiseTunnel(Saliency(module))
    return {
        "underhood": lambda: uh.SmoothGrad(STEPS)(model, x, 0, **how),
        "captum": lambda: peer.attribute(x, target=0, nt_samples=STEPS, nt_samples_batch_size=10, stdevs=0.5),
    }


def occlusion(_name: str, module: nn.Module, x: Tensor, *, stride: int = 8, **how: object) -> dict[str, Run]:
    model, peer = uh.Model(module), Occlusion(module)
    window = {"sliding_window_shapes": (3, 32, 32), "strides": (3, stride, stride)}

    def captum() -> Tensor:
        with torch.inference_mode():
            return peer.attribute(x, target=0, perturbations_per_eval=16, **window)

    return {
        "underhood": lambda: uh.Occlusion(32, stride)(model, x, 0, **how),
        "captum": captum,
    }


def gradcam(name: str, module: nn.Module, x: Tensor) -> dict[str, Run]:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    layer = module.get_submodule(CAM_LAYERS[name])
    model, peer, grid = uh.Model(module), LayerGradCam(module, layer), None
    if name.startswith("vit"):
        grid = lambda t: t[:, 1:].reshape(len(t), 14, 14, -1).permute(0, 3, 1, 2)  # noqa: E731
    cam = GradCAM(module, [layer], reshape_transform=grid)
    targets = [ClassifierOutputTarget(0)] * len(x)

    def captum() -> object:
        found = peer.attribute(x, target=0)
        return found if found.ndim < 4 else LayerGradCam.interpolate(found, (224, 224))

    return {
        "underhood": lambda: uh.GradCAM(CAM_LAYERS[name])(model, x, 0),
        "captum": captum,
        "pytorch-grad-cam": lambda: cam(x, targets),
    }


def deeplift(_name: str, module: nn.Module, x: Tensor) -> dict[str, Run]:
    model, peer = uh.Model(module), DeepLift(module)
    return {
        "underhood": lambda: uh.DeepLIFT()(model, x, 0),
        "captum": lambda: peer.attribute(x, torch.zeros_like(x), target=0),
    }


def deepshap(_name: str, module: nn.Module, x: Tensor) -> dict[str, Run]:
    model, peer, background = uh.Model(module), DeepLiftShap(module), background_of(x)
    return {
        "underhood": lambda: uh.DeepSHAP(background)(model, x, 0),
        "captum": lambda: peer.attribute(x, background, target=0),
    }


def guided_backprop(_name: str, module: nn.Module, x: Tensor) -> dict[str, Run]:
    model, peer = uh.Model(module), GuidedBackprop(module)
    return {
        "underhood": lambda: uh.GuidedBackprop()(model, x, 0),
        "captum": lambda: peer.attribute(x, target=0),
    }


def background_of(x: Tensor) -> Tensor:
    """Ten samples like x."""
    return torch.cat([x.roll(20 * i, -1) * (0.5 + i / 10) for i in range(10)])


def lrp(name: str, module: nn.Module, x: Tensor, composite: str) -> dict[str, Run]:
    """A batch at once; zennit's canonizers merge batch normalisation."""
    import zennit.composites
    import zennit.torchvision

    model = uh.Model(module)
    canonizer = zennit.torchvision.VGGCanonizer if "vgg" in name else zennit.torchvision.ResNetCanonizer
    bounds = {"low": x.amin().expand(1, *x.shape[1:]), "high": x.amax().expand(1, *x.shape[1:])}
    kind = "EpsilonPlusFlat" if composite == "epsilon-plus-flat" else "EpsilonGammaBox"
    peer = getattr(zennit.composites, kind)(
        canonizers=[canonizer()], **(bounds if kind == "EpsilonGammaBox" else {})
    )
    ready = module.requires_grad_(False).to(memory_format=torch.channels_last)

    def zennit_run() -> Tensor:
        with peer.context(ready) as modified:
            leaf = x.clone().requires_grad_()
            return torch.autograd.grad(modified(leaf)[:, 0].sum(), leaf)[0]

    return {"underhood": lambda: uh.LRP(composite)(model, x, 0, memory="8GB"), "zennit": zennit_run}
