"""The labels of a data set and the classes of a model: which is which, and what does not fit."""

import difflib
from collections import Counter
from collections.abc import Collection
from dataclasses import replace

from underhood.errors import BadInput
from underhood.inputs.dataset import Dataset
from underhood.inputs.label_classes import known_labels
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
    """A sentence where there are labels that are no class of the model's.

    Raises BadInput where all are, though the model's classes have names: then these are another model's.
    """
    found = Counter(row.label for row in dataset if row.label is not None)
    known = known_labels(tuple(found), model.labels or (), outputs)
    others = [name for name, _ in found.most_common() if name not in known]
    if not others:
        return []
    classes = _listed([str(name) for name in model.labels]) if model.labels else f"{outputs} without names"
    if model.labels and len(others) == len(found):
        raise BadInput(
            f"None of the data's labels is one of the model's classes ({classes}): "
            f"{_meant(others, known)} Spell them alike, with the data or in the model's class names."
        )
    count = sum(found[name] for name in others)
    have = "has a label that is" if count == 1 else "have labels that are"
    return [
        f"{count:,} picture{'' if count == 1 else 's'} {have} none of the model's classes ({classes}): "
        f"{_meant(others, known)}"
    ]


def _meant(others: list[str], known: Collection[str]) -> str:
    """The unknown labels, the first of them with the nearest that is known."""
    near = difflib.get_close_matches(others[0], known, n=1)
    return _listed(others) + (f"; is '{others[0]}' the class '{near[0]}'?" if near else ".")


def _are_numbers(labels: tuple[str, ...]) -> bool:
    return set(labels) == {str(number) for number in range(len(labels))}


def _listed(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(f"'{name}'" for name in names[:SHOWN]) + more
