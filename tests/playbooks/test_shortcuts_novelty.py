"""What has no like in the pictures of other classes, and whether a property is all over the picture."""

import numpy as np
import pytest
import torch
from torch import Tensor

from underhood.playbooks.shortcuts.candidates import steadied
from underhood.playbooks.shortcuts.exchanges import Colour, Pictures
from underhood.playbooks.shortcuts.moves import elsewhere
from underhood.playbooks.shortcuts.novelty import Masks, Novelty, enlarged, looks
from underhood.playbooks.shortcuts.subject import middle
from underhood.playbooks.shortcuts.within import within

SIDE = 36
BLUE = torch.tensor([-2.0, -1.0, 4.0])[:, None, None]


def skin(count: int, seed: int) -> Tensor:
    """Smooth noise with a darker middle."""
    random = np.random.default_rng(seed)
    coarse = torch.from_numpy(random.normal(0, 0.5, (count, 3, 9, 9))).float()
    pictures = torch.nn.functional.interpolate(coarse, SIDE, mode="bicubic")
    pictures += 0.1 * torch.from_numpy(random.normal(size=pictures.shape)).float()
    return pictures - middle(SIDE, SIDE).float()


def with_squares(pictures: Tensor, rows: range, seed: int = 3) -> tuple[Tensor, Tensor]:
    """A blue square of 7 x 7 somewhere in each of the rows, and where."""
    random = np.random.default_rng(seed)
    marked, masks = pictures.clone(), torch.zeros(len(pictures), SIDE, SIDE, dtype=torch.bool)
    for row in rows:
        top, left = random.integers(1, SIDE - 8, 2)
        marked[row, :, top : top + 7, left : left + 7] = BLUE
        masks[row, top : top + 7, left : left + 7] = True
    return marked, masks


def found(own: Tensor, others: Tensor) -> Masks:
    """In the own pictures."""
    everything = torch.cat([own, others])
    rows = np.arange(len(everything))
    novelty = Novelty.of(lambda some: everything[some], rows[: len(own)], rows[len(own) :], seed=0)
    return novelty.masks(rows[: len(own)])


def test_what_comes_again_and_is_in_no_other_class_is_found_where_it_is() -> None:
    own, true = with_squares(skin(40, seed=1), range(0, 40, 4))
    masks = torch.from_numpy(found(own, skin(40, seed=2)))
    overlap = (masks & true).sum((1, 2)) / (masks | true).sum((1, 2)).clamp(min=1)
    assert float(overlap[::4].mean()) > 0.6
    assert float(masks[true.sum((1, 2)) == 0].float().mean()) < 0.005


def test_what_other_classes_have_too_is_not_novel() -> None:
    own, _ = with_squares(skin(40, seed=1), range(0, 40, 4))
    others, _ = with_squares(skin(40, seed=2), range(0, 40, 4), seed=4)
    assert found(own, others).mean() < 0.005


def test_what_is_in_one_picture_alone_does_not_come_again() -> None:
    own, _ = with_squares(skin(40, seed=1), range(1))
    assert found(own, skin(40, seed=2)).mean() < 0.005


def test_what_is_always_at_one_place_is_there_where_it_is_faint() -> None:
    masks = torch.zeros(10, 20, 20, dtype=torch.bool)
    masks[:, 5:10, 5:10] = torch.rand(10, 5, 5, generator=torch.Generator().manual_seed(0)) < 0.6
    masks[9] = False
    masks[9, 15:, 15:] = True  # another thing
    found = steadied(masks)
    assert found[:9, 5:10, 5:10].float().mean() > 0.95
    assert not found[:9, 10:, 10:].any()
    assert torch.equal(found[9], masks[9])


def test_what_moves_is_only_where_it_is_seen() -> None:
    masks = torch.zeros(8, 40, 40, dtype=torch.bool)
    for k, mask in enumerate(masks):
        mask[:5, 5 * k : 5 * k + 5] = True
    assert torch.equal(steadied(masks), masks)


def test_what_is_all_over_the_picture_is_no_thing() -> None:
    own = skin(40, seed=1)
    own[:20] += BLUE
    assert not found(own, skin(40, seed=2)).any()


def test_looks_do_not_change_with_what_is_far_away() -> None:
    pictures = skin(2, seed=1)
    changed = pictures.clone()
    changed[:, :, 24:] = 5
    before, after = looks(pictures), looks(changed)
    np.testing.assert_allclose(before[:, :8], after[:, :8], atol=1e-6)
    assert np.abs(before - after).max() > 1


def test_masks_are_enlarged_place_by_place() -> None:
    small = np.zeros((1, 3, 4), dtype=bool)
    small[0, 1, 2] = True
    large = enlarged(small, (6, 8))
    assert int(large.sum()) == 4
    assert large[0, 2:4, 4:6].all()


def pictures_of(inputs: Tensor) -> Pictures:
    return Pictures.plain(inputs, middle(SIDE, SIDE).expand(len(inputs), -1, -1))


def test_a_cast_is_all_over_and_a_frame_is_not() -> None:
    plain, others = skin(30, seed=1), pictures_of(skin(60, seed=2))
    cast, framed = plain + BLUE, plain.clone()
    framed[..., :5] += BLUE
    framed[..., -5:] += BLUE
    over, around = (within(Colour(), pictures_of(x), others) for x in (cast, framed))
    assert over == pytest.approx(1, abs=0.1)
    assert abs(around) < 0.1


def test_a_frame_has_no_other_place() -> None:
    frame = torch.ones(1, 20, 30, dtype=torch.bool)
    frame[:, 3:-3, 3:-3] = False
    corner = torch.zeros(1, 20, 30, dtype=torch.bool)
    corner[:, :5, :5] = True
    assert elsewhere(frame)[1].tolist() == [False]
    assert elsewhere(corner)[1].tolist() == [True]
