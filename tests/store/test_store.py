"""What is written comes back, and no more is read than is asked for."""

import hashlib
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sql

import underhood as uh
from underhood.atomic import CannotWrite
from underhood.errors import BadInput, InvalidArgument
from underhood.store import Record, ShardResult, Store, arrays
from underhood.store.digests import combined, digest_of, told

ROWS, SHARD = 10, 4
ABOUT = {
    "rows": ROWS,
    "shard": SHARD,
    "shapes": {"scores": [3], "map": [2, 5], "features": [7]},
    "model_digest": "ab" * 32,
    "seed": 0,
    "playbooks": [],
}
MADE = {"model_digest": "ab" * 32, "method": "gradcam", "parameters": {"layer": "conv"}, "seed": 0,
        "versions": {"torch": "2"}, "time": "now", "device": "cpu"}  # fmt: skip
FAILED = 5


def result(store: Store, shard: int) -> ShardResult:
    """Row 5 failed; of the others everything is drawn by the row's number."""
    records = [
        Record(n, f"row {n}", failure="It is broken.")
        if n == FAILED
        else Record(n, f"row {n}", "cd" * 32, "a", None, n % 3, 0.1 * n)
        for n in store.numbers(shard)
    ]
    drawn = [np.random.default_rng(r.number) for r in records if r.failure is None]
    values = {
        name: np.array([draw.random(shape, dtype=np.float32) for draw in drawn])
        for name, shape in (("scores", 3), ("maps", (2, 5)), ("features", 7))
    }
    return ShardResult(tuple(records), **values, provenance=MADE)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.begin(tmp_path / "audit", ABOUT)


