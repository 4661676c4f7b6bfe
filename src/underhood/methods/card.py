"""`Card`: what a method answers, and what it does not."""

from dataclasses import dataclass, replace
from typing import Literal

Question = Literal["sensitivity", "attribution", "reconstruction", "focus"]

QUESTIONS: dict[Question, str] = {
    "sensitivity": "Where would a small change of the input change the score most?",
    "attribution": "How much did each part contribute to the score, compared with a stated absence?",
    "reconstruction": "Which pattern in the input drives a unit inside the model?",
    "focus": "From which regions did the model take evidence for the target?",
}


@dataclass(frozen=True)
class Card:
    """A method's claims about itself.

    name:      as in its paper.
    question:  which of the four questions it answers.
    answers:   what its map shows, one sentence.
    misleads:  what it is known to get wrong, one sentence.
    signed:    whether negative values mean evidence against.
    conserves: what its values sum to, or None where they have no fixed sum.
    resolution: "element" (pixel), "region" or "layer".
    unit:      of one value of the map.
    needs:     what a model must offer.
    cost:      passes through the network for one input.
    source:    the paper.
    randomisation: whether the map changes where the weights of the upper layers are made random.
    warning:   what has to stand beside every picture of it, or None.
    """

    name: str
    question: Question
    answers: str
    misleads: str
    signed: bool
    conserves: str | None
    resolution: Literal["element", "region", "layer"]
    unit: str
    needs: str
    cost: str
    source: str
    randomisation: bool = True
    warning: str | None = None

    def of_layer(self, at: str | None) -> "Card":
        """The same of a method that looks at a layer's activations; None is the input."""
        return replace(self, resolution="layer") if at else self
