"""Many inputs, micro-batch by micro-batch."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from underhood.engine.budget import is_out_of_memory
from underhood.engine.passes import NOT_EVEN_ONE, Log
from underhood.engine.settings import Settings
from underhood.errors import Cancelled, InvalidArgument, OutOfMemory
from underhood.inputs.variants import Variants, as_variants

Inputs = Tensor | Variants | Iterable[Tensor]
BLOCK = 32  # inputs of an iterator held at once


def blocks(inputs: Inputs) -> Iterator[Variants]:
    """Inputs of any kind as `Variants`; an iterator block by block, so that memory does not grow."""
    if isinstance(inputs, Tensor | Variants):
        variants = as_variants(inputs)
        if not len(variants.inputs):
            raise InvalidArgument("There are no inputs.")
        yield variants
        return
    items = iter(inputs)
    block = list(islice(items, BLOCK))
    if not block:
        raise InvalidArgument("There are no inputs.")
    while block:
        yield as_variants(torch.stack(block))
        block = list(islice(items, BLOCK))


def even(count: int, limit: int, group: int) -> int:
    """Micro-batches of about the same size, at most `limit` or one group, that tear no group apart."""
    groups, most = -(-count // group), max(1, limit // group)
    batches = -(-groups // most)
    return -(-groups // batches) * group


def in_batches(
    variants: Variants,
    size: int,
    run: Callable[[Tensor, Tensor, Tensor], Any],
    *,
    device: torch.device,
    settings: Settings,
    log: Log,
    done: Callable[[], bool],
    before: int = 0,
    after: int = 0,
) -> Iterator[Any]:
    """Yield run(x, rows, numbers) of each micro-batch; where memory runs out, of smaller ones.

    before, after: inputs that were done before these and that come after them, for the progress.
    """
    start, total = 0, len(variants)
    while start < total and not done():
        if settings.cancel is not None and settings.cancel.is_set():
            raise Cancelled("Stopped, as asked.")
        try:
            chunk = variants.chunk(start, start + size)
            with torch.autocast(device.type, enabled=False):  # the caller's may be on
                result = run(*chunk)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            size = _smaller(size, variants.group, log, error)
            continue
        start += len(chunk[0])
        if settings.progress:
            settings.progress(before + start, before + total + after)
        yield result


def _smaller(size: int, group: int, log: Log, error: Exception) -> int:
    if size <= group:
        raise OutOfMemory(NOT_EVEN_ONE) from error
    half = max(group, size // 2 // group * group)
    log.notes.append(f"memory ran out with {size} inputs at a time; went on with {half}")
    return half
