"""`Run`: inputs and the one question asked of them; what several steps of a method share."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from underhood.engine.attention import Fold
from underhood.engine.engine import Engine, Take
from underhood.engine.intercept import Rules
from underhood.engine.passes import Gradients
from underhood.engine.reduce import Reduce
from underhood.engine.settings import Precision
from underhood.inputs.baseline import BaselineLike, as_whole
from underhood.inputs.variants import Variants, as_variants
from underhood.models import Target

if TYPE_CHECKING:
    from underhood.engine.inside import Given


@dataclass
class Shared:
    """What is found once for inputs and target, whichever of the methods of a call asks for it first.

    Of passes at layers only the last is kept, so that it takes no more memory than one method does.
    """

    outputs: Tensor | None = None  # (B, C)
    score: Tensor | None = None  # (B,)
    at_inputs: Gradients | None = None
    at_layers: tuple[tuple[str, ...], Gradients] | None = None

    def gradients(self, at: tuple[str, ...]) -> Gradients | None:
        """Gradients that are known, at layers or (for none) at the inputs."""
        if not at:
            return self.at_inputs
        known, found = self.at_layers or ((), None)
        return found.of([known.index(name) for name in at]) if found and set(at) <= set(known) else None

    def keep(self, at: tuple[str, ...], found: Gradients) -> None:
        if at:
            self.at_layers = at, found
        else:
            self.at_inputs = found


class Run:
    """A model's inputs (B, …) with a target; what is found about them is shared.

    A target such as "the predicted class" is settled on the inputs themselves, so that variants of them
    are asked about the same class.
    """

    asked_at: tuple[str, ...] = ()  # layers whose gradients are meant where none are named

    def __init__(self, engine: Engine, inputs: Tensor, target: Target, shared: Shared | None = None):
        self.engine, self.inputs = engine, inputs
        self._target, self._shared = target.for_inputs(len(inputs)), shared or Shared()

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def seed(self) -> int:
        return self.engine.settings.seed

    @property
    def outputs(self) -> Tensor:
        """The model's scores (B, C)."""
        if self._shared.outputs is None:
            self._shared.outputs = self.engine.outputs(self.inputs)
        return self._shared.outputs

    @property
    def target(self) -> Target:
        """The target, settled."""
        return self._target if self._target.layer else self._target.fixed(self.outputs)

    @property
    def score(self) -> Tensor:
        """S(x), (B,)."""
        if self._shared.score is None:
            target = self.target
            inside = target.layer is not None
            self._shared.score = (
                self.engine.scores(self.inputs, target, precision="float32")
                if inside
                else target.score(self.outputs)
            )
        return self._shared.score

    def gradients(
        self, at: Sequence[str] = (), rules: Rules | None = None, reference: Variants | None = None
    ) -> Gradients:
        """∂S/∂x, or A and ∂S/∂A of layers, or what rules make of them; and the predictions."""
        found = None if rules else self._shared.gradients(tuple(at))
        if found is None:
            # The pass itself can settle what is predicted, but not for the reference inputs.
            settled = self._shared.outputs is not None or (
                reference is not None and not self._target.is_fixed
            )
            target = self.target if settled else self._target
            found = self.engine.gradients(self.inputs, target, at=at, rules=rules, reference=reference)
            assert found is not None
            self._shared.outputs, self._shared.score = found.outputs, found.score
            if rules is None:
                self._shared.keep(tuple(at), found)
        return found

    def activations(self, at: Sequence[str]) -> tuple[Tensor, ...]:
        """A of layers; where no pass has read them yet, one that also gives the predictions."""
        known = self._shared.gradients(tuple(at))
        if known:
            return known.activations
        self._shared.outputs, found = self.engine.read(self.inputs, at)
        return found

    def reduce_gradients(
        self,
        variants: Variants,
        reduce: Reduce,
        rules: Rules | None = None,
        reference: Variants | None = None,
        *,
        at: Sequence[str] = (),
        of: Take | None = None,
    ) -> None:
        """Feed the input gradients of variants, or what rules make of them, to `reduce`."""
        inputs, given = self._given(variants)
        self.engine.gradients(
            inputs, self.target, at=at or self.asked_at, reduce=reduce, rules=rules, reference=reference,
            of=of, given=given,
        )  # fmt: skip

    def attentions(self, fold: Fold, *, gradients: bool = False) -> dict[str, Tensor]:
        """What `fold` makes of every layer's attention (with ∂S/∂A), micro-batch by micro-batch; (B, …)."""
        target = self._target if self._shared.outputs is None else self.target
        found, self._shared.score, self._shared.outputs = self.engine.attentions(
            self.inputs, target, fold, gradients=gradients
        )
        return found

    def residual_shares(self, reference: Tensor) -> Tensor:
        """(B, layers): by patching from `reference` (B, …), the attention's share of each block's output."""
        return self.engine.residual_shares(self.inputs, self.target, reference)

    def scores(self, variants: Variants | Tensor, *, precision: Precision | None = None) -> Tensor:
        """Scores of variants, (count, B); in float32 where they are compared with `score`."""
        found = self.engine.scores(variants, self.target, precision=precision)
        return found.reshape(-1, len(self.inputs))

    def scores_from(self, layer: str, activations: Variants) -> Tensor:
        """Scores (count, B) where a layer's output is replaced by variants of it."""
        found = self.engine.scores_from(layer, self.inputs, activations, self.target)
        return found.reshape(-1, len(self.inputs))

    def map(self, variants: Variants, attribute: Callable[["Run"], Tensor], reduce: Reduce) -> None:
        """Feed what `attribute` gives for variants to `reduce`, asking each about its input's target."""
        target, quiet = self.target, self.engine.quiet()

        def on_chunk(x: Tensor, rows: Tensor) -> Tensor:
            return attribute(Run(quiet, x, target.rows(rows)))

        self.engine.map(variants, on_chunk, reduce)

    def each(self) -> Iterator["Run"]:
        """Each input on its own, for methods whose passes differ in number from input to input."""
        for row in torch.arange(len(self)).split(1):
            engine = self.engine.part(int(row), len(self))
            yield Run(engine, self.inputs[row], self.target.rows(row), Shared(self.outputs[row]))

    def walk(self, start: Tensor, steps: int, move: Callable[[Tensor, Tensor, int], Tensor]) -> None:
        """From `start` (B, …) on, points = move(points, ∂S/∂points, step): each needs the one before."""
        settings, quiet, points = self.engine.settings, self.engine.quiet(), start
        for step in range(steps):
            points = move(points, self._gradients_at(quiet, points), step)
            if settings.progress:
                settings.progress((step + 1) * len(self), steps * len(self))

    def _gradients_at(self, engine: Engine, points: Tensor) -> Tensor:
        inputs, given = self._given(as_variants(points))
        found = engine.gradients(inputs, self.target, at=self.asked_at, given=given)
        assert found is not None
        return found.gradients[0]

    def _given(self, variants: Variants) -> "tuple[Variants, Given | None]":
        """What the network takes for these variants of the inputs, and what is replaced within it."""
        return variants, None

    def baselines(self, baseline: BaselineLike) -> Tensor:
        """What stands for an absent input, (n, B, …)."""
        return as_whole(baseline).values(self.inputs, self.engine.model.preprocess, self.seed)

    def selected(self, rows: Tensor) -> "Run":
        """The same question of some of the inputs."""
        return Run(self.engine, self.inputs[rows], self.target.rows(rows))

    def zeros(self) -> Tensor:
        return torch.zeros_like(self.inputs)
