"""Trust: how far can this audit's own maps be believed? The verdicts of `check` over a sample."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from underhood.checks.suite import checked, cost_of, suite_of
from underhood.checks.verdict import Verdict
from underhood.errors import InvalidArgument
from underhood.inputs.random import TRUST, generator
from underhood.methods.explain import as_methods, explain_with
from underhood.methods.explanation import Explanations
from underhood.playbooks.finding import Outcome
from underhood.playbooks.playbook import Playbook
from underhood.playbooks.sample import balanced
from underhood.playbooks.survey import Survey
from underhood.playbooks.trust.shares import Shares, best_beside
from underhood.playbooks.trust.words import ENOUGH, believed, doubt_finding

OWN = "gradcam"  # the method of the survey's maps
AT_ONCE = 8  # inputs


@dataclass(frozen=True)
class Trust(Playbook):
    """count: inputs, as many of each predicted class as there are; others: methods beside the audit's own
    (Grad-CAM), by key; those that do not suit the model are left out. level: of the checks, see `check`;
    at "quick" methods of many passes cannot be corroborated, and are not compared.
    """

    key: ClassVar[str] = "trust"
    question: ClassVar[str] = "How far can the maps of this audit be believed?"

    count: int = 24
    others: tuple[str, ...] = ("lrp", "hirescam", "input_x_gradient")
    level: str = "quick"

    def __post_init__(self) -> None:
        if self.count < 2:
            raise InvalidArgument("Trust is asked of at least 2 inputs.")
        if OWN in self.others:
            raise InvalidArgument(f"The audit's own method '{OWN}' is always asked; name others beside it.")
        as_methods((OWN, *self.others))  # an unknown one is told before any pass
        suite_of(self.level)

    def __call__(self, survey: Survey) -> Outcome:
        rows = balanced(survey.predicted, self.count, generator(survey.settings.seed, TRUST))
        found: dict[str, list[Verdict]] = {}
        calls, left_out = 0.0, dict[str, None]()
        for start in range(0, len(rows), AT_ONCE):
            explanations = self._explained(survey, rows[start : start + AT_ONCE])
            notes = explanations[0].provenance["notes"]
            left_out.update(dict.fromkeys(note for note in notes if "was left out" in note))
            calls += sum(cost_of(explanation) for explanation in explanations)
            for verdict in checked(explanations, self.level):  # type: ignore[arg-type]
                found.setdefault(verdict.method, []).append(verdict)
                calls += sum(reading.calls for reading in verdict.readings.values())
        shares = [Shares(method, tuple(verdicts)) for method, verdicts in found.items()]
        own = next(one for one in shares if one.method == OWN)
        better = best_beside(own, shares)
        numbers = [int(survey.number[row]) for row in rows]
        return Outcome(
            self.key,
            believed(own, better),
            () if own.share() >= ENOUGH else (doubt_finding(own, better, numbers),),
            tables={"Verdicts": [one.row() for one in shares]},
            problems=tuple(left_out),
            details={"level": self.level, "rows": numbers},
            calls=round(calls),
        )

    def _explained(self, survey: Survey, rows: Any) -> Explanations:
        methods, settings = as_methods((OWN, *self.others)), replace(survey.settings, progress=None)
        return explain_with(methods, survey.model, survey.inputs(rows), None, settings, skip_unfit=True)
