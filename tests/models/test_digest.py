"""The digest: the same for the same weights in the same architecture, and for nothing else."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from underhood.models import Model
from underhood.models.digest import digest


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))


def flip_one_bit(net: nn.Module) -> None:
    net[4].weight.data.view(torch.int32)[0, 0] ^= 1


def change_a_buffer(net: nn.Module) -> None:
    net[1].running_mean[2] += 1e-3


def change_a_dtype(net: nn.Module) -> None:
    net[4].half()


def change_the_architecture(net: nn.Module) -> None:
    net[2] = nn.GELU()


def swap_two_parameters(net: nn.Module) -> None:
    net[1].weight, net[1].bias = net[1].bias, net[1].weight


def reshape_a_parameter(net: nn.Module) -> None:
    net[4].weight = nn.Parameter(net[4].weight.detach().reshape(4, 8))


@pytest.mark.parametrize(
    "change",
    [
        flip_one_bit,
        change_a_buffer,
        change_a_dtype,
        change_the_architecture,
        swap_two_parameters,
        reshape_a_parameter,
    ],
)
def test_digest_changes_with(change: Callable[[nn.Module], None], net: nn.Module) -> None:
    model = Model(net)
    before = model.digest
    change(net)
    assert model.digest != before  # the model notices by itself, although it remembers its digest
    assert digest(net) == model.digest


@pytest.mark.parametrize(
    "leave",
    [
        lambda net: net.train(),
        lambda net: net.eval(),
        lambda net: net.requires_grad_(False),
        lambda net: net.to(memory_format=torch.channels_last),
        lambda net: net[0].register_forward_hook(lambda *_: None),
        lambda net: net(torch.zeros(1, 3, 4, 4)).sum().backward(),
        copy.deepcopy,
    ],
    ids=["train()", "eval()", "frozen", "channels_last", "a hook", "gradients", "deepcopy"],
)
def test_digest_does_not_change_with(leave: Callable[[nn.Module], object], net: nn.Module) -> None:
    net.eval()  # so that the backward pass leaves the running statistics alone
    before = digest(net)
    left = leave(net)
    assert digest(net) == before
    assert digest(left if isinstance(left, nn.Module) else net) == before


def test_digest_is_the_same_through_wrappers(net: nn.Module) -> None:
    assert Model(nn.DataParallel(net)).digest == Model(net).digest
    assert Model(torch.compile(net)).digest == Model(net).digest


def test_digest_reads_every_kind_of_tensor() -> None:
    net = nn.Module()
    net.register_buffer("empty", torch.zeros(0, 3))
    net.register_buffer("scalar", torch.tensor(2.0))
    net.register_buffer("short", torch.ones(3, dtype=torch.bfloat16))
    net.register_buffer("waves", torch.ones(3, dtype=torch.complex64))
    net.register_buffer("thin", torch.eye(3).to_sparse())
    net.register_buffer("flags", torch.tensor([True, False]))
    assert len(digest(net)) == 64
