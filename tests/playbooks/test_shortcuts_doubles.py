"""Which of several findings about the same pictures is kept."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from underhood.playbooks.shortcuts.judged import without_doubles


def one(kind: str, *, weight: float, subject: bool = False, first: int = 0) -> Any:
    """A tested candidate of class 1, on which ten of twenty pictures rely."""
    return SimpleNamespace(
        candidate=SimpleNamespace(kind=kind, target=1, relying=np.isin(np.arange(20), first + np.arange(10))),
        masks=object() if kind in ("place", "background") else None,
        share_turned=weight,
        weight=weight,
        is_novel_subject=subject,
    )


@pytest.mark.parametrize(("thing", "texture", "kept"), [
    (0.8, 0.9, "texture"),
    (0.9, 0.8, "texture"),  # the thing does little more, and has the texture too
    (0.9, 0.6, "place"),
])  # fmt: skip
def test_of_a_thing_and_a_texture_one_is_meant(thing: float, texture: float, kept: str) -> None:
    found = without_doubles([one("place", weight=thing), one("texture", weight=texture)])
    assert [tested.candidate.kind for tested in found] == [kept]


def test_a_property_of_few_of_its_pictures_does_not_explain_a_thing() -> None:
    thing, texture = one("place", weight=0.25), one("texture", weight=0.18, first=6)
    texture.candidate.relying[10:] = False
    texture.share_turned = 0.9
    assert without_doubles([thing, texture]) == [thing]


def test_what_other_pictures_rely_on_is_another_finding() -> None:
    both = [one("place", weight=0.9), one("texture", weight=0.5, first=10)]
    assert without_doubles(both) == both


def test_a_property_of_the_picture_explains_what_is_novel_on_the_subject() -> None:
    found = without_doubles([one("place", weight=0.9, subject=True), one("texture", weight=0.5, first=10)])
    assert [tested.candidate.kind for tested in found] == ["texture"]


def test_a_background_is_meant_where_nothing_else_is_found() -> None:
    background, thing = one("background", weight=0.9), one("place", weight=0.2, first=10)
    assert without_doubles([background, thing]) == [thing]
    assert without_doubles([background]) == [background]
