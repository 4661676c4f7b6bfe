"""`Audit`: what was found, and what is behind it, read from the folder of an audit."""

import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from underhood.atomic import CannotWrite, atomic
from underhood.engine import Settings
from underhood.errors import BadInput, Cancelled, InvalidArgument, MissingExtra, UnderhoodError
from underhood.inputs import Dataset, as_dataset
from underhood.inputs.label_classes import label_classes
from underhood.models import Model
from underhood.playbooks.finding import SEVERITIES, Finding, Outcome
from underhood.playbooks.kept import as_document, from_document, plain
from underhood.playbooks.playbook import Playbook
from underhood.playbooks.survey import Survey
from underhood.plugins import plugin

if TYPE_CHECKING:
    from underhood.store import Store

FINDINGS, REPORT = "findings.json", "report.html"
NEEDED = ("zarr", "pyarrow", "sqlalchemy", "sklearn", "scipy")


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
        model, dataset = model_of(store, model), data_of(store, dataset)
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
        if self.store.asked(one.key) != parameters or not self._is_whole(one.key):
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

    def _is_whole(self, key: str) -> bool:
        """Whether what was kept of a playbook can still be read."""
        try:
            return self._kept(key) is not None
        except BadInput:
            return False

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


def holds_audit(folder: str | Path) -> bool:
    """Whether an audit was begun there."""
    need_packages()
    from underhood.store import Store

    return Store.is_in(folder)


def opened(folder: str | Path) -> "Store":
    """What is kept in the folder of an audit; neither model nor data are loaded."""
    need_packages()
    from underhood.playbooks.about import check_readable
    from underhood.store import Store

    store = Store(folder)
    check_readable(store.folder, store.about)
    return store


def model_of(store: "Store", given: Model | None = None) -> Model:
    from underhood.playbooks.about import reloaded_model

    model = reloaded_model(store.about) if given is None else given
    if model.digest_of(model.seen()) != store.about["model_digest"]:
        raise InvalidArgument(
            f"The model is not the one that was audited in '{store.folder}': its weights or layers differ."
        )
    return model if model.labels else replace(model, labels=store.about["classes"])


def data_of(store: "Store", given: Any = None) -> Dataset:
    from underhood.playbooks.about import reloaded_data

    dataset = reloaded_data(store.about) if given is None else as_dataset(given)
    if len(dataset) != store.rows_in_all:
        raise InvalidArgument(
            f"The data set has {len(dataset):,} pictures, and had {store.rows_in_all:,} when it was audited "
            f"in '{store.folder}'."
        )
    return dataset


def need_packages() -> None:
    for package in NEEDED:
        if find_spec(package) is None:
            raise MissingExtra(package, "audit")
