"""Where in the picture a map has its relevance: in which ninth, at the border, on the subject; in words."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from underhood.methods.cam import upsample
from underhood.playbooks.figures import percent
from underhood.playbooks.survey import Floats, Indices

NINTHS = (
    "at the top left", "at the top", "at the top right",
    "at the left", "in the centre", "at the right",
    "at the bottom left", "at the bottom", "at the bottom right",
)  # fmt: skip
SIDE = 48  # maps are brought to this size; divisible by three and by eight
RIM = SIDE // 8  # width of the border, which then covers 44 % of the picture
BORDER = 1 - (1 - 2 * RIM / SIDE) ** 2
MOST = 0.3  # of the relevance in one ninth: nearly three times what falls there by chance
OUTSIDE = 0.6  # of the relevance along the border


@dataclass(frozen=True)
class Places:
    """Shares of k maps' relevance; NaN where a map has none.

    ninths: (k, 9), row by row from the top left; border: (k,).
    """

    ninths: Floats
    border: Floats

    def words(self) -> str:
        """Where the maps look on the whole: half a sentence after "the model looked"."""
        seen = np.isfinite(self.border)
        if not seen.any():
            return "nowhere: the maps are zero"
        ninths, border = self.ninths[seen].mean(0), float(self.border[seen].mean())
        top = int(ninths.argmax())
        if ninths[top] >= MOST:
            return f"mostly {NINTHS[top]} ({percent(ninths[top])} of the relevance lies in that ninth)"
        if border >= OUTSIDE:
            return f"mostly along the border ({percent(border)} of the relevance)"
        return "at no one place of the picture"

    def of(self, rows: Indices) -> "Places":
        return Places(self.ninths[rows], self.border[rows])


def places(maps: Tensor) -> Places:
    """Of maps (k, h, w), not negative."""
    fine = upsample(maps, (SIDE, SIDE)).double()
    share = fine / fine.sum((1, 2), keepdim=True)  # 0 / 0 is NaN
    third = SIDE // 3
    ninths = share.reshape(-1, 3, third, 3, third).sum((2, 4)).flatten(1)
    inner = share[:, RIM:-RIM, RIM:-RIM].sum((1, 2))
    return Places(ninths.float().numpy(), (1 - inner).float().numpy())


def inside(maps: Tensor, masks: Tensor) -> Floats:
    """Share (k,) of the relevance of maps (k, h, w) under masks (k, H, W); NaN where a map has none."""
    fine = upsample(maps, tuple(masks.shape[-2:])).double()
    shares: Floats = ((fine * masks).sum((1, 2)) / fine.sum((1, 2))).float().numpy()
    return shares


def brightest(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """(k, H, W) bool: where maps (k, h, w) reach half of their highest value above 0."""
    fine = upsample(maps, size)
    peak = fine.flatten(1).amax(1)[:, None, None]
    return (fine >= peak / 2) & (peak > 0)


def torch_of(values: object) -> Tensor:
    """A survey's maps (k, h, w), as read, as a tensor."""
    return torch.from_numpy(np.asarray(values, dtype=np.float32))
