"""From tests to findings, in plain sentences with their figures."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from underhood.playbooks.finding import Effect, Finding, Severity
from underhood.playbooks.shortcuts.evidence import effect
from underhood.playbooks.shortcuts.labels import by_label, in_words
from underhood.playbooks.shortcuts.looks import kinds
from underhood.playbooks.shortcuts.tested import MOSTLY, Tested
from underhood.playbooks.shortcuts.trials import Trial
from underhood.playbooks.shortcuts.words import cast, described, percent
from underhood.playbooks.survey import Survey

SHOWN = 24  # rows with a mask
WHY = {
    "place": "It lies outside the middle of the picture, where the subject is taken to be",
    "background": "What is around the subject is no part of it, and decides more than the subject does",
    "colour": "It is over the whole picture, and pictures of other classes hardly have it",
    "contrast": "It is over the whole picture, and pictures of other classes hardly have it",
    "texture": "It is over the whole picture, and pictures of other classes hardly have it",
}


def as_finding(survey: Survey, one: Tested) -> Finding:
    label = survey.classes[one.candidate.target]
    what, where = named(survey, one)
    effects, rates = _effects(one), by_label(survey, one)
    shown = one.masks[:SHOWN] if one.masks is not None else None
    return Finding(
        "shortcuts",
        f"{label}: {one.candidate.kind}",
        _claim(one, label, f"{what} {where}", effects) + in_words(rates),
        _severity(one),
        effects,
        tuple(int(survey.number[row]) for row in one.rows),
        _ruled_out(one),
        f"Look at the pictures below. If this should not decide, crop it out or balance it over the labels, "
        f"train again, and compare the two audits. Do not rely on “{label}” where it is in the picture.",
        prevalence=one.prevalence,
        label=label,
        masks=shown,
        arrays={} if one.masks is None else {"region": one.masks.mean(0, dtype=np.float32)},
        details={
            "kind": one.candidate.kind,
            "what": what,
            "where": where,
            "whole_image": None if one.masks is not None else one.candidate.kind,
            "outside_subject": one.outside,
            "novel": one.candidate.novel,
            "area": one.area,
            "p": one.p,
            "by_label": rates,
            "kinds": _kinds(survey, one),
            "net_share_turned": one.share_turned,
            "weight": one.weight,
        },
    )


def _kinds(survey: Survey, one: Tested) -> list[Mapping[str, Any]]:
    if one.masks is None:
        return []
    return kinds(survey.engine, survey.inputs(one.rows), one.masks, one.seed)


def named(survey: Survey, one: Tested) -> tuple[str, str]:
    """(what, where)"""
    if one.candidate.kind == "background":
        return "the background", "all around the subject"
    if one.masks is not None:
        return described(list(one.masks))
    if one.candidate.kind == "colour":
        return f"a colour cast ({cast(_shift(survey, one))})", "over the whole picture"
    if one.candidate.kind == "contrast":
        return "the contrast", "of the whole picture"
    return "a fine texture", "over the whole picture"


def _shift(survey: Survey, one: Tested) -> list[float]:
    """Mean colour of the carriers less that of the recipients, by channel, in the picture's units."""
    mine, theirs = (survey.inputs(rows).mean((0, 2, 3)) for rows in (one.rows, one.recipients))
    preprocess = survey.model.preprocess
    scale = preprocess.std if preprocess is not None else [1.0] * len(mine)
    return [float(d) * s for d, s in zip(mine - theirs, scale, strict=True)]


def _effects(one: Tested) -> tuple[Effect, ...]:
    found = [
        effect("removal", one.removal, "moved", "log-odds", one.seed),
        effect("transplant", one.transplant, "turned", "share", one.seed),
        effect("transplant", one.transplant, "moved", "log-odds", one.seed),
        effect("removal", one.removal, "turned", "share", one.seed),
    ]
    second = one.removal.controls.get("second fill")
    if second is not None:
        name = "removal, filled from other pictures"
        found.append(effect(name, Trial(second), "moved", "log-odds", one.seed))
    return tuple(found)


def _claim(one: Tested, label: str, thing: str, effects: Sequence[Effect]) -> str:
    removal, transplant = effects[0], effects[1]
    beside = "" if removal.control is None else f" (size-matched controls: {removal.control:z.1f})"
    pasted = "" if transplant.control is None else f" (controls: {percent(transplant.control)})"
    share = one.prevalence_interval
    verb = "pasting it on" if one.masks is not None else "giving it to"
    return (
        f"In {percent(one.prevalence)} [{100 * share.low:.0f}, {100 * share.high:.0f}] of images called "
        f"“{label}” the model relies on {thing}. "
        f"Removing it lowers the score of “{label}” by {removal.value:z.1f} "
        f"[{removal.low:z.1f}, {removal.high:z.1f}]{beside}; {verb} {transplant.inputs} other images turns "
        f"{percent(transplant.value)} of them “{label}”{pasted}. {_why(one)}."
    )


def _why(one: Tested) -> str:
    if one.candidate.novel and one.masks is not None:
        return "Hardly any picture of other classes has anything like it, though several of its own have"
    if one.candidate.kind == "place" and one.outside < MOSTLY:
        return WHY["place"].replace("lies outside", "reaches outside")
    return WHY[one.candidate.kind]


def _severity(one: Tested) -> Severity:
    if one.share_turned >= 0.5 and one.prevalence >= 0.1:
        return "high"
    return "medium" if one.share_turned >= 0.25 else "low"


def _ruled_out(one: Tested) -> str:
    placed = one.candidate.kind == "place"
    beside = "the same shape at another place and " if placed else ""
    similar = "the most similar " if placed else ""
    return (
        f"Tested on {len(one.rows)} pictures that had no part in finding it and put on {len(one.recipients)} "
        f"others, beside {beside}the same with {similar}pictures of other classes; exact sign test, "
        f"corrected for the number of things tested: p = {one.p:.2g}."
    )
