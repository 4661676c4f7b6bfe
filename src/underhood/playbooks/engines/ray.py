"""The engine `ray`: workers on a cluster, as Ray actors; they share the audit's folder and the pictures."""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from underhood.errors import InvalidArgument, MissingExtra
from underhood.playbooks.engines.crew import News, share_out
from underhood.playbooks.engines.surveyor import Brief, Failure, Rows, Surveyor
from underhood.playbooks.engines.work import Work

PATIENCE = 5  # seconds
MEMORY = 512 * 2**20  # bytes of shared memory of a cluster that is started here


def on_ray(work: Work) -> None:
    """Options: address of the cluster, such as auto, without which one is started here; workers, how many.

    Without workers there are as many as the cluster has GPUs, or else CPUs.
    """
    ray, wanted = _imported(), work.options.get("workers")
    with cluster(ray, work.options.get("address"), wanted):
        there = ray.cluster_resources()
        gpus = int(there.get("GPU", 0)) if str(work.settings.device).startswith(("auto", "cuda")) else 0
        workers = wanted or gpus or max(1, int(there.get("CPU", 1)))
        share = min(1.0, gpus / workers) if gpus else 0.0
        largest = max(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
        needs = {"num_cpus": min(work.threads, largest), "num_gpus": share}
        share_out(work, Actors(ray, Brief.of(work), needs), workers)


_NO_CLUSTER = (
    "There is no Ray cluster at '{}'; start one with: ray start --head. Without an address one starts here."
)


@contextmanager
def cluster(ray: Any, address: str | None, workers: int | None) -> Iterator[None]:
    """The cluster that this program is in, or the one at the address, or one of this machine alone."""
    if ray.is_initialized():
        yield
        return
    if address is not None and not _answers(address):
        raise InvalidArgument(_NO_CLUSTER.format(address))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address is None:
            here = {"num_cpus": workers, "include_dashboard": False, "object_store_memory": MEMORY}
            ray.init(address="local", **here, **quiet)  # not one that happens to run on this machine
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InvalidArgument(
            _NO_CLUSTER.format(address) if address else f"Ray cannot be started here ({error})."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


class Actors:
    """Workers as Ray actors; see `Crew`."""

    def __init__(self, ray: Any, brief: Brief, needs: Mapping[str, float]):
        """needs: of each of them."""
        self.ray, self.brief = ray, ray.put(brief)
        self.kind = ray.remote(**needs, max_restarts=0, scheduling_strategy="SPREAD")(Worker)
        self.actors: dict[int, Any] = {}
        self.waiting: dict[Any, int] = {}  # for each, the worker

    def hire(self, worker: int) -> None:
        self.actors[worker] = self.kind.remote()
        self.waiting[self.actors[worker].start.remote(self.brief)] = worker

    def give(self, worker: int, shard: int, rows: Rows) -> None:
        self.waiting[self.actors[worker].survey.remote(shard, rows)] = worker

    def news(self, seconds: float) -> list[News]:
        done, _ = self.ray.wait(list(self.waiting), num_returns=1, timeout=seconds)
        return [self._heard(one) for one in done]

    def _heard(self, one: Any) -> News:
        worker = self.waiting.pop(one)
        try:
            return News(worker, self.ray.get(one))
        except self.ray.exceptions.RayError as error:
            if isinstance(error, self.ray.exceptions.RayTaskError):
                return News(worker, Failure.of(error.cause))
            self.ray.kill(self.actors.pop(worker))
            return News(worker, died=True)

    def dismiss(self) -> None:
        for actor in self.actors.values():
            with suppress(self.ray.exceptions.RayError):
                self.ray.kill(actor)


class Worker:
    """A surveyor in an actor."""

    def start(self, brief: Brief) -> Failure | None:
        self.surveyor = Surveyor.set_up(brief)
        return self.surveyor if isinstance(self.surveyor, Failure) else None

    def survey(self, shard: int, rows: Rows) -> Failure | None:
        assert isinstance(self.surveyor, Surveyor)  # no shard is given to one that failed
        return self.surveyor.survey(shard, rows)


def _answers(address: str) -> bool:
    """Whether anything does at a HOST:PORT, which Ray would go on to try for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return True  # a word of Ray's own, such as auto
    try:
        with socket.create_connection((host, int(port)), PATIENCE):
            return True
    except OSError:
        return False


def _imported() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("ray", "ray") from error
    return ray
