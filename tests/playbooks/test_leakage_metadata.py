"""Columns that tell the label, against SciPy, scikit-learn and planted truth."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2_contingency, norm
from sklearn.metrics import mutual_info_score, roc_auc_score

from tests.playbooks.fake_survey import fake_survey
from underhood.playbooks.columns import Column
from underhood.playbooks.leakage import Leakage
from underhood.playbooks.leakage import telling as module
from underhood.playbooks.leakage.telling import telling


def column(codes: Any, name: str = "site") -> Column:
    codes = np.asarray(codes, dtype=np.int64)
    return Column(name, codes, tuple(str(i) for i in range(int(codes.max()) + 1)))


def test_figures_are_those_of_scipy_and_scikit_learn() -> None:
    random = np.random.default_rng(0)
    codes, label = random.integers(0, 4, 400), random.integers(0, 3, 400)
    label = np.where(random.random(400) < 0.4, codes % 3, label)
    table = module._table(codes, label, 3)
    assert module._chi_square(table) == pytest.approx(chi2_contingency(table, correction=False).statistic)
    assert module._information(table) == pytest.approx(mutual_info_score(codes, label) / np.log(2))
    fold = module._folds(label, np.random.default_rng(1))
    told = module._held_out(codes, label, fold, 3)
    told /= told.sum(1, keepdims=True)
    peer = [roc_auc_score(label[fold == f], told[fold == f], multi_class="ovr") for f in range(5)]
    assert module._auroc(told, label, fold, 3) == pytest.approx(np.mean(peer))


def test_a_column_that_is_the_label_tells_all_of_it() -> None:
    label = np.arange(200) % 2
    found = telling(column(label), label)
    assert found.auroc == 1
    assert found.high == 1
    assert 0.95 < found.low < 1
    assert found.cramers_v == pytest.approx(1)
    assert found.information == pytest.approx(1)
    assert found.p == 1 / 1000


def test_a_planted_column_has_the_auroc_it_was_planted_with() -> None:
    """Right in 80 % of rows of both classes: an AUROC of 0.8."""
    random = np.random.default_rng(1)
    label = random.integers(0, 2, 2000)
    found = telling(column(np.where(random.random(2000) < 0.8, label, 1 - label)), label, draws=19)
    assert found.low <= 0.8 <= found.high
    assert found.high - found.low < 0.06


@pytest.mark.parametrize(("true", "each"), [(0.97, 20), (0.85, 12), (0.5, 30)])
def test_the_interval_of_an_auroc_holds_the_true_one_as_often_as_it_says(true: float, each: int) -> None:
    """Two normal classes whose means differ by √2 z have an AUROC of Φ(z); close to 1 as well."""
    random = np.random.default_rng(5)
    label, apart = np.repeat([0, 1], each), np.sqrt(2) * norm.ppf(true)
    held = 0
    for _ in range(300):
        area = roc_auc_score(label, random.normal(size=2 * each) + apart * label)
        low, high = module._interval(area, np.array([each, each]))
        assert low < high
        held += low <= true <= high
    assert 0.93 <= held / 300 <= 0.995


def test_chance_has_uniform_p() -> None:
    random = np.random.default_rng(2)
    found = [
        telling(column(random.integers(0, 6, 60)), random.integers(0, 2, 60), draws=99, seed=seed)
        for seed in range(200)
    ]
    assert np.mean([one.auroc for one in found]) == pytest.approx(0.5, abs=0.02)
    p = [one.p for one in found]
    assert np.mean(np.array(p) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
    assert 0.42 < np.mean(p) < 0.6


def test_many_kinds_seen_once_tell_nothing_held_out() -> None:
    """In the sample itself 90 kinds of 100 rows tell almost every label; held out they do not."""
    random = np.random.default_rng(3)
    found = telling(column(random.permutation(np.arange(100) % 90)), random.integers(0, 2, 100))
    assert found.information > 0.5
    assert found.p > 0.05
    assert 0.3 < found.auroc < 0.7


def test_planted_columns_are_found_and_others_not() -> None:
    random = np.random.default_rng(4)
    label = random.integers(0, 2, 300)
    clinic = np.where(random.random(300) < 0.9, label, 1 - label)
    metadata = [
        {
            "file": f"case{i}",
            "clinic": "AB"[clinic[i]],
            "age": f"{random.normal(50 + 20 * label[i], 8):.2f}",
            "sex": "fm"[random.integers(2)],
            "weekday": str(random.integers(7)),
        }
        for i in range(300)
    ]
    survey = fake_survey(label, label, np.full(300, 0.9), metadata=metadata)
    part = Leakage().metadata(survey)
    found = {f.key: f for f in part.findings}
    assert list(found) == ["metadata:clinic", "metadata:age"]
    assert found["metadata:clinic"].severity == "medium"
    # Two normal distributions 2.5 spreads apart: AUROC Φ(2.5/√2) = 0.961.
    assert found["metadata:age"].effects[0].value == pytest.approx(0.961, abs=0.03)
    assert part.problems == (
        "The column 'file' was left out: it has another value for each row, as an id has.",
    )
    assert len(part.tables["Metadata and label"]) == 4
