"""`Store`: the folder of an audit, in which it goes on where it was stopped.

    audit.json       what the audit is
    records.sqlite   a record for each row, how it was made, and what the playbooks found
    maps.zarr        maps, scores and features
    scalars/         a Parquet file for each shard
    outcomes/        the arrays of each playbook's findings

A shard is written first (`write`, by any process), then committed (`commit`, by one process alone), in one
transaction with all of its records: until then it is not there. So a kill loses the shard in work at most.
"""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sql
from numpy.typing import NDArray

from underhood.atomic import CannotWrite, atomic
from underhood.errors import BadInput, InvalidArgument
from underhood.store import arrays, scalars, tables
from underhood.store.arrays import AGAIN, Stored
from underhood.store.digests import combined
from underhood.store.result import Record, ShardResult

ABOUT, RECORDS, ARRAYS, SCALARS = "audit.json", "records.sqlite", "maps.zarr", "scalars"
OUTCOMES = "outcomes"
BEGINNINGS = (RECORDS, ARRAYS, SCALARS)  # before there is an audit.json
# Between an audit and what goes on with it:
MAY_DIFFER = ("model", "data", "problems", "playbooks", "versions", "time", "threads")
DIFFERENCES = {  # in words, where the name in audit.json does not tell
    "format": "the version of Underhood",
    "rows": "the number of pictures",
    "listing": "the names or labels of the pictures",
    "model_digest": "the model",
    "method": "where the model looks",
    "shard": "the size of a shard",
}
FULL = "The disk is full at '{}'; make room and go on with the audit: what was done is kept."


