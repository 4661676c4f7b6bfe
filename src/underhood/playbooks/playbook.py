"""`Playbook`: one question about a model and a data set."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from underhood.errors import InvalidArgument
from underhood.playbooks.finding import Outcome
from underhood.playbooks.survey import Survey


@dataclass(frozen=True)
class Playbook(ABC):
    """A frozen dataclass whose fields are its parameters; called with a survey, it gives an `Outcome`.

    key: as `--playbook` takes it; question: what it answers, one plain question.
    """

    key: ClassVar[str]
    question: ClassVar[str]

    @abstractmethod
    def __call__(self, survey: Survey) -> Outcome: ...

    def need(self, **least: int) -> None:
        """Refuse parameters below the least they may be."""
        for name, bound in least.items():
            if getattr(self, name) < bound:
                given = getattr(self, name)
                raise InvalidArgument(f"{name} of the playbook {self.key} is {bound} or more, not {given}.")

    def parameters(self) -> dict[str, Any]:
        return asdict(self)
