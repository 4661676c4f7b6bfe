"""Surveying a data set shard by shard: what the model says of every row, and where it looks.

`survey_shard` is a pure function of its arguments, and may run in any process: the same shard comes to the
same bits. Rows that cannot be read, or that the model fails on, are recorded with the reason; others go on.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from underhood.engine import Engine, Settings, grad_cam_layer
from underhood.engine.budget import CPU_BYTES
from underhood.errors import BadModel, UnderhoodError
from underhood.inputs import gather
from underhood.inputs.dataset import Row
from underhood.methods.provenance import Stopwatch, provenance
from underhood.models import Model
from underhood.playbooks.survey import AT_ONCE, Looks, look
from underhood.store.digests import digest_of, told
from underhood.store.result import Record, ShardResult

READERS = min(8, max(2, os.cpu_count() or 2))  # threads
AHEAD = 2  # batches that are read while one goes through a network that is not on the processor
METHOD = "gradcam"

Shape = tuple[int, ...]


class Numbered(Protocol):
    """Rows by their numbers in the data set: all of it, or those of some shards."""

    def __getitem__(self, number: int, /) -> Row: ...


@dataclass(frozen=True, eq=False)
class Reading:
    """A row's input (C, H, W), or the record that says why there is none."""

    record: Record
    tensor: Tensor | None = None


def survey_shard(
    model: Model,
    dataset: Numbered,
    numbers: Sequence[int],
    settings: Settings | None = None,
    *,
    shape: Sequence[int] | None = None,
) -> ShardResult:
    """What the model says of these rows of the data set.

    shape: of every input; one of another shape is left out. None takes the first's that can be read.
    """
    return next(survey_shards(model, dataset, [numbers], settings, shape=shape))


def survey_shards(
    model: Model,
    dataset: Numbered,
    shards: Iterable[Sequence[int]],
    settings: Settings | None = None,
    *,
    shape: Sequence[int] | None = None,
) -> Iterator[ShardResult]:
    """One shard after the other, as `survey_shard`; the next rows are read while the network runs elsewhere.

    On the processor reading takes its turn: beside a network it would keep all the network's threads waiting
    for the one that shares its core.

    settings.progress is told of rows, settings.cancel asked between micro-batches.
    """
    settings = settled(model, settings or Settings())
    quiet, shards = replace(settings, progress=None), [list(numbers) for numbers in shards]
    done, total = 0, sum(map(len, shards))
    batches = [numbers[at : at + AT_ONCE] for numbers in shards for at in range(0, len(numbers), AT_ONCE)]
    on_cpu = Engine(model, settings).device.type == "cpu"
    coming = read_ahead(model, dataset, batches, 0 if on_cpu else AHEAD)
    for numbers in shards:
        engine, watch, found = Engine(model, quiet), Stopwatch(), _Found()
        while len(found.records) < len(numbers):
            readings = next(coming)
            shape = tuple(shape or first_shape(readings) or ())
            found.add(engine, [_fitting(reading, shape) for reading in readings])
            done += len(readings)
            if settings.progress:
                settings.progress(done, total)
        yield found.result(made(model, engine, watch, shape or (), len(numbers)))


def settled(model: Model, settings: Settings) -> Settings:
    """Settings whose micro-batches do not depend on how much memory is free just now: so the same bits."""
    on_cpu = Engine(model, settings).device.type == "cpu"
    return replace(settings, memory=CPU_BYTES) if on_cpu and settings.memory is None else settings


