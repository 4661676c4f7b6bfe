"""Is there something to explain? How sure the model is, and whether its score needs the input at all.

The margin is (p - q) / (p + q), p the probability of the class asked about and q that of its strongest rival:
it depends on their scores alone, tanh((S_p - S_q) / 2), and so means the same for two classes as for a
thousand. Whether the input matters is told by the score over empty inputs a (all zero, grey, blurred beyond
recognition, noise),

    e = d / √(d² + s²),   d = S(x) - mean S(a),   s = standard deviation of S(a):

0 where the score is what it is for empty inputs, ±0.7 where it differs from them as they do from each other,
near ±1 where it is far from all of them. An untrained model is undecided, and says much the same of
everything: no map of it has much to explain.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from underhood.checks.batch import Batch, Rows
from underhood.checks.card import CheckCard
from underhood.checks.check import Check
from underhood.checks.reading import Reading, undefined
from underhood.errors import InvalidArgument
from underhood.inputs import Baseline, Blur, Constant, Noise, Variants, Zeros
from underhood.methods import Explanation
from underhood.models import Class, Prediction, Target
from underhood.models.target import Difference, Each, PerInput

NO_CLASSES = "the model has a single output and no classes, so that there is no probability"
MATTERS = 0.5**0.5  # |e| of a score as far from those of empty inputs as they are from each other
SMALL = 0.1  # |S(x) - S(a)| as a share of |S(x)|, up to which it is much the same


@dataclass(frozen=True)
class Decision(Check):
    """How far the class asked about is ahead of its strongest rival, (p - q) / (p + q), -1 to 1.

    least: margin below which the model is called hardly decided.

    Of a contrast, its two classes are compared alone; of a unit or a function of the scores, the predicted
    class and the next. `details` tell whether the input matters ("effect"), also where there are no classes.
    """

    least: float = 0.2

    key = "decision"

    def __post_init__(self) -> None:
        if not 0 <= self.least <= 1:
            raise InvalidArgument(f"The least margin lies between 0 and 1, not at {self.least}.")

    @property
    def card(self) -> CheckCard:
        return DECISION

    def read(self, batch: Batch) -> Sequence[Reading]:
        before = batch.run.engine.log.calls
        key = ("decision", "scores of empty inputs")
        if key not in batch.memory:
            batch.memory[key] = _of_empty(batch)
        names, empty = batch.memory[key]  # (n, B)
        score = batch.run.score
        calls = (batch.run.engine.log.calls - before) / len(batch)
        return [
            self._reading(explanation, float(score[row]), names, empty[:, row], calls)
            for row, explanation in enumerate(batch.explanations)
        ]

    def _reading(
        self, explanation: Explanation, score: float, names: Sequence[str], empty: Tensor, calls: float
    ) -> Reading:
        effect, difference = _effect(score, empty.double())
        details: dict[str, Any] = {
            "score": score,
            "effect": effect,
            "difference": difference,
            "empty": [list(pair) for pair in zip(names, empty.tolist(), strict=True)],
        }
        about = "" if effect is None or abs(effect) > MATTERS else f" {_of_no_input(score, empty)}."
        if not explanation.prediction.has_classes:
            return undefined(NO_CLASSES, calls=calls, **details)
        prediction, (of, rival, p, other) = explanation.prediction, _asked(explanation)
        margin = (p - other) / (p + other)
        details |= {
            "probability": p,
            "rival": prediction.label_of(rival),
            "rival_probability": other,
            "predicted": of == prediction.index,
        }
        decided, matters = abs(margin) >= self.least, effect is None or abs(effect) > MATTERS
        return Reading(
            margin,
            passed=False if not decided else True if margin > 0 and matters else None,
            sentence=f"{self._said(margin)} ({prediction.label_of(of)} {p:.0%}, "
            f"{prediction.label_of(rival)} {other:.0%}).{about}",
            calls=calls,
            details=details,
        )

    def _said(self, margin: float) -> str:
        if abs(margin) < self.least:
            rather = ", and rather for another class" if margin < 0 else ""
            return f"The model is hardly decided{rather}"
        return "The model is decided" if margin > 0 else "The class asked about is not the one predicted"


def _asked(explanation: Explanation) -> tuple[int, int, float, float]:
    """The class asked about and its strongest rival, with the probability of each.

    Of a contrast its two, as if there were no others; where no class is asked about, the predicted one.
    """
    assert explanation.origin is not None
    prediction, target = explanation.prediction, _single(explanation.origin.target)
    if isinstance(target, Difference):
        of, against = _class_of(_single(target.of)), _class_of(_single(target.against))
        if of is not None and against is not None:
            pair = Prediction(prediction.scores[[of, against]]).probabilities
            return of, against, float(pair[0]), float(pair[1])
    found, p = _class_of(target), prediction.probabilities
    of = prediction.index if found is None else found
    rival = next(int(c) for c in (-prediction.scores).argsort(kind="stable") if int(c) != of)
    return of, rival, float(p[of]), float(p[rival])


def _single(target: Target) -> Target:
    """The settled target of one input, out of what holds several."""
    if isinstance(target, Rows):
        return _single(target.targets[int(target.at[0])].rows(torch.zeros(1, dtype=torch.long)))
    if isinstance(target, Each):
        at, number = divmod(int(target.at[0]), len(target.targets))
        return _single(target.targets[number].rows(torch.tensor([at])))
    return target


def _class_of(target: Target) -> int | None:
    if isinstance(target, PerInput):
        return int(target.classes[0])
    return target.of if isinstance(target, Class) and isinstance(target.of, int) else None


def _effect(score: float, empty: Tensor) -> tuple[float | None, float | None]:
    """e and d, see the module's text."""
    if not len(empty):
        return None, None
    d, s = score - float(empty.mean()), float(empty.std()) if len(empty) > 1 else 0.0
    size = (d * d + s * s) ** 0.5
    return (d / size if size > 1e-9 * max(abs(score), 1e-9) else 0.0), d


