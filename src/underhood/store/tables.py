"""The tables of `records.sqlite`."""

from typing import Any

from sqlalchemy import JSON, Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text

metadata = MetaData()


def _always(name: str, kind: Any) -> Column[Any]:
    """A column that no row may leave empty."""
    return Column(name, kind, nullable=False)


audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    _always("about", JSON),  # as in audit.json
    Column("data_digest", String(64)),  # once all rows are done
)

provenance = Table(
    "provenance",
    metadata,
    Column("id", Integer, primary_key=True),
    _always("model_digest", String(64)),
    _always("method", String),
    _always("parameters", JSON),
    _always("seed", Integer),
    _always("versions", JSON),
    _always("time", String),
    _always("more", JSON),  # device, precision, passes, seconds, …
)

shards = Table(
    "shards",
    metadata,
    Column("number", Integer, primary_key=True),
    _always("first", Integer),
    _always("rows", Integer),
    _always("failed", Integer),
    _always("provenance", ForeignKey("provenance.id")),
)

records = Table(
    "records",
    metadata,
    Column("number", Integer, primary_key=True),
    _always("name", Text),
    Column("sha256", String(64)),
    Column("label", Text),
    Column("split", Text),
    Column("predicted", Integer),
    Column("probability", Float),
    Column("failure", Text),
    _always("shard", ForeignKey("shards.number")),
    _always("provenance", ForeignKey("provenance.id")),
    Index("of_shard", "shard"),
)

outcomes = Table(
    "outcomes",
    metadata,
    Column("playbook", String, primary_key=True),
    _always("parameters", JSON),
    _always("summary", Text),
    _always("document", JSON),  # the whole outcome, but for its arrays
    _always("arrays", String),  # file in the folder outcomes
    _always("time", String),
)

findings = Table(
    "findings",
    metadata,
    Column("playbook", ForeignKey("outcomes.playbook"), primary_key=True),
    Column("key", String, primary_key=True),
    _always("severity", String),
    _always("claim", Text),
    Column("label", Text),
    Column("prevalence", Float),
    _always("rows", JSON),
)
