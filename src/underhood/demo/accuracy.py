"""How well a model reads the lesions, with the rulers here or there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from underhood.demo.factors import AT_RANDOM, WITH_BENIGN, WITH_MALIGNANT, Placement
from underhood.demo.pairs import Pairs, draw_pairs

Predict = Callable[[NDArray[np.uint8]], Sequence[int] | NDArray[np.int64]]


@dataclass(frozen=True)
class Accuracies:
    """The share of right labels, 0 to 1, on the same lesions with rulers placed in three ways."""

    rulers_with_malignant: float  # as in the data the cheating model has learned from
    rulers_at_random: float
    rulers_with_benign: float


def accuracies(predict: Predict, pairs: Pairs | None = None) -> Accuracies:
    """How often `predict` is right about lesions, where only the rulers move.

    predict: from images (n, 128, 128, 3), uint8, to labels (n,): 0 benign, 1 malignant.
    pairs:   the lesions; by default 150 that no demo model was trained on. Drawing takes seconds:
             hand in the same `draw_pairs(...)` to compare several models.
    """
    pairs = pairs or draw_pairs(150, seed=2024)

    def share_right(ruler: Placement) -> float:
        labels = np.asarray(predict(pairs.placed(ruler)))
        return float((labels == pairs.malignant).mean())

    return Accuracies(
        rulers_with_malignant=share_right(WITH_MALIGNANT),
        rulers_at_random=share_right(AT_RANDOM),
        rulers_with_benign=share_right(WITH_BENIGN),
    )
