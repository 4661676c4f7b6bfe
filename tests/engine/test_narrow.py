"""Backward passes that leave out what nothing comes back to, and give the same."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import underhood as uh
from tests.methods.nets import explained, gradient, pictures, vit
from underhood.engine.narrow import FEWEST, Narrow, reached
from underhood.models import as_target

TOKENS, WIDTH = 64, 16


def tokens() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(2, TOKENS, WIDTH, requires_grad=True)


def block(x: Tensor) -> Tensor:
    """Attention over tokens, then a dense layer that is written into."""
    heads = x.unflatten(-1, (2, -1)).transpose(1, 2)
    mixed = F.scaled_dot_product_attention(heads, heads.tanh(), heads.cos()).transpose(1, 2).flatten(2)
    return F.linear(mixed, weight(), torch.ones(WIDTH)).relu_()


def weight() -> Tensor:
    return torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(1))


def back(function: Callable[[Tensor], Tensor], read: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return torch.autograd.grad(read(function(x)).square().sum(), x)[0]


def narrowed(function: Callable[[Tensor], Tensor], read: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with Narrow():
        return back(function, read, x)


READS = {
    "one token": lambda out: out[:, 0],
    "some tokens": lambda out: out[:, [3, 40]],
    "other tokens for each input": lambda out: out[[0, 1], [5, 9]],
    "all tokens": lambda out: out.mean(1),
    "nothing": lambda out: 0 * out,
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_it_gives_the_gradients_of_a_plain_backward_pass(read: Callable[[Tensor], Tensor]) -> None:
    x = tokens()
    found, expected = narrowed(block, read, x), back(block, read, x)
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()))


def test_only_rows_that_are_reached_are_multiplied() -> None:
    x = tokens()
    with Narrow():
        out = F.linear(x, weight())
    for read, rows in ((out[:, 7], FEWEST), (out[:, 10:30], 20), (out, TOKENS)):
        with FlopCounterMode(display=False) as counted:
            torch.autograd.grad(read.sum(), x, retain_graph=True)
        assert counted.get_total_flops() == 2 * len(x) * rows * WIDTH * WIDTH


def test_attention_goes_back_for_few_queries() -> None:
    def flops(read: Tensor) -> int:
        with FlopCounterMode(display=False) as counted:
            torch.autograd.grad(read.sum(), x, retain_graph=True)
        return counted.get_total_flops()

    x = tokens()
    with Narrow():
        out = F.scaled_dot_product_attention(x, x.tanh(), x.cos())
    assert flops(out[:, 0]) <= 2 * FEWEST / TOKENS * flops(out)  # forward again, and back


def test_rows_are_named_by_what_is_not_zero() -> None:
    signal = torch.zeros(3, 40, 4)
    assert reached(signal) is None
    signal[1, 5, 2] = signal[2, 30, 0] = -1
    signal[0, 12, 3] = torch.nan
    rows = reached(signal)
    assert rows is not None
    assert len(rows) == FEWEST
    assert {5, 12, 30} <= set(rows.tolist())
    assert reached(signal + 1) is None


def test_masked_attention_and_weights_with_gradients_are_left_alone() -> None:
    x, trained = tokens(), weight().requires_grad_()
    with Narrow():
        out = F.linear(F.scaled_dot_product_attention(x, x, x, is_causal=True), trained)
        found = torch.autograd.grad(out[:, 40].sum(), (x, trained))
    plain = F.linear(F.scaled_dot_product_attention(x, x, x, is_causal=True), trained)
    for ours, expected in zip(found, torch.autograd.grad(plain[:, 40].sum(), (x, trained)), strict=True):
        assert torch.equal(ours, expected)


def layer_gradient(net: nn.Module, at: str, x: Tensor, classes: Tensor) -> Tensor:
    """∂S/∂A by plain torch."""
    kept: list[Tensor] = []
    handle = net.get_submodule(at).register_forward_hook(lambda _m, _a, out: kept.append(out))
    scores = net(x).gather(1, classes[:, None])
    handle.remove()
    return torch.autograd.grad(scores.sum(), kept)[0]


@pytest.mark.parametrize("at", [None, "blocks.0", "norm"])
def test_a_transformers_gradients_are_those_of_plain_autograd(at: str | None) -> None:
    net, x = vit(), pictures(2, 64)
    target = torch.tensor([3, 1])
    if at is None:
        found, expected = explained(uh.Saliency("signed"), net, x, [3, 1]), gradient(net, x, target)
    else:
        ran = uh.Engine(uh.Model(net)).gradients(x, as_target([3, 1]), at=[at])
        assert ran is not None
        found, expected = ran.gradients[0], layer_gradient(net, at, x, target)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6 * float(expected.abs().max()))


class Mapped(nn.Module):
    """A dense layer under `torch.func.vmap`."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight())

    def forward(self, x: Tensor) -> Tensor:
        return torch.func.vmap(lambda copy: F.linear(copy, self.weight))(torch.stack([x, x]))[0].mean(1)


class Checkpointed(nn.Module):
    """Layers that run again in the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.inside, x, use_reentrant=False)[:, 0]

    def inside(self, x: Tensor) -> Tensor:
        return self.down(F.scaled_dot_product_attention(x, x.tanh(), x.cos()) @ self.up.weight.T).tanh()


@pytest.mark.parametrize("kind", [Mapped, Checkpointed])
def test_what_torch_transforms_or_runs_again_still_runs(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    net, x = kind(), tokens().detach()
    found = uh.Engine(uh.Model(net)).gradients(x, as_target(1))
    assert found is not None
    assert torch.allclose(found.gradients[0], gradient(net, x, torch.tensor([1, 1])), atol=1e-6)
