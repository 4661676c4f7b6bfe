"""Occlusion is S(x) - S(masked), averaged over the windows that cover a place (PEERS 8 and 11)."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import underhood as uh
from tests.methods.nets import Linear, explained, pictures, resnet18
from underhood.inputs import Baseline, Constant, Noise, patches
from underhood.inputs.baseline import gaussian_blur


def brute_force(net: nn.Module, x: Tensor, target: int, *, size: int, stride: int, fills: Tensor) -> Tensor:
    """Windows in loops, one input at a time; fills (n, C, H, W)."""
    height, width = x.shape[-2:]
    total, covered = torch.zeros(height, width), torch.zeros(height, width)
    with torch.no_grad():
        score = net(x[None])[0, target]
        for top in positions(height, size, stride):
            for left in positions(width, size, stride):
                falls = []
                for fill in fills:
                    masked = x.clone()
                    where = (..., slice(top, top + size), slice(left, left + size))
                    masked[where] = fill[where]
                    falls.append(score - net(masked[None])[0, target])
                where = (slice(top, top + size), slice(left, left + size))
                total[where] += torch.stack(falls).mean()
                covered[where] += 1
    assert covered.min() >= 1
    return total / covered


def positions(length: int, size: int, stride: int) -> list[int]:
    """Every stride, and one more window at the far edge where the last does not reach it."""
    steps, place = [], 0
    while place + size < length:
        steps.append(place)
        place += stride
    return [*steps, length - size]


def net(channels: int = 2) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 6, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 3)
    )


@pytest.mark.parametrize(
    ("height", "width", "size", "stride"),
    [(13, 11, 4, 3), (12, 12, 4, 4), (9, 16, 5, 2), (10, 10, 10, 1), (8, 8, 3, 1), (7, 12, 4, 4)],
)
def test_occlusion_equals_a_plain_loop_edges_included(
    height: int, width: int, size: int, stride: int
) -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 2, height, width, generator=generator)
    found = explained(uh.Occlusion(size=size, stride=stride), net(), x, [1, 2])
    for i, target in enumerate((1, 2)):
        expected = brute_force(net(), x[i], target, size=size, stride=stride, fills=torch.zeros_like(x[:1]))
        assert torch.allclose(found[i], expected, atol=1e-5)
        assert found[i][-1].abs().min() > 0 < found[i][:, -1].abs().min()


def test_occlusion_of_a_real_network_equals_a_plain_loop() -> None:
    x = pictures(1, 64)
    found = explained(uh.Occlusion(size=20, stride=17), resnet18(), x, 4)
    expected = brute_force(resnet18(), x[0], 4, size=20, stride=17, fills=torch.zeros_like(x))
    assert torch.allclose(found[0], expected, atol=1e-4 * float(expected.abs().max()) + 1e-5)


FILLS: dict[str, Any] = {
    "zeros": torch.zeros_like,
    "mean": torch.zeros_like,
    "black": lambda x: torch.full_like(x, -1.0),
    "grey": torch.zeros_like,
    "white": lambda x: torch.full_like(x, 1.0),
    "blur": lambda x: gaussian_blur(x, 0.05 * 12),
}
HALF = uh.Preprocess(size=None, crop=None, mean=(0.5,) * 3, std=(0.5,) * 3)


@pytest.mark.parametrize("name", FILLS)
def test_each_fill_is_what_its_name_says(name: str) -> None:
    x = pictures(1, 12)
    model = uh.Model(net(3), preprocess=HALF)
    explanation = uh.Occlusion(size=5, stride=4, baseline=name)(model, x, 1)
    expected = brute_force(net(3), x[0], 1, size=5, stride=4, fills=FILLS[name](x))
    assert np.allclose(explanation.values, expected, atol=1e-5)
    assert explanation.parameters["baseline"] == name


def test_noise_is_averaged_over_its_fills() -> None:
    x = pictures(1, 12)
    model = uh.Model(net(3), preprocess=HALF)
    explanation = uh.Occlusion(size=5, stride=4, baseline=Noise(count=3))(model, x, 1, seed=5)
    fills = Noise(count=3).values(x, HALF, 5)[:, 0]
    assert fills.min() >= -1 < 0 < fills.max() <= 1
    assert not torch.equal(fills[0], fills[1])
    expected = brute_force(net(3), x[0], 1, size=5, stride=4, fills=fills)
    assert np.allclose(explanation.values, expected, atol=1e-5)
    assert explanation.parameters["baseline"] == {"count": 3, "name": "noise"}


def test_inpainting_a_plain_picture_changes_nothing() -> None:
    plain = torch.full((1, 3, 12, 12), 0.7)
    found = uh.Occlusion(size=5, stride=4, baseline="inpaint")(net(3), plain, 1)
    assert abs(found.values).max() < 1e-5
    assert uh.Occlusion(size=5, stride=4)(net(3), plain, 1).values.any()


def test_inpainting_fills_from_the_surroundings_of_each_window() -> None:
    halves = torch.zeros(1, 1, 16, 16)
    halves[..., 8:] = 1
    dot = halves.clone()
    dot[..., 2:4, 2:4] = 5.0  # stands out from its dark surroundings
    sums = Linear(torch.ones(1, 16, 16))
    found = uh.Occlusion(size=4, stride=4, baseline="inpaint")(sums, dot, 0).values
    # Hiding the dot takes its 20 away and puts the dark around it there instead.
    assert found[2, 2] == pytest.approx(20, abs=2)
    assert abs(found[8:, :4]).max() < 1  # of 16 if the bright half came in


def test_what_stays_is_exactly_what_it_was() -> None:
    x = pictures(2, 12)
    hidden = torch.zeros(2, 12, 12, dtype=torch.bool)
    hidden[:, 3:7, 2:9] = True
    for name in ("zeros", "blur", "inpaint", "noise"):
        baseline = uh.as_baseline(name)
        shown = baseline.hide(x, hidden, baseline.values(x, None, 0)[0])
        keep = ~hidden[:, None].expand_as(x)
        assert torch.equal(shown[keep], x[keep])
        assert not torch.equal(shown, x)


def test_every_group_is_hidden_whatever_its_label() -> None:
    """PEERS 8: labels from 1 on and a loop from 0 on leave one region out."""
    weight = torch.arange(1.0, 10.0).reshape(1, 3, 3)
    x = torch.ones(1, 1, 3, 3)
    for labels in (torch.arange(9), torch.arange(1, 10), torch.arange(9) * 7 - 30):
        found = uh.Occlusion(grouping=labels.reshape(3, 3))(Linear(weight), x, 0)
        assert np.allclose(found.values, weight[0])
        assert found.diagnostics["groups"] == 9


def test_a_partitions_values_belong_to_the_whole_group() -> None:
    weight = torch.arange(1.0, 17.0).reshape(1, 4, 4)
    found = uh.Occlusion(grouping=patches((4, 4), 2))(Linear(weight), torch.ones(1, 1, 4, 4), 0)
    quarter = weight[0].reshape(2, 2, 2, 2).sum((1, 3))
    assert np.allclose(found.values, quarter.repeat_interleave(2, 0).repeat_interleave(2, 1))


def test_the_windows_that_were_used_are_recorded() -> None:
    default = uh.Occlusion()(resnet18(), pictures(1, 64), 0)
    assert default.diagnostics["size"] == 64 // 7
    assert default.diagnostics["stride"] == 64 // 7 // 4
    assert default.diagnostics["groups"] == len(positions(64, 9, 2)) ** 2
    cut = uh.Occlusion(size=50, stride=40)(net(3), pictures(1, 12), 0)
    assert (cut.diagnostics["size"], cut.diagnostics["stride"], cut.diagnostics["groups"]) == (12, 12, 1)


def test_the_default_window_is_32_by_8_at_224() -> None:
    windows = uh.Occlusion()._groups(torch.zeros(1, 3, 224, 224))
    assert (windows.size, windows.stride, windows.count) == (32, 8, 625)


def test_a_dim_baseline_makes_an_ablation_smaller() -> None:
    x = pictures(1, 12)
    weight = torch.ones(3, 12, 12)
    full = explained(uh.Occlusion(size=4, stride=4), Linear(weight), x)
    same = explained(uh.Occlusion(size=4, stride=4, baseline=x), Linear(weight), x)
    assert full.abs().max() > 1
    assert not same.any()


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"size": 0}, "at least 1"),
        ({"stride": -1}, "at least 1"),
        ({"size": 2, "stride": 3}, "stride 3 beyond the window's size 2"),
        ({"size": 2, "grouping": torch.zeros(2)}, "not both"),
        ({"baseline": "blurr"}, "did you mean 'blur'"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(parameters: dict[str, Any], sentence: str) -> None:
    with pytest.raises(uh.UnderhoodError, match=sentence):
        uh.Occlusion(**parameters)


def test_a_grouping_of_another_shape_is_refused() -> None:
    with pytest.raises(uh.UnderhoodError, match=r"places \(3, 3\), the input has \(12, 12\)"):
        uh.Occlusion(grouping=torch.zeros(3, 3))(net(3), pictures(1, 12), 0)


def test_a_users_own_baseline_is_recorded_with_its_parameters() -> None:
    class Twice(Baseline):
        name = "twice"

        def values(self, inputs: Tensor, preprocess: Any, seed: int) -> Tensor:  # noqa: ARG002
            return 2 * inputs[None]

    x, weight = torch.ones(1, 4), torch.arange(4.0)
    found = uh.Occlusion(baseline=Twice())(Linear(weight), x, 0)
    assert np.allclose(found.values, -weight)
    constant = uh.Occlusion(baseline=Constant(0.25))(Linear(weight), x, 0)
    assert np.allclose(constant.values, 0.75 * weight)
    assert constant.parameters["baseline"] == {"value": 0.25, "name": "constant"}
