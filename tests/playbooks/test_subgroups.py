"""Planted gaps between groups are found, chance gaps are not, and what is too small is named."""

import math
from typing import Any

import numpy as np
import pytest

from tests.playbooks.fake_survey import fake_survey
from underhood.errors import InvalidArgument, UnknownName
from underhood.playbooks.columns import read_columns
from underhood.playbooks.statistics import subset_p
from underhood.playbooks.subgroups import Subgroups
from underhood.playbooks.subgroups.gaps import Group, Measure, compared


def planted(rates: dict[str, float], count: int = 150, seed: int = 0, **given: Any) -> Any:
    """A survey whose model is right as often as `rates` say for each site, and always says 0.9."""
    random = np.random.default_rng(seed)
    sites = np.repeat(list(rates), count)
    label = random.integers(0, 2, len(sites))
    right = random.random(len(sites)) < np.repeat(list(rates.values()), count)
    metadata = [{"site": str(site)} for site in sites]
    return fake_survey(
        label, np.where(right, label, 1 - label), np.full(len(sites), 0.9), metadata=metadata, **given
    )


# -- what is compared --------------------------------------------------------------------------------


def test_columns_of_each_kind() -> None:
    random = np.random.default_rng(0)
    metadata = [
        {
            "id": f"case{i}",
            "serial": str(i + 100),
            "age": f"{a:.1f}",
            "sex": "f" if a > 50 else "m",
            "camera": "x",
            "grade": str(i % 3),
            "site": "" if i % 4 == 0 else "arm",
        }
        for i, a in enumerate(random.uniform(20, 80, 200))
    ]
    survey = fake_survey(np.zeros(200, int), np.zeros(200, int), np.full(200, 0.9), metadata=metadata)
    found = read_columns(survey)
    assert [column.name for column in found.usable] == ["age", "sex", "grade", "site"]
    assert [text.split("'")[1] for text in found.left_out] == ["id", "serial", "camera"]
    age, sex, grade, site = (column.binned(4) for column in found.usable)
    assert np.bincount(age.codes) == pytest.approx([50] * 4, abs=1)  # equal ages stay together
    years = np.array([float(row["age"]) for row in metadata])
    assert max(years[age.codes == 0]) < min(years[age.codes == 1])
    assert sex.kinds == ("f", "m")
    assert grade.kinds == ("0", "1", "2")
    assert site.kinds == ("arm", "not given")
    assert np.bincount(site.codes).tolist() == [150, 50]


def test_an_unknown_column_is_named() -> None:
    with pytest.raises(UnknownName, match="did you mean 'site'"):
        Subgroups(columns=("sites",))(planted({"a": 0.9, "b": 0.9}))
    with pytest.raises(UnknownName, match="column that can be compared named 'age'"):
        Subgroups(pairs=(("site", "age"),))(planted({"a": 0.9, "b": 0.9}))
    with pytest.raises(InvalidArgument, match="at least 2"):
        Subgroups(bins=1)


# -- gaps --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "size", "rare", "most"), [(200, 30, 0.5, 1.7), (400, 40, 0.08, 15)])
def test_the_moments_stand_for_all_permutations(count: int, size: int, rare: float, most: float) -> None:
    """With few wrong rows the sums come in lumps; p is then too large rather than too small."""
    random = np.random.default_rng(3)
    values = np.where(random.random(count) < rare, -0.9, 0.05) + random.normal(0, 0.02, count)
    sums = np.array([values[random.permutation(count)[:size]].sum() for _ in range(20_000)])
    for place in (0.001, 0.01, 0.1, 0.9, 0.99, 0.999):
        edge = np.quantile(sums, place)
        chosen = _choose(values, size, edge)
        reached = values[chosen].sum()
        one_sided = min((sums <= reached).mean(), (sums >= reached).mean())
        assert 0.7 <= subset_p(values, chosen) / (2 * one_sided) <= most


