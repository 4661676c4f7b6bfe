"""Peak memory of one run in a process of its own: python -m benchmarks.memory METHOD NETWORK LIBRARY."""

import subprocess
import sys

from benchmarks.measure import peak_extra


def measured(method: str, name: str, library: str) -> float:
    """MiB beyond what the loaded network takes."""
    command = [sys.executable, "-m", "benchmarks.memory", method, name, library]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


if __name__ == "__main__":
    from benchmarks import methods
    from benchmarks.networks import network, pictures

    wanted, network_name, tool = sys.argv[1:]
    print(peak_extra(getattr(methods, wanted)(network_name, network(network_name), pictures())[tool]))
