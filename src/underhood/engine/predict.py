"""`predict`: what the model says."""

from typing import Any

from underhood.engine.engine import Engine
from underhood.engine.settings import Settings
from underhood.inputs.gather import gather
from underhood.models import Model, Prediction


def predict(
    model: Model,
    inputs: Any,
    settings: Settings = Settings(),  # noqa: B008 - frozen
) -> Prediction | list[Prediction]:
    """The prediction of one input, or a list for several (see `underhood.inputs.gather`)."""
    gathered = gather(model, inputs)
    scores = Engine(model, settings).outputs(gathered.tensor).numpy()
    labels = model.labels
    found = [Prediction(row, tuple(labels) if labels else None) for row in scores]
    return found[0] if gathered.single else found
