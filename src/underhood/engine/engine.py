"""`Engine`: the only code that runs the network."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from underhood.engine import passes
from underhood.engine import precision as precisions
from underhood.engine.alike import Alike, alike
from underhood.engine.attention import Fold, attend, residual_shares
from underhood.engine.batches import Inputs, blocks, even, in_batches
from underhood.engine.budget import Footprint, footprint, micro_batch, parse_memory
from underhood.engine.intercept import Rules
from underhood.engine.partial import partial_scores
from underhood.engine.passes import Gradients, Log
from underhood.engine.reduce import Reduce
from underhood.engine.resume import resumed_scores
from underhood.engine.settings import Precision, Settings, pick_device
from underhood.engine.standin import Form, stand_in
from underhood.errors import BadModel
from underhood.inputs.variants import Variants
from underhood.models import Class, Model, Target
from underhood.models.seen import Seen

if TYPE_CHECKING:
    from underhood.engine.inside import Given

PREDICTED = Class()
Take = Callable[[Gradients, Tensor, Tensor], Tensor]  # of a micro-batch, rows, numbers
Step = Callable[[nn.Module, Tensor, Tensor, Tensor], Any]  # network, micro-batch, rows, numbers


def _never() -> bool:
    return False


class Engine:
    """Runs one model: in micro-batches, in a chosen precision, on a chosen device.

    Results are float32 on the CPU. The user's module is never touched (see `standin`).
    """

    def __init__(self, model: Model, settings: Settings = Settings(), asked: int = 1):  # noqa: B008 - frozen
        """asked: how many targets each input is asked about; it then comes so many times, but runs once."""
        self.model, self.settings, self.log, self.asked = model, settings, Log(), asked
        self.device = pick_device(settings.device, model.module)
        self.seen: Seen | None = None
        self._footprints: dict[tuple[int, ...], Footprint] = {}  # of inputs, by their shape
        convolutional = any(isinstance(m, nn.Conv2d) for m in model.module.modules())
        self.form = Form(self.device, torch.float32, channels_last=convolutional)

    def outputs(self, inputs: Inputs) -> Tensor:
        """The model's scores (n, C)."""

        def step(module: nn.Module, x: Tensor, *_: Tensor) -> Tensor:
            with torch.inference_mode():
                if same := self._same(x):
                    return passes.as_result(passes.forward(module, x[same.first], self.log)[same.of])
                return passes.as_result(passes.forward(module, x, self.log))

        return torch.cat(list(self._over(inputs, Footprint.forward, self.form, step)))

    def scores(
        self, inputs: Inputs, target: Target = PREDICTED, *, precision: Precision | None = None
    ) -> Tensor:
        """The target's score of each input, (n,), in the order of `Variants`.

        precision: of these passes, where the settings' is not wanted.
        """
        form = self._forward_form(inputs, target, precision or self.settings.precision)
        found = partial_scores(self, inputs, target, form) if isinstance(inputs, Variants) else None
        return self._scores(inputs, target, form) if found is None else found

    def scores_given(self, inputs: Variants, target: Target, given: "Given") -> Tensor:
        """The target's score (n,) where `given` activations replace a layer's."""

        def step(module: nn.Module, x: Tensor, rows: Tensor, numbers: Tensor) -> Tensor:
            with given.on(module, rows, numbers, self.form):
                return passes.score(module, x, target.rows(rows), self.log)

        return torch.cat(list(self._over(inputs, Footprint.forward, self.form, step)))

    def scores_from(
        self, layer: str, inputs: Tensor, activations: Variants, target: Target = PREDICTED
    ) -> Tensor:
        """The target's score where a layer's output is replaced by variants of it, in their order.

        What runs below the layer runs once for each input (see `resume`).
        """
        return resumed_scores(self, layer, inputs, activations, target)

    def gradients(
        self,
        inputs: Inputs,
        target: Target = PREDICTED,
        *,
        at: Sequence[str] = (),
        reduce: Reduce | None = None,
        rules: Rules | None = None,
        reference: Variants | None = None,
        of: Take | None = None,
        given: "Given | None" = None,
    ) -> Gradients | None:
        """Gradients of the score by the inputs, or by the layers `at`.

        rules:     of a modified backward pass; what comes back is then theirs rather than a gradient.
        reference: variants, numbered like the inputs, that such rules compare them with.
        given:     activations that replace a layer's, in variants numbered like the inputs.

        With layers, no backward pass runs below the first of them and no graph is kept there. With
        `reduce`, input gradients, or what `of` takes of a micro-batch, go into it instead of being kept,
        and None is returned.
        """

        def step(module: nn.Module, x: Tensor, rows: Tensor, numbers: Tensor) -> Gradients | None:
            other = self.form.ready(reference.make(rows, numbers)) if reference else None
            with given.on(module, rows, numbers, self.form) if given else nullcontext():
                same = self._same(x) if rules is None and given is None else None
                if same:
                    found = passes.differentiate_alike(module, x, target.rows(rows), at, self.log, same)
                else:
                    found = passes.differentiate(module, x, target.rows(rows), at, self.log, rules, other)
            if reduce is None:
                return found
            reduce.update(of(found, rows, numbers) if of else found.gradients[0], rows, numbers)
            return None

        done = (lambda: reduce.done) if reduce else _never
        times = rules.memory if rules else 1
        lean = rules is None

        def cost(footprint: Footprint) -> int:
            return int(times * footprint.gradient(at, lean=lean))

        parts = list(self._over(inputs, cost, self.form, step, done))
        return None if reduce else _joined([part for part in parts if part is not None])

    def attentions(
        self, inputs: Inputs, target: Target, fold: Fold, *, gradients: bool = False
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """What `fold` makes of every layer's attention, (n, …) each; S (n,) and the scores (n, C).

        gradients: also ∂S/∂A of every layer, by a backward pass.
        """

        def step(module: nn.Module, x: Tensor, rows: Tensor, _: Tensor) -> dict[str, Tensor]:
            found, s, outputs = attend(module, x, rows, target, self.log, gradients=gradients)
            return {name: passes.as_result(t) for name, t in {**fold(found), "": s, " ": outputs}.items()}

        parts = list(self._over(inputs, Footprint.attentions, self.form, step))
        joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        return joined, joined.pop(""), joined.pop(" ")

    def residual_shares(self, inputs: Tensor, target: Target, reference: Tensor) -> Tensor:
        """(n, layers): the attention's share of what leaves each block, see `attention.residual_shares`."""

        def step(module: nn.Module, x: Tensor, rows: Tensor, _: Tensor) -> Tensor:
            other = self.form.ready(reference[rows])
            return passes.as_result(residual_shares(module, x, other, target.rows(rows), self.log))

        return torch.cat(list(self._over(inputs, Footprint.attentions, self.form, step)))

    def capture(self, inputs: Inputs, layers: Sequence[str]) -> dict[str, Tensor]:
        """The outputs (n, …) of named layers."""

        def step(module: nn.Module, x: Tensor, *_: Tensor) -> dict[str, Tensor]:
            return passes.capture(module, x, layers, self.log)

        parts = list(self._over(inputs, Footprint.forward, self.form, step))
        return {name: torch.cat([part[name] for part in parts]) for name in layers}

    def read(self, inputs: Inputs, layers: Sequence[str]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The model's scores (n, C), and the outputs (n, …) of named layers, in one pass."""

        def step(module: nn.Module, x: Tensor, *_: Tensor) -> tuple[Tensor, ...]:
            return passes.read(module, x, layers, self.log)

        parts = list(self._over(inputs, Footprint.forward, self.form, step))
        outputs, *found = (_cat(group) for group in zip(*parts, strict=True))
        return outputs, tuple(found)

    def map(self, variants: Variants, function: Callable[[Tensor, Tensor], Tensor], reduce: Reduce) -> None:
        """Feed `function(tensors, rows)` of each micro-batch to `reduce`; it may use the engine itself."""

        def step(_: object, x: Tensor, rows: Tensor, numbers: Tensor) -> None:
            reduce.update(function(x, rows), rows, numbers)

        for _ in self._over(variants, Footprint.gradient, None, step, lambda: reduce.done):
            pass

    @contextmanager
    def borrowed(self, form: Form) -> Iterator[nn.Module]:
        """A stand-in for the model, remembering which weights it stands for."""
        with stand_in(self.model, form) as chosen:
            self.seen = chosen.seen
            yield chosen.module

    @property
    def digest(self) -> str:
        """The digest of the model as it ran last."""
        return self.model.digest_of(self.seen) if self.seen else self.model.digest

    def quiet(self) -> "Engine":
        """This engine, log and all, without progress: for passes that are part of another's."""
        engine = copy.copy(self)
        engine.settings = replace(self.settings, progress=None)
        return engine

    def asking(self, targets: int) -> "Engine":
        """This engine, log and all, for inputs that each come as often as there are targets."""
        engine = copy.copy(self)
        engine.asked = targets
        return engine

    def part(self, number: int, of: int) -> "Engine":
        """This engine, log and all, for one of several parts of about the same size."""
        engine, report = copy.copy(self), self.settings.progress
        if report is not None:
            scaled = lambda done, total: report(number * total + done, of * total)  # noqa: E731
            engine.settings = replace(self.settings, progress=scaled)
        return engine

    def _over(
        self,
        inputs: Inputs,
        cost: Callable[[Footprint], int],
        form: Form | None,
        step: Step,
        done: Callable[[], bool] = _never,
    ) -> Iterator[Any]:
        """Yield step(…) of each micro-batch; without a form, of the variants as they are."""
        first = 0  # number of the block's first input
        for variants in blocks(inputs):
            size = self._micro_batch(variants, cost)
            with nullcontext() if form is None else self.borrowed(form) as module:

                def run(
                    x: Tensor, rows: Tensor, numbers: Tensor, module: Any = module, at: int = first
                ) -> Any:
                    return step(module, form.ready(x) if form else x, rows + at, numbers)

                yield from in_batches(
                    variants, size, run, device=self.device, settings=self.settings, log=self.log, done=done,
                    before=first,
                )  # fmt: skip
            first += len(variants.inputs)

    def _micro_batch(self, variants: Variants, cost: Callable[[Footprint], int]) -> int:
        if len(variants) == 1:
            return 1
        one = self.footprint(variants.inputs[:1])
        limit = micro_batch(self.device, cost(one), parse_memory(self.settings.memory), most=one.cached)
        return even(len(variants), limit * self.asked, variants.group)

    def footprint(self, example: Tensor) -> Footprint:
        """What an input like this one (1, …) needs; measured once."""
        shape = tuple(example.shape)
        if shape not in self._footprints:  # of this engine: counting the layers takes time
            known = self.model.scratch.setdefault("footprints", {})
            key = (shape, self.device, sum(1 for _ in self.model.module.modules()))
            if key not in known:
                with self.borrowed(self.form) as module:
                    known[key] = _measured(module, self.form.ready(example))
            self._footprints[shape] = known[key]
        return self._footprints[shape]

    def _scores(self, inputs: Inputs, target: Target, form: Form) -> Tensor:
        def step(module: nn.Module, x: Tensor, rows: Tensor, _: Tensor) -> Tensor:
            return passes.score(module, x, target.rows(rows), self.log, self._same(x))

        return torch.cat(list(self._over(inputs, Footprint.forward, form, step)))

    def _same(self, x: Tensor) -> Alike | None:
        return alike(x) if self.asked > 1 and len(x) > 1 else None

    def _forward_form(self, inputs: Inputs, target: Target, wanted: Precision) -> Form:
        """float32, or bfloat16 where it was demanded, or is fast and faithful on a sample."""
        rough = replace(self.form, dtype=torch.bfloat16)
        if wanted == "bfloat16":
            self.log.precision = "bfloat16 (demanded)"
            return rough
        if wanted == "float32" or not isinstance(inputs, Variants):
            return self.form
        if inputs.count < precisions.WORTHWHILE or not precisions.has_bfloat16(self.device):
            return self.form
        rows, sample = precisions.sample(inputs)
        asked, quiet = target.rows(rows), self.quiet()
        exact = quiet._scores(sample, asked, self.form)
        try:
            fast = quiet._scores(sample, asked, rough)
        except BadModel as error:
            self.log.precision = f"float32 (in bfloat16: {error})"
            return self.form
        agreed, self.log.precision = precisions.judged(exact, fast, rows)
        return rough if agreed else self.form


def _measured(module: nn.Module, example: Tensor) -> Footprint:
    try:
        return footprint(module, example)
    except Exception as error:
        raise passes.forward_failed(error, example) from error


def _joined(parts: Sequence[Gradients]) -> Gradients:
    there = [p.reference_score for p in parts if p.reference_score is not None]
    return Gradients(
        tuple(_cat(group) for group in zip(*(p.gradients for p in parts), strict=True)),
        tuple(_cat(group) for group in zip(*(p.activations for p in parts), strict=True)),
        _cat([p.score for p in parts]),
        _cat([p.outputs for p in parts]),
        {name: _cat([p.totals[name] for p in parts]) for name in parts[0].totals},
        parts[0].path,
        tuple(_cat(group) for group in zip(*(p.change for p in parts), strict=True)),
        _cat(there) if there else None,
    )


def _cat(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))
