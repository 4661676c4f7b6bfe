"""A shard's scalars as a Parquet file: a row for each record, and how they were made."""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from underhood.atomic import atomic
from underhood.errors import BadInput
from underhood.store.arrays import synced
from underhood.store.result import Record, ShardResult

KINDS = {"number": "int64", "predicted": "int32", "probability": "float32"}  # the others are texts
MADE = b"underhood"


def write(path: Path, result: ShardResult) -> None:
    """On the disk when this returns; it takes the place of an older file at once."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema(
        [(one.name, getattr(pa, KINDS.get(one.name, "string"))()) for one in fields(Record)],
        metadata={MADE: json.dumps(result.provenance, allow_nan=False)},
    )
    table = pa.Table.from_pylist([vars(record) for record in result.records], schema=schema)
    path.parent.mkdir(exist_ok=True)
    with atomic(path) as temporary:
        parquet.write_table(table, temporary, compression="zstd")
        synced(temporary)
    synced(path)


def read(path: Path) -> tuple[list[Record], Mapping[str, Any]]:
    """Records and provenance."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
        return [Record(**row) for row in table.to_pylist()], json.loads(table.schema.metadata[MADE])
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise BadInput(f"'{path}' cannot be read as a shard's scalars.") from error