class Store:
    """The audit in a folder; it may be sent to another process."""

    def __init__(self, folder: str | Path):
        """Open an audit that was begun."""
        self.folder = Path(folder).expanduser()
        if not self.is_in(self.folder):
            there = self.folder.exists()
            what = f"there is no {ABOUT} in it" if there else "there is no such folder"
            raise BadInput(f"'{self.folder}' holds no audit: {what}; give the folder of an audit.")
        self.about = _read(self.folder / ABOUT)

    def __reduce__(self) -> tuple[Any, ...]:
        return Store, (self.folder,)

    @staticmethod
    def is_in(folder: str | Path) -> bool:
        return (Path(folder).expanduser() / ABOUT).exists()

    @classmethod
    def begin(cls, folder: str | Path, about: Mapping[str, Any]) -> "Store":
        """Begin an audit, or go on with the same one; refuse a folder that holds another.

        about: ready for JSON; of it "rows" and "shard" (rows of a shard) are whole numbers, "shapes" has
        those of one row's "scores", "map" and "features", and "playbooks" a "key" and parameters for each.
        Playbooks may be added to an audit.
        """
        folder = Path(folder).expanduser()
        about = json.loads(json.dumps(about, allow_nan=False))
        if cls.is_in(folder):
            store = cls(folder)
            store._refuse_other(about)
            asked = {one["key"]: one for one in [*store.about["playbooks"], *about["playbooks"]]}
            about = {**store.about, "playbooks": list(asked.values())}
            if about == store.about:
                return store
        elif folder.exists() and not folder.is_dir():
            raise InvalidArgument(f"'{folder}' is a file; give a folder for the audit.")
        elif folder.exists() and any(not path.name.startswith(".") for path in _made(folder)):
            raise InvalidArgument(f"'{folder}' holds files of another kind; give a folder of its own.")
        with writing(folder), _whole_or_not_at_all(folder):
            if not cls.is_in(folder):
                arrays.create(folder / ARRAYS, about["rows"], about["shard"], about["shapes"])
                (folder / SCALARS).mkdir(exist_ok=True)
                _make_tables(folder / RECORDS, about)
            with atomic(folder / ABOUT) as temporary:
                temporary.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
                arrays.synced(temporary)
            arrays.synced(folder / ABOUT)
        return cls(folder)

    def _refuse_other(self, about: Mapping[str, Any]) -> None:
        names = [name for name in {**about, **self.about} if name not in MAY_DIFFER]
        differing = [name for name in names if self.about.get(name) != about.get(name)]
        if differing:
            told = ", ".join(DIFFERENCES.get(name, name) for name in differing)
            raise InvalidArgument(
                f"'{self.folder}' holds another audit (different: {told}); give what that audit was made of, "
                "or another folder."
            )

    # Shards

    @property
    def rows_in_all(self) -> int:
        return int(self.about["rows"])

    @property
    def shards(self) -> int:
        return -(-self.about["rows"] // self.about["shard"])

    def numbers(self, shard: int) -> range:
        """The data set's rows that are in a shard."""
        size = self.about["shard"]
        return range(shard * size, min((shard + 1) * size, self.about["rows"]))

    def missing(self) -> list[int]:
        """Shards that are not done yet."""
        with self._reading() as connection:
            done = set(connection.scalars(sql.select(tables.shards.c.number)))
        return [shard for shard in range(self.shards) if shard not in done]

    def write(self, shard: int, result: ShardResult) -> None:
        """Put a shard's results on the disk; it is not there for readers before it is committed."""
        numbers = self.numbers(shard)
        if [record.number for record in result.records] != list(numbers):
            raise InvalidArgument(f"Shard {shard} is rows {numbers.start} to {numbers.stop - 1}, in order.")
        with writing(self.folder):
            arrays.write(self.folder / ARRAYS, numbers.start, self.about["shard"], result)
            scalars.write(self._scalars(shard), result)

    def commit(self, shard: int) -> None:
        """State that a shard that was written is done, with its records, all at once; again, does nothing."""
        records, made = scalars.read(self._scalars(shard))
        with writing(self.folder), self.database.begin() as connection:
            if connection.scalar(sql.select(tables.shards.c.number).filter_by(number=shard)) is not None:
                return
            about = {name: made[name] for name in tables.provenance.c.keys() if name in made}  # noqa: SIM118
            more = {name: value for name, value in made.items() if name not in about}
            key = connection.execute(sql.insert(tables.provenance).values(**about, more=more))
            made_by = key.inserted_primary_key[0]  # type: ignore[index]
            failed = sum(record.failure is not None for record in records)
            size = {"first": records[0].number, "rows": len(records), "failed": failed}
            connection.execute(sql.insert(tables.shards).values(number=shard, **size, provenance=made_by))
            connection.execute(
                sql.insert(tables.records),
                [{**vars(record), "shard": shard, "provenance": made_by} for record in records],
            )

    def _scalars(self, shard: int) -> Path:
        return self.folder / SCALARS / f"{shard:06d}.parquet"

    # What is there

    def records(self, numbers: Sequence[int] | None = None) -> Iterator[Record]:
        """In order, those that failed too; of all shards that are done, or of some rows."""
        names = [one for one in tables.records.c if one.name not in ("shard", "provenance")]
        query = sql.select(*names).order_by(tables.records.c.number)
        if numbers is not None:
            query = query.where(tables.records.c.number.in_([int(number) for number in numbers]))
        with self._reading() as connection:
            for row in connection.execution_options(yield_per=1000).execute(query):
                yield Record(**row._mapping)

    def provenance(self, number: int) -> dict[str, Any]:
        """How the record of a row was made."""
        query = sql.select(tables.provenance).join(tables.records).where(tables.records.c.number == number)
        with self._reading() as connection:
            found = connection.execute(query).one_or_none()
        if found is None:
            raise InvalidArgument(f"The audit has no record of row {number}.")
        made = dict(found._mapping)
        return {**made.pop("more"), **made}

    def failures(self) -> list[Record]:
        """Records of the rows that there is nothing to tell of."""
        names = [one for one in tables.records.c if one.name not in ("shard", "provenance")]
        query = sql.select(*names).where(tables.records.c.failure.is_not(None))
        with self._reading() as connection:
            return [Record(**row._mapping) for row in connection.execute(query.order_by("number"))]

    def columns(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(n,) each: numbers of the rows that did not fail, and the classes predicted."""
        chosen = tables.records.c
        query = sql.select(chosen.number, chosen.predicted).where(chosen.failure.is_(None))
        with self._reading() as connection:
            rows = connection.execution_options(yield_per=1000).execute(query.order_by(chosen.number))
            found = np.fromiter(chain.from_iterable(rows), dtype=np.int64).reshape(-1, 2)
        return found[:, 0].copy(), found[:, 1].copy()

    def rows(self, name: str, numbers: NDArray[np.int64]) -> Stored:
        """Of rows of the data set; name: "maps", "scores" or "features"."""
        return Stored(self.folder / ARRAYS, name, numbers, scaled=name == "maps", owner=self)

    def data_digest(self) -> str:
        """sha256 (hex) over names, labels and all bytes of all rows; known once no shard is missing."""
        with self._reading() as connection:
            known = connection.scalar(sql.select(tables.audit.c.data_digest))
        if known is None:
            if self.missing():
                raise InvalidArgument("The data's digest is known once every shard is done.")
            known = combined((r.name, r.label, r.sha256) for r in self.records())
            with writing(self.folder), self.database.begin() as connection:
                connection.execute(sql.update(tables.audit).values(data_digest=known))
        return str(known)

    # What playbooks found

    def keep(
        self,
        playbook: str,
        parameters: Mapping[str, Any],
        document: Mapping[str, Any],
        held: Mapping[str, NDArray[Any]],
    ) -> None:
        """An outcome in place of an older one of the same playbook, whole or not at all.

        document: ready for JSON, with a "summary" and a list of "findings"; held: the findings' arrays.
        """
        digest = hashlib.sha256(json.dumps([parameters, document], sort_keys=True).encode()).hexdigest()
        name = f"{playbook}-{digest[:12]}.npz"
        told = {"playbook": playbook, "parameters": dict(parameters), "document": dict(document)}
        with writing(self.folder):
            self._keep_arrays(name, held)
            with self.database.begin() as connection:
                for table in (tables.findings, tables.outcomes):
                    connection.execute(sql.delete(table).filter_by(playbook=playbook))
                connection.execute(
                    sql.insert(tables.outcomes).values(
                        **told, summary=document["summary"], arrays=name, time=_now()
                    )
                )
                columns = [one.name for one in tables.findings.c]
                if document["findings"]:
                    connection.execute(
                        sql.insert(tables.findings),
                        [{name: found[name] for name in columns} for found in document["findings"]],
                    )

    def _keep_arrays(self, name: str, held: Mapping[str, NDArray[Any]]) -> None:
        (self.folder / OUTCOMES).mkdir(exist_ok=True)
        with atomic(self.folder / OUTCOMES / name) as temporary:
            np.savez_compressed(temporary, **dict(held))  # type: ignore[arg-type]
            arrays.synced(temporary)
        arrays.synced(self.folder / OUTCOMES / name)

    def asked(self, playbook: str) -> dict[str, Any] | None:
        """The parameters of a playbook whose outcome is kept; None where there is none."""
        with self._reading() as connection:
            return connection.scalar(sql.select(tables.outcomes.c.parameters).filter_by(playbook=playbook))

    def kept(self, playbook: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]] | None:
        """The document of an outcome, and its arrays; None where there is none."""
        columns = tables.outcomes.c.document, tables.outcomes.c.arrays
        with self._reading() as connection:
            found = connection.execute(sql.select(*columns).filter_by(playbook=playbook)).one_or_none()
        if found is None:
            return None
        try:
            with np.load(self.folder / OUTCOMES / found.arrays, allow_pickle=False) as held:
                return found.document, dict(held)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise BadInput(
                f"'{self.folder / OUTCOMES / found.arrays}' cannot be read; go on with the audit, which "
                f"makes it again: underhood audit --resume {self.folder}"
            ) from error

    @cached_property
    def database(self) -> sql.Engine:
        return _database(self.folder / RECORDS)

    @contextmanager
    def _reading(self) -> Iterator[sql.Connection]:
        path = self.folder / RECORDS
        try:
            if not path.exists():  # it would be made
                raise BadInput(f"'{path}' is not there any more; {AGAIN}.")
            with self.database.connect() as connection:
                yield connection
        except sql.exc.DatabaseError as error:
            why = str(error.orig)
            raise BadInput(f"'{path}' cannot be read as an audit's records ({why}); {AGAIN}.") from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _database(path: Path) -> sql.Engine:
    return sql.create_engine(sql.URL.create("sqlite", database=str(path)), poolclass=sql.NullPool)


def _make_tables(path: Path, about: Mapping[str, Any]) -> None:
    """In place of what an audit that never began may have left."""
    for left in path.parent.glob(f"{path.name}*"):  # with its journal, which belongs to no other
        left.unlink()
    database = _database(path)
    tables.metadata.create_all(database)
    with database.begin() as connection:
        connection.execute(sql.insert(tables.audit).values(id=1, about=dict(about)))


def _made(folder: Path) -> list[Path]:
    """What is in a folder beside the beginnings of an audit."""
    return [path for path in folder.iterdir() if not path.name.startswith(BEGINNINGS)]


@contextmanager
def _whole_or_not_at_all(folder: Path) -> Iterator[None]:
    """A folder for an audit; where this does not come to one, its beginnings are taken away."""
    fresh = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if not Store.is_in(folder):
            for path in folder.iterdir():
                if path.name.startswith(BEGINNINGS):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            if fresh:
                with suppress(OSError):  # somebody else has put something there
                    folder.rmdir()
        raise


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        assert isinstance(found, dict)
        assert all(isinstance(found[name], int) and found[name] > 0 for name in ("rows", "shard"))
        assert all(name in found["shapes"] for name in ("scores", "map", "features"))
        assert all({"key", "parameters"} <= one.keys() for one in found["playbooks"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        raise BadInput(f"'{path}' cannot be read as an audit's description; {AGAIN}.") from error
    return found


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Errors of the disk in one sentence."""
    try:
        yield
    except CannotWrite as error:
        raise _in_words(folder, error.__cause__ or error) from error
    except (OSError, sql.exc.DatabaseError) as error:
        raise _in_words(folder, error) from error


def _in_words(folder: Path, error: BaseException) -> CannotWrite:
    cause = error.__cause__ or error
    text = (cause.strerror if isinstance(cause, OSError) else None) or str(cause)
    full = getattr(error, "errno", None) in (28, 122) or "is full" in text or "No space left" in text
    other = f"'{folder}' cannot be written: {text.splitlines()[0]}."
    return CannotWrite(FULL.format(folder) if full else other)
