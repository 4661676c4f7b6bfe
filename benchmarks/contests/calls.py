"""Model calls that KernelSHAP and LIME take until their error is so small, beside shap and lime.

The error is the root mean square over groups and seeds, as a share of the largest exact value: what a
standard error estimates. Numbers of calls lie on straight lines between logarithms.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite

import torch

from benchmarks.contest import Contest
from benchmarks.games import (
    LIMES,
    SHAPLEY,
    Estimate,
    M,
    calls_needed,
    errors,
    game,
    lime_weights,
    shapley_values,
)
from benchmarks.rows import OURS, Row

LEVELS = (0.02, 0.015, 0.01)
MODELS = ("demo:honest", "demo:vit")
KERNELS: dict[str, Estimate] = {
    OURS: SHAPLEY["Underhood KernelSHAP"],
    "shap": SHAPLEY["shap KernelExplainer"],
    "captum": SHAPLEY["captum KernelShap"],
}
FITS: dict[str, Estimate] = {OURS: LIMES["Underhood LIME"], "lime": LIMES["lime"]}


class Calls(Contest):
    """Of models of the demo: exact values take all coalitions."""

    def rows(self, networks: Sequence[str], rounds: int, device: torch.device) -> Iterator[Row]:  # noqa: ARG002
        warnings.filterwarnings("ignore", module="shap|lime|sklearn")
        for name in MODELS if device.type == "cpu" else ():
            worth = game(name, 1)
            for method, estimates, truth in (
                ("KernelSHAP", KERNELS, shapley_values(worth)),
                ("LIME", FITS, lime_weights(worth)),
            ):
                lines = errors(estimates, worth, truth)
                for level in LEVELS:
                    needed = {tool: calls_needed(line, level) for tool, line in lines.items()}
                    reached = {tool: calls for tool, calls in needed.items() if isfinite(calls)}
                    if reached.keys() > {OURS}:
                        yield self._row(name, f"{method} to {level:.1%}", reached)

    def _row(self, model: str, case: str, needed: Mapping[str, float]) -> Row:
        least, peer = min((calls, tool) for tool, calls in needed.items() if tool != OURS)
        return Row(
            contest=self.key,
            network=model,
            case=case,
            device="CPU",
            base=round(least),
            unit="calls",
            setting=peer,
            over={tool: (round(calls / least, 4),) * 2 for tool, calls in needed.items()},
        )


CONTESTS = (
    Calls(
        "calls",
        f"Model calls to an error of so much of the largest value, {M} superpixels",
        "at least 3 × fewer than shap and lime.",
        1 / 3,
    ),
)
