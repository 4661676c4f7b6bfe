"""Errors on which the model looks at the background, as findings and lines of a table."""

from typing import Any

import numpy as np

from underhood.playbooks.errors.background import Gaze
from underhood.playbooks.errors.mistakes import Mistakes
from underhood.playbooks.figures import between, percent
from underhood.playbooks.finding import Effect, Finding
from underhood.playbooks.playbook import Playbook


def flagged(mistakes: Mistakes) -> list[Gaze]:
    """All errors together where they are flagged; else each pair of classes that is."""
    found = [one for one in mistakes.gazes if one.less_than_right_ones or one.less_than_chance]
    return [one for one in found if one.pair is None] or found


def line(mistakes: Mistakes, one: Gaze) -> dict[str, Any]:
    apart = one.apart
    return {
        "errors": "all" if one.pair is None else mistakes.pair_name(one.pair),
        "pictures": len(one.rows),
        "relevance on the subject": round(one.relevance, 4),
        "where it is right": None if apart is None else round(apart.others, 4),
        "difference": None if apart is None else f"{apart.value:.2f} [{apart.low:.2f}, {apart.high:.2f}]",
        "p of the difference": round(one.p_apart, 4),
        "subject's share of the picture": round(one.area, 4),
        "p of less than that": round(one.p_excess, 4),
    }


def finding(mistakes: Mistakes, one: Gaze, playbook: Playbook, shown: int) -> Finding:
    which = "" if one.pair is None else f" on {mistakes.pair_name(one.pair)}"
    relevance = mistakes.on_subject.relevance[np.searchsorted(mistakes.on_subject.rows, one.rows)]
    rows = one.rows[np.argsort(relevance, kind="stable")]
    masks = mistakes.survey.masks(rows[:shown])
    assert masks is not None  # each of them has one
    return Finding(
        playbook.key,
        f"looks at background{which}",
        _claim(mistakes, one),
        "high" if one.less_than_chance else "medium",
        _effects(one),
        mistakes.numbers(rows),
        f"Compared with pictures that it rightly takes for the same classes, by shuffling within each class "
        f"(p = {one.p_apart:.3f}), and with a map that is spread evenly (p = {one.p_excess:.3f}); both "
        f"corrected for {2 * len(mistakes.gazes)} comparisons.",
        "Train on pictures whose backgrounds do not go with the class, such as subjects cut out before other "
        "backgrounds, and audit again.",
        prevalence=mistakes.prevalence(len(one.rows)),
        masks=(~masks).numpy(),
        arrays={
            "region": (~masks).float().mean(0).numpy(),
            **mistakes.arrays(np.searchsorted(mistakes.rows, rows[:shown])),
        },
        details={"p against right ones": one.p_apart, "p against an even map": one.p_excess},
    )


def _effects(one: Gaze) -> tuple[Effect, ...]:
    """By chance as much is off the subject as it leaves free; or as where it is right, where it is that which
    is exceeded. The main effect is the larger, the worse it is."""
    count, apart = len(one.rows), one.apart
    chance = one.area if one.less_than_chance or apart is None else apart.others
    off, low, high = 1 - one.relevance, 1 - one.interval.high, 1 - one.interval.low
    main = Effect(
        "relevance on the background", off, max(0.0, low), min(1.0, high), "share", count, 1 - chance
    )
    even = Effect(
        "beyond the subject's share of the picture", one.excess, *one.excess_interval, "share", count
    )
    if apart is None:
        return main, even
    return (
        main,
        even,
        Effect("beyond that where it is right", apart.value, apart.low, apart.high, "share", count),
    )


def _claim(mistakes: Mistakes, one: Gaze) -> str:
    which = "its errors" if one.pair is None else f"errors {mistakes.pair_name(one.pair)}"
    low, high = one.interval
    right = "" if one.apart is None else f"; where it rightly says the same, {percent(one.apart.others)} is"
    more = "at" if one.less_than_chance else "more at"
    return (
        f"On {which} the model looks {more} the background: {percent(one.relevance)} {between(low, high)} of "
        f"the relevance is on the subject, which covers {percent(one.area)} of the picture{right}."
    )
