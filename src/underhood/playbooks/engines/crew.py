"""Sharing shards out among workers that may die: what engines of several processes have in common."""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from underhood.errors import Cancelled, UnderhoodError
from underhood.playbooks.engines.surveyor import Failure, Rows, rows_of
from underhood.playbooks.engines.work import Work

TICK = 0.2  # seconds between looks at whether to stop
DEATHS = 3  # of workers over the same shard, or in a row while they start


@dataclass(frozen=True)
class News:
    """Of a worker: it is ready for a shard, or it failed, or it died."""

    worker: int
    failure: Failure | None = None
    died: bool = False


class Crew(Protocol):
    """Workers by number; each is ready once it has loaded the model, and again after each shard."""

    def hire(self, worker: int) -> None: ...
    def give(self, worker: int, shard: int, rows: Rows) -> None: ...
    def news(self, seconds: float) -> Sequence[News]: ...
    def dismiss(self) -> None: ...


def share_out(work: Work, crew: Crew, workers: int) -> None:
    """Have all shards surveyed, and commit each; a shard whose worker died is given to another."""
    try:
        _Shares(work, crew).all_done(min(workers, len(work.shards)))
    finally:
        crew.dismiss()


class _Shares:
    def __init__(self, work: Work, crew: Crew):
        self.work, self.crew = work, crew
        self.waiting = deque(work.shards)
        self.idle: deque[int] = deque()  # workers
        self.given: dict[int, int] = {}  # worker → its shard
        self.deaths: Counter[int | None] = Counter()  # by shard; None while starting
        self.hired = self.rows_done = 0

    def all_done(self, workers: int) -> None:
        self.work.report(0)
        for _ in range(workers):
            self._hire()
        while self.waiting or self.given:
            cancel = self.work.settings.cancel
            if cancel is not None and cancel.is_set():
                raise Cancelled("Stopped, as asked.")
            for news in self.crew.news(TICK):
                self._hear(news)
            while self.waiting and self.idle:
                self._give(self.idle.popleft(), self.waiting.popleft())

    def _hire(self) -> None:
        self.crew.hire(self.hired)
        self.hired += 1

    def _give(self, worker: int, shard: int) -> None:
        self.given[worker] = shard
        self.crew.give(worker, shard, rows_of(self.work, shard))

    def _hear(self, news: News) -> None:
        shard = self.given.pop(news.worker, None)
        if news.failure is not None:
            raise news.failure.as_error()
        if news.died:
            self._replace(news.worker, shard)
            return
        if shard is None:
            self.deaths[None] = 0
        else:
            self.work.store.commit(shard)
            self.rows_done += len(self.work.store.numbers(shard))
            self.work.report(self.rows_done)
        self.idle.append(news.worker)

    def _replace(self, worker: int, shard: int | None) -> None:
        if worker in self.idle:
            self.idle.remove(worker)
        self.deaths[shard] += 1
        if self.deaths[shard] >= DEATHS:
            raise UnderhoodError(_hopeless(self.work, shard))
        if shard is not None:
            self.waiting.appendleft(shard)
        self._hire()


def _hopeless(work: Work, shard: int | None) -> str:
    if shard is None:
        return (
            f"Workers ended {DEATHS} times before they were ready, as if killed for lack of memory; audit "
            "with fewer workers."
        )
    rows = work.store.numbers(shard)
    return (
        f"{DEATHS} workers ended one after the other over the pictures {rows.start} to {rows.stop - 1}, as "
        "if killed for lack of memory; what was done before is kept. Go on with fewer workers."
    )
