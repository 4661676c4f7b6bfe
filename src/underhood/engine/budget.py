"""How many inputs go through the network at once."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from underhood.engine.lean import is_lean
from underhood.errors import InvalidArgument
from underhood.models.layers import first_tensor, split_call

# Measured on two cores: larger micro-batches fall out of the cache and only cost memory.
CPU_BYTES, CPU_CACHE = 288 * 2**20, 24 * 2**20
CPU_BATCHES = 8, 64  # at least, and at most, where memory allows
CUDA_BATCH = 256


def parse_memory(memory: float | str | None) -> int | None:
    """Bytes from a number or a text such as "512MB", "2 GiB"."""
    if memory is None:
        return None
    if isinstance(memory, int | float):
        if not memory >= 1:
            raise InvalidArgument(f"A memory budget must be above 0, got {memory}.")
        return int(memory)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?\s*", memory, re.IGNORECASE)
    if not match or float(match[1]) == 0:
        raise InvalidArgument(f"'{memory}' is no memory budget; write it like 512MB or 2GiB.")
    step = 1024 if match[3] else 1000
    return int(float(match[1]) * step ** " KMGT".index(match[2].upper() or " "))


def cpu_budget(budget: int | None) -> int:
    """The given bytes, or a share of what is free."""
    import psutil

    return budget or min(CPU_BYTES, psutil.virtual_memory().available // 4)


def micro_batch(device: torch.device, per_input: int, budget: int | None, *, most: int) -> int:
    """Inputs per pass: as many as the budget holds; on a CPU at most so many."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        return max(1, min(CUDA_BATCH, (budget or free // 2) // per_input))
    return max(1, min(most, cpu_budget(budget) // per_input))


@dataclass(frozen=True)
class Footprint:
    """What one input needs at most, judged by the outputs of all layers in one forward pass."""

    own: int  # bytes of the input itself and what is made of it
    sizes: tuple[tuple[str, int], ...]  # bytes of each layer's output, in the order in which they ran
    spared: frozenset[str] = frozenset()  # layers of which a lean pass keeps nothing
    weights: int = 0  # bytes of all attention weights, were they kept

    def forward(self) -> int:
        """A forward pass alone holds the largest outputs."""
        return self.own + sum(sorted((size for _, size in self.sizes), reverse=True)[:4])

    @property
    def cached(self) -> int:
        """How many inputs at once are of use on a CPU: its cache still holds what a layer takes and gives."""
        widest = sum(sorted((size for _, size in self.sizes), reverse=True)[:2])
        fewest, most = CPU_BATCHES
        return max(fewest, min(most, CPU_CACHE // max(1, widest)))

    def above(self, layer: str, activation: int) -> int:
        """A forward pass that starts at what the layer gave, of so many bytes."""
        sizes = [size for _, size in self.sizes[self._first((layer,)) :]]
        return 4 * activation + sum(sorted(sizes, reverse=True)[:4])

    def gradient(self, at: Sequence[str] = (), *, lean: bool = True) -> int:
        """A backward pass holds all of them, or those from the first layer `at` on, and gradients."""
        kept = [size for name, size in self.sizes[self._first(at) :] if not (lean and name in self.spared)]
        return self.forward() + sum(kept) + 2 * max(kept, default=0)

    def attentions(self) -> int:
        """A pass that sees them holds the weights, their logits and their gradients."""
        return self.gradient(lean=False) + 3 * self.weights

    def _first(self, at: Sequence[str]) -> int:
        names = tuple(split_call(name)[0] for name in at)
        inside = [i for i, (name, _) in enumerate(self.sizes) if _within(name, names)]
        return inside[-1] if inside else 0


def _within(layer: str, names: Sequence[str]) -> bool:
    return any(layer == name or layer.startswith(name + ".") for name in names)


def footprint(module: nn.Module, example: Tensor) -> Footprint:
    """Measured by one forward pass over a single input."""
    own = 4 * example.numel() * example.element_size()
    spared = frozenset(name for name, child in module.named_modules() if is_lean(child))
    with _AttentionBytes() as attention:
        return Footprint(own, tuple(_output_bytes(module, example)), spared, attention.total)


class _AttentionBytes(TorchFunctionMode):
    """Adds up what attention weights take, also those that fused functions never write out."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        name = getattr(function, "__name__", "")
        if name == "softmax" and result.ndim > 2:
            self.total += result.numel() * result.element_size()
        elif name in FUSED:
            query, key = (*args, *(kwargs[n] for n in ("query", "key") if n in kwargs))[:2]
            heads = 1 if name.startswith("scaled") else args[4]
            tokens = key.shape[-2] if name.startswith("scaled") else len(key)
            self.total += heads * query[..., 0].numel() * tokens * query.element_size()
        return result


FUSED = ("scaled_dot_product_attention", "multi_head_attention_forward")


def _output_bytes(module: nn.Module, example: Tensor) -> list[tuple[str, int]]:
    sizes: list[tuple[str, int]] = []

    def measure(name: str) -> Any:
        def hook(_module: nn.Module, args: object, output: object) -> None:
            tensor, given = first_tensor(output), first_tensor(args)
            if tensor is not None:
                shared = _share_memory(tensor, given)
                sizes.append((name, 0 if shared else tensor.numel() * tensor.element_size()))

        return hook

    leaves = [(name, child) for name, child in module.named_modules() if not any(child.children())]
    handles = [leaf.register_forward_hook(measure(name)) for name, leaf in leaves]
    try:
        with torch.inference_mode():
            module(example)
    finally:
        for handle in handles:
            handle.remove()
    return sizes


def _share_memory(a: Tensor, b: Tensor | None) -> bool:
    """Whether a layer handed on what it was given: in place, as a view, or as it is."""
    return b is not None and a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def is_out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError)
        and ("out of memory" in text or "can't allocate memory" in text or "not enough memory" in text)
    )
