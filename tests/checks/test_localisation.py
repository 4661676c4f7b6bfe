"""Maps against masks of the true cause: known answers, chance, and what is undefined."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import underhood as uh
from tests.support.toys import Linear
from underhood.checks import Check, IoU, PointingGame, RelevanceMass, RelevanceRank, batches
from underhood.checks.masks import widened
from underhood.errors import InvalidArgument
from underhood.methods import Given

KINDS: list[type[Check]] = [PointingGame, RelevanceMass, RelevanceRank, IoU]


def explained(maps: torch.Tensor, seed: int = 0) -> uh.Explanations:
    """As if a model of these many inputs had been explained by these maps."""
    x = torch.zeros(len(maps), 1, *maps.shape[1:]) if maps.ndim == 3 else torch.zeros_like(maps)
    model = uh.Model(Linear(torch.ones(x.shape[1:])))
    found = uh.explain(model, x, 0, methods=Given(maps, "given"), seed=seed)
    assert isinstance(found, uh.Explanations)
    return found


def square(size: int, top: int, left: int, side: int) -> torch.Tensor:
    mask = torch.zeros(size, size)
    mask[top : top + side, left : left + side] = 1
    return mask


def test_known_answers() -> None:
    mask = square(4, 0, 0, 2)
    heat = torch.tensor([[4.0, 2, 0, 0], [1, 0, 3, 0], [0, 0, 0, 0], [-5, 0, 0, 0]])
    found = explained(heat[None])
    assert PointingGame(mask)(found)[0].value == 1
    assert PointingGame(mask, kind="magnitude")(found)[0].value == 0
    assert RelevanceMass(mask)(found)[0].value == pytest.approx(7 / 10)
    assert RelevanceMass(mask, kind="magnitude")(found)[0].value == pytest.approx(7 / 15)
    # highest four: 4, 3, 2, 1, three of them in the mask
    assert RelevanceRank(mask)(found)[0].value == pytest.approx(3 / 4)
    # above 0.2 · 4: the same four; union with the mask: 5 places
    assert IoU(mask)(found)[0].value == pytest.approx(3 / 5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_mask_itself_is_the_best_map_and_a_miss_the_worst(kind: type[Check]) -> None:
    mask = square(12, 1, 2, 4)
    best, worst = kind(mask)(explained(torch.stack([mask, 1 - mask])))  # type: ignore[call-arg]
    assert best.value == pytest.approx(1)
    assert best.skill == pytest.approx(1)
    assert best.passed
    assert worst.value == pytest.approx(0)
    assert worst.passed is False
    assert best.calls == 0


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_no_answer_is_undefined(kind: type[Check]) -> None:
    mask = square(6, 0, 0, 3)
    heat = torch.rand(6, 6, generator=torch.Generator().manual_seed(0))
    nan = heat.clone()
    nan[0, 0] = torch.nan
    cases = [
        (heat, torch.zeros(6, 6), "the mask is empty"),
        (heat, torch.ones(6, 6), "the mask covers everything"),
        (nan, mask, "the map holds values that are not finite"),
        (torch.full((6, 6), 2.0), mask, "the map is the same everywhere"),
        (-heat, mask, "no place of the map has positive relevance"),
    ]
    for values, cause, reason in cases:
        reading = kind(cause)(explained(values[None]))[0]  # type: ignore[call-arg]
        assert reading.undefined == reason


@settings(max_examples=12)
@given(st.integers(0, 10**6))
def test_shares_lie_between_0_and_1(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    heat = torch.randn(1, 5, 5, generator=random) * 10.0 ** float(torch.randint(-8, 8, (), generator=random))
    mask = torch.rand(5, 5, generator=random) > 0.6
    for kind in KINDS:
        for way in ("positive", "magnitude"):
            reading = kind(mask, kind=way)(explained(heat))[0]  # type: ignore[call-arg]
            if reading.value is not None:
                assert 0 <= reading.value <= 1 + 1e-12
                assert all(v is None or 0 <= v <= 1 + 1e-12 for v in reading.controls.values())


def test_tolerance_is_a_distance() -> None:
    mask = torch.zeros(1, 11, 11, dtype=torch.bool)
    mask[0, 5, 4] = True
    rows, columns = torch.meshgrid(torch.arange(11), torch.arange(11), indexing="ij")
    distance = ((rows - 5) ** 2 + (columns - 4) ** 2).double().sqrt()
    for radius in (0, 1, 1.5, 3, 5, 20):
        assert torch.equal(widened(mask, radius)[0], distance <= radius)
    row = torch.zeros(1, 9, dtype=torch.bool)
    row[0, 2] = True
    assert widened(row, 3)[0].tolist() == [True] * 6 + [False] * 3
    near = torch.zeros(1, 11, 11)
    near[0, 5, 7] = 1.0
    assert PointingGame(mask[0], 3)(explained(near))[0].value == 1
    assert PointingGame(mask[0], 2.9)(explained(near))[0].value == 0


def test_several_highest_places_hit_in_part() -> None:
    heat = torch.zeros(1, 4, 4)
    heat[0, 0, 0] = heat[0, 3, 3] = 1.0
    assert PointingGame(square(4, 0, 0, 2))(explained(heat))[0].value == 0.5


def test_each_input_has_its_own_mask_whatever_the_batch() -> None:
    maps = torch.rand(5, 6, 6, generator=torch.Generator().manual_seed(0))
    masks = torch.stack([square(6, i, 0, 2) for i in range(5)])
    found = explained(maps)
    together = RelevanceMass(masks)(found)
    parts = [r for batch in batches(found, size=2) for r in RelevanceMass(masks).read(batch)]
    for i in range(5):
        expected = float((maps[i] * masks[i]).sum() / maps[i].sum())
        assert together[i].value == pytest.approx(expected)
        assert parts[i].value == pytest.approx(expected)
    with pytest.raises(InvalidArgument, match=r"The mask has shape \(3, 6, 6\)"):
        RelevanceMass(masks[:3])(found)


def test_rows_have_masks_too() -> None:
    heat = torch.tensor([[1.0, 0, 3, 0, 0, 0, 0, 0]])
    mask = torch.tensor([0, 0, 1, 0, 0, 0, 0, 0])
    assert RelevanceMass(mask)(explained(heat))[0].value == pytest.approx(0.75)
    assert PointingGame(mask)(explained(heat))[0].value == 1


def test_random_maps_hit_by_chance() -> None:
    mask = square(10, 2, 3, 5)  # a quarter of all places
    maps = torch.rand(150, 10, 10, generator=torch.Generator().manual_seed(3))
    for kind in (PointingGame, RelevanceMass, RelevanceRank):
        found = kind(mask)(explained(maps))
        assert found.value == pytest.approx(0.25, abs=0.09)
