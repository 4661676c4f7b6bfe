"""Do methods that work in other ways say the same? Agreement is support, never faithfulness: methods can
agree on what is wrong, above all on what the picture itself suggests (Krishna et al. 2022, "The
disagreement problem in explainable machine learning").

Maps are compared group by group: their rank correlation, the overlap of the highest tenth, and the agreement
of signs, with the methods of other families on the same input, against shifted copies of the map.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from underhood.checks.batch import Batch, Beside
from underhood.checks.card import CheckCard
from underhood.checks.check import Check
from underhood.checks.controls import controls
from underhood.checks.correlated import KINDS, NO_PLACES, Kind, check_choice, on_places, unreadable
from underhood.checks.intervals import Against, against
from underhood.checks.probes import grouped, moved_sums, pooled
from underhood.checks.reading import Reading, undefined
from underhood.checks.similarity import figure, sign_agreement, spearman, top_overlap
from underhood.inputs.grouping import Grouping
from underhood.methods import Card, Method

FAMILIES = {
    "gradient": (
        "saliency", "smoothgrad", "input_x_gradient", "integrated_gradients", "expected_gradients", "blur_ig",
        "guided_ig", "fullgrad", "guided_backprop", "deconvnet", "guided_gradcam",
    ),
    "class activation": (
        "gradcam", "gradcam_plus_plus", "xgradcam", "hirescam", "layercam", "eigencam", "eigengradcam",
        "ablationcam", "scorecam",
    ),
    "relevance": ("lrp", "deeplift", "deepshap"),
    "perturbation": (
        "occlusion", "rise", "lime", "kernel_shap", "shapley_sampling", "exact_shapley", "partition_shap",
    ),
    "attention": ("raw_attention", "attention_rollout", "attention_relevance"),
}  # fmt: skip
FAMILY = {key: family for family, keys in FAMILIES.items() for key in keys}
MAGNITUDES = ("sensitivity", "reconstruction")  # questions whose maps tell nothing by their sign

Measure = Literal["spearman", "top", "sign"]
NOBODY = "no method of another family has explained this input"
NO_FIGURE = "the maps of the other methods cannot be compared with this one"


def family(method: Method) -> str:
    """How a method finds its map; methods that are not listed are each their own family."""
    return FAMILY.get(method.key, method.key)


@dataclass(frozen=True)
class Agreement(Check):
    """The mean agreement with the other families, each the mean over its methods.

    measure:  "spearman", "top" (overlap of the highest tenth) or "sign"; all three are among the details.
    kind:     of the maps that are compared; where none is given, magnitudes where one of the two shows
              sensitivity, which has no sign to compare, and signed otherwise.
    grouping: about 7 × 7 patches of a picture and single elements of a row, where none is given.
    """

    measure: Measure = "spearman"
    kind: Kind | None = None
    grouping: Grouping | Tensor | None = None

    key = "agreement"

    def __post_init__(self) -> None:
        check_choice("measure", self.measure, tuple(MEASURES))
        check_choice("kind of map", self.kind, (*KINDS, None))

    @property
    def card(self) -> CheckCard:
        return replace(CARD, range="-1 to 1" if self.measure == "spearman" else "0 to 1")

    def read(self, batch: Batch) -> Sequence[Reading]:
        maps = on_places(batch)
        others = [one for one in batch.beside if family(one.method) != family(batch.method)]
        if maps is None or not others:
            return [undefined(NOBODY if maps is not None else NO_PLACES)] * len(batch)
        pairs = {one.method.key: pair for one in others if (pair := self._pair(batch, maps, one)) is not None}
        return [unread(maps[row]) or self._reading(batch, pairs, row) for row in range(len(batch))]

    def _pair(self, batch: Batch, maps: Tensor, other: Beside) -> "Pair | None":
        """Everything about the maps (B, *places) and another method's."""
        theirs = on_places(replace(batch, maps=other.maps))
        if theirs is None:
            return None
        groups, seed = grouped(batch, self.grouping), batch.run.seed
        kind = self.kind or _kind(batch.explanations[0].card, other.card)
        if kind == "magnitude":
            maps, theirs = maps.abs(), theirs.abs()
        b = pooled(theirs, groups)
        b = torch.where(b.isfinite().all(-1, keepdim=True), b, 0.0)  # a flat map has no figure
        a, others = pooled(maps, groups), controls(maps, batch.run.inputs, seed)
        found = {name: measure(a, b) for name, measure in MEASURES.items() if (kind, name) != SIGNLESS}
        chosen = MEASURES[self.measure]
        return Pair(
            family(other.method),
            kind,
            found,
            chosen(moved_sums(maps, groups, seed=seed), b)
            if self.measure in found
            else torch.full((1, len(b)), torch.nan),
            {name: chosen(pooled(control, groups), b) for name, control in others.items()},
        )

    def _reading(self, batch: Batch, pairs: dict[str, "Pair"], row: int) -> Reading:
        known = {
            key: pair
            for key, pair in pairs.items()
            if self.measure in pair.found and not pair.found[self.measure][row].isnan()
        }
        if not known:
            return undefined(NO_FIGURE)
        value = figure(_over_families({k: p.found[self.measure][row] for k, p in known.items()}, known))
        assert value is not None
        shifted = _over_families({k: p.shifted[:, row] for k, p in known.items()}, known)
        stands = against(value, shifted.tolist(), best=1.0)
        names = next(iter(known.values())).controls
        return Reading(
            value,
            controls={
                name: figure(_over_families({k: p.controls[name][row] for k, p in known.items()}, known))
                for name in names
            },
            p=stands.p,
            skill=stands.skill,
            passed=stands.passed,
            sentence=_sentence(value, list(known), stands),
            details={
                "family": family(batch.method),
                "with": {key: pair.told(row, self.measure) for key, pair in known.items()},
                "shifted_mean": stands.mean,
            },
        )


