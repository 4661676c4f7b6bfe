"""Does the score fall when what a map calls important is hidden, and stay when the rest is?

Parts are hidden one after the other, most relevant first (MoRF) or least relevant first (LeRF); with s the
share that is hidden and S(s) the score then,

    deletion = ∫ S_MoRF(s) ds,     insertion = ∫ S_LeRF(s) ds,     two-sided = insertion - deletion,

by the trapezoid rule, s from 0 to 1, in units of the score. Showing parts on an empty input, most relevant
first, runs through the states of LeRF backwards, and so insertion is LeRF's area.

Samek et al. 2017, "Evaluating the visualization of what a deep neural network has learned" (MoRF, LeRF);
Petsiuk et al. 2018, "RISE", section 4.2 (deletion, insertion).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from underhood.checks.batch import Batch
from underhood.checks.card import CheckCard
from underhood.checks.check import Check
from underhood.checks.controls import COUNT
from underhood.checks.correlated import Kind
from underhood.checks.reading import Reading
from underhood.checks.removal import (
    Best,
    Curves,
    Parts,
    Protocol,
    Removed,
    check_removal,
    even_counts,
    removed,
)
from underhood.errors import InvalidArgument
from underhood.inputs.baseline import Baseline, BaselineLike, as_baseline
from underhood.models import Preprocess

Order = Literal["MoRF-LeRF", "MoRF", "LeRF"]
DIRECTIONS: dict[str, tuple[Removed, ...]] = {
    "MoRF-LeRF": ("MoRF", "LeRF"),
    "MoRF": ("MoRF",),
    "LeRF": ("LeRF",),
}
RISE_STEPS = 224  # of 224 pixels each, for pictures of 224 × 224


@dataclass(frozen=True)
class Deletion(Check):
    """The area under the score's curve as parts are hidden.

    order:    "MoRF-LeRF": the area for least relevant first less that for most relevant first, so that a map
              gains nothing from a model whose score falls whatever is hidden; or one of the two.
    fill:     what stands for hidden parts, see `underhood.inputs.as_baseline`.
    grouping: the parts: a `Grouping` or labels; a number of superpixels; "elements", such as single pixels;
              or None for about 7 × 7 patches of a picture, else the elements.
    steps:    in which they are hidden; None for one part at a time.
    kind:     order by the "signed" map or its "magnitude"; the other is among the details.
    output:   the target's score "as asked", or its "probability".
    shifts:   shifted copies of the map that it is compared with; with 0 there are no controls either.
    best:     "greedy" seeks the best order for `skill`, once per input; None spares its passes.
    """

    order: Order = "MoRF-LeRF"
    fill: BaselineLike = "zeros"
    grouping: Parts = None
    steps: int | None = 16
    kind: Kind = "signed"
    output: Literal["as asked", "probability"] = "as asked"
    shifts: int = COUNT
    best: Best = "greedy"

    key = "deletion"

    def __post_init__(self) -> None:
        if self.order not in DIRECTIONS:
            raise InvalidArgument(f"The order is one of {', '.join(DIRECTIONS)}, not {self.order!r}.")
        if self.steps is not None and self.steps < 1:
            raise InvalidArgument(f"Parts are hidden in at least one step, not {self.steps}.")
        check_removal(self.fill, self.grouping, self.kind, self.shifts)

    @classmethod
    def rise(cls, steps: int = RISE_STEPS, shifts: int = 0) -> "Deletion":
        """RISE's own protocol: single pixels set to zero, the area under the class's probability."""
        return cls("MoRF", "zeros", "elements", steps, output="probability", shifts=shifts, best=None)

    @property
    def card(self) -> CheckCard:
        return {"MoRF-LeRF": TWO_SIDED, "MoRF": DELETION, "LeRF": INSERTION}[self.order]

    def read(self, batch: Batch) -> Sequence[Reading]:
        return removed(
            batch,
            Protocol(
                as_baseline(self.fill), self.grouping, self._counts, DIRECTIONS[self.order], self._figure,
                better="lower" if self.order == "MoRF" else "higher",
                output=self.output, kind=self.kind, shifts=self.shifts, best=self.best,
            ),
        )  # fmt: skip

    def _counts(self, parts: int) -> list[int]:
        return even_counts(parts, self.steps)

    def _figure(self, curves: Curves) -> Tensor:
        if self.order == "MoRF-LeRF":
            return curves["LeRF"].area - curves["MoRF"].area
        return curves[self.order].area


@dataclass(frozen=True)
class Insertion(Deletion):
    """The area under the score's curve as parts are shown on an empty input, most relevant first.

    For the fields see `Deletion`.
    """

    order: Order = "LeRF"

    key = "insertion"

    @classmethod
    def rise(cls, steps: int = RISE_STEPS, shifts: int = 0) -> "Insertion":
        """RISE's own protocol: single pixels shown on a blurred picture, the area under the probability."""
        return cls("LeRF", RiseBlur(), "elements", steps, output="probability", shifts=shifts, best=None)


