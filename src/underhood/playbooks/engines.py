"""Who surveys the shards of an audit: this process, several, or a cluster.

An engine takes `Work`, and for each shard calls `store.write`, wherever that may be, and then `store.commit`,
in the process it was called in and nowhere else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from underhood.engine import Settings
from underhood.errors import UnknownName
from underhood.inputs.dataset import Dataset
from underhood.models import Model

if TYPE_CHECKING:
    from underhood.store import Store


@dataclass(frozen=True, eq=False)
class Work:
    """Shards that are to be surveyed.

    shape:   of the network's input.
    options: of the engine, such as workers.
    """

    model: Model
    dataset: Dataset
    store: "Store"
    shards: Sequence[int]
    settings: Settings
    shape: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


Run = Callable[[Work], None]

ENGINES: dict[str, str] = {  # where each is, imported when it is asked for
    "here": "underhood.playbooks.engines:here",
    "local": "underhood.playbooks.engines:here",
}


def engine_of(name: str) -> Run:
    if name not in ENGINES:
        raise UnknownName("engine", name, ENGINES)
    module, function = ENGINES[name].split(":")
    run: Run = getattr(import_module(module), function)
    return run


def here(work: Work) -> None:
    """In this process, one shard after the other."""
    from underhood.playbooks.surveying import survey_shards

    numbers = [work.store.numbers(shard) for shard in work.shards]
    settings = counted_from(work.settings, work.store.rows_in_all - sum(map(len, numbers)))
    results = survey_shards(work.model, work.dataset, numbers, settings, shape=work.shape)
    for shard, result in zip(work.shards, results, strict=True):
        work.store.write(shard, result)
        work.store.commit(shard)


def counted_from(settings: Settings, before: int) -> Settings:
    """Settings whose progress counts rows that were done before."""
    report = settings.progress
    if report is None:
        return settings
    return replace(settings, progress=lambda done, total: report(before + done, before + total))
