"""Does a method work on a network? One cell of docs/coverage.md."""

import traceback
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

import underhood as uh

TARGET = 1
# What the sum may miss of the larger of |S(x)| and |S(x) - S(x')|; the sums that are only approached with
# more steps or samples, and LRP's, which leaves to biases what is theirs, are reported and not held.
EXACT = dict.fromkeys(
    ("deeplift", "deepshap", "kernel_shap", "shapley_sampling", "exact_shapley", "partition_shap"), 1e-3
)


@dataclass(frozen=True)
class Cell:
    """mark: "works", "flat" (a map that is zero everywhere, and says so), "refused" or "fails".

    why: the sentence of a refusal or of a flat map, the error of a failure. gap: see EXACT.
    """

    mark: Literal["works", "flat", "refused", "fails"]
    why: str = ""
    gap: float | None = None


def cell(method: uh.Method, net: uh.Model | nn.Module, x: Tensor) -> Cell:
    """Explain one input x (…) twice, and look at everything that must hold.

    A refusal is a sentence of our own; where it only wraps another error, the network failed.
    """
    module = net.module if isinstance(net, uh.Model) else net
    before = _state(module)
    try:
        found, again = (method(net, x, TARGET) for _ in range(2))
    except uh.UnderhoodError as error:
        own = error.__cause__ is None or isinstance(error.__cause__, uh.UnderhoodError)
        result = Cell("refused" if own else "fails", str(error))
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        result = Cell("fails", f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})")
    else:
        result = _judged(method, found, again, x)
    if not _same(before, _state(module)):
        return Cell("fails", "the model, or the random state, was changed")
    return result


def _judged(method: uh.Method, found: Any, again: Any, x: Tensor) -> Cell:
    values, shape = found.values, tuple(x.shape)
    right = {shape} if method.card.resolution == "element" else {shape, shape[-2:]}
    gap = _gap(found)
    if values.shape not in right:
        return Cell("fails", f"the map has shape {values.shape}")
    if not np.isfinite(values).all():
        return Cell("fails", "the map is not finite")
    if not np.array_equal(values, again.values):
        return Cell("fails", "the second map differs from the first")
    if gap is not None and gap > EXACT.get(method.key, float("inf")):
        return Cell("fails", f"the sum misses {gap:.2g} of the score", gap)
    if not values.any():
        said = found.no_signal
        return Cell("flat", said, gap) if said else Cell("fails", "the map is zero, and no word about it")
    return Cell("works", gap=gap)


def _gap(found: Any) -> float | None:
    if not found.card.conserves:
        return None
    known = found.diagnostics
    if "completeness_gap" in known:
        missed = known["completeness_gap"]
    elif found.method == "lrp":
        missed = known["sum"] - known["score"]
    else:
        return None
    named = float(found.values.sum()) - missed
    return abs(missed) / max(abs(found.score), abs(named) if "groups" not in found.arrays else 0, 1e-12)


State = tuple[list[tuple[int, int, bool]], list[bool], int, list[Tensor]]


def _state(module: nn.Module) -> State:
    """Which tensors there are, of which version; the modes and the number of hooks; the random state."""
    tensors = [*module.parameters(), *module.buffers()]
    hooks = sum(
        len(value)
        for child in module.modules()
        for name, value in vars(child).items()
        if name.endswith("hooks") and value
    )
    return (
        [(t.data_ptr(), t._version, t.requires_grad) for t in tensors],
        [child.training for child in module.modules()],
        hooks,
        [torch.get_rng_state(), *(t.grad for t in tensors if t.grad is not None)],
    )


def _same(a: State, b: State) -> bool:
    return a[:3] == b[:3] and len(a[3]) == len(b[3]) and all(map(torch.equal, a[3], b[3]))
