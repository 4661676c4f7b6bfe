"""Things in plain words, from their shape and place."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
SIDES = ("top", "bottom", "left", "right")
NEAR = 0.06  # of the side: touching the border
LONG, THIN, SMALL = 0.6, 0.34, 0.34


def shape_of(mask: Mask) -> tuple[str, str]:
    """(what, where) of one mask (H, W)."""
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return "a thing", "somewhere"
    top, bottom = rows[0] / height, (rows[-1] + 1) / height
    left, right = columns[0] / width, (columns[-1] + 1) / width
    touches = {
        "top": top <= NEAR,
        "bottom": bottom >= 1 - NEAR,
        "left": left <= NEAR,
        "right": right >= 1 - NEAR,
    }
    tall, wide = bottom - top, right - left
    hollow = mask.mean() < 0.6 * tall * wide
    if sum(touches.values()) >= 3 and tall > 0.8 and wide > 0.8 and hollow:
        return "a frame", "along the border"
    if max(tall, wide) >= LONG and min(tall, wide) <= THIN:
        side = _side(touches, tall, wide)
        return (
            ("a straight band", f"along the {side} border") if side else ("a long bar", "across the picture")
        )
    x, y = (left + right) / 2, (top + bottom) / 2
    small = max(tall, wide) <= SMALL
    return ("a small spot" if small else "a thing"), _where(x, y)


def described(masks: Sequence[Mask]) -> tuple[str, str]:
    """(what, where) of most of the masks; the border in general where they are at several of its sides."""
    found = [shape_of(mask) for mask in masks]
    what = Counter(what for what, _ in found).most_common(1)[0][0]
    where = Counter(where for w, where in found if w == what)
    place, times = where.most_common(1)[0]
    if times >= 0.6 * where.total():
        return what, place
    if what == "a straight band":
        return what, "along the border"
    return what, "away from the middle, in changing places"


def _side(touches: dict[str, bool], tall: float, wide: float) -> str | None:
    along = ("top", "bottom") if wide > tall else ("left", "right")
    return next((side for side in along if touches[side]), None)


def _where(x: float, y: float) -> str:
    row = "upper" if y < 1 / 3 else "lower" if y > 2 / 3 else ""
    column = "left" if x < 1 / 3 else "right" if x > 2 / 3 else ""
    if row and column:
        return f"in the {row} {column} corner"
    if row:
        return f"near the {'top' if row == 'upper' else 'bottom'} edge"
    return f"near the {column} edge" if column else "in the middle"


def cast(difference: Sequence[float]) -> str:
    """A colour cast's name from the difference of mean (red, green, blue)."""
    if len(difference) != 3:
        return "lighter" if sum(difference) > 0 else "darker"
    middle = float(np.mean(difference))
    red, green, blue = (float(d) - middle for d in difference)
    if max(abs(red), abs(green), abs(blue)) < 0.35 * abs(middle):
        return "lighter" if middle > 0 else "darker"
    names = {
        "yellowish": (1, 1, -2), "bluish": (-1, -1, 2), "reddish": (2, -1, -1), "greenish": (-1, 2, -1),
        "violet": (1, -2, 1), "cyan": (-2, 1, 1),
    }  # fmt: skip
    return max(names, key=lambda n: float(np.dot(names[n], (red, green, blue)) / np.linalg.norm(names[n])))


def percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.095 or share <= 0 else f"{100 * share:.1f} %"
