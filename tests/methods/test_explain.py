"""`explain` and `explain_each`: several methods, several inputs, one prediction, failures told apart."""

import gc
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import underhood as uh
from tests.methods.nets import pictures, resnet18, vit
from underhood.methods.explain import METHODS


def tiny(classes: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes)
    )


@pytest.fixture
def model() -> uh.Model:
    return uh.Model(tiny(), preprocess=uh.Preprocess(size=16, crop=16), labels=["a", "b", "c"], name="tiny")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for i in range(4):
        pixels = generator.integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    (tmp_path / "2.png").write_text("this is no picture")
    return tmp_path


def test_the_default_is_three_methods_of_different_kinds() -> None:
    found = uh.explain(resnet18(), pictures(1, 32)[0])
    assert found.methods == ("gradcam", "integrated_gradients", "occlusion")
    assert {e.target for e in found} == {f"class {found[0].prediction.index}"}
    assert len({(e.card.question, e.card.resolution) for e in found}) == 3


def test_methods_are_named_by_key_class_or_instance(model: uh.Model) -> None:
    names: list[Any] = ["Grad-CAM".replace("-", ""), uh.Saliency, uh.SmoothGrad(n=4), "input x gradient"]
    found = uh.explain(model, pictures(2), methods=names)
    assert found.methods == ("gradcam", "saliency", "smoothgrad", "input_x_gradient")
    assert found.subjects == ("input 0", "input 1")
    order = [(e.subject.name, e.method) for e in found]
    assert order == [(s, m) for s in found.subjects for m in found.methods]


def test_every_listed_method_can_be_asked_for_by_its_key(model: uh.Model) -> None:
    keys = [method.key for method in METHODS]
    assert len(set(keys)) == len(keys)
    assert [method.key for method in uh.as_methods(keys)] == keys
    fit = [key for key in keys if "attention" not in key]  # the model is a convolutional network
    assert uh.explain(model, pictures(1)[0], methods=fit).methods == tuple(fit)


@pytest.mark.parametrize(
    ("methods", "sentence"),
    [
        ("grad_cam", "no method named 'grad_cam'; did you mean 'gradcam'"),
        (["saliency", "integrated_gradient"], "did you mean 'integrated_gradients'"),
        (["saliency", uh.Saliency("signed")], "'saliency' is asked for twice"),
        ([], "at least one method"),
    ],
)
def test_methods_that_cannot_be_run_are_a_sentence(model: uh.Model, methods: Any, sentence: str) -> None:
    with pytest.raises(uh.UnderhoodError, match=sentence):
        uh.explain(model, pictures(1), methods=methods)


def test_explaining_together_equals_explaining_apart(model: uh.Model) -> None:
    x = pictures(3)
    methods: list[uh.Method] = [
        uh.GradCAM(),
        uh.IntegratedGradients(steps=4),
        uh.Occlusion(),
        uh.SmoothGrad(n=4),
    ]
    together = uh.explain(model, x, methods=methods, seed=2)
    for method in methods:
        for a, b in zip(together[method.key], method(model, x, seed=2), strict=True):
            assert np.array_equal(a.values, b.values)
            assert (a.score, a.target, a.diagnostics) == (b.score, b.target, b.diagnostics)


def test_the_baseline_goes_to_the_methods_that_have_one(model: uh.Model) -> None:
    found = uh.explain(model, pictures(1), baseline="black")
    assert "baseline" not in found["gradcam"].parameters
    assert found["integrated_gradients"].parameters["baseline"] == "black"
    assert found["occlusion"].parameters["baseline"] == "black"
    plain = uh.explain(model, pictures(1))
    assert not np.allclose(found["occlusion"].values, plain["occlusion"].values)


