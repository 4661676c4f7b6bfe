"""`audit`: survey a data set, run playbooks over it, and keep all of it in a folder."""

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from underhood.engine import Settings
from underhood.errors import InvalidArgument, UnknownName
from underhood.inputs import as_dataset
from underhood.models import Model, load
from underhood.playbooks.audited import (
    Audit,
    data_of,
    holds_audit,
    model_of,
    need_packages,
    opened,
    stored_survey,
)
from underhood.playbooks.classes import named
from underhood.playbooks.engines import Run, Work, engine_of, threads_of
from underhood.playbooks.playbook import Playbook
from underhood.playbooks.registry import PlaybookLike, as_playbooks, playbook

if TYPE_CHECKING:
    from underhood.playbooks.about import Asked
    from underhood.store import Store

__all__ = ["Audit", "audit", "holds_audit", "opened", "resume"]

Begin = Callable[[str, int | None], None]
SHARD = 512  # rows


def audit(
    model: Model | nn.Module | str,
    dataset: Any,
    playbooks: Sequence[PlaybookLike] | PlaybookLike | None = None,
    *,
    out: str | Path | None = None,
    engine: str = "local",
    shard: int | None = None,
    options: Mapping[str, Any] | None = None,
    begin: Begin | None = None,
    **settings: Any,
) -> Audit:
    """What playbooks find of a model over a data set, with every explanation behind it.

    model:     a `Model`, a torch module, or what `load` takes.
    dataset:   a `Dataset`, or what `as_dataset` takes: a folder, pictures, (pictures, labels).
    playbooks: keys such as "shortcuts", classes, or instances with parameters; None takes all.
    out:       a folder for the audit. Called again with the same arguments it goes on where it was stopped,
               however that was; `Audit.open` opens it. Without it, the audit goes with its last reader.
    engine:    who does the work, see `engines`; options are its own, such as workers.
    shard:     rows that are done as one, and lost at most when the audit is stopped.
    begin:     called with the name of each stage that begins, and how much it is in all, where that is known.
    settings:  keywords of `underhood.Settings`: device, precision, memory, seed, progress, cancel.
    """
    need_packages()
    from underhood.playbooks.about import Asked

    chosen, run = as_playbooks(playbooks), engine_of(engine, options or {})
    model = load(model) if isinstance(model, str) else model
    model = model if isinstance(model, Model) else Model(model)
    dataset, wanted = as_dataset(dataset), Settings(**settings)
    with _folder(out) as folder:
        how = {"threads": threads_of(engine, options or {})}
        model, store = _begun(folder, Asked(model, dataset, chosen, wanted, shard), how)
        if out is None:
            weakref.finalize(store, shutil.rmtree, folder, ignore_errors=True)
    with _at_work(store):
        shape = tuple(store.about["shapes"]["input"])
        work = Work(model, dataset, store, store.missing(), wanted, shape, options or {})
        return _done(work, run, chosen, begin)


def _done(work: Work, run: Run, playbooks: Sequence[Playbook], begin: Begin | None) -> Audit:
    begin = begin or (lambda _name, _total: None)
    if work.shards:
        begin("pictures", len(work.dataset))
        run(work)
    found = Audit(work.store, stored_survey(work.model, work.dataset, work.store, work.settings))
    for one in playbooks:
        begin(one.key, None)
        found.ask(one)
    found.write_findings()
    return found


def _at_work(store: "Store") -> AbstractContextManager[None]:
    from underhood.store import alone

    return alone(store.folder)


def resume(
    folder: str | Path,
    *,
    model: Model | nn.Module | str | None = None,
    dataset: Any = None,
    engine: str = "local",
    options: Mapping[str, Any] | None = None,
    begin: Begin | None = None,
    **settings: Any,
) -> Audit:
    """Go on with the audit in a folder; model and data are loaded again as then, where not given."""
    store = opened(folder)
    return audit(
        model_of(store) if model is None else model,
        data_of(store) if dataset is None else dataset,
        [again(asked) for asked in store.about["playbooks"]],
        out=folder,
        engine=engine,
        shard=store.about["shard"],
        options=options,
        begin=begin,
        **{"seed": store.about["seed"], "precision": store.about["precision"], **settings},
    )


@contextmanager
def _folder(out: str | Path | None) -> Iterator[Path]:
    """A folder for the audit; a temporary one does not outlive an error."""
    if out is not None:
        yield Path(out)
        return
    folder = Path(tempfile.mkdtemp(prefix="underhood-audit-"))
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _begun(folder: Path, asked: "Asked", how: Mapping[str, Any]) -> tuple[Model, "Store"]:
    """The model with the names of its classes, and the folder."""
    from underhood.playbooks.about import about, probe
    from underhood.store import Store

    if asked.shard is not None and asked.shard < 1:
        raise InvalidArgument(f"A shard has one row at least, not {asked.shard}.")
    if not len(asked.dataset):
        raise InvalidArgument("There are no pictures in the data set.")
    if asked.shard is None:
        asked = replace(asked, shard=Store(folder).about["shard"] if Store.is_in(folder) else SHARD)
    seen = probe(asked.model, asked.dataset, asked.settings)
    asked = replace(asked, model=named(asked.model, asked.dataset, seen.scores[0]))
    return asked.model, Store.begin(folder, {**about(asked, seen), **how})


def again(asked: Mapping[str, Any]) -> Playbook:
    """A playbook from its record."""
    try:
        kind = playbook(asked["key"])
    except UnknownName as error:
        raise InvalidArgument(
            f"The playbook '{asked['key']}' is not one of Underhood's; go on in Python, where you have it: "
            "uh.audit(model, dataset, playbooks=[…], out=…)."
        ) from error
    try:
        given = {name: tuple(v) if isinstance(v, list) else v for name, v in asked["parameters"].items()}
        return kind(**given)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(
            f"The playbook '{asked['key']}' has other parameters in this version."
        ) from error
