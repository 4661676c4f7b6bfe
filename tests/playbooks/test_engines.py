"""Whoever surveys the shards, and whoever dies over them, the audit is the same, bit for bit."""

import pickle
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

import underhood as uh
from tests.playbooks.mortal import ROWS, SHARD, Confident, assert_same, data, model, run
from underhood.atomic import CannotWrite
from underhood.errors import BadInput, Cancelled, InvalidArgument, MissingExtra, UnderhoodError, UnknownName
from underhood.inputs import Dataset
from underhood.playbooks.audit import Audit, audit
from underhood.playbooks.engines import Work, crew
from underhood.playbooks.engines.surveyor import Brief, Failure, Surveyor, rows_of
from underhood.store.alone import LOCK


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """By this process."""
    folder = tmp_path_factory.mktemp("alone")
    found = run(folder / "audit", model(folder / "deaths"))
    assert len(found.survey) == ROWS - 1
    return found


def left_behind(folder: Path) -> list[str]:
    """Files that an audit which ended well does not have."""
    return [
        path.name
        for path in folder.rglob("*")
        if path.is_file() and path.name != LOCK and (path.name[0] == "." or "partial" in path.name)
    ]


def test_two_processes_of_which_one_is_killed_find_the_same(tmp_path: Path, alone: Audit) -> None:
    mortal = model(tmp_path / "deaths", times=1)
    seen: list[tuple[int, int]] = []
    found = audit(
        mortal, data(), [Confident()], out=tmp_path / "audit", shard=SHARD, options={"workers": 2},
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert mortal.module.deaths() == 1
    assert_same(found, alone)
    counted = [done for done, total in seen if total == ROWS]  # the others are the playbook's
    assert counted == [0, *range(SHARD, ROWS + 1, SHARD)]


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


FILE_MODEL = """
import net_of_derm
def build():
    return net_of_derm.Net()
class Unused: pass
"""
NEIGHBOUR = """
from torch import nn
class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), Head())
class Head(nn.Linear):
    def __init__(self):
        super().__init__(4, 3)
"""


def test_ctrl_c_leaves_no_process_and_nothing_half_written(tmp_path: Path) -> None:
    """Of a model of the user's own file, too, which goes to other processes as it is now."""
    (tmp_path / "derm.py").write_text(FILE_MODEL)
    (tmp_path / "net_of_derm.py").write_text(NEIGHBOUR)
    torch.manual_seed(3)
    own = uh.load(f"file:{tmp_path / 'derm.py'}:build", labels=["a", "b", "c"])
    with torch.no_grad():  # after it was loaded
        own.module[0].weight.mul_(2)

    def stop(done: int, _total: int) -> None:
        if done:
            raise KeyboardInterrupt

    before, out = children(), tmp_path / "two"
    with pytest.raises(KeyboardInterrupt):
        audit(own, data(), [Confident()], out=out, shard=SHARD, options={"workers": 2}, progress=stop)
    assert children() == before
    assert left_behind(out) == []
    kept = Audit.open(out, model=own, dataset=data())
    assert len(kept.store.missing()) == ROWS // SHARD - 1
    assert_same(run(out, own), run(tmp_path / "one", own))


def test_an_audit_keeps_to_the_threads_it_was_begun_with(tmp_path: Path, alone: Audit) -> None:
    def stop(done: int, _total: int) -> None:
        if done == SHARD:
            raise KeyboardInterrupt

    begun = model(tmp_path / "deaths")
    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyboardInterrupt):
            audit(begun, data(), [Confident()], out=tmp_path / "audit", shard=SHARD // 2, progress=stop)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    gone_on = audit(begun, data(), [Confident()], out=tmp_path / "audit", shard=SHARD // 2)
    assert torch.get_num_threads() == 1
    assert {gone_on.store.provenance(number)["threads"] for number in (0, ROWS - 1)} == {2}
    assert alone.store.provenance(0)["threads"] == 1


def test_a_program_asked_to_stop_stops_its_workers(tmp_path: Path) -> None:
    stop = threading.Event()
    with pytest.raises(Cancelled):
        audit(
            model(tmp_path / "deaths"), data(), [], out=tmp_path / "audit", shard=SHARD, cancel=stop,
            options={"workers": 2}, progress=lambda *_: stop.set(),
        )  # fmt: skip


# -- the sharing itself, with workers that are only told of -----------------------------


class Fake:
    """A crew whose workers die as a coin falls, or over one shard; also the store that it works for."""

    def __init__(self, seed: int, shards: int, deadly: float = 0, deadly_shard: int | None = None):
        self.coin, self.deadly, self.total = np.random.default_rng(seed), deadly, shards
        self.deadly_shard, self.deaths = deadly_shard, 0
        self.at: dict[int, int | None] = {}
        self.idle: set[int] = set()
        self.committed: list[int] = []
        self.dismissed = False

    def hire(self, worker: int) -> None:
        assert worker not in self.at
        self.at[worker] = None

    def give(self, worker: int, shard: int, _rows: object) -> None:
        assert worker in self.idle
        self.idle.remove(worker)
        self.at[worker] = shard

    def news(self, _seconds: float) -> list[crew.News]:
        told = []
        for worker in [*self.at]:
            fatal = self.at[worker] is not None and self.at[worker] == self.deadly_shard
            if self.coin.random() < self.deadly or fatal:
                self.deaths += 1
                del self.at[worker]
                self.idle.discard(worker)
                told.append(crew.News(worker, died=True))
            elif worker not in self.idle and self.coin.random() < 0.5:
                self.idle.add(worker)
                told.append(crew.News(worker))
        return told

    def dismiss(self) -> None:
        self.dismissed = True

    # as a store
    rows_in_all = property(lambda self: self.total)

    def numbers(self, shard: int) -> range:
        return range(shard, shard + 1)

    def commit(self, shard: int) -> None:
        assert shard in self.at.values()
        self.committed.append(shard)


def test_a_shard_is_sent_without_the_rest_of_the_data() -> None:
    pictures = torch.rand(1000, 3, 16, 16)
    dataset = Dataset.of(pictures, masks=[*torch.ones(1000, 16, 16)])
    work = Work(None, dataset, Fake(0, 1000), [7], uh.Settings(), (3, 16, 16))
    sent = pickle.dumps(rows_of(work, 7))
    assert len(sent) < 2 * pictures[0].nbytes
    assert torch.equal(pickle.loads(sent)[7].source, pictures[7])


@pytest.mark.parametrize("seed", range(40))
def test_every_shard_is_committed_once_whoever_dies(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "DEATHS", 1000)
    fake = Fake(seed, shards=17, deadly=0.25)
    dataset = Dataset.of(torch.zeros(17, 1, 1, 1))
    work = Work(None, dataset, fake, [*range(17)], uh.Settings(), (1, 1, 1))
    crew.share_out(work, fake, 4)
    assert sorted(fake.committed) == [*range(17)]
    assert fake.dismissed


@pytest.mark.parametrize("seed", range(5))
def test_a_shard_that_kills_every_worker_is_given_up_and_the_others_are_kept(seed: int) -> None:
    fake = Fake(seed, shards=8, deadly_shard=2)
    work = Work(None, Dataset.of(torch.zeros(8, 1, 1, 1)), fake, [*range(8)], uh.Settings(), (1, 1, 1))
    with pytest.raises(UnderhoodError, match=r"^3 workers ended .* over the pictures 2 to 2, .* is kept\."):
        crew.share_out(work, fake, 2)
    assert fake.deaths == 3
    assert {0, 1} <= set(fake.committed)
    assert 2 not in fake.committed
    assert fake.dismissed


def test_workers_that_never_get_ready_are_given_up() -> None:
    fake = Fake(0, shards=3, deadly=1.0)
    work = Work(None, Dataset.of(torch.zeros(3, 1, 1, 1)), fake, [0, 1, 2], uh.Settings(), (1, 1, 1))
    with pytest.raises(UnderhoodError, match="before they were ready"):
        crew.share_out(work, fake, 2)
    assert fake.dismissed


# -- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("engine", "options", "kind", "said"),
    [
        ("locl", {}, UnknownName, "did you mean 'local'"),
        ("local", {"worker": 2}, UnknownName, "did you mean 'workers'"),
        ("local", {"address": "auto"}, UnknownName, "no option of the engine 'local' named 'address'"),
        ("local", {"workers": 0}, InvalidArgument, "from 1 on, not 0"),
        ("ray", {"workers": "two"}, InvalidArgument, "from 1 on, not 'two'"),
    ],
)
def test_what_no_engine_knows_is_refused(tmp_path, engine, options, kind, said) -> None:
    with pytest.raises(kind, match=said):
        run(tmp_path / "audit", model(tmp_path / "deaths"), engine, **options)


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"pip install 'underhood\[ray\]'"):
        run(tmp_path / "audit", model(tmp_path / "deaths"), "ray")


