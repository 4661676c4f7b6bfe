"""`compare`: two versions of a model, audited on the same data. What has gone, what is new, what stayed?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import hypot
from pathlib import Path
from typing import Any

import numpy as np

from underhood.errors import InvalidArgument
from underhood.inputs.label_classes import known_labels
from underhood.playbooks.audit import opened
from underhood.playbooks.figures import percent
from underhood.playbooks.finding import Effect, Finding
from underhood.playbooks.kept import from_document
from underhood.playbooks.statistics import mcnemar, paired_difference

SAME_REGION = 0.3  # overlap of two findings' regions, from which they are taken for one


@dataclass(frozen=True, eq=False)
class Version:
    """What comparing needs of an audit; pictures (n,) in the data set's order, classes by name.

    name:    of the audit; model: of its model.
    digests: over all bytes of each picture, None where they cannot be read.
    labels:  as they were given, None where a picture has none.
    predicted, right: None where there is nothing to tell of a picture, or no class that is its label.
    asked:   keys of the playbooks that were run.
    """

    name: str
    model: str
    pictures: Sequence[str]
    digests: Sequence[str | None]
    labels: Sequence[str | None]
    predicted: Sequence[str | None]
    right: Sequence[bool | None]
    findings: Sequence[Finding]
    asked: Sequence[str]

    @classmethod
    def read(cls, folder: str | Path) -> "Version":
        """From the folder of an audit that is done; neither its model nor its pictures are needed."""
        store = opened(folder)
        if store.missing():
            raise InvalidArgument(
                f"The audit in '{folder}' is not done; go on with: underhood audit --resume {folder}"
            )
        about, records = store.about, list(store.records())
        kept = {one["key"]: store.kept(one["key"]) for one in about["playbooks"]}
        outcomes = {key: from_document(*found) for key, found in kept.items() if found is not None}
        count = about["shapes"]["scores"][0]
        classes = about["classes"] or [f"class {number}" for number in range(count)]
        known = known_labels({r.label for r in records if r.label is not None}, about["classes"] or (), count)
        return cls(
            name=str(folder),
            model=about["model"]["name"],
            pictures=[record.name for record in records],
            digests=[record.sha256 for record in records],
            labels=[record.label for record in records],
            predicted=[None if r.predicted is None else classes[r.predicted] for r in records],
            right=[
                None if r.predicted is None or r.label not in known else known[r.label] == r.predicted
                for r in records
            ],
            findings=[finding for outcome in outcomes.values() for finding in outcome.findings],
            asked=tuple(outcomes),
        )


@dataclass(frozen=True)
class Changed:
    """A picture of which the two say different things."""

    picture: str
    label: str | None
    before: str
    after: str


@dataclass(frozen=True)
class Accuracy:
    """Of the labelled pictures: right before and after, and the difference with its 95 % interval.

    p: how often two equally good models would differ so much (McNemar's exact test).
    """

    pictures: int
    before: float
    after: float
    difference: float
    low: float
    high: float
    p: float


@dataclass(frozen=True, eq=False)
class Stayed:
    """A finding of both audits, and how far its main effect has moved, where it is the same figure.

    moved is that of the magnitude: less than nothing where the model relies on it less.
    """

    before: Finding
    after: Finding
    moved: Effect | None

    @property
    def how(self) -> str:
        """In one word."""
        if self.moved is None or self.moved.low <= 0 <= self.moved.high:
            return "unchanged"
        return "stronger" if self.moved.value > 0 else "weaker"


@dataclass(frozen=True, eq=False)
class Comparison:
    """before, after: names of the audits; changed: pictures whose prediction changed, in the data's order.

    one_sided: playbooks that only one of the two audits asked; their findings are left out.
    """

    before: str
    after: str
    models: tuple[str, str]
    pictures: int
    accuracy: Accuracy | None
    changed: tuple[Changed, ...]
    gone: tuple[Finding, ...]
    new: tuple[Finding, ...]
    stayed: tuple[Stayed, ...]
    one_sided: tuple[str, ...] = ()

    def sentences(self) -> list[str]:
        """All of it in plain words, most important first."""
        return [
            self._headline(),
            *([_accuracy_said(self.accuracy)] if self.accuracy else []),
            f"The prediction changed on {_count(len(self.changed), 'picture')} of {self.pictures:,}.",
            *(f"Asked in one audit only, so not compared: {key}." for key in self.one_sided),
        ]

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "before": self.before,
            "after": self.after,
            "models": list(self.models),
            "pictures": self.pictures,
            "says": self.sentences(),
            "accuracy": None if self.accuracy is None else asdict(self.accuracy),
            "gone": [_told(finding) for finding in self.gone],
            "new": [_told(finding) for finding in self.new],
            "stayed": [
                {
                    "how": one.how,
                    "moved": None if one.moved is None else asdict(one.moved),
                    "before": _told(one.before),
                    "after": _told(one.after),
                }
                for one in self.stayed
            ],
            "changed": [asdict(one) for one in self.changed],
            "asked_in_one_audit_only": list(self.one_sided),
        }

    def _headline(self) -> str:
        kinds = {"gone": len(self.gone), "new": len(self.new), "stayed": len(self.stayed)}
        if not any(kinds.values()):
            return "Neither audit found anything."
        told = ", ".join(f"{number} {kind}" for kind, number in kinds.items())
        return f"Findings: {told}."


def compare(before: str | Path, after: str | Path) -> Comparison:
    """Two audits by their folders."""
    return compared(Version.read(before), Version.read(after))


def compared(before: Version, after: Version) -> Comparison:
    """The two side by side; refused where their data differ."""
    _same_data(before, after)
    asked = set(before.asked) & set(after.asked)
    old, new = ([f for f in version.findings if f.playbook in asked] for version in (before, after))
    pairs = _matched(old, new)
    paired = {id(finding) for pair in pairs for finding in pair}
    return Comparison(
        before.name,
        after.name,
        (before.model, after.model),
        len(before.pictures),
        _accuracy(before.right, after.right),
        tuple(_changed(before, after)),
        gone=tuple(f for f in old if id(f) not in paired),
        new=tuple(f for f in new if id(f) not in paired),
        stayed=tuple(Stayed(a, b, _moved(a, b)) for a, b in pairs),
        one_sided=tuple(sorted(set(before.asked) ^ set(after.asked))),
    )


def _same_data(before: Version, after: Version) -> None:
    both = f"'{before.name}' and '{after.name}'"
    if why := _difference(before, after):
        raise InvalidArgument(f"The audits {both} are of different data ({why}), so they cannot be compared.")
    if number := _unlike(before.labels, after.labels):
        raise InvalidArgument(
            f"The audits {both} have different labels for {_count(number, 'picture')}, so they cannot be "
            "compared; audit both with the same labels."
        )


def _difference(before: Version, after: Version) -> str | None:
    """Between the pictures, in words; None where there is none."""
    if len(before.pictures) != len(after.pictures):
        return f"{len(before.pictures):,} and {len(after.pictures):,} pictures"
    for number, (one, other) in enumerate(zip(before.pictures, after.pictures, strict=True), start=1):
        if one != other:
            return f"picture {number:,} is '{one}' in the first and '{other}' in the second"
    if number := _unlike(before.digests, after.digests):
        return f"the same names, but other bytes in {_count(number, 'picture')}"
    return None


def _unlike(before: Sequence[Any], after: Sequence[Any]) -> int:
    return sum(one != other for one, other in zip(before, after, strict=True))


def _changed(before: Version, after: Version) -> Iterator[Changed]:
    said = zip(before.pictures, before.labels, before.predicted, after.predicted, strict=True)
    for picture, label, one, other in said:
        if one is not None and other is not None and one != other:
            yield Changed(picture, label, one, other)


def _accuracy(before: Sequence[bool | None], after: Sequence[bool | None]) -> Accuracy | None:
    known = [
        (one, other)
        for one, other in zip(before, after, strict=True)
        if one is not None and other is not None
    ]
    if not known:
        return None
    right = np.array(known)  # (n, 2)
    lost = int((right[:, 0] & ~right[:, 1]).sum())
    won = int((right[:, 1] & ~right[:, 0]).sum())
    low, high = paired_difference(won, lost, len(right))
    return Accuracy(
        len(right),
        float(right[:, 0].mean()),
        float(right[:, 1].mean()),
        (won - lost) / len(right),
        low,
        high,
        mcnemar(won, lost),
    )


def _matched(old: Sequence[Finding], new: Sequence[Finding]) -> list[tuple[Finding, Finding]]:
    """Findings of both: those of one key first, then, of one playbook and class, those of one region."""
    left, pairs = list(new), []
    waiting = []
    for finding in old:
        same = next((f for f in left if _key(f) == _key(finding) and _agree(finding, f)), None)
        if same is None:
            waiting.append(finding)
        else:
            left.remove(same)
            pairs.append((finding, same))
    for finding in waiting:
        candidates = [f for f in left if (f.playbook, f.label) == (finding.playbook, finding.label)]
        best = max(candidates, key=lambda f: _overlap(finding, f) or 0, default=None)
        if best is not None and (_overlap(finding, best) or 0) >= SAME_REGION:
            left.remove(best)
            pairs.append((finding, best))
    return pairs


def _key(finding: Finding) -> tuple[str, str]:
    return finding.playbook, finding.key


def _agree(one: Finding, other: Finding) -> bool:
    """A key may be no more than a number: findings of one key may not lie in different places."""
    overlap = _overlap(one, other)
    return one.label == other.label and (overlap is None or overlap >= SAME_REGION)


def _overlap(one: Finding, other: Finding) -> float | None:
    """Of what they share, the part of what either covers (0 to 1); None where they have no regions alike."""
    a, b = (finding.arrays.get("region") for finding in (one, other))
    if a is None or b is None or a.shape != b.shape:
        return None
    together = float(np.maximum(a, b).sum())
    return float(np.minimum(a, b).sum()) / together if together else None


def _moved(before: Finding, after: Finding) -> Effect | None:
    """Of how much larger the main effect has become, the interval from those of both (Zou & Donner 2008)."""
    if not before.effects or not after.effects:
        return None
    a, b = before.effects[0], after.effects[0]
    if (a.name, a.unit) != (b.name, b.unit):
        return None
    sign = -1 if a.value < 0 else 1
    if sign < 0:
        a, b = _negated(a), _negated(b)
    value = b.value - a.value
    return Effect(
        a.name,
        value,
        value - hypot(b.value - b.low, a.high - a.value),
        value + hypot(b.high - b.value, a.value - a.low),
        a.unit,
        min(a.inputs, b.inputs),
    )


def _negated(effect: Effect) -> Effect:
    return Effect(effect.name, -effect.value, -effect.high, -effect.low, effect.unit, effect.inputs)


def _told(finding: Finding) -> Mapping[str, Any]:
    return {
        "playbook": finding.playbook,
        "key": finding.key,
        "label": finding.label,
        "severity": finding.severity,
        "claim": finding.claim,
        "prevalence": finding.prevalence,
        "effects": [asdict(effect) for effect in finding.effects],
    }


def _accuracy_said(found: Accuracy) -> str:
    points = f"{100 * found.difference:+.1f} points [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
    right = f"Right on {percent(found.before, 1)} of {_count(found.pictures, 'labelled picture')} before and"
    if found.difference == 0:
        return f"{right} as many after: {points}."
    doubt = "" if found.p <= 0.05 else "; chance alone may account for that"
    return f"{right} {percent(found.after, 1)} after: {points}, p = {found.p:.2g}{doubt}."


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
