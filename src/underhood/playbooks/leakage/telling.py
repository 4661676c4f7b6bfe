"""Metadata that tell the label: association, how well they predict it, and what chance would come to."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from underhood.checks.intervals import Interval
from underhood.inputs.random import LEAKAGE, generator
from underhood.playbooks.columns import Column

BINS = 10  # of a column of numbers
FOLDS = 5

Codes = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Telling:
    """auroc: of held-out labels, mean over classes, with its 95 % interval; information: mutual, in bits.

    cramers_v: 0 to 1, corrected for what chance adds (Bergsma 2013). p: the share of shuffled labels that go
    with the column as much.
    """

    column: str
    rows: int
    auroc: float
    low: float
    high: float
    cramers_v: float
    information: float
    p: float


def telling(column: Column, label: Codes, *, draws: int = 999, seed: int = 0) -> Telling:
    """How much a column (n,) tells of labels (n,) from 0 on."""
    codes = column.binned(BINS).codes
    classes, label = np.unique(label, return_inverse=True)
    table = _table(codes, label, len(classes))
    statistic = _chi_square(table)
    random = generator(seed, LEAKAGE, 3)
    shuffles = (_table(codes, random.permutation(label), len(classes)) for _ in range(draws))
    as_much = sum(_chi_square(t) >= statistic * (1 - 1e-12) for t in shuffles)
    fold = _folds(label, random)
    auroc = _auroc(_held_out(codes, label, fold, len(classes)), label, fold, len(classes))
    low, high = _interval(auroc, np.bincount(label))
    return Telling(
        column.name,
        len(label),
        auroc,
        low,
        high,
        _cramers_v(table, statistic),
        _information(table),
        (1 + as_much) / (1 + draws),
    )


def _table(codes: Codes, label: Codes, classes: int) -> Floats:
    """(kinds, classes), how often they come together."""
    kinds = int(codes.max()) + 1
    return np.bincount(codes * classes + label, minlength=kinds * classes).reshape(kinds, -1).astype(float)


def _chi_square(table: Floats) -> float:
    total = table.sum()
    expected = table.sum(1, keepdims=True) * table.sum(0) / total
    return float(((table - expected) ** 2 / np.maximum(expected, 1e-12)).sum())


def _cramers_v(table: Floats, chi_square: float) -> float:
    total, (kinds, classes) = table.sum(), table.shape
    phi = max(0.0, chi_square / total - (kinds - 1) * (classes - 1) / (total - 1))
    least = min(kinds - (kinds - 1) ** 2 / (total - 1), classes - (classes - 1) ** 2 / (total - 1)) - 1
    return float(np.sqrt(phi / least)) if least > 0 else 0.0


def _information(table: Floats) -> float:
    share = table / table.sum()
    apart = share.sum(1, keepdims=True) * share.sum(0)
    there = share > 0
    return float((share[there] * np.log2(share[there] / apart[there])).sum())


def _held_out(codes: Codes, label: Codes, fold: Codes, classes: int) -> Floats:
    """(n, classes): each class's share among the other folds' rows of the same kind, drawn to the whole's."""
    told = np.empty((len(label), classes))
    for asked in range(FOLDS):
        inside, outside = fold == asked, fold != asked
        prior = (np.bincount(label[outside], minlength=classes) + 1) / (outside.sum() + classes)
        table = np.zeros((int(codes.max()) + 1, classes))
        np.add.at(table, (codes[outside], label[outside]), 1)
        told[inside] = ((table + prior) / (table.sum(1, keepdims=True) + 1))[codes[inside]]
    return told


def _folds(label: Codes, random: np.random.Generator) -> Codes:
    """(n,), with about as many of each class in every fold."""
    fold = np.empty(len(label), dtype=np.int64)
    for one in np.unique(label):
        rows = np.flatnonzero(label == one)
        fold[random.permutation(rows)] = np.arange(len(rows)) % FOLDS
    return fold


def _auroc(told: Floats, label: Codes, fold: Codes, classes: int) -> float:
    """Mean over classes of the area under each one's ROC curve.

    Areas are means over folds: rows of two folds were told from different rows, and are not comparable.
    """
    areas = []
    for one in range(classes):
        own, score = label == one, told[:, one]
        found = [_area(score[fold == f], own[fold == f]) for f in range(FOLDS)]
        areas.append(float(np.mean([a for a in found if a is not None])))
    return float(np.mean(areas))


def _interval(area: float, sizes: Codes) -> Interval:
    """The areas from which the one that was found is no further than 1.96 of their own errors.

    So it reaches beyond an area of 1 that was found in a few rows, where the error of 1 itself is 0, as
    Wilson's interval of a share does (Newcombe 2006, "Confidence intervals for an effect size measure based
    on the Mann-Whitney statistic. Part 2", method 5).
    """
    from scipy.optimize import brentq

    def beyond(true: float) -> float:
        return float(abs(area - true) - 1.96 * _error(true, sizes))

    apart = 1e-9  # from the area itself, where 1 and 0 have no error
    low = brentq(beyond, 0.0, area - apart) if area > 0 else 0.0
    high = brentq(beyond, area + apart, 1.0) if area < 1 else 1.0
    return Interval(float(low), float(high))


def _error(area: float, sizes: Codes) -> float:
    """Of such an area, each class against all others (Hanley & McNeil 1982).

    With two classes both have the same; with more they are averaged, as if all classes erred together.
    """
    mine, others = sizes, sizes.sum() - sizes
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (mine - 1) * (first - area**2) + (others - 1) * (second - area**2)
    return float(np.sqrt(np.maximum(variance, 0) / (mine * others)).mean())


def _area(score: Floats, own: NDArray[np.bool_]) -> float | None:
    """The share of pairs, one of its own class and one other, that are ranked right; ties are half right."""
    from scipy.stats import rankdata

    mine, others = int(own.sum()), int((~own).sum())
    if not mine or not others:
        return None
    return float((rankdata(score)[own].sum() - mine * (mine + 1) / 2) / (mine * others))
