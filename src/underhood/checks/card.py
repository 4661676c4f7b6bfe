"""`CheckCard`: what a check asks, and when its answer misleads."""

from dataclasses import dataclass
from typing import Literal

Question = Literal[
    "controls",  # does the map do better than meaningless ones?
    "model",  # does it depend on what the model has learned?
    "class",  # does it depend on the class that is asked about?
    "stability",  # does it stay where nothing that matters changes?
    "certainty",  # is there something to explain, and is the map sure of it?
    "completeness",  # does it add up to what it promises?
    "support",  # does a method of another family say the same?
    "description",  # how the map looks; evidence neither for nor against it
    "truth",  # does it hit what is known to be the cause?
]
Direction = Literal["higher", "lower"]


@dataclass(frozen=True)
class CheckCard:
    """What a check says of itself.

    name:      as in its paper.
    question:  which of the verdict's questions it helps to answer.
    asks:      the question in one plain sentence.
    defined:   the figure's definition in one sentence; `unit` and `range` are those of the figure.
    better:    whether a higher or a lower figure speaks for the map; None where neither does.
    controls:  what it is compared with, in words.
    misleads:  when its answer misleads, in one sentence.
    cost:      passes for one explanation, in words.
    source:    the paper.
    """

    name: str
    question: Question
    asks: str
    defined: str
    better: Direction | None
    unit: str
    range: str
    controls: str
    misleads: str
    cost: str
    source: str