class Stuck:
    """Can be copied, but not pickled."""

    def __deepcopy__(self, _memo: object) -> "Stuck":
        return self

    def __reduce__(self) -> str:
        raise TypeError("it stays here")


def test_a_model_that_cannot_be_sent_is_refused_in_words(tmp_path: Path) -> None:
    stuck = model(tmp_path / "deaths")
    stuck.module.secret = Stuck()
    with pytest.raises(
        InvalidArgument, match=r"Mortal cannot be sent to other processes .*it stays here.*with one worker"
    ):
        run(tmp_path / "audit", stuck, workers=2)


@pytest.mark.parametrize(
    "error", [BadInput("a b"), UnknownName("layer", "x", ["y"]), CannotWrite("full"), Cancelled("c")]
)
def test_errors_of_workers_arrive_as_they_were(error: UnderhoodError) -> None:
    arrived = pickle.loads(pickle.dumps(Failure.of(error))).as_error()
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)


def test_other_errors_of_workers_say_where_they_come_from() -> None:
    try:
        raise RuntimeError("odd")
    except RuntimeError as error:
        arrived = Failure.of(error).as_error()
    assert str(arrived) == "A worker failed with RuntimeError: odd"
    assert "test_engines.py" in arrived.__notes__[0]


def test_a_machine_without_the_folder_or_the_pictures_says_so(tmp_path: Path, alone: Audit) -> None:
    brief = Brief(b"", (), tmp_path / "gone", None, uh.Settings(), (3, 12, 12), 1)
    with pytest.raises(BadInput, match=r"gone' is not to be had on the machine '.+'; give one that all"):
        Surveyor(brief)
    with pytest.raises(BadInput, match=r"pictures are not to be had on the machine '.+', such as '/gone/a"):
        Surveyor(replace(brief, folder=alone.folder, witness="/gone/a.png"))
