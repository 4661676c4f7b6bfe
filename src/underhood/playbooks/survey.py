"""`Survey`: what the model said of every input of a data set, and where it looked; playbooks read it."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from underhood.engine import Engine, Settings, grad_cam_layer
from underhood.inputs import gather
from underhood.inputs.dataset import Dataset
from underhood.inputs.gather import displayed, mask_as_seen
from underhood.inputs.label_classes import label_classes
from underhood.methods.cam import grids, weighted
from underhood.models import Class, Model

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]
AT_ONCE = 64  # inputs


class Rows(Protocol):
    """An array (n, …) of which some rows are read at a time: in memory, or in a store."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __getitem__(self, rows: Any, /) -> NDArray[Any]: ...


@dataclass(frozen=True, eq=False)
class Survey:
    """Columns (n,), one entry for each input that could be read; rows are counted 0 to n-1 here.

    number:    the row's number in the data set.
    label:     class of the row's label, -1 where it has none or none of the model's.
    predicted: class that scores highest.
    scores:    (n, C), pre-softmax.
    maps:      (n, h, w), where the model looked for the predicted class: Grad-CAM, not negative, on its
               layer's grid, not normalised.
    features:  (n, K), that layer's mean over places.
    """

    model: Model
    dataset: Dataset
    settings: Settings
    number: Indices
    label: Indices
    predicted: Indices
    scores: Rows
    maps: Rows
    features: Rows

    def __len__(self) -> int:
        return len(self.number)

    @property
    def classes(self) -> tuple[str, ...]:
        labels = self.model.labels
        return tuple(labels) if labels else tuple(f"class {i}" for i in range(self.scores.shape[1]))

    @cached_property
    def engine(self) -> Engine:
        return Engine(self.model, self.settings)

    @cached_property
    def probability(self) -> Floats:
        """(n,) of the predicted class."""
        found = [
            torch.softmax(torch.from_numpy(np.asarray(self.scores[rows], dtype=np.float32)), 1)
            .amax(1)
            .numpy()
            for rows in np.array_split(np.arange(len(self)), max(1, len(self) // 4096))
        ]
        return np.concatenate(found)

    def inputs(self, rows: Any) -> Tensor:
        """(k, C, H, W) as the network takes them, read again from the data set."""
        return gather(self.model, [self.dataset[int(self.number[row])].source for row in rows]).tensor

    def picture(self, row: int) -> NDArray[np.uint8] | None:
        """(H, W, 3) as the network saw it."""
        return displayed(self.model, self.inputs([row])[0])

    def masks(self, rows: Any) -> Tensor | None:
        """(k, H, W) bool: the subject at the network's input size; None unless all of them have one."""
        found = [self.dataset[int(self.number[row])].read_mask() for row in rows]
        if not found or any(mask is None for mask in found):
            return None
        height, width = self.inputs(rows[:1]).shape[-2:]
        sources = [self.dataset[int(self.number[row])].source for row in rows]
        return torch.stack(
            [
                mask_as_seen(self.model, source, mask, (height, width))
                for source, mask in zip(sources, found, strict=True)
                if mask is not None
            ]
        )


def log_odds(scores: Tensor, classes: Tensor) -> Tensor:
    """log p/(1-p) of classes (k,), from scores (k, C): how far a class leads all others together."""
    own = scores.gather(1, classes[:, None])
    others = scores.scatter(1, classes[:, None], -torch.inf)
    return (own[:, 0] - others.logsumexp(1)).float()


@dataclass(frozen=True)
class Looks:
    """What one forward pass, and the backward pass above one layer, tell of a batch."""

    scores: Floats  # (k, C)
    maps: Floats  # (k, h, w)
    features: Floats  # (k, K)


def look(engine: Engine, inputs: Tensor) -> Looks:
    """Scores, Grad-CAM of the predicted class and mean activations of inputs (k, C, H, W), in one pass."""
    layer = grad_cam_layer(engine, inputs[0]).name
    found = engine.gradients(inputs, Class(), at=[layer])
    assert found is not None  # nothing reduces it
    a, g = grids(layer, inputs, found.activations[0], found.gradients[0])
    maps = weighted(g.mean((2, 3)), a).relu()
    return Looks(found.outputs.numpy(), maps.numpy(), a.mean((2, 3)).numpy())


def surveyed(model: Model, dataset: Dataset, settings: Settings | None = None) -> Survey:
    """A survey held in memory: for small data sets, and for tests."""
    settings = settings or Settings()
    engine = Engine(model, settings)
    looks = []
    for start in range(0, len(dataset), AT_ONCE):
        sources = [row.source for row in dataset[start : start + AT_ONCE]]
        looks.append(look(engine, gather(model, sources).tensor))
    scores, maps, features = (
        np.concatenate([getattr(part, name) for part in looks]) for name in ("scores", "maps", "features")
    )
    return Survey(
        model,
        dataset,
        settings,
        number=np.arange(len(dataset)),
        label=label_classes(dataset, model.labels or (), scores.shape[1]),
        predicted=scores.argmax(1),
        scores=scores,
        maps=maps,
        features=features,
    )
