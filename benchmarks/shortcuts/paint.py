"""What marks are made with: a picture's grid, paint, and the mask of what was painted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Picture = NDArray[np.uint8]  # (H, W, 3)
Mask = NDArray[np.bool_]  # (H, W)
Field = NDArray[np.floating[Any]]  # (H, W)
FAINTEST = 0.1  # paint thinner than this is left out, so that a mask has only pixels that show


@dataclass(frozen=True, eq=False)
class Planted:
    """A picture with a mark; mask: where the mark is, all true where it is on the whole picture."""

    picture: Picture
    mask: Mask


Draw = Callable[[Picture, np.random.Generator], Planted]


@dataclass(frozen=True)
class Paper:
    """Pixel centres in pixels, from the upper left; side: the shorter one, which marks are measured by."""

    x: Field  # (H, W)
    y: Field
    side: int

    @classmethod
    def of(cls, picture: Picture) -> "Paper":
        height, width = picture.shape[:2]
        y, x = np.mgrid[:height, :width] + 0.5
        return cls(x, y, min(height, width))

    @property
    def shape(self) -> tuple[int, int]:
        height, width = self.x.shape
        return height, width

    def from_corner(self, below: bool, right: bool) -> tuple[Field, Field]:
        """x and y counted from a corner inwards."""
        height, width = self.shape
        return (width - self.x if right else self.x), (height - self.y if below else self.y)

    def turned(self, middle: tuple[float, float], angle: float) -> tuple[Field, Field]:
        """Along and across a line through `middle` (x, y)."""
        x, y = self.x - middle[0], self.y - middle[1]
        return np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x


def inside(distance: Field) -> Field:
    """How much of each pixel is inside a shape, from the distance to its edge in pixels, positive inside."""
    return np.clip(distance + 0.5, 0, 1)


def painted(picture: Picture, colours: Any, opacity: Field, gaps: int = 0) -> Planted:
    """Paint over a picture: colours 0 to 255, (3,) or (H, W, 3); opacity 0 to 1.

    gaps: pixels; the mask of dots and letters is filled up to gaps so wide, as one would outline it by hand.
    """
    opacity = np.where(opacity < FAINTEST, 0, opacity)
    changed = picture + opacity[..., None] * (np.asarray(colours, dtype=float) - picture)
    return Planted(np.rint(changed).clip(0, 255).astype(np.uint8), filled(opacity > 0, gaps))


def filled(mask: Mask, gaps: int) -> Mask:
    """Without the gaps inside it that are at most so many pixels wide."""
    if not gaps:
        return mask
    reach = gaps // 2 + 1
    closed = ndimage.binary_closing(np.pad(mask, reach), np.ones((gaps + 1, gaps + 1), bool))
    found: Mask = closed[reach:-reach, reach:-reach] | mask
    return found


def everywhere(changed: Field) -> Planted:
    """A picture (H, W, 3) that is changed as a whole."""
    picture = np.rint(changed).clip(0, 255).astype(np.uint8)
    return Planted(picture, np.ones(picture.shape[:2], dtype=bool))
