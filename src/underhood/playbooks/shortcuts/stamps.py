"""What is at one place in many pictures of a class, and in hardly any of other classes, however faint it is?

Two halves of a class must come to the same template, each by itself. One that is never whole is told by its
parts.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from underhood.inputs.random import CLUSTERS, generator
from underhood.playbooks.shortcuts.matched_filter import Fields, Scale, correlation, moved_back, structure
from underhood.playbooks.shortcuts.novelty import Masks, Read, gaps_closed
from underhood.playbooks.shortcuts.templates import CLEARLY, NOISE, Stamp, best
from underhood.playbooks.survey import AT_ONCE, Indices

AGREE = 0.25  # correlation of what two halves learn
FAINT = 0.4  # of a stamp's strongest places: what is less is not the stamp
LARGEST_STAMP = 0.5  # of the picture: what is larger is no thing in it
PLAIN = 0.2  # of the strongest part: of less it is not asked how many pictures have it
WHOLE = 0.67  # of its pictures have each part of a stamp: from there on it is told whole


@dataclass(frozen=True, eq=False)
class Placed:
    """A stamp, and where it is in the pictures of the half that it was not learned from.

    region: (h, w).
    least:  (h, w), of `Stamp.parts`, from which on a part is there; -inf where all of it always is.
    """

    stamp: Stamp
    region: Masks
    least: Tensor

    @classmethod
    def of(cls, stamp: Stamp, own: Fields, others: Fields, spread: Tensor) -> "Placed":
        """own, others: the other half's."""
        strength, shifts = stamp.found(own)
        has = torch.from_numpy(strength > CLEARLY)
        parts, without = stamp.parts(own, shifts)[has], stamp.parts(others, stamp.found(others)[1])
        place = region(own, has, shifts, spread)
        share = share_with_each(parts[:, place], without[:, place])
        mean = parts.mean(0) - without.mean(0)
        # half of what a part has where it is there; where it is not, there is about nothing
        least = torch.full_like(mean, -torch.inf) if share >= WHOLE else mean / share / 2
        return cls(stamp, place, least)

    def masks(self, fields: Fields) -> Masks:
        """(n, h, w)"""
        strength, shifts = self.stamp.found(fields)
        there = (self.stamp.parts(fields, shifts) >= self.least).numpy() & self.region
        has = (strength > CLEARLY) & (self.region.mean() <= LARGEST_STAMP)
        found = [moved(one, by, fields.margin) for one, by in zip(there, shifts.tolist(), strict=True)]
        return np.stack(found) & has[:, None, None]


@dataclass(frozen=True, eq=False)
class Stamps:
    """A class's pictures and others, in two halves, each with its own scale.

    learned: each half's stamp, as it is in the other half; none where the two are not the same.
    second:  rows of the second half.
    """

    read: Read
    scales: tuple[Scale, Scale]
    learned: tuple[Placed, ...]
    second: frozenset[int]

    @classmethod
    def of(cls, read: Read, own: Indices, others: Indices, seed: int) -> "Stamps":
        random = generator(seed, CLUSTERS, 6)
        own, others = random.permutation(own), random.permutation(others)
        mine, theirs = structure_of(read, own), structure_of(read, others)
        # one scale for both would have what is chance in it, and both halves would learn that
        scales = Scale.of(theirs[::2]), Scale.of(theirs[1::2])
        halves = [(scales[k](mine[k::2]), scales[k](theirs[k::2])) for k in (0, 1)]
        first, second = (best(*halves[k], *halves[1 - k]) for k in (0, 1))
        learned: tuple[Placed, ...] = ()
        if first is not None and second is not None and agree(first, second, halves[0][0]):
            learned = tuple(
                Placed.of(stamp, *halves[1 - k], scales[1 - k].spread)
                for k, stamp in enumerate((first, second))
            )
        return cls(read, scales, learned, frozenset(own[1::2].tolist()))

    def masks(self, rows: Indices) -> Masks:
        """(k, h, w), by the template that was not learned from the row."""
        found = np.zeros((len(rows), *self.scales[0].mean.shape[1:]), bool)
        in_second = np.isin(rows, list(self.second))
        judged = zip(self.learned, self.scales[::-1], (in_second, ~in_second), strict=False)
        for placed, scale, there in judged:
            if there.any():
                found[there] = placed.masks(scale(structure_of(self.read, rows[there])))
        return found


def structure_of(read: Read, rows: Indices) -> Tensor:
    """(n, C, h, w) at places of a grid."""
    parts = np.array_split(rows, max(1, -(-len(rows) // AT_ONCE)))
    return torch.cat([structure(read(part)) for part in parts])


def share_with_each(parts: Tensor, without: Tensor) -> float:
    """Of pictures with a stamp, how many have each of its parts (n, k), beside pictures without it (m, k).

    A part that a share s of them have varies by 1 / s - 1 of its mean's square. The median, as most of the
    mean is where parts of several kinds meet, which more pictures have.
    """
    if not parts.numel():
        return 1.0
    mean = parts.mean(0) - without.mean(0)
    excess = (parts.var(0) - without.var(0)) / mean.square()
    return 1 / (1 + max(0.0, float(excess[mean >= PLAIN * mean.max()].median())))


def region(kept: Fields, has: Tensor, shifts: Tensor, spread: Tensor) -> Masks:
    """(h, w): where pictures with a stamp differ for sure from those without it; from other classes', where
    more than two thirds have it."""
    with_it, without = int(has.sum()), int((~has).sum())
    mean = moved_back(torch.fft.rfft2(kept.plain[has]), shifts[has], kept.size).mean(0)
    differ = torch.fft.irfft2(mean, s=kept.size)
    count = float(with_it)
    if without >= with_it / 2:
        differ = differ - kept.plain[~has].mean(0)
        count = 1 / (1 / with_it + 1 / without)
    differ = differ[:, kept.inside, kept.inside]
    sure = differ.square().mean(0).sqrt() * count**0.5 > NOISE
    plainly = (differ * spread).square().sum(0).sqrt()
    if not sure.any():
        return sure.numpy()
    return gaps_closed((sure & (plainly > FAINT * torch.quantile(plainly[sure], 0.95))).numpy())


def moved(mask: Masks, shift: list[int], most: int) -> Masks:
    """By at most so many places; what leaves the picture is lost."""
    inside = slice(most, -most)
    return np.asarray(np.roll(np.pad(mask, most), shift, (0, 1))[inside, inside])


def agree(first: Stamp, second: Stamp, fields: Fields) -> bool:
    """Whether two halves have learned the same; templates have norm 1."""
    alike, _ = correlation(first.spectrum[None], second.spectrum, fields.size, fields.margin)
    return float(alike[0]) >= AGREE
