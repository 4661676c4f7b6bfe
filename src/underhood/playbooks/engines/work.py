"""`Work`, and by which engine it is done."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch

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

    @property
    def threads(self) -> int:
        """Of each operation on a processor: the bits depend on it, so an audit keeps to its own."""
        return int(self.store.about.get("threads", torch.get_num_threads()))

    def report(self, done: int) -> None:
        """Tell how many rows of all are done, those included that were done before."""
        if self.settings.progress is not None:
            in_all = self.store.rows_in_all
            self.settings.progress(in_all - self.rows + done, in_all)


Run = Callable[[Work], None]

ENGINES: dict[str, tuple[str, tuple[str, ...]]] = {  # where each is, imported when asked for; its options
    "here": ("underhood.playbooks.engines.work:here", ()),
    "local": ("underhood.playbooks.engines.local:local", ("workers",)),
    "ray": ("underhood.playbooks.engines.ray:on_ray", ("workers", "address")),
}


def engine_of(name: str, options: Mapping[str, Any]) -> Run:
    """Raises UnknownName or InvalidArgument where there is no such engine, or it has no such option."""
    if name not in ENGINES:
        raise UnknownName("engine", name, ENGINES)
    path, known = ENGINES[name]
    for option in options:
        if option not in known:
            raise UnknownName(f"option of the engine '{name}'", option, known)
    workers = options.get("workers")
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise InvalidArgument(f"workers is a number of processes from 1 on, not {workers!r}.")
    module, function = path.split(":")
    run: Run = getattr(import_module(module), function)
    return run


def threads_of(name: str, options: Mapping[str, Any]) -> int:
    """A worker's fair share of this program's threads; one for each where a cluster chooses how many."""
    workers = options.get("workers", torch.get_num_threads() if name == "ray" else 1)
    return max(1, torch.get_num_threads() // workers)


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def here(work: Work) -> None:
    """In this process, one shard after the other."""
    from underhood.playbooks.surveying import survey_shards

    settings = replace(work.settings, progress=lambda done, _total: work.report(done))
    numbers = [work.store.numbers(shard) for shard in work.shards]
    with threads(work.threads):
        results = survey_shards(work.model, work.dataset, numbers, settings, shape=work.shape)
        for shard, result in zip(work.shards, results, strict=True):
            work.store.write(shard, result)
            work.store.commit(shard)
