"""Outcomes as plain data and arrays, and back."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from math import isfinite, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from underhood.errors import BadInput
from underhood.playbooks.finding import Effect, Finding, Outcome

Arrays = dict[str, NDArray[Any]]


def as_document(outcome: Outcome) -> tuple[dict[str, Any], Arrays]:
    """All of an outcome ready for JSON, and the arrays of its findings by name ("0/masks" of the first)."""
    arrays: Arrays = {}
    for number, finding in enumerate(outcome.findings):
        held = {f"arrays/{name}": array for name, array in finding.arrays.items()}
        if finding.masks is not None:
            held["masks"] = finding.masks
        arrays |= {f"{number}/{name}": np.asarray(array) for name, array in held.items()}
    findings = [_finding(finding) for finding in outcome.findings]
    document = plain(
        {one.name: getattr(outcome, one.name) for one in fields(outcome) if one.name != "findings"}
    )
    return {**document, "findings": findings}, arrays


def _finding(finding: Finding) -> dict[str, Any]:
    bare = replace(finding, masks=None, arrays={})
    told = plain({one.name: getattr(bare, one.name) for one in fields(bare)})
    shape = None if finding.masks is None else list(finding.masks.shape)
    return {**told, "masks": shape, "arrays": sorted(finding.arrays)}


def from_document(document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Outcome:
    """Raises BadInput where that is not what `as_document` gave."""
    try:
        return _outcome(document, arrays)
    except (KeyError, TypeError) as error:
        raise BadInput(
            f"What the playbook '{document.get('playbook')}' found cannot be read any more; go on with the "
            "audit (--resume), which makes it again."
        ) from error


def _outcome(document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Outcome:
    findings = [
        Finding(
            **{
                **told,
                "effects": tuple(map(_effect, told["effects"])),
                "rows": tuple(told["rows"]),
                "masks": None if told["masks"] is None else arrays[f"{number}/masks"],
                "arrays": {name: arrays[f"{number}/arrays/{name}"] for name in told["arrays"]},
            }
        )
        for number, told in enumerate(document["findings"])
    ]
    return Outcome(**{**document, "findings": tuple(findings), "problems": tuple(document["problems"])})


def _effect(told: Mapping[str, Any]) -> Effect:
    figures = {name: nan if told[name] is None else told[name] for name in ("value", "low", "high")}
    return Effect(**{**told, **figures})


def plain(value: Any) -> Any:
    """Ready for JSON: a number that is none becomes null, as JSON has no word for it."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
