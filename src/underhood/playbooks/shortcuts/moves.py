"""Other places, of the same size and shape: where controls are taken from."""

import torch
from torch import Tensor

OVERLAP = 0.3  # of a mask, with its copy, at most: else that is no other place


def elsewhere(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Each mask (B, H, W) at another place, and (B,) whether there is one.

    Of its mirror images and the copies beside it, the one that hardly overlaps it and lies as far from the
    middle as it does.
    """
    mirrored = [masks.flip(dims) for dims in ([2], [1], [1, 2])]
    copies = torch.stack([*mirrored, *_beside(masks)])  # (K, B, H, W)
    size = masks.sum((1, 2)).clamp(min=1)
    overlap = (copies & masks).sum((2, 3)) / size
    lost = 1 - copies.sum((2, 3)) / size  # outside the picture
    away = _away(masks.shape[1:])
    farther = ((copies * away).sum((2, 3)) - (masks * away).sum((1, 2))).abs() / size
    usable = (overlap <= OVERLAP) & (lost <= 0.1) & ~_all_along(masks)
    which = torch.where(usable, farther + overlap, torch.inf).argmin(0)
    each = torch.arange(len(masks))
    return copies[which, each], usable[which, each]


def _all_along(masks: Tensor) -> Tensor:
    """(B,): whether a mask is at all sides of the picture: what is beside it is more of the thing."""
    sides = [masks[:, 0].any(1), masks[:, -1].any(1), masks[:, :, 0].any(1), masks[:, :, -1].any(1)]
    return torch.stack(sides).all(0)


def box(mask: Tensor) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of a mask (H, W), bottom and right exclusive; all 0 where it is empty."""
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    if not len(rows):
        return 0, 0, 0, 0
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _beside(masks: Tensor) -> list[Tensor]:
    """Copies moved by their own height or width, eight ways; what leaves the picture is lost."""
    height, width = masks.shape[1:]
    found = []
    for down, right in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
        copies = torch.zeros_like(masks)
        for copy, mask in zip(copies, masks, strict=True):
            top, bottom, left, right_end = box(mask)
            dy, dx = down * (bottom - top), right * (right_end - left)
            rows, columns = mask.nonzero(as_tuple=True)
            rows, columns = rows + dy, columns + dx
            inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
            copy[rows[inside], columns[inside]] = True
        found.append(copies)
    return found


def _away(size: torch.Size) -> Tensor:
    """(H, W): distance from the middle, 1 at the sides' middles."""
    y, x = (torch.linspace(-1, 1, side) for side in size)
    return torch.hypot(y[:, None], x[None])
