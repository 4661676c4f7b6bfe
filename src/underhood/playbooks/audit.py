"""`audit`: survey a data set, run playbooks over it, and keep all of it in a folder."""

import json
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from underhood.atomic import CannotWrite, atomic
from underhood.engine import Settings
from underhood.errors import BadInput, Cancelled, InvalidArgument, MissingExtra, UnderhoodError
from underhood.inputs import Dataset, as_dataset
from underhood.inputs.label_classes import label_classes
from underhood.models import Model, load
from underhood.playbooks.classes import named
from underhood.playbooks.engines import Work, engine_of
from underhood.playbooks.finding import SEVERITIES, Finding, Outcome
from underhood.playbooks.kept import as_document, from_document, plain
from underhood.playbooks.playbook import Playbook
from underhood.playbooks.registry import PlaybookLike, as_playbooks, playbook
from underhood.playbooks.survey import Survey
from underhood.plugins import plugin

if TYPE_CHECKING:
    from underhood.store import Store

Begin = Callable[[str, int | None], None]
SHARD = 512  # rows
FINDINGS, REPORT = "findings.json", "report.html"
NEEDED = ("zarr", "pyarrow", "sqlalchemy", "sklearn", "scipy")


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
) -> "Audit":
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
    _need_packages()
    chosen, run = as_playbooks(playbooks), engine_of(engine)
    model = load(model) if isinstance(model, str) else model
    model = model if isinstance(model, Model) else Model(model)
    dataset, wanted = as_dataset(dataset), Settings(**settings)
    with _folder(out) as folder:
        model, store = _begun(folder, model, dataset, chosen, wanted, shard)
        if out is None:
            weakref.finalize(store, shutil.rmtree, folder, ignore_errors=True)
    begin = begin or (lambda _name, _total: None)
    if missing := store.missing():
        begin("pictures", len(dataset))
        shape = tuple(store.about["shapes"]["input"])
        run(Work(model, dataset, store, missing, wanted, shape, options or {}))
    found = Audit(store, stored_survey(model, dataset, store, wanted))
    for one in chosen:
        begin(one.key, None)
        found.ask(one)
    found.write_findings()
    return found


def resume(
    folder: str | Path,
    *,
    model: Model | nn.Module | str | None = None,
    dataset: Any = None,
    engine: str = "local",
    options: Mapping[str, Any] | None = None,
    begin: Begin | None = None,
    **settings: Any,
) -> "Audit":
    """Go on with the audit in a folder; model and data are loaded again as then, where not given."""
    store = opened(folder)
    return audit(
        _model_of(store) if model is None else model,
        _data_of(store) if dataset is None else dataset,
        [_again(asked) for asked in store.about["playbooks"]],
        out=folder,
        engine=engine,
        shard=store.about["shard"],
        options=options,
        begin=begin,
        **{"seed": store.about["seed"], "precision": store.about["precision"], **settings},
    )


