"""`Shortcuts`: does the model use what it should not? Candidates are found, then tested causally."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch

from underhood.errors import InvalidArgument
from underhood.playbooks.finding import Outcome
from underhood.playbooks.playbook import Playbook
from underhood.playbooks.shortcuts.candidates import Seen, candidates
from underhood.playbooks.shortcuts.exchanges import Background, Exchange, Novel, places, stacked
from underhood.playbooks.shortcuts.findings import as_finding
from underhood.playbooks.shortcuts.judged import corrected, findings
from underhood.playbooks.shortcuts.remembered import Remembered
from underhood.playbooks.shortcuts.report import summary, tables
from underhood.playbooks.shortcuts.sampling import (
    Chosen,
    Looked,
    chosen,
    drawn_from_others,
    have_places,
    often_predicted,
    pictures,
)
from underhood.playbooks.shortcuts.scan import matched, scan
from underhood.playbooks.shortcuts.tested import Tested
from underhood.playbooks.shortcuts.trying import tested
from underhood.playbooks.survey import Survey


@dataclass(frozen=True)
class Shortcuts(Playbook):
    """Looks for things outside the subject, and properties of the whole picture, that decide by themselves.

    scanned: pictures of each class that are looked at closely, half of them kept for the tests.
    pairs:   pictures per test, at most.
    classes: at most, the most often predicted; least: pictures of a class, for fewer nothing is said.
    worth:   share of pictures that a candidate must turn, beyond its controls: for sure, or if it is a novel
             thing on average, a third of it for sure.
    """

    key: ClassVar[str] = "shortcuts"
    question: ClassVar[str] = "Does the model rely on something that it should not be using?"
    scanned: int = 96
    pairs: int = 128
    classes: int = 10
    least: int = 16
    worth: float = 0.15

    def __post_init__(self) -> None:
        if min(self.scanned, self.pairs, self.least) < 8:
            raise InvalidArgument(
                "The shortcuts playbook needs at least 8 pictures of each class to look at."
            )
        if not 0 < self.worth < 1:
            raise InvalidArgument(f"worth is a share of pictures, between 0 and 1, not {self.worth}.")

    def __call__(self, survey: Survey) -> Outcome:
        before = survey.engine.log.calls
        classes = often_predicted(survey, self.least, self.classes)
        if not classes:
            return self._nothing(
                f"Too few pictures to look for shortcuts: at least {self.least} must be predicted as one "
                "class, and as many as others."
            )
        if not have_places(survey.inputs([0])):
            return self._nothing("Shortcuts are looked for in pictures of at least 12 x 12 pixels only.")
        looked = self._looked(survey, classes)
        found = self._tested(survey, looked)
        kept = [as_finding(survey, one) for one in findings(found, self.worth)]
        return Outcome(
            self.key,
            summary(kept, found, self.worth),
            tuple(kept),
            tables(survey, looked, found),
            problems=self._left_out(survey, classes),
            calls=int(survey.engine.log.calls - before),
        )

    def _looked(self, survey: Survey, classes: list[int]) -> list[Chosen]:
        read = Remembered(survey.inputs)
        return [chosen(survey, target, self.scanned, survey.settings.seed, read) for target in classes]

    def _tested(self, survey: Survey, looked: list[Chosen]) -> list[Tested]:
        parts = [replace(pictures(survey, one.rows), novel=one.novel) for one in looked]
        rows = [one.rows for one in looked]
        if len(looked) == 1:  # all others are of classes too rare to be looked at themselves
            only = looked[0]
            rows.append(drawn_from_others(survey, only.target, only.rows, self.scanned, survey.settings.seed))
            parts.append(pictures(survey, rows[-1]))
        everyone = stacked(parts)
        classes = survey.predicted[np.concatenate(rows)]
        spots, channels = places(*everyone.inputs.shape[2:]), everyone.inputs.shape[1]
        exchanges: list[Exchange] = [*spots, Novel(), Background()]
        shares = scan(survey.engine, everyone, classes, matched(classes), exchanges).share
        found, start = [], 0
        for one, part in zip(looked, parts, strict=False):
            mine = shares[start : start + len(part)]
            start += len(part)
            apart = (classes != one.target) & (survey.label[np.concatenate(rows)] != one.target)
            pair = Looked(one, part, everyone[torch.from_numpy(apart)])
            seen = Seen(mine[:, : len(spots)], mine[:, -2], mine[:, -1])
            for candidate in candidates(one, seen, spots, channels, self.pairs):
                found.append(tested(survey, pair, candidate, self.pairs))
        return corrected(found)

    def _nothing(self, why: str) -> Outcome:
        return Outcome(self.key, why, problems=(why,))

    def _left_out(self, survey: Survey, classes: list[int]) -> tuple[str, ...]:
        rare = sorted(set(np.unique(survey.predicted).tolist()) - set(classes))
        if not rare:
            return ()
        names = ", ".join(f"“{survey.classes[c]}”" for c in rare[:8]) + (" …" if len(rare) > 8 else "")
        return (f"Not looked at, as too few pictures are predicted as them: {names}.",)
