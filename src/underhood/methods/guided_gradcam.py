"""Guided Grad-CAM (Selvaraju et al. 2017, "Grad-CAM", section 3.2).

Guided backpropagation, element by element times Grad-CAM's map upsampled to the input: the strokes of the
first inside the regions of the second.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from underhood.engine import Run
from underhood.methods.card import Card
from underhood.methods.gradcam import GradCAM
from underhood.methods.guided import GUIDED_BACKPROP, GuidedBackprop
from underhood.methods.method import Attribution, Method


@dataclass(frozen=True)
class GuidedGradCAM(Method):
    """Guided backprop × Grad-CAM.

    layer: Grad-CAM's; None takes the default for the architecture, which the result names.

    Grad-CAM's map before upsampling is kept in `arrays`, under the layer's name.
    """

    layer: str | Sequence[str] | None = None

    key = "guided_gradcam"

    def __post_init__(self) -> None:
        GradCAM(self.layer)

    @property
    def card(self) -> Card:
        return CARD

    def attribute(self, run: Run) -> Attribution:
        cam, guided = GradCAM(self.layer).attribute(run), GuidedBackprop().attribute(run)
        pairs = zip(cam.diagnostics, guided.diagnostics, strict=True)
        return Attribution(
            guided.values * cam.values[:, None],
            diagnostics=[{**a, **b} for a, b in pairs],
            no_signal=[a or b for a, b in zip(cam.no_signal, guided.no_signal, strict=True)],
            arrays=cam.arrays,
        )


CARD = replace(
    GUIDED_BACKPROP,
    name="Guided Grad-CAM",
    answers="Which strokes and edges in the input lie in the regions that the layer took evidence from.",
    misleads="Its strokes are guided backprop's, which hardly depend on the class or the upper layers and "
    "fail the randomisation test; only the regions are the target's.",
    unit="score² per unit of input, no fixed unit",
    needs="gradients; a layer with a spatial map or patch tokens",
    cost="2 forward + 1 backward + the backward above the layer",
    source="Selvaraju et al. 2017, arXiv:1610.02391",
    randomisation=True,  # its regions do change
)
