"""`Engine`: the only code that runs the network."""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from underhood.engine.budget import Kind, bytes_per_input, is_out_of_memory, micro_batch, parse_memory
from underhood.engine.hooks import StopForward, Taps
from underhood.engine.precision import (
    AGREEMENT,
    SAMPLE,
    SAMPLED_INPUTS,
    WORTHWHILE,
    agreement,
    has_bfloat16,
)
from underhood.engine.reduce import Reduce
from underhood.engine.settings import Precision, Settings, pick_device
from underhood.engine.standin import Form, stand_in
from underhood.errors import (
    BadModel,
    Cancelled,
    InvalidArgument,
    NotDifferentiable,
    OutOfMemory,
    UnderhoodError,
)
from underhood.inputs.variants import Variants, as_variants
from underhood.models import Class, Model, Target
from underhood.models.output import scores_of
from underhood.models.seen import Seen

Inputs = Tensor | Variants | Iterable[Tensor]
PREDICTED = Class()
NOT_EVEN_ONE = (
    "Not even one input at a time fits into memory; close other programs, use a smaller picture, or "
    "another device."
)
NO_GRADIENT = (
    "The model's score cannot be differentiated (it runs without gradients, or through an operation such "
    "as argmax or rounding); use a method that needs none, such as occlusion."
)


@dataclass
class Log:
    """What running the network took: for diagnostics and provenance."""

    forward: int = 0  # inputs through a forward pass
    backward: int = 0  # inputs through a backward pass
    precision: str = "float32"
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Gradients:
    """∂S/∂x of the inputs, or ∂S/∂A and A of each layer, with S and the model's scores."""

    gradients: tuple[Tensor, ...]  # (n, …) each; one per layer, or the inputs' alone
    activations: tuple[Tensor, ...]  # (n, …) for each layer
    score: Tensor  # (n,)
    outputs: Tensor  # (n, C)


