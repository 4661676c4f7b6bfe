"""Running a network on from a layer: what ran below it is not run again.

One pass over an input records what every module returned before the layer was done. In a resumed pass those
modules hand out what they returned then, so that only what comes after the layer is computed; branches that
go around it stay right. Only whole modules are left out: operations between them run again. Above the layer,
dense layers multiply only the columns that the new activations change, where those are few (see `dense`).

A resumed pass must give what a whole one gives. Modules whose outputs do not have the input as their first
dimension run again, and so does everything where resuming with the unchanged activations does not give the
recorded score, as where a network writes into tensors between its modules.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from underhood.engine import passes
from underhood.engine.batches import even, in_batches
from underhood.engine.budget import micro_batch, parse_memory
from underhood.engine.dense import FewColumns, Known, Noting
from underhood.engine.hooks import Taps, replaced
from underhood.engine.passes import Log
from underhood.errors import UnderhoodError
from underhood.inputs.variants import Variants
from underhood.models import Target
from underhood.models.layers import find_layer, first_tensor, split_call

if TYPE_CHECKING:
    from underhood.engine.engine import Engine

RUN: Any = object()  # in place of what a module returned: it has to run
AGREEMENT = 1e-4  # of scores that must be the same, as a share of the largest
ALONE, MOST = 128 * 2**20, 256  # so much of the last layers alone is run at once: bytes, inputs


@dataclass
class Call:
    """One call of a module, and the calls within it."""

    module: nn.Module | None
    returned: Any = RUN
    calls: list["Call"] = field(default_factory=list)


@dataclass
class Resumed:
    """A network, and what it gave for one input x (1, …) below a layer."""

    module: nn.Module
    layer: str
    x: Tensor
    returned: dict[nn.Module, list[Any]]
    dense: Sequence[Known] = ()  # above the layer

    def score(self, activations: Tensor, target: Target, log: Log) -> Tensor:
        """The input's target's S (m,) where the layer's output is replaced by activations (m, …)."""
        asked = target.rows(torch.zeros(len(activations), dtype=torch.long))
        x = _expanded(self.x, len(activations))
        with self._on(activations), FewColumns(self.dense):
            return passes.score(self.module, x if self.returned else x.clone(), asked, log)

    @contextmanager
    def _on(self, activations: Tensor) -> Iterator[None]:
        count = len(activations)

        def handing_out(run: Callable[..., Any], returned: list[Any]) -> Callable[..., Any]:
            left = iter(returned)

            def forward(*args: Any, **kwargs: Any) -> Any:
                output = next(left, RUN)
                return run(*args, **kwargs) if output is RUN else _expanded(output, count)

            return forward

        def replace_output(output: Any) -> Any:
            old = first_tensor(output)
            assert old is not None
            return replaced(output, old, activations.to(old))

        with (
            _forwards({child: handing_out(child.forward, r) for child, r in self.returned.items()}),
            _at(self.module, self.layer, replace_output),
        ):
            yield


def resumed_scores(
    engine: "Engine", layer: str, inputs: Tensor, activations: Variants, target: Target
) -> Tensor:
    """The target's score where the layer's output is replaced by variants of it, in their order."""
    with engine.borrowed(engine.form) as module:
        rows = [
            _of_row(engine, module, layer, inputs, activations, target, row) for row in range(len(inputs))
        ]
    return torch.stack(rows, 1).flatten()


