"""Is the model right for the right reasons across the data? Audits, made of playbooks."""

from underhood.playbooks.audit import Audit, audit, resume
from underhood.playbooks.compare import Comparison, compare
from underhood.playbooks.finding import Effect, Finding, Outcome
from underhood.playbooks.playbook import Playbook
from underhood.playbooks.survey import Survey

__all__ = [
    "Audit",
    "Comparison",
    "Effect",
    "Finding",
    "Outcome",
    "Playbook",
    "Survey",
    "audit",
    "compare",
    "resume",
]
