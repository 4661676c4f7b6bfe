"""The attention weights of a network as it runs: fused kernels are seen written out, and nothing is edited.

An attention is a softmax over the last dimension whose result is multiplied with the values it chooses among.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from underhood.engine.hooks import StopForward, Taps
from underhood.engine.intercept import Interceptor, PlainRules, Rules
from underhood.engine.ops import MOVES, Op
from underhood.engine.passes import Log, forward
from underhood.errors import BadModel
from underhood.models import Target

INSTEAD = "use Grad-CAM, integrated gradients or occlusion"


@dataclass(frozen=True)
class Attention:
    """One layer's attention.

    layer:    the layer it runs in; "name#2" for its second run in a pass.
    weights:  A (m, heads, queries, keys); without masks or dropped heads every row sums to 1.
    gradient: ∂S/∂A, as large; None where it was not asked for, or where S does not depend on A.
    """

    layer: str
    weights: Tensor
    gradient: Tensor | None = None

    @property
    def between_tokens(self) -> bool:
        """Whether every token looks at every other, rather than a few queries at the tokens."""
        return self.weights.shape[-1] == self.weights.shape[-2]


@dataclass(frozen=True)
class Attentions:
    """A micro-batch's attention, up to the last layer that the score S depends on.

    read:   (m, queries) how much S reads of each row of the last layer: the class token alone, or the mean of
            several tokens; 0 for an input whose score depends on none.
    inputs: (m,) which of the inputs these are.
    """

    layers: tuple[Attention, ...]
    read: Tensor
    inputs: Tensor

    @property
    def class_tokens(self) -> Tensor:
        """(m, keys) which tokens S reads alone, where it reads few; none where it reads the mean of most."""
        last = self.layers[-1]
        if not last.between_tokens:
            return torch.zeros(
                len(self.read), last.weights.shape[-1], dtype=torch.bool, device=self.read.device
            )
        reads = self.read > 0
        return reads & (2 * reads.sum(1, keepdim=True) < reads.shape[1])

    def rows(self, table: Tensor) -> Tensor:
        """The rows (m, keys) that S reads in a table (m, queries, keys), or the mean row of other queries."""
        if table.shape[1] != self.read.shape[1]:
            return table.mean(1)
        return (self.read[:, None] @ table).squeeze(1)


Fold = Callable[[Attentions], Mapping[str, Tensor]]


@dataclass
class _Found:
    """An attention during the pass: its softmax, its values, and the sum that adds it to what went round."""

    layer: str
    softmax: Tensor
    weights: Tensor  # the same, (m, heads, queries, keys)
    values: Tensor  # what they choose among
    at: int = -1  # the operation that adds
    place: int = 0  # of the attention's part among the sum's inputs
    parts: tuple[Tensor, ...] = ()  # the sum's inputs, where they are kept
    mixes_tokens: bool = True


class Watch(PlainRules):
    """Notes every attention of one pass over `inputs` inputs.

    keep: also what is added up after it. first: end the pass at the first.
    """

    def __init__(self, model: str, inputs: int, *, keep: bool = False, first: bool = False):
        self._model, self._inputs, self._keep, self._first = model, inputs, keep, first
        self._softmaxes: dict[int, Tensor] = {}  # operation → the softmax whose weights it hands on
        self._branch: dict[int, _Found] = {}  # operation → the attention that it continues
        self._all: list[_Found] = []

    def apply(self, op: Op) -> object:
        result = op()
        if op.name == "softmax" and _is_over_last(op):
            self._softmaxes[op.index] = result
        elif op.name in MOVES and op.sources[0] in self._softmaxes:
            self._softmaxes[op.index] = self._softmaxes[op.sources[0]]
        elif op.name in ("matmul", "einsum") and any(source in self._softmaxes for source in op.sources):
            self._note(op)
        else:
            self._follow(op)
        return result

    @property
    def found(self) -> list[_Found]:
        """The attentions between tokens, in order, each with a name of its own."""
        found = [each for each in self._all if each.mixes_tokens]
        if not found:
            raise BadModel(
                f"{self._model} has no attention between tokens, so there is none to show; {INSTEAD}."
            )
        names = [each.layer for each in found]
        runs = [names[: i + 1].count(name) for i, name in enumerate(names)]
        return [
            replace(each, layer=f"{each.layer}#{run}") if names.count(each.layer) > 1 else each
            for each, run in zip(found, runs, strict=True)
        ]

    def _note(self, op: Op) -> None:
        place = next(i for i, source in enumerate(op.sources) if source in self._softmaxes)
        softmax = self._softmaxes[op.sources[place]]
        if softmax.ndim < 3:
            return
        found = _Found(op.layer, softmax, self._by_input(softmax, op.layer), op.inputs[1 - place])
        self._all.append(found)
        self._branch[op.index] = found
        if self._first:
            raise StopForward

    def _by_input(self, softmax: Tensor, layer: str) -> Tensor:
        """(m, heads, queries, keys)"""
        if softmax.ndim == 4 and len(softmax) == self._inputs:
            return softmax
        if softmax.ndim == 3 and len(softmax) % self._inputs == 0:
            return softmax.unflatten(0, (self._inputs, -1))
        raise BadModel(
            f"{self._model} has windowed attention (layer '{layer}', {softmax.shape[-1]} places a window): "
            "a window sees only part of the picture, so its weights say nothing of the rest and do not join "
            f"into one map; {INSTEAD}."
        )

    def _tokens(self, shape: torch.Size) -> tuple[int, ...]:
        """How many tokens a tensor may hold: (m, N, D), (N, m, D), (m, h, w, D), (m, D, h, w), …"""
        if shape[0] != self._inputs:
            return (shape[0],)
        return (*shape[1:-1], shape[1:-1].numel(), shape[2:].numel())

    def _follow(self, op: Op) -> None:
        """Where an attention's result is added to what went round it, its branch ends."""
        places = [i for i, source in enumerate(op.sources) if source in self._branch]
        if not places:
            return
        found = self._branch[op.sources[places[0]]]
        if op.name != "add" or len(op.inputs) != 2 or len(places) == 2:
            self._branch[op.index] = found
            return
        found.mixes_tokens = found.weights.shape[-2] in (1, *self._tokens(op.inputs[0].shape))
        found.at, found.place = op.index, places[0]
        if self._keep:
            found.parts = tuple(part.detach() for part in op.inputs)


