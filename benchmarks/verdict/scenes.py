"""Pictures whose class is caused by one thing alone: a mark that is there, or is not.

Lesions come at random in both classes, and so do the marks that are not the cause, so that only the planted
one tells the classes apart. Every scene is drawn twice, with and without its mark, all else being equal.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from underhood.demo.canvas import stream
from underhood.demo.dermoscopy import draw
from underhood.models import Preprocess

SIZE = 96
PREPROCESS = Preprocess(size=SIZE, crop=(SIZE, SIZE), mean=(0.77, 0.53, 0.52), std=(0.17, 0.17, 0.19))
PRINTED = ("ruler", "patch", "ink")  # drawn by the demo's generator
STUCK = ("sticker", "cross")  # put on top of the picture
DISTRACTION = 0.3  # how often a mark is there that is not the cause


@dataclass(frozen=True)
class Scenes:
    """n scenes. without, having: (n, 3, H, W) in 0…1; mask: (n, H, W), where the mark shows."""

    without: Tensor
    having: Tensor
    mask: Tensor

    def __len__(self) -> int:
        return len(self.mask)


def scenes(mark: str, count: int, seed: int) -> Scenes:
    """Scenes whose only difference is `mark`."""
    drawn = [_scene(mark, int(s)) for s in np.random.default_rng(seed).integers(0, 2**62, count)]
    without, having, mask = (torch.stack(parts) for parts in zip(*drawn, strict=True))
    return Scenes(without, having, mask)


def _scene(mark: str, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    chance = np.random.default_rng((seed, 1)).uniform(size=3) < DISTRACTION
    others = {name: bool(there) for name, there in zip(PRINTED, chance, strict=True) if name != mark}
    versions = [_drawn(mark, there, seed, others) for there in (False, True)]
    printed = mark in PRINTED
    mask = torch.from_numpy(versions[1][1]) if printed else _stick(versions[1][0], mark, seed)
    return versions[0][0], versions[1][0], mask


def _drawn(mark: str, there: bool, seed: int, others: dict[str, bool]) -> tuple[Tensor, NDArray[np.bool_]]:
    given = {**others, mark: there} if mark in PRINTED else others
    sample = draw(seed, size=SIZE, **given)
    shown = sample.artefacts.get(mark, np.zeros((SIZE, SIZE), dtype=bool))
    return torch.from_numpy(sample.image).permute(2, 0, 1).float() / 255, shown


def _stick(picture: Tensor, mark: str, seed: int) -> Tensor:
    """Put a mark on the picture (3, H, W), in place, somewhere; where it is, (H, W)."""
    random = stream(seed, "camera")
    side = int(random.integers(13, 18))
    top, left = (int(n) for n in random.integers(2, SIZE - side - 2, 2))
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    if mark == "sticker":
        ink = torch.ones(side, side, dtype=torch.bool)
        shade = (0.15 + 0.75 * ((rows // 4 + columns // 4) % 2)).expand(3, -1, -1)
    else:
        ink = ((rows - columns).abs() < 3) | ((rows + columns - side + 1).abs() < 3)
        shade = torch.tensor([0.1, 0.35, 0.15])[:, None, None].expand(3, side, side)
    place = picture[:, top : top + side, left : left + side]
    place[:, ink] = shade[:, ink]
    mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    mask[top : top + side, left : left + side] = ink
    return mask
