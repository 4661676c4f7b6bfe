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
    order = torch.from_numpy(values.numpy().argsort(-1))  # some three times as fast as torch's
    ordered, at = values.gather(-1, order), torch.arange(values.shape[-1])
    new = torch.ones_like(ordered, dtype=torch.bool)  # where another value begins
    new[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    mean = at.double().expand(values.shape)
    if not new.all():
        last = torch.ones_like(new)
        last[..., :-1] = new[..., 1:]
        first = at.where(new, 0).cummax(-1).values
        final = at.where(last, len(at)).flip(-1).cummin(-1).values.flip(-1)
        mean = (first + final).double() / 2
    return torch.empty_like(values, dtype=torch.float64).scatter_(-1, order, mean)


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


def ssim(a: Tensor, b: Tensor, window: int = 7) -> Tensor:
    """Mean structural similarity of pictures (…, H, W), (…); NaN where one is flat.

    Wang et al. 2004, section III, in a square window. Each is divided by its own largest magnitude before.
    """
    window = min(window, *a.shape[-2:])
    values = torch.stack([_to_one(a), _to_one(b)]).double()
    signed = (values < 0).any(0).flatten(-2).any(-1)
    span = torch.where(signed, 2.0, 1.0)[..., None, None]  # of the values
    (x, y), (xx, yy) = _means(values, window), _means(values.square(), window)
    xy, n = _means(values[0] * values[1], window), window**2
    share = n / (n - 1)  # variances of a sample
    covariance, variances = share * (xy - x * y), share * (xx + yy - x * x - y * y)
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    found = (2 * x * y + c1) * (2 * covariance + c2) / ((x * x + y * y + c1) * (variances + c2))
    return torch.where(_flat(a.flatten(-2)) | _flat(b.flatten(-2)), torch.nan, found.mean((-2, -1)))


def hog(maps: Tensor, cell: int = 8, block: int = 3, bins: int = 9) -> Tensor:
    """Histograms of oriented gradients of pictures (…, H, W), one row each (…, n).

    Dalal & Triggs 2005: gradients without sign in `bins` directions, summed by magnitude over cells of
    cell × cell, in overlapping blocks of block × block cells normalised as L2-Hys.
    """
    (height, width), (rows, columns) = maps.shape[-2:], (side // cell for side in maps.shape[-2:])
    flat = maps.reshape(-1, height, width)
    down, across = torch.zeros_like(flat), torch.zeros_like(flat)
    down[:, 1:-1] = flat[:, 2:] - flat[:, :-2]
    across[:, :, 1:-1] = flat[:, :, 2:] - flat[:, :, :-2]
    direction = torch.atan2(down, across) * (bins / torch.pi)  # -bins … bins, its sign of no matter
    voted = direction.remainder(bins).long().clamp(max=bins - 1)
    place = torch.arange(height)[:, None] // cell * columns + torch.arange(width) // cell
    index = (torch.arange(len(flat))[:, None, None] * rows * columns + place) * bins + voted
    inside = (slice(None), slice(rows * cell), slice(columns * cell))
    votes = torch.hypot(down, across)[inside].flatten().double() / cell**2
    cells = index[inside].flatten().bincount(votes, len(flat) * rows * columns * bins)
    blocks = cells.view(-1, rows, columns, bins).unfold(1, block, 1).unfold(2, block, 1).flatten(3)
    return _unit(_unit(blocks).clamp(max=0.2)).flatten(1).unflatten(0, maps.shape[:-2])


def _unit(values: Tensor) -> Tensor:
    return values / (values.square().sum(-1, keepdim=True) + 1e-10).sqrt()


def _to_one(maps: Tensor) -> Tensor:
    """(…, H, W), each divided by its largest magnitude."""
    return maps / maps.abs().amax((-2, -1), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)


def _means(pictures: Tensor, window: int) -> Tensor:
    """Over every window of window × window: (…, H, W) to (…, H - window + 1, W - window + 1)."""
    down = pictures.unfold(-2, window, 1).mean(-1)
    return down.unfold(-1, window, 1).mean(-1)
