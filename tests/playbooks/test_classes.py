"""Labels of the data, classes of the model."""

import numpy as np
import pytest
import torch
from torch import nn

import underhood as uh
from underhood.errors import BadInput
from underhood.inputs.dataset import Dataset


def data(labels):
    return Dataset.of(torch.zeros(len(labels), 3, 8, 8), labels)


def model(outputs, labels=None):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, outputs, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return uh.Model(net, labels=labels)


def test_a_model_without_names_takes_those_of_the_data_in_order_and_says_so():
    found = uh.audit(model(2), data(["dog", "cat", "dog"]), playbooks=[])
    assert found.survey.classes == ("cat", "dog")
    assert found.survey.label.tolist() == [1, 0, 1]
    assert any("'cat', 'dog'" in problem for problem in found.problems)


def test_labels_that_are_the_numbers_of_classes_need_no_names():
    found = uh.audit(model(2), data(["1", "0"]), playbooks=[])
    assert found.survey.classes == ("class 0", "class 1")
    assert found.survey.label.tolist() == [1, 0]
    assert not found.problems


def test_another_number_of_labels_than_classes_is_not_guessed_at():
    found = uh.audit(model(3), data(["cat", "dog"]), playbooks=[])
    assert found.survey.label.tolist() == [-1, -1]
    (problem,) = found.problems
    assert problem.startswith("2 pictures have labels that are none of the model's classes (3 without names)")


def test_labels_that_are_no_class_of_the_model_are_named_the_most_frequent_first():
    found = uh.audit(model(2, ("cat", "dog")), data(["cat", "cow", "owl", "cow"]), playbooks=[])
    assert np.array_equal(found.survey.label, [0, -1, -1, -1])
    (problem,) = found.problems
    assert "3 pictures" in problem
    assert "'cow', 'owl'" in problem


def test_an_audit_that_goes_on_keeps_the_names_and_the_remark(tmp_path):
    for _ in range(2):
        found = uh.audit(model(2), data(["dog", "cat"]), playbooks=[], out=tmp_path / "audit")
        assert found.survey.classes == ("cat", "dog")
        assert len(found.problems) == 1


def test_the_nearest_class_is_offered():
    found = uh.audit(model(2, ("melanoma", "naevus")), data(["melanom", "naevus"]), playbooks=[])
    assert found.problems[0].endswith(": 'melanom'; is 'melanom' the class 'melanoma'?")


def test_labels_of_another_model_are_refused():
    with pytest.raises(BadInput, match=r"None of the data's labels .* \('melanoma', 'naevus'\): 'mel', 'nv'"):
        uh.audit(model(2, ("melanoma", "naevus")), data(["mel", "nv"]), playbooks=[])


def test_numbers_stand_for_classes_that_have_names():
    found = uh.audit(model(2, ("melanoma", "naevus")), data(["1", "0"]), playbooks=[])
    assert found.survey.label.tolist() == [1, 0]
    assert not found.problems
