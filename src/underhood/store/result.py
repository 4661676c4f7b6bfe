"""What was found of one shard: some rows of a data set that are done, kept, and done again as one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from underhood.errors import InvalidArgument

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Record:
    """What is kept of one row of the data set.

    number:    the row's number in the data set.
    sha256:    of its source's bytes, None where they cannot be read.
    predicted: the class that scores highest; probability: its own.
    failure:   why there is nothing to tell of the row, in a sentence; None where there is.
    """

    number: int
    name: str
    sha256: str | None = None
    label: str | None = None
    split: str | None = None
    predicted: int | None = None
    probability: float | None = None
    failure: str | None = None


@dataclass(frozen=True, eq=False)
class ShardResult:
    """Records of all rows of a shard, in order; and (k, …) of those that did not fail, in order.

    provenance: what has to be known to repeat it, ready for JSON.
    """

    records: tuple[Record, ...]
    scores: Floats  # (k, C)
    maps: Floats  # (k, h, w), not negative
    features: Floats  # (k, K)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        readable = len(self.readable)
        for name in ("scores", "maps", "features"):
            if len(getattr(self, name)) != readable:
                raise InvalidArgument(f"{readable} records of a shard are readable, and it has "
                                      f"{len(getattr(self, name))} {name}.")  # fmt: skip

    @property
    def readable(self) -> list[int]:
        """Places of the records that did not fail, counted from the shard's first."""
        return [place for place, record in enumerate(self.records) if record.failure is None]
