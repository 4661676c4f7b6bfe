"""From the place that matters to the pixels of the thing that is there."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from underhood.inputs.baseline import Inpaint, gaussian_blur
from underhood.playbooks.shortcuts.asked import Asked
from underhood.playbooks.shortcuts.exchanges import widened

STEPS = 5  # of the path from the filled picture to the picture itself
AROUND = 0.04  # of the side: as the place may cut the thing
FAINT = 0.25  # of the strongest difference from the surroundings: what is less is not the thing
GAPS = 0.03  # of the side: gaps within the thing that are closed
MINOR = 0.15  # of the relevance of the most relevant part: parts with less are left out
KEPT = 0.5  # of the place's effect, that its thing's pixels must have for themselves


def filled(inputs: Tensor, masks: Tensor) -> Tensor:
    """Inputs (B, C, H, W) with what is under the masks (B, H, W) grown in from around it."""
    return Inpaint().hide(inputs, masks, inputs)


def outlined(asked: Asked, inputs: Tensor, places: Tensor) -> Tensor:
    """Masks (B, H, W): of what differs from its surroundings at the places, and speaks for the class."""
    side = min(inputs.shape[2:])
    holes = widened(places, round(AROUND * side))
    without = filled(inputs, holes)
    change = (inputs - without).abs().mean(1)
    relevance = gaussian_blur(_relevance(asked, inputs, without)[:, None], 0.015 * side)[:, 0]
    things = torch.stack(
        [
            torch.from_numpy(_thing(c, r, h, max(1, round(GAPS * side / 2))))
            for c, r, h in zip(change.numpy(), relevance.numpy(), holes.numpy(), strict=True)
        ]
    )
    # The thing where filling it alone does most of what filling its place does, else the place.
    scores = asked.scores(inputs, without, filled(inputs, widened(things, 1)))
    whole, gone, own = map(asked.lead, scores)
    enough = (whole - own) >= KEPT * (whole - gone)
    return torch.where(enough[:, None, None], things, places)


def _relevance(asked: Asked, inputs: Tensor, without: Tensor) -> Tensor:
    """(B, H, W): the change of the class's lead along the straight way, shared out over the pixels."""
    change = inputs - without
    ways = [asked.gradients(without + (step + 0.5) / STEPS * change) for step in range(STEPS)]
    return (change * torch.stack(ways).mean(0)).sum(1)


def _thing(
    change: NDArray[np.float32], relevance: NDArray[np.float32], hole: NDArray[np.bool_], reach: int
) -> NDArray[np.bool_]:
    """Parts of what changed, gaps closed, that carry a good share of the relevance; (H, W)."""
    if not hole.any():
        return hole
    strong = (change > FAINT * np.quantile(change[hole], 0.98)) & hole
    disc = ndimage.iterate_structure(ndimage.generate_binary_structure(2, 1), reach)
    closed = ndimage.binary_closing(np.pad(strong, reach, mode="edge"), disc)[reach:-reach, reach:-reach]
    parts, count = ndimage.label(closed & hole | strong, np.ones((3, 3)))
    if not count:
        return hole
    gain = ndimage.sum_labels(np.maximum(relevance, 0), parts, np.arange(1, count + 1))
    kept: NDArray[np.bool_] = np.isin(parts, 1 + np.flatnonzero(gain >= MINOR * gain.max()))
    return kept