def test_default_methods_that_do_not_suit_the_model_are_left_out() -> None:
    rows = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    assert uh.explain(rows, torch.ones(1, 4)).methods == ("integrated_gradients", "occlusion")

    class Detached(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return rows(x).detach()

    assert uh.explain(Detached(), torch.ones(1, 4)).methods == ("occlusion",)
    with pytest.raises(uh.UnderhoodError, match="cannot be differentiated"):
        uh.explain(Detached(), torch.ones(1, 4), methods=["integrated_gradients", "occlusion"])


CHEAP = (uh.GradCAM, uh.BlurIG, uh.RawAttention, uh.Saliency, uh.ExactShapley)


def test_all_takes_every_method_that_suits_and_says_of_the_others_why_not(
    model: uh.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [m.key for m in uh.as_methods("all")] == [m.key for m in METHODS]
    monkeypatch.setattr(sys.modules["underhood.methods.explain"], "METHODS", CHEAP)
    found = uh.explain(model, pictures(1), methods="all", baseline="black")
    assert found.methods == ("gradcam", "blur_ig", "saliency", "exact_shapley")
    assert found["exact_shapley"].parameters["baseline"] == "black"
    for e in found:  # the first ones too, which ran before it
        assert [n for n in e.provenance["notes"] if n.startswith("Raw attention was left out: ")]
    rows = uh.explain(nn.Linear(20, 2), torch.ones(1, 20), methods=["ALL"])
    assert rows.methods == ("saliency",)
    assert len(rows[0].provenance["notes"]) == 4
    with pytest.raises(uh.UnderhoodError, match="'saliency' is asked for twice"):
        uh.as_methods(["all", uh.Saliency("signed")])
    with pytest.raises(uh.UnderhoodError, match="BlurIG needs pictures"):
        uh.explain(nn.Linear(20, 2), torch.ones(1, 20), methods=uh.BlurIG())


def test_all_methods_that_fail_tell_the_reason(model: uh.Model) -> None:
    with pytest.raises(uh.UnderhoodError, match="7"):
        uh.explain(model, pictures(1), 7, methods="all")


def test_when_no_default_method_works_the_reason_is_told() -> None:
    net = tiny()
    with torch.no_grad():
        net[4].bias[0] = float("inf")
    with pytest.raises(uh.UnderhoodError, match=r"first in '4\.bias'"):
        uh.explain(net, pictures(1))
    with pytest.raises(uh.UnderhoodError, match=r"failed on inputs of shape \(1, 2, 8, 8\)"):
        uh.explain(tiny(), torch.zeros(1, 2, 8, 8))


def test_pictures_are_read_preprocessed_and_named(model: uh.Model, folder: Path) -> None:
    path = folder / "0.png"
    picture = Image.open(path).convert("RGB")
    by_path, by_picture, by_array = (
        uh.Saliency()(model, item, 1) for item in (path, picture, np.asarray(picture))
    )
    assert by_path.subject.name == str(path)
    assert by_path.subject.digest == by_picture.subject.digest == by_array.subject.digest
    assert np.array_equal(by_path.values, by_array.values)
    assert by_path.subject.pixels.shape == (16, 16, 3)
    assert by_path.subject.pixels.dtype == np.uint8
    assert by_path.target == by_path.prediction.label_of(1) == "b"


def test_each_input_is_explained_as_it_comes_and_failures_are_told(model: uh.Model, folder: Path) -> None:
    failed: list[tuple[str, str]] = []
    paths = [folder / f"{i}.png" for i in (0, 1, 2, 3, 4)]
    found = list(
        uh.explain_each(model, paths, methods=[uh.Saliency()], failed=lambda n, e: failed.append((n, str(e))))
    )
    assert [f.subjects[0] for f in found] == [str(paths[i]) for i in (0, 1, 3)]
    assert [name for name, _ in failed] == [str(paths[2]), str(paths[4])]
    assert "not a picture" in failed[0][1]
    assert "no file" in failed[1][1]
    with pytest.raises(uh.UnderhoodError, match="not a picture"):
        list(uh.explain_each(model, paths, methods=[uh.Saliency()]))


def test_a_tensor_that_fails_is_told_by_its_number(model: uh.Model) -> None:
    bad = pictures(1)[0]
    bad[0, 0, 0] = float("nan")
    failed: list[str] = []
    found = list(
        uh.explain_each(
            model, [pictures(1)[0], bad], methods=[uh.Saliency()], failed=lambda name, _: failed.append(name)
        )
    )
    assert len(found) == 1
    assert failed == ["input 1"]


def test_explaining_a_stream_keeps_nothing(model: uh.Model) -> None:
    taken, most = 0, 0
    alive: weakref.WeakSet[Any] = weakref.WeakSet()

    def stream() -> Iterator[Tensor]:
        nonlocal taken
        for i in range(60):
            taken += 1
            x = pictures(1, seed=i)[0]
            alive.add(x)
            yield x

    gc.disable()
    try:
        for number, found in enumerate(uh.explain_each(model, stream(), methods=[uh.Saliency()])):
            assert taken == number + 1
            alive.add(found)
            alive.add(found[0])
            most = max(most, len(alive))
    finally:
        gc.enable()
    assert taken == 60
    assert 0 < most <= 12


def test_the_settings_of_a_run_are_recorded(model: uh.Model) -> None:
    found = uh.SmoothGrad(n=4, sigma=0.2)(model, pictures(1), 2, seed=11, precision="float32")
    p = found.provenance
    assert p["model"] == "tiny"
    assert p["model_digest"] == model.digest
    assert p["seed"] == 11
    assert p["precision"] == "float32"
    assert p["device"] in ("cpu", "cuda")
    assert p["backward_passes"] == 4
    assert p["seconds"] >= 0
    assert p["versions"]["torch"] == torch.__version__
    assert "resize" not in str(p["notes"])
    assert found.parameters == {
        "n": 4,
        "sigma": 0.2,
        "of": {"method": "saliency", "kind": "signed", "at": None},
        "kind": "mean",
        "clamp": "none",
        "error": None,
    }


def test_a_transformer_is_explained_by_the_default_methods() -> None:
    found = uh.explain(vit(), pictures(1, 64)[0], 3, methods=["gradcam", uh.Occlusion(size=32, stride=32)])
    assert all(e.values.shape == (64, 64) and e.values.any() for e in found)
