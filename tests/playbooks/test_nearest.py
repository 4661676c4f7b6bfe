"""Nearest rows against scikit-learn's brute force."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import nn

import underhood as uh
from underhood.inputs.dataset import Dataset
from underhood.playbooks import nearest as module
from underhood.playbooks.nearest import nearest, training
from underhood.playbooks.survey import surveyed


@pytest.mark.parametrize("at_once", [7, 4096])
def test_nearest_are_those_of_brute_force(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(module, "ENTRIES", at_once)
    features = np.random.default_rng(0).standard_normal((300, 6)).astype(np.float32)
    asked, among = np.arange(0, 300, 7), np.arange(50, 250)
    found = nearest(features, asked, among, 4)
    theirs = NearestNeighbors(metric="cosine", algorithm="brute").fit(features[among])
    distance, index = theirs.kneighbors(features[asked], 5)
    for row, rows, cosines, d, i in zip(asked, found.rows, found.cosine, distance, index, strict=True):
        kept = [(n, 1 - x) for n, x in zip(among[i], d, strict=True) if n != row][:4]
        assert rows.tolist() == [n for n, _ in kept]
        assert cosines.tolist() == pytest.approx([c for _, c in kept], abs=1e-5)


def test_of_equal_rows_the_earlier_comes_first_and_none_is_its_own_neighbour() -> None:
    features = np.ones((40, 3), dtype=np.float32)
    assert nearest(features, np.array([1]), np.arange(40), 3).rows.tolist() == [[0, 2, 3]]


def test_fewer_rows_than_asked_for_are_marked() -> None:
    features = np.eye(3, dtype=np.float32)
    assert nearest(features, np.array([0]), np.array([0, 2]), 3).rows.tolist() == [[2, -1, -1]]


def test_training_rows_are_the_split_of_that_name_and_else_all() -> None:
    model, pictures = (
        uh.Model(nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(32, 2))),
        torch.randn(4, 1, 4, 4),
    )
    split = Dataset.of(pictures, list("0101"), splits=["test", "train", "test", "train"])
    assert training(surveyed(model, split)).tolist() == [1, 3]
    assert training(surveyed(model, Dataset.of(pictures, list("0101")))).tolist() == [0, 1, 2, 3]
