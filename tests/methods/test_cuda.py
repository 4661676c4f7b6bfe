"""Every method gives on a CUDA device what it gives on the CPU."""

from typing import Any

import pytest
import torch

import underhood as uh
from tests.engine.nets import NETS, explained, pictures
from tests.support.cheap import cheap

METHODS = cheap()
SUITED = [
    pytest.param(build, method, id=f"{net}-{key}")
    for net, build in NETS.items()
    for key, method in METHODS.items()
    if net == "vit" or "attention" not in key
]
# The largest difference, as a share of the map's largest value: float32 both, but added up in another order.
TOLERANCE = 1e-3
LOOSER = {  # more where a rounding can decide: on which side of a kink a point lies, or a singular vector
    "integrated_gradients": 5e-2,
    "expected_gradients": 5e-2,
    "blur_ig": 5e-2,
    "smoothgrad": 5e-2,
    "guided_ig": 5e-2,
    "eigengradcam": 1e-2,
    "eigencam": 1e-2,
}
TF32 = 3e-2  # tensor cores keep 10 bits of 23, which is torch's default for convolutions

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def apart(method: uh.Method, net: torch.nn.Module) -> float:
    """Largest difference between the two devices' maps of three pictures, as a share of the largest value."""
    x, targets = pictures(3), [0, 1, 2]
    on_cpu = explained(method, net, x, targets, device="cpu", precision="float32")
    on_cuda = explained(method, net, x, targets, device="cuda", precision="float32")
    assert on_cuda.device.type == "cpu"
    assert next(net.parameters()).device.type == "cpu"
    return float((on_cuda - on_cpu).abs().max() / on_cpu.abs().max().clamp(min=1e-12))


@pytest.mark.parametrize(("build", "method"), SUITED)
def test_a_cuda_device_gives_what_the_cpu_gives(
    monkeypatch: pytest.MonkeyPatch, build: Any, method: uh.Method
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    assert apart(method, build()) <= LOOSER.get(method.key, TOLERANCE)


@pytest.mark.parametrize(
    "key", ["saliency", "integrated_gradients", "gradcam", "occlusion", "lrp", "deeplift"]
)
def test_with_tensor_cores_it_is_near(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert apart(METHODS[key], NETS["cnn"]()) <= TF32


@pytest.mark.parametrize("build", NETS.values(), ids=NETS)
def test_a_batch_equals_its_inputs_one_by_one_there_too(monkeypatch: pytest.MonkeyPatch, build: Any) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    net, x, method = build(), pictures(3), uh.IntegratedGradients(steps=4)
    together = explained(method, net, x, [0, 1, 2], device="cuda")
    each = torch.cat([explained(method, net, x[i : i + 1], i, device="cuda") for i in range(3)])
    assert torch.allclose(together, each, rtol=1e-3, atol=1e-4 * float(each.abs().max()))


def test_the_same_seed_gives_the_same_map_there_too() -> None:
    net, x, method = NETS["cnn"](), pictures(3), uh.SmoothGrad(n=4)
    first = explained(method, net, x, device="cuda", seed=3)
    assert torch.allclose(explained(method, net, x, device="cuda", seed=3), first, rtol=1e-4)
