"""`benchmark`: methods × checks over a data set, which goes on where it was stopped."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from underhood.checks.batch import SIZE, Batch, batches
from underhood.checks.check import Check
from underhood.checks.journal import Journal
from underhood.checks.reading import Reading, undefined
from underhood.checks.suite import LEVELS, readings_of
from underhood.checks.tally import Benchmark
from underhood.engine import Settings
from underhood.errors import (
    BadInput,
    BadModel,
    Cancelled,
    InvalidArgument,
    OutOfMemory,
    UnknownName,
)
from underhood.inputs import find_pictures, gather
from underhood.inputs.gather import Gathered, digest
from underhood.inputs.grouping import places
from underhood.methods import Explanation, Method, as_methods
from underhood.methods.explain import MethodLike, explain_with, is_open
from underhood.models import Class, Model, Several, Target, as_target, load
from underhood.models.target import PerInput, TargetLike

CheckLike = str | Check | type[Check]
EACH = "of each input"  # a mask that comes with the input
NO_MASK = "no mask was given with this input"


class Sample(NamedTuple):
    """An input of a data set, what is asked of it, and the mask (*places) of its true cause."""

    input: Any
    target: TargetLike = None
    mask: Any = None


def benchmark(
    model: Model | nn.Module | str,
    dataset: Any,
    target: TargetLike = None,
    *,
    methods: Sequence[MethodLike] | MethodLike | None = None,
    checks: Sequence[CheckLike] | CheckLike = "standard",
    out: str | Path | None = None,
    baseline: Any = None,
    **settings: Any,
) -> Benchmark:
    """What checks find of methods over a data set: mean figures with intervals, beside their controls.

    dataset:  a folder, a glob, a tensor of inputs, or anything that gives inputs one by one (see
              `underhood.inputs.gather`), or tuples (input, target) or (input, target, mask). It is read as
              it goes: no more than 16 inputs are held. One that cannot be read is listed and left out.
    target:   of the inputs that come without one; None explains the predicted class.
    methods, baseline, settings: as `underhood.explain` takes them.
    checks:   keys such as "deletion", classes, instances with parameters, or a level ("quick", "standard",
              "full") for all of its checks. Those that need a mask take each input's own.
    out:      a folder that holds what was found of each input (`inputs.jsonl`). Called again with the same
              arguments it goes on where it was stopped, however that was; `Benchmark.read` opens it. What was
              done before is read again, without a pass through the model, and compared by its digest.
    """
    chosen, asked = as_methods(methods, baseline=baseline), as_checks(checks)
    model = load(model) if isinstance(model, str) else model
    model = model if isinstance(model, Model) else Model(model)
    work = _Work(model, target, chosen, asked, Settings(**settings), is_open(methods))
    found = Benchmark(work.about())
    journal = Journal(Path(out).expanduser()) if out is not None else None
    if journal:
        journal.begin(found.about)
    known = journal.records() if journal else iter(())
    first = 0
    coming = _samples(dataset)
    while samples := list(islice(coming, SIZE)):
        names = [_name(sample.input, first + row) for row, sample in enumerate(samples)]
        rows = work.rows(samples, names, first)
        before = list(islice(known, len(samples)))
        for record, row in zip(before, rows, strict=False):  # known ones come first
            _same_input(record, row.record, journal)
            found.add(record)
        if len(before) < len(samples):  # the whole chunk anew, so that it comes to the same bits
            records = work.records(rows, succeeded=found.inputs > 0)[len(before) :]
            if journal:
                journal.append(records)
            for record in records:
                found.add(record)
        first += len(samples)
    if not first:
        raise InvalidArgument("There are no inputs.")
    if next(known, None):
        raise InvalidArgument(f"'{out}' holds more inputs than this data set; give another folder.")
    return found


def as_checks(checks: Sequence[CheckLike] | CheckLike) -> list[Check]:
    """Checks from keys, classes, instances or levels."""
    given = [checks] if isinstance(checks, str | Check | type) else list(checks)
    built = [check for item in given for check in _as_checks(item)]
    if not built:
        raise InvalidArgument("Name at least one check.")
    keys = [check.key for check in built]
    for key in keys:
        if keys.count(key) > 1:
            raise InvalidArgument(f"The check '{key}' is asked for twice.")
    return built


def every_check() -> dict[str, type[Check]]:
    """All that this room offers, by key."""
    import underhood.checks as room

    offered = [getattr(room, name) for name in room.__all__]
    found = [c for c in offered if isinstance(c, type) and issubclass(c, Check) and c is not Check]
    return {check.key: check for check in found}


def _as_checks(item: CheckLike) -> list[Check]:
    if isinstance(item, Check):
        return [item]
    if isinstance(item, str):
        key, known = item.lower().replace("-", "_").replace(" ", "_"), every_check()
        if key in LEVELS:
            return [step.check for step in LEVELS[key].steps]
        if key not in known:
            raise UnknownName("check", item, (*known, *LEVELS))
        item = known[key]
    needed = [f.name for f in fields(item) if f.default is MISSING and f.default_factory is MISSING]  # type: ignore[arg-type]
    given = {"mask": torch.zeros(0)} if "mask" in needed else {}
    if set(needed) - set(given):
        raise InvalidArgument(
            f"The check '{item.key}' needs {', '.join(needed)}; give it as {item.__name__}({needed[0]}=…)."
        )
    return [item(**given)]


@dataclass(frozen=True, eq=False)
class _Work:
    """What is asked of every input."""

    model: Model
    target: TargetLike
    methods: Sequence[Method]
    checks: Sequence[Check]
    settings: Settings
    skip_unfit: bool

    def about(self) -> dict[str, Any]:
        """What makes it this benchmark and no other, ready for JSON."""
        from underhood import __version__

        labels = self.labels
        return {
            "underhood": __version__,
            "model": self.model.name,
            "model_digest": self.model.digest,
            "preprocess": repr(self.model.preprocess) if self.model.preprocess else None,
            "target": self._target(None).name(labels),
            "methods": {method.key: method.parameters() for method in self.methods},
            "checks": {
                check.key: {"better": check.card.better, "parameters": _parameters(check)}
                for check in self.checks
            },
            "seed": self.settings.seed,
            "precision": self.settings.precision,
        }

    @property
    def labels(self) -> tuple[str, ...] | None:
        return tuple(self.model.labels) if self.model.labels else None

    def rows(self, samples: Sequence[Sample], names: Sequence[str], first: int) -> list["_Row | _Unread"]:
        """The inputs as the network takes them; no pass is made."""
        numbered = enumerate(zip(samples, names, strict=True), start=first)
        return [self._row(sample, name, number) for number, (sample, name) in numbered]

    def records(self, rows: Sequence["_Row | _Unread"], *, succeeded: bool) -> list[dict[str, Any]]:
        """One for each input, in their order: its readings by method and check, or why there are none."""
        found = {row.record["number"]: row.record for row in rows}
        groups: dict[Any, list[_Row]] = {}  # what can be explained together
        for row in rows:
            if isinstance(row, _Row):
                groups.setdefault(row.kind, []).append(row)
        for group in groups.values():
            for record in self._together(group, succeeded=succeeded):
                found[record["number"]] = record
                succeeded = succeeded or record["failed"] is None
        return list(found.values())

    def _row(self, sample: Sample, name: str, number: int) -> "_Row | _Unread":
        record = {"number": number, "input": name, "sha256": None, "failed": None}
        try:
            tensor = gather(self.model, sample.input).tensor
        except BadInput as error:
            return _Unread(_failed(record, error))
        if len(tensor) != 1:
            raise InvalidArgument(
                f"'{name}' of the data set holds {len(tensor)} inputs; give them one by one."
            )
        mask = None if sample.mask is None else torch.as_tensor(np.asarray(sample.mask)) != 0
        if mask is not None and tuple(mask.shape) != places(tensor):
            raise InvalidArgument(
                f"The mask of '{name}' has shape {tuple(mask.shape)}; it must be that of the "
                f"network's input, {places(tensor)}."
            )
        return _Row({**record, "sha256": digest(tensor[0])}, tensor, self._target(sample.target), mask)

    def _target(self, target: TargetLike) -> Target:
        asked = as_target(self.target if target is None else target, self.labels)
        if isinstance(asked, PerInput) and len(asked.classes) == 1:
            asked = Class(int(asked.classes), asked.output)
        if isinstance(asked, PerInput | Several):
            raise InvalidArgument("Give one target for all inputs, or pairs (input, target).")
        return asked

    def _together(self, rows: Sequence["_Row"], *, succeeded: bool) -> list[dict[str, Any]]:
        """Records of inputs that are explained together; one by one where the model fails on any of them."""
        try:
            return self._read(rows)
        except (BadModel, OutOfMemory) as error:
            if len(rows) == 1 and not succeeded:
                raise
            if len(rows) == 1:
                return [_failed(rows[0].record, error)]
        records = []
        for row in rows:
            records += self._together([row], succeeded=succeeded)
            succeeded = succeeded or records[-1]["failed"] is None
        return records

    def _read(self, rows: Sequence["_Row"]) -> list[dict[str, Any]]:
        names = tuple(row.record["input"] for row in rows)
        inputs = Gathered(torch.cat([row.tensor for row in rows]), names, single=False)
        explained = explain_with(
            self.methods, self.model, inputs, _joined([row.target for row in rows]), self.settings,
            skip_unfit=self.skip_unfit,
        )  # fmt: skip
        readings: list[dict[str, Any]] = [{} for _ in rows]
        for batch in batches(self._heeding(explained)):
            for check in self.checks:
                for row, reading in enumerate(self._asked(check, batch, rows), start=batch.first):
                    readings[row].setdefault(batch.method.key, {})[check.key] = reading.as_dict()
        about = explained[explained.methods[0]]
        return [
            {**row.record, "target": e.target, "score": e.score, "readings": found}
            for row, e, found in zip(
                rows, [about] if isinstance(about, Explanation) else about, readings, strict=True
            )
        ]

    def _heeding(self, explanations: Iterable[Explanation]) -> Iterator[Explanation]:
        """Explanations whose checks report progress and heed cancelling, as their making did."""
        for e in explanations:
            assert e.origin is not None
            yield replace(e, origin=replace(e.origin, settings=self.settings))

    def _asked(self, check: Check, batch: Batch, rows: Sequence["_Row"]) -> Sequence[Reading]:
        cancel = self.settings.cancel
        if cancel is not None and cancel.is_set():
            raise Cancelled("The benchmark was stopped.")
        rows = rows[batch.first : batch.first + len(batch)]
        readings = readings_of(_masked(check, rows), replace(batch, first=0))
        if not _takes_masks(check):
            return readings
        return [undefined(NO_MASK) if row.mask is None else r for row, r in zip(rows, readings, strict=True)]


@dataclass(frozen=True, eq=False)
class _Row:
    """One input (1, …) with what is asked of it, and the beginning of its record."""

    record: dict[str, Any]
    tensor: Tensor
    target: Target
    mask: Tensor | None

    @property
    def kind(self) -> tuple[Any, ...]:
        """Alike for what can be explained together."""
        of_class = isinstance(self.target, Class) and isinstance(self.target.of, int)
        asked = self.target.output if of_class else self.target  # type: ignore[attr-defined]
        return tuple(self.tensor.shape), self.tensor.dtype, asked


class _Unread(NamedTuple):
    """An input that cannot be read, and so has no more than a record."""

    record: dict[str, Any]


def _joined(targets: Sequence[Target]) -> Target:
    """One target from those of inputs of one kind: a class each, or all the same."""
    first = targets[0]
    if isinstance(first, Class) and isinstance(first.of, int):
        return PerInput(torch.tensor([target.of for target in targets]), first.output)  # type: ignore[attr-defined]
    return first


def _takes_masks(check: Check) -> bool:
    """Whether it needs a mask for each input, none having been given for all of them."""
    return hasattr(check, "mask") and check.mask.numel() == 0


def _masked(check: Check, rows: Sequence[_Row]) -> Check:
    """The check with the masks of these inputs."""
    mask, shape = getattr(check, "mask", None), places(rows[0].tensor)
    if mask is None or tuple(mask.shape) == shape:
        return check
    if not _takes_masks(check):  # they are those of all inputs
        numbers = [row.record["number"] for row in rows]
        if len(mask) <= max(numbers):
            raise InvalidArgument(f"There are {len(mask)} masks for {max(numbers) + 1} or more inputs.")
        return replace(check, mask=mask[numbers])  # type: ignore[type-var]
    masks = [torch.zeros(places(r.tensor), dtype=torch.bool) if r.mask is None else r.mask for r in rows]
    return replace(check, mask=torch.stack(masks))  # type: ignore[type-var]


def _parameters(check: Check) -> dict[str, Any]:
    return check.parameters() | ({"mask": EACH} if _takes_masks(check) else {})


def _failed(record: dict[str, Any], error: Exception) -> dict[str, Any]:
    return {**record, "failed": str(error)}


def _same_input(known: dict[str, Any], now: dict[str, Any], journal: Journal | None) -> None:
    """Refuse to go on with another input than was recorded: by its name, and by what the network sees."""
    held = f"'{journal.folder if journal else ''}' holds another benchmark: its input {known['number']}"
    if known["input"] != now["input"]:
        raise InvalidArgument(f"{held} is '{known['input']}', not '{now['input']}'; give another folder.")
    if known.get("sha256") != now["sha256"]:
        raise InvalidArgument(
            f"{held}, '{known['input']}', had {_digest_told(known.get('sha256'))}, and the one given has "
            f"{_digest_told(now['sha256'])}; give another folder."
        )


def _digest_told(sha256: str | None) -> str:
    return f"the digest {sha256[:12]}…" if sha256 else "none, as it cannot be read"


def _samples(dataset: Any) -> Iterator[Sample]:
    """The data set's inputs, one by one; folders and globs become the pictures in them."""
    for item in _items(dataset):
        sample = Sample(*item) if isinstance(item, tuple) else Sample(item)
        if isinstance(sample.input, str | Path):
            yield from (sample._replace(input=path) for path in find_pictures([sample.input]))
        else:
            yield sample


def _items(dataset: Any) -> Iterable[Any]:
    if isinstance(dataset, str | Path):
        return [dataset]
    if isinstance(dataset, Tensor | np.ndarray):
        one = dataset.dtype != np.uint8 and dataset.ndim in (1, 3)
        picture = dataset.dtype == np.uint8 and dataset.ndim in (2, 3)
        return [dataset] if one or picture else dataset
    if not hasattr(dataset, "__iter__") and not hasattr(dataset, "__getitem__"):
        raise InvalidArgument(f"A data set is a folder, a tensor or an iterable of inputs, not {dataset!r}.")
    return dataset


def _name(item: Any, number: int) -> str:
    return str(item) if isinstance(item, str | Path) else getattr(item, "filename", "") or f"input {number}"
