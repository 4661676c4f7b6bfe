"""Several targets at once: the same answers as one at a time, for fewer passes."""

import pytest
import torch
from torch import nn

import underhood as uh
from underhood.engine.alike import alike
from underhood.errors import InvalidArgument
from underhood.models import Several
from underhood.models.target import Class, Contrast, Unit

METHODS = [
    uh.Saliency(),
    uh.SmoothGrad(n=4),
    uh.IntegratedGradients(steps=4),
    uh.GradCAM(),
    uh.Occlusion(size=8, stride=4),
    uh.LRP(),
    uh.KernelSHAP(n=150),
    uh.PartitionSHAP(n=40),
    uh.AblationCAM(),
]


@pytest.fixture(scope="module")
def model() -> uh.Model:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(inplace=True)]
    return uh.Model(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 5)))


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.key)
def test_several_targets_equal_one_at_a_time(
    method: uh.Method, model: uh.Model, pictures: torch.Tensor
) -> None:
    targets = [Class(1), Class(None), Contrast(3, 0)]
    together = method(model, pictures, Several(*targets))
    assert len(together) == 6
    for number, target in enumerate(targets):
        alone = method(model, pictures, target)
        for row in range(2):
            one, both = alone[row], together[3 * row + number]
            assert both.target == one.target
            assert both.subject.name == one.subject.name
            assert both.score == pytest.approx(one.score, rel=1e-4, abs=1e-5)
            scale = float(abs(one.values).max()) + 1e-12
            torch.testing.assert_close(
                torch.from_numpy(both.values / scale), torch.from_numpy(one.values / scale), rtol=0, atol=1e-4
            )


@pytest.mark.parametrize(
    ("method", "forward", "backward"),
    [
        (uh.IntegratedGradients(steps=10), 12, 30),  # the prediction, the baseline, the path
        (uh.SmoothGrad(n=10), 11, 30),
        (uh.Occlusion(size=8, stride=4), None, 0),
        (uh.Saliency(), 1, 3),
    ],
    ids=lambda value: getattr(value, "key", None),
)
def test_the_forward_passes_are_shared(
    method: uh.Method, forward: int | None, backward: int, model: uh.Model, pictures: torch.Tensor
) -> None:
    together = method(model, pictures[:1], Several(1, 2, 3))[0].provenance
    assert together["backward_passes"] == backward
    if forward is not None:
        assert together["forward_passes"] == forward
    else:
        one = uh.explain(model, pictures[:1], 1, methods=method)[0].provenance
        assert together["forward_passes"] == one["forward_passes"]
        assert together.get("partial_passes") == one.get("partial_passes")


def test_labels_and_units_work_as_one_of_several(pictures: torch.Tensor) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 900, 2))
    model = uh.Model(module, labels=("cat", "dog"))
    found = uh.Saliency()(model, pictures[:1], Several("dog", "cat"))
    assert [e.target for e in found] == ["dog", "cat"]
    asked = Several(Contrast("dog", "cat"), Class("cat", "probability"))
    found = uh.Saliency()(model, pictures[:1], asked)
    assert [e.target for e in found] == ["dog rather than cat", "cat (probability)"]
    units = uh.Saliency()(model, pictures[:1], Several(Unit("0", 1), Unit("0", 3)))
    assert [e.target for e in units] == ["channel 1 of 0", "channel 3 of 0"]
    with pytest.raises(InvalidArgument, match="same layer"):
        Several(Unit("0", 1), "cat")
    with pytest.raises(InvalidArgument, match="at least two"):
        Several("cat")


def test_inputs_are_alike_only_bit_for_bit() -> None:
    x = torch.randn(5, 3, 4)
    x[3], x[4] = x[0], x[1]
    x[4, 0, 0] += 1e-3
    same = alike(x)
    assert same is not None
    assert torch.equal(x[same.first][same.of], x)
    assert sorted(group.tolist() for group in same.groups()) == [[0, 3], [1], [2], [4]]
    assert [sorted(r.tolist()) for r in same.rounds()] == [[0, 1, 2, 4], [3]]
    assert alike(torch.randn(3, 4)) is None
    swapped = torch.tensor([[1.0, 2.0], [2.0, 1.0], [1.0, 2.0]])  # the same sums
    found = alike(swapped)
    assert found is None or torch.equal(swapped[found.first][found.of], swapped)