def read_ahead(
    model: Model, dataset: Numbered, batches: Sequence[Sequence[int]], ahead: int
) -> Iterator[list[Reading]]:
    """Each batch's rows, read in threads, so many batches before they are asked for."""
    with ThreadPoolExecutor(READERS, "underhood-reader") as pool:
        waiting: deque[list[Future[Reading]]] = deque()
        left = iter(batches)

        def start() -> None:
            if (numbers := next(left, None)) is not None:
                waiting.append([pool.submit(read_row, model, dataset[number], number) for number in numbers])

        try:
            for _ in range(1 + ahead):
                start()
            while waiting:
                yield [future.result() for future in waiting.popleft()]
                start()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def read_row(model: Model, row: Row, number: int) -> Reading:
    """number: of the row in the data set."""
    record = Record(number, told(row.name), digest_of(row.source), told(row.label), told(row.split))
    try:
        return Reading(record, gather(model, row.source).tensor[0])
    except UnderhoodError as error:
        return Reading(_failed(record, str(error)))
    except Exception as error:  # of a broken file in a library: no reason to stop for the others
        because = f"{type(error).__name__}: {error}".rstrip(".")
        return Reading(_failed(record, f"It is broken and cannot be read ({because})."))


def first_shape(readings: Iterable[Reading]) -> Shape | None:
    return next((tuple(one.tensor.shape) for one in readings if one.tensor is not None), None)


def _fitting(reading: Reading, shape: Shape) -> Reading:
    """The reading, or the record of one whose input has another shape than the others."""
    if reading.tensor is None or tuple(reading.tensor.shape) == shape:
        return reading
    own, others = (" × ".join(map(str, sizes)) for sizes in (reading.tensor.shape, shape))
    text = f"Its input is {own}, and the others' {others}; a preprocessing with a crop makes them alike."
    return Reading(replace(reading.record, failure=text))


def _failed(record: Record, why: str) -> Record:
    return replace(record, failure=told(why))


def made(
    model: Model, engine: Engine, watch: Stopwatch, shape: Sequence[int], inputs: int
) -> dict[str, object]:
    """The provenance of a shard."""
    layer = grad_cam_layer(engine, torch.zeros(*shape)).name if shape else None
    return {
        **provenance(model, engine, watch, inputs),
        "method": METHOD,
        "parameters": {"layer": layer},
        "threads": torch.get_num_threads(),
    }


@dataclass
class _Found:
    """A shard in work, batch by batch."""

    records: list[Record] = field(default_factory=list)
    looks: list[Looks] = field(default_factory=list)

    def add(self, engine: Engine, readings: Sequence[Reading]) -> None:
        there = [reading for reading in readings if reading.tensor is not None]
        looks, failures = _looked(engine, there)
        self.looks += looks
        predictions = iter(_predictions(looks))
        for reading in readings:
            if reading.tensor is None:
                self.records.append(reading.record)
            elif reading.record.number in failures:
                self.records.append(_failed(reading.record, str(failures[reading.record.number])))
            else:
                predicted, probability = next(predictions)
                self.records.append(replace(reading.record, predicted=predicted, probability=probability))

    def result(self, provenance: dict[str, object]) -> ShardResult:
        empty = {"scores": (0, 0), "maps": (0, 0, 0), "features": (0, 0)}
        arrays = {
            name: np.concatenate([getattr(one, name) for one in self.looks])
            if self.looks
            else np.zeros(shape, dtype=np.float32)
            for name, shape in empty.items()
        }
        return ShardResult(tuple(self.records), **arrays, provenance=provenance)


def _looked(engine: Engine, readings: Sequence[Reading]) -> tuple[list[Looks], dict[int, UnderhoodError]]:
    """Of a batch; where the model fails on it, of each input alone, with the error of those it fails on."""
    tensors = [reading.tensor for reading in readings if reading.tensor is not None]
    if not tensors:
        return [], {}
    try:
        return [look(engine, torch.stack(tensors))], {}
    except BadModel as error:
        if len(readings) == 1:
            return [], {readings[0].record.number: error}
    looks: list[Looks] = []
    failures: dict[int, UnderhoodError] = {}
    for reading in readings:
        found, failed = _looked(engine, [reading])
        looks += found
        failures |= failed
    return looks, failures


def _predictions(looks: Sequence[Looks]) -> Iterator[tuple[int, float]]:
    """The class predicted of each input, and its probability."""
    for one in looks:
        probabilities = torch.softmax(torch.from_numpy(one.scores), 1)
        for predicted, row in zip(one.scores.argmax(1).tolist(), probabilities, strict=True):
            yield predicted, float(row[predicted])
