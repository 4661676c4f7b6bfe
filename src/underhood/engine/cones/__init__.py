"""Pictures that differ from an original inside a box, carried through a network at the cost of the box.

What a layer makes of such a picture differs from what it makes of the original inside a box too: wider by
the kernel's reach, smaller by its stride. `Cone` is a batch of them that passes for a tensor (m, C, H, W):
each operation that is known here is computed inside the boxes alone, on what changed and a margin of the
original's activations, which are computed once. Any other operation gets the whole pictures, so that
results are always those of full passes. See docs/decisions/0009-receptive-cones.md.
"""

from underhood.engine.cones.cone import CannotFollow, Cone, Original, whole

__all__ = ["CannotFollow", "Cone", "Original", "whole"]
