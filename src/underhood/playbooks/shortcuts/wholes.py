"""Which pictures are, as a whole, like none of other classes, and like others of their own?

A cast, a change of contrast or a fine texture is in every part of a picture, so that a few numbers tell it.
Pictures are compared by them as places are in `novelty`: the nearest picture of other classes is farther than
others' nearest are from each other, and clearly farther than the nearest one of the own class.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from underhood.inputs.baseline import gaussian_blur
from underhood.playbooks.survey import AT_ONCE, Indices

Whole = Literal["colour", "contrast", "texture"]
ENDS = (0.01, 0.05, 0.95, 0.99)  # of a channel's pixels: the darkest and the brightest
SPREADS = (0.01, 0.05, 0.25)  # of all pixels, left out at either end
GRAINS = (0.25, 0.5, 0.75)  # of the differences between neighbours
WAVES = (0.1, 0.2, 0.4)  # cycles a pixel
LEAST = 6  # waves along a side: of fewer there is no texture
DIRECTIONS = 4  # of waves
WIDTH, SPREAD = 0.35, 0.4  # of the bands around them: in logarithms, in radians
CELLS, NEARLY_ALL = 12, 0.9  # along a side; of the cells that a texture is in
MARGIN = 8  # pixels, mirrored around a picture
LITTLE = 1e-6  # of energy
SELDOM = 0.05  # of pictures of one half of other classes are as far from all of the other
# Times farther from other classes than from its own: classes differ by themselves in light and colour.
CLEARLY: Mapping[Whole, float] = {"colour": 2.5, "contrast": 3.0, "texture": 1.8}

Floats = NDArray[np.float64]
Times = NDArray[np.float32]
Read = Callable[[Indices], Tensor]


@dataclass(frozen=True, eq=False)
class Wholes:
    """A class's own pictures and those of other classes, by rows.

    known: what has been told of each row, by property.
    """

    read: Read
    own: Indices
    others: Indices
    known: dict[int, dict[Whole, Floats]] = field(default_factory=dict)

    def novel(self, rows: Indices) -> dict[Whole, Times]:
        """By property, for each of the rows: how many times farther the nearest picture of others is than the
        nearest one of its own class, besides itself; 0 where it is not clearly novel."""
        mine = np.union1d(rows, self.own)
        at = np.searchsorted(mine, rows)
        own, theirs = self._told(mine), self._told(self.others)
        found = {kind: times(own[kind], theirs[kind])[at] for kind in own}
        return {kind: np.where(far > CLEARLY[kind], far, np.float32(0)) for kind, far in found.items()}

    def _told(self, rows: Indices) -> dict[Whole, Floats]:
        new = [row for row in rows.tolist() if row not in self.known]
        for start in range(0, len(new), AT_ONCE):
            some = np.array(new[start : start + AT_ONCE])
            inputs = self.read(some)
            told = {kind: tell(inputs) for kind, tell in TOLD.items()}
            for place, row in enumerate(some.tolist()):
                self.known[row] = {kind: values[place] for kind, values in told.items()}
        return {kind: np.stack([self.known[row][kind] for row in rows.tolist()]) for kind in TOLD}


def times(own: Floats, others: Floats) -> Times:
    """(n,), of points (n, d) and (m, d); 0 where others are as far from each other."""
    from scipy.spatial.distance import cdist

    whiten = whitening(others)
    own, others = whiten(own), whiten(others)
    halves = cdist(others[::2], others[1::2])
    seldom = np.quantile(np.concatenate([halves.min(0), halves.min(1)]), 1 - SELDOM)
    among = cdist(own, own)
    np.fill_diagonal(among, np.inf)
    away = cdist(own, others).min(1)
    found = away / np.maximum(among.min(1), 1e-9)
    return np.asarray(np.where(away > seldom, found, 0), dtype=np.float32)


def whitening(points: Floats) -> Callable[[Floats], Floats]:
    """To a mean of 0 and a covariance of 1; directions in which the points hardly differ are not enlarged."""
    spread, turn = np.linalg.eigh(np.cov(points.T).reshape(points.shape[1], -1))
    scale = np.sqrt(np.maximum(spread, 1e-3 * spread.mean() + 1e-9))
    return lambda some: (some - points.mean(0)) @ turn / scale


def colour(inputs: Tensor) -> Floats:
    """(B, 5 C): each channel's mean, and its darkest and brightest pixels."""
    flat = inputs.flatten(2)
    ends = np.quantile(flat.numpy(), ENDS, axis=2)  # (4, B, C)
    return np.concatenate([flat.mean(2).double().numpy(), *ends], 1)


def contrast(inputs: Tensor) -> Floats:
    """(B, 7), logarithms: how far pixels spread around their channel's mean, how much the fine structure
    varies, and neighbours."""
    flat = (inputs - inputs.mean((2, 3), keepdim=True)).flatten(1).numpy()
    low, high = (np.quantile(flat, ends, axis=1) for ends in (SPREADS, 1 - np.array(SPREADS)))
    fine = inputs - gaussian_blur(inputs, max(0.8, 0.04 * min(inputs.shape[2:])))
    grey = inputs.mean(1)
    step = (grey[:, 1:, 1:] - grey[:, :-1, 1:] - grey[:, 1:, :-1] + grey[:, :-1, :-1]).abs().flatten(1)
    grains = np.quantile(step.numpy(), GRAINS, axis=1)
    return np.log(np.concatenate([high - low, fine.std((1, 2, 3))[None].double().numpy(), grains]).T + 0.01)


def texture(inputs: Tensor) -> Floats:
    """(B, k), logarithms: the energy of waves by length and direction, where there is little of them: what is
    in a part of the picture only does not count."""
    grey = F.pad(inputs.mean(1, keepdim=True), [MARGIN] * 4, mode="reflect")[:, 0]
    height, width = grey.shape[1:]
    lengths = [wave for wave in WAVES if wave * min(inputs.shape[2:]) >= LEAST] or [WAVES[-1]]
    waves = torch.fft.rfft2(grey)
    found = []
    for band in _bands(height, width, lengths):
        answer = torch.fft.irfft2(waves * band, s=(height, width))[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
        cells = F.adaptive_avg_pool2d((answer**2)[:, None], (CELLS, CELLS)).flatten(1)
        found.append(np.quantile(cells.numpy(), 1 - NEARLY_ALL, axis=1))
    return np.log(np.stack(found, 1) + LITTLE)


def _bands(height: int, width: int, lengths: Sequence[float]) -> Iterator[Tensor]:
    """Weights of half a spectrum (height, width / 2 + 1); smooth ones, so that an edge stays where it is."""
    down, right = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None]
    length, angle = (down**2 + right**2).sqrt().clamp(min=1e-6), torch.atan2(down, right)
    for wave in lengths:
        near = (length / wave).log() / WIDTH
        for direction in range(DIRECTIONS):
            turned = angle - direction * np.pi / DIRECTIONS
            aside = ((turned + np.pi / 2) % np.pi - np.pi / 2) / SPREAD
            yield torch.exp(-(near**2 + aside**2) / 2)


TOLD: Mapping[Whole, Callable[[Tensor], Floats]] = {
    "colour": colour,
    "contrast": contrast,
    "texture": texture,
}
