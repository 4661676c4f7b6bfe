"""The labels of a data set and the classes of a model: which is which, and what does not fit."""

from collections import Counter
from dataclasses import replace

from underhood.inputs.dataset import Dataset
from underhood.models import Model

SHOWN = 8  # names


def named(model: Model, dataset: Dataset, outputs: int) -> Model:
    """The model with class names: where it has none, the data's labels sorted, as image folders have them.

    Where the labels are numbers from 0 on, they name the classes already.
    """
    labels = dataset.labels
    if model.labels or len(labels) != outputs or _are_numbers(labels):
        return model
    note = (
        f"The model has no class names; the data's labels are taken for them, in order: {_listed(labels)}. "
        "Give the names where that is wrong."
    )
    return replace(model, labels=labels, notes=(*model.notes, note))


def unfit(model: Model, dataset: Dataset, outputs: int) -> list[str]:
    """A sentence where there are labels that are no class of the model's."""
    known = {str(name) for name in model.labels or range(outputs)}
    others = Counter(row.label for row in dataset if row.label is not None and row.label not in known)
    if not others:
        return []
    count = sum(others.values())
    have = "has a label that is" if count == 1 else "have labels that are"
    classes = _listed([str(name) for name in model.labels]) if model.labels else f"{outputs} without names"
    return [
        f"{count:,} picture{'' if count == 1 else 's'} {have} none of the model's classes ({classes}): "
        f"{_listed([name for name, _ in others.most_common()])}."
    ]


def _are_numbers(labels: tuple[str, ...]) -> bool:
    return set(labels) == {str(number) for number in range(len(labels))}


def _listed(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(f"'{name}'" for name in names[:SHOWN]) + more
