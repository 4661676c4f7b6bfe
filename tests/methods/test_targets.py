"""What is asked about: classes, labels, contrasts, units, probabilities, functions; rows and signals too."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import underhood as uh
from tests.engine.nets import pictures as small_pictures
from tests.engine.nets import vit as small_vit
from tests.methods.nets import explained, gradient, pictures, resnet18
from tests.support.cheap import cheap

SIGNED = uh.Saliency("signed")
LABELS = ("Egyptian cat", "tabby, tabby cat", "tiger cat", "boxer", "bull mastiff")


@pytest.fixture
def linear() -> uh.Model:
    torch.manual_seed(0)
    return uh.Model(nn.Linear(4, 5), labels=LABELS)


def weight(model: uh.Model) -> Tensor:
    return model.module.weight.detach()  # type: ignore[union-attr, return-value]


X = torch.tensor([[1.0, -2.0, 0.5, 3.0], [0.0, 1.0, 1.0, -1.0]])


@pytest.mark.parametrize(
    ("target", "rows", "name"),
    [
        (0, [0, 0], "Egyptian cat"),
        ("tabby", [1, 1], "tabby, tabby cat"),
        ("Tiger_Cat", [2, 2], "tiger cat"),
        ("3", [3, 3], "boxer"),
        (["boxer", 0], [3, 0], "boxer"),
        (torch.tensor([4, 2]), [4, 2], "bull mastiff"),
        (np.array([4, 2]), [4, 2], "bull mastiff"),
        (np.int64(4), [4, 4], "bull mastiff"),
        (torch.tensor(4), [4, 4], "bull mastiff"),
        (uh.Class("boxer"), [3, 3], "boxer"),
    ],
    ids=str,
)
def test_classes_are_named_by_number_or_label(
    linear: uh.Model, target: Any, rows: list[int], name: str
) -> None:
    assert torch.allclose(explained(SIGNED, linear, X, target), weight(linear)[rows])
    assert SIGNED(linear, X, target)[0].target == name


def test_the_predicted_class_is_the_default(linear: uh.Model) -> None:
    predicted = linear.module(X).argmax(1)
    for target in (None, "predicted", uh.Class()):
        assert torch.allclose(explained(SIGNED, linear, X, target), weight(linear)[predicted])


def test_a_contrast_is_the_difference_of_two_scores(linear: uh.Model) -> None:
    w, scores = weight(linear), linear.module(X).detach()
    found = SIGNED(linear, X, uh.Contrast("boxer", "tiger cat"))
    assert np.allclose(found[0].values, w[3] - w[2], atol=1e-6)
    assert found[1].score == pytest.approx(float(scores[1, 3] - scores[1, 2]), abs=1e-5)
    assert found[0].target == "boxer rather than tiger cat"
    predicted = scores.argmax(1).tolist()
    why = uh.IntegratedGradients(steps=2)(linear, X, uh.Contrast(None, 2))
    for i, explanation in enumerate(why):
        assert explanation.target == f"{LABELS[predicted[i]]} rather than tiger cat"
        assert np.allclose(explanation.values, (w[predicted[i]] - w[2]) * X[i], atol=1e-5)


@pytest.mark.parametrize("method", [uh.IntegratedGradients(steps=64), uh.Occlusion(), uh.SmoothGrad(n=4)])
def test_a_probability_as_target(linear: uh.Model, method: uh.Method) -> None:
    found = method(linear, X[0], uh.Class(1, output="probability"))
    p = linear.module(X).softmax(1).detach()
    assert found.score == pytest.approx(float(p[0, 1]), abs=1e-6)
    assert found.target == "tabby, tabby cat (probability)"
    if method.key == "integrated_gradients":
        at_zero = linear.module(torch.zeros(1, 4)).softmax(1)[0, 1].item()
        assert found.values.sum() == pytest.approx(found.score - at_zero, abs=1e-4)


def test_the_probability_of_a_model_with_one_output_is_its_sigmoid() -> None:
    torch.manual_seed(0)
    net = nn.Linear(4, 1)
    found = SIGNED(net, X[0], uh.Class(0, output="probability"))
    p = net(X[:1]).sigmoid().item()
    assert found.score == pytest.approx(p, abs=1e-6)
    assert np.allclose(found.values, p * (1 - p) * net.weight.detach(), atol=1e-6)
    assert found.prediction.probabilities[0] == pytest.approx(p, abs=1e-6)


def test_the_output_of_a_model_with_one_is_no_class() -> None:
    torch.manual_seed(0)
    net = nn.Linear(4, 1)
    for target, name in (
        (None, "output"),
        (0, "output"),
        (uh.Class(0, "probability"), "output (probability)"),
    ):
        for method in (SIGNED, uh.Occlusion()):
            assert method(net, X[0], target).target == name
    told = SIGNED(net, X[0]).as_dict()["prediction"]
    value = net(X[0]).item()
    assert told["top"] == [{"label": "output", "probability": None, "score": pytest.approx(value, abs=1e-6)}]
    assert (told["class"], told["label"]) == (None, "output")
    labelled = uh.Model(net, labels=["age"])
    assert SIGNED(labelled, X[0], "age").target == SIGNED(labelled, X[0]).prediction.label == "age"


def test_a_function_as_target(linear: uh.Model) -> None:
    def margin(scores: Tensor) -> Tensor:
        return scores[:, 0] - scores[:, 1:].mean(1)

    w = weight(linear)
    found = SIGNED(linear, X, margin)
    assert np.allclose(found[0].values, w[0] - w[1:].mean(0), atol=1e-6)
    assert found[0].target == "margin"
    for method in (uh.Occlusion(), uh.IntegratedGradients(steps=2)):
        assert torch.allclose(explained(method, linear, X, margin), (w[0] - w[1:].mean(0)) * X, atol=1e-5)


@pytest.mark.parametrize("wrong", [lambda s: s, lambda s: s.sum(), lambda _: 3.0])
def test_a_function_that_does_not_give_one_number_per_input_is_refused(linear: uh.Model, wrong: Any) -> None:
    with pytest.raises(uh.UnderhoodError, match="one number per input"):
        SIGNED(linear, X, wrong)


def test_a_unit_inside_the_network_as_target() -> None:
    net, x = resnet18(), pictures(2, 64)
    unit = uh.Unit("layer2", 5, (3, 4))
    kept: list[Tensor] = []
    handle = net.layer2.register_forward_hook(lambda _m, _a, output: kept.append(output))
    leaf = x.clone().requires_grad_()
    net(leaf)
    handle.remove()
    values = kept[0][:, 5, 3, 4]
    expected = torch.autograd.grad(values.sum(), leaf)[0]
    found = SIGNED(net, x, unit)
    assert np.allclose([e.score for e in found], values.detach(), rtol=1e-3, atol=1e-5)
    assert torch.allclose(explained(SIGNED, net, x, unit), expected, atol=1e-4 * float(expected.abs().max()))
    assert found[0].target == "channel 5 of layer2 at (3, 4)"
    gap = uh.IntegratedGradients(steps=32)(net, x[0], uh.Unit("layer1", 1))
    assert gap.diagnostics["relative_gap"] < 0.1
    assert uh.GradCAM("layer1")(net, x[0], uh.Unit("layer3", 2)).values.any()
    assert uh.Occlusion(size=32, stride=32)(net, x[0], unit).values.any()
    assert uh.SmoothGrad(n=4)(net, x[0], unit).values.any()


def margin(scores: Tensor) -> Tensor:
    return scores[:, 0] - scores[:, 1:].mean(1)


TARGETS: dict[str, tuple[Any, Callable[[Tensor], Tensor]]] = {
    "contrast": (uh.Contrast(2, 0), lambda scores: scores[:, 2] - scores[:, 0]),
    "probability": (uh.Class(2, output="probability"), lambda scores: scores.softmax(1)[:, 2]),
    "function": (margin, margin),
}


@pytest.mark.parametrize("name", [*TARGETS, "unit"])
@pytest.mark.parametrize("method", cheap().values(), ids=cheap())
def test_every_method_takes_every_target(method: uh.Method, name: str) -> None:
    net, x = small_vit(5).eval(), small_pictures(2)
    if name == "unit":
        target, kept = uh.Unit("blocks.0.mlp", 3, (2,)), []
        handle = net.blocks[0].mlp.register_forward_hook(lambda _m, _a, out: kept.append(out[:, 3, 2]))
        net(x)
        handle.remove()
        expected = kept[0]
    else:
        target, of = TARGETS[name]
        expected = of(net(x))
    if name == "unit" and "cam" in method.key:  # a layer that comes before the unit
        method = replace(method, layer="blocks.0.norm1")  # type: ignore[type-var]
    found = method(net, x, target)
    for explanation, score in zip(found, expected.tolist(), strict=True):
        assert explanation.score == pytest.approx(score, rel=1e-3, abs=1e-5)
        assert np.isfinite(explanation.values).all()
        assert explanation.values.any() or explanation.no_signal


REFUSED: list[tuple[Any, str]] = [
    (5, "no class 5"),
    (-1, "negative"),
    ("boxxer", "did you mean 'boxer'"),
    ([], "class number or label for each input"),
    ([0, None], "class number or label for each input"),
    (uh.Contrast(0, "lynx"), "no label named 'lynx'"),
    (uh.Class(0, output="odds"), "'score' or 'probability'"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("target", "sentence"), REFUSED)
@pytest.mark.parametrize("method", [SIGNED, uh.Occlusion()], ids=lambda m: m.key)
def test_targets_that_do_not_exist_are_refused(
    linear: uh.Model, method: uh.Method, target: Any, sentence: str
) -> None:
    with pytest.raises(uh.UnderhoodError, match=sentence):
        method(linear, X, target)


@pytest.mark.parametrize("target", [5, 99, uh.Contrast(0, 5), uh.Class(5, output="probability")], ids=str)
@pytest.mark.parametrize("method", [SIGNED, uh.Occlusion()], ids=lambda m: m.key)
def test_a_class_that_the_model_does_not_have_is_refused_without_labels_too(
    method: uh.Method, target: Any
) -> None:
    with pytest.raises(uh.UnderhoodError, match="no class"):
        method(nn.Linear(4, 5), X, target)


@pytest.mark.parametrize("method", [SIGNED, uh.Occlusion()], ids=["saliency", "occlusion"])
def test_a_list_with_a_class_that_the_model_does_not_have_is_refused(method: uh.Method) -> None:
    with pytest.raises(uh.UnderhoodError, match="no class 5"):
        method(nn.Linear(4, 5), X, [0, 5])


def test_too_few_targets_for_a_gradient_are_refused(linear: uh.Model) -> None:
    with pytest.raises(uh.UnderhoodError, match="1 targets were given for 2 inputs"):
        SIGNED(linear, X, [0])


@pytest.mark.parametrize(
    ("method", "targets"),
    [(SIGNED, [0, 1, 2]), (uh.Occlusion(), [0]), (uh.Occlusion(), [0, 1, 2]), (uh.SmoothGrad(n=4), [0])],
    ids=repr,
)
def test_as_many_targets_as_inputs_or_one(linear: uh.Model, method: uh.Method, targets: list[int]) -> None:
    with pytest.raises(uh.UnderhoodError, match="targets were given for 2 inputs"):
        method(linear, X, targets)


def test_a_label_without_labels_and_labels_of_another_number_are_refused() -> None:
    with pytest.raises(uh.UnderhoodError, match="the model has no labels"):
        SIGNED(nn.Linear(4, 5), X, "boxer")
    with pytest.raises(uh.UnderhoodError, match="There are 2 labels, but the model has 5 outputs"):
        SIGNED(uh.Model(nn.Linear(4, 5), labels=["a", "b"]), X, 0)


def test_a_label_that_names_two_classes_is_refused() -> None:
    model = uh.Model(nn.Linear(4, 3), labels=["crane", "bird", "Crane"])
    with pytest.raises(uh.UnderhoodError, match=r"names the classes \[0, 2\]"):
        SIGNED(model, X, "CRANE")
    assert SIGNED(model, X[:1], "Crane").target == "Crane"


def test_a_single_row_and_a_batch_of_rows(linear: uh.Model) -> None:
    for method in (
        SIGNED,
        uh.InputXGradient(),
        uh.SmoothGrad(n=4),
        uh.IntegratedGradients(steps=3),
        uh.Occlusion(),
    ):
        single = method(linear, X[0], 1)
        assert isinstance(single, uh.Explanation)
        assert single.values.shape == (4,)
        assert single.heatmap().shape == (4,)
        assert single.subject.pixels is None
        assert [place for place, _ in single.top(2)] == [
            (int(i),) for i in np.argsort(-abs(single.values))[:2]
        ]
        assert np.allclose(single.values, explained(method, linear, X, 1)[0], atol=1e-6)


def test_signals_of_several_channels() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2))
    x = torch.randn(3, 2, 10)
    signals = list(x)
    assert torch.allclose(
        explained(SIGNED, net, signals, [0, 1, 0]), gradient(net, x, torch.tensor([0, 1, 0])), atol=1e-6
    )
    occluded = explained(uh.Occlusion(), net, signals, 0)
    assert occluded.shape == (3, 10)
    masked = x.clone()
    masked[:, :, 4] = 0
    assert torch.allclose(occluded[:, 4], (net(x) - net(masked))[:, 0].detach(), atol=1e-5)
