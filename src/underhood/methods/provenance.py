"""What has to be known to repeat an explanation."""

import platform
import time
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch

from underhood.engine import Engine
from underhood.models import Model


class Stopwatch:
    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    @property
    def seconds(self) -> float:
        return round(time.perf_counter() - self._wall, 4)

    @property
    def cpu_seconds(self) -> float:
        return round(time.process_time() - self._cpu, 4)


def provenance(model: Model, engine: Engine, watch: Stopwatch, inputs: int) -> dict[str, Any]:
    """Versions, digests, settings, passes and time of one method's run over a batch of `inputs`."""
    return {
        "model": model.name,
        "model_digest": engine.digest,
        "load": dict(model.loaded),
        "preprocess": repr(model.preprocess) if model.preprocess else None,
        "notes": [*model.notes, *engine.log.notes],
        "seed": engine.settings.seed,
        "device": str(engine.device),
        "precision": engine.log.precision,
        "inputs": inputs,
        "forward_passes": engine.log.forward,
        "partial_passes": engine.log.partial,
        "backward_passes": engine.log.backward,
        "seconds": watch.seconds,
        "cpu_seconds": watch.cpu_seconds,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "underhood": _version("underhood"),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
