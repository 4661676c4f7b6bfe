"""How like one set of maps others are: Spearman, SSIM and HOG, of the maps as they are and of |map|.

Each pair is compared on its own, and each map divided by nothing but itself. A map that is flat or holds
NaN is like no other: its figure is undefined.
"""

from collections.abc import Sequence
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from underhood.checks.similarity import hog, pearson, ranks, ssim

Measure = Literal["spearman", "ssim", "hog"]
Sign = Literal["signed", "abs"]
MEASURES: tuple[Measure, ...] = ("spearman", "ssim", "hog")
SIGNS: tuple[Sign, ...] = ("signed", "abs")
Figures = dict[str, Tensor]  # by `named`, (B,) each, NaN where undefined


def named(measure: Measure, sign: Sign) -> str:
    return measure if sign == "signed" else f"{measure}_abs"


class Likeness:
    """To maps (B, *places); what comparing takes of them is found once.

    SSIM and HOG are for pictures: maps of rows have Spearman alone.
    """

    def __init__(self, maps: Tensor, measures: Sequence[Measure] = MEASURES):
        self.maps, self._usable = _finite(maps)
        self.measures = [m for m in measures if m == "spearman" or (maps.ndim == 3 and min(maps.shape) > 2)]
        self._own = cache(self._features)

    def to(self, others: Tensor) -> Figures:
        """Of maps (B, *places), to these, pair by pair."""
        others, usable = _finite(others)
        usable &= self._usable
        unsigned = bool((self.maps >= 0).all() and (others >= 0).all())
        found: Figures = {}
        for measure in self.measures:
            for sign in SIGNS:
                known = found.get(named(measure, "signed")) if unsigned else None
                value = self._to(others, measure, sign) if known is None else known
                found[named(measure, sign)] = value.where(usable, torch.nan)
        return found

    def _to(self, others: Tensor, measure: Measure, sign: Sign) -> Tensor:
        if measure == "ssim":
            value = ssim(_as(self.maps, sign), _as(others, sign)).double()
        else:
            value = pearson(self._own(measure, sign), _features(others, measure, sign))
        same = (_as(self.maps, sign) == _as(others, sign)).flatten(1).all(1)
        return torch.where(same & ~value.isnan(), 1.0, value)

    def _features(self, measure: Measure, sign: Sign) -> Tensor:
        return _features(self.maps, measure, sign)


def _features(maps: Tensor, measure: Measure, sign: Sign) -> Tensor:
    """(B, n), whose correlation is the figure."""
    if measure == "spearman":
        return ranks(_as(maps, sign).flatten(1))
    cell = min(16, max(1, min(maps.shape[1:]) // 8))
    return hog(_as(maps, sign) / maps.abs().amax((1, 2), keepdim=True).clamp(min=1e-30), cell)


def _as(maps: Tensor, sign: Sign) -> Tensor:
    return maps.abs() if sign == "abs" else maps


def _finite(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Maps (B, …), 0 in place of those that hold NaN or infinity; and which do not, (B,)."""
    finite = maps.flatten(1).isfinite().all(1)
    return maps.where(finite.reshape(-1, *[1] * (maps.ndim - 1)), 0), finite
