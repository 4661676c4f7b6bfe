"""Removal: parts hidden one after the other in a map's order, and how the score falls.

What deletion, insertion, IROF, ROAD and region perturbation share; each is a `Protocol`. A state, the set of
parts still shown, is scored once per input, fill and grouping, whichever check, map or control asks for it
first. Ties in a map are broken by one random order of the parts, the same for a map and its shifted copies.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from underhood.checks.batch import Batch, Rows
from underhood.checks.card import Direction
from underhood.checks.controls import COUNT, controls, unclear
from underhood.checks.correlated import KINDS, NO_PLACES, NOT_FINITE, Kind, check_choice, on_places
from underhood.checks.intervals import Against, against
from underhood.checks.probes import grouped, moved_sums, pooled
from underhood.checks.reading import Reading, undefined
from underhood.engine import Run
from underhood.engine.run import Shared
from underhood.errors import InvalidArgument, Unfit
from underhood.inputs.baseline import Baseline, BaselineLike, as_baseline
from underhood.inputs.grouping import Grouping, Labels, as_grouping, elements, places
from underhood.inputs.players import Players, check_grouping, players
from underhood.inputs.random import PROBES, generator
from underhood.methods.coalitions import Game
from underhood.models import Class, Target
from underhood.models.target import Difference, Output, PerInput

Removed = Literal["MoRF", "LeRF"]  # most, or least relevant first
Parts = Grouping | Tensor | Sequence[Grouping | Tensor] | int | Literal["elements"] | None
Best = Literal["greedy"] | None
Along = Literal["places", "parts"]

MOST = 128  # parts of which a greedy order is sought
TIES = 20  # stream of the order that breaks ties
UNMOVED = "it makes no difference to the score which of these parts are hidden"
NO_CLASS = "it reads a class's probability, and the target is not a class"


@dataclass(frozen=True)
class Curve:
    """Scores of K maps (K, n + 1) against the share that is hidden, (K, n + 1), from 0 on."""

    hidden: Tensor
    scores: Tensor

    @property
    def area(self) -> Tensor:
        """∫ S ds by trapezoids; per share, where not all is hidden at the end. (K,)"""
        return torch.trapezoid(self.scores, self.hidden, dim=1) / self.hidden[:, -1]


Curves = Mapping[Removed, Curve]


@dataclass(frozen=True)
class Protocol:
    """How parts are removed, and what is read off the curve.

    fill:     what stands for hidden parts.
    grouping: the parts: a `Grouping` or labels, one for all inputs or a list with one for each; a number of
              superpixels; "elements"; or None for about 7 × 7 patches of a picture, else the elements.
    counts:   of a number of parts, how many of them are hidden at each step, from 1 or more on.
    orders:   in which orders; both share the map's ranking.
    figure:   of the curves in these orders, one figure for each of K maps.
    along:    the share hidden is that of "places", or of "parts".
    pool:     a part's rank follows from the "mean" or the "sum" of the map over it.
    output:   what is read: the target "as asked", or its "probability".
    kind:     "signed", or "magnitude" of the map.
    shifts:   shifted copies of the map to compare it with; with 0, no controls either.
    best:     how the best order is sought.
    """

    fill: Baseline
    grouping: Parts
    counts: Callable[[int], list[int]]
    orders: tuple[Removed, ...]
    figure: Callable[[Curves], Tensor]
    better: Direction = "higher"
    along: Along = "places"
    pool: Literal["mean", "sum"] = "mean"
    output: Literal["as asked", "probability"] = "as asked"
    kind: Kind = "signed"
    shifts: int = COUNT
    best: Best = "greedy"


@dataclass
class Ground:
    """One input's game, and what is found for it whatever the map."""

    game: Game
    sizes: Tensor  # (G,) places in each part
    ties: Tensor  # (G,) parts in random order
    greedy: dict[Any, Tensor]  # order by counts and direction

    @property
    def parts(self) -> Labels:
        return self.game.players.groups

    def orders(self, held: Tensor) -> Tensor:
        """Parts by what maps hold of them (K, G), most first; ties at random."""
        return self.ties[held[:, self.ties].argsort(dim=1, descending=True, stable=True)]

    def curve(self, orders: Tensor, counts: Sequence[int], along: Along) -> Curve:
        """With nothing, then `counts` of the first parts of each order (K, G) hidden."""
        hidden = torch.tensor(counts)
        shown = orders.argsort(1)[:, None] >= hidden[:, None]  # (K, n, G)
        scores = self.game.worth(shown.flatten(0, 1)).reshape(len(orders), -1)
        sizes = self.sizes if along == "places" else torch.ones_like(self.sizes)
        shares = sizes[orders].double().cumsum(1)[:, hidden - 1] / sizes.sum()
        whole = scores.new_full((len(orders), 1), self.game.full)
        return Curve(torch.cat([torch.zeros_like(whole), shares], 1), torch.cat([whole, scores], 1))

    def best_order(self, counts: Sequence[int], order: Removed) -> Tensor:
        """Greedily: at each step those parts whose loss costs the score most (LeRF: least), (G,)."""
        key = (tuple(counts), order)
        if key not in self.greedy:
            self.greedy[key] = self._sought(counts, most=order == "MoRF")
        return self.greedy[key]

    def _sought(self, counts: Sequence[int], *, most: bool) -> Tensor:
        shown, found, done = torch.ones(len(self.ties), dtype=torch.bool), torch.zeros(0).long(), 0
        for count in counts:
            left = shown.nonzero().flatten()
            if count - done < len(left):
                without = shown.repeat(len(left), 1)
                without[torch.arange(len(left)), left] = False
                left = left[self.game.worth(without).argsort(descending=not most, stable=True)]
            found, done = torch.cat([found, left[: count - done]]), count
            shown[found] = False
        return torch.cat([found, shown.nonzero().flatten()])


