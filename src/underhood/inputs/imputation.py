"""Noisy linear imputation without the noise (Rong et al. 2022, "A consistent and efficient evaluation
strategy for attribution methods", section 4): each hidden pixel is the weighted mean of its neighbours,

    x_p = Σ_n w_n x_n / Σ_n w_n,     w = 1/6 beside, above and below, 1/12 diagonally, 0 outside the picture,

a linear system over the hidden pixels, symmetric and positive definite, which multigrid solves for all
pictures and channels at once.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from underhood.inputs.multigrid import CENTRE, System, solve, windows

# Of the error, relative to that of filling with zeros. It leaves some hundredths of a grey level of 256 at
# most, and commonly a thousandth: far below the noise of 0.01 that is put on top.
TOLERANCE = 1e-5
TOGETHER = 4  # pictures, so that many take no more memory than these


def impute(pictures: Tensor, hidden: Tensor) -> Tensor:
    """Pictures (m, C, H, W) with what is hidden, (m, 1 or C, H, W) bool, filled from its surroundings.

    A channel that is hidden whole is filled with its own mean.
    """
    if hidden.shape[1] > 1:  # a channel with holes of its own is a picture of its own
        return impute(pictures.flatten(0, 1)[:, None], hidden.flatten(0, 1)[:, None]).view_as(pictures)
    parts = zip(pictures.split(TOGETHER), hidden.split(TOGETHER), strict=True)
    return torch.cat([_imputed(some, under) for some, under in parts])


def _imputed(pictures: Tensor, hidden: Tensor) -> Tensor:
    mask = hidden.to(pictures.dtype)
    seen = 1 - mask
    whole = hidden.flatten(2).all(2)[..., None, None]
    # Around the mean of what is known, so that a picture of one colour is met without a step.
    mean = (pictures * seen).sum((2, 3), keepdim=True) / seen.sum((2, 3), keepdim=True).clamp(min=1)
    mean = torch.where(whole, pictures.mean((2, 3), keepdim=True), mean)
    around = _neighbours(pictures - mean, seen).mul_(mask)
    return torch.where(hidden, mean + solve(Pixels(_weights(mask), mask=mask), around, TOLERANCE), pictures)


def _neighbours(x: Tensor, mask: Tensor) -> Tensor:
    """The sum of each pixel's neighbours under a mask, those beside, above and below twice."""
    height, width = x.shape[-2:]
    framed = x.new_zeros(*x.shape[:-2], height + 2, width + 2)
    torch.mul(x, mask, out=framed[..., 1:-1, 1:-1])
    x = framed
    beside = x[..., :-2] + x[..., 2:]
    column = torch.add(beside, x[..., 1:-1], alpha=2)
    return (column[..., :-2, :] + column[..., 2:, :]).add_(beside[..., 1:-1, :], alpha=2)


def _weights(mask: Tensor) -> Tensor:
    """Of the nine neighbours in each hidden pixel's equation, times 12; (m, 9, h, w)."""
    counts = torch.tensor([1, 2, 1, 2, 0, 2, 1, 2, 1]).to(mask)[:, None, None]
    weights = torch.cat(windows(mask), 1).mul_(mask).mul_(-counts)
    ones = torch.ones_like(mask[:1])
    weights[:, CENTRE, None] = mask * _neighbours(ones, ones)
    return weights


@dataclass(frozen=True)
class Pixels(System):
    """The finest, whose weights are the same for all pixels; mask: (m, 1, h, w), 1 where one is hidden."""

    mask: Tensor = field(kw_only=True)

    def near(self, x: Tensor) -> Tensor:
        return _neighbours(x, self.mask).mul_(self.mask)
