"""Can it be believed? Evidence for or against explanations, each figure beside its controls."""

from underhood.checks.batch import Batch, batches
from underhood.checks.card import CheckCard
from underhood.checks.check import Check
from underhood.checks.complexity import Gini
from underhood.checks.faithfulness import (
    FaithfulnessCorrelation,
    FaithfulnessEstimate,
    MonotonicityCorrelation,
    SensitivityN,
)
from underhood.checks.infidelity import Infidelity
from underhood.checks.reading import Checked, Reading

__all__ = [
    "Batch",
    "Check",
    "CheckCard",
    "Checked",
    "FaithfulnessCorrelation",
    "FaithfulnessEstimate",
    "Gini",
    "Infidelity",
    "MonotonicityCorrelation",
    "Reading",
    "SensitivityN",
    "batches",
]
