"""Explanations gathered for their checks, and the controls they are compared with."""

import pytest
import torch
from torch import nn

import underhood as uh
from underhood.checks import batches
from underhood.checks.controls import edges, moves, shifts
from underhood.checks.intervals import bootstrap, p_value
from underhood.errors import InvalidArgument, Unfit
from underhood.methods import Drawn, Given


@pytest.fixture
def model() -> uh.Model:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 64, 3))
    return uh.Model(net.eval())


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_batches_ask_what_the_explanations_asked(model: uh.Model, pictures: torch.Tensor) -> None:
    found = uh.explain(model, pictures, [0, 1, 2, 1, 0], methods=["saliency", "input_x_gradient"])
    made = list(batches(found, size=2))
    assert [(b.method.key, len(b)) for b in made] == [
        ("saliency", 2), ("input_x_gradient", 2), ("saliency", 2), ("input_x_gradient", 2),
        ("saliency", 1), ("input_x_gradient", 1),
    ]  # fmt: skip
    assert made[0].run is made[1].run
    assert made[0].memory is made[1].memory
    for batch in made:
        for row, explanation in enumerate(batch.explanations):
            assert float(batch.run.score[row]) == pytest.approx(explanation.score, abs=1e-6)
            torch.testing.assert_close(batch.explained(batch.run)[row].numpy(), explanation.heatmap())


@pytest.mark.parametrize("target", [None, uh.Contrast(1, 0), uh.Several(0, 2), uh.Unit("0", 1)])
def test_every_kind_of_target_can_be_questioned(
    model: uh.Model, pictures: torch.Tensor, target: object
) -> None:
    found = uh.explain(model, pictures, target, methods="saliency")
    scores = [float(s) for batch in batches(found) for s in batch.run.score]
    assert scores == pytest.approx([e.score for e in found], abs=1e-6)


def test_a_given_map_cannot_be_made_again(model: uh.Model, pictures: torch.Tensor) -> None:
    found = uh.explain(
        model, pictures, 0, methods=[Given(pictures[:, 0], "elsewhere"), Drawn(edges, "edges")]
    )
    given, drawn = batches(found)
    torch.testing.assert_close(given.maps, pictures[:, 0])
    torch.testing.assert_close(drawn.explained(drawn.run), edges(pictures))
    with pytest.raises(Unfit, match="the map was given"):
        given.explained(given.run)
    with pytest.raises(InvalidArgument, match=r"The maps have shape \(5, 3, 3\)"):
        Given(torch.zeros(5, 3, 3))(model, pictures)


def test_shifts_keep_a_maps_values(pictures: torch.Tensor) -> None:
    maps = pictures[:, 0]
    moved = shifts(maps, 7, seed=3)
    assert moved.shape == (7, *maps.shape)
    torch.testing.assert_close(
        moved.flatten(2).sort().values, maps.flatten(1).sort().values.expand(7, -1, -1)
    )
    for copy, move in zip(moved, moves(2, (8, 8), 7, seed=3), strict=True):
        torch.testing.assert_close(copy, move(maps))


@pytest.mark.parametrize(
    ("shape", "count"),
    [((1,), 1), ((2,), 1), ((4,), 7), ((12,), 23), ((20,), 39), ((21,), 39), ((1, 3), 5), ((3, 4), 39)],
)
def test_no_two_shifts_are_alike_and_none_is_the_map(shape: tuple[int, ...], count: int) -> None:
    own = torch.arange(torch.Size(shape).numel()).reshape(1, *shape)
    for seed in range(5):
        copies = {tuple(copy.flatten().tolist()) for copy in shifts(own, seed=seed)}
        assert len(copies) == len(shifts(own, seed=seed)) == count
        assert tuple(own.flatten().tolist()) not in copies or own.numel() == 1
        assert torch.equal(shifts(own, seed=seed), shifts(own, seed=seed))
    assert len(shifts(own, 3)) == min(count, 3)


def test_edges_of_a_step() -> None:
    picture = torch.zeros(1, 1, 4, 6)
    picture[..., 3:] = 1.0
    assert edges(picture)[0, 1].tolist() == [0, 0, 0.5, 0.5, 0, 0]


def test_p_value_counts_the_value_itself() -> None:
    assert p_value(5.0, [1.0] * 39, "higher") == 1 / 40
    assert p_value(0.0, [1.0, 0.0, -1.0], "lower") == 3 / 4
    assert p_value(0.0, [], "lower") is None
    assert p_value(0.3 + 1e-12, [0.3] * 39, "higher") == 1.0  # which is rounding
    assert p_value(0.3 - 1e-12, [0.3] * 39, "lower") == 1.0


def test_bootstrap_needs_two_values_and_brackets_the_mean() -> None:
    assert bootstrap([1.0]) is None
    assert bootstrap([2.0, 2.0]) == (2.0, 2.0)
    interval = bootstrap([1.0, 2.0, 3.0, 4.0])
    assert interval is not None
    assert interval.low < 2.5 < interval.high


def test_intervals_of_few_inputs_are_students() -> None:
    interval = bootstrap([0.2, 0.9])
    assert interval is not None
    assert interval == pytest.approx((0.55 - 12.706 * 0.35, 0.55 + 12.706 * 0.35), rel=1e-3)
    near = bootstrap([0.5, 0.5000000001, 0.52])
    assert near is not None
    assert 0.4 < near.low < near.high < 0.6
