"""A batch equals its inputs one by one, for every method (PEERS 2)."""

import copy

import numpy as np
import pytest
import torch

import underhood as uh
from tests.methods.nets import NETS, pictures
from tests.support.cheap import cheap
from underhood.methods.explanation import Explanation

METHODS: dict[str, uh.Method] = {
    "saliency": uh.Saliency(),
    "input_x_gradient": uh.InputXGradient(),
    "smoothgrad": uh.SmoothGrad(n=6),
    "smoothgrad, clamped": uh.SmoothGrad(n=6, clamp="input"),
    "smoothgrad squared": uh.SmoothGrad(n=6, kind="squared"),
    "vargrad": uh.SmoothGrad(n=6, kind="variance", of=uh.InputXGradient()),
    "integrated_gradients": uh.IntegratedGradients(steps=6),
    "integrated_gradients, blur": uh.IntegratedGradients(steps=4, baseline="blur"),
    "integrated_gradients, noise": uh.IntegratedGradients(steps=3, baseline="noise"),
    "integrated_gradients, tolerance": uh.IntegratedGradients(steps=2, tolerance=0.05, max_steps=16),
    "gradcam": uh.GradCAM(relu=False),
    "deeplift": uh.DeepLIFT(),
    "reveal_cancel": uh.DeepLIFT(rule="reveal_cancel"),
    "deepshap": uh.DeepSHAP(),
    "kernel_shap": uh.KernelSHAP(n=40, grouping=9),
    "kernel_shap, error": uh.KernelSHAP(n=200, grouping=9, error=0.3),
    "shapley_sampling": uh.ShapleySampling(4, grouping=9, baseline="noise"),
    "lime": uh.LIME(n=60, grouping=9),
    "rise": uh.RISE(n=12),
    "partition_shap": uh.PartitionSHAP(n=12),
    "exact_shapley": uh.ExactShapley(grouping=4),
    "guided_backprop": uh.GuidedBackprop(),
    "deconvnet": uh.Deconvnet(),
    "gradcam++": uh.GradCAMPlusPlus(relu=False),
    "xgradcam": uh.XGradCAM(relu=False),
    "hirescam": uh.HiResCAM(relu=False),
    "layercam": uh.LayerCAM(relu=False),
    "fullgrad": uh.FullGrad(),
    "fullgrad, signed": uh.FullGrad("signed"),
    "ablationcam": uh.AblationCAM(relu=False),
    "eigencam": uh.EigenCAM(relu=False),
    "eigengradcam": uh.EigenGradCAM(relu=False),
    "occlusion": uh.Occlusion(size=24, stride=20),
    "occlusion, inpaint": uh.Occlusion(size=32, stride=32, baseline="inpaint"),
    "occlusion, noise": uh.Occlusion(size=32, stride=32, baseline="noise"),
}
METHODS |= {key: m for key, m in cheap().items() if key not in {known.key for known in METHODS.values()}}
SUITED = [
    pytest.param(build, method, id=f"{net}-{name}")
    for net, build in NETS.items()
    for name, method in METHODS.items()
    if net == "vit" or not ("attention" in method.key or method.key == "scorecam")  # 512 channels
]
TARGETS = [7, 0, 3]


EXACT = "float32"  # bfloat16, where a processor has it, rounds by how many inputs there are at once


def batch() -> torch.Tensor:
    """Three pictures of different brightness and contrast."""
    return (
        pictures(3, 64) * torch.tensor([0.1, 1.0, 4.0])[:, None, None, None]
        + torch.tensor([0, 1, -3.0])[:, None, None, None]
    )


def assert_same(a: Explanation, b: Explanation) -> None:
    pairs = [(a.values, b.values), *((a.arrays[key], b.arrays[key]) for key in a.arrays)]
    for found, expected in pairs:
        scale = abs(expected).max()
        assert scale > 0 or b.no_signal
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-4 * scale)
    assert a.target == b.target
    assert a.score == pytest.approx(b.score, rel=1e-4, abs=1e-5)
    assert a.grid == b.grid
    assert a.no_signal == b.no_signal
    np.testing.assert_allclose(a.prediction.scores, b.prediction.scores, rtol=1e-3, atol=1e-4)
    assert a.subject.digest == b.subject.digest
    assert a.diagnostics.keys() == b.diagnostics.keys()
    for key, value in a.diagnostics.items():
        if isinstance(value, int | str | bool):
            assert value == b.diagnostics[key], key


@pytest.mark.parametrize(("build", "method"), SUITED)
def test_a_batch_equals_its_inputs_one_by_one(build, method: uh.Method) -> None:  # type: ignore[no-untyped-def]
    model, x = uh.Model(build()), batch()
    together = method(model, x, TARGETS, precision=EXACT)
    for i, target in enumerate(TARGETS):
        assert_same(together[i], method(model, x[i], target, precision=EXACT))


@pytest.mark.parametrize("build", NETS.values(), ids=NETS)
def test_the_order_of_a_batch_does_not_matter(build) -> None:  # type: ignore[no-untyped-def]
    model, x = uh.Model(build()), batch()
    method = METHODS["smoothgrad"]
    forwards = method(model, x, TARGETS, precision=EXACT)
    backwards = method(model, x.flip(0), TARGETS[::-1], precision=EXACT)
    for i in range(3):
        assert_same(forwards[i], backwards[2 - i])


def test_the_predicted_class_is_each_inputs_own() -> None:
    net, x = copy.deepcopy(NETS["resnet18"]()), batch()
    with torch.no_grad():
        net.fc.bias -= net(x).mean(0)
    model = uh.Model(net)
    predicted = [explanation.prediction.index for explanation in uh.Saliency()(model, x)]
    assert len(set(predicted)) > 1
    for key in ("saliency", "gradcam", "integrated_gradients", "occlusion", "smoothgrad"):
        found = METHODS[key](model, x, precision=EXACT)
        for explanation, index in zip(found, predicted, strict=True):
            assert explanation.target == f"class {index}"
            assert explanation.score == pytest.approx(float(explanation.prediction.scores[index]), rel=1e-4)
        named = METHODS[key](model, x, predicted, precision=EXACT)
        for a, b in zip(found, named, strict=True):
            assert_same(a, b)
