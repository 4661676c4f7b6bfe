"""What methods share that follow a path from a baseline to the input."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from underhood.errors import InvalidArgument
from underhood.inputs import Variants
from underhood.methods.method import zero_maps


def gauss_legendre(steps: int) -> tuple[Tensor, Tensor]:
    """Points and weights on 0…1; the weights sum to 1."""
    points, weights = np.polynomial.legendre.leggauss(steps)
    return torch.from_numpy((points + 1) / 2).float(), torch.from_numpy(weights / 2).float()


def each_baseline(inputs: Tensor, baselines: Tensor) -> Variants:
    """Baselines (n, B, …) in the place of inputs (B, …)."""
    return Variants(inputs, len(baselines), lambda rows, numbers: baselines[numbers, rows])


def completeness(values: Tensor, difference: Tensor) -> list[dict[str, Any]]:
    """For each input: by how much its values (…) miss S(x) - S(x')."""
    gaps = values.flatten(1).sum(1) - difference
    return [
        {
            "completeness_gap": gap,
            "relative_gap": abs(gap / wanted) if wanted else None,
            "score_difference": wanted,
        }
        for gap, wanted in zip(gaps.tolist(), difference.tolist(), strict=True)
    ]


def incomplete(values: Tensor, difference: Tensor) -> list[str | None]:
    """For each input: why a map that is zero, or misses more than it holds, says nothing."""
    mass, gaps = values.flatten(1).abs().sum(1), values.flatten(1).sum(1) - difference
    return [
        zero or (f"the completeness gap ({gap:.3g}) exceeds all the map holds" if abs(gap) >= m else None)
        for zero, gap, m in zip(zero_maps(values), gaps.tolist(), mass.tolist(), strict=True)
    ]


def needs_numbers(inputs: Tensor) -> None:
    """Refuses whole numbers such as token ids: nothing lies between them."""
    if not inputs.is_floating_point():
        raise InvalidArgument(
            "The inputs are whole numbers, such as token ids, and no path leads from one to another; "
            "follow the activations of their embedding layer: "
            "IntegratedGradients(at='embeddings', kind='activations')."
        )
