"""After any explanation, a success or a failure, the user's model is what it was, to the bit (PEERS 6)."""

import copy
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import underhood as uh
from tests.engine.nets import (
    ATTENTION,
    METHODS,
    NEEDS_A_LAYER,
    NETS,
    ON_THE_CNN,
    NoBackward,
    Snapshot,
    explained,
    pictures,
    suited,
)
from underhood.engine.hooks import Taps

both_nets = pytest.mark.parametrize("build", NETS.values(), ids=NETS)
every_method_on_both_nets = pytest.mark.parametrize(("build", "method"), suited())


@every_method_on_both_nets
def test_a_success_leaves_the_model_as_it_was(build: Callable[[], nn.Module], method: uh.Method) -> None:
    net = build()
    before = Snapshot.of(net)
    rng = torch.get_rng_state()
    method(net, pictures(2), [0, 3])
    before.assert_unchanged(net)
    assert torch.equal(torch.get_rng_state(), rng)


@every_method_on_both_nets
def test_a_failure_in_any_layer_leaves_the_model_as_it_was(
    build: Callable[[], nn.Module], method: uh.Method
) -> None:
    net = build()
    model, x = uh.Model(net), pictures(2)
    expected = explained(method, model, x)
    for layer in list(net.modules())[1:]:
        fuse = layer.register_forward_hook(explode)
        before = Snapshot.of(net)
        # A container whose forward is never called has a hook that never runs.
        runs = has_weights(layer)
        with pytest.raises(uh.UnderhoodError, match="boom") if runs else suppress(uh.UnderhoodError):
            method(model, x, 0)
        before.assert_unchanged(net)
        fuse.remove()
    assert torch.equal(explained(method, model, x), expected)


@both_nets
def test_ctrl_c_in_any_layer_leaves_the_model_as_it_was(build: Callable[[], nn.Module]) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    net = build()
    model, x, method = uh.Model(net), pictures(2), uh.GradCAM()
    expected = explained(method, model, x)
    for layer in [m for m in net.modules() if not any(m.children())]:
        fuse = layer.register_forward_pre_hook(interrupt)
        before = Snapshot.of(net)
        with pytest.raises(KeyboardInterrupt) if has_weights(layer) else suppress(KeyboardInterrupt):
            method(model, x, 0)
        before.assert_unchanged(net)
        fuse.remove()
    assert torch.equal(explained(method, model, x), expected)


@both_nets
def test_a_failure_in_any_of_our_own_hooks_leaves_no_hook_behind(
    build: Callable[[], nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    net = build()
    model, x = uh.Model(net), pictures(1)
    names = [name for name, layer in model.layers.items() if has_weights(layer)]
    taps_cut = Taps._cut
    before = Snapshot.of(net)
    for failing in range(1, len(names) + 1):
        calls = 0

        def cut(self: Taps, tensor: Tensor, failing: int = failing) -> Tensor:
            nonlocal calls
            calls += 1
            if calls == failing:
                raise RuntimeError("boom")
            return taps_cut(self, tensor)

        monkeypatch.setattr(Taps, "_cut", cut)
        with pytest.raises(uh.UnderhoodError, match="boom"):
            uh.Engine(model).capture(x, names)
        monkeypatch.undo()
        before.assert_unchanged(net)
        engine = uh.Engine(model)
        with engine.borrowed(engine.form) as module:
            assert not [m for m in module.modules() if m._forward_hooks or m._backward_hooks]


@pytest.mark.parametrize("method", [uh.Saliency(), uh.GradCAM("1")], ids=lambda m: m.key)
def test_a_failure_in_the_backward_pass_is_a_sentence_and_leaves_the_model_as_it_was(
    method: uh.Method,
) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), BackwardFails(), nn.Flatten(), nn.Linear(784, 2))
    before = Snapshot.of(net)
    with pytest.raises(uh.UnderhoodError, match=r"backward pass failed .*boom"):
        method(net, pictures(1), 0)
    before.assert_unchanged(net)


def test_an_optimizer_still_trains_the_model_after_an_explanation() -> None:
    net, twin = NETS["cnn"](), NETS["cnn"]()
    optimizers = [torch.optim.SGD(n.parameters(), lr=0.1, momentum=0.9) for n in (net, twin)]
    x = pictures(4)
    for step in range(3):
        for module, optimizer in zip((net, twin), optimizers, strict=True):
            torch.manual_seed(step)
            optimizer.zero_grad()
            module(x).square().sum().backward()
            optimizer.step()
        for method in ON_THE_CNN.values():
            method(net, x, 1)
    for trained, alone in zip(net.state_dict().values(), twin.state_dict().values(), strict=True):
        assert torch.equal(trained, alone)
    assert not torch.equal(net.head.weight, NETS["cnn"]().head.weight)


def test_an_explanation_between_forward_and_backward_does_not_disturb_training() -> None:
    net, x = NETS["cnn"](), pictures(2)
    torch.manual_seed(0)
    net(x).sum().backward()
    expected = net.conv2.weight.grad.clone()
    net.conv2.weight.grad = None
    twin = copy.deepcopy(NETS["cnn"]())
    torch.manual_seed(0)
    loss = twin(x).sum()
    uh.explain(twin, x, 0)
    loss.backward()
    assert torch.equal(twin.conv2.weight.grad, expected)


def test_the_callers_input_is_not_written_to_by_a_model_that_works_in_place() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x.mul_(2).add_(1)).relu_().mean((2, 3))

    x, net = pictures(2), InPlace()
    kept = x.clone()
    values = {name: explained(method, net, x, [0, 1]) for name, method in ON_THE_CNN.items()}
    assert torch.equal(x, kept)
    assert x.grad is None
    assert not x.requires_grad
    leaf = kept.clone().requires_grad_()
    score = net(leaf.clone())[[0, 1], [0, 1]].sum()
    gradient = torch.autograd.grad(score, leaf)[0]
    assert torch.allclose(values["saliency"], gradient.abs(), atol=1e-6)


def test_buffers_that_a_forward_pass_writes_to_stay_the_users() -> None:
    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("passes", torch.zeros(()))
            self.seen = torch.zeros(3)  # a plain tensor, not registered

        def forward(self, x: Tensor) -> Tensor:
            self.passes += 1
            self.seen += x.detach().mean((0, 2, 3))
            return x.mean((2, 3))

    net = Counter()
    for name, method in METHODS.items():
        if name not in (*NEEDS_A_LAYER, *ATTENTION):
            method(net, pictures(2), 0)
    assert net.passes == 0
    assert not net.seen.any()


def test_an_input_that_requires_a_gradient_gets_none() -> None:
    x = pictures(1).requires_grad_()
    uh.Saliency()(NETS["cnn"](), x, 0)
    assert x.grad is None
    assert x.requires_grad


class BackwardFails(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return NoBackward.apply(x)


def has_weights(layer: nn.Module) -> bool:
    return next(layer.parameters(recurse=False), None) is not None


def explode(*_: Any) -> None:
    raise RuntimeError("boom")
