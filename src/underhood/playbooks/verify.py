"""`verify`: does an audit reproduce? A sample of it is computed again, and compared with what was kept."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from underhood.engine import Settings
from underhood.errors import InvalidArgument
from underhood.inputs import Dataset, as_dataset
from underhood.inputs.random import SAMPLES, generator
from underhood.models import Model
from underhood.playbooks.about import reloaded_data, reloaded_model
from underhood.playbooks.audited import FINDINGS, opened
from underhood.playbooks.figures import percent
from underhood.playbooks.surveying import survey_shard
from underhood.store import Record, Store
from underhood.store.digests import combined, told
from underhood.store.result import Floats, ShardResult

SCORE_MAY_MISS = 1e-3  # share of the largest score: what another batch or device may change
MAP_MAY_MISS = 4e-3  # share of a map's largest value: float16 keeps a thousandth, and the same for the rest


@dataclass(frozen=True)
class Claim:
    """One thing that was looked at again; says: how it is, in a sentence."""

    name: str
    says: str
    holds: bool


@dataclass(frozen=True)
class Verification:
    """What was looked at again; rows: how many of the data set's."""

    folder: str
    rows: int
    claims: tuple[Claim, ...]

    @property
    def reproduces(self) -> bool:
        return all(claim.holds for claim in self.claims)

    @property
    def says(self) -> str:
        failing = [claim.name for claim in self.claims if not claim.holds]
        if failing:
            return f"The audit in '{self.folder}' does not reproduce: {', '.join(failing)}."
        return f"The audit in '{self.folder}' reproduces, as far as {_count(self.rows, 'picture')} can tell."

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        claims = [vars(claim) for claim in self.claims]
        return {"folder": self.folder, "rows": self.rows, "reproduces": self.reproduces,
                "says": self.says, "claims": claims}  # fmt: skip


def verify(
    folder: str | Path,
    sample: int = 64,
    *,
    model: Model | None = None,
    dataset: Any = None,
    seed: int = 0,
    **settings: Any,
) -> Verification:
    """Look at an audit again: its model, its data, and scores and maps of a sample of its rows.

    model, dataset: loaded again as they were then, where not given; settings: as `audit` takes them.
    """
    if sample < 1:
        raise InvalidArgument(f"A sample has one row at least, not {sample}.")
    store = opened(folder)
    model = reloaded_model(store.about) if model is None else model
    dataset = reloaded_data(store.about) if dataset is None else as_dataset(dataset)
    claims = [_model(store, model), _whole(store), _listed(store, dataset), _findings(store)]
    numbers = _sample(store, dataset, sample, seed)
    if numbers:
        wanted = Settings(**{"seed": store.about["seed"], **settings})
        shape = store.about["shapes"]["input"]
        again = survey_shard(model, dataset, numbers, wanted, shape=shape)
        claims += _computed_again(store, list(store.records(numbers)), again)
    return Verification(str(folder), len(numbers), tuple(claims))


def _sample(store: Store, dataset: Dataset, size: int, seed: int) -> list[int]:
    """Rows that have a record, of those that the data set still has."""
    known = np.array([record.number for record in store.records() if record.number < len(dataset)], dtype=int)
    chosen = generator(seed, SAMPLES).permutation(known)[:size]
    return sorted(chosen.tolist())


def _model(store: Store, model: Model) -> Claim:
    then, now = store.about["model_digest"], model.digest_of(model.seen())
    if then == now:
        return Claim("model", f"The model is the one that was audited: its digest is {now[:12]}….", True)
    return Claim("model", f"The model is another: its digest is {now[:12]}…, and was {then[:12]}….", False)


def _whole(store: Store) -> Claim:
    """Every row has a record, and the records come to the digest that was noted."""
    rows = store.rows_in_all
    if missing := store.missing():
        left = sum(len(store.numbers(shard)) for shard in missing)
        return Claim("records", f"The audit is not done: {left:,} of {rows:,} pictures are left.", False)
    if combined((r.name, r.label, r.sha256) for r in store.records()) != store.data_digest():
        return Claim("records", "The records are not those that the data's digest was made of.", False)
    return Claim("records", f"Each of the {_count(rows, 'picture')} has one record.", True)


