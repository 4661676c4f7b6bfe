"""What an audit is: written down before it begins, so that nothing else goes on in its folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from underhood.engine import Engine, Settings, grad_cam_layer
from underhood.errors import BadInput, BadModel, InvalidArgument
from underhood.inputs import Dataset, as_dataset
from underhood.methods.provenance import Stopwatch, provenance
from underhood.models import Model, load
from underhood.models.preprocess import read_preprocess
from underhood.playbooks.classes import unfit
from underhood.playbooks.kept import plain
from underhood.playbooks.playbook import Playbook
from underhood.playbooks.survey import look
from underhood.playbooks.surveying import METHOD, read_row
from underhood.store.digests import listing

FORMAT = 1
NEEDED = ("model", "model_digest", "classes", "data", "problems", "seed", "precision")  # beside the store's
TRIES = 16  # inputs that the model may fail on before it is taken to fail on all


@dataclass(frozen=True)
class Probe:
    """Shapes of one row, from the first input that could be read and that the model did not fail on."""

    input: tuple[int, ...]
    scores: tuple[int, ...]
    map: tuple[int, ...]
    features: tuple[int, ...]
    layer: str


def probe(model: Model, dataset: Dataset, settings: Settings) -> Probe:
    engine = Engine(model, replace(settings, progress=None))
    tried, first = 0, ""
    for number, row in enumerate(dataset):
        reading = read_row(model, row, number)
        first = first or str(reading.record.failure)
        if reading.tensor is None:
            continue
        try:
            found = look(engine, reading.tensor[None])
        except BadModel:
            tried += 1
            if tried == min(TRIES, len(dataset)):
                raise
            continue
        return Probe(
            input=tuple(reading.tensor.shape),
            scores=found.scores.shape[1:],
            map=found.maps.shape[1:],
            features=found.features.shape[1:],
            layer=grad_cam_layer(engine, reading.tensor).name,
        )
    raise BadInput(f"None of the {len(dataset)} pictures can be used; of the first: {first}")


@dataclass(frozen=True)
class Asked:
    """What an audit is asked for. shard: rows that are done as one, None where that was left open."""

    model: Model
    dataset: Dataset
    playbooks: Sequence[Playbook]
    settings: Settings
    shard: int | None


def about(asked: Asked, seen: Probe) -> dict[str, Any]:
    """As `Store.begin` takes it."""
    model, dataset, settings = asked.model, asked.dataset, asked.settings
    known = provenance(model, Engine(model, settings), Stopwatch(), 0)
    return {
        "format": FORMAT,
        "model": {"name": model.name, "loaded": dict(model.loaded)},
        "model_digest": model.digest_of(model.seen()),
        "classes": list(model.labels) if model.labels else None,
        "preprocess": known["preprocess"],
        "data": {"name": dataset.name, "loaded": plain(dataset.loaded)},
        "rows": len(dataset),
        "listing": listing(dataset),
        "problems": [*model.notes, *dataset.problems, *unfit(model, dataset, seen.scores[0])],
        "method": {"key": METHOD, "layer": seen.layer},
        "shapes": {name: list(getattr(seen, name)) for name in ("input", "scores", "map", "features")},
        "shard": asked.shard,
        "seed": settings.seed,
        "precision": settings.precision,
        "playbooks": [{"key": one.key, "parameters": plain(one.parameters())} for one in asked.playbooks],
        "versions": known["versions"],
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def check_readable(folder: Path, about: Mapping[str, Any]) -> None:
    """Raises BadInput where this version cannot go on with, or compare, what is described."""
    if about.get("format") != FORMAT:
        raise BadInput(
            f"The audit in '{folder}' was made by another version of Underhood (its format is "
            f"{about.get('format')}, this one reads {FORMAT}); use that version, or make the audit again in "
            "another folder."
        )
    if missing := [name for name in NEEDED if name not in about]:
        raise BadInput(
            f"'{folder / 'audit.json'}' lacks {', '.join(missing)}; put back a copy, or make the audit "
            "again in another folder."
        )


def reloaded_model(about: Mapping[str, Any]) -> Model:
    """The model as it was asked for then."""
    asked = about["model"]["loaded"]
    if "source" not in asked:
        raise InvalidArgument(
            f"The audit does not say where its model {about['model']['name']} came from; give the model."
        )
    return load(
        asked["source"],
        weights=asked.get("weights"),
        labels=about["classes"],
        preprocess=read_preprocess(about["preprocess"]),
        layer=asked.get("layer"),
    )


def reloaded_data(about: Mapping[str, Any]) -> Dataset:
    """The data set as it was asked for then."""
    asked = dict(about["data"]["loaded"])
    if "data" not in asked:
        raise InvalidArgument("The audit's pictures were given in memory; give them again.")
    try:
        return as_dataset(asked.pop("data"), **asked)
    except BadInput as error:
        raise BadInput(
            f"The audit's data cannot be read as they were then; put them back, or name where they are now "
            f"when you go on (--resume with --data, and --labels). {error}"
        ) from error
