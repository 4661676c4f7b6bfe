"""Every method of the list, at settings that take little: enough to see that it works, not to read its map.

A method that joins METHODS is here at once, with its defaults where it has no line of its own.
"""

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

import underhood as uh
from underhood.methods.explain import METHODS

SETTINGS: dict[str, dict[str, Any]] = {
    "smoothgrad": {"n": 4},
    "integrated_gradients": {"steps": 4},
    "expected_gradients": {"n": 4},
    "blur_ig": {"steps": 4},
    "guided_ig": {"steps": 4, "distance": 0.4},
    "occlusion": {"size": 8, "stride": 8},
    "kernel_shap": {"n": 40, "grouping": 6},
    "shapley_sampling": {"permutations": 4, "grouping": 4},
    "exact_shapley": {"grouping": 4},
    "partition_shap": {"n": 8},
    "lime": {"n": 20, "grouping": 4},
    "rise": {"n": 8, "grid": 2},
}


TOKENS: dict[str, dict[str, Any]] = {"integrated_gradients": {"kind": "activations"}}


def cheap(x: Tensor | None = None, *, at: str | None = None) -> dict[str, uh.Method]:
    """Key → method, for inputs like x (…), a picture unless told; `at` for all that take it."""
    return {kind.key: _one(kind, x, at) for kind in METHODS}


def _one(kind: type[uh.Method], x: Tensor | None, at: str | None) -> uh.Method:
    given, names = dict(SETTINGS.get(kind.key, {})), {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if x is not None and x.ndim == 1 and "grouping" in given:  # a row has no superpixels
        given["grouping"] = torch.arange(len(x)) * given["grouping"] // len(x)
    if x is not None and not x.is_floating_point():
        given |= TOKENS.get(kind.key, {})
        if getattr(kind(), "baseline", None) == "noise":
            given["baseline"] = x.flip(0)[None]
    if at is not None and "at" in names:
        given["at"] = at
    return replace(kind(), **given)  # type: ignore[type-var]