def _listed(store: Store, dataset: Dataset) -> Claim:
    """Whether the data set still has the same names and labels."""
    rows = store.about["rows"]
    if len(dataset) != rows:
        return Claim(
            "data", f"The data set now has {_count(len(dataset), 'picture')}, and had {rows:,}.", False
        )
    changed = [
        record.name
        for record, row in zip(store.records(), dataset, strict=False)
        if (record.name, record.label) != (told(row.name), told(row.label))
    ]
    if changed:
        text = f"{_count(len(changed), 'name or label', 'names or labels')} changed, first of '{changed[0]}'."
        return Claim("data", text, False)
    return Claim("data", "The data set still has the same names and labels.", True)


def _findings(store: Store) -> Claim:
    path = store.folder / FINDINGS
    kept = [found[0] for asked in store.about["playbooks"] if (found := store.kept(asked["key"]))]
    try:
        same = json.loads(path.read_text("utf-8"))["outcomes"] == kept
    except (OSError, ValueError, KeyError, TypeError):
        return Claim("findings", f"'{path}' cannot be read.", False)
    if not same:
        return Claim("findings", f"'{path}' is not what the playbooks found.", False)
    return Claim("findings", f"'{path.name}' is what the {_count(len(kept), 'playbook')} found.", True)


def _computed_again(store: Store, then: Sequence[Record], now: ShardResult) -> Iterator[Claim]:
    """then: records of the same rows, in the same order."""
    yield _bytes(then, now.records)
    yield _read(then, now.records)
    both = [
        place
        for place, (old, new) in enumerate(zip(then, now.records, strict=True))
        if old.failure is None and new.failure is None
    ]
    if not both:
        return
    numbers = np.array([then[place].number for place in both])
    rows = np.searchsorted(now.readable, both)
    scores = np.asarray(store.rows("scores", numbers)[:])
    yield _scores(scores, now.scores[rows])
    same = scores.argmax(1) == now.scores[rows].argmax(1)
    yield _predictions([then[place] for place, one in zip(both, same, strict=True) if not one], len(both))
    if same.any():
        yield _maps(np.asarray(store.rows("maps", numbers[same])[:]), now.maps[rows][same])


def _bytes(then: Sequence[Record], now: Sequence[Record]) -> Claim:
    changed = [old.name for old, new in zip(then, now, strict=True) if old.sha256 != new.sha256]
    if changed:
        text = f"Of {_count(len(then), 'picture')}, {len(changed)} have other bytes, first '{changed[0]}'."
        return Claim("bytes", text, False)
    return Claim("bytes", f"The bytes of {_count(len(then), 'picture')} are those that were audited.", True)


def _read(then: Sequence[Record], now: Sequence[Record]) -> Claim:
    """Whether those that could not be read are the same."""
    differing = [
        old.name for old, new in zip(then, now, strict=True) if (old.failure is None) != (new.failure is None)
    ]
    if differing:
        text = (
            f"{_count(len(differing), 'picture')} could be read once and not again, first '{differing[0]}'."
        )
        return Claim("reading", text, False)
    failed = sum(record.failure is not None for record in then)
    return Claim("reading", f"Of {_count(len(then), 'picture')}, {failed} cannot be read, then as now.", True)


def _scores(then: Floats, now: Floats) -> Claim:
    miss, largest = float(np.abs(then - now).max()), float(np.abs(then).max())
    holds = miss <= SCORE_MAY_MISS * largest
    how = "come out the same, bit for bit" if miss == 0 else f"differ by {miss:.2g} at most"
    text = f"The scores of {_count(len(then), 'picture')} {how} (the largest is {largest:.3g})."
    return Claim("scores", text, holds)


def _predictions(differing: Sequence[Record], count: int) -> Claim:
    if differing:
        text = f"Of {_count(count, 'prediction')}, {len(differing)} differ, first of '{differing[0].name}'."
        return Claim("predictions", text, False)
    return Claim("predictions", f"The {_count(count, 'prediction')} are the same.", True)


def _maps(then: Floats, now: Floats) -> Claim:
    """As a share of each map's largest value; where this is next to nothing, of what is usual."""
    largest = np.abs(now).max((1, 2))
    largest = np.maximum(largest, 0.01 * np.median(largest))
    miss = np.abs(then - now).max((1, 2)) / np.where(largest > 0, largest, 1)
    text = f"{_count(len(then), 'map')} differ by {percent(miss.max(), 2)} of their largest value at most"
    return Claim("maps", f"{text} (kept as float16).", bool((miss <= MAP_MAY_MISS).all()))


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