def removed(batch: Batch, protocol: Protocol) -> list[Reading]:
    """A reading for each explanation."""
    maps = on_places(batch)
    if maps is None:
        return [undefined(NO_PLACES)] * len(batch)
    try:
        every = grounds(batch, protocol.fill, protocol.grouping, protocol.output)
    except Unfit as error:
        return [undefined(str(error))] * len(batch)
    others = controls(maps, batch.run.inputs, batch.run.seed)
    rows = ((maps[i : i + 1], {name: c[i : i + 1] for name, c in others.items()}) for i in range(len(batch)))
    return [_read(g, one, them, protocol, batch.run.seed) for g, (one, them) in zip(every, rows, strict=True)]


def _read(
    ground: Ground, own: Tensor, others: Mapping[str, Tensor], protocol: Protocol, seed: int
) -> Reading:
    """Of one map (1, *places)."""
    if not own.isfinite().all():
        return undefined(NOT_FINITE)
    log = ground.game.run.engine.log
    before, counts = log.calls, protocol.counts(ground.parts.count)
    compared = _compared(own, others, protocol)
    held = [pooled(one, ground.parts) for one in compared.values()]
    if protocol.shifts:
        shown = compared["own"]
        held.append(moved_sums(shown, ground.parts, protocol.shifts, seed)[:, 0])
    relevance = torch.cat(held)  # (K, G)
    if protocol.pool == "mean":
        relevance = relevance / ground.sizes
    orders = ground.orders(relevance)
    curves = _curves(ground, dict.fromkeys(protocol.orders, orders), counts, protocol.along)
    if _unmoved(curves):
        return undefined(UNMOVED, calls=log.calls - before)
    try:
        figures = protocol.figure(curves)
    except Unfit as error:
        return undefined(str(error), calls=log.calls - before)
    best = _best(ground, protocol, counts)
    value, *rest = figures.tolist()
    named, shifted = dict(zip([*compared][1:], rest, strict=False)), rest[len(compared) - 1 :]
    stands = against(value, shifted, value if best is None else best, protocol.better)
    tied = _tied(relevance[0])
    return Reading(
        value,
        error=0.0 if tied == 0 else None,
        controls={name: named[name] for name in others if name in named},
        p=stands.p,
        skill=None if best is None or not _ahead(best, stands.mean, protocol.better) else stands.skill,
        passed=stands.passed,
        sentence=_sentence(protocol, value, shifted, stands, tied),
        calls=log.calls - before,
        details={
            "curves": {order: _told(curve, len(compared)) for order, curve in curves.items()},
            "shifted_mean": stands.mean,
            "best": best,
            **{name: value for name, value in named.items() if name not in others},
            "tied": tied,
            "parts": ground.game.players.words,
            "fill": protocol.fill.name,
            "precision": log.precision,
            "unit": "probability" if protocol.output == "probability" else "score",
        },
    )


def _curves(
    ground: Ground, orders: Mapping[Removed, Tensor], counts: Sequence[int], along: Along
) -> dict[Removed, Curve]:
    """The curves of orders (K, G), each given most relevant first."""
    return {
        order: ground.curve(given if order == "MoRF" else given.flip(1), counts, along)
        for order, given in orders.items()
    }


def _best(ground: Ground, protocol: Protocol, counts: list[int]) -> float | None:
    if protocol.best is None or len(ground.sizes) > MOST:
        return None
    found = {
        order: ground.curve(ground.best_order(counts, order)[None], counts, protocol.along)
        for order in protocol.orders
    }
    return float(protocol.figure(found)[0])


def _ahead(best: float, mean: float | None, better: Direction) -> bool:
    return mean is not None and (best > mean if better == "higher" else best < mean)


def _compared(own: Tensor, others: Mapping[str, Tensor], protocol: Protocol) -> dict[str, Tensor]:
    """The map that is asked about, the same of the other kind, and controls; each (1, *places)."""
    kinds = {"signed": own, "magnitude": own.abs()}
    found = {"own": kinds.pop(protocol.kind)}
    return {**found, **kinds, **others} if protocol.shifts else found


