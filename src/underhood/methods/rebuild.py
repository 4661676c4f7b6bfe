"""Methods from their recorded parameters, so that what was read from a file can explain again."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from underhood.engine import Run
from underhood.errors import Unfit
from underhood.inputs.baseline import NAMED, Constant
from underhood.methods.card import Card
from underhood.methods.explain import METHODS
from underhood.methods.explanation import Explanation
from underhood.methods.method import Attribution, Method

IN_WORDS = re.compile(r"[(<]| groups over ")  # what `plain` makes of tensors, groupings and other objects


@dataclass(frozen=True, eq=False)
class Recorded(Method):
    """A method of which no more than its record is known: it cannot explain again, for a stated reason."""

    name: str
    recorded: Mapping[str, Any]
    reason: str
    described: Card = field(repr=False)

    @property
    def key(self) -> str:  # type: ignore[override]
        return self.name

    @property
    def card(self) -> Card:
        return self.described

    def attribute(self, run: Run) -> Attribution:  # noqa: ARG002 - whatever is asked
        raise Unfit(self.reason)

    def parameters(self) -> dict[str, Any]:
        return dict(self.recorded)


def rebuilt(explanation: Explanation) -> Method:
    """The method that made the explanation, where its parameters are plain values; else a `Recorded` one."""
    if explanation.method not in (kind.key for kind in METHODS):
        _note_unknown(explanation.method)
    try:
        method = _built(explanation.method, explanation.parameters)
        if _as_lists(method.parameters()) == _as_lists(explanation.parameters):
            return method
        reason = "this version of Underhood has other parameters for it"
    except Unfit as error:
        reason = str(error)
    except Exception as error:  # a record of another version, or edited by hand
        reason = str(error).rstrip(".")
    told = f"the record cannot make {explanation.card.name} again: {reason}"
    return Recorded(explanation.method, explanation.parameters, told, explanation.card)


@cache  # once for each, however many explanations
def _note_unknown(key: str) -> None:
    logging.getLogger("underhood").warning(
        "Note: no method here is named '%s'; what needs the method again is undefined.", key
    )


def _built(key: str, parameters: Mapping[str, Any]) -> Method:
    kinds = {kind.key: kind for kind in METHODS}
    if key not in kinds:
        raise Unfit(f"no method here is named '{key}'")
    return kinds[key](**{name: _value(name, value) for name, value in parameters.items()})


def _value(name: str, value: Any) -> Any:
    """A parameter back from its plain value."""
    if isinstance(value, str) and IN_WORDS.search(value):
        raise Unfit(f"its parameter {name} ({value}) is not in the file")
    if isinstance(value, Mapping):
        return _nested(name, value)
    if isinstance(value, list | tuple):
        return tuple(_value(name, item) for item in value)
    return value


def _nested(name: str, value: Mapping[str, Any]) -> Any:
    """A method, or a baseline with settings of its own."""
    given = {key: _value(name, item) for key, item in value.items()}
    if "method" in given:
        return _built(given.pop("method"), given)
    known = given.get("name")
    if known in NAMED or known == "constant":
        return (Constant if known == "constant" else type(NAMED[str(known)]()))(**given)
    raise Unfit(f"its parameter {name} is not in the file")


def _as_lists(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _as_lists(item) for key, item in value.items()}
    return [_as_lists(item) for item in value] if isinstance(value, list | tuple) else value
