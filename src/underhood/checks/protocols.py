"""Removal as particular papers do it; see `deletion` for the idea.

IROF: Rieger & Hansen 2020, "IROF: a low resource evaluation metric for explanation methods": superpixels by
    their mean relevance; the area over the curve of S(l parts hidden) / S(x).
ROAD: Rong et al. 2022, "A consistent and efficient evaluation strategy for attribution methods": single
    pixels, noisy linear imputation; over several shares hidden, the mean of (S_LeRF - S_MoRF) / 2.
RegionPerturbation: Samek et al. 2017, "Evaluating the visualization of what a deep neural network has
    learned": the L regions of 9 × 9 pixels with most relevance, one after the other turned into noise;
    AOPC = Σ_{k=0…L} (S(x) - S(k regions hidden)) / (L + 1).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from underhood.checks.batch import Batch
from underhood.checks.card import CheckCard
from underhood.checks.check import Check
from underhood.checks.controls import COUNT
from underhood.checks.deletion import SHIFTED, TWO_SIDED, UNUSUAL
from underhood.checks.reading import Reading, undefined
from underhood.checks.removal import Best, Curves, Parts, Protocol, check_removal, even_counts, removed
from underhood.errors import InvalidArgument, Unfit
from underhood.inputs.baseline import BaselineLike, as_baseline
from underhood.inputs.grouping import patches, places

NOT_POSITIVE = "the score is not above 0, and this figure is a share of it"


@dataclass(frozen=True)
class IROF(Check):
    """The area over the curve of the class's probability, as a share of S(x), as superpixels are hidden.

    grouping: superpixels, or other parts; see `Deletion`, also for `shifts` and `best`.
    fill:     zeros of the network's input are the mean colour where inputs are normalised, as in the paper.
    """

    grouping: Parts = 100
    fill: BaselineLike = "zeros"
    shifts: int = COUNT
    best: Best = None

    key = "irof"

    def __post_init__(self) -> None:
        check_removal(self.fill, self.grouping, "signed", self.shifts)

    @property
    def card(self) -> CheckCard:
        return IROF_CARD

    def read(self, batch: Batch) -> Sequence[Reading]:
        return removed(
            batch,
            Protocol(
                as_baseline(self.fill), self.grouping, lambda parts: even_counts(parts, None), ("MoRF",),
                _area_over, along="parts", output="probability", shifts=self.shifts, best=self.best,
            ),
        )  # fmt: skip


@dataclass(frozen=True)
class ROAD(Check):
    """Half the score's difference between least relevant and most relevant pixels imputed.

    shares: of the pixels hidden, over which the mean is taken. For the rest see `Deletion`.
    """

    shares: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    fill: BaselineLike = "noisy_linear"
    grouping: Parts = "elements"
    shifts: int = COUNT

    key = "road"

    def __post_init__(self) -> None:
        if not self.shares or not all(0 < share <= 1 for share in self.shares):
            raise InvalidArgument(f"ROAD's shares lie above 0 and up to 1; got {tuple(self.shares)}.")
        check_removal(self.fill, self.grouping, "signed", self.shifts)

    @property
    def card(self) -> CheckCard:
        return ROAD_CARD

    def read(self, batch: Batch) -> Sequence[Reading]:
        return removed(
            batch,
            Protocol(
                as_baseline(self.fill), self.grouping, self._counts, ("MoRF", "LeRF"), _half_apart,
                shifts=self.shifts, best=None,
            ),
        )  # fmt: skip

    def _counts(self, parts: int) -> list[int]:
        return sorted({max(1, round(share * parts)) for share in self.shares})


@dataclass(frozen=True)
class RegionPerturbation(Check):
    """The mean fall of the score while the first regions are replaced by noise.

    regions: L, or all where a picture has fewer; size: of a region, in pixels.
    fill:    draws of uniform noise, over which the score's mean is taken. For the rest see `Deletion`.
    """

    regions: int = 100
    size: int = 9
    fill: BaselineLike = "noise"
    shifts: int = COUNT
    best: Best = None

    key = "region_perturbation"

    def __post_init__(self) -> None:
        if self.regions < 1 or self.size < 1:
            raise InvalidArgument(
                f"Regions are at least 1, of at least 1 pixel; got {self.regions} of size {self.size}."
            )
        check_removal(self.fill, None, "signed", self.shifts)

    @property
    def card(self) -> CheckCard:
        return REGIONS_CARD

    def read(self, batch: Batch) -> Sequence[Reading]:
        shape = places(batch.run.inputs)
        if len(shape) != 2:
            return [undefined("the inputs are no pictures, which alone have square regions")] * len(batch)
        key = ("region_perturbation", "parts", self.size)
        parts = batch.memory.setdefault(key, patches((shape[0], shape[1]), self.size))
        return removed(
            batch,
            Protocol(
                as_baseline(self.fill), parts, self._counts, ("MoRF",), _mean_fall,
                pool="sum", shifts=self.shifts, best=self.best,
            ),
        )  # fmt: skip

    def _counts(self, parts: int) -> list[int]:
        return list(range(1, min(self.regions, parts) + 1))


def _area_over(curves: Curves) -> Tensor:
    curve = curves["MoRF"]
    if not curve.scores[0, 0] > 0:
        raise Unfit(NOT_POSITIVE)
    return 1 - curve.area / curve.scores[:, 0]


def _half_apart(curves: Curves) -> Tensor:
    least, most = (curves[order].scores[:, 1:] for order in ("LeRF", "MoRF"))
    return (least - most).mean(1) / 2


def _mean_fall(curves: Curves) -> Tensor:
    scores = curves["MoRF"].scores
    return (scores[:, :1] - scores).mean(1)


IROF_CARD = CheckCard(
    name="IROF",
    question="controls",
    asks="Does the probability fall quickly when the superpixels that the map calls important are hidden?",
    defined="The area over the curve of the class's probability, as a share of that for the whole picture, "
    "against the share of superpixels hidden, most relevant first.",
    better="higher",
    unit="share of the probability",
    range="up to 1",
    controls=SHIFTED,
    misleads=UNUSUAL + "A probability near 1 hardly moves until little is left.",
    cost="44 forward passes for each superpixel",
    source="Rieger & Hansen 2020, arXiv:2003.08747",
)
ROAD_CARD = replace(
    TWO_SIDED,
    name="ROAD",
    defined="Half the score with the least relevant pixels imputed less that with the most relevant ones, "
    "the mean over several shares of the pixels.",
    misleads="What is imputed from its surroundings is not gone: smooth things survive. It judges the order "
    "of the pixels alone.",
    cost="88 forward passes for each share",
    source="Rong et al. 2022, arXiv:2202.00449",
)
REGIONS_CARD = replace(
    TWO_SIDED,
    name="Region perturbation",
    asks="Does the score fall when the regions with most relevance become noise?",
    defined="The mean fall of the score over the first k regions replaced by noise, k from 0 to L (AOPC).",
    range="any",
    misleads=UNUSUAL
    + "The score may fall whatever is replaced: only the comparison with shifted maps counts.",
    cost="44 forward passes for each region and draw of noise",
    source="Samek et al. 2017, arXiv:1509.06321",
)
