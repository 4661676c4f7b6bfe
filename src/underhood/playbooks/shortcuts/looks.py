"""Do the things behind a finding look alike to the model? Their crops, grouped by its own features."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from underhood.engine import Engine, grad_cam_layer
from underhood.playbooks.shortcuts.clusters import group
from underhood.playbooks.shortcuts.moves import box
from underhood.playbooks.shortcuts.words import described

AROUND = 0.15  # of a thing's height and width, shown around it


def crops(inputs: Tensor, masks: Tensor) -> Tensor:
    """(B, C, H, W): each thing with a little around it, enlarged to the input's size."""
    height, width = inputs.shape[2:]
    found = []
    for picture, mask in zip(inputs, masks, strict=True):
        top, bottom, left, right = box(mask)
        down, across = round(AROUND * (bottom - top)) + 1, round(AROUND * (right - left)) + 1
        part = picture[:, max(0, top - down) : bottom + down, max(0, left - across) : right + across]
        found.append(F.interpolate(part[None], (height, width), mode="bilinear", align_corners=False))
    return torch.cat(found)


def features(engine: Engine, inputs: Tensor) -> NDArray[np.float64]:
    """(B, K), of length 1: the mean over places of the layer that Grad-CAM looks at."""
    layer = grad_cam_layer(engine, inputs[0]).name
    found = engine.capture(inputs, [layer])[layer]
    means = found.mean((2, 3)) if found.ndim == 4 else found.flatten(1, -2).mean(1)
    points = (means - means.mean(0)).double().numpy()
    return np.asarray(points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12))


def kinds(engine: Engine, inputs: Tensor, masks: NDArray[np.bool_], seed: int) -> list[Mapping[str, Any]]:
    """Of each group of things that look alike: how many, what and where; a single one where all do."""
    groups = group(features(engine, crops(inputs, torch.from_numpy(masks))), seed)
    found = []
    for label in range(groups.count):
        members = np.flatnonzero(groups.labels == label)
        what, where = described([masks[i] for i in members])
        found.append({"pictures": len(members), "what": what, "where": where, "members": members.tolist()})
    return sorted(found, key=lambda kind: -int(kind["pictures"]))
