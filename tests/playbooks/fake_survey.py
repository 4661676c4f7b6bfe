"""Surveys made of arrays, for playbooks that need no passes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from underhood.engine import Settings
from underhood.inputs.dataset import Dataset, Row
from underhood.models import Model
from underhood.playbooks.survey import Survey


def fake_survey(
    label: Any,
    predicted: Any,
    confidence: Any,
    *,
    metadata: Sequence[dict[str, str]] | None = None,
    masks: Sequence[Any] | None = None,
    maps: Any = None,
    sources: Sequence[Any] | None = None,
    splits: Sequence[str] | None = None,
    features: Any = None,
    classes: tuple[str, ...] = ("benign", "malignant"),
    seed: int = 0,
) -> Survey:
    """A survey of a model that predicts `predicted` with `confidence`, each (n,)."""
    label, predicted = np.asarray(label), np.asarray(predicted)
    count, others = len(label), len(classes) - 1
    chosen = np.asarray(confidence, dtype=np.float64)
    scores = np.log(np.repeat(((1 - chosen) / others)[:, None], len(classes), 1))
    scores[np.arange(count), predicted] = np.log(chosen)
    rows = [
        Row(
            number,
            f"picture {number}",
            None if sources is None else sources[number],
            classes[label[number]] if label[number] >= 0 else None,
            None if splits is None else splits[number],
            {} if metadata is None else metadata[number],
            None if masks is None else masks[number],
        )
        for number in range(count)
    ]
    return Survey(
        Model(nn.Identity(), labels=classes),
        Dataset(rows),
        Settings(seed=seed),
        number=np.arange(count),
        label=label,
        predicted=predicted,
        scores=scores.astype(np.float32),
        maps=np.ones((count, 4, 4), np.float32) if maps is None else maps,
        features=np.zeros((count, 2), np.float32) if features is None else features,
    )
