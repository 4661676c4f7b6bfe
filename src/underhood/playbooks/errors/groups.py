"""A group of errors that look alike, and whether it is more than chance."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from underhood.checks.intervals import Interval
from underhood.playbooks.errors.alike import Neighbourhood
from underhood.playbooks.errors.background import Pair
from underhood.playbooks.errors.mistakes import Mistakes
from underhood.playbooks.figures import between, percent
from underhood.playbooks.finding import Effect, Finding, Severity
from underhood.playbooks.playbook import Playbook
from underhood.playbooks.statistics import newcombe, wilson
from underhood.playbooks.survey import Indices


@dataclass(frozen=True, eq=False)
class Group:
    """One of the groups of some mistakes, by its number."""

    mistakes: Mistakes
    number: int

    @cached_property
    def at(self) -> Indices:
        """Places of its members."""
        return np.flatnonzero(self.mistakes.groups.group == self.number)

    @property
    def around(self) -> Neighbourhood:
        return self.mistakes.groups.around[self.number]

    @property
    def p(self) -> float:
        return self.mistakes.groups.p(self.number)

    @property
    def apart(self) -> Interval:
        """Of the error rate among pictures like these less that elsewhere."""
        around = self.around
        return newcombe(around.hits, around.of, around.other_hits, around.others)

    @property
    def is_systematic(self) -> bool:
        return self.p <= 0.05 and self.apart.low > 0

    @property
    def main(self) -> tuple[Pair, int]:
        """Its most frequent pair of true and predicted class, and how many members are of it."""
        return self.mistakes.pairs(self.mistakes.rows[self.at]).most_common(1)[0]

    @property
    def looked(self) -> str:
        return self.mistakes.places.of(self.at).words()

    @property
    def on_subject(self) -> float | None:
        shares = [self.mistakes.share(int(row)) for row in self.mistakes.rows[self.at]]
        known = [share for share in shares if share is not None]
        return float(np.mean(known)) if known else None

    def line(self) -> dict[str, Any]:
        (pair, count), share = self.main, self.on_subject
        return {
            "group": self.number + 1,
            "errors": len(self.at),
            "mostly": f"{self.mistakes.pair_name(pair)} ({count} of {len(self.at)})",
            "looked": self.looked,
            "on the subject": None if share is None else round(share, 4),
            "error rate of pictures like these": round(self.around.rate, 4),
            "elsewhere": round(self.around.elsewhere, 4),
            "p": round(self.p, 4),
            "more than chance": "yes" if self.is_systematic else "no",
        }

    def claim(self) -> str:
        (pair, count), around, share = self.main, self.around, self.on_subject
        low, high = wilson(around.hits, around.of)
        true, predicted = (self.mistakes.survey.classes[of] for of in pair)
        which = "" if count == len(self.at) else f"{count} of them "
        subject = "" if share is None else f"; {percent(share)} of the relevance was on the subject"
        return (
            f"{len(self.at)} errors look alike to the model, {which}{true} taken for {predicted}. It looked "
            f"{self.looked}{subject}. Of pictures like these it gets {percent(around.rate)} "
            f"{between(low, high)} wrong, of all others {percent(around.elsewhere, 1)}."
        )


def finding(group: Group, playbook: Playbook, shuffles: int, shown: int) -> Finding:
    mistakes, around = group.mistakes, group.around
    pair, _ = group.main
    true = mistakes.survey.classes[pair[0]]
    order = group.at[np.argsort(-mistakes.survey.probability[mistakes.rows[group.at]], kind="stable")]
    first, apart = order[:shown], around.rate - around.elsewhere
    rates = wilson(around.hits, around.of), wilson(around.other_hits, around.others)
    return Finding(
        playbook.key,
        f"group of errors {group.number + 1}: {mistakes.pair_name(pair)}",
        group.claim(),
        _severity(apart),
        (
            Effect("error rate", around.rate, *rates[0], "share", around.of, around.elsewhere, *rates[1]),
            Effect("error rate beyond that of all others", apart, *group.apart, "share", around.of),
        ),
        mistakes.numbers(mistakes.rows[order]),
        f"What is wrong and what is right was shuffled {shuffles} times among {len(mistakes.compared)} "
        f"labelled pictures, and the errors were grouped again: some group then stands out so far with "
        f"p = {group.p:.3f}.",
        f"Look at these pictures side by side for what they share, check their labels, and train on more "
        f"pictures of {true} that have it.",
        prevalence=mistakes.prevalence(len(group.at)),
        masks=mistakes.regions(first),
        arrays={"region": mistakes.often(group.at), **mistakes.arrays(first)},
        details={
            "pairs": {
                mistakes.pair_name(pair): count
                for pair, count in mistakes.pairs(mistakes.rows[group.at]).most_common()
            },
            "p": group.p,
            "surprise": around.surprise,
        },
    )


def _severity(apart: float) -> Severity:
    return "high" if apart >= 0.3 else "medium" if apart >= 0.1 else "low"
