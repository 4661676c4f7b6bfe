"""The tables of `records.sqlite`."""

from sqlalchemy import JSON, Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text

metadata = MetaData()

audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("about", JSON, nullable=False),  # as in audit.json
    Column("data_digest", String(64)),  # once all rows are done
)

provenance = Table(
    "provenance",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("model_digest", String(64), nullable=False),
    Column("method", String, nullable=False),
    Column("parameters", JSON, nullable=False),
    Column("seed", Integer, nullable=False),
    Column("versions", JSON, nullable=False),
    Column("time", String, nullable=False),
    Column("more", JSON, nullable=False),  # device, precision, passes, seconds, …
)

shards = Table(
    "shards",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("first", Integer, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("provenance", ForeignKey("provenance.id"), nullable=False),
)

records = Table(
    "records",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("sha256", String(64)),
    Column("label", Text),
    Column("split", Text),
    Column("predicted", Integer),
    Column("probability", Float),
    Column("failure", Text),
    Column("shard", ForeignKey("shards.number"), nullable=False),
    Column("provenance", ForeignKey("provenance.id"), nullable=False),
    Index("of_shard", "shard"),
)

outcomes = Table(
    "outcomes",
    metadata,
    Column("playbook", String, primary_key=True),
    Column("parameters", JSON, nullable=False),
    Column("summary", Text, nullable=False),
    Column("document", JSON, nullable=False),  # the whole outcome, but for its arrays
    Column("arrays", String, nullable=False),  # file in the folder outcomes
    Column("time", String, nullable=False),
)

findings = Table(
    "findings",
    metadata,
    Column("playbook", ForeignKey("outcomes.playbook"), primary_key=True),
    Column("key", String, primary_key=True),
    Column("severity", String, nullable=False),
    Column("claim", Text, nullable=False),
    Column("label", Text),
    Column("prevalence", Float),
    Column("rows", JSON, nullable=False),
)
