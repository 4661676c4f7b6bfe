"""The game that LIME and every Shapley method play: which score does a coalition of groups get?

A coalition z is a row of True and False, one for each group of an input's places: the groups kept. Its
worth v(z) is the score of the input with all other groups absent, averaged over the baseline's fills.
Inputs play one by one, each with groups of its own, so that a batch equals its inputs one by one.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from torch import Tensor

from underhood.engine import Run
from underhood.engine.settings import Precision
from underhood.inputs import Absence, Baseline
from underhood.inputs.players import Players
from underhood.methods.method import Attribution

LOOK = 32  # pairs of coalitions between two looks at the error, at least


class Game:
    """v(z) of one input; no coalition is shown to the model twice."""

    def __init__(self, run: Run, players: Players, baseline: Baseline):
        self.run, self.players = run, players
        self.count = players.groups.count
        self._absence = Absence(run.inputs, baseline, run.engine.model.preprocess, run.seed)
        self._known: dict[bytes, float] = {}
        self._before = run.engine.log.forward

    @cached_property
    def full(self) -> float:
        """v of all groups: S(x)."""
        return float(self.run.score[0])

    @cached_property
    def empty(self) -> float:
        """v of none: S(x'), in float32."""
        return float(self._shown(torch.zeros(1, self.count, dtype=torch.bool), "float32")[0])

    @property
    def difference(self) -> float:
        return self.full - self.empty

    def completeness(self, values: Tensor) -> dict[str, float]:
        """How far groups' values (M,) sum to what all groups add."""
        return {
            "score_difference": self.difference,
            "completeness_gap": float(values.sum()) - self.difference,
        }

    @property
    def calls(self) -> int:
        """Inputs that the model was shown for this game, S(x) included."""
        return self.run.engine.log.forward - self._before + 1

    def worth(self, coalitions: Tensor, precision: Precision | None = None) -> Tensor:
        """v of coalitions (n, groups), bool: (n,), float64."""
        keys = [_key(row.tobytes()) for row in np.packbits(coalitions.numpy(), axis=1)]
        new = {key: at for at, key in enumerate(keys) if key not in self._known}
        if new:
            scores = self._shown(coalitions[list(new.values())], precision)
            self._known.update(zip(new, scores.tolist(), strict=True))
        return torch.tensor([self._known[key] for key in keys], dtype=torch.float64)

    def _shown(self, coalitions: Tensor, precision: Precision | None) -> Tensor:
        numbers = self.players.groups.numbers
        absent = ~coalitions

        def hidden(_: Tensor, which: Tensor) -> Tensor:
            return absent[which][:, numbers]  # (m, *places)

        variants = self._absence.variants(len(coalitions), hidden)
        return self._absence.averaged(self.run.scores(variants, precision=precision))[:, 0]


def _key(packed: bytes) -> bytes:
    """A coalition of many groups, such as single pixels, is remembered by its digest."""
    return packed if len(packed) <= 64 else blake2b(packed, digest_size=16).digest()


@dataclass(frozen=True)
class Payoff:
    """What a method gives for one game: each group's value, and its standard error where it samples.

    freedom: degrees of freedom behind the standard error.
    """

    values: Tensor
    error: Tensor | None = None
    freedom: float = float("inf")
    diagnostics: dict[str, Any] = field(default_factory=dict)

    @property
    def relative_error(self) -> float:
        """Mean standard error over the largest |value|."""
        assert self.error is not None
        return float(self.error.mean() / self.values.abs().max().clamp(min=torch.finfo().tiny))


def settled(explain: Callable[[int], Payoff], counts: Iterable[int], error: float | None) -> Payoff:
    """`explain` of the last count; or of the first that brings the relative standard error below `error`."""
    *others, last = counts
    if error is not None:
        for count in others:
            payoff = explain(count)
            if payoff.relative_error <= error:
                return payoff
    return explain(last)


def looks(first: int, last: int) -> Iterator[int]:
    """Numbers of pairs, ever further apart: the time of a regression grows faster than they do."""
    count = first
    while count < last:
        yield count
        count = max(count + LOOK, count * 9 // 8)
    yield last


def played(
    run: Run, every: Sequence[Players], baseline: Baseline, play: Callable[[Game], Payoff]
) -> Attribution:
    """`play` each input's game; every group's value on all of its places, undivided."""
    payoffs, diagnostics, labels = [], [], [players.groups for players in every]
    for one, players in zip(run.each(), every, strict=True):
        game = Game(one, players, baseline)
        payoffs.append(play(game))
        diagnostics.append(_about(game, payoffs[-1]))

    def on_places(values: Sequence[Tensor]) -> Tensor:
        return torch.cat([g.spread(v.float()[:, None]) for g, v in zip(labels, values, strict=True)])

    arrays = {"groups": torch.stack([groups.numbers.float() for groups in labels])}
    errors = [payoff.error for payoff in payoffs if payoff.error is not None]
    if errors:
        arrays["standard_error"] = on_places(errors)
        arrays["interval"] = on_places(
            [student_t(p.freedom) * e for p, e in zip(payoffs, errors, strict=True)]
        )
    return Attribution(
        on_places([payoff.values for payoff in payoffs]),
        diagnostics=diagnostics,
        no_signal=[_judged(payoff) for payoff in payoffs],
        arrays=arrays,
    )


def all_coalitions(count: int) -> Tensor:
    """Every coalition of so many groups, from none to all, (2^count, count)."""
    return torch.cartesian_prod(*[torch.tensor([False, True])] * count).reshape(-1, count)


def student_t(freedom: float) -> float:
    """The half width of a 95 % interval in standard errors (Cornish-Fisher; Abramowitz & Stegun 26.7.5)."""
    z = 1.959963985
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))


def _about(game: Game, payoff: Payoff) -> dict[str, Any]:
    sampled = {} if payoff.error is None else {"relative_standard_error": payoff.relative_error}
    return {
        "groups": game.count,
        "players": game.players.words,
        "calls": game.calls,
        "precision": game.run.engine.log.precision,
        **sampled,
        **payoff.diagnostics,
    }


def _judged(payoff: Payoff) -> str | None:
    """A value stands out at 3 standard errors, and so must the map, as of many values some do by chance."""
    values, error = payoff.values, payoff.error
    if not values.abs().max() > 0:
        return "the map is zero everywhere"
    if error is None or (
        (values.abs() > 3 * error).any() and values.square().sum() > 1.1 * error.square().sum()
    ):
        return None
    return "no group's value rises above its standard error; more samples would help"
