"""An audit that is killed loses the shard in work at most, repeats none and doubles none."""

import json
import multiprocessing
import sqlite3
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from tests.support import audits
from underhood.errors import InvalidArgument
from underhood.inputs.random import generator
from underhood.store import alone

COUNT, SHARD = 240, 16
WORDS = ("maps", "scale", "scores", "features")


def started(folder: Path) -> multiprocessing.process.BaseProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.audits", "underhood.playbooks.about", "underhood.store"])
    process = context.Process(target=audits.run, args=(folder, COUNT, SHARD))
    process.start()
    return process


def rows(folder: Path, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(folder / "records.sqlite") as connection:
        return connection.execute(query).fetchall()


def done(folder: Path) -> dict[int, str]:
    """Shards that are done, with when and by which run: it changes where one is done again."""
    if not (folder / "audit.json").exists():
        return {}
    found = rows(
        folder,
        "select shards.number, provenance.more from shards join provenance on provenance.id = provenance",
    )
    counted = rows(folder, "select shard, count(*), min(number), max(number) from records group by shard")
    assert [row[0] for row in counted] == [row[0] for row in found]
    for shard, number, first, last in counted:  # each with all of its records, and each record once
        assert (number, first, last) == (SHARD, shard * SHARD, shard * SHARD + SHARD - 1)
    return dict(found)  # type: ignore[arg-type]


def content(folder: Path) -> dict[str, object]:
    """All that must be the same, bit for bit."""
    arrays = zarr.open_group(folder / "maps.zarr", mode="r")
    findings = json.loads((folder / "findings.json").read_text())
    findings["audit"].pop("time")
    return {
        **{word: np.asarray(arrays[word]).tobytes() for word in WORDS},
        "records": rows(
            folder, "select number, name, sha256, label, predicted, probability, shard from records"
        ),
        "findings": findings,
    }


def survives(folder: Path, undisturbed: Path, kills: int) -> None:
    for place in ("warm", "whole"):  # the first starts the server that processes come from
        begin = time.perf_counter()
        whole = started(undisturbed / place)
        whole.join()
        seconds = time.perf_counter() - begin
        assert whole.exitcode == 0
    undisturbed = undisturbed / "whole"
    assert len(done(undisturbed)) == COUNT // SHARD

    place, killed, between, before = 0, 0, 0, dict[int, str]()
    for moment in generator(0).uniform(0.1, 0.9, 10 * kills):
        if killed == kills:
            break
        run = started(folder / str(place))
        run.join(moment * seconds)
        if run.exitcode is not None:  # it was done before: what follows is killed in a new folder
            assert run.exitcode == 0
            assert content(folder / str(place)) == content(undisturbed)
            place, before = place + 1, {}
            continue
        run.kill()
        run.join()
        killed += 1
        now = done(folder / str(place))
        assert before.items() <= now.items(), "a shard was lost, or done again"
        between += 0 < len(now) < COUNT // SHARD
        before = now
    assert killed == kills
    assert between >= kills // 5, "the kills did not hit while shards were done"
    last = started(folder / str(place))
    last.join()
    assert last.exitcode == 0
    assert before.items() <= done(folder / str(place)).items()
    assert content(folder / str(place)) == content(undisturbed)


def test_four_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    survives(tmp_path / "killed", tmp_path / "undisturbed", kills=4)


@pytest.mark.slow
def test_twenty_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    survives(tmp_path / "killed", tmp_path / "undisturbed", kills=20)


def holding(folder: Path, held: Any, released: Any) -> None:
    with alone(folder):
        held.set()
        released.wait(60)


def test_one_process_at_a_time_goes_on_with_an_audit(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    held, released = context.Event(), context.Event()
    process = context.Process(target=holding, args=(tmp_path, held, released))
    process.start()
    assert held.wait(60)
    with pytest.raises(InvalidArgument, match="Another process is at work on the audit"), alone(tmp_path):
        pass
    process.kill()  # which releases it
    process.join()
    with alone(tmp_path):
        pass


def test_what_a_kill_left_half_written_is_cleared_away(tmp_path: Path) -> None:
    torn = ["maps.zarr/maps/c/0/0.ab12.partial", "scalars/.000001.ab12.parquet", "outcomes/.wrong.ab12.npz"]
    whole = ["maps.zarr/maps/c/0/0", "scalars/000001.parquet", "outcomes/wrong.npz"]
    for name in torn + whole:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with alone(tmp_path):
        assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.*") if p.is_file()) == sorted(
            [".lock", "scalars/000001.parquet", "outcomes/wrong.npz"]
        )
    assert (tmp_path / whole[0]).exists()
