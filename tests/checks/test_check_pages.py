"""Every check has a page, and the index says what the cards say."""

import pytest

from scripts.make_check_index import FOLDER, QUESTIONS, card_of, index, page_of
from underhood.checks.benchmark import every_check


def test_the_index_is_made_from_the_cards() -> None:
    """If this fails: python scripts/make_check_index.py"""
    assert (FOLDER / "README.md").read_text() == index()


@pytest.mark.parametrize("key", every_check())
def test_a_checks_page_says_when_it_misleads(key: str) -> None:
    check = every_check()[key]
    card = card_of(check)
    assert "islead" in page_of(check).read_text()
    assert card.question in QUESTIONS
    assert card.asks.endswith("?")
    for said in (card.defined, card.controls, card.misleads, card.cost, card.source):
        assert said.strip()
