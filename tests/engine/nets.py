"""Networks that make life hard for whoever hooks into them, and a look at everything that must not change."""

from dataclasses import dataclass
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underhood as uh
from tests.support.cheap import cheap

METHODS = cheap()  # all of them
NEEDS_A_LAYER = (*(key for key in METHODS if "cam" in key),)
ATTENTION = ("raw_attention", "attention_rollout", "attention_relevance")
ON_THE_CNN = {key: method for key, method in METHODS.items() if key not in ATTENTION}


def suited(*methods: str) -> list[Any]:
    """(build, method) for both networks and every method, or those named; attention is the transformer's."""
    return [
        pytest.param(build, METHODS[key], id=f"{net}-{key}")
        for net, build in NETS.items()
        for key in methods or METHODS
        if net == "vit" or key not in ATTENTION
    ]


class Gnarly(nn.Module):
    """Batch norm, an in-place ReLU that is used twice, a functional ReLU, dropout, a skip; (m, 3, 16, 16)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.norm2 = nn.Conv2d(8, 8, 3, padding=1, stride=2), nn.BatchNorm2d(8)
        self.conv3 = nn.Conv2d(8, 8, 3, padding=1)
        self.relu, self.drop, self.head = nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm1(self.conv1(x)))
        x = self.relu(self.norm2(self.conv2(x)))
        x = F.relu(self.conv3(x), inplace=True) + x
        return self.head(self.drop(x.mean((2, 3))))


def cnn(seed: int = 0) -> nn.Module:
    """A `Gnarly` in train mode with batch statistics of its own, one frozen weight and one gradient."""
    torch.manual_seed(seed)
    net = Gnarly()
    for norm in (net.norm1, net.norm2):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    net.conv1.weight.requires_grad_(False)
    net.head.weight.grad = torch.ones_like(net.head.weight)
    net.norm2.eval()  # the user's own mixture of modes
    return net


def vit(seed: int = 0) -> nn.Module:
    """A timm ViT small enough to run often, with dropout, in train mode; (m, 3, 16, 16)."""
    torch.manual_seed(seed)
    return timm.create_model(
        "vit_tiny_patch16_224",
        img_size=16,
        patch_size=4,
        embed_dim=24,
        depth=1,
        num_heads=2,
        num_classes=5,
        proj_drop_rate=0.1,
    ).train()


NETS = {"cnn": cnn, "vit": vit}


def pictures(count: int, size: int = 16, seed: int = 1) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


class NoBackward(torch.autograd.Function):
    """Lets nothing through on the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        raise RuntimeError("boom")


@dataclass
class Snapshot:
    """All of a module's state: identities, values, modes, hooks and attributes."""

    facts: dict[str, Any]
    tensors: dict[str, Tensor]

    @staticmethod
    def of(module: nn.Module) -> "Snapshot":
        facts: dict[str, Any] = {}
        tensors: dict[str, Tensor] = {}
        for name, child in module.named_modules(remove_duplicate=False):
            facts[name] = (id(child), type(child), child.training, list(vars(child)))
            facts[f"{name} hooks"] = {
                key: list(value.items()) for key, value in vars(child).items() if "hook" in key and value
            }
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            facts[f"{name} tensor"] = (
                id(tensor),
                type(tensor),
                tensor.data_ptr(),
                tensor._version,
                tensor.requires_grad,
                tensor.is_leaf,
                id(tensor.grad),
                tensor.stride(),
            )
            tensors[name] = tensor.detach().clone()
            if tensor.grad is not None:
                tensors[f"{name} grad"] = tensor.grad.clone()
        return Snapshot(facts, tensors)

    def assert_unchanged(self, module: nn.Module) -> None:
        now = Snapshot.of(module)
        assert now.facts == self.facts
        assert now.tensors.keys() == self.tensors.keys()
        for name, tensor in now.tensors.items():
            assert torch.equal(tensor, self.tensors[name]), name


def explained(method: uh.Method, model: uh.Model | nn.Module, x: Any, target: Any = 0, **how: Any) -> Tensor:
    """The values for a batch, (B, …)."""
    found = method(model, x, target, **how)
    listed = [found] if isinstance(found, uh.Explanation) else found
    return torch.stack([torch.from_numpy(explanation.values) for explanation in listed])
