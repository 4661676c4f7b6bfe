"""What a model said about one input."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Labels = tuple[str, ...] | None


def named(labels: Labels, outputs: int) -> Labels:
    """The labels of so many outputs; a single one without a label is no class, and called "output"."""
    return labels or (("output",) if outputs == 1 else None)


@dataclass(frozen=True)
class Prediction:
    """Scores (C,), pre-softmax, of one input, and the classes' labels."""

    scores: NDArray[np.float32]
    labels: Labels = None

    @property
    def has_classes(self) -> bool:
        """Whether there are classes to choose from; a single output, such as a regression's, is a number."""
        return len(self.scores) > 1

    @property
    def index(self) -> int:
        """The predicted class: the highest score."""
        return int(self.scores.argmax())

    @property
    def label(self) -> str:
        return self.label_of(self.index)

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """Softmax over the scores, (C,); of a model with one output, its sigmoid."""
        scores = self.scores.astype(np.float64)
        if len(scores) == 1:
            return np.asarray(1 / (1 + np.exp(-scores)), dtype=np.float32)
        exp = np.exp(scores - scores.max())
        return np.asarray(exp / exp.sum(), dtype=np.float32)

    def label_of(self, index: int) -> str:
        labels = named(self.labels, len(self.scores))
        return labels[index] if labels else f"class {index}"

    def top(self, k: int = 5, also: Collection[str] = ()) -> list[tuple[str, float, float]]:
        """The k highest classes, and those with these labels, as (label, probability, score), best first."""
        order = np.argsort(-self.scores, kind="stable").tolist()
        shown = order[:k] + [i for i in order[k:] if self.label_of(i) in also]
        p = self.probabilities
        return [(self.label_of(i), float(p[i]), float(self.scores[i])) for i in shown]
