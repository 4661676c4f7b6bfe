"""`bound`: explanations that were read from a file, with their model and inputs again."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import isclose
from typing import Any

from torch import Tensor

from underhood.checks.batch import batches
from underhood.engine import Settings
from underhood.errors import BadInput, BadModel, InvalidArgument
from underhood.inputs import gather
from underhood.inputs.gather import digest, displayed
from underhood.methods import Explanation, Explanations
from underhood.methods.explanation import Origin
from underhood.methods.rebuild import rebuilt
from underhood.models import Model, load
from underhood.models.settled import from_plain

TOLERANCE = 1e-3  # relative, of a score that was made on another device


def bound(
    explanations: Explanation | Iterable[Explanation], model: Model | str, inputs: Any, **settings: Any
) -> Explanations:
    """The explanations with what they were made from, so that they can be checked.

    model:    the one that was explained, by its digest; a `Model`, or what `load` takes.
    inputs:   those that were explained, in any order: they are known by their digests.
    settings: keywords of `underhood.engine.Settings`; the seed is the record's.

    Raises BadModel or BadInput where a digest differs, and BadInput where the model gives another score. The
    maps stay as they are; a method whose parameters the file cannot hold is not asked again, and what would
    need it is undefined.
    """
    given = [explanations] if isinstance(explanations, Explanation) else list(explanations)
    model = load(model) if isinstance(model, str) else model
    gathered = gather(model, inputs)
    known = {digest(row): (name, row) for name, row in zip(gathered.names, gathered.tensor, strict=True)}
    found = Explanations([_bound(item, model, known, settings) for item in given])
    _refuse_another_score(found)
    return found


def _bound(
    item: Explanation, model: Model, known: Mapping[str, tuple[str, Tensor]], settings: Mapping[str, Any]
) -> Explanation:
    _refuse_another(item, model, known)
    if item.asked is None:
        raise InvalidArgument(
            f"The target of '{item.subject.name}' ({item.target}) is one that a file cannot hold, such as a "
            "function; explain and check it in one go."
        )
    _, x = known[item.subject.digest]
    origin = Origin(
        model,
        x[None],
        from_plain(item.asked),
        rebuilt(item),
        Settings(**{"seed": int(item.provenance.get("seed", 0)), **settings}),
    )
    return replace(item, origin=origin, subject=replace(item.subject, pixels=displayed(model, x)))


def _refuse_another(item: Explanation, model: Model, known: Mapping[str, tuple[str, Tensor]]) -> None:
    """Refuse another model or input than was explained."""
    recorded, seen = str(item.provenance.get("model_digest")), model.digest_of(model.seen())
    if seen != recorded:
        raise BadModel(
            f"The model {model.name} is not the one that was explained: its digest is {_short(seen)}, and "
            f"the record of '{item.subject.name}' has {_short(recorded)} ({item.provenance.get('model')}); "
            "give that model with its weights."
        )
    if item.subject.digest not in known:
        found = ", ".join(f"{name} {_short(sha256)}" for sha256, (name, _) in list(known.items())[:3])
        raise BadInput(
            f"No input is the '{item.subject.name}' that was explained: its digest is "
            f"{_short(item.subject.digest)}, and those given have others ({found}); give the same file, and "
            "the same preprocessing."
        )


def _refuse_another_score(found: Explanations) -> None:
    """Refuse a record whose score is not that of its model, input and target: one pass for each input."""
    for batch in batches(found):
        for item, score in zip(batch.explanations, batch.run.score.tolist(), strict=True):
            if not isclose(item.score, score, rel_tol=TOLERANCE, abs_tol=TOLERANCE / 10):
                raise BadInput(
                    f"The record of '{item.subject.name}' by {item.method} has the score {item.score:.6g} "
                    f"for {item.target}, and the model gives {score:.6g}; explain it anew."
                )


def _short(sha256: str) -> str:
    return f"{sha256[:12]}…"
