"""How sure a model is, where its scores are known."""

import pytest
import torch
from torch import Tensor, nn

import underhood as uh
from underhood.checks import Decision, batches
from underhood.checks.decision import MATTERS, _effect, _of_no_input
from underhood.errors import InvalidArgument
from underhood.methods import Given


class Says(nn.Module):
    """Scores that do not depend on the input, and a layer in between."""

    def __init__(self, *scores: float):
        super().__init__()
        self.scores, self.same = nn.Parameter(torch.tensor(scores)), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.scores + 0 * self.same(x).flatten(1).sum(1, keepdim=True)


def read(model: nn.Module, x: Tensor, target: object = None, **labels: object) -> uh.checks.Reading:
    maps = Given(torch.ones(len(x), *x.shape[2:]) if x.ndim == 4 else torch.ones_like(x))
    return Decision()(uh.explain(uh.Model(model.eval(), **labels), x, target, methods=maps))[0]


PICTURE = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_the_margin_of_known_scores() -> None:
    log = torch.tensor([0.7, 0.2, 0.1]).log().tolist()
    sure = read(Says(*log), PICTURE, labels=["nevus", "melanoma", "other"])
    assert sure.value == pytest.approx(5 / 9, abs=1e-6)
    assert sure.details["probability"] == pytest.approx(0.7)
    assert sure.sentence.startswith("The model is decided (nevus 70%, melanoma 20%).")
    other = read(Says(*log), PICTURE, 1)
    assert other.value == pytest.approx(-5 / 9, abs=1e-6)
    assert (other.passed, other.details["predicted"]) == (None, False)
    assert "is not the one predicted (class 1 20%, class 0 70%)" in other.sentence
    unsure = read(Says(0.08, 0.0), PICTURE)
    assert (unsure.value, unsure.passed) == (pytest.approx(0.04, abs=1e-3), False)
    assert unsure.sentence.startswith("The model is hardly decided (class 0 52%, class 1 48%).")


def test_a_score_that_needs_no_input_is_told() -> None:
    blind = read(Says(5.0, 0.0), PICTURE)
    assert (blind.details["effect"], blind.passed) == (0.0, None)
    assert "much the same of an empty input" in blind.sentence
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 256, 2, bias=False))
    net[1].weight.data = torch.stack([(PICTURE - PICTURE.mean()).flatten(), torch.zeros(768)])
    seeing = read(net, PICTURE)
    assert seeing.details["effect"] > 0.9
    assert seeing.passed
    assert [name for name, _ in seeing.details["empty"]] == ["zeros", "blur", "noise", "noise"]


def test_a_score_like_those_of_very_different_empty_inputs_is_told_as_not_known() -> None:
    assert _of_no_input(20.3, torch.tensor([2.5, 11.0, 30.0])).startswith(
        "Empty inputs differ too much among themselves"
    )
    assert _of_no_input(20.3, torch.tensor([20.0, 21.0])).startswith("It says much the same")
    assert _of_no_input(0.0, torch.zeros(3)).startswith("It says much the same")
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    net[1].weight.data = torch.tensor([[40.0, -40.0, 40.0, -40.0], [0.0] * 4])
    unclear = read(net, torch.tensor([[1.0, 0.5, 0.0, 0.4]]))
    assert abs(unclear.details["effect"]) < MATTERS
    assert "Empty inputs differ too much" in unclear.sentence


def test_hardly_decided_for_another_class_is_told() -> None:
    reading = read(Says(0.0, 0.2), PICTURE, 0)
    assert reading.passed is False
    assert reading.sentence.startswith(
        "The model is hardly decided, and rather for another class (class 0 45%"
    )


def test_the_effect_of_known_scores() -> None:
    effect, difference = _effect(5.0, torch.tensor([0.0, 2.0]).double())  # s = √2, d = 4
    assert (effect, difference) == (pytest.approx(4 / 18**0.5), 4.0)
    assert _effect(1.0, torch.ones(4).double()) == (0.0, 0.0)
    assert _effect(3.0, torch.ones(4).double())[0] == 1.0
    assert _effect(1.0, torch.zeros(0)) == (None, None)


def test_a_contrast_compares_its_two_classes_alone() -> None:
    log = torch.tensor([0.9, 0.06, 0.02, 0.02]).log().tolist()
    reading = read(Says(*log), PICTURE, uh.Contrast(1, 2))
    assert reading.details["probability"] == pytest.approx(0.75)
    assert reading.value == pytest.approx(0.5)


def test_targets_without_a_class_tell_of_the_prediction() -> None:
    unit = read(Says(0.0, 2.0), PICTURE, uh.Unit("same", 1))
    custom = read(Says(0.0, 2.0), PICTURE, lambda scores: scores.sum(1))
    assert unit.value == pytest.approx(custom.value)
    assert unit.details["rival"] == "class 0"


def test_several_targets_are_told_apart() -> None:
    maps = Given(torch.ones(2, 16, 16))
    readings = Decision()(uh.explain(Says(0.0, 2.0, 1.0), PICTURE, uh.Several(1, 2), methods=maps))
    p = torch.tensor([0.0, 2.0, 1.0]).softmax(0)
    lead = float((p[1] - p[2]) / (p[1] + p[2]))
    assert readings.values == pytest.approx([lead, -lead], abs=1e-6)


def test_a_single_output_has_no_probability_but_an_effect() -> None:
    reading = read(nn.Sequential(nn.Flatten(), nn.Linear(768, 1)), PICTURE)
    assert "no classes" in str(reading.undefined)
    assert -1 <= reading.details["effect"] <= 1


def test_rows_tokens_and_pictures_of_one_colour() -> None:
    row = read(nn.Linear(4, 2), torch.rand(1, 4))
    assert len(row.details["empty"]) == 5
    tokens = torch.tensor([[1, 2, 3]])
    model = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 2))
    found = read(model, tokens)
    assert found.value is not None
    assert found.details["effect"] is None
    assert read(Says(1.0, 0.0), torch.zeros(1, 3, 8, 8)).details["effect"] == 0.0


def test_it_is_worked_out_once_for_all_methods_and_alike_in_a_batch() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 14 * 14, 2)).eval()
    x = torch.rand(3, 3, 16, 16)
    found = uh.explain(net, x, methods=["saliency", "gradcam"])
    first, second = (Decision().read(batch) for batch in batches(found))
    assert [r.calls for r in first] == [5, 5, 5]
    assert [r.calls for r in second] == [0, 0, 0]
    assert [r.value for r in first] == [r.value for r in second]
    for number, alone in enumerate(x):
        one = Decision()(uh.explain(net, alone, methods="saliency"))[0]
        assert one.value == pytest.approx(first[number].value, abs=1e-5)
        assert one.details["effect"] == pytest.approx(first[number].details["effect"], abs=1e-4)


def test_a_least_margin_beyond_one_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="least margin"):
        Decision(least=2)
