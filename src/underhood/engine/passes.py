"""One pass through a network, forward or backward, and what can go wrong in it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from underhood.engine.alike import Alike
from underhood.engine.budget import is_out_of_memory
from underhood.engine.cones import Cone, whole
from underhood.engine.hooks import StopForward, Taps
from underhood.engine.intercept import Interceptor, Rules
from underhood.engine.lean import lean
from underhood.engine.narrow import Narrow
from underhood.errors import BadModel, InvalidArgument, NotDifferentiable, OutOfMemory, UnderhoodError
from underhood.models import Target
from underhood.models.output import scores_of

NOT_EVEN_ONE = (
    "Not even one input at a time fits into memory; close other programs, use a smaller picture, or "
    "another device."
)
NO_GRADIENT = (
    "The model's score cannot be differentiated (it runs without gradients, or through an operation such "
    "as argmax or rounding); use a method that needs none, such as occlusion."
)

WHOLE_NUMBERS = (
    "The inputs are whole numbers, such as token ids, in which nothing can be differentiated; use a "
    "method that takes the name of their embedding layer, as in InputXGradient(at='embeddings')."
)


@dataclass
class Log:
    """What running the network took: for diagnostics and provenance."""

    forward: int = 0  # inputs through a forward pass
    partial: int = 0  # inputs of which a forward pass computed only what changed
    backward: int = 0  # inputs through a backward pass
    work: str = "full passes"  # or "receptive cones", of the scores
    precision: str = "float32"
    notes: list[str] = field(default_factory=list)

    @property
    def calls(self) -> float:
        """All of it in forward passes of one input; a backward pass counts 2."""
        return float(self.forward + self.partial + 2 * self.backward)


@dataclass(frozen=True)
class Gradients:
    """∂S/∂x of the inputs, or ∂S/∂A and A of each layer, with S and the model's scores.

    What rules made of them may stand for the gradients; where they compare with reference inputs x', `change`
    is x - x', or A(x) - A(x') of each layer, and `reference_score` S(x').
    """

    gradients: tuple[Tensor, ...]  # (n, …) each; one per layer, or the inputs' alone
    activations: tuple[Tensor, ...]  # (n, …) for each layer
    score: Tensor  # (n,)
    outputs: Tensor  # (n, C)
    # With rules: what came back to each layer, summed, (n,); and the layers that all of it came through.
    totals: Mapping[str, Tensor] = field(default_factory=dict)
    path: tuple[str, ...] = ()
    change: tuple[Tensor, ...] = ()  # (n, …) each
    reference_score: Tensor | None = None  # (n,)

    def of(self, layers: Sequence[int]) -> "Gradients":
        """The same pass, of some of its layers."""
        gradients, activations = zip(*((self.gradients[i], self.activations[i]) for i in layers), strict=True)
        return replace(self, gradients=gradients, activations=activations)


def forward(module: nn.Module, x: Tensor, log: Log) -> Tensor:
    """The network's scores (m, C), finite, float32."""
    try:
        outputs = whole(scores_of(module(x), len(x)))
    except (UnderhoodError, StopForward):
        raise
    except Exception as error:
        if is_out_of_memory(error) and len(x) > 1:
            raise
        raise forward_failed(error, x) from error
    if len(outputs) != len(x):
        raise BadModel(f"The model gave {len(outputs)} rows of scores for {len(x)} inputs.")
    if isinstance(x, Cone):
        log.partial += len(x)
    else:
        log.forward += len(x)
    if not outputs.isfinite().all():
        raise _not_finite(module, x)
    return outputs.float()


def score(module: nn.Module, x: Tensor, target: Target, log: Log, same: Alike | None = None) -> Tensor:
    """S of each input (m,), without a graph; of those that are the `same`, one runs for all."""
    if same is None:
        return score_and_source(module, x, target, log)[0]
    with torch.inference_mode():
        return as_result(target.score(source(module, x[same.first], target.layer, log)[same.of]))


def source(module: nn.Module, x: Tensor, layer: str | None, log: Log) -> Tensor:
    """What a target reads, (m, …): the scores, or a layer's activations."""
    taps = Taps([layer] if layer else [])
    with torch.inference_mode(), taps.on(module):
        outputs = forward(module, x, log)
        return whole(taps[layer]) if layer else outputs


def score_and_source(module: nn.Module, x: Tensor, target: Target, log: Log) -> tuple[Tensor, Tensor]:
    """S of each input (m,), without a graph, and the values (m, …) that it is read from."""
    with torch.inference_mode():
        read = source(module, x, target.layer, log)
        return as_result(target.score(read)), as_result(read)


def capture(module: nn.Module, x: Tensor, layers: Sequence[str], log: Log) -> dict[str, Tensor]:
    """The outputs of named layers; the pass may end after the last of them."""
    taps = Taps(layers, stop_after=True)
    with torch.inference_mode(), taps.on(module):
        try:
            forward(module, x, log)
        except StopForward:
            log.forward += len(x)
    return {name: as_result(taps[name]) for name in layers}


def read(module: nn.Module, x: Tensor, layers: Sequence[str], log: Log) -> tuple[Tensor, ...]:
    """The network's scores (m, C), then the outputs of named layers."""
    taps = Taps(layers)
    with torch.inference_mode(), taps.on(module):
        outputs = forward(module, x, log)
    return as_result(outputs), *(as_result(taps[name]) for name in layers)


def differentiate(  # noqa: PLR0917
    module: nn.Module,
    x: Tensor,
    target: Target,
    at: Sequence[str],
    log: Log,
    rules: Rules | None = None,
    reference: Tensor | None = None,
) -> Gradients:
    """Gradients by x, or by the layers `at`: then there is no graph below the first of them.

    rules:     of a modified backward pass.
    reference: inputs like x that the rules compare x with.
    """
    if not at and not x.is_floating_point():
        raise NotDifferentiable(WHOLE_NUMBERS)
    rules = rules.fresh() if rules else None
    before = _recorded(module, reference, target, at, log, rules) if rules and reference is not None else None
    with _recording(module, target, at, nullcontext() if rules else _narrow(at)) as taps:
        leaf = x if at else x.requires_grad_()
        interceptor = Interceptor(rules) if rules else None
        with interceptor.on(module, leaf) if interceptor else lean(module):
            # The network gets a copy: an in-place first layer must not write into the leaf.
            outputs = forward(module, leaf if at else leaf.clone(), log)
            read = taps[target.layer] if target.layer else outputs
            if before:  # the target's own operations are compared as well
                s, seed = target.score(read), None
        if not before:
            s, seed = _seed(read, target, rules)
        starts = [taps[name] for name in at] if at else [leaf]
        gradients = _backward(s if seed is None else read, seed, starts, at)
    log.backward += len(x)
    totals, path = (interceptor.totals, interceptor.path) if interceptor else ({}, ())
    return Gradients(
        tuple(map(as_result, gradients)),
        tuple(as_result(taps[name]) for name in at),
        as_result(s),
        as_result(outputs),
        totals,
        path,
        tuple(as_result(a - b) for a, b in zip(starts, before.starts, strict=True)) if before else (),
        as_result(before.score) if before else None,
    )


@dataclass(frozen=True)
class _Reference:
    starts: tuple[Tensor, ...]  # the inputs, or the activations at each layer
    score: Tensor


def differentiate_alike(  # noqa: PLR0917
    module: nn.Module, x: Tensor, target: Target, at: Sequence[str], log: Log, same: Alike
) -> Gradients:
    """`differentiate`, where inputs are the same: one forward pass, and a backward pass for each target."""
    if not at and not x.is_floating_point():
        raise NotDifferentiable(WHOLE_NUMBERS)
    x = x[same.first]
    with _recording(module, target, at, _narrow(at)) as taps:
        leaf = x if at else x.requires_grad_()
        with lean(module):
            outputs = forward(module, leaf if at else leaf.clone(), log)[same.of]
        read = taps[target.layer][same.of] if target.layer else outputs
        s, starts = target.score(read), [taps[name] for name in at] if at else [leaf]
        found = [torch.empty(len(same.of), *start.shape[1:]) for start in starts]
        for rows in (rounds := same.rounds()):
            again = rows is not rounds[-1]
            for kept, gradient in zip(found, _backward(s[rows], None, starts, at, again=again), strict=True):
                kept[rows.cpu()] = as_result(gradient[same.of[rows]])
            log.backward += len(rows)
    activations = tuple(as_result(taps[name][same.of]) for name in at)
    return Gradients(tuple(found), activations, as_result(s), as_result(outputs))


def _recorded(  # noqa: PLR0917
    module: nn.Module, reference: Tensor, target: Target, at: Sequence[str], log: Log, rules: Rules
) -> _Reference | None:
    """The pass over the reference inputs that goes before."""
    recorder = rules.recorder()
    if recorder is None:
        return None
    # A graph, as in the pass that follows: it says what depends on the input.
    with _recording(module, target, at, nullcontext()) as taps:
        leaf = reference if at else reference.requires_grad_()
        with Interceptor(recorder).on(module, leaf):
            outputs = forward(module, leaf if at else leaf.clone(), log)
            s = target.score(taps[target.layer] if target.layer else outputs)
        return _Reference(tuple(taps[name].detach() for name in at) or (leaf.detach(),), s.detach())


def _narrow(at: Sequence[str]) -> AbstractContextManager[Any]:
    """Above layers; of a pass through all of them the last block is too small a part to look for."""
    return Narrow() if at else nullcontext()


@contextmanager
def _recording(
    module: nn.Module, target: Target, at: Sequence[str], graph: AbstractContextManager[Any]
) -> Iterator[Taps]:
    """Taps on what is asked about; there is a graph from the start, or from the layers `at` on."""
    taps = Taps([*at, *([target.layer] if target.layer else [])], graph=graph)
    with torch.inference_mode(False), torch.no_grad(), taps.on(module):
        if not at:
            taps.record()
        yield taps


def _seed(read: Tensor, target: Target, rules: Rules | None) -> tuple[Tensor, Tensor | None]:
    """S, and what the backward pass starts with at the values that S is read from."""
    if rules is None or not read.requires_grad:
        return target.score(read), None
    values = read.detach().requires_grad_()
    s = target.score(values)
    (gradient,) = torch.autograd.grad(s.sum(), values)
    return s, rules.seed(values.detach(), gradient)


def _backward(
    s: Tensor, seed: Tensor | None, wanted: Sequence[Tensor], at: Sequence[str], *, again: bool = False
) -> list[Tensor]:
    if not s.requires_grad:
        raise NotDifferentiable(_no_gradient(at[0]) if at else NO_GRADIENT)
    try:
        start = s if seed is not None else s.sum()
        found = torch.autograd.grad(start, wanted, seed, allow_unused=True, retain_graph=again)
    except UnderhoodError:
        raise
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


def as_result(tensor: Tensor) -> Tensor:
    """float32 on the CPU, without a graph."""
    with torch.inference_mode(False):
        result = tensor.detach().float().cpu().contiguous()
        return result.clone() if result.is_inference() else result


def forward_failed(error: Exception, x: Tensor) -> UnderhoodError:
    """The error to raise where a forward pass ended in another."""
    if is_out_of_memory(error):
        return OutOfMemory(NOT_EVEN_ONE)
    return BadModel(
        f"The model failed on inputs of shape {tuple(x.shape)} ({_first_line(error)}); check the "
        "preprocessing, and that the model takes such inputs."
    )


def _not_finite(module: nn.Module, x: Tensor) -> UnderhoodError:
    if not x.isfinite().all():
        return InvalidArgument("The input holds NaN or infinite values.")
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            return BadModel(
                f"The model's weights hold NaN or infinite values, first in '{name}'; load a checkpoint from "
                "before training went wrong."
            )
    return BadModel("The model's scores are NaN or infinite for a finite input.")


def _no_gradient(layer: str | None) -> str:
    where = f"layer '{layer}'" if layer else "the input"
    return (
        f"The target does not depend on {where} in a way that can be differentiated, so it has no gradient "
        "there; choose a layer that the target's score is computed from."
    )


def _first_line(error: Exception) -> str:
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"{type(error).__name__}: {first.rstrip('.')}"
