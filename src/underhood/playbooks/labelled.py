"""Pictures without a label that the model knows: what playbooks that compare with labels say of them."""

from underhood.playbooks.finding import Outcome
from underhood.playbooks.survey import Survey


def no_labels(playbook: str, what: str) -> Outcome:
    """Where no picture has one; what: cannot be told."""
    said = (
        f"{what} cannot be told, as no picture has a label that the model knows: give labels (a folder per "
        "class, or a table), spelt as the model's classes are."
    )
    return Outcome(playbook, said, problems=(said,))


def left_out(survey: Survey) -> list[str]:
    """How many there are, in a sentence; none where there are none."""
    unknown = int((survey.label < 0).sum())
    return [f"{unknown} of {len(survey)} pictures have no label that the model knows."] if unknown else []
