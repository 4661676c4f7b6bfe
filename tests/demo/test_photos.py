"""Real sample photos, and the model that tells them apart."""

import builtins
from typing import Any

import numpy as np
import pytest
import torch

from underhood.demo.models import load
from underhood.demo.photos import PHOTOS, collage, photo
from underhood.errors import MissingExtra, UnknownName


@pytest.mark.parametrize("name", PHOTOS)
def test_photos_are_rgb_pictures_the_model_knows(name: str):
    pytest.importorskip("skimage")
    picture, model = photo(name), load("photos")
    assert picture.mode == "RGB"
    assert model.preprocess is not None
    with torch.no_grad():
        scores = model.module(model.preprocess(picture)[None])
    assert model.labels is not None
    assert model.labels[int(scores.argmax())] == name


def test_a_collage_has_its_halves_in_order():
    pytest.importorskip("skimage")
    ours, other = collage("cat", "coffee"), collage("coffee", "cat")
    assert ours.image.size == (128, 128)
    assert (ours.left, ours.right) == ("cat", "coffee")
    left, right = np.asarray(ours.image)[:, :64], np.asarray(ours.image)[:, 64:]
    assert np.array_equal(left, np.asarray(other.image)[:, 64:])
    assert np.array_equal(right, np.asarray(other.image)[:, :64])


def test_each_class_of_a_collage_is_seen_in_its_own_half():
    pytest.importorskip("skimage")
    model = load("photos")
    assert model.preprocess is not None
    assert model.labels is not None
    inputs = model.preprocess(collage("cat", "rocket").image)[None]
    with torch.no_grad():
        maps = model.module.head(model.module.features(inputs).permute(0, 2, 3, 1))[0]
    for name, own in (("cat", slice(0, 8)), ("rocket", slice(8, 16))):
        evidence = maps[..., model.labels.index(name)].clamp(min=0)  # (16, 16)
        assert evidence[:, own].sum() > 0.8 * evidence.sum()


def test_unknown_photo_offers_the_nearest_name():
    with pytest.raises(UnknownName, match="'rocket'"):
        photo("rockett")


def test_photos_without_scikit_image_name_the_extra(monkeypatch: pytest.MonkeyPatch):
    real_import = builtins.__import__

    def without_skimage(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("skimage"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_skimage)
    with pytest.raises(MissingExtra, match=r"underhood\[demo\]"):
        photo("cat")