@dataclass(eq=False)
class Audit:
    """An audit that was done: what was found, and what is behind it.

    store:    records of every row, with how they were made.
    survey:   the arrays, read from the store as they are asked for.
    """

    store: "Store"
    survey: Survey
    failed: dict[str, str] = field(default_factory=dict)  # playbooks that could not be run → why

    @classmethod
    def open(
        cls, folder: str | Path, *, model: Model | None = None, dataset: Any = None, **settings: Any
    ) -> "Audit":
        """An audit from its folder; model and data are loaded again as they were, where not given."""
        store = opened(folder)
        model = _model_of(store) if model is None else model
        dataset = _data_of(store) if dataset is None else as_dataset(dataset)
        asked = {"seed": store.about["seed"], "precision": store.about["precision"], **settings}
        return cls(store, stored_survey(model, dataset, store, Settings(**asked)))

    @property
    def folder(self) -> Path:
        return self.store.folder

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """In the order in which the playbooks were asked for."""
        return tuple(self._outcomes.values())

    @cached_property
    def _outcomes(self) -> dict[str, Outcome]:
        kept = ((key, self._kept(key)) for key in self._asked)
        return {key: outcome for key, outcome in kept if outcome is not None}

    @property
    def _asked(self) -> list[str]:
        return [asked["key"] for asked in self.store.about["playbooks"]]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Of all playbooks, the most severe first."""
        every = [finding for outcome in self.outcomes for finding in outcome.findings]
        return tuple(sorted(every, key=lambda finding: SEVERITIES.index(finding.severity)))

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for each thing that could not be read or done."""
        return (
            *self.store.about["problems"],
            *(f"{record.name}: {record.failure}" for record in self.store.failures()),
            *(f"The playbook '{key}' could not be run: {why}" for key, why in self.failed.items()),
        )

    @property
    def provenance(self) -> dict[str, Any]:
        """What has to be known to repeat the audit."""
        return {**self.store.about, "data_digest": self.store.data_digest()}

    def ask(self, one: Playbook) -> Outcome | None:
        """What a playbook finds; not done again where it was kept. None where it cannot be run."""
        parameters = plain(one.parameters())
        if self.store.asked(one.key) != parameters:
            try:
                document, arrays = as_document(one(self.survey))
            except (Cancelled, CannotWrite):
                raise
            except UnderhoodError as error:
                self.failed[one.key] = str(error)
                return None
            self.store.keep(one.key, parameters, document, arrays)
        self.__dict__.pop("_outcomes", None)
        return self._kept(one.key)

    def _kept(self, key: str) -> Outcome | None:
        found = self.store.kept(key)
        return None if found is None else from_document(*found)

    def as_dict(self) -> dict[str, Any]:
        """All that was found, ready for JSON; masks and other arrays are in the folder `outcomes`."""
        return {
            "audit": self.provenance,
            "read": len(self.survey),
            "problems": list(self.problems),
            "outcomes": [found[0] for key in self._asked if (found := self.store.kept(key))],
        }

    def write_findings(self) -> Path:
        path = self.folder / FINDINGS
        with atomic(path) as temporary:
            temporary.write_text(json.dumps(self.as_dict(), indent=1, allow_nan=False) + "\n", "utf-8")
        return path

    def save_report(self, path: str | Path | None = None) -> Path:
        """The report, one page of HTML; in the audit's folder where no path is given."""
        path = self.folder / REPORT if path is None else Path(path)
        plugin("writers", "audit_html", kind="writer")(self, path)
        return path


def stored_survey(model: Model, dataset: Dataset, store: "Store", settings: Settings) -> Survey:
    """The survey of the rows that could be read, as far as the store has them."""
    number, predicted = store.columns()
    if not len(number):
        raise BadInput(f"None of the pictures could be read, such as {_first_failure(store)}")
    scores = store.rows("scores", number)
    return Survey(
        model,
        dataset,
        settings,
        number=number,
        label=label_classes(dataset, model.labels or (), scores.shape[1])[number],
        predicted=predicted,
        scores=scores,
        maps=store.rows("maps", number),
        features=store.rows("features", number),
    )


def _first_failure(store: "Store") -> str:
    return next((f"'{record.name}': {record.failure}" for record in store.failures()), "none.")


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


def _begun(  # noqa: PLR0917
    folder: Path,
    model: Model,
    dataset: Dataset,
    playbooks: Sequence[Playbook],
    settings: Settings,
    shard: int | None,
) -> tuple[Model, "Store"]:
    """The model with the names of its classes, and the folder."""
    from underhood.playbooks.about import about, probe
    from underhood.store import Store

    if shard is not None and shard < 1:
        raise InvalidArgument(f"A shard has one row at least, not {shard}.")
    if not len(dataset):
        raise InvalidArgument("There are no pictures in the data set.")
    if shard is None:
        shard = Store(folder).about["shard"] if Store.is_in(folder) else SHARD
    seen = probe(model, dataset, settings)
    model = named(model, dataset, seen.scores[0])
    return model, Store.begin(folder, about(model, dataset, playbooks, settings, shard, seen))


def _again(asked: Mapping[str, Any]) -> Playbook:
    """A playbook from its record."""
    kind = playbook(asked["key"])
    try:
        given = {name: tuple(v) if isinstance(v, list) else v for name, v in asked["parameters"].items()}
        again = kind(**given)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(
            f"The playbook '{asked['key']}' has other parameters in this version."
        ) from error
    return again


def holds_audit(folder: str | Path) -> bool:
    """Whether an audit was begun there."""
    _need_packages()
    from underhood.store import Store

    return Store.is_in(folder)


def opened(folder: str | Path) -> "Store":
    """What is kept in the folder of an audit; neither model nor data are loaded."""
    _need_packages()
    from underhood.store import Store

    return Store(folder)


def _model_of(store: "Store") -> Model:
    from underhood.playbooks.about import reloaded_model

    model = reloaded_model(store.about)
    if model.digest_of(model.seen()) != store.about["model_digest"]:
        raise InvalidArgument("The model has changed since the audit: its digest is another.")
    return model


def _data_of(store: "Store") -> Dataset:
    from underhood.playbooks.about import reloaded_data

    return reloaded_data(store.about)


def _need_packages() -> None:
    for package in NEEDED:
        if find_spec(package) is None:
            raise MissingExtra(package, "audit")
