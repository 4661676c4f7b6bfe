"""`Playbook`: one question about a model and a data set."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

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

    def parameters(self) -> dict[str, Any]:
        return asdict(self)
