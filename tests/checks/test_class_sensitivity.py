"""Maps for other classes, and of models that learned shuffled labels."""

import copy

import pytest
import torch
from torch import Tensor, nn

import underhood as uh
from underhood.checks import ClassSensitivity, DataRandomisation
from underhood.checks.controls import edges
from underhood.errors import InvalidArgument
from underhood.methods import Drawn, Given


def linear(weight: list[list[float]]) -> uh.Model:
    net = nn.Linear(len(weight[0]), len(weight), bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.tensor(weight))
    return uh.Model(net)


def net(classes: int = 4, seed: int = 0) -> uh.Model:
    torch.manual_seed(seed)
    layers = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, classes)
    return uh.Model(nn.Sequential(*layers).eval())


@pytest.fixture
def pictures() -> Tensor:
    return torch.randn(3, 3, 12, 12, generator=torch.Generator().manual_seed(1))


WEIGHTS = [[4.0, 3, 2, 1], [1.0, 2, 3, 4], [4.0, 3, 1, 2]]  # the map of each class, by the gradient
X = torch.tensor([[1.0, 1, 1, 1], [1.0, 1, 2, 1]])  # scores 10, 10, 10 and 12, 13, 11


def test_known_correlations_of_a_linear_model() -> None:
    found = uh.explain(linear(WEIGHTS), X, 0, methods=uh.Saliency("signed"))
    second = ClassSensitivity()(found)[1]  # the runner-up to class 0 is class 1, turned round
    assert second.value == pytest.approx(-1.0)
    assert second.passed is True
    assert second.details["against"][0]["class"] == 1
    assert second.details["mirrored"] == 1
    every = ClassSensitivity(against="all")(found)[0]
    assert {of["class"]: round(of["spearman"], 6) for of in every.details["against"]} == {1: -1.0, 2: 0.8}
    assert every.value == pytest.approx(-0.1)
    assert every.error == 0.0


def test_edges_are_the_same_for_every_class_and_flagged(pictures: Tensor) -> None:
    reading = ClassSensitivity("all")(uh.explain(net(), pictures, None, methods=Drawn(edges, "edges")))[0]
    assert reading.value == 1.0
    assert reading.passed is False
    assert reading.controls == {"edges": 1.0}
    assert len(reading.details["against"]) == 3


def test_two_classes_mirror_each_other() -> None:
    """A signed map that turns its sign has changed; of magnitudes nobody can tell."""
    model = linear([[1.0, -2, 3], [-1.0, 2, -3]])
    x = torch.ones(1, 3)
    signed = ClassSensitivity()(uh.explain(model, x, 0, methods=uh.Saliency("signed")))[0]
    assert signed.value == pytest.approx(-1.0)
    assert signed.details["against"][0]["spearman_abs"] == 1.0
    assert signed.passed is True
    magnitudes = ClassSensitivity()(uh.explain(model, x, 0, methods=uh.Saliency()))[0]
    assert magnitudes.value == 1.0
    assert magnitudes.passed is None
    assert "with two classes" in magnitudes.sentence


@pytest.mark.parametrize("against", ["runner-up", "random", "all"])
def test_a_batch_equals_its_explanations_one_by_one(pictures: Tensor, against: str) -> None:
    found = uh.explain(net(), pictures, [0, 3, 1], methods=uh.Saliency("signed"))
    check = ClassSensitivity(against, most=2)
    for explanation, reading in zip(found, check(found), strict=True):
        alone = check(explanation)[0]
        assert alone.value == pytest.approx(reading.value, abs=1e-6)
        assert [of["class"] for of in alone.details["against"]] == [
            of["class"] for of in reading.details["against"]
        ]
        assert alone.calls == reading.calls == 3 * len(reading.details["against"])


def test_what_has_no_other_class_is_undefined(pictures: Tensor) -> None:
    one = uh.explain(net(1), pictures, 0, methods="saliency")
    assert "one output" in (ClassSensitivity()(one)[0].undefined or "")
    for target in (uh.Contrast(0, 1), uh.Unit("0", 1), lambda scores: scores[:, 0]):
        found = uh.explain(net(), pictures, target, methods="saliency")
        assert "the target is no class" in (ClassSensitivity()(found)[0].undefined or "")
    given = uh.explain(net(), pictures, 0, methods=Given(pictures[:, 0], "given"))
    assert "the map was given" in (ClassSensitivity()(given)[0].undefined or "")
    flat = uh.explain(net(), pictures, 0, methods=Drawn(lambda x: torch.zeros_like(x[:, 0]), "flat"))
    assert ClassSensitivity()(flat)[0].undefined == "the map is the same everywhere"


def test_the_output_asked_for_stays(pictures: Tensor) -> None:
    """Of probabilities, the other class's probability is explained: two classes mirror each other exactly."""
    found = uh.explain(net(2), pictures, uh.Class(0, "probability"), methods=uh.Saliency("signed"))
    assert ClassSensitivity()(found).values == pytest.approx([-1.0] * 3)


def test_shuffled_labels_give_another_map_and_the_same_model_the_same(pictures: Tensor) -> None:
    model = net()
    found = uh.explain(model, pictures, 0, methods=uh.Saliency("signed"))
    same = DataRandomisation(uh.Model(copy.deepcopy(model.module)))(found)
    assert same.values == [1.0] * 3
    assert same[0].passed is False
    other = DataRandomisation(net(seed=1))(found)
    assert all(abs(value) < 0.9 for value in other.values)
    assert other[0].calls == 3.0
    assert "shuffled" in other.parameters["shuffled"] or "sha256" in other.parameters["shuffled"]
    with pytest.raises(InvalidArgument, match="another architecture"):
        DataRandomisation(net(7))(found)
    edge = DataRandomisation(net(seed=1))(uh.explain(model, pictures, 0, methods=Drawn(edges, "edges")))
    assert edge.values == [1.0] * 3


@pytest.mark.parametrize(
    "wrong", [{"against": "none"}, {"sign": "x"}, {"most": 0}, {"measure": "hog", "measures": ("ssim",)}]
)
def test_bad_parameters_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        ClassSensitivity(**wrong)  # type: ignore[arg-type]
