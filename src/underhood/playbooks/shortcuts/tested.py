"""A candidate with what its trials came to."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from underhood.checks.intervals import Interval
from underhood.playbooks.shortcuts.candidates import Candidate
from underhood.playbooks.shortcuts.evidence import Net, net
from underhood.playbooks.shortcuts.sampling import Chosen
from underhood.playbooks.shortcuts.trials import Trial
from underhood.playbooks.statistics import wilson
from underhood.playbooks.survey import Indices

MOSTLY = 0.6  # of a thing's pixels, outside the subject


@dataclass(frozen=True, eq=False)
class Tested:
    """A candidate with its trials.

    rows:    of the survey, of the carriers; masks: (k, H, W) of the thing in each, None for a property.
    middle:  the transplant of a property onto the subject alone; of a background the subject's own.
    outside: share of the thing outside the subject; area: of the picture.
    within:  the shift of a property on the subject, along that around it: 1 where it is as large.
    p:       corrected for the number of candidates tested.
    """

    candidate: Candidate
    chosen: Chosen
    rows: Indices
    recipients: Indices
    transplant: Trial
    removal: Trial
    seed: int
    raw_p: float
    p: float = 1.0
    masks: NDArray[np.bool_] | None = None
    middle: Trial | None = None
    outside: float = 1.0
    area: float = 1.0
    within: float = 1.0

    @cached_property
    def put(self) -> Net:
        return net(self.transplant, "turned", self.seed)

    @property
    def prevalence(self) -> float:
        """Share of the pictures drawn by chance that rely on it."""
        return float(self._relying.mean())

    @property
    def prevalence_interval(self) -> Interval:
        return wilson(int(self._relying.sum()), len(self._relying))

    @property
    def _relying(self) -> NDArray[np.bool_]:
        return self.candidate.relying[self.chosen.by_chance]

    @property
    def share_turned(self) -> float:
        return self.put.value

    @property
    def weight(self) -> float:
        return self.share_turned * self.prevalence

    @property
    def is_novel_subject(self) -> bool:
        """Novel, and mostly on the subject."""
        return self.candidate.novel and self.outside < MOSTLY
