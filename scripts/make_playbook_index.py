"""Makes docs/playbooks/README.md from the playbooks: python scripts/make_playbook_index.py"""

from pathlib import Path

from underhood.playbooks import Playbook
from underhood.playbooks.registry import PLAYBOOKS, playbook

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "playbooks"

HEAD = """\
# The playbooks

Each asks one question about a model and a data set. `underhood audit` runs all of them, or those that
`--playbook` names; in Python `uh.audit(model, dataset, playbooks=[…])` takes keys, or playbooks with
parameters. How an audit is made: [the guide](../guide.md#audit-a-data-set). Your own:
[30 lines](../add-a-playbook.md).

The lines here are made from the playbooks themselves by `scripts/make_playbook_index.py`.

| playbook | asks |
|---|---|
"""


def index() -> str:
    """The page."""
    return HEAD + "".join(_row(playbook(key)) for key in PLAYBOOKS)


def page_of(key: str) -> Path:
    return FOLDER / f"{key}.md"


def _row(kind: type[Playbook]) -> str:
    name = f"[{kind.key}]({page_of(kind.key).name})" if page_of(kind.key).exists() else kind.key
    return f"| {name} | {kind.question} |\n"


if __name__ == "__main__":
    page_of("README").write_text(index())
