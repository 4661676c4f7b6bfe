"""How many pictures a second are surveyed by two processes, and by two workers of a Ray cluster.

python -m benchmarks.audit_engines [--pictures 2000] [--network resnet18] [--rounds 3]

From JPEG files to the last record on the disk, without playbooks, by two workers of one thread each. Local:
processes that are started for it. Ray: a cluster of two nodes on this machine that is there already; its
workers are started for it. Each round takes one after the other.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

import underhood as uh
from benchmarks.audit import NETWORKS, photos
from benchmarks.measure import cost_of
from tests.support.untrained import untrained
from underhood.models.preprocess import PRESETS

AIM, SHARD = 0.9, 128
WORKERS = 2
STORE = 256 * 2**20  # bytes of each node's shared memory


class Loadable(nn.Sequential):
    """A network for other processes: its module, this one, imports first what torchvision may lack."""


def audited(model: uh.Model, data: Path, engine: str, **options: object) -> bytes:
    """The maps that were found, as bytes."""
    with tempfile.TemporaryDirectory() as out:
        where = Path(out) / "audit"
        found = uh.audit(model, data, (), out=where, shard=SHARD, engine=engine, options=options)
        return np.asarray(found.survey.maps).tobytes() + np.asarray(found.survey.scores).tobytes()


def measured(model: uh.Model, data: Path, address: str, rounds: int) -> dict[str, list[float]]:
    """Seconds of each round, by engine; all find the same."""
    ways: dict[str, Callable[[], bytes]] = {
        "local, two processes": lambda: audited(model, data, "local", workers=WORKERS),
        "Ray, two nodes of one processor each": lambda: audited(
            model, data, "ray", workers=WORKERS, address=address
        ),
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    found: set[bytes] = set()
    for _ in range(rounds):
        for name, way in ways.items():
            spent[name].append(cost_of(lambda way=way: found.add(way())).wall)  # type: ignore[misc]
            print(f"{name}: {spent[name][-1]:.1f} s", flush=True)
    print("all the same, bit for bit" if len(found) == 1 else f"{len(found)} different results")
    return spent


def told(spent: dict[str, list[float]], pictures: int) -> Iterator[str]:
    local = float(np.median(spent["local, two processes"]))
    yield "| engine | pictures a second | beside local with two processes |"
    yield "| --- " * 3 + "|"
    for name, seconds in spent.items():
        middle = float(np.median(seconds))
        yield f"| {name} | {pictures / middle:.1f} | {local / middle:.2f} |"


def main() -> None:
    from ray.cluster_utils import Cluster

    from benchmarks.audit_engines import Loadable  # under the name that other processes know it by

    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--network", default="resnet18", choices=NETWORKS)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(WORKERS)  # shared out: one for each worker
    network = untrained(NETWORKS[asked.network])
    model = uh.Model(Loadable(network.module), PRESETS["imagenet"], name=asked.network)
    cluster = Cluster()
    try:
        for _ in range(WORKERS):
            cluster.add_node(num_cpus=1, object_store_memory=STORE, include_dashboard=False)
        with tempfile.TemporaryDirectory() as out:
            photos(Path(out) / "data", asked.pictures)
            spent = measured(model, Path(out) / "data", cluster.address, asked.rounds)
    finally:
        cluster.shutdown()
    print(*told(spent, asked.pictures), sep="\n")
    print(f"{asked.network}, {asked.pictures:,} pictures, median of {asked.rounds}, {time.strftime('%F')}")


if __name__ == "__main__":
    main()
