"""Masks of the true cause: one for each input of a batch, and what lies under them."""

import torch.nn.functional as F
from torch import Tensor

from underhood.checks.batch import Batch
from underhood.errors import InvalidArgument
from underhood.inputs.grouping import places


def inside(weights: Tensor, masks: Tensor) -> Tensor:
    """What of the weights (B, *places) lies under the masks, (B,)."""
    return (weights * masks).flatten(1).sum(1)


def intersection_over_union(regions: Tensor, masks: Tensor) -> Tensor:
    both = inside(regions, masks)
    return both / (regions.flatten(1).sum(1) + masks.flatten(1).sum(1) - both)


def masks_of(batch: Batch, mask: Tensor) -> Tensor:
    """The masks (B, *places), bool, of a batch's inputs."""
    shape = places(batch.run.inputs)
    if tuple(mask.shape) == shape:
        return (mask != 0).expand(len(batch), *shape)
    last = batch.first + len(batch)
    if tuple(mask.shape[1:]) != shape or len(mask) < last:
        raise InvalidArgument(
            f"The mask has shape {tuple(mask.shape)}; for these inputs it must be {shape}, or one for each "
            f"of the {last} or more inputs, (n, {', '.join(map(str, shape))})."
        )
    return mask[batch.first : last] != 0


def check_mask(mask: Tensor) -> None:
    """Refuse, before anything runs, what is no mask."""
    if not isinstance(mask, Tensor):
        raise InvalidArgument(f"A mask is a tensor, 0 where the cause is not, not {mask!r:.60}.")
    if mask.isnan().any():
        raise InvalidArgument("The mask holds NaN; give it 0 where the cause is not, and 1 where it is.")


def widened(masks: Tensor, radius: float) -> Tensor:
    """Masks (B, *places) and all places within `radius` of them."""
    flat = masks.reshape(len(masks), -1, masks.shape[-1]).float()  # (B, H, W); a row is one high
    height, found = flat.shape[1], masks.reshape(flat.shape).clone()
    for down in range(-min(int(radius), height - 1), min(int(radius), height - 1) + 1):
        across = int((radius**2 - down**2) ** 0.5)
        wide = F.max_pool1d(flat, 2 * across + 1, 1, across) > 0
        target, source = (slice(down, None), slice(0, height - down)) if down >= 0 else (
            slice(0, down), slice(-down, None)
        )  # fmt: skip
        found[:, target] |= wide[:, source]
    return found.reshape(masks.shape)
