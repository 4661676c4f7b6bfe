"""From the place that matters to the pixels of the thing that is there."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from underhood.inputs.baseline import Inpaint, gaussian_blur
from underhood.playbooks.shortcuts.asked import Asked
from underhood.playbooks.shortcuts.exchanges import widened

STEPS = 3  # of the path from the filled picture to the picture itself
AROUND = 0.04  # of the side: as the place may cut the thing
FAINT = 0.3  # of the strongest difference from the surroundings: what is less is not the thing
GAPS = 0.03  # of the side: gaps within the thing that are closed
DENSE = (
    0.15  # of the highest relevance: pixels with less are left out, where that leaves a much smaller thing
)
WIDER_GAPS = 0.05  # of the side, closed in that
NEAR = 0.06  # of the side: what else of the thing is so near to its dense part belongs to it
SMALLER, NEARLY_ALL = 0.5, 0.85  # of the larger thing's area, of its effect
GROWTH = 0.1  # of the side
CUT = 0.1  # of a thing
MINOR = 0.15  # of the relevance of the most relevant part: parts with less are left out
KEPT = 0.5  # of the place's effect, that its thing's pixels must have for themselves

Map = NDArray[np.float32]


def filled(inputs: Tensor, masks: Tensor) -> Tensor:
    """Inputs (B, C, H, W) with what is under the masks (B, H, W) grown in from around it."""
    return Inpaint().hide(inputs, masks, inputs)


def outlined(asked: Asked, inputs: Tensor, places: Tensor) -> Tensor:
    """Masks (B, H, W): of what differs from its surroundings at the places, and speaks for the class.

    Where a thing goes on at the end of its place, it is outlined again in a larger one.
    """
    found = _outlined(asked, inputs, places)
    reach = round(GROWTH * min(inputs.shape[2:]))
    cut = _cut(found, places)
    if cut.any():
        larger = places[cut] | widened(found[cut], reach)
        found[cut] = _outlined(asked, inputs[cut], larger)
    return found


def _cut(things: Tensor, places: Tensor) -> Tensor:
    """(B,): whether more than a few of a thing's pixels are at its place's end, or beyond."""
    inner = ~widened(~places, 1)
    outer = (things & ~inner).sum((1, 2))
    return outer > CUT * things.sum((1, 2)).clamp(min=1)


def _outlined(asked: Asked, inputs: Tensor, places: Tensor) -> Tensor:
    side = min(inputs.shape[2:])
    holes = widened(places, round(AROUND * side))
    without = filled(inputs, holes)
    change = (inputs - without).norm(dim=1).numpy()
    relevance = gaussian_blur(_relevance(asked, inputs, without)[:, None], 0.02 * side)[:, 0].numpy()
    wide, narrow = (
        torch.stack([torch.from_numpy(_thing(*one, least, round(gaps * side))) for one in each])
        for least, gaps in ((None, GAPS), (DENSE, WIDER_GAPS))
        for each in [list(zip(change, relevance, holes.numpy(), strict=True))]
    )
    narrow = wide & widened(narrow, round(NEAR * side))
    scores = asked.scores(inputs, without, *(filled(inputs, widened(m, 1)) for m in (wide, narrow)))
    whole, gone, by_wide, by_narrow = map(asked.lead, scores)
    smaller = narrow.sum((1, 2)) <= SMALLER * wide.sum((1, 2))
    nearly_all = whole - by_narrow >= NEARLY_ALL * (whole - by_wide)
    things = torch.where((smaller & nearly_all)[:, None, None], narrow, wide)
    enough = whole - torch.where(smaller & nearly_all, by_narrow, by_wide) >= KEPT * (whole - gone)
    return torch.where(enough[:, None, None], things, places)


def _relevance(asked: Asked, inputs: Tensor, without: Tensor) -> Tensor:
    """(B, H, W): the change of the class's lead along the straight way, shared out over the pixels."""
    change = inputs - without
    ways = [asked.gradients(without + (step + 0.5) / STEPS * change) for step in range(STEPS)]
    return (change * torch.stack(ways).mean(0)).sum(1)


def _thing(
    change: Map, relevance: Map, hole: NDArray[np.bool_], least: float | None, gaps: int
) -> NDArray[np.bool_]:
    """Parts of what changed, gaps closed, that carry a good share of the relevance; (H, W).

    least: of the highest relevance, that each pixel must have; None asks for none.
    """
    if not hole.any():
        return hole
    strong = (change > FAINT * np.quantile(change[hole], 0.98)) & hole
    if least is not None:
        strong &= relevance > least * relevance[hole].max()
    reach = max(1, gaps // 2)
    disc = ndimage.iterate_structure(ndimage.generate_binary_structure(2, 1), reach)
    closed = ndimage.binary_closing(np.pad(strong, reach, mode="edge"), disc)[reach:-reach, reach:-reach]
    parts, count = ndimage.label(closed & hole | strong, np.ones((3, 3)))
    if not count:
        return hole
    gain = ndimage.sum_labels(np.maximum(relevance, 0), parts, np.arange(1, count + 1))
    kept: NDArray[np.bool_] = np.isin(parts, 1 + np.flatnonzero(gain >= MINOR * gain.max()))
    return kept
