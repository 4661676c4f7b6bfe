"""The one question of all trials: how far does a class lead, and is it predicted?"""

from dataclasses import dataclass

import torch
from torch import Tensor

from underhood.engine import Engine
from underhood.models.target import Custom
from underhood.playbooks.survey import log_odds


@dataclass(frozen=True, eq=False)
class Asked:
    """An engine, and the class that it is asked about."""

    engine: Engine
    target: int

    def lead(self, scores: Tensor) -> Tensor:
        """Log-odds of the class, (m,), from scores (m, C)."""
        return log_odds(scores, torch.full((len(scores),), self.target, device=scores.device))

    def scores(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The model's scores of several batches of one size."""
        return self.engine.outputs(torch.cat(inputs)).split(len(inputs[0]))

    def gradients(self, inputs: Tensor) -> Tensor:
        """Of the lead, by the inputs."""
        found = self.engine.gradients(inputs, Custom(self.lead))
        assert found is not None  # nothing reduces it
        return found.gradients[0]
