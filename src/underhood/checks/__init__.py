"""Can it be believed? Evidence for or against explanations, each figure beside its controls."""

from underhood.checks.agreement import Agreement
from underhood.checks.batch import Batch, batches
from underhood.checks.benchmark import Sample, benchmark
from underhood.checks.bound import bound
from underhood.checks.card import CheckCard
from underhood.checks.check import Check
from underhood.checks.class_sensitivity import ClassSensitivity
from underhood.checks.completeness import Completeness, Conservation
from underhood.checks.complexity import EffectiveComplexity, Entropy, Gini
from underhood.checks.confirmed import ConfirmedShare
from underhood.checks.data_randomisation import DataRandomisation
from underhood.checks.decision import Decision
from underhood.checks.deletion import Deletion, Insertion
from underhood.checks.efficient_randomisation import EfficientRandomisation
from underhood.checks.eraser import Comprehensiveness, Sufficiency
from underhood.checks.faithfulness import (
    FaithfulnessCorrelation,
    FaithfulnessEstimate,
    MonotonicityCorrelation,
    SensitivityN,
)
from underhood.checks.infidelity import Infidelity
from underhood.checks.localisation import IoU, PointingGame, RelevanceMass, RelevanceRank
from underhood.checks.monotonicity import Monotonicity
from underhood.checks.protocols import IROF, ROAD, RegionPerturbation
from underhood.checks.randomisation import Randomisation
from underhood.checks.rank_stability import RankStability
from underhood.checks.reading import Checked, Reading
from underhood.checks.relative_stability import (
    RelativeInputStability,
    RelativeOutputStability,
    RelativeRepresentationStability,
)
from underhood.checks.rerun_stability import RetrainingStability, SeedStability
from underhood.checks.stability import AverageSensitivity, LocalLipschitz, MaxSensitivity
from underhood.checks.suite import LEVELS, check, checked, planned, with_verdicts
from underhood.checks.tally import Benchmark
from underhood.checks.top_share import TopShare
from underhood.checks.uncertainty import Uncertainty
from underhood.checks.verdict import Reason, Verdict, Verdicts

__all__ = [
    "IROF",
    "LEVELS",
    "ROAD",
    "Agreement",
    "AverageSensitivity",
    "Batch",
    "Benchmark",
    "Check",
    "CheckCard",
    "Checked",
    "ClassSensitivity",
    "Completeness",
    "Comprehensiveness",
    "ConfirmedShare",
    "Conservation",
    "DataRandomisation",
    "Decision",
    "Deletion",
    "EffectiveComplexity",
    "EfficientRandomisation",
    "Entropy",
    "FaithfulnessCorrelation",
    "FaithfulnessEstimate",
    "Gini",
    "Infidelity",
    "Insertion",
    "IoU",
    "LocalLipschitz",
    "MaxSensitivity",
    "Monotonicity",
    "MonotonicityCorrelation",
    "PointingGame",
    "Randomisation",
    "RankStability",
    "Reading",
    "Reason",
    "RegionPerturbation",
    "RelativeInputStability",
    "RelativeOutputStability",
    "RelativeRepresentationStability",
    "RelevanceMass",
    "RelevanceRank",
    "RetrainingStability",
    "Sample",
    "SeedStability",
    "SensitivityN",
    "Sufficiency",
    "TopShare",
    "Uncertainty",
    "Verdict",
    "Verdicts",
    "batches",
    "benchmark",
    "bound",
    "check",
    "checked",
    "planned",
    "with_verdicts",
]
