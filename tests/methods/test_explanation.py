"""`Explanation`: the map, its largest places, its files, written whole or not at all."""

import base64
import copy
import errno
import hashlib
import json
import pickle
import weakref
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import underhood as uh
from tests.methods.nets import pictures, resnet18
from underhood.cli.destination import write as write_stream
from underhood.methods.explanation import Subject
from underhood.methods.files import SUFFIXES, save

X = pictures(2, 32)


@pytest.fixture(scope="module")
def found() -> uh.Explanations:
    methods: list[uh.Method] = [
        uh.Saliency(),
        uh.InputXGradient(),
        uh.GradCAM(relu=False),
        uh.SmoothGrad(n=4),
        uh.IntegratedGradients(steps=3, baseline=pictures(2, 32, seed=5)),
        uh.Occlusion(size=16, stride=16),
    ]
    model = uh.Model(resnet18(), preprocess=uh.Preprocess(size=32, crop=32))
    return uh.explain(model, X, [3, 0], methods=methods)


def test_the_heatmap_sums_signed_maps_over_channels_and_takes_the_largest_of_magnitudes(
    found: uh.Explanations,
) -> None:
    signed, magnitude = found["input_x_gradient"][0], found["saliency"][0]
    assert np.allclose(signed.heatmap(), signed.values.sum(0))
    assert signed.heatmap().min() < 0 < signed.heatmap().max()
    assert np.array_equal(magnitude.heatmap(), abs(magnitude.arrays["gradient"]).max(0))
    assert np.array_equal(found["gradcam"][0].heatmap(), found["gradcam"][0].values)
    for explanation in found:
        assert explanation.heatmap().shape == (32, 32)
        assert explanation.heatmap().dtype == np.float32


def test_top_gives_the_places_of_largest_magnitude_with_their_values(found: uh.Explanations) -> None:
    for explanation in found:
        heatmap = explanation.heatmap()
        top = explanation.top(7)
        assert len(set(top)) == 7
        assert all(heatmap[place] == value for place, value in top)
        magnitudes = [abs(value) for _, value in top]
        assert magnitudes == sorted(magnitudes, reverse=True)
        assert magnitudes[-1] == np.sort(abs(heatmap), axis=None)[-7]
        assert explanation.top(1)[0][0] == np.unravel_index(abs(heatmap).argmax(), (32, 32))


def test_explanations_are_selected_by_method_input_and_number(found: uh.Explanations) -> None:
    assert len(found) == 12
    assert found.subjects == ("input 0", "input 1")
    assert found["gradcam"].subjects == ("input 0", "input 1")
    one = found.of("input 1")["occlusion"]
    assert one is found[-1]
    assert (one.method, one.subject.name) == ("occlusion", "input 1")
    assert isinstance(found[:3], uh.Explanations)
    with pytest.raises(uh.UnderhoodError, match="did you mean 'gradcam'"):
        found["gradcm"]
    with pytest.raises(uh.UnderhoodError, match="no input named 'input 7'"):
        found.of("input 7")


def test_a_repr_fits_a_line_and_says_what_was_explained(found: uh.Explanations) -> None:
    text = repr(found["gradcam"][0])
    assert text.startswith("Explanation of input 0 by gradcam: class 3, score ")
    assert len(text) < 100
    assert repr(found[:1]) == "Explanations of input 0 by saliency"
    assert "<iframe" in found[0]._repr_html_()


def no_nan(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"the JSON holds {constant}")

    return json.loads(text, parse_constant=refuse)


def test_json_holds_everything_and_no_nan(found: uh.Explanations, tmp_path: Path) -> None:
    path = tmp_path / "all.json"
    found.save(path)
    records = no_nan(path.read_text("utf-8"))
    assert len(records) == 12
    for record, explanation in zip(records, found, strict=True):
        values = record["values"]
        raw = zlib.decompress(base64.b64decode(values["data"]))
        assert np.array_equal(np.frombuffer(raw, "<f4").reshape(values["shape"]), explanation.values)
        assert record["method"] == explanation.method
        assert (
            record["target"]
            == explanation.target
            == f"class {3 if record['input']['name'][-1] == '0' else 0}"
        )
        assert record["score"] == explanation.score
        assert record["input"]["sha256"] == explanation.subject.digest
        assert record["parameters"] == json.loads(json.dumps(explanation.parameters))
        assert record["prediction"]["class"] == explanation.prediction.index
    assert no_nan(found.to_json())[0]["method"] == "saliency"


def test_json_of_odd_results_holds_no_nan_either(tmp_path: Path) -> None:
    x = torch.ones(1, 3)
    for method in (uh.IntegratedGradients(baseline=x), uh.Saliency(), uh.SmoothGrad(n=4), uh.Occlusion()):
        explanation = method(torch.nn.Linear(3, 1), x, 0)
        explanation.save(tmp_path / "odd.json")
        assert no_nan((tmp_path / "odd.json").read_text("utf-8"))[0]["method"] == method.key


def test_npz_holds_the_arrays_and_the_record(found: uh.Explanations, tmp_path: Path) -> None:
    found.save(tmp_path / "all.npz")
    with np.load(tmp_path / "all.npz", allow_pickle=False) as loaded:
        assert np.array_equal(loaded["0/saliency"], found[0].values)
        assert np.array_equal(loaded["0/saliency/gradient"], found[0].arrays["gradient"])
        assert np.array_equal(loaded["11/occlusion"], found[11].values)
        assert len(json.loads(str(loaded["about"]))) == 12