class _Patch(PlainRules):
    """One input of one operation replaced."""

    def __init__(self, at: int, place: int, value: Tensor):
        self._at, self._place, self._value = at, place, value

    def apply(self, op: Op) -> object:
        if op.index != self._at:
            return op()
        inputs = list(op.inputs)
        inputs[self._place] = self._value
        return op(*inputs)


def attend(
    module: nn.Module, x: Tensor, rows: Tensor, target: Target, log: Log, *, gradients: bool
) -> tuple[Attentions, Tensor, Tensor]:
    """Every layer's attention in a pass over x, which are the inputs `rows`; S (m,) and the scores (m, C)."""
    with torch.inference_mode(False), torch.enable_grad():
        watch = Watch(type(module).__name__, len(x))
        s, outputs = _scored(module, x, target.rows(rows), log, watch)
        found = watch.found
        slopes = _slopes(s, found, everywhere=gradients)
        log.backward += len(x) if gradients else 0
    last = max((i for i, slope in enumerate(slopes) if slope is not None), default=None)
    if last is None:
        raise BadModel("The target's score does not depend on any attention of this model; name another.")
    slope = slopes[last]
    assert slope is not None
    read = (slope != 0).flatten(3).any(3).any(1).float()  # (m, queries)
    read = read / read.sum(1, keepdim=True).clamp(min=1)
    layers = tuple(
        Attention(each.layer, each.weights.detach(), slope if gradients else None)
        for each, slope in zip(found[: last + 1], slopes, strict=False)
    )
    return Attentions(layers, read, rows), s.detach(), outputs.detach()


def residual_shares(module: nn.Module, x: Tensor, reference: Tensor, target: Target, log: Log) -> Tensor:
    """(m, layers): how much of what leaves each attention block is the attention's.

    By activation patching: with the attention's part of the block's sum taken from a pass over `reference`,
    S moves by a; with the part that went round it taken from there, by r. The share is |a| / (|a| + |r|).
    """
    with torch.inference_mode(False), torch.enable_grad():
        watch = Watch(type(module).__name__, len(x), keep=True)
        _scored(module, reference, target, log, watch)
        found = [each for each in watch.found if each.weights.shape[-1] == each.weights.shape[-2]]
        for each in found:
            if not each.parts:
                raise BadModel(
                    f"Nothing is added to the attention of layer '{each.layer}', so its share cannot be "
                    "measured by patching; give alpha as a number."
                )
        if not found:
            return x.new_empty(len(x), 0)
        plain = _scored(module, x, target, log, PlainRules())[0].detach()

        def moved(each: _Found, place: int) -> Tensor:
            patch = _Patch(each.at, place, each.parts[place])
            return (plain - _scored(module, x, target, log, patch)[0].detach()).abs()

        a = torch.stack([moved(each, each.place) for each in found], 1)  # (m, layers)
        r = torch.stack([moved(each, 1 - each.place) for each in found], 1)
    both = a + r
    return torch.where(both > 0, a / both, 0.5)


def _scored(module: nn.Module, x: Tensor, target: Target, log: Log, rules: Rules) -> tuple[Tensor, Tensor]:
    """S (m,) and the scores (m, C) of a pass under rules."""
    taps = Taps([target.layer] if target.layer else [], graph=nullcontext())
    leaf = x.detach().requires_grad_(x.is_floating_point())
    with taps.on(module), _embedded(module, x), Interceptor(rules).on(module, leaf):
        outputs = forward(module, leaf.clone(), log)
    return target.score(taps[target.layer] if target.layer else outputs), outputs


@contextmanager
def _embedded(module: nn.Module, x: Tensor) -> Iterator[None]:
    """Where inputs are token ids, which have no gradient, what they are looked up as takes their place."""
    tables = [] if x.is_floating_point() else [m for m in module.modules() if isinstance(m, nn.Embedding)]
    handles = [
        table.register_forward_hook(lambda _module, _args, output: output.detach().requires_grad_().clone())
        for table in tables
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _slopes(s: Tensor, found: Sequence[_Found], *, everywhere: bool) -> list[Tensor | None]:
    """∂S/∂A of each layer, or only of the last that S depends on; None elsewhere."""
    nothing: list[Tensor | None] = [None] * len(found)
    if not s.requires_grad:
        return nothing
    if everywhere:
        slopes = torch.autograd.grad(s.sum(), [each.softmax for each in found], allow_unused=True)
        return [
            None if slope is None else slope.reshape(each.weights.shape)
            for each, slope in zip(found, slopes, strict=True)
        ]
    for i in reversed(range(len(found))):  # no further down than need be
        (slope,) = torch.autograd.grad(s.sum(), found[i].softmax, retain_graph=i > 0, allow_unused=True)
        if slope is not None:
            nothing[i] = slope.reshape(found[i].weights.shape)
            break
    return nothing


def _is_over_last(op: Op) -> bool:
    return op.argument(1, "dim") in (-1, op.inputs[0].ndim - 1)
