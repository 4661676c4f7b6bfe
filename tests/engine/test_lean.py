"""Lean passes keep less and give the same."""

import copy

import pytest
import torch
from torch import nn

import underhood as uh
from tests.methods.nets import explained, gradient, pictures, resnet18
from underhood.engine.batches import even
from underhood.engine.budget import footprint
from underhood.engine.lean import lean


def norms(affine: bool) -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=affine), nn.ReLU(), nn.Flatten(),
        nn.BatchNorm1d(144, affine=affine), nn.Linear(144, 2),
    )  # fmt: skip
    for norm in (net[1], net[4]):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.1, 3)
        if affine:
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
    return net.eval()


@pytest.mark.parametrize("affine", [True, False])
def test_a_lean_pass_gives_the_same_gradients(affine: bool) -> None:
    net, x = norms(affine), pictures(3, 8)
    expected = gradient(net, x, torch.tensor([0, 1, 1]))
    found = explained(uh.Saliency("signed"), net, x, [0, 1, 1])
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6 * float(expected.abs().max()))


def test_it_keeps_no_inputs_of_normalisations() -> None:
    def kept(net: nn.Module) -> int:
        sizes: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            net(pictures(2, 64).requires_grad_())
        return sum(sizes.values())

    net = copy.deepcopy(resnet18()).requires_grad_(False)
    weights = sum(t.nbytes for t in net.parameters())
    plainly = kept(net) - weights
    with lean(net):
        assert kept(net) - weights < 0.65 * plainly


def test_networks_in_training_or_without_statistics_and_other_kinds_of_norms_are_left_alone() -> None:
    class Own(nn.BatchNorm2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * 3

    for norm in (nn.BatchNorm2d(3), nn.BatchNorm2d(3, track_running_stats=False).eval(), Own(3).eval()):
        with lean(norm):
            assert "forward" not in vars(norm)
        assert "forward" not in vars(norm)


def test_nothing_is_left_on_the_layers_even_after_an_error() -> None:
    net = norms(True)

    def interrupted() -> None:
        with lean(net):
            assert "forward" in vars(net[1])
            raise MemoryError

    with pytest.raises(MemoryError):
        interrupted()
    assert "forward" not in vars(net[1])


def test_weights_that_change_are_noticed() -> None:
    net, x = norms(True), pictures(1, 8)
    model = uh.Model(net)
    before = explained(uh.Saliency("signed"), model, x, 0)
    with torch.no_grad():
        net[4].weight.mul_(2)
        net[1].running_var.mul_(4)
    after = explained(uh.Saliency("signed"), model, x, 0)
    assert torch.allclose(after, gradient(net, x, torch.tensor([0])), rtol=1e-4, atol=1e-6)
    assert not torch.allclose(before, after, rtol=0.1)


def test_the_footprint_counts_what_a_lean_pass_keeps() -> None:
    net, x = norms(True), pictures(1, 8)
    found = footprint(net, x)
    assert found.spared == {"1", "4"}
    assert found.gradient(lean=False) - found.gradient() == 2 * 144 * 4


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("limit", [1, 2, 7, 16])
def test_micro_batches_are_even_and_within_the_limit(limit: int, group: int) -> None:
    for count in range(2, 60, 2):
        size = even(count, limit, group)
        assert size % group == 0
        assert size <= max(limit, group)
        assert -(-count // size) == -(-count // max(group, limit // group * group))
