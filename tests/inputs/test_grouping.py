"""Groupings: every place belongs somewhere, and values come back to the places they belong to."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from underhood.errors import InvalidArgument
from underhood.inputs import Grouping, Labels, Windows, elements, patches, superpixels
from underhood.inputs.grouping import as_grouping, places

sizes = st.integers(1, 40)


def all_masks(grouping: Grouping) -> torch.Tensor:
    return grouping.masks(torch.arange(grouping.count))


def assert_partition(grouping: Grouping) -> None:
    """Each place is in one group, and no group is empty."""
    masks = all_masks(grouping)
    assert masks.shape == (grouping.count, *grouping.shape)
    assert masks.dtype == torch.bool
    assert (masks.sum(0) == 1).all()
    assert masks.flatten(1).any(1).all()


@given(height=sizes, width=sizes, size=st.integers(1, 50), stride=st.integers(1, 50))
def test_windows_cover_every_place_up_to_the_far_edges(
    height: int, width: int, size: int, stride: int
) -> None:
    stride = min(stride, size)
    windows = Windows((height, width), size, stride)
    masks = all_masks(windows)
    assert masks.any(0).all()
    whole = min(size, height) * min(size, width)  # no window is cut off at an edge
    assert (masks.flatten(1).sum(1) == whole).all()
    assert len(torch.unique(windows.corners, dim=0)) == windows.count


@given(length=sizes, size=st.integers(1, 50))
def test_windows_cover_rows_too(length: int, size: int) -> None:
    windows = Windows((length,), size, max(1, size // 2))
    assert all_masks(windows).any(0).all()


def test_windows_of_the_default_occlusion_are_625_on_a_usual_input() -> None:
    assert Windows((224, 224), 32, 8).count == 625


def test_a_window_added_for_the_edge_is_a_whole_one() -> None:
    assert Windows((10, 10), 4, 4).corners.tolist() == [[i, j] for i in (0, 4, 6) for j in (0, 4, 6)]


@pytest.mark.parametrize(("size", "stride"), [(0, 1), (1, 0), (-3, 1), (4, 5)])
def test_windows_that_leave_places_out_are_refused(size: int, stride: int) -> None:
    with pytest.raises(InvalidArgument, match="window"):
        Windows((10, 10), size, stride)


@given(
    labels=st.lists(st.integers(-5, 5), min_size=12, max_size=12),
    shape=st.sampled_from([(12,), (3, 4), (4, 3)]),
)
def test_labels_may_be_any_whole_numbers(labels: list[int], shape: tuple[int, ...]) -> None:
    assert_partition(Labels(torch.tensor(labels).reshape(shape)))


@pytest.mark.parametrize("first", [0, 1, -7])
def test_the_last_region_is_hidden_too_wherever_counting_starts(first: int) -> None:
    """PEERS 8: labels from 1 and a loop from 0 leave the last region out."""
    labels = torch.arange(4).repeat_interleave(5) + first
    masks = all_masks(Labels(labels))
    assert masks.shape == (4, 20)
    assert masks[3].tolist() == [False] * 15 + [True] * 5


@given(height=sizes, width=sizes, size=st.integers(1, 50))
def test_patches_lie_side_by_side(height: int, width: int, size: int) -> None:
    grouping = patches((height, width), size)
    assert grouping.count == -(-height // size) * -(-width // size)
    assert_partition(grouping)


def test_elements_are_groups_of_their_own() -> None:
    assert_partition(elements((3, 4)))
    assert elements((3, 4)).count == 12
    assert elements((5,)).masks(torch.tensor([2])).tolist() == [[False, False, True, False, False]]


@pytest.mark.parametrize(
    "grouping", [Labels(torch.tensor([[3, 3, -1], [3, 9, -1]])), patches((2, 3), 2), elements((2, 3))]
)
def test_a_groups_value_is_repeated_on_its_places_not_divided(grouping: Grouping) -> None:
    values = torch.randn(grouping.count, 2)  # two inputs
    spread = grouping.spread(values)
    assert spread.shape == (2, 2, 3)
    for group, mask in enumerate(all_masks(grouping)):
        assert torch.equal(spread[:, mask], values[group][:, None].expand(-1, int(mask.sum())))


def test_a_place_in_several_windows_takes_their_mean() -> None:
    windows = Windows((4,), 2, 1)  # 01, 12, 23
    assert windows.spread(torch.tensor([[1.0], [3.0], [8.0]])).tolist() == [[1, 2, 5.5, 8]]


@given(height=sizes, width=sizes, size=st.integers(1, 12), stride=st.integers(1, 12))
def test_a_constant_spreads_to_that_constant(height: int, width: int, size: int, stride: int) -> None:
    windows = Windows((height, width), size, min(size, stride))
    spread = windows.spread(torch.full((windows.count, 1), 2.5))
    assert torch.allclose(spread, torch.full((1, height, width), 2.5))


def test_superpixels_follow_the_picture() -> None:
    pytest.importorskip("skimage")
    picture = np.zeros((60, 80, 3), np.uint8)
    picture[:, 40:] = (250, 200, 10)
    grouping = superpixels(picture, 40)
    assert_partition(grouping)
    assert 20 <= grouping.count <= 60
    masks = all_masks(grouping)
    left, right = masks[:, :, :39].flatten(1).any(1), masks[:, :, 41:].flatten(1).any(1)
    assert not (left & right).any()


def test_a_grouping_must_fit_the_input() -> None:
    assert as_grouping(torch.zeros(2, 3, dtype=torch.int), (2, 3)).count == 1
    with pytest.raises(InvalidArgument, match=r"made for places \(2, 3\), the input has \(3, 2\)"):
        as_grouping(torch.zeros(2, 3), (3, 2))


def test_places_of_pictures_and_rows() -> None:
    assert places(torch.zeros(5, 3, 8, 9)) == (8, 9)
    assert places(torch.zeros(5, 7)) == (7,)
