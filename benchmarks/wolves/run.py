"""`python -m benchmarks.wolves.run`: is the model that learnt the background found? And is the other let be?

Trains the two models (half a minute each), audits both on the same pictures with the playbooks "shortcuts"
and "errors", and writes the table and the figure of docs/wolves.md. Needs the folders coco and concepts of
UNDERHOOD_DATA.
"""

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import underhood as uh
from benchmarks.wolves.models import accuracy, trained
from benchmarks.wolves.scenes import Material, Scenes, material, scenes
from underhood.playbooks import Outcome
from underhood.playbooks.figures import percent
from underhood.playbooks.registry import as_playbooks
from underhood.playbooks.survey import surveyed

AUDITED = 400  # pictures
SWAPPED = (0.4, 0.0)  # share of animals, and of vehicles, before the other's background
PLAYBOOKS = ("shortcuts", "errors")


@dataclass(frozen=True)
class Case:
    """One model, how right it is, and what the audit says of it."""

    name: str
    model: uh.Model
    accuracy: dict[str, float]
    outcomes: dict[str, Outcome]


def audited(name: str, of: Material, playbooks: Sequence[str] = PLAYBOOKS) -> Case:
    """Trained on two thirds of the textures, audited on the others."""
    model, shown = trained(name, of.half(0)), pictures(of)
    survey = surveyed(model, shown.dataset("wolves"))
    return Case(
        name, model, accuracy(model, shown), {one.key: one(survey) for one in as_playbooks(playbooks)}
    )


def pictures(of: Material) -> Scenes:
    return scenes(of.half(1), AUDITED, SWAPPED, seed=2)


def swapped_in_groups(outcome: Outcome, shown: Scenes) -> list[str]:
    """Of each group of errors, how many stand before the other class's background; the audit was not told."""
    swapped = shown.kind != shown.background
    lines = outcome.tables["Errors"]
    groups = sorted({line["group"] for line in lines if line["group"] is not None})
    found = []
    for group in groups:
        rows = [line["row"] for line in lines if line["group"] == group]
        found.append(
            f"Of the {len(rows)} errors in group {group}, {int(swapped[rows].sum())} stand before the other "
            "class's background."
        )
    return found


def told(case: Case, shown: Scenes) -> list[str]:
    lines = [
        f"The model trained for the {case.name} is right in {percent(case.accuracy['usual'])} before the "
        f"usual background and in {percent(case.accuracy['swapped'])} before the other."
    ]
    for key, outcome in case.outcomes.items():
        lines.append(f"- `{key}`: {outcome.summary}")
        lines += [f"  - {finding.severity}: {finding.claim}" for finding in outcome.findings]
        if key == "errors":
            lines += [f"  - (known here alone) {line}" for line in swapped_in_groups(outcome, shown)]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("UNDERHOOD_DATA", "../shared/data")))
    parser.add_argument("--no-page", action="store_true", help="print only; leave docs/wolves.md as it is")
    asked = parser.parse_args()
    if not (asked.data / "coco" / "instances.json").is_file():
        parser.exit(1, f"There is no folder coco with instances.json in '{asked.data}'; give --data.\n")
    torch.set_num_threads(1)
    of, cases = material(asked.data), []
    shown = pictures(of)
    for name in ("background", "object"):
        started = time.perf_counter()
        cases.append(audited(name, of))
        print("\n".join(told(cases[-1], shown)))
        print(f"  {time.perf_counter() - started:.0f} s", flush=True)
    if not asked.no_page:
        from benchmarks.wolves.page import write

        write(cases, shown)


if __name__ == "__main__":
    main()
