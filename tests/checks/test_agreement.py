"""Agreement with methods of other families: who is asked, what they say, and what chance would."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import underhood as uh
from tests.support.toys import Linear
from underhood.checks import Agreement, batches
from underhood.checks.agreement import FAMILY, family
from underhood.engine import Engine, Run, Settings
from underhood.methods import Given
from underhood.methods.explain import METHODS


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def explained(*maps: torch.Tensor, seed: int = 0) -> uh.Explanations:
    """Maps from elsewhere, each of a family of its own: a, b, …"""
    x = drawn(len(maps[0]), 1, *maps[0].shape[1:], seed=9)
    methods = [Given(values, "abc"[i]) for i, values in enumerate(maps)]
    return uh.explain(uh.Model(Linear(torch.ones(x.shape[1:]))), x, 0, methods=methods, seed=seed)


def test_every_method_has_a_family() -> None:
    assert {kind.key for kind in METHODS} == set(FAMILY)
    assert family(Given(drawn(1, 4, 4), "elsewhere")) == "elsewhere"


def test_a_map_agrees_with_itself_and_not_with_its_opposite() -> None:
    maps = drawn(2, 14, 14)
    for measure, worst in (("spearman", -1), ("top", 0), ("sign", 0)):
        check = Agreement(measure)  # type: ignore[arg-type]
        same, opposite = check(explained(maps, 3 * maps)), check(explained(maps, -maps))
        assert [r.value for r in same] == pytest.approx([1] * 4)
        assert all(r.passed and r.p is not None and r.p <= 0.05 for r in same)
        assert [r.value for r in opposite] == pytest.approx([worst] * 4)
        assert all(r.passed is False for r in opposite)


def test_only_other_families_are_asked() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 36, 2)).eval()
    methods = ["input_x_gradient", "saliency", "occlusion", "gradcam", "hirescam"]
    settings = [m if m != "occlusion" else uh.Occlusion(size=2, stride=2) for m in methods]
    found = Agreement()(uh.explain(uh.Model(net), drawn(1, 1, 8, 8), 0, methods=settings))
    assert list(found[0].details["with"]) == ["occlusion", "gradcam", "hirescam"]
    assert list(found[3].details["with"]) == ["input_x_gradient", "saliency", "occlusion"]
    told = found[0].details["with"]
    cams = (told["gradcam"]["spearman"] + told["hirescam"]["spearman"]) / 2
    assert found[0].value == pytest.approx((told["occlusion"]["spearman"] + cams) / 2)
    assert told["occlusion"]["kind"] == "signed"
    assert found[1].details["with"]["occlusion"]["kind"] == "magnitude"
    assert "sign" not in found[1].details["with"]["occlusion"]
    assert all(r.calls == 0 for r in found)


def test_without_another_family_there_is_no_agreement() -> None:
    maps = drawn(1, 14, 14)
    assert Agreement()(explained(maps))[0].undefined == "no method of another family has explained this input"
    flat = torch.ones_like(maps)
    first, second = Agreement()(explained(maps, flat))
    assert first.undefined == "the maps of the other methods cannot be compared with this one"
    assert second.undefined == "the map is the same everywhere"
    bad = maps.clone()
    bad[0, 0, 0] = torch.nan
    assert Agreement()(explained(maps, bad))[0].value is None
    assert Agreement()(explained(maps, bad, maps))[0].value == pytest.approx(1)


def test_a_batch_equals_its_explanations_one_by_one() -> None:
    a, b = drawn(3, 14, 14), drawn(3, 14, 14, seed=1)
    together = Agreement()(explained(a, a + b))
    alone = [r for batch in batches(explained(a, a + b), size=1) for r in Agreement().read(batch)]
    assert [(r.value, r.p) for r in together.of("a")] == [(r.value, r.p) for r in alone[::2]]


def test_maps_that_lie_anywhere_agree_significantly_in_five_percent() -> None:
    """1,200 pairs of smooth maps that have nothing to do with each other, each moved by chance."""
    given, _ = batches(explained(drawn(20, 14, 14), drawn(20, 14, 14)), size=20)
    rejected = []
    for seed in range(60):
        maps = uh.inputs.baseline.gaussian_blur(drawn(40, 1, 14, 14, seed=seed), 1.5)[:, 0]
        random = np.random.default_rng(seed)
        maps = torch.stack([m.roll(tuple(random.integers(0, 14, 2)), (0, 1)) for m in maps])
        run = Run(Engine(given.model, Settings(seed=seed)), given.run.inputs, given.run.target)
        batch = replace(given, run=run, maps=maps[:20], beside=(replace(given.beside[0], maps=maps[20:]),))
        rejected += [r.p <= 0.05 for r in Agreement().read(batch) if r.p is not None]
    assert len(rejected) == 1200
    assert 0.03 <= np.mean(rejected) <= 0.07