def _of_no_input(score: float, empty: Tensor) -> str:
    """Why the input is not known to matter: nothing changes, or empty inputs change the score as much."""
    if float((empty - score).abs().amax()) > SMALL * abs(score):
        return "Empty inputs differ too much among themselves to tell whether the input matters"
    return "It says much the same of an empty input"


def _of_empty(batch: Batch) -> tuple[list[str], Tensor]:
    """Names and scores (n, B) of empty inputs; none of inputs that are whole numbers."""
    run = batch.run
    inputs, preprocess = run.inputs, batch.model.preprocess
    if not inputs.is_floating_point():
        return [], torch.zeros(0, len(run))
    names, values = [], []
    for baseline in _fills(inputs, grey=preprocess is not None):
        for fill in baseline.values(inputs, preprocess, run.seed):
            names.append(baseline.name)
            values.append(fill.expand_as(inputs))

    def make(rows: Tensor, numbers: Tensor) -> Tensor:
        return torch.stack([values[n][r] for n, r in zip(numbers.tolist(), rows.tolist(), strict=True)])

    return names, run.scores(Variants(inputs, len(values), make), precision="float32")


def _fills(inputs: Tensor, *, grey: bool) -> list[Baseline]:
    if inputs.ndim != 4:
        return [Zeros(), Noise(4)]
    return [Zeros(), *([Constant(0.5, "grey")] if grey else []), Blur(0.25), Noise(2)]


DECISION = CheckCard(
    name="Decision",
    question="certainty",
    asks="Is there something to explain?",
    defined="(p - q) / (p + q) of the class asked about, p, and its strongest rival, q.",
    better="higher",
    unit="none",
    range="-1 (surely another class) to 1 (surely this one)",
    controls="the score of empty inputs: zeros, grey, blurred beyond recognition, noise",
    misleads="Models are often more sure than right; a probability is what the model says, not how often it "
    "is right. Empty inputs are unlike any that it has learned from.",
    cost="4 to 5 forward passes, once for all methods",
    source="this page",
)
