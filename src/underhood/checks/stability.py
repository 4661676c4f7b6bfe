"""How far a map moves where the input hardly does.

Max- and average-sensitivity (Yeh et al. 2019, "On the (in)fidelity and sensitivity of explanations",
definition 3): the supremum, or the mean, over |δ| ≤ r of

    ‖Φ(x + δ) - Φ(x)‖ / ‖Φ(x)‖.

Local Lipschitz estimate (Alvarez-Melis & Jaakkola 2018, "On the robustness of interpretability methods",
eq. 3): max over x' near x of ‖Φ(x') - Φ(x)‖ / ‖x' - x‖.

A maximum over draws is a lower bound of the supremum, and grows with the number of draws. Copies that change
the predicted class are left out and counted. That a map stays says nothing by itself: so does a constant one.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from underhood.checks.batch import Batch
from underhood.checks.card import CheckCard
from underhood.checks.nearby import Told, steps
from underhood.checks.sensitivity import Sensitivity


@dataclass(frozen=True)
class MaxSensitivity(Sensitivity):
    """The largest ‖Φ(x + δ) - Φ(x)‖ / ‖Φ(x)‖ over noisy copies: 0 where the map stays as it is."""

    key = "max_sensitivity"

    @property
    def card(self) -> CheckCard:
        return MAX_SENSITIVITY

    def scale(self, batch: Batch, found: Told) -> Tensor:  # noqa: ARG002
        return torch.ones_like(found.moves.share)

    def said(self, value: float, shifted: float) -> str:
        return (
            f"Noise that leaves the prediction as it is moves the map by up to {value:.0%} of its size, or "
            f"more (a map laid elsewhere: {shifted:.0%})."
        )


@dataclass(frozen=True)
class AverageSensitivity(MaxSensitivity):
    """The mean of ‖Φ(x + δ) - Φ(x)‖ / ‖Φ(x)‖ over noisy copies."""

    key = "average_sensitivity"
    statistic = "mean"

    @property
    def card(self) -> CheckCard:
        return AVERAGE_SENSITIVITY

    def said(self, value: float, shifted: float) -> str:
        return (
            f"Noise that leaves the prediction as it is moves the map by {value:.0%} of its size on average "
            f"(a map laid elsewhere: {shifted:.0%})."
        )


@dataclass(frozen=True)
class LocalLipschitz(Sensitivity):
    """The largest ‖Φ(x') - Φ(x)‖ / ‖x' - x‖ over noisy copies, in units of the map per unit of input.

    It grows with the map's scale, so that it compares inputs rather than methods.
    """

    key = "local_lipschitz"

    @property
    def card(self) -> CheckCard:
        return LOCAL_LIPSCHITZ

    def scale(self, batch: Batch, found: Told) -> Tensor:
        size = torch.linalg.vector_norm(batch.maps.flatten(1), dim=1, dtype=torch.float64)
        return steps(batch, self.near, found.count)[0] / size


CONTROLS = (
    "the map's own copies, shifted and mirrored, in the place of noisy maps (p-value); a map of edges, "
    "which moves with the input; fixed maps, which never move"
)
MISLEADS = (
    "A map that never looks at the input does not move at all; and where the model itself changes within the "
    "noise, a true map must move too."
)
COST = "draws × the method"

MAX_SENSITIVITY = CheckCard(
    name="Max-sensitivity",
    question="stability",
    asks="How far can noise that changes nothing move the map?",
    defined="The largest ‖Φ(x + δ) - Φ(x)‖ / ‖Φ(x)‖ over the draws: a lower bound of the supremum.",
    better="lower",
    unit="the map's size",
    range="0 (stays as it is) upwards",
    controls=CONTROLS,
    misleads=MISLEADS,
    cost=COST,
    source="Yeh et al. 2019, arXiv:1901.09392",
)

AVERAGE_SENSITIVITY = CheckCard(
    name="Average sensitivity",
    question="stability",
    asks="How far does noise that changes nothing move the map?",
    defined="The mean of ‖Φ(x + δ) - Φ(x)‖ / ‖Φ(x)‖ over the draws.",
    better="lower",
    unit="the map's size",
    range="0 (stays as it is) upwards",
    controls=CONTROLS,
    misleads=MISLEADS,
    cost=COST,
    source="Yeh et al. 2019, arXiv:1901.09392; Bhatt et al. 2020, arXiv:2005.00631",
)

LOCAL_LIPSCHITZ = CheckCard(
    name="Local Lipschitz estimate",
    question="stability",
    asks="How steeply does the map change with the input?",
    defined="The largest ‖Φ(x') - Φ(x)‖ / ‖x' - x‖ over the draws: a lower bound of the constant.",
    better="lower",
    unit="map per unit of input",
    range="0 (stays as it is) upwards",
    controls=CONTROLS,
    misleads="It grows with the map's scale, so it compares inputs, not methods. " + MISLEADS,
    cost=COST,
    source="Alvarez-Melis & Jaakkola 2018, arXiv:1806.08049",
)
