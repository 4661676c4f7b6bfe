"""Scores of variants that differ from their input inside a box, computing no more than what the box changes.

See `cones` for how. One variant goes ahead: it says what there is to gain, what memory the others need, and
that the scores are those of full passes.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from underhood.engine import passes
from underhood.engine.alike import alike
from underhood.engine.batches import even, in_batches
from underhood.engine.budget import Footprint, cpu_budget, micro_batch, parse_memory
from underhood.engine.cones import Cone, Original
from underhood.engine.standin import Form
from underhood.errors import BadModel, OutOfMemory
from underhood.inputs.variants import Crop, Variants
from underhood.models import Target

if TYPE_CHECKING:
    from underhood.engine.engine import Engine

FEWEST = 32  # variants of an input: below that the one that goes ahead is not worth it
WORTHWHILE = 1.2  # least gain
EXACT = 1e-5  # greatest difference from a full pass, as a share of the largest score
BATCH = 32  # variants at once: their boxes are smaller than pictures


@dataclass(frozen=True)
class Boxed:
    """The variants of one input."""

    variants: Variants
    row: int
    form: Form

    @property
    def picture(self) -> Tensor:
        return self.variants.inputs[self.row : self.row + 1]

    def pictures(self, numbers: Tensor) -> Tensor:
        return self.variants.make(torch.full_like(numbers, self.row), numbers)

    def cone(self, original: Original, numbers: Tensor) -> Cone:
        """Variants as cones; boxes of different sizes are widened to the largest."""
        assert self.variants.boxes is not None
        top, left, height, width = self.variants.boxes[numbers].unbind(1)
        h, w = int(height.max()), int(width.max())
        bottom, right = self.picture.shape[2] - h, self.picture.shape[3] - w
        crop = Crop(top.clamp(max=bottom), left.clamp(max=right), h, w)
        if self.variants.parts:
            found = self.variants.parts(torch.full_like(numbers, self.row), numbers, crop)
        else:
            found = crop.of(self.pictures(numbers))
        return original.cone(crop.top, crop.left, self.form.ready(found))


def partial_scores(engine: "Engine", variants: Variants, target: Target, form: Form) -> Tensor | None:
    """The target's scores (n,) in the order of `Variants`; None where full passes are the better way."""
    if not _promising(engine, variants, form):
        return None
    try:
        with engine.borrowed(form) as module:
            tried = _trial(engine, module, Boxed(variants, 0, form))
            if tried is None:
                return None
            engine.log.work = "receptive cones"
            same = alike(variants.inputs) if engine.asked > 1 and len(variants.inputs) > 1 else None
            scores = torch.empty(variants.count, len(variants.inputs))
            for rows in same.groups() if same else torch.arange(len(variants.inputs)).split(1):
                scores[:, rows] = _of_rows(
                    engine, module, Boxed(variants, int(rows[0]), form), rows, target, tried
                )
    except (BadModel, OutOfMemory) as error:
        engine.log.work = "full passes"
        engine.log.notes.append(f"full passes, as receptive cones failed: {error}")
        return None
    return scores.flatten()  # (count · B,)


def _promising(engine: "Engine", variants: Variants, form: Form) -> bool:
    """On CUDA devices the gain has not been measured; bfloat16 rounds otherwise in other shapes."""
    return (
        variants.boxes is not None
        and variants.inputs.ndim == 4
        and variants.count >= FEWEST
        and form.dtype == torch.float32
        and engine.device.type == "cpu"
        and engine.model.scratch.get("gain of cones", {}).get(_key(variants), WORTHWHILE) >= WORTHWHILE
    )


def _key(variants: Variants) -> tuple[int, ...]:
    assert variants.boxes is not None
    return (*variants.inputs.shape[1:], *variants.boxes[:, 2:].amax(0).tolist())


@dataclass(frozen=True)
class Tried:
    """What the variant that went ahead has shown."""

    original: Original  # of the first input
    footprint: Footprint  # of a variant
    own: int  # bytes of the original's activations


