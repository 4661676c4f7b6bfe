"""Efficient randomisation: is the map simpler than that of random weights?

Hedström et al. 2024, "Sanity checks revisited", section 4.2. No maps are compared: ξ being the entropy of a
map's histogram, the figure is how much that rises when all weights are random,

    (ξ(ê) − ξ(e)) / ξ(e).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from underhood.checks.batch import Batch
from underhood.checks.card import CheckCard
from underhood.checks.check import Check
from underhood.checks.randomisation import RANDOMISATION
from underhood.checks.reading import Reading, undefined
from underhood.checks.remade import NO_OTHER, edges_stay, maps_of, parts_of, unusable
from underhood.checks.weights import DRAWS, Draw, Redrawn
from underhood.engine.passes import Log
from underhood.errors import InvalidArgument, Unfit


@dataclass(frozen=True)
class EfficientRandomisation(Check):
    """By how much of itself the entropy of the map's histogram rises when all weights are random.

    bins:  of the histogram, from the map's least to its greatest value.
    draws: how often random weights are drawn; the value is the mean.
    how:   random weights are drawn as "normal", or by each module's own "reset".
    """

    bins: int = 100
    draws: int = 3
    how: Draw = "normal"

    key = "efficient_randomisation"

    def __post_init__(self) -> None:
        if self.bins < 2 or self.draws < 1:
            raise InvalidArgument("The histogram takes at least two bins, and there must be a draw.")
        if self.how not in DRAWS:
            raise InvalidArgument(f"Weights are drawn as normal or by reset, not {self.how!r}.")

    @property
    def card(self) -> CheckCard:
        return EFFICIENT

    def read(self, batch: Batch) -> Sequence[Reading]:
        log = Log()
        try:
            names = [name for part in parts_of(batch, log) for name in part.parameters]
            models = [Redrawn(batch.model, self.how, batch.run.seed, n).of(names) for n in range(self.draws)]
            drawn = [maps_of(batch, model, 0.0, 1, log) for model in models]
        except Unfit as error:
            return [undefined(str(error))] * len(batch)
        calls = log.calls / len(batch)
        return [self._reading(batch, row, [maps[row] for maps in drawn], calls) for row in range(len(batch))]

    def _reading(self, batch: Batch, row: int, drawn: Sequence[Tensor], calls: float) -> Reading:
        if problem := unusable(batch.maps[row]):
            return undefined(problem, calls=calls)
        own = histogram_entropy(batch.maps[row], self.bins)
        others = [histogram_entropy(heatmap, self.bins) for heatmap in drawn if not unusable(heatmap)]
        if not others:
            return undefined(NO_OTHER, calls=calls)
        rises = torch.tensor([(other - own) / own for other in others], dtype=torch.float64)
        value = float(rises.mean())
        return Reading(
            value,
            error=float(rises.std() / len(rises) ** 0.5) if len(rises) > 1 else None,
            controls={"edges": None if edges_stay(batch.run.inputs[row], "signed") is None else 0.0},
            passed=value > 0,
            sentence=f"With the model's weights made random the map is {100 * abs(value):.0f} % "
            f"{'more' if value > 0 else 'less'} complex.",
            calls=calls,
            details={"entropy": own, "random_entropies": others, "drawn": self.how},
        )


def histogram_entropy(heatmap: Tensor, bins: int) -> float:
    """Of the histogram of a map that is not flat, in nats."""
    shares = torch.histc(heatmap.double(), bins) / heatmap.numel()
    return float(torch.special.entr(shares).sum())


EFFICIENT = replace(
    RANDOMISATION,
    name="Efficient parameter randomisation",
    asks="Is the map simpler than that of random weights?",
    defined="The rise of the entropy of the map's histogram when all weights are random, as a share of it.",
    better="higher",
    range="-1 up; 0 for a map that stays",
    controls="an edge map, whose entropy stays the same",
    misleads="Maps of one entropy can differ everywhere: a rise says that the map depends on the weights; "
    "no rise says nothing.",
    cost="3 explanations of the method",
    source="Hedström et al. 2024, arXiv:2401.06465",
)
