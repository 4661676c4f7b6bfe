"""Two versions of a model on the same data: findings, accuracy, predictions."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from underhood.errors import InvalidArgument
from underhood.playbooks import Effect, Finding
from underhood.playbooks.compare import Version, compared
from underhood.playbooks.statistics import mcnemar, paired_difference


def finding(key="ruler", *, playbook="shortcuts", label="malignant", effect=None, region=None):
    effect = effect or Effect("removal", -2.1, -2.4, -1.8, "log-odds", 100, control=-0.1)
    arrays = {} if region is None else {"region": region}
    return Finding(playbook, key, f"It reads the {key}.", "high", (effect,), (0, 1), "", "", 0.4, label,
                   arrays=arrays)  # fmt: skip


def version(name="v1", **given):
    known = {
        "model": "net", "pictures": ["a.png", "b.png"], "digests": ["a1", "b1"], "labels": ["cat", "dog"],
        "predicted": ["cat", "dog"], "findings": (), "asked": ("shortcuts",),
    }  # fmt: skip
    told = known | given
    pairs = zip(told["labels"], told["predicted"], strict=True)
    right = [None if label is None or said is None else label == said for label, said in pairs]
    return Version(name, right=right, **told)


def corner(row, column, size=4):
    region = np.zeros((16, 16), np.float32)
    region[row : row + size, column : column + size] = 1
    return region


def test_findings_of_one_key_stayed_and_the_others_are_gone_or_new():
    before = version(findings=(finding("ruler"), finding("ink")))
    after = version("v2", findings=(finding("patch"), finding("ruler")))
    found = compared(before, after)
    assert [f.key for f in found.gone] == ["ink"]
    assert [f.key for f in found.new] == ["patch"]
    assert [(s.before.key, s.after.key) for s in found.stayed] == [("ruler", "ruler")]
    assert found.sentences()[0] == "Findings: 1 gone, 1 new, 1 stayed."


def test_a_finding_is_known_again_by_its_region_and_not_by_a_number_that_lies_elsewhere():
    here, nearly_here, elsewhere = corner(0, 0), corner(0, 1), corner(10, 10)  # overlap 3/5 and 0
    before = version(findings=(finding("place-1", region=here),))
    after = version(
        "v2", findings=(finding("place-1", region=elsewhere), finding("place-2", region=nearly_here))
    )
    found = compared(before, after)
    assert [(s.before.key, s.after.key) for s in found.stayed] == [("place-1", "place-2")]
    assert [f.key for f in found.new] == ["place-1"]
    assert not found.gone


def test_a_region_of_another_class_is_another_finding():
    before = version(findings=(finding("a", region=corner(0, 0)),))
    after = version("v2", findings=(finding("b", region=corner(0, 0), label="benign"),))
    found = compared(before, after)
    assert len(found.gone) == len(found.new) == 1


@pytest.mark.parametrize(
    ("effect", "how", "moved"),
    [
        (Effect("removal", -0.5, -0.7, -0.3, "log-odds", 100), "weaker", -1.6),
        (Effect("removal", -4.0, -4.5, -3.5, "log-odds", 100), "stronger", 1.9),
        (Effect("removal", -2.2, -2.6, -1.8, "log-odds", 100), "unchanged", 0.1),
        (Effect("transplant", -0.5, -0.7, -0.3, "log-odds", 100), "unchanged", None),
        (Effect("removal", 2.1, 1.8, 2.4, "log-odds", 100), "weaker", -4.2),
    ],
    ids=["weaker", "stronger", "within the intervals", "another figure", "the other way round"],
)
def test_the_effect_that_stayed_is_compared_by_its_size(effect, how, moved):
    found = compared(
        version(findings=(finding(),)), version("v2", findings=(finding(effect=effect),))
    ).stayed[0]
    assert found.how == how
    assert (found.moved is None) == (moved is None)
    if found.moved:
        assert found.moved.value == pytest.approx(moved)


def test_the_interval_of_what_moved_is_that_of_a_difference_of_independent_figures():
    before, after = finding(), finding(effect=Effect("removal", -3.0, -3.4, -2.6, "log-odds", 100))
    moved = compared(version(findings=(before,)), version("v2", findings=(after,))).stayed[0].moved
    assert (moved.low, moved.high) == pytest.approx((0.9 - 0.5, 0.9 + 0.5))  # √(0.3² + 0.4²)


def test_a_playbook_that_one_audit_did_not_ask_is_named_and_its_findings_are_neither_gone_nor_new():
    before = version(findings=(finding(playbook="errors"),), asked=("errors", "shortcuts"))
    found = compared(before, version("v2"))
    assert not found.gone
    assert found.one_sided == ("errors",)
    assert any("errors" in sentence for sentence in found.sentences())


def test_accuracy_and_changed_predictions_are_counted_over_the_same_pictures():
    labels = ["cat"] * 60 + ["dog"] * 30 + [None] * 10
    before = ["cat"] * 50 + ["dog"] * 10 + ["dog"] * 30 + ["cat"] * 10
    after = ["cat"] * 60 + ["dog"] * 27 + ["cat"] * 3 + ["dog"] * 9 + [None]
    names = [f"{i}.png" for i in range(100)]
    told = {"pictures": names, "digests": names, "labels": labels}
    found = compared(version(predicted=before, **told), version("v2", predicted=after, **told))
    assert found.accuracy.pictures == 90
    assert found.accuracy.before == pytest.approx(80 / 90)
    assert found.accuracy.after == pytest.approx(87 / 90)
    assert found.accuracy.difference == pytest.approx(7 / 90)
    assert found.accuracy.p == pytest.approx(binomtest(3, 13).pvalue)
    assert len(found.changed) == 10 + 3 + 9
    assert (found.changed[0].picture, found.changed[0].before, found.changed[0].after) == (
        "50.png",
        "dog",
        "cat",
    )


def test_models_that_are_right_as_often_are_said_to_be():
    told = {"pictures": ["a", "b"], "digests": ["a", "b"], "labels": ["cat", "dog"]}
    found = compared(version(predicted=["cat"] * 2, **told), version("v2", predicted=["dog"] * 2, **told))
    (said,) = (sentence for sentence in found.sentences() if sentence.startswith("Right"))
    assert said.startswith("Right on 50.0 % of 2 labelled pictures before and as many after: +0.0 points [")
    assert "chance" not in said


def test_without_labels_there_is_no_accuracy():
    found = compared(version(labels=[None, None]), version("v2", labels=[None, None]))
    assert found.accuracy is None
    assert found.sentences() == [
        "Neither audit found anything.",
        "The prediction changed on 0 pictures of 2.",
    ]


def test_the_paired_interval_holds_its_level():
    random = np.random.default_rng(0)
    for n, won, lost in ((60, 0.10, 0.05), (300, 0.02, 0.02), (500, 0.08, 0.01)):
        draws = random.multinomial(n, [won, lost, 1 - won - lost], 4000)
        intervals = [paired_difference(a, b, n) for a, b, _ in draws]
        holds = np.mean([low <= won - lost <= high for low, high in intervals])
        assert 0.94 <= holds <= 0.99


def test_two_models_that_never_differ_have_a_difference_of_nothing_within_an_interval():
    low, high = paired_difference(0, 0, 1000)
    assert low < 0 < high < 0.004
    assert mcnemar(0, 0) == 1


DIFFERENT = {
    "another number of pictures": ({"pictures": ["a.png"], "digests": ["a1"], "labels": ["cat"],
                                    "predicted": ["cat"]}, "2 and 1 pictures"),
    "another picture": ({"pictures": ["a.png", "c.png"]}, "picture 2 is 'b.png'"),
    "other bytes": ({"digests": ["a1", "b2"]}, "other bytes in 1 picture"),
    "other labels": ({"labels": ["cat", "cat"]}, "different labels for 1 picture"),
}  # fmt: skip


@pytest.mark.parametrize("case", DIFFERENT)
def test_data_that_differ_are_refused_in_one_sentence(case):
    given, hint = DIFFERENT[case]
    with pytest.raises(InvalidArgument, match=hint) as refused:
        compared(version(), version("v2", **given))
    assert str(refused.value).count(". ") == 0


def test_it_can_be_written_as_json():
    import json

    before = version(findings=(finding("ink"), finding()))
    found = compared(before, replace(before, name="v2", findings=(finding(),), predicted=["dog", "dog"]))
    told = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert [f["key"] for f in told["gone"]] == ["ink"]
    assert told["stayed"][0]["how"] == "unchanged"
    assert told["changed"] == [{"picture": "a.png", "label": "cat", "before": "cat", "after": "dog"}]