def _of_row(  # noqa: PLR0917
    engine: "Engine",
    module: nn.Module,
    layer: str,
    inputs: Tensor,
    activations: Variants,
    target: Target,
    row: int,
) -> Tensor:
    """The scores (count,) of one input's variants."""
    x, asked = inputs[row : row + 1], target.rows(torch.tensor([row]))
    resumed, why = record(module, layer, engine.form.ready(x), asked, engine.log)
    footprint, log = engine.footprint(x), engine.log
    most = footprint.cached
    per_variant = footprint.above(layer, 4 * activations.inputs[0].numel())
    if why:
        engine.log.notes.append(f"full passes, as what runs below '{layer}' could not be left out: {why}")
        per_variant = footprint.forward()
    else:
        most, log = max(most, min(MOST, ALONE // per_variant)), Log()  # parts of passes are not counted
    count = activations.count
    limit = micro_batch(engine.device, per_variant, parse_memory(engine.settings.memory), most=most)

    def run(a: Tensor, *_: Tensor) -> Tensor:
        return resumed.score(engine.form.ready(a), asked, log)

    parts = in_batches(
        Variants(
            activations.inputs[row : row + 1], count,
            lambda _, numbers: activations.make(torch.full_like(numbers, row), numbers),
        ),
        even(count, limit, 1), run, device=engine.device, settings=engine.settings, log=engine.log,
        done=lambda: False, before=row * count, after=(len(inputs) - row - 1) * count,
    )  # fmt: skip
    return torch.cat(list(parts))


def record(module: nn.Module, layer: str, x: Tensor, target: Target, log: Log) -> tuple[Resumed, str | None]:
    """What `Resumed` needs, by one pass over x (1, …); and why nothing could be left out, if so."""
    found, activation, score, scale = _recorded(module, layer, x, target, log)
    noting = Noting()
    try:
        with noting:
            again = found.score(torch.cat((activation, activation)), target, Log())
    except UnderhoodError as error:
        why = str(error)
    else:
        if (again - score).abs().max() <= AGREEMENT * scale:
            return replace(found, dense=noting.known), None
        why = "a resumed pass gave another score"
    return Resumed(module, layer, x, {}), why


def _recorded(
    module: nn.Module, layer: str, x: Tensor, target: Target, log: Log
) -> tuple[Resumed, Tensor, Tensor, float]:
    """With the layer's output, the score, and how large the values are that it is read from."""
    root = Call(None)
    open_calls, done = [root], False

    def noting(child: nn.Module, run: Callable[..., Any]) -> Callable[..., Any]:
        def forward(*args: Any, **kwargs: Any) -> Any:
            if done:
                return run(*args, **kwargs)
            call = Call(child)
            open_calls[-1].calls.append(call)
            open_calls.append(call)
            output = run(*args, **kwargs)
            open_calls.pop()
            if not done:
                call.returned = output
            return output

        return forward

    def end(output: Any) -> Any:
        nonlocal done
        done = True
        return output

    children = [child for child in module.modules() if child is not module]
    taps = Taps([layer])
    with (
        _forwards({child: noting(child, child.forward) for child in children}),
        taps.on(module),
        _at(module, layer, end),
    ):
        score, source = passes.score_and_source(module, x.clone(), target, log)
    returned: dict[nn.Module, list[Any]] = {}
    _collect(root, returned)
    return Resumed(module, layer, x, returned), taps[layer], score, float(source.abs().max())


def _collect(call: Call, returned: dict[nn.Module, list[Any]]) -> None:
    """What the calls that a resumed pass comes to returned, in their order."""
    for inner in call.calls:
        assert inner.module is not None
        known = inner.returned if _is_expandable(inner.returned) else RUN
        returned.setdefault(inner.module, []).append(known)
        if known is RUN:
            _collect(inner, returned)


def _is_expandable(output: Any) -> bool:
    """Whether the output for one input can be handed out for several."""
    leaves = tree_leaves(output)
    plain = all(leaf is None or isinstance(leaf, Tensor | bool | int | float | str) for leaf in leaves)
    return plain and all(leaf.ndim and len(leaf) == 1 for leaf in leaves if isinstance(leaf, Tensor))


def _expanded(output: Any, count: int) -> Any:
    """Without copies: what writes into it fails, rather than changing what is recorded."""
    return tree_map_only(Tensor, lambda t: t.expand(count, *t.shape[1:]), output)


@contextmanager
def _forwards(by: dict[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Within, modules of a stand-in run these instead of their own `forward`."""
    own = {child: child.__dict__.get("forward") for child in by}
    for child, instead in by.items():
        child.__dict__["forward"] = instead
    try:
        yield
    finally:
        for child, forward in own.items():
            if forward is None:
                del child.__dict__["forward"]
            else:
                child.__dict__["forward"] = forward


@contextmanager
def _at(module: nn.Module, layer: str, change: Callable[[Any], Any]) -> Iterator[None]:
    """Within, the output of the layer's run that is named goes through `change`."""
    base, call = split_call(layer)
    runs = 0

    def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
        nonlocal runs
        runs += 1
        return change(output) if runs == (call or 1) else output

    handle = find_layer(module, base).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
