"""The question asked from a layer on: its activations stand where the inputs stood."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from underhood.engine.hooks import replaced
from underhood.engine.intercept import Rules
from underhood.engine.passes import Gradients
from underhood.engine.run import Run
from underhood.engine.settings import Precision
from underhood.engine.standin import Form
from underhood.errors import InvalidArgument
from underhood.inputs.baseline import BaselineLike
from underhood.inputs.variants import Variants, as_variants
from underhood.models.layers import find_layer, first_tensor, split_call


@dataclass(frozen=True)
class Given:
    """Variants of a layer's activations, that replace what the layer gives for the same inputs."""

    layer: str
    variants: Variants

    @contextmanager
    def on(self, module: nn.Module, rows: Tensor, numbers: Tensor, form: Form) -> Iterator[None]:
        """Within, the layer gives those variants; of a layer that runs several times, the named run."""
        values = form.ready(self.variants.make(rows, numbers))
        base, call = split_call(self.layer)
        runs = 0

        def give(_module: nn.Module, _args: Any, output: Any) -> Any:
            nonlocal runs
            runs += 1
            own = first_tensor(output)
            if own is None or (call is not None and runs != call):
                return output
            if own.shape != values.shape:
                raise InvalidArgument(
                    f"Layer '{self.layer}' gives shape {tuple(own.shape[1:])}, which cannot be replaced by "
                    f"{tuple(values.shape[1:])}."
                )
            return replaced(output, own, values.clone())  # an in-place layer further on keeps off ours

        handle = find_layer(module, base).register_forward_hook(give)
        try:
            yield
        finally:
            handle.remove()


class Inside(Run):
    """A run whose `inputs` are a layer's activations (B, …) for the inputs of another.

    Whatever follows a path of inputs follows one of activations: the network below the layer is run on the
    inputs themselves, and the layer's output replaced.
    """

    def __init__(self, outer: Run, layer: str):
        (activations,) = outer.activations([layer])
        super().__init__(outer.engine, activations, outer.target)
        self.outer, self.layer, self.asked_at = outer, layer, (layer,)

    @property
    def outputs(self) -> Tensor:
        return self.outer.outputs

    @property
    def score(self) -> Tensor:
        return self.outer.score

    def gradients(
        self, at: Sequence[str] = (), rules: Rules | None = None, reference: Variants | None = None
    ) -> Gradients:
        return self.outer.gradients(at or self.asked_at, rules, reference)

    def scores(self, variants: Variants | Tensor, *, precision: Precision | None = None) -> Tensor:  # noqa: ARG002
        """Scores of variants of the activations, (count, B); always in float32."""
        inputs, given = self._given(as_variants(variants))
        found = self.engine.scores_given(inputs, self.target, given)
        return found.reshape(-1, len(self.inputs))

    def baselines(self, baseline: BaselineLike) -> Tensor:
        """The layer's activations for what stands for an absent input, (n, B, …)."""
        absent = self.outer.baselines(baseline)  # (n, B, …)
        each = Variants(self.outer.inputs, len(absent), lambda rows, numbers: absent[numbers, rows])
        found = self.engine.capture(each, [self.layer])[self.layer]  # (n · B, …)
        return found.reshape(len(absent), *self.inputs.shape)

    def selected(self, rows: Tensor) -> Run:
        return Inside(self.outer.selected(rows), self.layer)

    def _given(self, variants: Variants) -> tuple[Variants, Given]:
        """The inputs themselves, once for each variant of their activations, and these."""
        x = self.outer.inputs
        below = Variants(x, variants.count, lambda rows, _: x[rows], variants.group)
        return below, Given(self.layer, variants)


def inside(run: Run, layer: str | None) -> Run:
    """The run itself, or from a layer on."""
    return run if layer is None else Inside(run, layer)


def gradient_and_activation(found: Gradients, *_: Tensor) -> Tensor:
    """∂S/∂A and A of the first layer, (m, 2, …)."""
    return torch.stack((found.gradients[0], found.activations[0]), 1)
