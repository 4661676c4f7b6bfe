"""What has no like in the pictures of other classes, and comes again and again in those of its own.

Every place of a picture is compared, by how it looks, with all places of theirs: the distance to the nearest
one, as in Roth et al. 2022 (PatchCore), but between colours, edges and fine structure rather than features of
a network, as it is the network that is doubted.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from torch import Tensor

from underhood.inputs.baseline import gaussian_blur
from underhood.inputs.random import CLUSTERS, generator
from underhood.playbooks.survey import AT_ONCE, Indices

GRID = 36  # places along the shorter side
FINE, MIDDLING, COARSE = 0.01, 0.03, 0.08  # of the side: what is seen of a place
COMPARED = 60_000  # places in each half of a class's pictures
NEARLY = 0.15  # the nearest place is found, or one that is at most so much farther
SELDOM = 0.05  # of places of one half of other classes are as far from all of the other
# By as many times the nearest in other classes is farther than the nearest in its own, as in Lowe's (2004)
# test of matches: at all places of a thing, and at a quarter of them.
CLEARLY, STRONGLY = 2.0, 3.5
SPECK = 0.007  # of the picture: smaller parts are left out
LARGEST = 0.4  # of the picture: what is larger is no thing in it
GAPS = 0.08  # of the side: gaps within a thing that are closed

Floats = NDArray[np.float64]
Masks = NDArray[np.bool_]
Read = Callable[[Indices], Tensor]


@dataclass(frozen=True, eq=False)
class Novelty:
    """How places look in a class's own pictures and in those of other classes, each in two halves.

    first: rows of the own pictures' first half, which are compared with the second.
    seldom: a distance that few places of other classes' one half have to all of the other.
    known: masks of rows that were asked for.
    """

    read: Read
    own: tuple[cKDTree, cKDTree]
    others: tuple[cKDTree, cKDTree]
    first: frozenset[int]
    scale: Floats
    seldom: float
    known: dict[int, Masks] = field(default_factory=dict)

    @classmethod
    def of(cls, read: Read, own: Indices, others: Indices, seed: int) -> "Novelty":
        random = generator(seed, CLUSTERS, 4)
        own, others = random.permutation(own), random.permutation(others)
        mine, theirs = looks_of(read, own), looks_of(read, others)
        scale = theirs.reshape(-1, theirs.shape[-1]).std(0) + 1e-6
        own_halves, halves = (
            [_some(looks[k::2] / scale, random) for k in (0, 1)] for looks in (mine, theirs)
        )
        trees = cKDTree(halves[0]), cKDTree(halves[1])
        apart = [
            _nearest(tree, half[: COMPARED // 4]) for tree, half in zip(trees, halves[::-1], strict=True)
        ]
        return cls(
            read,
            (cKDTree(own_halves[0]), cKDTree(own_halves[1])),
            trees,
            frozenset(own[::2].tolist()),
            scale,
            seldom=float(np.quantile(np.concatenate(apart), 1 - SELDOM)),
        )

    def masks(self, rows: Indices) -> Masks:
        """(k, h, w), on the grid of looks: of what is novel; none where that is all over the picture."""
        new = np.array([row for row in rows.tolist() if row not in self.known], dtype=np.int64)
        if len(new):
            self.known.update(zip(new.tolist(), self._masks(new), strict=True))
        return np.stack([self.known[row] for row in rows.tolist()])

    def _masks(self, rows: Indices) -> list[Masks]:
        looks = looks_of(self.read, rows) / self.scale
        away = np.minimum(*(_nearest(tree, looks) for tree in self.others))
        times, in_first = np.zeros_like(away), np.isin(rows, list(self.first))
        for half, other in ((in_first, self.own[1]), (~in_first, self.own[0])):
            far = (away > self.seldom) & half[:, None, None]
            times[far] = away[far] / np.maximum(_nearest(other, looks[far]), 1e-9)
        return [_thing(one) for one in times]


def looks_of(read: Read, rows: Indices) -> Floats:
    """(n, h, w, D) at places of a grid."""
    return np.concatenate(
        [looks(read(rows[start : start + AT_ONCE])) for start in range(0, len(rows), AT_ONCE)]
    )


def looks(inputs: Tensor) -> Floats:
    """(B, h, w, D): colour, brightness against what is around at two scales, how much the finest varies."""
    side = min(inputs.shape[2:])
    fine, middling, coarse = (
        gaussian_blur(inputs, max(0.5, share * side)) for share in (FINE, MIDDLING, COARSE)
    )
    edges, blobs = ((a - b).mean(1, keepdim=True) for a, b in ((fine, middling), (middling, coarse)))
    varies = gaussian_blur(edges**2, 0.02 * side).clamp(min=0).sqrt()
    step = max(1, round(side / GRID))
    found = torch.cat([fine, edges, blobs, varies], 1)[..., ::step, ::step]
    return np.asarray(found.permute(0, 2, 3, 1).double().numpy())


def enlarged(masks: Masks, size: tuple[int, int]) -> Tensor:
    """(k, h, w) to (k, H, W)"""
    return F.interpolate(torch.from_numpy(masks)[:, None].float(), size)[:, 0] > 0.5


def _thing(times: Floats) -> Masks:
    """Parts that are clearly novel, and strongly in good part, gaps closed; nothing where that is most of the
    picture. (h, w)"""
    clear = times > CLEARLY
    parts, count = ndimage.label(gaps_closed(clear), np.ones((3, 3)))
    kept = np.zeros_like(clear)
    for part in range(1, count + 1):
        places = (parts == part) & clear
        if places.sum() >= SPECK * times.size and np.quantile(times[places], 0.75) >= STRONGLY:
            kept |= parts == part
    return kept if kept.mean() <= LARGEST else np.zeros_like(kept)


def gaps_closed(mask: Masks) -> Masks:
    """(h, w)"""
    reach = max(1, round(GAPS * min(mask.shape) / 2))
    disc = ndimage.iterate_structure(ndimage.generate_binary_structure(2, 1), reach)
    closed = ndimage.binary_closing(np.pad(mask, reach, mode="edge"), disc)
    return np.asarray(closed[reach:-reach, reach:-reach])


def _nearest(tree: cKDTree, places: Floats) -> Floats:
    return np.asarray(tree.query(places, eps=NEARLY, workers=torch.get_num_threads())[0])


def _some(looks: Floats, random: np.random.Generator) -> Floats:
    """Places of looks (n, h, w, D), in changed order."""
    points = looks.reshape(-1, looks.shape[-1])
    return points[random.permutation(len(points))[:COMPARED]]
