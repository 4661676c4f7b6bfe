"""Which of several findings about the same pictures is kept."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from underhood.playbooks.shortcuts.judged import without_doubles


def one(kind: str, *, weight: float, novel: bool = False, unlike: float = 0.0) -> Any:
    """A tested candidate of class 1, on which all of ten pictures rely."""
    placed = kind == "place"
    return SimpleNamespace(
        candidate=SimpleNamespace(kind=kind, target=1, novel=novel, relying=np.ones(10, bool)),
        masks=object() if placed else None,
        odd=None if placed else SimpleNamespace(unlike=unlike, shift=1.0),
        share_turned=weight,
        weight=weight,
        is_novel_subject=False,
    )


@pytest.mark.parametrize(("novel", "unlike", "kept"), [
    (True, 0.1, "place"),  # the texture is the thing's own
    (True, 0.9, "texture"),  # no other class has such a texture
    (False, 0.1, "texture"),  # pictures of other classes have the like of the thing, too
])  # fmt: skip
def test_a_familiar_texture_gives_way_to_a_novel_thing(novel: bool, unlike: float, kept: str) -> None:
    thing = one("place", weight=0.8, novel=novel)
    texture = one("texture", weight=0.9, unlike=unlike)
    assert [found.candidate.kind for found in without_doubles([thing, texture])] == [kept]
