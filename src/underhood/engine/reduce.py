"""Running statistics over variants: what a method keeps of many passes, in the memory of a few."""

from typing import Protocol

import torch
from torch import Tensor

from underhood.inputs.variants import broadcast_as


class Reduce(Protocol):
    """Takes values (m, …) of variants `numbers` of inputs `rows` as they come."""

    def update(self, values: Tensor, rows: Tensor, numbers: Tensor) -> None: ...

    @property
    def done(self) -> bool:
        """Whether more variants would change nothing that was asked for."""


class WeightedSum:
    """Σ_k weights[k] · value_k for each of B inputs; `total` is (B, …)."""

    done = False

    def __init__(self, like: Tensor, weights: Tensor):
        self.total = torch.zeros_like(like, dtype=torch.float32)
        self.weights = weights

    def update(self, values: Tensor, rows: Tensor, numbers: Tensor) -> None:
        # One by one: what is in the cache is added to, and no copy of the micro-batch is made.
        for value, row, weight in zip(values, rows.tolist(), self.weights[numbers].tolist(), strict=True):
            self.total[row].add_(value, alpha=weight)


class PathSum:
    """∫ g ∘ dz along a path for each of B inputs, from the gradients and places of its points in order.

    Values are (m, 2, …), g and z. By the trapezoid rule, Σ_k (g_k + g_(k+1))/2 ∘ (z_(k+1) − z_k), which is
    exact where g is constant, whichever way the path takes. `total` is (B, …).
    """

    done = False

    def __init__(self, inputs: int):
        self.total = torch.empty(0)
        self._inputs = inputs
        self._last: dict[int, Tensor] = {}

    def update(self, values: Tensor, rows: Tensor, numbers: Tensor) -> None:  # noqa: ARG002 - in order
        if not self.total.numel():
            self.total = torch.zeros(self._inputs, *values.shape[2:])
        for row, now in zip(rows.tolist(), values, strict=True):
            if row in self._last:
                before = self._last[row]
                self.total[row].addcmul_(before[0] + now[0], now[1] - before[1], value=0.5)
            self._last[row] = now


EVERY = 4  # groups between two looks at the error


class Moments:
    """Mean and variance over variants, for each of B inputs, with the standard error of the mean.

    Variants come in independent groups of `group` (antithetic pairs: 2), and the error is judged from
    the groups' means. An input is settled, and takes no more, once its mean standard error is below
    `error` times its largest |mean|; that is looked at after every fourth group. Sums are taken of
    differences to the first value, so that equal values have variance 0.
    """

    def __init__(self, inputs: int, *, group: int = 1, error: float | None = None):
        self.group, self.error = group, error
        self.groups = torch.zeros(inputs)  # seen so far, for each input
        self._settled = torch.zeros(inputs, dtype=torch.bool)  # inputs whose error is small enough
        self._shift = torch.empty(0)  # the first value of each input; sums are of differences to it

    def update(self, values: Tensor, rows: Tensor, numbers: Tensor) -> None:
        if not self._shift.numel():
            self._start(values)
        if self.error is None:
            self._take(values, rows)
            return
        for number in numbers.div(self.group, rounding_mode="floor").unique():  # one group of each input
            taken = (numbers.div(self.group, rounding_mode="floor") == number) & ~self._settled[rows]
            self._take(values[taken], rows[taken])
            if number % EVERY == EVERY - 1:  # at fixed counts: batch mates and memory must not matter
                self._settled[rows[taken]] = self.relative_error()[rows[taken]] <= self.error

    def _take(self, values: Tensor, rows: Tensor) -> None:
        for start, row in enumerate(rows[:: self.group].tolist()):
            members = values[start * self.group : (start + 1) * self.group]
            if self.groups[row] == 0:
                self._shift[row] = members[0]
            total = torch.zeros_like(self._sum[row])
            for member in members:  # one by one: what is in the cache is added to
                off = member - self._shift[row]
                total += off
                self._squares[row].addcmul_(off, off)
            self._sum[row] += total
            self._group_squares[row].addcmul_(total, total, value=1 / self.group**2)
            self.groups[row] += 1

    def _start(self, values: Tensor) -> None:
        shape = (len(self.groups), *values.shape[1:])
        self._shift, self._sum, self._squares, self._group_squares = torch.zeros(4, *shape)

    @property
    def mean(self) -> Tensor:
        return self._shift + self._sum / self._n

    @property
    def mean_square(self) -> Tensor:
        return self.variance * (self._n - 1) / self._n + self.mean**2

    @property
    def variance(self) -> Tensor:
        """Over single variants, divided by n - 1."""
        n = self._n
        return (self._squares - self._sum**2 / n).clamp(min=0) / (n - 1).clamp(min=1)

    @property
    def standard_error(self) -> Tensor:
        """Of the mean, (B, …)."""
        groups = self._n / self.group
        spread = (self._group_squares - groups * (self._sum / self._n) ** 2).clamp(min=0)
        return (spread / (groups - 1).clamp(min=1) / groups).sqrt()

    @property
    def done(self) -> bool:
        return bool(self._settled.all())

    def relative_error(self) -> Tensor:
        """Mean standard error over the largest |mean|, for each input (B,)."""
        scale = self.mean.flatten(1).abs().amax(1)
        return self.standard_error.flatten(1).mean(1) / scale.clamp(min=torch.finfo().tiny)

    @property
    def _n(self) -> Tensor:
        return broadcast_as(self.groups * self.group, self._sum)
