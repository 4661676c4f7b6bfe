"""Inputs with parts absent: what every perturbation method shows the model."""

from collections.abc import Callable

import torch
from torch import Tensor

from underhood.errors import InvalidArgument
from underhood.inputs.baseline import Baseline
from underhood.inputs.variants import Crop, Variants
from underhood.models import Preprocess

Masks = Callable[[Tensor, Tensor], Tensor]


class Absence:
    """Inputs (B, …) whose absent parts are filled by a baseline; several fills are averaged over."""

    def __init__(self, inputs: Tensor, baseline: Baseline, preprocess: Preprocess | None, seed: int):
        self.inputs, self.baseline = inputs, baseline
        self.fills = baseline.values(inputs, preprocess, seed)  # (n, B, …)

    def variants(self, count: int, masks: Masks, boxes: Tensor | None = None) -> Variants:
        """`count` variants of each input, and all of them again for each further fill.

        masks(rows (m,), numbers (m,)): places that are hidden, (m, *places) of bool, or how much of them is
        shown, from 0 to 1.
        boxes: around the hidden places of a picture, (count, 4), where that is less than all of it.
        """

        def make(rows: Tensor, numbers: Tensor) -> Tensor:
            return self._without(rows, numbers // count, masks(rows, numbers % count))

        def parts(rows: Tensor, numbers: Tensor, crop: Crop) -> Tensor:
            inputs = crop.of(self.inputs[row] for row in rows)
            fills = zip(numbers // count, rows % self.fills.shape[1], strict=True)
            values = crop.of(self.fills[place] for place in fills)
            return self._hide(inputs, crop.of(masks(rows, numbers % count)), values)

        return Variants(
            self.inputs,
            count * len(self.fills),
            make,
            boxes=None if boxes is None else boxes.repeat(len(self.fills), 1),
            parts=parts if self.baseline.is_local else None,
        )

    def averaged(self, scores: Tensor) -> Tensor:
        """Scores of `variants` (fills · count, B) over the fills: (count, B)."""
        return scores.reshape(len(self.fills), -1, scores.shape[-1]).mean(0)

    def _without(self, rows: Tensor, fill: Tensor, masks: Tensor) -> Tensor:
        if len(self.inputs) == 1:  # a view spares copying the input for every variant
            inputs = self.inputs.expand(len(rows), *self.inputs.shape[1:])
        else:
            inputs = self.inputs[rows]
        values = self.fills[0].expand_as(inputs) if self.fills.shape[:2] == (1, 1) else self.fills[fill, rows]
        return self._hide(inputs, masks, values)

    def _hide(self, inputs: Tensor, masks: Tensor, values: Tensor) -> Tensor:
        if masks.dtype == torch.bool:
            return self.baseline.hide(inputs, masks, values)
        if not inputs.is_floating_point():
            raise InvalidArgument(
                "The inputs are whole numbers, such as token ids, which cannot be shown in part; use a "
                "method that hides them whole, such as occlusion."
            )
        return torch.lerp(values, inputs, masks[:, None] if masks.ndim == inputs.ndim - 1 else masks)
