"""Occlusion (Zeiler & Fergus 2014, "Visualizing and understanding convolutional networks", section 4.2).

For each group of places, by how much the score falls when the group is hidden,

    S(x) - S(x with the group replaced by the baseline).

With sliding windows, a place takes the mean over the windows that cover it; with a partition, this is the
ablation of each group, whose value belongs to the group and is repeated over its places.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from underhood.engine import Run
from underhood.errors import InvalidArgument
from underhood.inputs import Absence, Grouping, Windows, elements
from underhood.inputs.baseline import BaselineLike, as_baseline
from underhood.inputs.grouping import as_grouping, places
from underhood.methods.card import Card
from underhood.methods.method import Attribution, Method, zero_maps


@dataclass(frozen=True)
class Occlusion(Method):
    """The fall of the score when a part is hidden; in units of the score.

    size, stride: of the sliding window, in pixels; by default a 7th of the shorter side and a quarter of
                  that (32 and 8 at 224). The last windows reach the right and bottom edges.
    baseline:     what hidden parts are filled with.
    grouping:     hide these groups instead of windows (a `Grouping`, or labels like the input's places).
                  Inputs that are no pictures are hidden element by element.
    """

    size: int | None = None
    stride: int | None = None
    baseline: BaselineLike = "zeros"
    grouping: Grouping | Tensor | None = None

    key = "occlusion"

    def __post_init__(self) -> None:
        as_baseline(self.baseline)
        given = [length for length in (self.size, self.stride) if length is not None]
        if self.grouping is not None and given:
            raise InvalidArgument("Occlusion takes a window's size and stride, or a grouping, not both.")
        if min(given, default=1) < 1:
            raise InvalidArgument(f"Occlusion's size and stride are at least 1, not {min(given)}.")
        if self.size and self.stride and self.stride > self.size:
            raise InvalidArgument(
                f"With stride {self.stride} beyond the window's size {self.size}, places would be skipped."
            )

    @property
    def card(self) -> Card:
        return CARD

    def attribute(self, run: Run) -> Attribution:
        groups = self._groups(run.inputs)
        absence = Absence(run.inputs, as_baseline(self.baseline), run.engine.model.preprocess, run.seed)

        def hidden(_: Tensor, numbers: Tensor) -> Tensor:
            """Nothing, then each group: both sides of the difference are of the same precision."""
            masks = groups.masks((numbers - 1).clamp(min=0))
            masks[numbers == 0] = False
            return masks

        variants = absence.variants(1 + groups.count, hidden, _boxes(groups))
        scores = absence.averaged(run.scores(variants))  # (1 + groups, B)
        values, log = groups.spread(scores[0] - scores[1:]), run.engine.log
        return Attribution(
            values,
            diagnostics=[{**_about(groups), "precision": log.precision, "work": log.work}] * len(run),
            no_signal=_judged(values, scores),
        )

    def _groups(self, inputs: Tensor) -> Grouping:
        shape = places(inputs)
        if self.grouping is not None:
            return as_grouping(self.grouping, shape)
        if len(shape) == 1 and self.size is None:
            return elements(shape)
        size = min(self.size or max(1, min(shape) // 7), *shape)
        return Windows(shape, size, min(self.stride or max(1, size // 4), size))


def _boxes(groups: Grouping) -> Tensor | None:
    """Where hidden pictures differ from the input; the input itself, nowhere, is put into the first box."""
    return torch.cat((groups.boxes[:1], groups.boxes)) if len(groups.shape) == 2 else None


def _about(groups: Grouping) -> dict[str, int]:
    """How many groups, and the windows that were used, which may be chosen or cut by the input's size."""
    windows = {"size": groups.size, "stride": groups.stride} if isinstance(groups, Windows) else {}
    return {"groups": groups.count, **windows}


def _judged(values: Tensor, scores: Tensor) -> list[str | None]:
    """Falls of the size of the scores' rounding are none."""
    rounding = 4 * torch.finfo(scores.dtype).eps * scores.abs().amax(0)  # (B,)
    peaks = values.flatten(1).abs().amax(1)
    return [
        zero or (None if peak > least else "no fall of the score exceeds its rounding")
        for zero, peak, least in zip(zero_maps(values), peaks, rounding, strict=True)
    ]


CARD = Card(
    name="Occlusion",
    question="attribution",
    answers="By how much the score falls when a part of the input is hidden.",
    misleads="A hidden patch is itself something the model has never seen; evidence that is there twice "
    "is missed, and the patch's size decides what can be found.",
    signed=True,
    conserves=None,
    resolution="region",
    unit="score per region",
    needs="nothing but scores",
    cost="one forward for each position (about 850)",
    source="Zeiler & Fergus 2014, arXiv:1311.2901",
)