@dataclass(frozen=True)
class RiseBlur(Baseline):
    """The blurred picture that RISE's insertion begins with, as its authors' code makes it.

    Their kernel is a point in a square of `length` pixels that a Gaussian filter of `sigma` has smoothed,
    which mirrors at the square's edges: with 11 and 5 it is nearly a box. Outside the picture lie zeros.
    """

    length: int = 11
    sigma: float = 5.0
    name: str = "rise_blur"

    def values(self, inputs: Tensor, preprocess: Preprocess | None, seed: int) -> Tensor:  # noqa: ARG002
        if inputs.ndim != 4:
            raise InvalidArgument("The baseline 'rise_blur' needs pictures (B, C, H, W).")
        line = self.kernel.to(inputs.dtype)
        kernel = (line[:, None] * line)[None, None]
        flat = inputs.reshape(-1, 1, *inputs.shape[2:])
        return F.conv2d(flat, kernel, padding=self.length // 2).reshape(1, *inputs.shape)

    @property
    def kernel(self) -> Tensor:
        """Along one axis, (length,): a Gaussian folded back at the edges of the square, up to 4 sigma."""
        radius, centre = int(4 * self.sigma + 0.5), self.length // 2
        offsets = torch.arange(-radius, radius + 1)
        weights = torch.exp(-(offsets.double() ** 2) / (2 * self.sigma**2))
        at = (centre + offsets) % (2 * self.length)
        at = torch.where(at < self.length, at, 2 * self.length - 1 - at)
        return torch.zeros(self.length).double().index_add_(0, at, weights / weights.sum())


SHIFTED = "random, edge, centre and constant maps; the map shifted on a torus and mirrored in 39 ways"
UNUSUAL = (
    "The model is shown inputs with holes, which are none it knows: another fill can change the answer. "
)
COST = (
    "44 forward passes for each step and order, of map, controls and shifted copies; and, once per input, "
    "half as many as there are parts for each step, of the best order"
)
TWO_SIDED = CheckCard(
    name="Deletion, two-sided",
    question="controls",
    asks="Does hiding what the map calls important cost the score more than hiding the rest?",
    defined="The area under the score's curve when parts are hidden least relevant first, less that for most "
    "relevant first.",
    better="higher",
    unit="score",
    range="any; 0 for a random order",
    controls=SHIFTED,
    misleads=UNUSUAL + "It judges the order of the parts alone, not the size of their values.",
    cost=COST,
    source="Samek et al. 2017, arXiv:1509.06321; Petsiuk et al. 2018, arXiv:1806.07421",
)
DELETION = replace(
    TWO_SIDED,
    name="Deletion",
    asks="Does the score fall quickly when what the map calls important is hidden?",
    defined="The area under the score's curve when parts are hidden, most relevant first.",
    better="lower",
    range="any",
    misleads=UNUSUAL
    + "Any map, even an empty one, has a small area where the score falls whatever is hidden.",
)
INSERTION = replace(
    TWO_SIDED,
    name="Insertion",
    asks="Does the score rise quickly when what the map calls important is shown?",
    defined="The area under the score's curve when parts are shown on an empty input, most relevant first.",
    range="any",
    misleads=UNUSUAL + "Any map has a large area where the score stays whatever is hidden.",
)
