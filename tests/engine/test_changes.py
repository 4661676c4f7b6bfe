"""Whatever the user does to the model between two calls is seen by the second one."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import underhood as uh
from tests.engine.nets import NETS, explained, pictures
from tests.support.toys import Linear


def edit_in_place(net: Any) -> None:
    with torch.no_grad():
        net.conv1.weight[3] *= 2


def edit_one_number(net: Any) -> None:
    with torch.no_grad():
        net.conv2.weight[1, 2, 0, 1] += 0.5


def edit_through_data(net: Any) -> None:
    net.conv1.weight.data.mul_(1.5)


def replace_data(net: Any) -> None:
    net.conv1.weight.data = net.conv1.weight.data * 2


def replace_parameter(net: Any) -> None:
    net.conv1.weight = nn.Parameter(net.conv1.weight.detach() * 2)


def replace_layer(net: Any) -> None:
    net.conv3 = nn.Conv2d(8, 8, 3, padding=1)


def load_state(net: Any) -> None:
    net.load_state_dict(NETS["cnn"](seed=7).state_dict())


def edit_statistics(net: Any) -> None:
    net.norm1.running_mean.add_(1)


def train_a_step(net: Any) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    net(pictures(4, seed=5)).square().mean().backward()
    optimizer.step()


def add_a_hook(net: Any) -> None:
    net.conv3.register_forward_hook(lambda _m, _a, output: 2 * output)


CHANGES = [
    edit_in_place,
    edit_one_number,
    edit_through_data,
    replace_data,
    replace_parameter,
    replace_layer,
    load_state,
    edit_statistics,
    train_a_step,
    add_a_hook,
]


@pytest.mark.parametrize("method", [uh.Saliency("signed"), uh.Occlusion(size=8)], ids=lambda m: m.key)
@pytest.mark.parametrize("change", CHANGES, ids=lambda c: c.__name__)
def test_a_change_of_the_model_is_seen_by_the_next_call(
    change: Callable[[Any], None], method: uh.Method
) -> None:
    net, x = NETS["cnn"](), pictures(2)
    model = uh.Model(net)
    before, digest = explained(method, model, x), model.digest
    assert torch.equal(explained(method, model, x), before)
    change(net)
    after = explained(method, model, x)
    assert torch.equal(after, explained(method, uh.Model(net), x))
    assert not torch.equal(after, before)
    if change is not add_a_hook:
        assert model.digest != digest


def test_one_filter_switched_off_through_data_is_seen_by_the_next_call() -> None:
    net, x = NETS["cnn"](), pictures(1)
    model = uh.Model(net)
    explained(uh.Saliency("signed"), model, x)
    net.conv2.weight.data[5] = 0
    assert torch.equal(explained(uh.Saliency("signed"), model, x), explained(uh.Saliency("signed"), net, x))


def test_a_plain_attribute_is_seen_by_the_next_call() -> None:
    net = Linear(torch.ones(3))
    model, x = uh.Model(net), torch.zeros(1, 3)
    engine = uh.Engine(model)
    assert engine.scores(x).item() == 0
    net.bias = 2.5
    assert engine.scores(x).item() == 2.5


def test_a_changed_dictionary_of_settings_is_seen_by_the_next_call() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.settings = {"scale": 2.0}

        def forward(self, x: Tensor) -> Tensor:
            return x * self.settings["scale"]

    net = Scaled()
    engine, x = uh.Engine(uh.Model(net)), torch.ones(1, 1)
    assert engine.scores(x).item() == 2
    net.settings["scale"] = 3.0
    assert engine.scores(x).item() == 3


def test_the_mode_of_the_model_does_not_matter() -> None:
    net, x = NETS["cnn"](), pictures(2)
    model = uh.Model(net)
    training = explained(uh.Saliency(), model, x)
    assert torch.equal(explained(uh.Saliency(), uh.Model(net.eval()), x), training)
    assert torch.equal(explained(uh.Saliency(), model, x), training)


def test_old_weights_are_not_kept_alive_after_the_next_call() -> None:
    import gc
    import weakref

    net, x = NETS["cnn"](), pictures(1)
    model = uh.Model(net)
    uh.Saliency()(model, x, 0)
    old = weakref.ref(net.conv2)
    net.conv2 = nn.Conv2d(8, 8, 3, padding=1, stride=2)
    uh.Saliency()(model, x, 0)
    _ = model.digest
    gc.collect()
    assert old() is None


class Configured(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.config, self.scales = SimpleNamespace(scale=1.0), [1.0]
        self.linear = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) * self.config.scale * self.scales[0]


def test_a_setting_inside_an_attribute_is_seen_by_the_next_call() -> None:
    net = Configured()
    model, x = uh.Model(net), torch.rand(4)
    before = uh.Saliency()(model, x, 0).values
    net.config.scale = 5.0
    assert np.allclose(uh.Saliency()(model, x, 0).values, 5 * before)
    net.scales[0] = 2.0
    assert np.allclose(uh.Saliency()(model, x, 0).values, 10 * before)


def test_a_layer_changed_through_data_is_seen_whatever_its_memory_format() -> None:
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)
            self.weight = nn.Parameter(torch.ones(2, 8).T)  # in no memory format of torch's

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x).mean((2, 3)) @ self.weight

    net, x = Turned(), pictures(1)
    model = uh.Model(net)
    for weight in (net.conv.weight, net.weight):
        before = explained(uh.Saliency("signed"), model, x)
        weight.data.mul_(2)
        assert not torch.equal(explained(uh.Saliency("signed"), model, x), before)


def test_an_unchanged_model_stands_in_once() -> None:
    model = uh.Model(NETS["cnn"]())
    seen = model.seen()
    assert model.seen() is seen
    model.module.conv1.weight.data.mul_(2)
    assert model.seen() is not seen


def test_tensors_of_every_type_are_seen_to_change_through_data() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for number, dtype in enumerate((torch.float32, torch.float64, torch.int64, torch.bool)):
                self.register_buffer(f"one{number}", torch.ones(5, dtype=dtype))
                self.register_buffer(f"other{number}", torch.ones(6000, 2, dtype=dtype)[:, 0])

    net = Mixed()
    model = uh.Model(net)
    for buffer in net.buffers():
        seen = model.seen()
        assert model.seen() is seen
        buffer.data[3] = 0
        assert model.seen() is not seen