def _trial(engine: "Engine", module: nn.Module, boxed: Boxed) -> Tried | None:
    """One variant in both ways; None where cones gain too little, need too much memory, or disagree."""
    number = _middle(boxed.variants)
    original = Original(boxed.form.ready(boxed.picture))
    with torch.inference_mode():
        engine.log.forward += 1  # the original's activations
        quick = passes.forward(module, boxed.cone(original, number), engine.log)
        gains = engine.model.scratch.setdefault("gain of cones", {})
        gains[_key(boxed.variants)] = original.work.gain
        if original.work.gain < WORTHWHILE:
            return None
        if 2 * original.memory > _budget(engine):
            engine.log.notes.append(
                "full passes, as the activations for receptive cones need too much memory"
            )
            return None
        exact = passes.forward(module, boxed.form.ready(boxed.pictures(number)), engine.log)
    if not (quick - exact).abs().max() <= EXACT * exact.abs().max():
        engine.log.notes.append("full passes, as receptive cones gave other scores on a sample")
        return None
    sizes = tuple(("", size) for size in original.work.sizes)
    return Tried(original, Footprint(4 * boxed.picture.numel() * 4, sizes), original.memory)


def _budget(engine: "Engine") -> int:
    return cpu_budget(parse_memory(engine.settings.memory))


def _of_rows(  # noqa: PLR0917
    engine: "Engine", module: nn.Module, boxed: Boxed, alike_rows: Tensor, target: Target, tried: Tried
) -> Tensor:
    """The scores (count, rows) of one input's variants, those with like places in the picture side by side.

    alike_rows: where this input stands among the inputs, once for each target it is asked about.
    """
    count, row = boxed.variants.count, boxed.row
    original = tried.original
    if row:
        engine.log.forward += 1
        original = Original(boxed.form.ready(boxed.picture))
    left = _budget(engine) - tried.own
    size = even(count, micro_batch(engine.device, tried.footprint.forward(), left, most=BATCH), 1)
    order = _alike_together(boxed.variants, size)

    def run(numbers: Tensor, *_: Tensor) -> Tensor:
        with torch.inference_mode():
            read = passes.source(module, boxed.cone(original, numbers), target.layer, engine.log)
            asked = [target.rows(torch.full_like(numbers, int(at))).score(read) for at in alike_rows]
            return passes.as_result(torch.stack(asked, 1))

    parts = in_batches(
        Variants(boxed.picture, count, lambda _, numbers: order[numbers]), size, run,
        device=engine.device, settings=engine.settings, log=engine.log, done=lambda: False,
        before=row * count, after=(len(boxed.variants.inputs) - row - 1) * count,
    )  # fmt: skip
    scores = torch.empty(count, len(alike_rows))
    scores[order] = torch.cat(list(parts))
    return scores


def _clipped(variants: Variants) -> tuple[Tensor, Tensor]:
    """How far boxes reach down and across (n,) when grown by half the picture and cut by its edges."""
    assert variants.boxes is not None
    top, left, height, width = variants.boxes.unbind(1)
    spans = zip((top, left), (height, width), variants.inputs.shape[2:], strict=True)
    down, across = (
        (start + length + side // 2).clamp(max=side) - (start - side // 2).clamp(min=0)
        for start, length, side in spans
    )
    return down, across


def _middle(variants: Variants) -> Tensor:
    """The variant with most to compute, (1,)."""
    down, across = _clipped(variants)
    return (down * across).argmax().reshape(1)


def _alike_together(variants: Variants, size: int) -> Tensor:
    """An order in which neighbours are cut alike by the edges: batches have the boxes of their largest."""
    down, across = _clipped(variants)
    batches_in_a_strip = max(1, round((variants.count / size) ** 0.5))
    parts = down.argsort(stable=True).split(size * batches_in_a_strip)
    return torch.cat([part[across[part].argsort(stable=True)] for part in parts])
