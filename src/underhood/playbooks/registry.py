"""The playbooks by key, imported when they are asked for."""

from collections.abc import Sequence
from importlib import import_module

from underhood.errors import InvalidArgument, UnknownName
from underhood.playbooks.playbook import Playbook

PlaybookLike = str | Playbook | type[Playbook]

PLAYBOOKS: dict[str, str] = {  # in the order in which they are run
    "shortcuts": "underhood.playbooks.shortcuts:Shortcuts",
    "errors": "underhood.playbooks.errors:Errors",
    "confusions": "underhood.playbooks.confusions:Confusions",
    "leakage": "underhood.playbooks.leakage:Leakage",
    "subgroups": "underhood.playbooks.subgroups:Subgroups",
    "trust": "underhood.playbooks.trust:Trust",
}


def playbook(key: str) -> type[Playbook]:
    if key not in PLAYBOOKS:
        raise UnknownName("playbook", key, PLAYBOOKS)
    module, name = PLAYBOOKS[key].split(":")
    found: type[Playbook] = getattr(import_module(module), name)
    return found


def as_playbooks(given: Sequence[PlaybookLike] | PlaybookLike | None) -> list[Playbook]:
    """Playbooks from keys, classes or instances; None takes all."""
    if given is None:
        given = list(PLAYBOOKS)
    items = [given] if isinstance(given, str | Playbook | type) else list(given)
    built = [_built(item) for item in items]
    keys = [one.key for one in built]
    for key in keys:
        if keys.count(key) > 1:
            raise InvalidArgument(f"The playbook '{key}' is asked for twice.")
    return built


def _built(item: PlaybookLike) -> Playbook:
    if isinstance(item, str):
        return playbook(item)()
    if isinstance(item, Playbook):
        return item
    if isinstance(item, type) and issubclass(item, Playbook):
        return item()
    raise InvalidArgument(f"A playbook must be a key, a Playbook or its class, not {item!r}.")