@dataclass(frozen=True)
class Pair:
    """A method beside another one: measure → (B,), of shifted copies (39, B), control → (B,)."""

    family: str
    kind: Kind
    found: dict[str, Tensor]
    shifted: Tensor
    controls: dict[str, Tensor]

    def told(self, row: int, measure: Measure) -> dict[str, Any]:
        figures = {name: figure(values[row]) for name, values in self.found.items()}
        value = float(self.found[measure][row])
        p = against(value, self.shifted[:, row].tolist(), best=1.0).p
        return {"family": self.family, "kind": self.kind, **figures, "p": p}


MEASURES = {"spearman": spearman, "top": top_overlap, "sign": sign_agreement}
SIGNLESS = ("magnitude", "sign")


def unread(heatmap: Tensor) -> Reading | None:
    reason = unreadable(heatmap)
    return undefined(reason) if reason else None


def _kind(one: Card, other: Card) -> Kind:
    return "magnitude" if one.question in MAGNITUDES or other.question in MAGNITUDES else "signed"


def _over_families(values: dict[str, Tensor], pairs: dict[str, Pair]) -> Tensor:
    """The mean over families of the mean over each family's methods."""
    names = {pair.family for pair in pairs.values()}
    means = [torch.stack([values[k] for k, p in pairs.items() if p.family == name]).mean(0) for name in names]
    return torch.stack(means).mean(0)


def _sentence(value: float, names: list[str], stands: Against) -> str:
    listed = ", ".join(names)
    beside = "" if stands.mean is None else f"; moved copies of this map come to {stands.mean:z.2f}"
    figures = f"{value:z.2f} (1 is the same{beside})"
    return f"The likeness to what other kinds of methods mark ({listed}) is {figures}."


CARD = CheckCard(
    name="Agreement",
    question="support",
    asks="Do methods that work in other ways mark the same parts?",
    defined="The mean, over the other families of methods, of the rank correlation (or overlap of the "
    "highest tenth, or agreement of signs) of the maps' means over groups.",
    better="higher",
    unit="none",
    range="-1 to 1",
    controls="random, edge, centre and constant maps; the map shifted on a torus and mirrored in 39 ways",
    misleads="Methods can agree and be wrong, for one where all of them show the edges in the picture; and a "
    "true map can stand alone.",
    cost="no passes",
    source="Krishna et al. 2022, arXiv:2202.01602",
)
