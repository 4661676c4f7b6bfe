"""How alike two maps are: rank correlation, overlap of the highest places, signs that agree.

All take maps (…, n) with places flattened and give one figure per pair, (…), NaN where it does not exist,
so that shifted maps and whole batches are compared at once; `figure` makes one of them a number or None.
"""

import torch
from torch import Tensor


def spearman(a: Tensor, b: Tensor) -> Tensor:
    """Rank correlation of (…, n) and (…, n); equal values share their mean rank. NaN where one is flat."""
    return pearson(ranks(a), ranks(b))


def pearson(a: Tensor, b: Tensor) -> Tensor:
    """Correlation of (…, n) and (…, n), in float64; NaN where one is flat."""
    a, b = _centred(a), _centred(b)
    return (a * b).sum(-1)


def ranks(values: Tensor) -> Tensor:
    """From 0 on, float64, (…, n); equal values share their mean rank."""
    values = values.contiguous()
    ordered = values.sort(-1).values
    below = torch.searchsorted(ordered, values)
    return (below + torch.searchsorted(ordered, values, right=True) - 1).double() / 2


def top_overlap(a: Tensor, b: Tensor, share: float = 0.1) -> Tensor:
    """|A ∩ B| / k for the k = share · n highest places of each map, (…); NaN where one is flat.

    Places that tie for the last seats share them, and what two maps have in common of a place is the
    smaller of its two shares: so a map overlaps with itself by 1.
    """
    k = max(1, round(share * a.shape[-1]))
    overlap = torch.minimum(seats(a, k), seats(b, k)).sum(-1) / k
    return torch.where(_flat(a) | _flat(b), torch.nan, overlap)


def sign_agreement(a: Tensor, b: Tensor) -> Tensor:
    """The share of |a·b| where the signs agree, (…): 1 where all do, 0 where none does; NaN where all are 0.

    Weighted by both magnitudes, as the signs of values next to 0 are chance.
    """
    product = a.double() * b.double()
    total = product.abs().sum(-1)
    return torch.where(total > 0, product.clamp(min=0).sum(-1) / total, torch.nan)


def figure(value: Tensor) -> float | None:
    """A single figure as a number; None where it does not exist."""
    return None if value.isnan() else float(value)


def _flat(values: Tensor) -> Tensor:
    """Whether all are the same, but for the rounding of sums in float64."""
    high, low = values.double().amax(-1), values.double().amin(-1)
    return high - low <= 1e-13 * torch.maximum(high.abs(), low.abs())


def _centred(values: Tensor) -> Tensor:
    """(…, n) with mean 0 and length 1; NaN where it is flat."""
    off = values.double() - values.double().mean(-1, keepdim=True)
    return torch.where(_flat(values)[..., None], torch.nan, off / off.norm(dim=-1, keepdim=True))


def seats(values: Tensor, k: int) -> Tensor:
    """How much of a seat among the k highest each place has, (…, n); they sum to k."""
    last = values.topk(k, dim=-1).values[..., -1:]
    above, tied = values > last, values == last
    return above + tied * ((k - above.sum(-1, keepdim=True)) / tied.sum(-1, keepdim=True)).double()
