"""How often predictions and labels are the same, beside the largest class and beside shuffled labels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from underhood.checks.intervals import Interval, p_value
from underhood.inputs.random import LEAKAGE, generator
from underhood.playbooks.statistics import wilson

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Matches:
    """accuracy with its 95 % interval, the largest class's share, the accuracy on shuffled labels with the
    range of 95 % of the shuffles, and the share of shuffles that do as well (p)."""

    rows: int
    accuracy: float
    low: float
    high: float
    majority: float
    shuffled: float
    shuffled_low: float
    shuffled_high: float
    p: float

    @property
    def chance(self) -> float:
        """What can be reached without seeing anything: the better of always saying one class and shuffles."""
        return max(self.majority, self.shuffled)

    @property
    def excess(self) -> float:
        return self.accuracy - self.chance


def matches(told: Labels, label: Labels, *, draws: int = 999, seed: int = 0) -> Matches:
    """Of predictions `told` (n,); -1 stands for none, and is left out."""
    told, label = told[told >= 0], label[told >= 0]
    hits, count = int((told == label).sum()), len(label)
    random = generator(seed, LEAKAGE, 4)
    by_chance = np.array([(told == random.permutation(label)).mean() for _ in range(draws)])
    interval: Interval = wilson(hits, count)
    low, high = np.quantile(by_chance, [0.025, 0.975])
    return Matches(
        rows=count,
        accuracy=hits / count,
        low=interval.low,
        high=interval.high,
        majority=float(np.bincount(label).max() / count),
        shuffled=float(by_chance.mean()),
        shuffled_low=float(low),
        shuffled_high=float(high),
        p=p_value(hits / count, by_chance.tolist(), "higher") or 1.0,
    )
