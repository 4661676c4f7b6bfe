"""The demo's point: real methods, on the shipped models, find the ruler where it is used."""

import numpy as np
import pytest

import underhood as uh
from tests.support.data import DATA, needs_data
from underhood.demo.dermoscopy import draw_many
from underhood.demo.factors import ALWAYS

MALIGNANT = 1


@pytest.fixture(scope="module")
def pictures():
    """Lesions of both kinds, each beside a ruler, from a seed that nothing was tuned on."""
    return list(draw_many(48, 90210, ruler=ALWAYS))


def share_on_the_ruler(name, method, pictures):
    """Of the pictures called malignant, how many have more positive relevance on ruler than lesion."""
    model = uh.load(f"demo:{name}")
    called = [s for s in pictures if uh.predict(model, s.image).index == MALIGNANT]
    assert len(called) >= 20
    found = method(model, [s.image for s in called], MALIGNANT)
    more = [_mass(e, s.artefacts["ruler"]) > _mass(e, s.lesion) for e, s in zip(found, called, strict=True)]
    return np.mean(more)


def _mass(explanation, mask):
    return np.maximum(explanation.heatmap(), 0)[mask].sum()


@pytest.mark.parametrize("method", [uh.GradCAM(), uh.Occlusion(32, 16)], ids=["gradcam", "occlusion"])
def test_the_cheating_model_is_seen_to_read_the_ruler_and_the_honest_one_is_not(method, pictures):
    assert share_on_the_ruler("cheating", method, pictures) >= 0.8
    assert share_on_the_ruler("honest", method, pictures) <= 0.05


@needs_data
def test_real_dermoscopy_with_rulers_and_ink_is_explained_without_an_error():
    paths = sorted((DATA / "ham10000" / "artefacts").glob("*.jpg"))
    assert len(paths) == 51
    for name in ("cheating", "honest", "vit"):
        found = uh.explain(uh.load(f"demo:{name}"), paths, methods=["gradcam", "saliency"])
        assert len(found) == 2 * 51
        assert all(np.isfinite(e.values).all() for e in found)
