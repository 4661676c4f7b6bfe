"""Makes docs/checks/README.md from the checks' cards: python scripts/make_check_index.py"""

import re
from pathlib import Path

from underhood.checks import Check
from underhood.checks.benchmark import every_check
from underhood.checks.card import CheckCard

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "checks"
ABOUT_ALL = ("README", "benchmark", "verdict", "how-to-read-a-verdict")  # pages on no check in particular

QUESTIONS = {
    "controls": "Does the map do better than meaningless ones?",
    "model": "Does it depend on what the model has learned?",
    "class": "Does it depend on the class that is asked about?",
    "stability": "Does it stay where nothing that matters changes?",
    "certainty": "Is there something to explain, and is the map sure of it?",
    "completeness": "Does it add up to what it promises?",
    "support": "Does a method of another family say the same?",
    "description": "How does it look? Evidence neither for nor against it",
    "truth": "Does it hit what is known to be the cause?",
}

HEAD = """\
# The checks

Each asks one thing of a map, and gives a figure beside what meaningless maps would score. Call a check on
explanations, `uh.checks.Deletion()(explanation)`, or on a data set ([methods × checks](benchmark.md)); or let
`--check` join them in a [verdict](verdict.md), which [a clinician can read](how-to-read-a-verdict.md).

The page of each check says how it is defined, what it is compared with and when it misleads. The lines here
are made from the checks' own cards by `scripts/make_check_index.py`.
"""


def index() -> str:
    """The page."""
    checks = sorted(every_check().values(), key=lambda check: check.__name__.lower())
    parts = [HEAD]
    for question, asked in QUESTIONS.items():
        rows = [row for check in checks if (row := _row(check, question))]
        parts.append(
            "\n".join(
                [
                    f"## {asked}\n",
                    "| check | asks | better | costs | source |",
                    "|---|---|---|---|---|",
                    *rows,
                    "",
                ]
            )
        )
    return "\n".join(parts)


def page_of(check: type[Check]) -> Path:
    """The page that tells most of a check."""
    pages = [page for page in sorted(FOLDER.glob("*.md")) if page.stem not in ABOUT_ALL]
    said = {page: len(re.findall(rf"\b{check.__name__}\b", page.read_text())) for page in pages}
    page = max(said, key=lambda page: said[page])
    if not said[page]:
        raise LookupError(f"No page of {FOLDER} tells of {check.__name__}.")
    return page


def card_of(check: type[Check]) -> CheckCard:
    """A card does not depend on what a check is given: it is read without building one."""
    return check.card.fget(object.__new__(check))  # type: ignore[attr-defined]


def _row(check: type[Check], question: str) -> str | None:
    card = card_of(check)
    if card.question != question:
        return None
    name = f"[{check.__name__}]({page_of(check).name})"
    return f"| {name} | {card.asks} | {card.better or 'neither'} | {card.cost} | {card.source} |"


if __name__ == "__main__":
    (FOLDER / "README.md").write_text(index())
