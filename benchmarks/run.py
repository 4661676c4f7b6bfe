"""`make bench`: every contest, kept in benchmarks/results.json and shown in benchmarks/RESULTS.md.

python -m benchmarks.run [--networks resnet18,vit_tiny] [--only gradcam,occlusion] [--rounds 3]
[--device cuda] [--out FILE.md]
"""

import argparse
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import torch

from benchmarks.contests import CONTESTS
from benchmarks.networks import BUILDERS
from benchmarks.rows import Row, merged, page, read, table, write

RESULTS = Path(__file__).parent / "RESULTS.md"
HEADINGS = {key: f"## {one.title}\n\nAim: {one.aim}" for key, one in CONTESTS.items()}
NO_CARD = "There is no CUDA device here, so nothing can be measured on one."


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--networks", type=_listed(BUILDERS), default=list(BUILDERS))
    parser.add_argument("--only", type=_listed(CONTESTS), default=list(CONTESTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, default=RESULTS, help="tables; rows go to the .json beside them")
    asked = parser.parse_args(arguments)
    if asked.device == "cuda" and not torch.cuda.is_available():
        sys.exit(NO_CARD)
    for row in _measured(asked):
        _keep(asked.out, [row])
    print(f"Wrote {asked.out}")


def _listed(known: Collection[str]) -> Callable[[str], list[str]]:
    def parsed(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: choose from {', '.join(known)}")
        return names

    return parsed


def _measured(asked: argparse.Namespace) -> Iterator[Row]:
    for key in asked.only:
        for row in CONTESTS[key].rows(asked.networks, asked.rounds, torch.device(asked.device)):
            print(f"\n{CONTESTS[key].title}", *table([row]), sep="\n", flush=True)
            yield row


def _keep(out: Path, new: list[Row]) -> None:
    """At once, so that a run that is stopped loses nothing."""
    rows = sorted(merged(read(beside(out)), new), key=_place)
    write(beside(out), rows)
    text = out.read_text("utf-8") if out.is_file() else "# Benchmarks\n"
    out.write_text(page(text, rows, HEADINGS), encoding="utf-8")


def _place(row: Row) -> tuple[int, int, bool]:
    """Tables in the order of the contests, networks in theirs, the processor before cards."""
    networks = [*BUILDERS, row.network]
    return [*CONTESTS].index(row.contest), networks.index(row.network), row.device != "CPU"


def beside(out: Path) -> Path:
    """Where a page's rows are kept."""
    return out.with_name("results.json") if out == RESULTS else out.with_suffix(".json")


if __name__ == "__main__":
    main()
