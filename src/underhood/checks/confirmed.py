"""How much of a map lies where hiding the input is seen to lower the score.

From shared probes (subsets of groups that were hidden, see `probes`) each group's effect e is fitted as the
ridge solution of  fall(subset) ≈ Σ e_g over the subset,  and with e⁺ = max(e, 0) and the map's positive
relevance r⁺ per group the figure is

    Σ r⁺_g · e⁺_g / max e⁺  /  Σ r⁺_g,

the mean effect of the places that the map points to, as a share of the largest effect there is. It is a
precision: a map that points to a part of the cause alone is confirmed. What it leaves out is the part of
the verdict that deletion and sufficiency see.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from underhood.checks.batch import Batch
from underhood.checks.card import CheckCard
from underhood.checks.check import Check
from underhood.checks.controls import COUNT, controls
from underhood.checks.correlated import NO_PLACES, NOT_FINITE, on_places
from underhood.checks.intervals import against
from underhood.checks.probes import Probes, moved_sums, pooled, probes
from underhood.checks.reading import Reading, undefined
from underhood.checks.similarity import figure
from underhood.errors import InvalidArgument
from underhood.inputs.baseline import BaselineLike
from underhood.inputs.random import BOOTSTRAP, generator

RESAMPLED = 20
PICTURES: tuple[BaselineLike, ...] = ("blur", "zeros")
OTHERS: tuple[BaselineLike, ...] = ("zeros",)


@dataclass(frozen=True)
class ConfirmedShare(Check):
    """The share of a map's positive relevance that hiding confirms; see the module's text.

    count: subsets of each of the `sizes` (shares of the groups).
    fills: what hides them, of which the effects are averaged; None is blur and zeros for pictures, zeros
           for what is none.
    """

    count: int = 24
    sizes: tuple[float, ...] = (0.02, 0.1, 0.25)
    fills: tuple[BaselineLike, ...] | None = None
    ridge: float = 1.0

    key = "confirmed_share"

    def __post_init__(self) -> None:
        if not 0 < self.ridge < inf:
            raise InvalidArgument(f"The ridge is a number above 0, not {self.ridge}.")

    @property
    def card(self) -> CheckCard:
        return CARD

    def read(self, batch: Batch) -> Sequence[Reading]:
        maps = on_places(batch)
        if maps is None:
            return [undefined(NO_PLACES)] * len(batch)
        fills = self.fills or (PICTURES if batch.run.inputs.ndim == 4 else OTHERS)
        found = [probes(batch, self.count, self.sizes, fill) for fill in fills]
        calls = sum(one.calls for one in found)
        effects, errors = self._effects(batch, found)  # (B, G), (RESAMPLED, B, G)
        groups, others = found[0].groups, controls(maps, batch.run.inputs, batch.run.seed)
        positive = maps.clamp(min=0)
        own, moved = pooled(positive, groups), moved_sums(positive, groups, COUNT, batch.run.seed)
        drawn = {name: pooled(control.clamp(min=0), groups) for name, control in others.items()}
        readings = []
        for i in range(len(batch)):
            if reason := _why_not(maps[i], own[i], effects[i]):
                readings.append(undefined(reason, calls=calls))
                continue
            value = float(share(own[i], effects[i]))
            stands = against(value, share(moved[:, i], effects[i]).tolist(), best=1.0)
            resampled = torch.stack([share(own[i], e) for e in errors[:, i]])
            readings.append(
                Reading(
                    value,
                    error=float(resampled.nan_to_num(value).std()),
                    controls={
                        **{name: figure(share(sums[i], effects[i])) for name, sums in drawn.items()},
                        "shifted": stands.mean,
                    },
                    p=stands.p,
                    skill=stands.skill,
                    passed=stands.passed,
                    sentence=_sentence(value, stands.mean),
                    calls=calls,
                )
            )
        return readings

    def _effects(self, batch: Batch, found: Sequence[Probes]) -> tuple[Tensor, Tensor]:
        """Each group's effect (B, G), the mean over fills; and of resampled subsets (RESAMPLED, B, G)."""
        random = generator(batch.run.seed, BOOTSTRAP, len(found))
        fitted = []
        for one in found:
            rows = [torch.arange(len(one.hidden))]
            rows += [
                torch.from_numpy(random.integers(0, len(rows[0]), len(rows[0]))) for _ in range(RESAMPLED)
            ]
            fits = torch.stack([self._fit(one.hidden[r], one.falls[r]) for r in rows])
            most = one.falls.abs().amax(0)  # (B,)
            moved = most > 1e-6 * batch.run.score.abs()  # by more than rounding
            fitted.append(fits * (moved / most.clamp(min=1e-12))[:, None])
        mean = torch.stack(fitted).mean(0)
        return mean[0], mean[1:]

    def _fit(self, hidden: Tensor, falls: Tensor) -> Tensor:
        """(B, G) of subsets (N, G) and falls (N, B)."""
        z = hidden.double()
        gram = z.T @ z + self.ridge * torch.eye(z.shape[1], dtype=torch.float64)
        return torch.linalg.solve(gram, z.T @ falls).T


def share(sums: Tensor, effects: Tensor) -> Tensor:
    """Σ r·e⁺ / (max e⁺ · Σ r) of relevance (…, G) and effects (G,)."""
    weights = effects.clamp(min=0) / effects.max().clamp(min=1e-12)
    return (sums @ weights) / sums.sum(-1)


def _why_not(heatmap: Tensor, sums: Tensor, effects: Tensor) -> str | None:
    if not heatmap.isfinite().all():
        return NOT_FINITE
    if not sums.sum() > 0:
        return "the map has no positive relevance"
    return None if effects.max() > 0 else "hiding parts of the input never lowers the score"


def _sentence(value: float, shifted: float | None) -> str:
    told = f"Hiding what the map points to has {value:.0%} of the largest effect that hiding has here"
    return f"{told}; moved copies of the map come to {shifted:.0%}." if shifted is not None else f"{told}."


CARD = CheckCard(
    name="Confirmed share",
    question="controls",
    asks="Does hiding what the map points to lower the score, more than hiding other places?",
    defined="The mean effect of hiding, over the map's positive relevance, as a share of the largest effect.",
    better="higher",
    unit="share",
    range="0 to 1",
    controls="the map shifted and mirrored in 39 ways, random, edge, centre and constant maps",
    misleads="Evidence that is there twice has little effect where only one of it is hidden, and a hidden "
    "part is something the model has never seen.",
    cost="72 forward passes per fill for each input, shared by all methods",
    source="of the kind of Ancona et al. 2018 (sensitivity-n) and Petsiuk et al. 2018 (deletion)",
)