def _choose(values: np.ndarray, size: int, total: float) -> np.ndarray:
    """Rows, `size` of them, whose sum is near `total`: swapped one by one while that brings it nearer."""
    chosen = np.zeros(len(values), dtype=bool)
    chosen[:size] = True
    random = np.random.default_rng(4)
    for _ in range(20_000):
        out, into = random.choice(np.flatnonzero(chosen)), random.choice(np.flatnonzero(~chosen))
        now = values[chosen].sum()
        if abs(now - values[out] + values[into] - total) < abs(now - total):
            chosen[out], chosen[into] = False, True
        if abs(values[chosen].sum() - total) < 0.01:
            break
    return chosen


def test_values_that_are_all_the_same_have_no_gap() -> None:
    assert subset_p(np.ones(10), np.arange(10) < 3) == 1
    assert subset_p(np.arange(10.0), np.ones(10, dtype=bool)) == 1


def test_gaps_of_chance_are_found_in_at_most_five_percent() -> None:
    """200 data sets without any gap: 4 columns of 2 to 5 kinds and skewed confidences, as in life."""
    random = np.random.default_rng(5)
    false = 0
    for _ in range(200):
        n = 400
        right = (random.random(n) < 0.93).astype(float)
        confidence = np.clip(random.beta(8, 1, n), 0.5, 1)
        columns = [random.integers(0, kinds, n) for kinds in (2, 3, 4, 5)]
        groups = [Group(str(i), str(v), c == v) for i, c in enumerate(columns) for v in range(max(c) + 1)]
        measures = [
            Measure("accuracy", "", right, "share", "higher"),
            Measure("confidence", "", confidence - right, "mean", "nearer 0"),
            Measure("inside", "", random.beta(2, 2, n), "mean", "higher"),
        ]
        false += min(gap.corrected for gap in compared(groups, measures)) <= 0.05
    assert false <= 10 + 3 * math.sqrt(200 * 0.05 * 0.95) / 2  # 5 % and what chance adds


def test_a_planted_gap_is_found_with_its_size() -> None:
    outcome = Subgroups()(planted({"arm": 0.95, "leg": 0.95, "face": 0.7}))
    (finding,) = outcome.findings
    assert finding.key == "site=face"
    gap = finding.effects[0]
    assert gap.low <= -0.25 <= gap.high
    assert finding.severity == "high"
    assert finding.prevalence == pytest.approx(1 / 3)
    assert "For site = face (150 rows): the model is right in" in finding.claim
    assert {e.name for e in finding.effects} == {"gap in accuracy", "gap in confidence less accuracy"}
    assert "Recalibrate for this group" in finding.next_step
    assert outcome.details["comparisons"] == 2 * 3 + 2  # labels not in confidence
    assert "8 comparisons of 5 groups" in outcome.summary
    survey_rows = finding.rows
    assert all(300 <= row < 450 for row in survey_rows)


def test_without_a_gap_the_summary_says_what_would_have_been_found() -> None:
    outcome = Subgroups()(planted({"arm": 0.9, "leg": 0.9, "face": 0.9}, seed=1))
    assert outcome.findings == ()
    assert outcome.summary.startswith("No gap between groups was found (8 comparisons of 5 groups")
    assert "would have been found in 8 of 10 cases" in outcome.summary


def test_the_power_that_is_stated_is_the_power_there_is() -> None:
    """A drop as large as the summary says is found in about 8 of 10 data sets."""
    stated = Subgroups()(planted({"arm": 0.9, "leg": 0.9, "face": 0.9}, seed=1)).summary
    drop = int(stated.split("one of ")[1].split(" points")[0]) / 100
    found = 0
    for seed in range(30):
        rates = {"arm": 0.9, "leg": 0.9, "face": 0.9 - drop}
        keys = [f.key for f in Subgroups()(planted(rates, seed=seed)).findings]
        found += "site=face" in keys
    assert 0.6 <= found / 30 <= 1