class Engine:
    """Runs one model: in micro-batches, in a chosen precision, on a chosen device.

    Results are float32 on the CPU. The user's module is never touched (see `standin`).
    """

    def __init__(self, model: Model, settings: Settings = Settings()):  # noqa: B008 - frozen
        self.model, self.settings, self.log = model, settings, Log()
        self.device = pick_device(settings.device, model.module)
        self.seen: Seen | None = None
        convolutional = any(isinstance(m, nn.Conv2d) for m in model.module.modules())
        self.form = Form(self.device, torch.float32, channels_last=convolutional)

    # -- the three calls ---------------------------------------------------------------------------

    def outputs(self, inputs: Inputs) -> Tensor:
        """The model's scores (n, C)."""
        return torch.cat(list(self._over(inputs, "forward", self._scores_step(self.form, None))))

    def scores(
        self, inputs: Inputs, target: Target = PREDICTED, *, precision: Precision | None = None
    ) -> Tensor:
        """The target's score of each input, (n,), in the order of `Variants`.

        precision: of these passes, where the settings' is not wanted.
        """
        form = self._forward_form(inputs, target, precision or self.settings.precision)
        return torch.cat(list(self._over(inputs, "forward", self._scores_step(form, target))))

    def gradients(
        self,
        inputs: Inputs,
        target: Target = PREDICTED,
        *,
        at: Sequence[str] = (),
        reduce: Reduce | None = None,
    ) -> Gradients | None:
        """Gradients of the score by the inputs, or by the layers `at`.

        With layers, no backward pass runs below the first of them and no graph is kept there. With
        `reduce`, input gradients go into it instead of being kept, and None is returned.
        """

        def step(module: nn.Module, x: Tensor, rows: Tensor, numbers: Tensor) -> Gradients | None:
            found = self._differentiate(module, x, target.rows(rows), at)
            if reduce is None:
                return found
            reduce.update(found.gradients[0], rows, numbers)
            return None

        parts = list(self._over(inputs, "gradient", (self.form, step), lambda: _done(reduce)))
        return None if reduce else _joined([part for part in parts if part is not None])

    def capture(self, inputs: Inputs, layers: Sequence[str]) -> dict[str, Tensor]:
        """The outputs (n, …) of named layers."""

        def step(module: nn.Module, x: Tensor, *_: Tensor) -> dict[str, Tensor]:
            taps = Taps(layers, stop_after=True)
            with torch.inference_mode(), taps.on(module):
                try:
                    self.forward(module, x)
                except StopForward:
                    self.log.forward += len(x)
            return {name: _plain(taps[name]) for name in layers}

        parts = list(self._over(inputs, "forward", (self.form, step)))
        return {name: torch.cat([part[name] for part in parts]) for name in layers}

    def map(self, variants: Variants, function: Callable[[Tensor, Tensor], Tensor], reduce: Reduce) -> None:
        """Feed `function(tensors, rows)` of each micro-batch to `reduce`; it may use the engine itself."""

        def step(_module: nn.Module, x: Tensor, rows: Tensor, numbers: Tensor) -> None:
            reduce.update(function(x, rows), rows, numbers)

        for _ in self._over(variants, "gradient", (None, step), lambda: reduce.done):
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

    # -- one micro-batch ---------------------------------------------------------------------------

    def _scores_step(self, form: Form, target: Target | None) -> "Step":
        def step(module: nn.Module, x: Tensor, rows: Tensor, _numbers: Tensor) -> Tensor:
            if target is not None and target.layer:
                activation = self._capture_one(module, x, target.layer)
                return _plain(target.rows(rows).score(activation))
            with torch.inference_mode():
                outputs = self._checked(self.forward(module, x), x)
                return _plain(target.rows(rows).score(outputs) if target else outputs)

        return form, step

    def _capture_one(self, module: nn.Module, x: Tensor, layer: str) -> Tensor:
        taps = Taps([layer])
        with torch.inference_mode(), taps.on(module):
            self.forward(module, x)
            return taps[layer]

    def _differentiate(self, module: nn.Module, x: Tensor, target: Target, at: Sequence[str]) -> Gradients:
        read = [*at, *([target.layer] if target.layer else [])]
        taps = Taps(read, graph=True)
        with torch.inference_mode(False), torch.set_grad_enabled(not at), taps.on(module):
            leaf = x if at else x.requires_grad_()
            # The network gets a copy: an in-place first layer must not write into the leaf.
            outputs = self._checked(self.forward(module, leaf.clone() if not at else leaf), x)
            score = target.score(taps[target.layer] if target.layer else outputs)
            wanted = [taps[name] for name in at] if at else [leaf]
            gradients = self._backward(score, wanted, at)
        self.log.backward += len(x)
        activations = tuple(_plain(taps[name]) for name in at)
        return Gradients(tuple(map(_plain, gradients)), activations, _plain(score), _plain(outputs))

    @staticmethod
    def _backward(score: Tensor, wanted: Sequence[Tensor], at: Sequence[str]) -> list[Tensor]:
        if not score.requires_grad:
            raise NotDifferentiable(_no_gradient(at[0]) if at else NO_GRADIENT)
        try:
            found = torch.autograd.grad(score.sum(), wanted, allow_unused=True)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise NotDifferentiable(
                f"The model's backward pass failed ({_first_line(error)}); use a method that needs no "
                "gradients, such as occlusion."
            ) from error
        names: Sequence[str | None] = at or [None]
        for name, gradient in zip(names, found, strict=True):
            if gradient is None:
                raise NotDifferentiable(_no_gradient(name))
        return list(found)

    def forward(self, module: nn.Module, x: Tensor) -> Tensor:
        try:
            outputs = scores_of(module(x))
        except (UnderhoodError, StopForward):
            raise
        except Exception as error:
            if is_out_of_memory(error) and len(x) > 1:
                raise
            if is_out_of_memory(error):
                raise OutOfMemory(NOT_EVEN_ONE) from error
            raise BadModel(_forward_failed(error, x)) from error
        if len(outputs) != len(x):
            raise BadModel(f"The model gave {len(outputs)} rows of scores for {len(x)} inputs.")
        self.log.forward += len(x)
        return outputs.float()

    def _checked(self, outputs: Tensor, x: Tensor) -> Tensor:
        if outputs.isfinite().all():
            return outputs
        if not x.isfinite().all():
            raise InvalidArgument("The input holds NaN or infinite values.")
        for name, tensor in self.model.module.state_dict().items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise BadModel(f"The model's weights hold NaN or infinite values, first in '{name}'.")
        raise BadModel("The model's scores are NaN or infinite for a finite input.")

    # -- many micro-batches ------------------------------------------------------------------------

    def _over(
        self,
        inputs: Inputs,
        kind: Kind,
        form_and_step: "Step",
        done: Callable[[], bool] = lambda: False,
    ) -> Iterator[Any]:
        """Yield step(…) of each micro-batch; a smaller one where memory runs out."""
        form, step = form_and_step
        first = 0  # number of the block's first input
        for variants in _blocks(inputs):
            self._check_inputs(variants.inputs)
            size = self._micro_batch(variants, kind)
            with nullcontext() if form is None else self.borrowed(form) as module:

                def run(
                    x: Tensor, rows: Tensor, numbers: Tensor, module: Any = module, at: int = first
                ) -> Any:
                    return step(module, self.ready(x, form), rows + at, numbers)

                yield from self._over_block(variants, size, run, done, first)
            first += len(variants.inputs)

    def _over_block(
        self,
        variants: Variants,
        size: int,
        run: Callable[..., Any],
        done: Callable[[], bool],
        before: int,
    ) -> Iterator[Any]:
        start, total = 0, len(variants)
        while start < total and not done():
            self._check_cancelled()
            try:
                chunk = variants.chunk(start, start + size)
                with torch.autocast(self.device.type, enabled=False):  # the caller's may be on
                    result = run(*chunk)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                size = self._smaller(size, variants.group, error)
                continue
            start += len(chunk[0])
            if self.settings.progress:
                self.settings.progress(before + start, before + total)
            yield result

    def _micro_batch(self, variants: Variants, kind: Kind) -> int:
        if len(variants) == 1:
            return 1
        example = variants.inputs[:1]
        known = self.model.scratch.setdefault("bytes per input", {})
        key = (tuple(example.shape), self.device, len(self.model.module.state_dict()))
        if key not in known:
            with self.borrowed(self.form) as module:
                known[key] = self._measured(module, self.ready(example, self.form))
        budget = parse_memory(self.settings.memory)
        limit = micro_batch(self.device, known[key][kind], budget)
        batches = -(-len(variants) // limit)
        even = -(-len(variants) // batches)  # micro-batches of about the same size
        return -(-even // variants.group) * variants.group

    def _measured(self, module: nn.Module, example: Tensor) -> dict[Kind, int]:
        try:
            return bytes_per_input(module, example)
        except Exception as error:
            if is_out_of_memory(error):
                raise OutOfMemory(NOT_EVEN_ONE) from error
            raise BadModel(_forward_failed(error, example)) from error

    def _smaller(self, size: int, group: int, error: Exception) -> int:
        if size <= group:
            raise OutOfMemory(NOT_EVEN_ONE) from error
        half = max(group, size // 2 // group * group)
        self.log.notes.append(f"memory ran out with {size} inputs at a time; went on with {half}")
        return half

    def ready(self, x: Tensor, form: Form | None) -> Tensor:
        """A tensor of our own in the stand-in's form; never the caller's memory."""
        if form is None:
            return x
        with torch.inference_mode(False), torch.no_grad():
            ready = form.of(x)
            shares = ready.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
            return ready.clone() if shares or x.is_inference() else ready.detach()

    def _forward_form(self, inputs: Inputs, target: Target, wanted: Precision) -> Form:
        """float32, or bfloat16 where it was demanded, or is fast and faithful on a sample."""
        rough = replace(self.form, dtype=torch.bfloat16)
        if wanted == "bfloat16":
            self.log.precision = "bfloat16 (demanded)"
            return rough
        if wanted == "float32" or not isinstance(inputs, Variants) or len(inputs) < WORTHWHILE:
            return self.form
        if not has_bfloat16(self.device):
            return self.form
        found = self._sampled_agreement(inputs, target, rough)
        if found < AGREEMENT:
            self.log.precision = f"float32 (bfloat16 agreed with it to {found:.4f} only)"
            return self.form
        self.log.precision = f"bfloat16 (agrees with float32 to {found:.4f} on {SAMPLE} inputs)"
        return rough

    def _sampled_agreement(self, variants: Variants, target: Target, rough: Form) -> float:
        """On variants of a few inputs, whose scores are compared within each input: how far inputs lie
        apart would hide how badly their variants agree."""
        rows = torch.arange(SAMPLE) % min(len(variants.inputs), SAMPLED_INPUTS)
        numbers = torch.linspace(0, variants.count - 1, SAMPLE).long()
        sample, chosen = variants.make(rows, numbers), target.rows(rows)
        exact, fast = (
            torch.cat(list(self.quiet()._over(sample, "forward", self._scores_step(form, chosen))))
            for form in (self.form, rough)
        )
        return agreement(exact, fast, rows)

    def _check_cancelled(self) -> None:
        if self.settings.cancel is not None and self.settings.cancel.is_set():
            raise Cancelled("Stopped, as asked.")

    @staticmethod
    def _check_inputs(inputs: Tensor) -> None:
        if len(inputs) == 0:
            raise InvalidArgument("There are no inputs.")


Step = tuple[Form | None, Callable[..., Any]]
BLOCK = 32  # inputs of an iterator held at once


def _blocks(inputs: Inputs) -> Iterator[Variants]:
    """Inputs of any kind as `Variants`; an iterator block by block, so that memory does not grow."""
    if isinstance(inputs, Tensor | Variants):
        yield as_variants(inputs)
        return
    items = iter(inputs)
    block = list(islice(items, BLOCK))
    if not block:
        raise InvalidArgument("There are no inputs.")
    while block:
        yield as_variants(torch.stack(block))
        block = list(islice(items, BLOCK))


def _joined(parts: Sequence[Gradients]) -> Gradients:
    def cat(tensors: Sequence[Tensor]) -> Tensor:
        return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))

    return Gradients(
        tuple(cat(group) for group in zip(*(p.gradients for p in parts), strict=True)),
        tuple(cat(group) for group in zip(*(p.activations for p in parts), strict=True)),
        cat([p.score for p in parts]),
        cat([p.outputs for p in parts]),
    )


def _plain(tensor: Tensor) -> Tensor:
    """float32 on the CPU, without a graph."""
    with torch.inference_mode(False):
        plain = tensor.detach().float().cpu().contiguous()
        return plain.clone() if plain.is_inference() else plain


def _done(reduce: Reduce | None) -> bool:
    return reduce is not None and reduce.done


def _no_gradient(layer: str | None) -> str:
    where = f"layer '{layer}'" if layer else "the input"
    return (
        f"The target does not depend on {where} in a way that can be differentiated, so it has no gradient "
        "there; choose a layer that the target's score is computed from."
    )


def _forward_failed(error: Exception, x: Tensor) -> str:
    return (
        f"The model failed on inputs of shape {tuple(x.shape)} ({_first_line(error)}); check the "
        "preprocessing, and that the model takes such inputs."
    )


def _first_line(error: Exception) -> str:
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"{type(error).__name__}: {first.rstrip('.')}"
