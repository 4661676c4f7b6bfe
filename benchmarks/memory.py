"""Peak memory of one run in a process of its own.

python -m benchmarks.memory CONTEST TOOL NETWORK CASE DEVICE
"""

import subprocess
import sys
from typing import TYPE_CHECKING

import torch

from benchmarks.measure import peak_extra

if TYPE_CHECKING:
    from benchmarks.contest import Scene


def measured(contest: str, scene: "Scene", tool: str) -> float:
    """MiB beyond what the loaded network takes."""
    command = [sys.executable, "-m", "benchmarks.memory", contest, tool, scene.network, scene.case]
    done = subprocess.run([*command, str(scene.device)], check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def main(contest: str, tool: str, network: str, case: str, device: str) -> None:
    from benchmarks.contest import Scene, Timed
    from benchmarks.contests import CONTESTS

    scene = Scene(network, case, torch.device(device))
    found = CONTESTS[contest]
    assert isinstance(found, Timed)
    print(peak_extra(found.match(scene).runs[tool], scene.device))


if __name__ == "__main__":
    main(*sys.argv[1:])
