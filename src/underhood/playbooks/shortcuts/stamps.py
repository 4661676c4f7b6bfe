"""What is at one place in many pictures of a class, and in hardly any of other classes, however faint it is?

Pictures do not add up and a stamp does: the mean of those that have it is a template. It is looked for as by
a matched filter (Turin 1960): by correlation with pictures whose noise, which is what other classes show, was
made white; within a few places, as stamps are not put down exactly. The pictures that have it make a better
template, and so on, from several starts. Two halves of a class must come to the same one, each by itself.
A stamp that is never whole is told by its parts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from underhood.inputs.baseline import gaussian_blur
from underhood.inputs.random import CLUSTERS, generator
from underhood.playbooks.shortcuts.novelty import GRID, Read, gaps_closed
from underhood.playbooks.survey import AT_ONCE, Indices

COARSE = 0.1  # of the side: what is larger is no structure
WHITE = 0.7  # how far spectra are made white: wholly, and the finest noise would count as much as all else
LITTLE = 0.02  # of the mean energy
EVEN = 0.5  # of the usual spread, that places where nothing ever is are given
MOVED = 0.06  # of the side, that a stamp may be off its place
NOISE = 2.0  # standard errors: what is less is chance
TURNS = 10  # of learning
DIRECTIONS = 4  # in which a class's pictures vary most: starts, both ways, beside the mean
EXTREME = 0.1  # of the pictures, that make a start
SELDOM = 0.01  # of pictures of other classes have as much of it; twice as many in learning
CLEARLY = 2.5  # times as far from the usual as those: it is there
FEW = 6  # pictures of a half, that must have it
AGREE = 0.25  # correlation of what two halves learn
FAINT = 0.4  # of a stamp's strongest places: what is less is not the stamp
LARGEST_STAMP = 0.5  # of the picture: what is larger is no thing in it
PART = 0.06  # of the side: what is there or not by itself
PLAIN = 0.2  # of the strongest part: of less it is not asked how many pictures have it
WHOLE = 0.67  # of its pictures have each part of a stamp: from there on it is told whole

Masks = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Fields:
    """Structure of pictures (n, C, h, w), in standard deviations of other classes' pictures at each place,
    with a margin of zeros to move it in; its whitened spectra."""

    plain: Tensor
    spectra: Tensor
    margin: int

    def __len__(self) -> int:
        return len(self.plain)

    @property
    def size(self) -> torch.Size:
        return self.plain.shape[2:]

    @property
    def inside(self) -> slice:
        """Of an axis, without its margins."""
        return slice(self.margin, -self.margin)


@dataclass(frozen=True, eq=False)
class Scale:
    """What is usual in other classes' pictures: mean and spread (C, h, w); what makes noise white."""

    mean: Tensor
    spread: Tensor
    margin: int
    whitening: Tensor

    @classmethod
    def of(cls, others: Tensor) -> "Scale":
        mean, spread = others.mean(0), (others.std(0) + EVEN * others.std()).clamp(min=1e-6)
        margin = max(1, round(MOVED * min(mean.shape[1:])))
        usual = F.pad((others - mean) / spread, [margin] * 4)
        energy = (torch.fft.rfft2(usual).abs() ** 2).mean((0, 1))
        whitening = (energy / energy.mean().clamp(min=1e-12) + LITTLE) ** (-WHITE / 2)
        return cls(mean, spread, margin, whitening)

    def __call__(self, pictures: Tensor) -> Fields:
        plain = F.pad((pictures - self.mean) / self.spread, [self.margin] * 4)
        return Fields(plain, torch.fft.rfft2(plain) * self.whitening, self.margin)


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
        stamps = [best(*halves[k], *halves[1 - k]) for k in (0, 1)]
        learned = [
            Placed.of(stamp, *halves[1 - k], scales[1 - k].spread)
            for k, stamp in enumerate(stamps)
            if stamp is not None and agree(stamps, halves[0][0])
        ]
        return cls(read, scales, tuple(learned), frozenset(own[1::2].tolist()))

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


def structure(inputs: Tensor) -> Tensor:
    step = max(1, round(min(inputs.shape[2:]) / GRID))
    small = F.avg_pool2d(inputs, step, ceil_mode=True, count_include_pad=False)
    return small - gaussian_blur(small, COARSE * min(small.shape[2:]))


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


def starts(own: Fields) -> Iterator[Masks]:
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


def learn(own: Fields, others: Fields, has: Masks) -> Tensor | None:
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


def template(own: Fields, has: Masks, shifts: Tensor) -> Tensor | None:
    """The mean of those that have it, each moved back, less what may be chance."""
    there = torch.from_numpy(has)
    mean = torch.fft.irfft2(moved_back(own.spectra[there], shifts[there], own.size).mean(0), s=own.size)
    error = torch.fft.irfft2(own.spectra, s=own.size).std() / has.sum() ** 0.5
    sure = mean.sign() * (mean.abs() - NOISE * error).clamp(min=0)
    return torch.fft.rfft2(sure / sure.norm()) if sure.any() else None


def correlation(spectra: Tensor, spectrum: Tensor, size: torch.Size, most: int) -> tuple[Floats, Tensor]:
    """(n,): of pictures with a template, the highest over small shifts; the shifts (n, 2)."""
    found = torch.fft.irfft2((spectra * spectrum.conj()).sum(1), s=size)
    steps = torch.arange(-most, most + 1)
    highest = found[:, steps][:, :, steps].flatten(1).max(1)
    shifts = torch.stack([highest.indices // len(steps), highest.indices % len(steps)], 1) - most
    return highest.values.double().numpy(), shifts


def share_with_each(parts: Tensor, without: Tensor) -> float:
    """Of pictures with a stamp, how many have each of its parts (n, k), beside pictures without it (m, k).

    A part that a share s of them have varies by 1 / s - 1 of its mean's square. The median, as
    most of the mean is where parts of several kinds meet, which more pictures have.
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


def agree(stamps: Sequence[Stamp | None], fields: Fields) -> bool:
    """Whether both halves have learned a template, and the same; they have norm 1."""
    first, second = stamps
    if first is None or second is None:
        return False
    alike, _ = correlation(first.spectrum[None], second.spectrum, fields.size, fields.margin)
    return float(alike[0]) >= AGREE


def moved_back(spectra: Tensor, shifts: Tensor, size: torch.Size) -> Tensor:
    """(n, C, h, w / 2 + 1), by shifts (n, 2)."""
    down, right = torch.fft.fftfreq(size[0])[:, None], torch.fft.rfftfreq(size[1])[None]
    turns = shifts[:, 0, None, None] * down + shifts[:, 1, None, None] * right
    return spectra * torch.exp(2j * torch.pi * turns)[:, None]
