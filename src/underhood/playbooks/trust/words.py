"""How far the audit's maps can be believed, in words."""

from collections.abc import Sequence

from underhood.checks.verdict import QUESTIONS
from underhood.playbooks.figures import percent
from underhood.playbooks.finding import Effect, Finding, Severity
from underhood.playbooks.statistics import wilson
from underhood.playbooks.trust.shares import Shares

SURE = 0.05  # p from which on another method fares better
ENOUGH = 0.5  # share of corroborated maps, below which the audit's maps need a warning


def believed(own: Shares, better: Shares | None) -> str:
    """How far the audit's maps can be believed, in a sentence or two."""
    others = f"{percent(own.share(1))} are contested and {percent(own.share(2))} are not to be trusted"
    opening = f"Of {own.total} maps of this audit (by {own.name}), {own.told()} are corroborated, {others}."
    if better is None:
        return f"{opening} No other method that was asked fares better on this model."
    p = own.sign_test(better)
    how = f"{'fares better' if p <= SURE else 'does not clearly fare better'} (p = {p:.2g})"
    return f"{opening} On the same pictures {better.name} {how}: {better.told()} are corroborated."


def doubt_finding(own: Shares, better: Shares | None, numbers: Sequence[int]) -> Finding:
    is_better = better is not None and own.sign_test(better) <= SURE
    doubted = 1 - own.share()
    low, high = wilson(own.total - own.counts[0], own.total)
    # At most medium: it is a fault of the maps, and none of the model.
    severity: Severity = "medium" if own.share(2) >= ENOUGH else "low"
    why = " What speaks for the others is too little to rely on."
    if own.doubt:
        why = f" The question most often answered no: {QUESTIONS[own.doubt]}"
    return Finding(
        playbook="trust",
        key="maps-in-doubt",
        claim=believed(own, better) + why,
        severity=severity,
        # The more, the worse: so that an audit with fewer is not taken for one that found more.
        effects=(Effect("maps not corroborated", doubted, low, high, "share", own.total),),
        rows=tuple(numbers[i] for i in own.doubted()),
        ruled_out="Each map is compared with copies of itself that are moved elsewhere, with maps of random "
        "weights and of other classes.",
        next_step="Believe what this audit shows by its maps only where a test without maps confirms it "
        "(removal and transplant, accuracy of parts)"
        + (f"; look at single pictures by {better.name}." if better and is_better else "."),
        prevalence=doubted,
        details={"against": own.doubt},
    )
