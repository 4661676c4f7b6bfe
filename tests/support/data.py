"""The real weights and pictures that tests use where they are at hand; see MANIFEST.md beside them.

`UNDERHOOD_DATA` names the folder; without it, ../shared/data beside the repository is looked for.
"""

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("UNDERHOOD_DATA") or REPOSITORY / "../shared/data").resolve()
LOADERS = DATA / "load_models.py"

needs_data = pytest.mark.skipif(
    not LOADERS.is_file(), reason=f"the real data is not here: no {LOADERS}; set UNDERHOOD_DATA"
)


def load_models() -> ModuleType:
    """The module load_models.py, which builds the models of the data folder."""
    spec = importlib.util.spec_from_file_location("load_models", LOADERS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
