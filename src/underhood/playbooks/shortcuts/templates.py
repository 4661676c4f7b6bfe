"""A template of what many pictures of a class have at one place, and hardly any of other classes.

Pictures do not add up and a stamp does: the mean of those that have it is a template. The pictures in which
it is found make a better one, and so on, from several starts.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from underhood.inputs.baseline import gaussian_blur
from underhood.playbooks.shortcuts.matched_filter import Fields, Floats, correlation, moved_back

NOISE = 2.0  # standard errors: what is less is chance
TURNS = 10  # of learning
DIRECTIONS = 4  # in which a class's pictures vary most: starts, both ways, beside the mean
EXTREME = 0.1  # of the pictures, that make a start
SELDOM = 0.01  # of pictures of other classes have as much of it; twice as many in learning
CLEARLY = 2.5  # times as far from the usual as those: it is there
FEW = 6  # pictures of a half, that must have it
PART = 0.06  # of the side: what is there or not by itself

Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Stamp:
    """spectrum: (C, h, w / 2 + 1), of the template; usual, far: how much of it other classes' pictures have,
    and how much more one in a hundred of them."""

    spectrum: Tensor
    usual: float
    far: float

    def found(self, fields: Fields) -> tuple[Floats, Tensor]:
        """(n,): how much of it there is, 1 for one in a hundred of other classes; its shifts (n, 2)."""
        strength, shifts = correlation(fields.spectra, self.spectrum, fields.size, fields.margin)
        return (strength - self.usual) / self.far, shifts

    def parts(self, fields: Fields, shifts: Tensor) -> Tensor:
        """(n, h, w), moved back: how much of it is around each place."""
        back = torch.fft.irfft2(moved_back(fields.spectra, shifts, fields.size), s=fields.size)
        product = (back * torch.fft.irfft2(self.spectrum, s=fields.size)).sum(1, keepdim=True)
        return gaussian_blur(product, PART * min(fields.size))[:, 0, fields.inside, fields.inside]


def best(own: Fields, others: Fields, own_kept: Fields, others_kept: Fields) -> Stamp | None:
    """Learned from `own` and `others`; of several the one that most of the pictures kept apart have."""
    most, kept = FEW - 1, None
    for start in starts(own):
        spectrum = learn(own, others, start)
        if spectrum is not None:
            theirs = correlation(others_kept.spectra, spectrum, own.size, own.margin)[0]
            usual = float(np.median(theirs))
            stamp = Stamp(spectrum, usual, max(float(np.quantile(theirs, 1 - SELDOM)) - usual, 1e-9))
            count = int((stamp.found(own_kept)[0] > CLEARLY).sum())
            if count > most:
                most, kept = count, stamp
    return kept


def starts(own: Fields) -> Iterator[Flags]:
    """(n,): all pictures; those at either end of the directions in which they vary most."""
    yield np.ones(len(own), bool)
    white = torch.fft.irfft2(own.spectra, s=own.size).flatten(1).double()
    white = white - white.mean(0)
    along = torch.linalg.eigh(white @ white.T)[1][:, -DIRECTIONS:].flip(1)
    count = max(FEW, round(EXTREME * len(own)))
    for direction in along.T.numpy():
        order = np.argsort(direction)
        for end in (order[:count], order[-count:]):
            yield np.isin(np.arange(len(own)), end)


def learn(own: Fields, others: Fields, has: Flags) -> Tensor | None:
    """The spectrum (C, h, w / 2 + 1) of a template; None where too few pictures have what it shows."""
    shifts = torch.zeros(len(own), 2, dtype=torch.long)
    for _ in range(TURNS):
        spectrum = template(own, has, shifts)
        if spectrum is None:
            return None
        strength, shifts = correlation(own.spectra, spectrum, own.size, own.margin)
        theirs = correlation(others.spectra, spectrum, own.size, own.margin)[0]
        before, has = has, strength > np.quantile(theirs, 1 - 2 * SELDOM)
        if has.sum() < FEW:
            return None
        if (has == before).all():
            break
    return spectrum


def template(own: Fields, has: Flags, shifts: Tensor) -> Tensor | None:
    """The mean of those that have it, each moved back, less what may be chance."""
    there = torch.from_numpy(has)
    mean = torch.fft.irfft2(moved_back(own.spectra[there], shifts[there], own.size).mean(0), s=own.size)
    error = torch.fft.irfft2(own.spectra, s=own.size).std() / has.sum() ** 0.5
    sure = mean.sign() * (mean.abs() - NOISE * error).clamp(min=0)
    return torch.fft.rfft2(sure / sure.norm()) if sure.any() else None
