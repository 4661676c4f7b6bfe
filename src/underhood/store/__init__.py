"""What was found of every input, and from what: the folder of an audit."""

from underhood.store.alone import alone
from underhood.store.arrays import Stored
from underhood.store.result import Record, ShardResult
from underhood.store.store import Store

__all__ = ["Record", "ShardResult", "Store", "Stored", "alone"]
