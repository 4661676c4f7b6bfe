"""Underhood looks inside trained deep models, and says how far each answer can be trusted.

>>> import underhood as uh
>>> model = uh.load("demo:cheating")
>>> explanation = uh.explain(model, "lesion.png")
>>> explanation["gradcam"].heatmap().shape
(128, 128)
"""

import importlib
from typing import TYPE_CHECKING, Any

from underhood.errors import UnderhoodError as UnderhoodError

if TYPE_CHECKING:
    from underhood.checks import *  # noqa: F403
    from underhood.engine import *  # noqa: F403
    from underhood.inputs import *  # noqa: F403
    from underhood.methods import *  # noqa: F403
    from underhood.models import *  # noqa: F403
    from underhood.playbooks import *  # noqa: F403

__version__ = "0.1.0"

_ROOMS = ("models", "inputs", "engine", "methods", "checks", "playbooks")


def __getattr__(name: str) -> Any:
    """Names of the rooms are loaded when first used: importing this package does not import torch."""
    if not name.startswith("_"):
        for room in _ROOMS:
            module = importlib.import_module(f"underhood.{room}")
            if name in module.__all__:
                return getattr(module, name)
    raise AttributeError(f"module 'underhood' has no attribute '{name}'")


def __dir__() -> list[str]:
    offered = [importlib.import_module(f"underhood.{room}").__all__ for room in _ROOMS]
    return sorted({*globals(), *(name for names in offered for name in names)})