def _told(curve: Curve, others: int) -> dict[str, list[float]]:
    """The map's own curve, and the mean of those from number `others` on, its shifted copies."""
    own = {"hidden": curve.hidden[0].tolist(), "score": curve.scores[0].tolist()}
    shifted = curve.scores[others:]
    return own | ({"shifted": shifted.mean(0).tolist()} if len(shifted) else {})


def _unmoved(curves: Curves) -> bool:
    """Whether no score differs from another, beyond rounding in float32."""
    scores = torch.cat([c.scores.flatten() for c in curves.values()])
    return bool(scores.amax() - scores.amin() <= 1e-6 * scores.abs().amax())


def _tied(held: Tensor) -> float:
    """The share of parts (G,) of which a map holds as much as of another one."""
    _, counts = held.unique(return_counts=True)
    return float(counts[counts > 1].sum()) / len(held)


def _sentence(protocol: Protocol, value: float, shifted: list[float], stands: Against, tied: float) -> str:
    first = {
        ("MoRF", "LeRF"): "Hiding what the map calls important, rather than the rest,",
        ("MoRF",): "Hiding what the map calls important",
        ("LeRF",): "Showing what the map calls important",
    }[protocol.orders]
    ties = f" {tied:.0%} of its parts are tied, and were taken in random order." if tied > 0.05 else ""
    if stands.p is None:
        return f"{first} gives a figure of {value:.3g}; no shifted copies were tried.{ties}"
    as_good = sum(s >= value if protocol.better == "higher" else s <= value for s in shifted)
    beside = f"{as_good} of {len(shifted)} shifted copies of the map do as well, p = {stands.p:.3f}"
    if stands.passed is None:
        return f"{first} gives a figure of {value:.3g} ({beside}): {unclear(len(shifted))}.{ties}"
    effect = "matters to the score" if stands.passed else "matters to the score no more than by chance"
    return f"{first} {effect} (figure {value:.3g}; {beside}).{ties}"


def even_counts(parts: int, steps: int | None) -> list[int]:
    """How many parts are hidden after each of so many even steps, or one by one."""
    ends = np.linspace(0, parts, min(steps or parts, parts) + 1).round().astype(int)
    return [int(end) for end in ends[1:]]


# -- inputs, their parts and games -------------------------------------------------------------------


def grounds(batch: Batch, fill: Baseline, grouping: Parts, output: str = "as asked") -> list[Ground]:
    """Of each input, kept for all methods and checks with the same fill, parts and output."""
    key = ("removal", fill, tuple(grouping) if isinstance(grouping, list) else grouping, output)
    if key not in batch.memory:
        run = batch.run if output == "as asked" else _probability(batch.run)
        run.score  # noqa: B018 - once for the whole batch
        every = zip(run.each(), _players(batch, grouping), strict=True)
        batch.memory[key] = [_ground(Game(one, parts, fill), run.seed) for one, parts in every]
    found: list[Ground] = batch.memory[key]
    return found


def _ground(game: Game, seed: int) -> Ground:
    parts = game.players.groups
    ties = torch.from_numpy(generator(seed, PROBES, TIES).permutation(parts.count))
    return Ground(game, torch.bincount(parts.numbers.flatten()), ties, {})


def _players(batch: Batch, grouping: Parts) -> list[Players]:
    shape = places(batch.run.inputs)
    if grouping is None:
        groups = grouped(batch)
        return [Players(groups, f"{groups.count} {'patches' if len(shape) == 2 else 'elements'}")] * len(
            batch
        )
    if isinstance(grouping, str):
        groups = elements(shape)
        return [Players(groups, f"{groups.count} elements")] * len(batch)
    if isinstance(grouping, Grouping | Tensor):
        grouping = as_grouping(grouping, shape)
    return players(batch.model, batch.run.inputs, grouping, 0)


def check_removal(fill: BaselineLike, grouping: Parts, kind: Kind, shifts: int) -> None:
    """Refuse, before anything runs, parameters by which nothing could be removed."""
    if shifts < 0:
        raise InvalidArgument(f"There are no {shifts} shifted copies; give 0 or more.")
    as_baseline(fill)
    check_parts(grouping)
    check_choice("kind of map", kind, KINDS)


def check_parts(grouping: Parts) -> None:
    """Refuse, before anything runs, what no input could be parted by."""
    if isinstance(grouping, str):
        if grouping != "elements":
            raise InvalidArgument(
                f'Parts are labels, a number of superpixels or "elements", not {grouping!r}.'
            )
        return
    check_grouping(grouping)


def _probability(run: Run) -> Run:
    return Run(run.engine, run.inputs, as_probability(run.target), Shared(run.outputs))


def as_probability(target: Target) -> Target:
    """The same target, read after the softmax."""
    output: Output = "probability"
    if isinstance(target, PerInput | Class):
        return replace(target, output=output)
    if isinstance(target, Difference):
        return Difference(as_probability(target.of), as_probability(target.against))
    if isinstance(target, Rows):
        return replace(target, targets=tuple(as_probability(one) for one in target.targets))
    raise Unfit(NO_CLASS)
