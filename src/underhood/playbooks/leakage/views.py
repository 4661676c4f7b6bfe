"""Parts of a picture that should not be enough to tell its class, shown alone."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from underhood.models import Preprocess

COARSE = 8  # cells along a side, of what low frequencies are kept
CENTRE = 0.7  # of each side, where no mask tells where the subject is
AROUND = 0.05  # of a side: how far what is hidden reaches beyond the mask's box
GREYS = (0.35, 0.65)  # of subject and surroundings in a silhouette

Show = Callable[[Tensor, Tensor | None], Tensor]  # inputs (k, C, H, W), masks (k, H, W) or None


@dataclass(frozen=True)
class View:
    """shown: what is left, in words; is_beside: whether the subject itself is hidden in it."""

    key: str
    shown: str
    is_beside: bool
    show: Show


@dataclass(frozen=True, eq=False)
class Colours:
    """Of what is hidden (the data's mean), and of silhouettes: (C, 1, 1) in the network's input units.

    The same for all pictures: filled from its surroundings, a hidden part would show what lies there.
    """

    hidden: Tensor
    subject: Tensor
    rest: Tensor

    @classmethod
    def of(cls, preprocess: Preprocess | None, inputs: Tensor) -> "Colours":
        """From some inputs; the greys by their spread, where they are no pixels."""
        spread, mean = (part[:, None, None] for part in torch.std_mean(inputs, (0, 2, 3)))
        if preprocess is None:
            return cls(mean, mean - spread / 2, mean + spread / 2)
        greys = (preprocess.normalise(torch.full((preprocess.channels, 1, 1), grey)) for grey in GREYS)
        return cls(mean, *greys)


def views(border: float, colours: Colours, masked: bool) -> tuple[View, ...]:
    """border: its width, as a share of the shorter side. masked: whether masks of the subject are given."""
    around = "outside the box of its mask" if masked else f"outside the middle {100 * CENTRE:.0f} %"
    outline = "of its mask" if masked else "of its darker part"

    def frame(x: Tensor, _: Tensor | None) -> Tensor:
        return torch.where(inner(x, border), colours.hidden, x)

    def background(x: Tensor, masks: Tensor | None) -> Tensor:
        return torch.where(middle(x) if masks is None else boxes(masks), colours.hidden, x)

    def outlined(x: Tensor, masks: Tensor | None) -> Tensor:
        subject = darker_part(x) if masks is None else masks
        return torch.where(subject[:, None], colours.subject, colours.rest)

    return (
        View("border", f"its border, {100 * border:.0f} % wide", True, frame),
        View("background", f"what lies {around}", True, background),
        View("low frequencies", f"its colours in {COARSE} × {COARSE} cells", False, lambda x, _: coarse(x)),
        View("silhouette", f"a grey silhouette {outline}", False, outlined),
    )


def inner(inputs: Tensor, width: float) -> Tensor:
    """(H, W) bool: all but a frame of so much of the shorter side."""
    height, breadth = inputs.shape[-2:]
    frame = max(1, round(width * min(height, breadth)))
    hidden = torch.zeros(height, breadth, dtype=torch.bool)
    hidden[frame : height - frame, frame : breadth - frame] = True
    return hidden


def middle(inputs: Tensor) -> Tensor:
    """(H, W) bool."""
    hidden = torch.zeros(inputs.shape[-2:], dtype=torch.bool)
    rows, columns = (_middle(size) for size in hidden.shape)
    hidden[rows, columns] = True
    return hidden


def boxes(masks: Tensor) -> Tensor:
    """(k, 1, H, W) bool: the box around each mask, since its outline would tell the subject's shape, and that
    around the mask before it, so that its place and size tell little too."""
    own = torch.stack([_boxed(mask) for mask in masks])
    return (own | own.roll(1, 0))[:, None]


def coarse(inputs: Tensor, cells: int = COARSE) -> Tensor:
    size = inputs.shape[-2:]
    small = F.interpolate(inputs, (min(cells, size[0]), min(cells, size[1])), mode="area")
    return F.interpolate(small, size, mode="bilinear", align_corners=False)


def darker_part(inputs: Tensor, levels: int = 64) -> Tensor:
    """(k, H, W) bool: what lies below the threshold that parts a picture's greys best (Otsu 1979)."""
    grey = inputs.mean(1)
    low, high = (edge(grey.flatten(1), 1).values[:, None, None] for edge in (torch.min, torch.max))
    level = ((grey - low) / (high - low).clamp(min=1e-12) * (levels - 1)).round().long()
    count = level.add(levels * torch.arange(len(level))[:, None, None]).flatten()
    share = count.bincount(minlength=len(level) * levels).view(-1, levels).double() / grey[0].numel()
    below, moment = share.cumsum(1), (share * torch.arange(levels)).cumsum(1)
    between = (moment[:, -1:] * below - moment) ** 2 / (below * (1 - below)).clamp(min=1e-12)
    return level <= between.argmax(1)[:, None, None]


def cells_of(shown: Tensor, cells: int = COARSE) -> Tensor:
    """(k, f): for a simple classifier, each cell's mean of every channel and the spread of its greys."""
    size = (min(cells, shown.shape[-2]), min(cells, shown.shape[-1]))
    grey = shown.mean(1, keepdim=True)
    means, squares = (F.adaptive_avg_pool2d(x, size) for x in (grey, grey**2))
    spread = (squares - means**2).clamp(min=0).sqrt()
    return torch.cat([F.adaptive_avg_pool2d(shown, size), spread], 1).flatten(1)


def _middle(size: int) -> slice:
    start = round(size * (1 - CENTRE) / 2)
    return slice(start, max(start + 1, size - start))


def _boxed(mask: Tensor) -> Tensor:
    """The box around a mask (H, W), a little grown."""
    box = torch.zeros_like(mask)
    if mask.any():
        (top, bottom), (left, right) = (_reach(mask.any(axis)) for axis in (1, 0))
        box[top:bottom, left:right] = True
    return box


def _reach(there: Tensor) -> tuple[int, int]:
    at = there.nonzero()[:, 0]
    room = round(AROUND * len(there))
    return max(0, int(at[0]) - room), min(len(there), int(at[-1]) + 1 + room)
