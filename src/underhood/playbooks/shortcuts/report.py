"""The playbook's summary, with what would have been found, and its tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from underhood.playbooks.finding import Finding
from underhood.playbooks.shortcuts.evidence import detectable_share, detectable_shift, hardest
from underhood.playbooks.shortcuts.findings import named
from underhood.playbooks.shortcuts.position import looked_at
from underhood.playbooks.shortcuts.sampling import Chosen
from underhood.playbooks.shortcuts.tested import Tested
from underhood.playbooks.shortcuts.words import percent
from underhood.playbooks.survey import Survey

Table = Sequence[Mapping[str, Any]]


def power(found: Sequence[Tested], worth: float) -> tuple[float, float] | None:
    """(share, log-odds) that would have been told from chance with a probability of 80 % in every class: the
    worst of the transplants of things at places, by their controls' spread."""
    shares, shifts = [], []
    for one in found:
        control = hardest(one.transplant, "turned")
        if control is None or one.candidate.kind != "place":
            continue
        there = control[1][np.isfinite(control[1])]
        shares.append(detectable_share(len(there), float(there.mean()), worth))
        moved = hardest(one.transplant, "moved")
        assert moved is not None  # as of the same pictures
        spread = float(np.nanstd(moved[1], ddof=1))
        shifts.append(detectable_shift(spread, len(there)))
    if not shares or None in shares or None in shifts:
        return None
    return max(s for s in shares if s is not None), max(s for s in shifts if s is not None)


def summary(kept: Sequence[Finding], found: Sequence[Tested], worth: float) -> str:
    if kept:
        first = kept[0]
        things = "1 shortcut" if len(kept) == 1 else f"{len(kept)} shortcuts"
        return f"{things} found; the weightiest: {first.details['what']} {first.details['where']}."
    reach = power(found, worth)
    tried = sum(len(one.recipients) for one in found)
    if reach is None:
        return "No shortcut found, but there were too few pictures to say what would have been found."
    return (
        f"No shortcut found. Of the things tested, one that turns {percent(reach[0])} of the pictures it is "
        f"put on would have been told from chance with a probability of 80 %, and a shift of {reach[1]:.1f} "
        f"in log-odds from none ({tried} pictures changed). What is in very few pictures, or looks like what "
        f"pictures of other classes show, too, can be missed before it is tested."
    )


def tables(survey: Survey, looked: Sequence[Chosen], found: Sequence[Tested]) -> dict[str, Table]:
    classes = survey.classes
    groups = [
        {
            "class": classes[chosen.target],
            "pictures": chosen.of,
            "looked at": len(chosen.rows),
            "groups of maps": chosen.groups.count,
            "stability": round(chosen.groups.stability, 2),
        }
        for chosen in looked
    ]
    places = [row for chosen in looked for row in looked_at(survey, chosen.target)]
    return {
        "Pictures looked at": groups,
        "Where the model looks": places,
        "Things tested": [_row(survey, one) for one in found],
    }


def _row(survey: Survey, one: Tested) -> dict[str, Any]:
    return {
        "class": survey.classes[one.candidate.target],
        "thing": " ".join(named(survey, one)),
        "relied on": percent(one.prevalence),
        "turned": percent(float(one.transplant.change.turned.mean())),
        "beyond controls": round(one.put.value, 3),
        "at least": round(one.put.low, 3) if np.isfinite(one.put.low) else None,
        "removal": round(float(one.removal.change.moved.mean()), 2),
        "outside the middle": round(one.outside, 2),
        "p": one.p,
    }
