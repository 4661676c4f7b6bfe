"""Numbers and parameters as people read them."""

import numpy as np
import pytest

from tests.reports import fakes
from underhood.models.prediction import Prediction
from underhood.reports import view, words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.01234, "0.0123"),
        (-4.5, "−4.50"),
        (9.999, "10.0"),
        (12345.0, "12345"),
        (1.2e-7, "1.20×10⁻⁷"),
        (-3.4e38, "−3.40×10³⁸"),
        (np.float32(0.25), "0.250"),
    ],
)
def test_number(value, text):
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0.0 %"), (0.00001, "< 0.1 %"), (0.1234, "12.3 %"), (0.99999, "> 99.9 %"), (1, "100.0 %")],
)
def test_percent_never_rounds_to_certainty(share, text):
    assert words.percent(share) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "yes"),
        (None, "none"),
        (50, "50"),
        (0.15, "0.15"),
        ((3, 4), "3, 4"),
        (list(range(9)), "0, 1, 2, 3, 4, 5, … (9 values)"),
        (np.zeros((3, 4)), "array of 3 × 4"),
        ({"sigma": 2.0, "kind": "blur"}, "sigma 2, kind blur"),
    ],
)
def test_describe(value, text):
    assert words.describe(value) == text


def test_caption_names_target_model_baseline_parameters_gap_and_caveat():
    item = fakes.explanation(
        card=fakes.card("Integrated Gradients", "attribution"),
        parameters={"steps": 50, "baseline": "blur", "tolerance": None},
        diagnostics={"completeness_gap": 0.0031, "trace": np.zeros(100)},
    )
    assert view.caption(item) == (
        "Integrated Gradients (steps = 50). Target: bull mastiff (class 243), score 9.41. "
        "Model 3fa9c1b2d0e4. Baseline: blur. Completeness gap: 0.0031. "
        "Shows what the model used, not whether it is right."
    )


def test_bars_start_at_a_common_zero():
    left, right = view.bars(np.array([-1.0, 3.0]), ["age", "dose"])
    assert (left.start, left.length, left.sign) == (0, 25, "minus")
    assert (right.start, right.length, right.label) == (25, 75, "dose")


def test_of_many_bars_the_largest_stay_in_their_order():
    values = np.zeros(500)
    values[[400, 7]] = 5, -6
    labels = [bar.label for bar in view.bars(values, None)]
    assert len(labels) == view.MANY_BARS
    assert labels.index("position 7") < labels.index("position 400")


@pytest.mark.parametrize(
    ("first", "last", "text"),
    [
        ("2026-11-21T10:42:07Z", "2026-11-21T10:42:07Z", "2026-11-21 10:42:07 UTC"),
        ("2026-11-21T10:42:07Z", "2026-11-21T10:43:00+00:00", "2026-11-21 10:42:07 to 10:43:00 UTC"),
        ("yesterday", "today", "yesterday to today"),
        (
            "2026-11-21T23:59:59Z",
            "2026-11-22T01:00:01+01:00",
            "2026-11-21 23:59:59 to 2026-11-22 00:00:01 UTC",
        ),
    ],
)
def test_two_times_are_told_as_one_span(first, last, text):
    assert words.period(first, last) == text


def test_a_caption_leaves_what_is_but_true_to_the_table():
    item = fakes.explanation(diagnostics={"layer_is_nonnegative": True, "layer": "block4"})
    assert "nonnegative" not in view.caption(item)
    assert "Layer: block4." in view.caption(item)
    assert ("layer is nonnegative", "yes") in view.panel(item).diagnostics


def test_a_target_below_the_top_five_has_a_bar_too():
    scores, labels = np.arange(9, dtype=np.float32), tuple("abcdefghi")
    items = [fakes.explanation(prediction=Prediction(scores, labels), target=t) for t in ("b", "i", "b - i")]
    assert [row[0] for row in view.section(1, items).top] == ["i", "h", "g", "f", "e", "b"]
