"""`Work`, and by which engine it is done."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from underhood.engine import Settings
from underhood.errors import InvalidArgument, UnknownName
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

    @property
    def rows(self) -> int:
        """That are to be done."""
        return sum(len(self.store.numbers(shard)) for shard in self.shards)

    def chosen(self, *known: str) -> dict[str, Any]:
        """The options, refused where the engine knows no such."""
        for name in self.options:
            if name not in known:
                raise UnknownName("option of this engine", name, known)
        workers = self.options.get("workers")
        if workers is not None and (not isinstance(workers, int) or workers < 1):
            raise InvalidArgument(f"workers is a number of processes from 1 on, not {workers!r}.")
        return dict(self.options)

    def report(self, done: int) -> None:
        """Tell how many rows of all are done, those included that were done before."""
        if self.settings.progress is not None:
            in_all = self.store.rows_in_all
            self.settings.progress(in_all - self.rows + done, in_all)


Run = Callable[[Work], None]

ENGINES: dict[str, str] = {  # where each is, imported when it is asked for
    "here": "underhood.playbooks.engines.work:here",
    "local": "underhood.playbooks.engines.local:local",
    "ray": "underhood.playbooks.engines.ray:on_ray",
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

    settings = replace(work.settings, progress=lambda done, _total: work.report(done))
    numbers = [work.store.numbers(shard) for shard in work.shards]
    results = survey_shards(work.model, work.dataset, numbers, settings, shape=work.shape)
    for shard, result in zip(work.shards, results, strict=True):
        work.store.write(shard, result)
        work.store.commit(shard)
