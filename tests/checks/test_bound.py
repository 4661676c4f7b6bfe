"""Explanations read from files: as they were, and with their model and inputs again."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import underhood as uh
from tests.support.cheap import cheap
from underhood.checks import bound
from underhood.checks.batch import batches
from underhood.errors import BadInput, BadModel, InvalidArgument, Unfit, UnknownName
from underhood.inputs import Blur, Constant
from underhood.methods.rebuild import Recorded, rebuilt
from underhood.models.settled import as_plain, from_plain

X = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(3))


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 3)
    ).eval()


@pytest.fixture(scope="module")
def model() -> uh.Model:
    return uh.Model(net(), preprocess=uh.Preprocess(size=12, crop=12), labels=["a", "b", "c"])


@pytest.fixture
def again(model: uh.Model, tmp_path: Path) -> Callable[..., uh.Explanations]:
    """Saves explanations and reads them."""

    def round_trip(suffix: str = ".json", target: Any = None, **given: Any) -> uh.Explanations:
        uh.explain(model, X, target, **given).save(tmp_path / f"e{suffix}")
        return uh.load_explanations(tmp_path / f"e{suffix}")

    return round_trip


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_what_is_read_is_what_was_written(model: uh.Model, tmp_path: Path, suffix: str) -> None:
    found = uh.explain(model, X, [0, 2], methods=["saliency", "gradcam"], seed=5)
    found.save(tmp_path / f"e{suffix}")
    read = uh.load_explanations(str(tmp_path / f"e{suffix}"))
    assert len(read) == len(found)
    for one, other in zip(read, found, strict=True):
        assert one.as_dict() == {**other.as_dict(), "grid": one.grid}
        assert one.card == other.card
        np.testing.assert_array_equal(one.values, other.values)
        np.testing.assert_array_equal(one.heatmap(), other.heatmap())
        np.testing.assert_array_equal(one.prediction.probabilities, other.prediction.probabilities)
        assert one.origin is None
    if suffix == ".npz":
        np.testing.assert_array_equal(read[0].arrays["gradient"], found[0].arrays["gradient"])
    read.save(tmp_path / "again.json")
    assert uh.load_explanations(tmp_path / "again.json")[0].as_dict() == read[0].as_dict()
    read.save(tmp_path / "again.html")


def test_every_method_is_rebuilt_from_its_record(again: Callable[..., Any]) -> None:
    made = {key: method for key, method in cheap(X[0]).items() if "attention" not in key}
    for explanation in again(methods=list(made.values())):
        method = rebuilt(explanation)
        if getattr(made[explanation.method], "grouping", None) is None or isinstance(method.grouping, int):
            assert type(method) is type(made[explanation.method]), method
            assert method.parameters() == made[explanation.method].parameters()


def test_a_method_of_unknown_name_is_noted_once(
    again: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    for explanation in again(methods="saliency"):
        assert isinstance(rebuilt(replace(explanation, method="saliencyx")), Recorded)
        rebuilt(explanation)
    assert caplog.messages == [
        "Note: no method here is named 'saliencyx'; what needs the method again is undefined."
    ]


def test_a_bound_explanation_is_judged_as_it_was_before_it_was_saved(
    model: uh.Model, again: Callable[..., Any]
) -> None:
    methods: list[Any] = ["input_x_gradient", uh.SmoothGrad(n=4), uh.IntegratedGradients(4, Constant(0.3))]
    read = bound(again(methods=methods, seed=7), model, X.flip(0))
    fresh = uh.check(uh.explain(model, X, methods=methods, seed=7), "quick")
    for one, other in zip(uh.check(read, "quick"), fresh, strict=True):
        assert one.word == other.word
        assert one.score == pytest.approx(other.score, abs=1e-6)
        assert one.readings["randomisation"] == other.readings["randomisation"]
    assert read[0].subject.pixels is not None


@pytest.mark.parametrize(
    "target",
    [None, 2, uh.Contrast("a", "b"), uh.Several(0, 2), uh.Unit("0", 1, (2, 3)), uh.Class(1, "probability")],
    ids=str,
)
def test_every_target_that_can_be_written_is_asked_again(
    model: uh.Model, again: Callable[..., Any], target: Any
) -> None:
    read = again(target=target, methods="saliency")
    for batch in batches(bound(read, model, X)):
        for row, explanation in enumerate(batch.explanations):
            assert float(batch.run.score[row]) == pytest.approx(explanation.score, abs=1e-6)
            assert from_plain(as_plain(explanation.origin.target)).name(model.labels) == explanation.target


def test_a_function_as_target_cannot_be_written(model: uh.Model, again: Callable[..., Any]) -> None:
    read = again(target=lambda scores: scores.sum(1), methods="saliency")
    with pytest.raises(InvalidArgument, match="a file cannot hold"):
        bound(read, model, X)


def test_what_the_file_cannot_hold_is_not_asked_again(model: uh.Model, again: Callable[..., Any]) -> None:
    mean = X.mean(0, keepdim=True)
    groups = uh.KernelSHAP(n=16, grouping=torch.arange(144).reshape(12, 12) // 36)
    methods = [uh.IntegratedGradients(4, mean), groups, uh.methods.Given(X[:, 0], "elsewhere")]
    for batch, told in zip(
        batches(bound(again(methods=methods), model, X)), ("baseline", "grouping", "'elsewhere'"), strict=True
    ):
        assert isinstance(batch.method, Recorded)
        with pytest.raises(Unfit, match=rf"the record cannot make .* again: .*{told}"):
            batch.explained(batch.run)
        assert batch.method.parameters() == dict(batch.explanations[0].parameters)
    verdict = uh.check(bound(again(methods=methods[:1]), model, X), "standard")[0]
    assert "is not in the file" in str(verdict.readings["randomisation"].undefined)
    assert verdict.readings["confirmed_share"].value is not None


def test_baselines_with_settings_and_layers_come_back(again: Callable[..., Any]) -> None:
    methods = [
        uh.Occlusion(4, 4, Blur(0.1)),
        uh.GradCAM(layer=["0", "1"]),
        uh.SmoothGrad(4, of=uh.Saliency("signed", at="0")),
    ]
    occlusion, gradcam, smooth = (rebuilt(e) for e in again(methods=methods)[:3])
    assert occlusion.baseline == Blur(0.1)
    assert gradcam.layer == ("0", "1")
    assert smooth.of == uh.Saliency("signed", at="0")


def test_another_model_or_input_is_refused_with_its_digest(
    model: uh.Model, again: Callable[..., Any]
) -> None:
    read = again(methods="saliency")
    other = uh.Model(net(1), preprocess=model.preprocess, labels=model.labels)
    with pytest.raises(BadModel, match=r"is not the one that was explained: its digest is \w{12}…"):
        bound(read, other, X)
    with pytest.raises(BadInput, match=rf"its digest is {read[1].subject.digest[:12]}…, and those given"):
        bound(read, model, X[:1])


def test_an_edited_score_is_refused(model: uh.Model, again: Callable[..., Any]) -> None:
    read = list(again(target=1, methods=["saliency", "gradcam"]))
    edited = replace(read[-1], score=9.9)
    with pytest.raises(BadInput, match=r"'input 1' by gradcam has the score 9.9 for b, and the model gives"):
        bound([*read[:-1], edited], model, X)
    bound([*read[:-1], replace(read[-1], score=read[-1].score * 1.0005)], model, X)


BROKEN = {
    "cut off": ('[{"values": {"sha', "was cut off before its end"),
    "cut between": ('[{"a": 1},\n', "was cut off before its end"),
    "no JSON": ("method: gradcam", r"is no JSON \(line 1"),
    "empty": ("", "is no JSON"),
    "another thing": ('{"a": 1}', "holds no list of explanations"),
    "numbers": ("[1, 2]", "holds no list of explanations"),
    "no values": ('[{"method": "gradcam"}]', "without readable values"),
    "none": ("[]", "holds no explanation"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_refused_in_one_sentence(tmp_path: Path, case: str) -> None:
    text, told = BROKEN[case]
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(BadInput, match=told) as caught:
        uh.load_explanations(tmp_path / "x.json")
    assert str(caught.value).endswith(".")


def test_other_files_are_refused(tmp_path: Path, again: Callable[..., Any]) -> None:
    with pytest.raises(BadInput, match="There is no file"):
        uh.load_explanations(tmp_path / "absent.json")
    with pytest.raises(UnknownName, match="file type of saved explanations"):
        uh.load_explanations(tmp_path / "e.png")
    again(".npz", methods="saliency")
    whole = (tmp_path / "e.npz").read_bytes()
    for size in (0, 100, len(whole) // 2, len(whole) - 4):
        (tmp_path / "cut.npz").write_bytes(whole[:size])
        with pytest.raises(BadInput, match="was cut off"):
            uh.load_explanations(tmp_path / "cut.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(BadInput, match=r"no \.npz with explanations"):
        uh.load_explanations(tmp_path / "other.npz")
    text = (tmp_path / "e.json") if again(methods="saliency") else None
    assert text is not None
    text.write_text(text.read_text().replace('"card"', '"crad"'))
    with pytest.raises(BadInput, match="it lacks 'card'"):
        uh.load_explanations(text)


def test_what_was_not_bound_cannot_be_checked(again: Callable[..., Any]) -> None:
    with pytest.raises(InvalidArgument, match=r"bind it with underhood\.checks\.bound"):
        uh.check(again(methods="saliency"))


def test_a_model_is_loaded_as_it_was_recorded(tmp_path: Path) -> None:
    given = uh.load("demo:honest", layer="features.3")
    uh.explain(given, torch.zeros(3, 128, 128), methods="saliency").save(tmp_path / "e.json")
    [read] = uh.load_explanations(tmp_path / "e.json")
    loaded = uh.methods.model_of(read)
    assert (loaded.name, loaded.layer, loaded.digest) == (given.name, "features.3", given.digest)
    assert (loaded.preprocess, loaded.labels) == (given.preprocess, given.labels)
    assert uh.methods.model_of(read, "demo:cheating").layer is None


def test_a_module_that_was_given_has_to_be_named(again: Callable[..., Any]) -> None:
    with pytest.raises(BadInput, match="does not say how its model"):
        uh.methods.model_of(again(methods="saliency")[0])
