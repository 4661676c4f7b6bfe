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
        weighted = values * broadcast_as(self.weights[numbers], values)
        if len(self.total) == 1:  # one input: a plain sum is much faster than index_add_
            self.total += weighted.sum(0, keepdim=True)
        else:
            self.total.index_add_(0, rows, weighted)


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
        rows = rows[:: self.group]
        grouped = values.reshape(-1, self.group, *values.shape[1:])  # (m / group, group, …)
        for row in rows[self.groups[rows] == 0].unique():
            self._shift[row] = grouped[rows == row][0, 0]
        off = grouped - self._shift[rows, None]
        self._add(self._sum, off.sum(1), rows)
        self._add(self._squares, off.square().sum(1), rows)
        self._add(self._group_squares, off.mean(1).square_(), rows)
        self._add(self.groups, torch.ones(len(rows)), rows)

    def _start(self, values: Tensor) -> None:
        shape = (len(self.groups), *values.shape[1:])
        self._shift, self._sum, self._squares, self._group_squares = torch.zeros(4, *shape)

    @staticmethod
    def _add(total: Tensor, values: Tensor, rows: Tensor) -> None:
        if len(total) == 1:  # one input: a plain sum is much faster than index_add_
            total += values.sum(0, keepdim=True)
        else:
            total.index_add_(0, rows, values)

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
