"""Which effects are worth a finding."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from underhood.playbooks.shortcuts.evidence import Net
from underhood.playbooks.shortcuts.judged import works
from underhood.playbooks.shortcuts.trials import Change, Trial


def trying(*, novel: bool, value: float, low: float, lost: float = 1.0, kind: str = "place") -> Any:
    """A candidate that turns such a share of the pictures, and whose own lose so much without it."""
    moved = np.full(12, lost)
    return SimpleNamespace(
        candidate=SimpleNamespace(kind=kind, novel=novel),
        masks=object() if kind == "place" else None,
        put=Net(value, low),
        removal=Trial(Change(moved, moved)),
        area=0.05,
        seed=0,
    )


@pytest.mark.parametrize(("value", "low", "worthy"), [
    (0.15, 0.05, True),
    (0.14, 0.10, False),  # too little on average
    (0.40, 0.04, False),  # perhaps nothing
])  # fmt: skip
def test_a_novel_thing_does_what_is_worth_telling_and_a_third_of_it_for_sure(
    value: float, low: float, worthy: bool
) -> None:
    assert works(trying(novel=True, value=value, low=low), 0.15) is worthy


@pytest.mark.parametrize(("low", "area", "worthy"), [
    (0.25, 0.05, True),
    (0.24, 0.05, False),
    (0.25, 0.20, False),  # larger things hold more that is natural
    (0.50, 0.20, True),
])  # fmt: skip
def test_a_thing_that_other_classes_have_too_does_more_and_for_sure(
    low: float, area: float, worthy: bool
) -> None:
    thing = trying(novel=False, value=0.9, low=low)
    thing.area = area
    assert works(thing, 0.15) is worthy


@pytest.mark.parametrize(("kind", "least"), [("texture", 0.15), ("colour", 0.2), ("background", 0.6)])
def test_a_property_does_what_it_must_for_sure(kind: str, least: float) -> None:
    assert works(trying(novel=True, value=0.9, low=least, kind=kind), 0.15)
    assert not works(trying(novel=True, value=0.9, low=least - 0.01, kind=kind), 0.15)


@pytest.mark.parametrize("novel", [True, False])
def test_a_novel_thing_need_not_lose_for_sure(novel: bool) -> None:
    thing, moved = trying(novel=novel, value=0.9, low=0.8), np.repeat([3.0, -1.0], [4, 8])
    thing.removal = Trial(Change(moved, moved))
    assert works(thing, 0.15) is novel


@pytest.mark.parametrize("novel", [True, False])
def test_what_loses_nothing_by_its_removal_is_no_finding(novel: bool) -> None:
    assert not works(trying(novel=novel, value=0.9, low=0.8, lost=0.0), 0.15)
