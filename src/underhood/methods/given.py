"""Maps that no method here made: from another tool, or from the input alone."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from underhood.engine import Run
from underhood.errors import InvalidArgument
from underhood.inputs.grouping import places
from underhood.methods.card import Card
from underhood.methods.method import Attribution, Method, zero_maps


@dataclass(frozen=True, eq=False)
class Given(Method):
    """Maps from elsewhere, to be checked like those made here.

    maps: (B, …) like the inputs, or (B, *places). What needs the map of another input or model, such as
          randomisation, is undefined for them, as nobody here can make it; see `Drawn`.
    """

    maps: Tensor
    name: str = "given"

    @property
    def key(self) -> str:  # type: ignore[override]
        return self.name

    @property
    def card(self) -> Card:
        return _card(self.name)

    def attribute(self, run: Run) -> Attribution:
        expected = {tuple(run.inputs.shape), (len(run), *places(run.inputs))}
        if tuple(self.maps.shape) not in expected:
            raise InvalidArgument(
                f"The maps have shape {tuple(self.maps.shape)}; for these inputs it must be one of "
                f"{', '.join(map(str, sorted(expected)))}."
            )
        return _attribution(self.maps)


@dataclass(frozen=True, eq=False)
class Drawn(Method):
    """What a function makes of the inputs (B, …) alone, such as an edge detector: it never asks the model.

    function: gives maps (B, …) like the inputs, or (B, *places).
    """

    function: Callable[[Tensor], Tensor] = field(repr=False)
    name: str = "drawn"

    @property
    def key(self) -> str:  # type: ignore[override]
        return self.name

    @property
    def card(self) -> Card:
        return _card(self.name)

    def attribute(self, run: Run) -> Attribution:
        return _attribution(self.function(run.inputs))


def _attribution(maps: Tensor) -> Attribution:
    maps = maps.detach().float().cpu()
    return Attribution(maps, no_signal=zero_maps(maps))


def _card(name: str) -> Card:
    return Card(
        name=name,
        question="attribution",
        answers="What whoever made the map says of it.",
        misleads="It was not made here.",
        signed=True,
        conserves=None,
        resolution="element",
        unit="unknown",
        needs="nothing",
        cost="no passes",
        source="given by the user",
    )
