"""A network of which all is known: units that see one channel each, their mean, and a linear head."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import underhood as uh

SIDE = 24


class Channels(nn.Module):
    """Unit k is channel k of the input, where above 0; the head is given."""

    def __init__(self, head: Sequence[Sequence[float]]):
        super().__init__()
        weight = torch.tensor(head)  # (C, K)
        self.features = nn.Sequential(nn.Conv2d(weight.shape[1], weight.shape[1], 1, bias=False), nn.ReLU())
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(*weight.shape[::-1], bias=False)
        self.features[0].weight.data = torch.eye(weight.shape[1])[:, :, None, None]
        self.head.weight.data = weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.features(x)).flatten(1))


def model(head: Sequence[Sequence[float]], labels: Sequence[str]) -> uh.Model:
    return uh.Model(Channels(head).eval(), labels=tuple(labels))


def blob(
    pictures: Tensor, rows: NDArray[np.int64] | range, channel: int, top: int, left: int, *, seed: int = 0
) -> None:
    """Draws a square of 6 places and about 1 in brightness, a little off at random."""
    random = np.random.default_rng((seed, channel, top))
    for row in rows:
        off = random.integers(-1, 2, 2)
        at = (slice(top + off[0], top + 6 + off[0]), slice(left + off[1], left + 6 + off[1]))
        pictures[(int(row), channel, *at)] += float(random.uniform(0.8, 1.2))
