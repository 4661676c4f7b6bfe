"""Targets: the scalar that is explained."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.toys import CN, ML
from underhood.engine import Engine
from underhood.errors import InvalidArgument, UnknownName
from underhood.inputs import gather
from underhood.methods import Saliency
from underhood.models import Class, Contrast, Custom, Model, PerInput, Several, Unit, as_target

LABELS = ("tench, Tinca tinca", "tabby, tabby cat", "tiger cat", "bull mastiff", "crane", "crane")
SCORES = torch.tensor([[0.5, 1.0, 4.0, 2.0, 0.0, 0.0], [3.0, 1.0, -4.0, 2.0, 0.0, 0.0]])


def asked(value: Any, scores: Tensor = SCORES) -> list[float]:
    target = as_target(value, LABELS).fixed(scores)
    return target.score(scores).tolist()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, [4.0, 3.0]),
        ("predicted", [4.0, 3.0]),
        (0, [0.5, 3.0]),
        (2, [4.0, -4.0]),
        ("2", [4.0, -4.0]),
        (np.int64(2), [4.0, -4.0]),
        (torch.tensor(2), [4.0, -4.0]),
        ("tench", [0.5, 3.0]),
        ("tabby", [1.0, 1.0]),
        ("tiger cat", [4.0, -4.0]),
        ("Tiger_Cat", [4.0, -4.0]),
        ("bullmastiff", [2.0, 2.0]),
        ("bull-mastiff", [2.0, 2.0]),
        ([2, 0], [4.0, 3.0]),
        (["tiger cat", 0], [4.0, 3.0]),
        (torch.tensor([2, 0]), [4.0, 3.0]),
        (np.array([2, 0]), [4.0, 3.0]),
        (Contrast("tiger cat", "tabby"), [3.0, -5.0]),
        (Contrast(None, 0), [3.5, 0.0]),
        (lambda scores: scores[:, 0] * 2, [1.0, 6.0]),
    ],
)
def test_a_target_reads_its_score(value: Any, expected: list[float]) -> None:
    assert asked(value) == expected


def test_class_zero_is_a_class() -> None:
    model = Model(ML())  # class 1 is predicted, by 2 more
    x = torch.tensor([[20.0, 50.0, 30.0]])
    assert as_target(0).name(None) == "class 0"
    assert as_target(0).is_fixed
    explanation = Saliency()(model, x[0], 0)
    assert (explanation.score, explanation.target) == (392.0, "class 0")
    assert explanation.prediction.index == 1


def test_the_predicted_class_stays_the_one_of_the_inputs_themselves() -> None:
    target = as_target(None).fixed(SCORES)
    assert target.score(-SCORES).tolist() == [-4.0, -3.0]
    assert target.rows(torch.tensor([1, 1, 0])).score(SCORES[[1, 1, 0]]).tolist() == [3.0, 3.0, 4.0]


def test_a_contrast_with_the_predicted_class_is_settled_too() -> None:
    target = as_target(Contrast(None, "tench"), LABELS).fixed(SCORES).rows(torch.tensor([1]))
    assert target.score(SCORES[1:]).tolist() == [0.0]
    assert as_target(Contrast("tabby", 2), LABELS).name(LABELS) == "tabby, tabby cat rather than tiger cat"


def test_probability_is_the_softmax_of_the_scores() -> None:
    target = as_target(Class("tiger cat", output="probability"), LABELS)
    assert torch.allclose(target.score(SCORES), SCORES.softmax(1)[:, 2])
    assert target.name(LABELS) == "tiger cat (probability)"


def test_probability_of_a_single_output_is_its_sigmoid() -> None:
    one = torch.tensor([[0.0], [2.0]])
    assert torch.allclose(Class(0, output="probability").score(one), one[:, 0].sigmoid())


def test_a_unit_is_a_channel_of_a_layer_at_a_position_or_summed() -> None:
    model = Model(CN())
    run = Engine(model)
    x0 = gather(model, CN.x0()).tensor
    assert run.scores(x0, Unit("conv", 0, (1, 0))).tolist() == [31.0]
    assert run.scores(x0, Unit("conv", 0)).tolist() == [70.0]
    assert Unit("conv", 0, (1, 0)).name(None) == "channel 0 of conv at (1, 0)"
    with pytest.raises(InvalidArgument, match=r"units of shape \(2, 2, 2\); there is none at \(2,\)"):
        run.scores(x0, Unit("conv", 2))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (6, "no class 6; the model has 6"),
        ("6", "no class 6; the model has 6"),
        (-1, "negative"),
        ("crane", r"names the classes \[4, 5\]"),
        ([], "for each input"),
        (Contrast(2, "predicted"), "a class to compare with"),
        (Contrast("tiger cat", "tiger cat"), "'tiger cat' cannot be contrasted with itself"),
        (Contrast(2, 2), "contrasted with itself"),
        (Contrast("Tiger_Cat", 2), "contrasted with itself"),
        (Contrast("tabby", "tabby cat"), "'tabby, tabby cat' cannot be contrasted with itself"),
        (Several("tabby", Contrast("bull mastiff", 3)), "contrasted with itself"),
        (Several(0, "tiger cat", 2), "'tiger cat' is asked for twice"),
        (Several(Contrast("tabby", 2), Contrast("tabby cat", 2)), "is asked for twice"),
        (Class(0, output="logit"), "not 'logit'"),  # type: ignore[arg-type]
    ],
)
def test_what_names_no_class_is_refused(value: Any, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        asked(value)


def test_a_typo_is_answered_by_the_nearest_labels() -> None:
    with pytest.raises(UnknownName, match="did you mean 'tiger cat'"):
        as_target("tigre cat", LABELS)
    with pytest.raises(UnknownName, match="'bull mastiff'"):
        as_target("mastiff", LABELS)


def test_a_label_without_labels_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="has no labels"):
        as_target("tabby", None)


def test_a_class_beyond_the_outputs_is_found_when_the_scores_are_known() -> None:
    with pytest.raises(InvalidArgument, match="no class 7; the model has 2"):
        Saliency()(Model(ML()), torch.ones(1, 3), 7)


def test_one_target_for_each_input_must_be_as_many() -> None:
    with pytest.raises(InvalidArgument, match="3 targets were given for 2 inputs"):
        asked([0, 1, 2])


def test_a_function_must_give_one_number_per_input() -> None:
    with pytest.raises(InvalidArgument, match=r"shape \(2,\); it gave \(2, 6\)"):
        Custom(lambda scores: scores).score(SCORES)
    with pytest.raises(InvalidArgument, match="it gave float"):
        Custom(lambda scores: 1.0).score(SCORES)  # type: ignore[arg-type,return-value] # noqa: ARG005


def test_per_input_targets_are_named_row_by_row() -> None:
    target = PerInput(torch.tensor([2, 0]))
    assert [target.name(LABELS, row) for row in range(2)] == ["tiger cat", "tench, Tinca tinca"]
