"""The engine `local`: this process, or several on this machine, one for each device."""

import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path

import torch

from underhood.engine.settings import pick_device
from underhood.errors import InvalidArgument
from underhood.playbooks.engines.crew import News, share_out
from underhood.playbooks.engines.surveyor import Brief, Failure, Rows, Surveyor
from underhood.playbooks.engines.work import Work, here

START = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from underhood.playbooks.engines.local import serve
serve(int(sys.argv[2]), sys.argv[3], sys.argv[4])
"""
PATIENCE = 5  # seconds for a worker to end when it is told to


def local(work: Work) -> None:
    """Options: workers, how many processes; without it one for each CUDA device, or this one alone."""
    devices = _devices(work)
    workers = work.options.get("workers") or len(devices)
    if workers == 1:
        here(work)
        return
    if os.name != "posix":
        raise InvalidArgument("Several workers need Linux or macOS; take one, or the engine 'ray'.")
    with tempfile.TemporaryDirectory(prefix="underhood-") as folder:
        brief = Path(folder) / "brief"
        brief.write_bytes(pickle.dumps(Brief.of(work)))
        share_out(work, Processes(brief, devices, work.threads), workers)


def _devices(work: Work) -> list[str]:
    """The devices that the settings leave to choose from."""
    chosen = pick_device(work.settings.device, work.model.module)
    if work.settings.device == "auto" and chosen.type == "cuda":
        return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return [str(chosen)]


@dataclass(frozen=True)
class _Worker:
    process: "subprocess.Popen[bytes]"
    line: Connection


class Processes:
    """Workers as processes of their own, each at the end of a line; see `Crew`.

    They are started by name rather than by `multiprocessing`, which would run the user's program again.
    """

    def __init__(self, brief: Path, devices: Sequence[str], threads: int):
        self.brief, self.devices = brief, devices
        self.environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        self.workers: dict[int, _Worker] = {}

    def hire(self, worker: int) -> None:
        ours, theirs = Pipe()
        device = self.devices[worker % len(self.devices)]
        told = [json.dumps(sys.path), str(theirs.fileno()), str(self.brief), device]
        process = subprocess.Popen(
            [sys.executable, "-c", START, *told],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=self.environment,
        )
        theirs.close()
        self.workers[worker] = _Worker(process, ours)

    def give(self, worker: int, shard: int, rows: Rows) -> None:
        with suppress(OSError):  # it has died, and the end of its line is the next news
            self.workers[worker].line.send_bytes(pickle.dumps((shard, rows)))

    def news(self, seconds: float) -> list[News]:
        numbers = {one.line: worker for worker, one in self.workers.items()}
        return [self._heard(numbers[line]) for line in wait(list(numbers), seconds) if line in numbers]

    def _heard(self, worker: int) -> News:
        try:
            return News(worker, pickle.loads(self.workers[worker].line.recv_bytes()))
        except (EOFError, OSError):
            self._end(self.workers.pop(worker))
            return News(worker, died=True)

    def dismiss(self) -> None:
        """Whatever they are at: what is not committed is not there."""
        for one in self.workers.values():
            one.process.terminate()
        for one in self.workers.values():
            with suppress(subprocess.TimeoutExpired):
                one.process.wait(PATIENCE)
            self._end(one)
        self.workers.clear()

    @staticmethod
    def _end(one: _Worker) -> None:
        one.line.close()
        one.process.kill()
        one.process.wait()


def serve(line_number: int, brief_path: str, device: str) -> None:
    """What a worker does until the line ends: with the program that started it, however that ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for that program to handle
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # with temporary files removed
    line = Connection(line_number)
    brief: Brief = pickle.loads(Path(brief_path).read_bytes())
    surveyor = Surveyor.set_up(replace(brief, settings=replace(brief.settings, device=device)))
    news = surveyor if isinstance(surveyor, Failure) else None
    with suppress(OSError, EOFError):
        while True:
            line.send_bytes(pickle.dumps(news))
            shard, rows = pickle.loads(line.recv_bytes())
            assert isinstance(surveyor, Surveyor)  # no shard is given to one that failed
            news = surveyor.survey(shard, rows)
