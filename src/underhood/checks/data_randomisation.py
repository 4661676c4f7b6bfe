"""Does a map depend on what can be learned from the labels? Its likeness to that of shuffled labels.

Adebayo et al. 2018, "Sanity checks for saliency maps", section 4: a model of the same architecture, trained
on the same inputs with their labels shuffled, has learned nothing that holds for other inputs. A map that is
the same for both shows the architecture and the input. `scripts/train_shuffled.py` trains one for the
demo.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from underhood.checks.batch import Batch
from underhood.checks.card import CheckCard
from underhood.checks.check import Check
from underhood.checks.likeness import MEASURES, SIGNS, Likeness, Measure, Sign, named
from underhood.checks.reading import Reading, undefined
from underhood.checks.remade import edges_stay, maps_of, unusable
from underhood.checks.similarity import figure
from underhood.engine.passes import Log
from underhood.errors import InvalidArgument, Unfit
from underhood.models import Model

NO_OTHER = "the map of the model that was trained on shuffled labels is the same everywhere or not finite"


@dataclass(frozen=True)
class DataRandomisation(Check):
    """The map's likeness to that of the same architecture trained on shuffled labels: 1 where unchanged.

    shuffled: that model.
    measure:  of the value: "spearman", "ssim" or "hog"; measures: those that are computed.
    sign:     of the value: "signed", the maps as they are, or "abs". Both are in the details.
    limit:    the greatest value that passes, up to its sign as in `Randomisation`.
    """

    shuffled: Model
    measure: Measure = "spearman"
    sign: Sign = "signed"
    limit: float = 0.6
    measures: tuple[Measure, ...] = MEASURES

    key = "data_randomisation"

    def __post_init__(self) -> None:
        if not isinstance(self.shuffled, Model):
            raise InvalidArgument(
                "DataRandomisation needs the model trained on shuffled labels, as an underhood.Model, not "
                f"{self.shuffled!r:.60}."
            )
        if self.sign not in SIGNS:
            raise InvalidArgument(f"sign is signed or abs, not {self.sign!r}.")
        if self.measure not in self.measures or not set(self.measures) <= set(MEASURES):
            raise InvalidArgument(f"measure is one of the measures, {', '.join(MEASURES)}: {self.measure!r}.")

    @property
    def card(self) -> CheckCard:
        return DATA_RANDOMISATION

    def parameters(self) -> dict[str, Any]:
        shuffled = f"{self.shuffled.name}, sha256 {self.shuffled.digest[:12]}"
        others = {name: getattr(self, name) for name in ("measure", "sign", "limit")}
        return {"shuffled": shuffled, **others, "measures": list(self.measures)}

    def read(self, batch: Batch) -> Sequence[Reading]:
        if _shapes(batch.model) != _shapes(self.shuffled):
            raise InvalidArgument(
                "The model that was trained on shuffled labels has another architecture; "
                "the maps of two architectures differ whatever they have learned."
            )
        log = Log()
        try:
            found = Likeness(batch.maps, self.measures).to(maps_of(batch, self.shuffled, 0.0, 1, log))
        except Unfit as error:
            return [undefined(str(error))] * len(batch)
        calls, name = log.calls / len(batch), named(self.measure, self.sign)
        return [
            self._reading(batch, row, {key: figure(v[row]) for key, v in found.items()}, name, calls)
            for row in range(len(batch))
        ]

    def _reading(
        self, batch: Batch, row: int, figures: dict[str, float | None], name: str, calls: float
    ) -> Reading:
        heatmap = batch.maps[row]
        if problem := unusable(heatmap):
            return undefined(problem, calls=calls)
        value = figures[name]
        if value is None:
            return undefined(NO_OTHER, calls=calls)
        both_signs = self.sign == "signed" and bool((heatmap < 0).any())
        passed = (abs(value) if both_signs else value) <= self.limit
        return Reading(
            value,
            controls={"edges": edges_stay(batch.run.inputs[row], self.sign)},
            passed=passed,
            sentence=f"The map is {value:z.2f} like that of a model trained on shuffled labels (1 would be "
            f"the same): it {'depends' if passed else 'hardly depends'} on what the labels teach.",
            calls=calls,
            details={"figures": figures, "up_to_sign": both_signs},
        )


def _shapes(model: Model) -> dict[str, tuple[int, ...]]:
    return {name: tuple(parameter.shape) for name, parameter in model.module.named_parameters()}


DATA_RANDOMISATION = CheckCard(
    name="Data randomisation",
    question="model",
    asks="Does the map depend on what the labels teach?",
    defined="Spearman's rank correlation of the map with that of the same architecture trained on shuffled "
    "labels.",
    better="lower",
    unit="none",
    range="-1 to 1 (the same)",
    controls="an edge map, which stays the same",
    misleads="The other model needs training of its own, and has to have learned its labels by heart.",
    cost="one explanation of the method",
    source="Adebayo et al. 2018, arXiv:1810.03292",
)