@pytest.mark.parametrize("suffix", [".html", ".png", ".json", ".npz"])
def test_files_of_each_kind_are_written_and_replace_an_older_one(
    found: uh.Explanations, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"out{suffix}"
    path.write_text("older")
    found[0].save(path)
    assert path.stat().st_size > 1000
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def full_disk(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


FAILURES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    ".json": lambda patch: patch.setattr(json, "dumps", full_disk),
    ".html": lambda patch: patch.setattr(Path, "write_text", full_disk),
    ".npz": lambda patch: patch.setattr(np.lib.format, "write_array", full_disk),
    ".png": lambda patch: patch.setattr("PIL.Image.Image.save", full_disk),
}


@pytest.mark.parametrize("suffix", FAILURES)
def test_a_full_disk_is_a_sentence_and_leaves_the_older_file(
    found: uh.Explanations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path = tmp_path / f"out{suffix}"
    path.write_bytes(b"older")
    with monkeypatch.context() as patch:
        FAILURES[suffix](patch)
        with pytest.raises(uh.UnderhoodError, match=r"cannot be written: No space left on device"):
            found[:2].save(path)
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_ctrl_c_while_writing_leaves_nothing(found: uh.Explanations, tmp_path: Path, suffix: str) -> None:
    def interrupted() -> Iterator[uh.Explanation]:
        yield from found[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save(interrupted(), tmp_path / f"out{suffix}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".html", ".json", ".npz"])
def test_a_stream_is_written_one_by_one_and_none_is_kept(
    found: uh.Explanations, tmp_path: Path, suffix: str
) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most = 0

    def stream() -> Iterator[uh.Explanation]:
        nonlocal most
        for number in range(30):
            one = replace(
                found[0], values=found[0].values * number, subject=Subject(f"{number}", f"{number}")
            )
            alive.add(one)
            most = max(most, len(alive))
            yield one
            del one

    path = tmp_path / f"out{suffix}"
    write_stream(stream(), path, {}, "")
    assert 0 < most <= 4
    if suffix == ".json":
        assert [r["input"]["name"] for r in no_nan(path.read_text("utf-8"))] == [str(n) for n in range(30)]
    elif suffix == ".npz":
        with np.load(path) as loaded:
            assert np.array_equal(loaded["29/saliency"], found[0].values * 29)
            assert len(json.loads(str(loaded["about"]))) == 30
    else:
        assert path.read_text("utf-8").count("<h4>Saliency</h4>") == 30


def test_nothing_is_an_empty_list(tmp_path: Path) -> None:
    uh.Explanations([]).save(tmp_path / "none.json")
    assert json.loads((tmp_path / "none.json").read_text()) == []


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("out.jsn", "did you mean '.json'"),
        ("out.pdf", "no file type named '.pdf'"),
        ("out", "no file type named 'out'"),
        ("missing/out.json", "cannot be written: No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_written_is_a_sentence(
    found: uh.Explanations, tmp_path: Path, name: str, sentence: str
) -> None:
    with pytest.raises(uh.UnderhoodError, match=sentence):
        found.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_maps_are_the_users_own_memory(found: uh.Explanations) -> None:
    again = uh.InputXGradient()(uh.Model(resnet18()), X, [3, 0])
    again[0].values[:] = 0
    assert again[1].values.any()
    assert found["input_x_gradient"][0].values.any()


def test_explanations_are_told_apart_by_identity(found: uh.Explanations) -> None:
    again = replace(found[0])
    assert again != found[0]
    assert found[0] in found
    assert len({found[0], found[1], again}) == 3


def test_an_explanation_cannot_be_changed_but_copied_with_changes(found: uh.Explanations) -> None:
    with pytest.raises(AttributeError):
        found[0].target = "other"  # type: ignore[misc]
    assert replace(found[0], target="other").target == "other"


def test_the_subject_is_the_input_as_it_was_explained() -> None:
    x = pictures(1, 32)[0]
    expected, (low, high) = hashlib.sha256(x.numpy().tobytes()).hexdigest(), x.aminmax()
    picture = ((x - low) / (high - low) * 255).round().permute(1, 2, 0).numpy()
    subject = uh.Saliency()(uh.Model(resnet18()), x, 0).subject
    x.zero_()
    assert subject.digest == expected
    assert np.abs(subject.pixels - picture).max() <= 1
    assert subject.pixels is subject.pixels


def test_a_subject_that_nobody_read_can_be_compared_copied_and_pickled() -> None:
    def ask() -> Subject:
        subject: Subject = uh.Saliency()(uh.Model(resnet18()), X[0], 0).subject
        return subject

    expected = ask().digest
    for again in (pickle.loads(pickle.dumps(ask())), copy.deepcopy(ask()), replace(ask(), name="x")):
        assert again.digest == expected
        assert again.pixels.shape == (32, 32, 3)
    assert Subject("row", "x") == Subject("row", lambda: "x")
    assert Subject("row", "x").pixels is None
    with pytest.raises(TypeError, match="digest"):
        Subject("row")  # type: ignore[call-arg]
