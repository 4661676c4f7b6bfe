"""A cluster of two nodes, on this machine, finds what one process finds, also where a worker is killed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.playbooks.mortal import assert_same, model, run
from underhood.errors import InvalidArgument
from underhood.playbooks.engines.ray import cluster

ray = pytest.importorskip("ray", reason="Ray is not installed; the extra 'ray' brings it")

STORE = 80 * 2**20  # bytes, about the least that Ray takes


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[str]:
    """The address of a cluster; this program is not in it."""
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, object_store_memory=STORE, include_dashboard=False)
        cluster.wait_for_nodes()
        yield cluster.address
    finally:
        cluster.shutdown()


def test_two_nodes_of_which_one_loses_its_worker_find_the_same(tmp_path: Path, two_nodes: str) -> None:
    mortal = model(tmp_path / "deaths", times=1)
    found = run(tmp_path / "two", mortal, "ray", workers=2, address=two_nodes)
    assert mortal.module.deaths() == 1
    assert not ray.is_initialized()
    assert_same(found, run(tmp_path / "one", mortal))


@pytest.mark.usefixtures("two_nodes")
def test_without_an_address_a_cluster_is_started_even_beside_another() -> None:
    with cluster(ray, None, 1):
        assert ray.cluster_resources()["CPU"] == 1
    assert not ray.is_initialized()


def test_a_cluster_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidArgument, match=r"no Ray cluster at '127\.0\.0\.1:1'; start one with: ray start"
    ):
        run(tmp_path / "audit", model(tmp_path / "deaths"), "ray", address="127.0.0.1:1")
