"""The playbook "confusions" on a network whose classes share planted units; its parts in closed form."""

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.stats import fisher_exact

from tests.support.channels import SIDE, blob, model
from tests.support.counted_shares import assert_counted
from underhood.errors import InvalidArgument
from underhood.inputs.dataset import Dataset
from underhood.playbooks.confusions import Confusions
from underhood.playbooks.confusions.pairs import confused, counted
from underhood.playbooks.confusions.shared_units import by_chance, class_means, evidence, most_active, overlap
from underhood.playbooks.survey import Survey, surveyed

LABELS = ("cup", "bowl", "fork", "lamp")
# A unit of its own for each class, and unit 4 that speaks for cup and bowl alike.
HEAD = [
    [10.0, 0, 0, 0, 5],
    [0, 10.0, 0, 0, 5],
    [0, 0, 10.0, 0, 0],
    [0, 0, 0, 10.0, 0],
]
PLACES = ((1, 1), (1, 16), (16, 1), (16, 16))  # of each class's own unit
EACH = 40


def dishes() -> Dataset:
    """Ten cups with so much of a bowl that they are called one; one fork that is called a lamp."""
    pictures = torch.zeros(4 * EACH, 5, SIDE, SIDE)
    for of, (top, left) in enumerate(PLACES):
        blob(pictures, range(of * EACH, (of + 1) * EACH), of, top, left)
    blob(pictures, range(2 * EACH), 4, 9, 9)
    for _ in range(2):
        blob(pictures, range(10), 1, *PLACES[1], seed=3)
    labels = [LABELS[number // EACH] for number in range(4 * EACH)]
    labels[2 * EACH] = "lamp"
    return Dataset.of(pictures, labels)


@pytest.fixture(scope="module")
def seen() -> Survey:
    return surveyed(model(HEAD, LABELS), dishes())


@pytest.fixture(scope="module")
def outcome(seen: Survey):
    return Confusions(units=20)(seen)


def test_the_pair_that_is_confused_more_than_the_rest_is_found(outcome) -> None:
    (found,) = outcome.findings
    assert found.key == "cup and bowl confused"
    assert sorted(found.rows) == list(range(10))
    rate, beyond = found.effects
    assert (rate.value, rate.inputs) == (10 / 80, 80)
    assert rate.control == pytest.approx(1 / 400)  # five other pairs of 80 pictures
    assert_counted(rate)
    assert beyond.low > 0
    assert "mostly cup taken for bowl" in found.claim


def test_counts_have_their_intervals_and_what_is_uneven_is_named(outcome) -> None:
    first, second = outcome.tables["Confused pairs"]
    assert (first["first"], first["second"], first["confused"]) == ("cup", "bowl", 10)
    assert first["first taken for second"] == "10 of 40: 25.0 % [14.2 %, 40.2 %]"  # Wilson
    assert first["second taken for first"].startswith("0 of 40: 0.0 %")
    assert first["one way more than the other"] == "yes"
    assert second["confused"] == 1
    assert second["one way more than the other"] == "no"


def test_evidence_for_each_class_is_where_it_was_planted(outcome) -> None:
    line = outcome.tables["What confused pairs share"][0]
    assert "at the top left" in line["evidence for the first"]
    assert "at the top right" in line["for the second"]
    assert "at the top right" in line["for the wrong one"]
    region = outcome.findings[0].arrays["region"]
    assert region[3:5, 18:20].min() > 0.5
    assert region[9:].max() == 0


def test_shared_evidence_is_the_planted_unit(seen: Survey, outcome) -> None:
    line = outcome.tables["What confused pairs share"][0]
    assert line["units for both"] == "4"
    means = seen.features[: 2 * EACH].astype(float).mean(0)
    own = [10 * means[0], 10 * means[1]]
    both = 5 * means[4]
    assert line["evidence shared"] == pytest.approx(min(both / (both + each) for each in own), abs=1e-3)


def test_mean_contrast_is_in_closed_form(seen: Survey, outcome) -> None:
    x = seen.inputs(np.arange(EACH, 2 * EACH))
    weights = torch.tensor(HEAD[1]) - torch.tensor(HEAD[0])
    expected = torch.einsum("k,bkhw->hw", weights, x) / EACH / SIDE**2
    np.testing.assert_allclose(
        outcome.findings[0].arrays["mean contrast, second"], expected.numpy(), rtol=1e-4, atol=1e-7
    )


def test_passes_are_one_forward_and_two_backward_for_each_picture(outcome) -> None:
    cups, bowls, lamps, forks = 30, 40, 40, 39
    assert outcome.calls == 5 * (cups + bowls + 10 + forks + lamps + 1)


def test_counts_are_a_table() -> None:
    label, predicted = np.array([0, 0, 1, 2, -1]), np.array([0, 1, 1, 0, 2])
    assert counted(label, predicted, 3).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_p_against_the_rest_is_fishers() -> None:
    found = confused(np.array([[90, 9, 1], [0, 100, 0], [0, 2, 98]]))
    assert [(pair.a, pair.b, pair.count) for pair in found] == [(0, 1, 9), (1, 2, 2), (0, 2, 1)]
    theirs = fisher_exact([[9, 191], [3, 397]], alternative="greater").pvalue
    assert found[0].p == pytest.approx(3 * theirs)
    uneven = fisher_exact([[9, 91], [0, 100]]).pvalue
    assert found[0].p_asymmetric == pytest.approx(3 * uneven)


def test_a_pair_like_all_others_is_no_finding() -> None:
    even = np.full((4, 4), 5) + np.diag([85] * 4)
    assert not any(pair.stands_out for pair in confused(even))


def test_means_of_classes_are_those_of_their_rows() -> None:
    features = np.random.default_rng(0).random((20, 3)).astype(np.float32)
    of = np.array([0, 1, -1, 1] * 5)
    means = class_means(features, of, 3)
    assert means[0] == pytest.approx(features[of == 0].mean(0))
    assert means[1] == pytest.approx(features[of == 1].mean(0))
    assert np.isnan(means[2]).all()


def test_overlap_is_known() -> None:
    means = np.array([[9, 8, 7, 0, 0, 0], [0, 8, 7, 9, 0, 0], [0, 0, 0, 7, 8, 9.0]])
    found = overlap(means, 0, 1, 3, [(0, 2), (1, 2)])
    assert found.a == (0, 1, 2)
    assert found.shared == (1, 2)
    assert found.jaccard == 2 / 4
    assert found.typical == pytest.approx((0 + 1 / 5) / 2)


def test_chance_of_an_overlap_is_that_of_all_lists() -> None:
    lists = list(combinations(range(6), 3))
    shared = [len(set(one) & set(other)) for one in lists for other in lists]
    chance, p = by_chance(6, 3, 2)
    assert chance == pytest.approx(np.mean([s / (6 - s) for s in shared]))
    assert p == pytest.approx(np.mean([s >= 2 for s in shared]))


def test_a_class_without_pictures_has_no_most_active_units() -> None:
    assert most_active(np.array([np.nan, np.nan]), 1) == ()
    assert overlap(np.array([[1.0, 2.0], [np.nan, np.nan]]), 0, 1, 1).jaccard == 0


def test_evidence_that_two_classes_do_not_share() -> None:
    found = evidence(torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 2.0]]))
    assert found.both == ()
    assert found.shared == 0


def test_without_labels_or_confusions_it_says_so() -> None:
    pictures = torch.zeros(8, 5, SIDE, SIDE)
    for of in range(4):
        blob(pictures, range(2 * of, 2 * of + 2), of, *PLACES[of])
    net = model(HEAD, LABELS)
    assert "no picture has a label" in Confusions()(surveyed(net, Dataset.of(pictures))).summary
    right = Dataset.of(pictures, [LABELS[number // 2] for number in range(8)])
    assert "None of 8 labelled pictures" in Confusions()(surveyed(net, right)).summary


def test_two_classes_have_no_other_pair_to_compare_with() -> None:
    pictures = torch.zeros(20, 2, SIDE, SIDE)
    blob(pictures, range(20), 0, 9, 9)
    net = model([[10.0, 0], [0, 10.0]], ("yes", "no"))
    found = Confusions()(surveyed(net, Dataset.of(pictures, ["yes"] * 14 + ["no"] * 6)))
    assert found.findings == ()
    assert "no other pair to compare with" in found.summary
    assert "6 of 20 pictures" in found.summary


def test_useless_parameters_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="pairs of the playbook confusions"):
        Confusions(pairs=0)
