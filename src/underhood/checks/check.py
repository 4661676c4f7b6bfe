"""What every check is: a frozen dataclass whose fields are its parameters, and one `read`."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any, ClassVar

from underhood.checks.batch import Batch, batches
from underhood.checks.card import CheckCard
from underhood.checks.reading import Checked, Reading
from underhood.errors import InvalidArgument
from underhood.methods import Explanation
from underhood.methods.method import plain


class Check(ABC):
    """Evidence for or against explanations. Call it as `check(explanation)`.

    It takes one explanation, several, or an iterator of them (of which no more are held than are questioned
    together), by one method or by many, of one input or of a data set, and gives `Checked`: a
    `Reading` for each, the mean over inputs and its interval.
    """

    key: ClassVar[str]

    @property
    @abstractmethod
    def card(self) -> CheckCard: ...

    @abstractmethod
    def read(self, batch: Batch) -> Sequence[Reading]:
        """A reading for each of the batch's explanations; a batch equals its explanations one by one."""

    def __call__(self, explanations: Explanation | Iterable[Explanation]) -> Checked:
        return gathered(self, ((batch, self.read(batch)) for batch in batches(explanations)))

    def parameters(self) -> dict[str, Any]:
        """Every parameter by name, as plain values."""
        return {f.name: plain(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]


def gathered(check: Check, read: Iterable[tuple[Batch, Sequence[Reading]]]) -> Checked:
    """The readings of a check's batches, in the order of their explanations' batches."""
    readings: list[Reading] = []
    subjects: list[str] = []
    methods: list[str] = []
    seed = 0
    for batch, found in read:
        readings += found
        subjects += [e.subject.name for e in batch.explanations]
        methods += [e.method for e in batch.explanations]
        seed = batch.run.seed
    if not readings:
        raise InvalidArgument("There is no explanation to check.")
    return Checked(
        check.key, check.card, check.parameters(), tuple(readings), tuple(subjects), tuple(methods), seed
    )
