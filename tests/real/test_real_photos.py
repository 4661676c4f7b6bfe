"""Real networks on real pictures: the runs of "First light"."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.data import DATA, LOADERS, needs_data
from underhood.methods import AttentionRelevance, AttentionRollout, Explanation, GradCAM, RawAttention
from underhood.models import Model, load

pytestmark = needs_data

BULLMASTIFF = 243
PHOTO = DATA / "photos" / "gradcam_both.png"  # 224 × 224: a dog, and before it a cat
Box = tuple[int, int, int, int]  # left, top, right, bottom; drawn by hand, edges included
DOG: Box = (78, 8, 165, 139)
CAT: Box = (44, 119, 199, 222)  # its ears reach into the dog's box


@pytest.fixture(scope="module")
def mobilenet_v1() -> Model:
    return load(
        f"file:{LOADERS}:mobilenet_v1_075",
        preprocess="half,size=none,crop=224",
        labels=DATA / "imagenet" / "imagenet_class_index.json",
    )


@pytest.fixture(scope="module")
def vit_tiny() -> Model:
    pytest.importorskip("timm")
    return load(
        "timm:vit_tiny_patch16_224",
        weights=DATA / "models" / "vit_tiny_patch16_224.pth",
        preprocess="half,size=none,crop=224",
    )


@pytest.fixture(scope="module")
def mobilenet_v2() -> Model:
    pytest.importorskip("torchvision")
    weights = DATA / "models" / "mobilenet_v2_1.0_224_fp16.pth"
    return load("torchvision:mobilenet_v2", weights=weights)


def heatmap(model: Model, label: str, layer: str) -> NDArray[np.float32]:
    explanation = GradCAM()(model, PHOTO, label)
    assert isinstance(explanation, Explanation)
    assert explanation.diagnostics["layer"] == layer
    return explanation.heatmap()


def share(heatmap: NDArray[np.float32], box: Box) -> float:
    """How much of the positive relevance is inside the box."""
    left, top, right, bottom = box
    positive = heatmap.clip(min=0)
    return float(positive[top : bottom + 1, left : right + 1].sum() / positive.sum())


def peak_in(heatmap: NDArray[np.float32], box: Box) -> bool:
    left, top, right, bottom = box
    row, column = np.unravel_index(heatmap.argmax(), heatmap.shape)
    return bool(top <= row <= bottom and left <= column <= right)


@pytest.mark.parametrize(
    ("name", "layer", "expected", "least"),
    [
        ("mobilenet_v1", "features", (0.49, 0.26), 0.2),
        ("vit_tiny", "blocks.11.norm1", (0.28, 0.14), 0.1),
    ],
)
def test_grad_cam_finds_the_dog_for_the_dog_and_the_cat_for_the_cat(
    request: pytest.FixtureRequest, name: str, layer: str, expected: tuple[float, float], least: float
) -> None:
    model: Model = request.getfixturevalue(name)
    prediction = model.predict(PHOTO)
    assert not isinstance(prediction, list)
    assert prediction.index == BULLMASTIFF
    dog, cat = (heatmap(model, label, layer) for label in ("bullmastiff", "tiger cat"))
    assert peak_in(dog, DOG)
    assert not peak_in(dog, CAT)
    assert peak_in(cat, CAT)
    shares = share(dog, DOG), share(cat, DOG)
    assert shares[0] - shares[1] >= least
    assert shares == pytest.approx(expected, abs=0.005)


def test_attention_relevance_tells_the_dog_from_the_cat_and_rollout_does_not(vit_tiny: Model) -> None:
    shares = {}
    for method in (RawAttention(), AttentionRollout(), AttentionRelevance()):
        found = [method(vit_tiny, PHOTO, label) for label in ("bullmastiff", "tiger cat")]
        assert all(isinstance(e, Explanation) and e.grid == (14, 14) for e in found)
        shares[method.key] = [share(e.heatmap(), DOG) for e in found]  # type: ignore[union-attr]
    dog, cat = shares["attention_relevance"]
    assert dog - cat > 0.1
    for key in ("raw_attention", "attention_rollout"):
        assert shares[key][0] == shares[key][1]


def test_the_cat_is_the_second_guess_of_the_convolutional_network(mobilenet_v1: Model) -> None:
    prediction = mobilenet_v1.predict(PHOTO)
    assert not isinstance(prediction, list)
    assert [label for label, *_ in prediction.top(2)] == ["bull_mastiff", "tiger_cat"]


def test_all_sample_images_are_predicted_as_recorded(mobilenet_v2: Model) -> None:
    with (DATA / "imagenet" / "images.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    pictures = [DATA / "imagenet" / "images" / row["file"] for row in rows]
    predictions = mobilenet_v2.predict(pictures)
    assert isinstance(predictions, list)
    assert len(rows) == len(list((DATA / "imagenet" / "images").iterdir()))
    assert [p.index for p in predictions] == [int(row["mnv2_top1"]) for row in rows]
    truth = [float(p.probabilities[int(row["idx"])]) for p, row in zip(predictions, rows, strict=True)]
    assert truth == pytest.approx([float(row["mnv2_p_true"]) for row in rows], abs=0.01)


COMMAND = "import tests.support.torchvision_ops; from underhood.cli import main; main()"


@pytest.mark.slow
def test_one_command_explains_all_sample_images_with_the_predictions_on_record(tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    weights = DATA / "models" / "mobilenet_v2_1.0_224_fp16.pth"
    options = ["--model", "torchvision:mobilenet_v2", "--weights", weights, "--method", "gradcam", "--json"]
    command = ["explain", DATA / "imagenet" / "images", *options, "--out", tmp_path / "report.html"]
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *map(str, command)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    with (DATA / "imagenet" / "images.csv").open(newline="", encoding="utf-8") as file:
        expected = {row["file"]: int(row["mnv2_top1"]) for row in csv.DictReader(file)}
    found = {Path(e["input"]["name"]).name: e["prediction"]["class"] for e in told["explanations"]}
    assert found == expected
    assert not told["failures"]
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page.count('<section class="input"') == len(expected)