def filled(folder: Path) -> Store:
    store = Store.begin(folder, ABOUT)
    for shard in store.missing():
        store.write(shard, result(store, shard))
        store.commit(shard)
    return store


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Only to be read."""
    return filled(tmp_path_factory.mktemp("full") / "audit")


def expected(store: Store, name: str) -> np.ndarray[Any, Any]:
    return np.concatenate([getattr(result(store, shard), name) for shard in range(store.shards)])


def test_what_was_written_comes_back(full: Store) -> None:
    numbers, predicted = full.columns()
    assert numbers.tolist() == [n for n in range(ROWS) if n != FAILED]
    assert predicted.tolist() == [n % 3 for n in numbers]
    for name in ("scores", "features"):
        assert np.array_equal(full.rows(name, numbers)[:], expected(full, name))
    maps = expected(full, "maps")
    miss = np.abs(full.rows("maps", numbers)[:] - maps).max((1, 2)) / maps.max((1, 2))
    assert 0 < miss.max() <= 2**-11  # float16 has 11 bits
    assert [r.name for r in full.records()] == [f"row {n}" for n in range(ROWS)]
    assert full.failures() == [Record(FAILED, "row 5", failure="It is broken.")]
    assert full.provenance(7) == {**MADE, "id": 2}
    assert [r.number for r in full.records([8, 1])] == [1, 8]


KEYS = [
    *(0, -1, np.int64(3)),
    *(slice(None), slice(2, 7), slice(None, None, 3), slice(0)),
    *([4, 4, 0], np.array([8, 1]), np.zeros(0, dtype=int), np.arange(9) % 2 == 0),
    *((slice(1, 4), 1), (3, 1), ([1, 5, 2], [0, 1, 0]), (np.array([6, 0]), slice(None), 2)),
]


@pytest.mark.parametrize("key", [key for key in KEYS if not isinstance(key, tuple)])
def test_rows_are_read_as_of_an_array_in_memory(full: Store, key: Any) -> None:
    found = full.rows("features", full.columns()[0])[key]
    wanted = expected(full, "features")[key]
    assert found.dtype == wanted.dtype
    assert np.array_equal(found, wanted)


@pytest.mark.parametrize("key", KEYS)
def test_maps_are_indexed_as_an_array_in_memory(full: Store, key: Any) -> None:
    stored = full.rows("maps", full.columns()[0])
    assert stored.shape == (9, 2, 5)
    assert len(stored) == 9
    found, wanted = stored[key], expected(full, "maps")[key]
    assert found.shape == wanted.shape
    assert np.allclose(found, wanted, atol=2**-11)


def test_rows_beyond_the_last_are_refused(full: Store) -> None:
    with pytest.raises(IndexError):
        full.rows("scores", full.columns()[0])[9]


def test_only_the_shards_that_are_needed_are_read(tmp_path: Path) -> None:
    full = filled(tmp_path / "audit")
    numbers, _ = full.columns()
    for shard in (1, 2):
        (full.folder / "maps.zarr" / "features" / "c" / str(shard) / "0").write_bytes(b"broken")
    assert np.array_equal(full.rows("features", numbers)[[3, 0]], expected(full, "features")[[3, 0]])
    with pytest.raises(BadInput, match=r"The features in '.*' are damaged"):
        full.rows("features", numbers)[4]
    (full.folder / "maps.zarr" / "features" / "c" / "1" / "0").unlink()
    with pytest.raises(BadInput, match="is not there any more"):
        full.rows("features", numbers)[4]


@pytest.mark.parametrize("size", [1e-30, 1e-12, 1.0, 1e9, 1e30])
def test_maps_of_any_size_keep_eleven_bits(tmp_path: Path, size: float) -> None:
    store = Store.begin(tmp_path / "sizes", ABOUT)
    made = result(store, 0)
    made = replace(made, maps=made.maps * np.float32(size))
    store.write(0, made)
    store.commit(0)
    found = store.rows("maps", np.arange(SHARD))[:]
    assert np.abs(found - made.maps).max() <= 2**-11 * made.maps.max()
    assert np.isfinite(found).all()


def test_a_map_of_zeros_stays_one(store: Store) -> None:
    made = result(store, 0)
    store.write(0, replace(made, maps=np.zeros_like(made.maps)))
    store.commit(0)
    assert not store.rows("maps", np.arange(SHARD))[:].any()


def test_a_shard_is_there_once_it_is_committed(store: Store) -> None:
    store.write(1, result(store, 1))
    assert store.missing() == [0, 1, 2]
    assert not list(store.records())
    pickle.loads(pickle.dumps(store)).write(2, result(store, 2))  # as another process does
    store.commit(2)
    store.commit(2)
    assert store.missing() == [0, 1]
    assert [r.number for r in store.records()] == [8, 9]


def test_a_shard_of_other_rows_is_refused(store: Store) -> None:
    with pytest.raises(InvalidArgument, match="Shard 0 is rows 0 to 3, in order"):
        store.write(0, result(store, 1))


def test_arrays_that_do_not_fit_the_records_are_refused(store: Store) -> None:
    made = result(store, 0)
    with pytest.raises(InvalidArgument, match="4 records of a shard are readable, and it has 3 maps"):
        replace(made, maps=made.maps[:3])
    with pytest.raises(BadInput, match=r"features of a shard are \(6,\) a row, not \(7,\)"):
        store.write(0, replace(made, features=made.features[:, :6]))


def test_the_same_audit_goes_on_and_another_is_refused(tmp_path: Path) -> None:
    full = filled(tmp_path / "audit")
    again = Store.begin(full.folder, {**ABOUT, "time": "later"})
    assert again.missing() == []
    with pytest.raises(InvalidArgument, match=r"holds another audit \(different: the model, seed\)"):
        Store.begin(full.folder, {**ABOUT, "model_digest": "ef", "seed": 1})


def test_playbooks_may_be_added(tmp_path: Path) -> None:
    full = filled(tmp_path / "audit")
    one, other = {"key": "a", "parameters": {"k": 1}}, {"key": "b", "parameters": {}}
    Store.begin(full.folder, {**ABOUT, "playbooks": [one, other]})
    changed = {"key": "a", "parameters": {"k": 2}}
    assert Store.begin(full.folder, {**ABOUT, "playbooks": [changed]}).about["playbooks"] == [changed, other]


def test_a_folder_of_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InvalidArgument, match="holds files of another kind"):
        Store.begin(tmp_path, ABOUT)
    with pytest.raises(BadInput, match=r"holds no audit: there is no audit\.json"):
        Store(tmp_path)


def test_an_audit_that_never_began_is_begun_anew(tmp_path: Path) -> None:
    """Killed before audit.json was there, whatever else was."""
    store = Store.begin(tmp_path / "audit", ABOUT)
    (store.folder / "audit.json").unlink()
    (store.folder / "records.sqlite-journal").write_bytes(b"of a transaction that was torn")
    assert Store.begin(store.folder, ABOUT).missing() == [0, 1, 2]
    assert not (store.folder / "records.sqlite-journal").exists()


def test_an_outcome_is_kept_whole_and_replaced_whole(tmp_path: Path) -> None:
    full = filled(tmp_path / "audit")
    finding = {"playbook": "p", "key": "p/1", "severity": "low", "claim": "C.", "label": None,
               "prevalence": 0.5, "rows": [1, 2]}  # fmt: skip
    document = {"summary": "One.", "findings": [finding]}
    full.keep("p", {"k": 1}, document, {"0/masks": np.eye(3, dtype=bool)})
    assert full.asked("p") == {"k": 1}
    found = full.kept("p")
    assert found is not None
    assert found[0] == document
    assert np.array_equal(found[1]["0/masks"], np.eye(3, dtype=bool))
    full.keep("p", {"k": 2}, {"summary": "None.", "findings": []}, {})
    assert full.asked("p") == {"k": 2}
    with full.database.connect() as connection:
        assert connection.scalar(sql.text("select count(*) from findings")) == 0
    assert full.kept("q") is None


def test_the_data_digest_is_that_of_all_names_labels_and_bytes(full: Store) -> None:
    def row(n: int) -> str:
        return f"+row {n}--" if n == FAILED else f"+row {n}+a+{'cd' * 32}"

    wanted = hashlib.sha256("".join(row(n) + "\x1e" for n in range(ROWS)).encode()).hexdigest()
    assert full.data_digest() == wanted
    assert combined([("a", None, None)]) != combined([("a", "", None)]) != combined([("a", None, "")])


def test_the_data_digest_waits_for_the_last_shard(store: Store) -> None:
    with pytest.raises(InvalidArgument, match="once every shard is done"):
        store.data_digest()


def test_digests_of_sources(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert digest_of(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    assert digest_of(str(tmp_path / "none")) is None
    one = np.zeros((2, 3), dtype=np.float32)
    assert digest_of(one) != digest_of(one.reshape(3, 2)) != digest_of(one.astype(np.float64))
    assert digest_of(one[:, ::2]) == digest_of(one[:, ::2].copy())


def test_names_that_are_no_text_can_be_kept() -> None:
    assert told(b"lesion\xff.png".decode("utf-8", "surrogateescape")) == "lesion\\xff.png"
    assert told("größe") == "größe"
    assert told(None) is None


def lines_of(store: Store) -> list[str]:
    return sorted(str(path.relative_to(store.folder)) for path in store.folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("where", ["zarr.storage._local._put", "pyarrow.parquet.write_table", "os.fsync"])
def test_a_full_disk_is_said_in_a_sentence_and_loses_nothing(
    store: Store, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(0, result(store, 0))
    store.commit(0)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(where, refuse)
        with pytest.raises(CannotWrite, match=r"^The disk is full at '.*'; make room and go on"):
            store.write(1, result(store, 1))
    assert Store(store.folder).missing() == [1, 2]
    assert not [name for name in lines_of(store) if "." in Path(name).stem]  # nothing half written
    for shard in (1, 2):
        store.write(shard, result(store, shard))
        store.commit(shard)
    assert np.array_equal(store.rows("scores", store.columns()[0])[:], expected(store, "scores"))


def test_a_full_disk_within_the_database_loses_nothing(store: Store) -> None:
    store.write(0, result(store, 0))

    @sql.event.listens_for(store.database, "connect")
    def small(connection: Any, _: object) -> None:
        connection.execute("pragma max_page_count = 10")  # fewer than it has: it cannot grow

    with store.database.begin() as connection, pytest.raises(sql.exc.OperationalError, match="is full"):
        connection.execute(sql.text("create table filling as select zeroblob(100000) as filled"))
    with pytest.raises(CannotWrite, match="The disk is full"):
        store.keep("p", {}, {"summary": "x" * 100_000, "findings": []}, {})
    assert Store(store.folder).missing() == [0, 1, 2]
    again = Store(store.folder)
    again.commit(0)
    assert again.missing() == [1, 2]


def test_zarr_shards_are_those_of_the_audit(full: Store) -> None:
    for name in ("maps", "scores", "features", "scale"):
        files = sorted(path.name for path in (full.folder / "maps.zarr" / name / "c").iterdir())
        assert files == ["0", "1", "2"]
    assert arrays.CHUNK >= SHARD


def test_a_description_that_is_damaged_is_refused(tmp_path: Path) -> None:
    (tmp_path / "audit.json").write_text("[]")
    with pytest.raises(uh.UnderhoodError, match="cannot be read as an audit's description"):
        Store(tmp_path)