def test_groups_that_are_too_small_are_named() -> None:
    random = np.random.default_rng(0)
    sites = ["arm"] * 200 + ["face"] * 12 + ["toe"] * 25
    label = random.integers(0, 2, len(sites))
    right = np.concatenate([np.ones(212, bool), random.random(25) < 0.5])  # toe: 20 rows, but who knows
    survey = fake_survey(
        label,
        np.where(right, label, 1 - label),
        np.full(len(sites), 0.9),
        metadata=[{"site": s} for s in sites],
    )
    outcome = Subgroups()(survey)
    face, toe = (row["group"] for row in outcome.tables["Too small to compare"])
    assert face == "site = face: 12 rows, fewer than 20"
    assert toe.startswith("site = toe: 25 rows, whose accuracy is only known to be")
    assert any("site = face: 12 rows" in problem for problem in outcome.problems)
    assert not any("face" in row["group"] or "toe" in row["group"] for row in outcome.tables["Groups"])


def test_pairs_of_columns_find_what_either_alone_does_not() -> None:
    """Right unless sex and side differ: no gap in either column."""
    random = np.random.default_rng(0)
    sex, side = random.integers(0, 2, 800), random.integers(0, 2, 800)
    right = random.random(800) < np.where(sex == side, 0.95, 0.75)
    metadata = [{"sex": "fm"[a], "side": ("left", "right")[b]} for a, b in zip(sex, side, strict=True)]
    label = random.integers(0, 2, 800)
    survey = fake_survey(label, np.where(right, label, 1 - label), np.full(800, 0.9), metadata=metadata)
    assert Subgroups()(survey).findings == ()
    keys = {finding.key for finding in Subgroups(pairs="all")(survey).findings}
    assert keys == {"sex, side=f, right", "sex, side=m, left"}


def test_a_class_that_is_missed_is_a_group() -> None:
    label = np.repeat([0, 1], 100)
    predicted = np.where(np.arange(200) < 160, label, 0)  # 40 of 100 malignant ones are missed
    (finding,) = Subgroups()(fake_survey(label, predicted, np.full(200, 0.8))).findings
    assert finding.key == "label=malignant"
    assert finding.label == "malignant"
    assert finding.prevalence == 1  # of the class, all of which it is about
    assert finding.effects[0].value == pytest.approx(-0.4)


# -- where it looks ----------------------------------------------------------------------------------


def test_relevance_outside_the_mask_in_one_group() -> None:
    """In group b half of the maps' relevance is planted outside the mask; elsewhere a tenth."""
    count = 60
    maps = np.zeros((2 * count, 4, 4), np.float32)
    maps[:, 1, 1], maps[:, 3, 3] = 0.9, 0.1
    maps[count:, 1, 1], maps[count:, 3, 3] = 0.5, 0.5
    noise = np.random.default_rng(0).uniform(0, 0.05, (2 * count,))
    maps[:, 3, 3] += noise.astype(np.float32)
    mask = np.zeros((4, 4), bool)
    mask[:2, :2] = True
    label = np.arange(2 * count) % 2
    survey = fake_survey(
        label, label, np.full(2 * count, 0.9), maps=maps, masks=[mask] * (2 * count),
        sources=[np.zeros((3, 4, 4), np.float32)] * (2 * count),
        metadata=[{"site": "ab"[i // count]} for i in range(2 * count)],
    )  # fmt: skip
    outcome = Subgroups()(survey)
    (finding,) = outcome.findings
    assert finding.key == "site=b"
    (gap,) = finding.effects
    assert gap.name == "gap in relevance inside the mask"
    expected = np.mean(0.5 / (1 + noise[count:])) - np.mean(0.9 / (1 + noise[:count]))
    assert gap.value == pytest.approx(expected, abs=1e-5)
    assert finding.details["relevance_moved"] == pytest.approx(-expected, abs=1e-5)
    assert finding.details["relevance_moved_by_chance"] < 0.1
    row = next(row for row in outcome.tables["Groups"] if row["group"] == "site = b")
    assert row["mask covers"] == "25 %"


def test_rows_without_a_known_label_are_left_out_and_counted() -> None:
    label = np.repeat([0, 1, -1], 50)
    outcome = Subgroups()(fake_survey(label, np.maximum(label, 0), np.full(150, 0.9)))
    assert "50 rows were left out: they have no label that the model knows." in outcome.problems
    none = Subgroups()(fake_survey(np.full(50, -1), np.zeros(50, int), np.full(50, 0.9)))
    assert none.summary.startswith(
        "Groups were not compared: 0 rows with a label that the model knows are too few"
    )
