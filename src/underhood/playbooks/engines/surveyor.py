"""`Surveyor`: what surveys shards in a process of its own, and the `Brief` that it is set up with."""

import os
import socket
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

import underhood.atomic
from underhood import errors
from underhood.engine import Settings
from underhood.errors import BadInput, InvalidArgument, UnderhoodError
from underhood.inputs.dataset import Dataset, Row
from underhood.inputs.names import printable
from underhood.models import Model
from underhood.playbooks.engines.work import Work

Rows = Mapping[int, Row]  # by their numbers in the data set


@dataclass(frozen=True)
class Brief:
    """All that a worker has to know, ready to be pickled.

    model:    pickled, its classes by value where another process could not import them.
    imports:  folders that its code imports from.
    witness:  a file that shows whether the pictures are to be had.
    threads:  of each operation on the CPU.
    """

    model: bytes
    imports: tuple[str, ...]
    folder: Path
    witness: str | None
    settings: Settings
    shape: tuple[int, ...]
    threads: int

    @classmethod
    def of(cls, work: Work) -> "Brief":
        alone = replace(work.settings, progress=None, cancel=None)
        folder = Path(os.path.abspath(work.store.folder))
        return cls(
            packed(work.model),
            _imports(work.model),
            folder,
            _witness(work.dataset),
            alone,
            work.shape,
            work.threads,
        )


@dataclass(frozen=True)
class Failure:
    """An error on its way to another process."""

    kind: str
    text: str
    trace: str

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        told = str(error) if isinstance(error, UnderhoodError) else f"{type(error).__name__}: {error}"
        return cls(type(error).__name__, told, traceback.format_exc())

    def as_error(self) -> UnderhoodError:
        """Of the same kind, where it is one of ours."""
        kind = getattr(errors, self.kind, getattr(underhood.atomic, self.kind, None))
        if isinstance(kind, type) and issubclass(kind, UnderhoodError):
            error = kind.__new__(kind)
            Exception.__init__(error, self.text)
        else:
            error = UnderhoodError(f"A worker failed with {self.text}")
        error.add_note(f"In the worker:\n{self.trace}")
        return error


class Surveyor:
    """Loads the model once, then surveys a shard at a time into the audit's folder; it commits nothing."""

    def __init__(self, brief: Brief):
        from underhood.store import Store

        machine = socket.gethostname()
        if not Store.is_in(brief.folder):
            raise BadInput(
                f"The audit's folder '{brief.folder}' is not to be had on the machine '{machine}'; give one "
                "that all machines share."
            )
        if brief.witness is not None and not os.path.exists(brief.witness):
            raise BadInput(
                f"The pictures are not to be had on the machine '{machine}', such as "
                f"'{printable(brief.witness)}'; put them in a folder that all machines share."
            )
        torch.set_num_threads(brief.threads)
        sys.path.extend(folder for folder in brief.imports if folder not in sys.path)
        self.brief, self.store, self.model = brief, Store(brief.folder), unpacked(brief.model)

    @classmethod
    def set_up(cls, brief: Brief) -> "Surveyor | Failure":
        try:
            return cls(brief)
        except Exception as error:
            return Failure.of(error)

    def survey(self, shard: int, rows: Rows) -> Failure | None:
        """None where the shard was written."""
        from underhood.playbooks.surveying import survey_shard

        numbers, brief = self.store.numbers(shard), self.brief
        try:
            found = survey_shard(self.model, rows, numbers, brief.settings, shape=brief.shape)
            self.store.write(shard, found)
        except Exception as error:
            return Failure.of(error)
        return None


def packed(model: Model) -> bytes:
    """The model in bytes, as it is now."""
    import cloudpickle

    try:
        return bytes(cloudpickle.dumps(replace(model, scratch={})))
    except Exception as error:
        raise InvalidArgument(
            f"The model {model.name} cannot be sent to other processes ({type(error).__name__}: {error}); "
            "audit it in one, with one worker."
        ) from error


def unpacked(packed_model: bytes) -> Model:
    import cloudpickle

    try:
        model = cloudpickle.loads(packed_model)
    except Exception as error:
        raise InvalidArgument(
            f"The model cannot be set up in another process ({type(error).__name__}: {error}); audit it in "
            "one, with one worker."
        ) from error
    assert isinstance(model, Model)
    return model


def rows_of(work: Work, shard: int) -> Rows:
    """What a survey needs of a shard's rows, ready to be sent."""
    return {number: _sendable(work.dataset[number]) for number in work.store.numbers(shard)}


def _sendable(row: Row) -> Row:
    source = row.source
    if isinstance(source, str | Path):
        source = os.path.abspath(source)
    elif isinstance(source, Tensor):
        source = source.detach().clone()  # a view would be pickled with all that it is a view of
    return replace(row, source=source, metadata={}, mask=None)


def _imports(model: Model) -> tuple[str, ...]:
    """Where the file of a `file:` model has its neighbours."""
    scheme, _, name = model.loaded.get("source", "").partition(":")
    return (os.path.abspath(os.path.dirname(os.path.expanduser(name))),) if scheme == "file" else ()


def _witness(dataset: Dataset) -> str | None:
    """The first picture that is there."""
    files = (row.source for row in dataset if isinstance(row.source, str | Path))
    return next((os.path.abspath(file) for file in files if os.path.exists(file)), None)
