"""An original's activations, and boxes in them that hold something else."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


class Activation:
    """What an operation makes of the original, its places as rows of channels; one more row is padding.

    Forgotten where only the operations that made it asked for it, and made again where one does later.
    """

    def __init__(self, make: Callable[[], Tensor]):  # gives (1, C, H, W)
        self._make, self._asked = make, False
        self._rows: Tensor | None = None
        made = make()
        self.shape = made.shape[1:]
        self.channels, self.height, self.width = self.shape
        self._fill(made)

    @property
    def rows(self) -> Tensor:
        """(H·W + 1, C)."""
        return self._fill(self._make()) if self._rows is None else self._rows

    def _fill(self, made: Tensor) -> Tensor:
        self._rows = made.new_empty(self.height * self.width + 1, self.channels)
        _picture(self._rows[:-1], self.height, self.width).copy_(made)
        return self._rows

    @property
    def picture(self) -> Tensor:
        """(1, C, H, W)."""
        return _picture(self.rows[:-1], self.height, self.width)

    def crops(self, top: Tensor, left: Tensor, height: int, width: int, padding: float) -> Tensor:
        """Boxes with these corners (m,), which may lie across the edges: (m, C, height, width)."""
        self._asked = True
        self.rows[-1] = padding
        y, x = top[:, None] + torch.arange(height), left[:, None] + torch.arange(width)
        inside = (_within(y, self.height)[:, :, None]) & (_within(x, self.width)[:, None, :])
        place = torch.where(inside, (y * self.width)[:, :, None] + x[:, None, :], self.height * self.width)
        return _picture(self.rows.index_select(0, place.flatten().to(self.rows.device)), height, width)

    def forget(self) -> None:
        if not self._asked:
            self._rows = None

    @property
    def memory(self) -> int:
        """Bytes, of what is not forgotten."""
        return 0 if self._rows is None else self._rows.numel() * self._rows.element_size()


@dataclass(frozen=True)
class Patch:
    """m boxes in one activation, and what they hold instead of it."""

    original: Activation
    top: Tensor  # (m,)
    left: Tensor  # (m,)
    crop: Tensor  # (m, C, h, w)

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self.crop), *self.original.shape))

    def whole(self) -> Tensor:
        """The pictures, (m, C, H, W)."""
        start = torch.zeros_like(self.top)
        return self.seen_from(start, start, self.original.height, self.original.width)

    def seen_from(self, top: Tensor, left: Tensor, height: int, width: int, padding: float = 0.0) -> Tensor:
        """What other boxes hold, (m, C, height, width), with padding beyond the picture's edges."""
        count, _, h, w = self.crop.shape
        if (h, w) == (height, width) and torch.equal(self.top, top) and torch.equal(self.left, left):
            return self.crop
        found = self.original.crops(top, left, height, width, padding)
        y = (self.top - top)[:, None] + torch.arange(h)  # of the crop, counted from the new box
        x = (self.left - left)[:, None] + torch.arange(w)
        place = (torch.arange(count)[:, None] * height + y)[:, :, None] * width + x[:, None, :]
        inside = _within(y, height)[:, :, None] & _within(x, width)[:, None, :]
        rows, device = _rows(self.crop), self.crop.device
        if not inside.all():
            rows, place = rows[inside.flatten().to(device)], place[inside]
        _rows(found).index_copy_(0, place.flatten().to(device), rows)
        return found


def around(spans: Sequence[tuple[Tensor, int]], limit: int) -> tuple[Tensor, int]:
    """Starts and the common length of spans that hold all of these spans (start (m,), length)."""
    if len(spans) == 1:
        return spans[0]
    low = torch.stack([start for start, _ in spans]).amin(0)
    high = torch.stack([start + length for start, length in spans]).amax(0)
    return common(low, high, limit)


def common(low: Tensor, high: Tensor, limit: int) -> tuple[Tensor, int]:
    """Starts and the common length of spans in 0…limit - 1 that hold low…high - 1, (m,) each."""
    low, high = low.clamp(0, limit - 1), high.clamp(1, limit)
    length = max(1, int((high - low).max()))
    return low.clamp(max=limit - length), length


def _within(place: Tensor, length: int) -> Tensor:
    return (place >= 0) & (place < length)


def _rows(pictures: Tensor) -> Tensor:
    """(m, C, h, w) as (m·h·w, C); a view of pictures that are channels-last."""
    return pictures.permute(0, 2, 3, 1).reshape(-1, pictures.shape[1])


def _picture(rows: Tensor, height: int, width: int) -> Tensor:
    """(m·h·w, C) as (m, C, h, w), channels-last."""
    return rows.view(-1, height, width, rows.shape[1]).permute(0, 3, 1, 2)
