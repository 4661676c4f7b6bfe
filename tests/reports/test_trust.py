"""What page and figure say of a verdict."""

import re
from dataclasses import replace

import numpy as np
import pytest

from tests.reports import fakes
from tests.reports.fakes import WORDS, verdict
from underhood.checks.verdict import QUESTIONS
from underhood.methods.explanation import Subject
from underhood.reports import figure, render_html
from underhood.reports.trust import trust


def test_the_panel_says_the_verdict_before_the_map_and_the_figures_after_it() -> None:
    page = render_html([fakes.explanation(verdict=verdict("corroborated", 0.91))])
    badge, stage, evidence = (
        page.index(text) for text in ("<b>corroborated</b>", "<canvas", 'class="evidence"')
    )
    assert badge < stage < evidence
    assert "score 0.91" in page
    assert "<b>For it.</b> Hiding these places costs &lt;much&gt;." in page
    assert "0.410 ± 0.050" in page
    assert "Controls: random 0.200" in page
    assert "p = 0.025" in page
    assert "Undefined, because it takes 300 passes." in page
    for asks in QUESTIONS.values():
        assert asks in page


@pytest.mark.parametrize("word", WORDS)
def test_each_verdict_has_a_shape_of_its_own_and_only_one_is_written_across_the_map(word: str) -> None:
    page = render_html([fakes.explanation(verdict=verdict(word))])
    kind = {"corroborated": "firm", "contested": "mixed", "not to be trusted": "doubted"}[word]
    assert f"is-{kind}" in page
    shapes = [bool(re.search(shape, page)) for shape in ("<circle cx", "M8 0.8L", "M5 0.5h6")]
    assert shapes == [kind == k for k in ("firm", "mixed", "doubted")]
    assert ('class="words-across"' in page) == (kind == "doubted")
    assert f", {word}; arrow keys" in page  # for who does not see it


def test_without_a_verdict_nothing_is_said_of_trust() -> None:
    page = render_html([fakes.explanation()])
    assert trust(fakes.explanation()) is None
    assert 'class="evidence"' not in page
    assert 'words-across"' not in page


def test_a_long_list_of_contents_marks_each_map_with_its_verdict() -> None:
    words = ["corroborated", "contested", "not to be trusted", *["corroborated"] * 4]
    items = [fakes.explanation(method=f"m{n}", verdict=verdict(word)) for n, word in enumerate(words)]
    items = [replace(item, card=fakes.card(f"Method {n}")) for n, item in enumerate(items)]
    page = render_html(items)
    assert re.findall(r'class="is-(\w+)" title="([a-z ]+), score', page) == [
        *(({"corroborated": "firm", "contested": "mixed"}.get(word, "doubted"), word) for word in words)
    ]


def test_a_report_of_six_methods_with_verdicts_stays_small() -> None:
    items = fakes.six_methods(Subject("both.png", "b7" * 32, fakes.picture(224)), 224)
    page = render_html([replace(item, verdict=verdict("not to be trusted")) for item in items])
    assert len(page.encode()) < 1_000_000
    assert page.count("The figures behind it") == 6


def test_the_figure_fades_what_is_not_to_be_trusted_and_captions_every_verdict() -> None:
    plain, doubted = (
        np.asarray(figure.map_cell(fakes.explanation(verdict=v)))[40:300]
        for v in (None, verdict("not to be trusted"))
    )
    assert doubted.mean() > plain.mean() + 40
    told = figure.verdict_in_words(verdict("not to be trusted", 0.1))
    assert told == "Not to be trusted, score 0.10. Hiding these places costs <much>."
