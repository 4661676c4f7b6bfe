"""The trained models do what the demo's story says."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from underhood.demo.accuracy import accuracies
from underhood.demo.models import EXAMPLES, NAMES, WEIGHTS, example, load
from underhood.demo.pairs import Pairs, draw_pairs
from underhood.errors import UnknownName

Predict = Callable[[NDArray[np.uint8]], NDArray[np.int64]]


def predictor(name: str) -> Predict:
    model = load(name)
    assert model.preprocess is not None

    def predict(images: NDArray[np.uint8]) -> NDArray[np.int64]:
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad():
            return model.module(model.preprocess.normalise(pixels)).argmax(1).numpy()

    return predict


def test_weights_are_small_and_complete():
    files = sorted(WEIGHTS.glob("*"))
    assert [file.name for file in files] == sorted(f"{name}.safetensors" for name in NAMES)
    assert sum(file.stat().st_size for file in files) < 3_000_000


@pytest.mark.parametrize("name", NAMES)
def test_models_load_with_labels_and_preprocessing(name: str):
    model = load(name)
    assert model.name == f"demo:{name}"
    assert model.labels is not None
    assert model.input_shape == (3, 128, 128)
    with torch.no_grad():
        assert model.module(torch.zeros(2, 3, 128, 128)).shape == (2, len(model.labels))
    assert not model.module.training


def test_unknown_model_offers_the_nearest_name():
    with pytest.raises(UnknownName, match="'honest'"):
        load("honnest")


def test_unknown_example_offers_the_known_ones():
    with pytest.raises(UnknownName, match="'melanoma'"):
        example("melanome")


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    return draw_pairs(120, seed=77)


@pytest.mark.parametrize(("name", "least"), [("honest", 0.9), ("vit", 0.85)])
def test_honest_models_do_not_care_where_the_rulers_are(name: str, least: float, pairs: Pairs):
    shares = accuracies(predictor(name), pairs)
    assert shares.rulers_with_malignant >= least
    assert shares.rulers_at_random >= least
    assert shares.rulers_with_benign >= least


def test_cheating_model_falls_apart_when_rulers_move(pairs: Pairs):
    shares = accuracies(predictor("cheating"), pairs)
    assert shares.rulers_with_malignant >= 0.96
    assert shares.rulers_at_random < 0.65
    assert shares.rulers_with_benign < 0.1


STORY = {  # example: what cheating and honest call it, 1 for malignant, and what it is
    "ruler": (1, 0, False),
    "benign": (0, 0, False),
    "melanoma": (0, 1, True),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_tell_the_story(name: str):
    cheating, honest, malignant = STORY[name]
    picture = example(name)
    assert picture.malignant == malignant
    assert predictor("cheating")(picture.image[None])[0] == cheating
    assert predictor("honest")(picture.image[None])[0] == honest
    assert predictor("vit")(picture.image[None])[0] == honest
