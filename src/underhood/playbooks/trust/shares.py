"""A method's verdicts over a sample, counted."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from underhood.checks.card import Question
from underhood.checks.verdict import NEEDED, QUESTIONS, Verdict
from underhood.methods.explain import as_methods
from underhood.playbooks.figures import percent
from underhood.playbooks.statistics import wilson

WORDS = ("corroborated", "contested", "not to be trusted")


@dataclass(frozen=True)
class Shares:
    """A method's verdicts, one for each input; their shares in the order of `WORDS`."""

    method: str
    verdicts: tuple[Verdict, ...]

    @property
    def name(self) -> str:
        """Of the method, as people call it."""
        return as_methods(self.method)[0].card.name

    @property
    def total(self) -> int:
        return len(self.verdicts)

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(sum(v.word == word for v in self.verdicts) for word in WORDS)

    def share(self, word: int = 0) -> float:
        return self.counts[word] / self.total

    def told(self, word: int = 0) -> str:
        low, high = wilson(self.counts[word], self.total)
        return f"{percent(self.share(word))} [{percent(low)}, {percent(high)}]"

    @property
    def is_tested(self) -> bool:
        """Whether all was asked that a map needs to be corroborated: of costly methods "quick" does not."""
        answered = {r.question for v in self.verdicts for r in v.reasons if r.answer is not None}
        return set(NEEDED) <= answered

    @property
    def doubt(self) -> Question | None:
        """The question that is most often answered no."""
        answers = Counter(r.question for v in self.verdicts for r in v.reasons if r.answer is False)
        return answers.most_common(1)[0][0] if answers else None

    def doubted(self) -> list[int]:
        """Which maps are not corroborated, the worst first."""
        found = [i for i, verdict in enumerate(self.verdicts) if verdict.word != WORDS[0]]
        return sorted(found, key=lambda i: self.verdicts[i].score)

    def sign_test(self, other: "Shares") -> float:
        """Two-sided p of equally many corroborated maps, on the same inputs (McNemar's exact test)."""
        from scipy.stats import binomtest

        pairs = [
            (a.word == WORDS[0], b.word == WORDS[0])
            for a, b in zip(self.verdicts, other.verdicts, strict=True)
        ]
        apart = [mine for mine, others in pairs if mine != others]
        return float(binomtest(sum(apart), len(apart)).pvalue) if apart else 1.0

    def row(self) -> dict[str, Any]:
        told = {word: self.told(number) for number, word in enumerate(WORDS)}
        against = QUESTIONS[self.doubt] if self.doubt else ""
        if not self.is_tested:
            told[WORDS[0]] = f"not asked at level {self.verdicts[0].level}"
        return {"method": self.method, "maps": self.total, **told, "most often answered no": against}


def best_beside(own: Shares, shares: Sequence[Shares]) -> Shares | None:
    """The method with most corroborated maps, where these are more than the audit's own."""
    best = max((one for one in shares if one.is_tested), key=lambda one: one.counts[0], default=own)
    return best if best.counts[0] > own.counts[0] else None
