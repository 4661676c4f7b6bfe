"""The `Finding` of a part of the pictures that tells the class by itself."""

import numpy as np
from numpy.typing import NDArray

from underhood.playbooks.figures import percent
from underhood.playbooks.finding import Effect, Finding, Severity
from underhood.playbooks.leakage.seen import ENOUGH, Seen, told
from underhood.playbooks.survey import Survey

SHOWN = 24  # rows of a finding

Indices = NDArray[np.int64]


def seen_finding(survey: Survey, rows: Indices, seen: Seen, level: float) -> Finding | None:
    model, classifier = seen.stands(level)
    if not (model or classifier):
        return None
    key = seen.view.key.replace(" ", "-")
    return Finding(
        playbook="leakage",
        key=key,
        claim=_claim(seen, model, classifier),
        severity=_severity(seen, model),
        effects=tuple(_effects(seen, model)),
        rows=_rows(survey, rows, seen),
        ruled_out=f"Against the largest class ({percent(seen.by_model.majority)}) and shuffled labels "
        f"({percent(seen.by_model.shuffled)}), in {seen.by_model.rows} pictures, about as many of each; "
        f"p = {min(seen.p_model, seen.p_classifier):.2g}, corrected by Holm.",
        next_step=_next_step(seen),
        details={
            "view": seen.view.shown,
            "kept above chance": seen.kept,
            "accuracy on whole pictures": seen.whole.accuracy,
        },
    )


def _claim(seen: Seen, model: bool, classifier: bool) -> str:
    by_model, by_classifier, sentences = seen.by_model, seen.by_classifier, []
    if model:
        sentences.append(
            f"Of each picture shown only {seen.view.shown}, the model is still right in {told(by_model)} "
            f"(whole pictures: {percent(seen.whole.accuracy)}; seeing nothing: {percent(by_model.chance)})."
        )
    if classifier and by_classifier:
        reads = "A simple classifier too reads" if model else "A simple classifier reads"
        sentences.append(
            f"{reads} the label from nothing but {seen.view.shown}, rightly in {told(by_classifier)} of "
            f"pictures that it was not fitted on (seeing nothing: {percent(by_classifier.chance)})."
        )
    if not model:
        sentences.append(
            f"The data tell the class there; this model, shown no more, is right in {told(by_model)}."
        )
    return " ".join(sentences)


def _effects(seen: Seen, model: bool) -> list[Effect]:
    named = (
        ("accuracy of the model", seen.by_model),
        ("accuracy of a simple classifier", seen.by_classifier),
    )
    effects = [
        Effect(
            f"{name}, shown only {seen.view.shown}",
            m.accuracy,
            m.low,
            m.high,
            "accuracy",
            m.rows,
            control=m.shuffled,
            control_low=m.shuffled_low,
            control_high=m.shuffled_high,
        )
        for name, m in named
        if m is not None
    ]
    return effects if model else effects[::-1]


def _severity(seen: Seen, model: bool) -> Severity:
    if not seen.view.is_beside:
        return "low"
    if model:
        return "high" if seen.kept >= ENOUGH else "medium" if seen.kept >= 0.2 else "low"
    assert seen.by_classifier is not None
    room = 1 - seen.by_classifier.chance
    return "medium" if seen.by_classifier.excess >= ENOUGH * room else "low"


def _next_step(seen: Seen) -> str:
    if seen.view.is_beside:
        return (
            "Look at the pictures for what lies there and goes with the class (frames, rulers, marks, "
            "backgrounds); crop it away or vary it, train again, and see whether the accuracy holds."
        )
    return (
        "This may be right, where colour or shape alone tells the class; where details should matter, see "
        "whether light, camera or framing differs between the classes."
    )


def _rows(survey: Survey, rows: Indices, seen: Seen) -> tuple[int, ...]:
    """Those that the model gets right from the view alone, the surest (of whole pictures) first."""
    right = rows[seen.told == survey.label[rows]]
    order = np.argsort(-survey.probability[right], kind="stable")
    return tuple(int(survey.number[row]) for row in right[order][:SHOWN])
