"""Classes planted in the border, in the background or nowhere: found there, and nowhere else."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor, nn

from tests.support.counted_shares import assert_counted
from underhood.errors import InvalidArgument, UnknownName
from underhood.inputs.dataset import Dataset
from underhood.models import Model, Preprocess
from underhood.playbooks.finding import Outcome
from underhood.playbooks.leakage import Leakage
from underhood.playbooks.leakage.duplicates import Duplicates
from underhood.playbooks.leakage.matches import matches
from underhood.playbooks.leakage.reader import read_by_simple_classifier
from underhood.playbooks.leakage.views import Colours, boxes, darker_part, inner, views
from underhood.playbooks.sample import balanced
from underhood.playbooks.survey import surveyed

SIDE = 20
PLAYBOOK = Leakage(draws=199)
NO_COPIES = Duplicates(np.zeros((0, 2), np.int64), np.zeros(0), 1.0, 0.0)


class Reads(nn.Module):
    """Calls a picture the second class where it is brighter than `threshold` under the mask (H, W)."""

    def __init__(self, mask: Tensor, threshold: float):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1, bias=False)
        nn.init.dirac_(self.conv.weight)
        self.mask, self.threshold = mask, threshold

    def forward(self, x: Tensor) -> Tensor:
        seen = (self.conv(x).relu() * self.mask).sum((1, 2, 3)) / (3 * self.mask.sum())
        return torch.stack([self.threshold - seen, seen - self.threshold], 1) * 20


def place(what: str) -> Tensor:
    mask = torch.zeros(SIDE, SIDE)
    if what == "border":
        mask[:2], mask[-2:], mask[:, :2], mask[:, -2:] = 1, 1, 1, 1
    if what == "centre":
        mask[7:13, 7:13] = 1
    return mask


def pictures(told_by: str, count: int = 160, seed: int = 0, classes: int = 2) -> tuple[Tensor, list[int]]:
    """Noise in which the class is told by how bright a place is."""
    random = np.random.default_rng(seed)
    label = random.integers(0, classes, count)
    noise = torch.from_numpy(random.uniform(0, 1, (count, 3, SIDE, SIDE)).astype(np.float32))
    lighter = torch.from_numpy(label / (classes - 1) - 0.5).float()[:, None, None, None]
    return (noise + 0.6 * lighter * place(told_by)).clamp(0, 2), label.tolist()


def outcome(told_by: str, read: str, playbook: Leakage = PLAYBOOK, seed: int = 0, **given: Any) -> Outcome:
    x, label = pictures(told_by, seed=seed)
    model = Model(Reads(place(read), 0.5), labels=("dark", "light"))
    data = Dataset.of(x, [("dark", "light")[i] for i in label], **given)
    return playbook(surveyed(model, data))


# -- planted -----------------------------------------------------------------------------------------


def test_a_border_that_tells_the_class_is_found_with_model_and_classifier() -> None:
    found = {f.key: f for f in outcome("border", "border").findings}
    border = found["border"]
    assert border.severity == "high"
    model, classifier = border.effects
    assert model.name.startswith("accuracy of the model, shown only its border")
    assert model.value > 0.9
    assert classifier.value > 0.9
    assert_counted(model)
    assert_counted(classifier)
    assert model.control is not None
    assert model.control < 0.6
    assert border.details["kept above chance"] > 0.9
    assert "the model is still right in" in border.claim


def test_a_model_that_does_not_see_the_border_is_not_blamed_but_the_data_are() -> None:
    border = {f.key: f for f in outcome("border", "centre").findings}["border"]
    assert border.effects[0].name.startswith("accuracy of a simple classifier")
    assert "The data tell the class there; this model, shown no more, is right in" in border.claim
    assert border.severity == "medium"


def test_a_class_in_the_centre_leaks_neither_by_border_nor_background() -> None:
    found = outcome("centre", "centre")
    assert not {"border", "background"} & {f.key for f in found.findings}
    rows = {row["shown"].split(",")[0]: row for row in found.tables["Parts of pictures"]}
    assert rows["its border"]["whole pictures"] == "100 %"


def test_a_class_in_the_centre_is_background_where_the_mask_is_elsewhere() -> None:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[1:4, 1:4] = True
    found = {f.key: f for f in outcome("centre", "centre", masks=[mask] * 160).findings}
    assert "outside the box of its mask" in found["background"].claim
    assert found["background"].severity == "high"


def test_by_chance_no_more_is_found_than_the_level() -> None:
    """Labels that nothing tells: 12 data sets, at 5 %."""
    x, _ = pictures("nowhere", count=60)
    model = Model(Reads(place("border"), 0.5), labels=("dark", "light"))
    false = 0
    for seed in range(12):
        names = np.random.default_rng(seed).choice(["dark", "light"], 60).tolist()
        survey = surveyed(model, Dataset.of(x, names))
        false += bool(Leakage(draws=99).parts(survey, NO_COPIES).findings)
    assert false <= 2


def test_without_a_leak_the_summary_says_what_would_have_been_found() -> None:
    found = outcome("centre", "centre", Leakage(draws=199, level=1e-9))
    assert found.findings == ()
    assert found.summary.startswith("No leak was found. 0 pairs of pictures are the same, 0 nearly so.")
    assert "would have been found in 8 of 10 cases" in found.summary


def test_passes_are_counted() -> None:
    assert outcome("centre", "centre", Leakage(count=40, draws=19)).calls == 4 * 40


# -- views -------------------------------------------------------------------------------------------


def test_each_view_shows_its_part_alone() -> None:
    x, _ = pictures("centre", count=4)
    colours = Colours.of(None, x)
    masks = torch.zeros(4, SIDE, SIDE, dtype=torch.bool)
    masks[:, 9, 9] = True
    border, background, coarse, outline = (v.show(x, masks) for v in views(0.1, colours, masked=True))
    mean = x.mean((0, 2, 3))
    assert torch.equal(border[:, :, :2], x[:, :, :2])
    assert torch.allclose(border[:, :, 2:-2, 2:-2], mean[:, None, None].expand(4, 3, 16, 16))
    assert torch.allclose(background[:, :, 8:11, 8:11], mean[:, None, None].expand(4, 3, 3, 3))
    assert torch.equal(background[:, :, :8], x[:, :, :8])
    assert coarse.mean() == pytest.approx(float(x.mean()), abs=0.02)
    assert coarse.std() < 0.4 * x.std()
    assert len(outline[:, 0].unique()) == 2
    assert torch.equal(outline[:, 0] < mean[0], masks)


def test_a_silhouette_has_the_same_two_greys_in_all_pictures() -> None:
    preprocess = Preprocess(size=SIDE, crop=SIDE, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2))
    colours = Colours.of(preprocess, torch.rand(2, 3, SIDE, SIDE))
    assert preprocess.denormalise(colours.subject).flatten().tolist() == pytest.approx([0.35] * 3)
    assert preprocess.denormalise(colours.rest).flatten().tolist() == pytest.approx([0.65] * 3)


def test_the_darker_part_is_otsus() -> None:
    skimage = pytest.importorskip("skimage.filters")
    random = np.random.default_rng(0)
    two = np.where(random.random((16, 16)) < 0.3, 0.2, 0.7) + random.normal(0, 0.05, (16, 16))
    own = darker_part(torch.from_numpy(two).float().expand(1, 3, 16, 16))[0].numpy()
    assert np.array_equal(own, two <= skimage.threshold_otsu(two, nbins=64))


def test_each_picture_is_parted_where_its_own_two_parts_differ_most() -> None:
    """All thresholds tried one by one: weights of the parts times the square of their distance."""
    random = np.random.default_rng(1)
    pictures = torch.from_numpy(random.random((3, 3, 9, 7)) ** np.array([1, 2, 4])[:, None, None, None])
    found = darker_part(pictures, levels=8)
    for picture, darker in zip(pictures.mean(1).numpy(), found.numpy(), strict=True):
        level = np.round((picture - picture.min()) / (picture.max() - picture.min()) * 7)
        parts = [(level[level <= at], level[level > at]) for at in range(7)]
        apart = [len(a) * len(b) * (a.mean() - b.mean()) ** 2 if len(a) and len(b) else 0 for a, b in parts]
        assert np.array_equal(darker, level <= int(np.argmax(apart)))


def test_boxes_are_the_masks_own_and_the_one_before_it() -> None:
    masks = torch.zeros(2, 20, 20, dtype=torch.bool)
    masks[0, 4, 5:8], masks[1, 15, 15] = True, True
    box = boxes(masks)[:, 0]
    expected = torch.zeros(20, 20, dtype=torch.bool)
    expected[3:6, 4:9], expected[14:17, 14:17] = True, True
    assert torch.equal(box[0], expected)
    assert torch.equal(box[1], expected)


def test_the_frame_is_a_share_of_the_shorter_side() -> None:
    hidden = inner(torch.zeros(1, 3, 20, 40), 0.1)
    assert hidden.sum() == 16 * 36


# -- what it is compared with ------------------------------------------------------------------------


def test_matches_of_shuffled_labels_are_as_many_as_the_margins_say() -> None:
    random = np.random.default_rng(0)
    told, label = random.integers(0, 3, 500), random.integers(0, 3, 500)
    found = matches(told, label)
    shares = [np.bincount(x, minlength=3) / 500 for x in (told, label)]
    assert found.shuffled == pytest.approx(float(shares[0] @ shares[1]), abs=0.003)
    assert found.majority == max(shares[1])
    assert found.p > 0.01
    assert matches(label, label).p == 1 / 1000


def test_a_classifier_is_asked_only_of_what_it_was_not_fitted_on() -> None:
    """More cells than rows: it could learn any labels by heart, and does not on shuffled ones."""
    random = np.random.default_rng(0)
    cells = random.normal(size=(80, 200)).astype(np.float32)
    told = read_by_simple_classifier(cells, np.arange(80) % 2)
    assert told is not None
    assert 0.3 < balanced_accuracy_score(np.arange(80) % 2, told) < 0.7
    rare = np.array([0] * 40 + [1] * 37 + [2] * 3)
    told = read_by_simple_classifier(cells, rare)
    assert told is not None
    assert (told[-3:] == -1).all()
    assert read_by_simple_classifier(cells, np.array([0] * 79 + [1])) is None


def test_a_sample_is_balanced_as_far_as_classes_reach() -> None:
    kind = np.array([0] * 500 + [1] * 40 + [2] * 5 + [-1] * 100)
    rows = balanced(kind, 100, np.random.default_rng(0))
    assert np.bincount(kind[rows]).tolist() == [55, 40, 5]
    assert np.array_equal(rows, balanced(kind, 100, np.random.default_rng(0)))
    assert not np.array_equal(rows, balanced(kind, 100, np.random.default_rng(1)))
    assert len(balanced(np.array([-1, -1]), 10, np.random.default_rng(0))) == 0
    assert len(balanced(kind, 10_000, np.random.default_rng(0))) == 545


# -- what it is asked --------------------------------------------------------------------------------


def test_rows_that_belong_together_are_asked_once() -> None:
    metadata = [{"patient": str(i // 4)} for i in range(160)]
    playbook = Leakage(together="patient", draws=19)
    assert outcome("centre", "centre", playbook, metadata=metadata).calls == 4 * 40


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="between 0 and half"):
        Leakage(border=0.5)
    with pytest.raises(InvalidArgument, match="at least"):
        Leakage(draws=3)
    with pytest.raises(UnknownName, match="did you mean 'patient'"):
        outcome("centre", "centre", Leakage(together="patients"), metadata=[{"patient": "1"}] * 160)


def test_data_without_labels_are_searched_for_copies_alone() -> None:
    x, _ = pictures("centre", count=30)
    found = Leakage()(surveyed(Model(Reads(place("centre"), 0.5), labels=("dark", "light")), Dataset.of(x)))
    assert found.findings == ()
    assert any("it takes pictures of two classes at least" in problem for problem in found.problems)
