"""`bound`: explanations that were read from a file, with their model and inputs again."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from underhood.engine import Settings
from underhood.errors import BadInput, BadModel, InvalidArgument
from underhood.inputs import gather
from underhood.inputs.gather import digest, displayed
from underhood.methods import Explanation, Explanations
from underhood.methods.explanation import Origin
from underhood.methods.rebuild import rebuilt
from underhood.models import Model, load
from underhood.models.settled import from_plain


def bound(
    explanations: Explanation | Iterable[Explanation], model: Model | str, inputs: Any, **settings: Any
) -> Explanations:
    """The explanations with what they were made from, so that they can be checked.

    model:    the one that was explained, by its digest; a `Model`, or what `load` takes.
    inputs:   those that were explained, in any order: they are known by their digests.
    settings: keywords of `underhood.engine.Settings`; the seed is the record's.

    Raises BadModel or BadInput where a digest differs. The maps stay as they are; a method whose parameters
    the file cannot hold is not asked again, and what would need it is undefined.
    """
    given = [explanations] if isinstance(explanations, Explanation) else list(explanations)
    model = load(model) if isinstance(model, str) else model
    gathered = gather(model, inputs)
    known = {digest(row): (name, row) for name, row in zip(gathered.names, gathered.tensor, strict=True)}
    return Explanations([_bound(item, model, known, settings) for item in given])


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


def _short(sha256: str) -> str:
    return f"{sha256[:12]}…"
