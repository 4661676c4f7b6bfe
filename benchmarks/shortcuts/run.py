"""`make bench-shortcuts`: does the audit find shortcuts that were planted, and nothing in clean models?

    python -m benchmarks.shortcuts.run [--folder FOLDER] [--half set|report] [--seconds N] [--only WORD]

Trains the models that are not kept yet, audits each on data like what it was trained on, and
appends a line to FOLDER/results.jsonl. Models that have a line are passed over: a stopped run goes on.
Neither they nor kept models know of a changed benchmark: give it another folder.
`benchmarks.shortcuts.told` makes the tables and plots of it.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import underhood as uh
from benchmarks.shortcuts.cases import Case
from benchmarks.shortcuts.models import accuracies, arguments, asked_for, cheats, model
from benchmarks.shortcuts.planted import Marked, everything
from benchmarks.shortcuts.scored import first_right, overlap, scored
from benchmarks.shortcuts.spray import SHOWN, Cluster, reduced, region, spray
from underhood.inputs.dataset import Dataset
from underhood.playbooks.finding import Finding
from underhood.playbooks.survey import Survey, surveyed

Row = dict[str, Any]
DRAWN = 3  # examples kept of each model, for the plots


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--only", default="", help="audit the models whose name has this in it")
    parser.add_argument("--no-peer", action="store_true", help="leave SpRAy out")
    parser.add_argument(
        "--part", type=int, nargs=2, default=(0, 1), metavar=("K", "N"), help="every Nth, from K"
    )
    asked = parser.parse_args()
    torch.set_num_threads(1)  # on networks so small, threads cost more than they give
    path = asked.folder / "results.jsonl"
    wanted = [case for case in asked_for(asked.half) if asked.only in case.name]
    wanted = wanted[asked.part[0] :: asked.part[1]]
    known = {row["name"] for row in read(path)}
    left, until = [case for case in wanted if case.name not in known], time.perf_counter() + asked.seconds
    for done, case in enumerate(left):
        if time.perf_counter() > until:
            print(f"{len(left) - done} models are left; call again.")
            return
        row = audited(case, asked.folder, peers=not asked.no_peer)
        append(path, row)
        print(brief(row), flush=True)
    print(f"All in {path}; now: python -m benchmarks.shortcuts.told {path}")


def read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def append(path: Path, row: Row) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(row, allow_nan=False) + "\n")


def audited(case: Case, folder: Path, *, peers: bool = True) -> Row:
    """Everything that is told of one model; its example regions are kept beside."""
    from underhood.playbooks.shortcuts import Shortcuts

    trained, data = model(case, folder), everything(case, folder)
    labels = [(trained.labels or ())[number] for number in data.classes]
    found = accuracies(case, trained, folder)
    started = time.perf_counter()
    survey = surveyed(trained, Dataset.of(data.pictures, labels))
    outcome = Shortcuts()(survey)
    seconds = time.perf_counter() - started
    keep(folder / "examples" / f"{case.name}.npz", data, outcome.findings)
    return {
        **case.__dict__,
        "name": case.name,
        "accuracy": found,
        "cheats": case.placing == "one class" and cheats(found),
        "pictures": len(data),
        "marked": int(data.masks.any((1, 2)).sum()),
        "summary": outcome.summary,
        "findings": [told(case.mark, finding, data) for finding in outcome.findings],
        "first_right": first_right(case.mark, outcome.findings, data.masks),
        "seconds": round(seconds, 2),
        "calls": outcome.calls,
        "spray": {name: peer(maps, survey, data) for name, maps in peers_maps(survey).items()}
        if peers
        else {},
    }


def told(mark: str, finding: Finding, data: Marked) -> Row:
    score = scored(mark, finding, data.masks)
    return {
        "key": finding.key,
        "claim": finding.claim,
        "severity": finding.severity,
        "label": finding.label,
        "right": score.right,
        "overlap": score.overlap,
        "called": score.called,
    }


def keep(path: Path, data: Marked, findings: Sequence[Finding]) -> None:
    """The top finding's first pictures, with where the mark is and what was found; none where none was."""
    if not findings or findings[0].masks is None:
        return
    rows = list(findings[0].rows[:DRAWN])
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path, pictures=data.pictures[rows], true=data.masks[rows], found=findings[0].masks[: len(rows)]
    )


def peers_maps(survey: Survey) -> dict[str, NDArray[np.float32]]:
    """LRP as SpRAy was published with, and the survey's own Grad-CAM; what speaks for the predicted class."""
    explained = uh.explain(survey.model, survey.inputs(range(len(survey))), methods="lrp")
    relevance = np.stack([explanation.heatmap() for explanation in explained])
    return {"lrp": np.maximum(relevance, 0), "gradcam": np.asarray(survey.maps[:])}


def peer(maps: NDArray[np.float32], survey: Survey, data: Marked) -> Row | None:
    """SpRAy's most suspicious cluster and how well its region fits the mark."""
    cluster = spray(maps, survey.predicted)
    if cluster is None:
        return None
    true = data.masks[cluster.rows[:SHOWN]]
    return {
        "separation": cluster.separation,
        "size": len(cluster.rows),
        "marked": float(data.masks[cluster.rows].any((1, 2)).mean()),
        **fits(maps, cluster, true),
    }


def fits(maps: NDArray[np.float32], cluster: Cluster, true: NDArray[np.bool_]) -> dict[str, float]:
    """Overlap of the mark with the cluster's mean map, and with each map by itself."""
    rows, shape = cluster.rows[:SHOWN], (true.shape[1], true.shape[2])
    mean = region(cluster.mean, shape)
    each = np.stack([region(small, shape) for small in reduced(maps[rows])])
    return {
        "overlap_mean": overlap(np.broadcast_to(mean, true.shape), true),
        "overlap_each": overlap(each, true),
    }


def brief(row: Row) -> str:
    top = row["findings"][0] if row["findings"] else None
    state = "cheats" if row["cheats"] else "clean" if row["placing"] != "one class" else "does not cheat"
    what = (
        "nothing found"
        if top is None
        else f"{'right' if top['right'] else 'WRONG'} {top['overlap']} {top['key']}"
    )
    return f"{row['name']}: {state}, {what}, {row['seconds']:.0f} s"


if __name__ == "__main__":
    main()
