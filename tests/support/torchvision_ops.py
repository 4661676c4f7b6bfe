"""Lets torchvision be imported where its compiled operators are missing.

The tests install torchvision with --no-deps beside the CPU build of torch. When the two do not match,
torchvision's operators do not load, and its import fails with "operator torchvision::nms does not
exist", because it registers shape rules for them. The classification models use none of them, so giving
their names and signatures before the first import is enough.
"""

import torch

SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

_library = torch.library.Library("torchvision", "DEF")  # the definitions live as long as this object
for _name in ("nms", "qnms"):
    if not hasattr(torch.ops.torchvision, _name):
        _library.define(_name + SCHEMA)
