"""`make bench-verdict`: does the verdict's score tell maps that hit the true cause from maps that do not?

    python -m benchmarks.verdict.run [--images N] [--level LEVEL] [--folder FOLDER] [--only set|report]

Trains the planted models (minutes, once), explains pictures by every method, asks for the verdicts, and
writes FOLDER/verdicts.json; `benchmarks.verdict.told` makes the tables and plots of it.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import underhood as uh
from benchmarks.verdict.planted import PLANTS, Case, Plant, cases, planted
from underhood.checks import check
from underhood.checks.controls import centre, edges
from underhood.inputs.grouping import patches
from underhood.methods import Drawn, Method

MARGIN = 4  # pixels around the mark that still count as on it
IMPOSTORS: tuple[Method, ...] = (
    Drawn(edges, "edges"),
    Drawn(lambda x: torch.ones(len(x), *x.shape[2:]), "constant"),
    Drawn(lambda x: centre(tuple(x.shape[2:])).expand(len(x), -1, -1), "centre"),
)
PATCHES = patches((96, 96), 12)
EVERYWHERE = (
    "gradcam", "hirescam", "eigencam", "input_x_gradient", "saliency", "lrp",
    uh.IntegratedGradients(steps=24),
    uh.SmoothGrad(n=16),
    uh.Occlusion(size=18, stride=9),
    uh.KernelSHAP(grouping=PATCHES, n=300),
    uh.RISE(n=300, grid=6),
)  # fmt: skip
OF_CNNS = ("guided_backprop", "deeplift")
OF_VITS = ("attention_rollout", "attention_relevance")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=6)
    parser.add_argument("--level", default="standard")
    parser.add_argument("--folder", type=Path, default=Path("out/verdict"))
    parser.add_argument("--only", choices=("set", "report"))
    asked = parser.parse_args()
    torch.set_num_threads(1)  # on networks so small, threads cost more than they give
    rows: list[dict[str, Any]] = []
    for plant in PLANTS:
        if asked.only in (None, plant.half):
            started = time.perf_counter()
            rows += judged(plant, asked.folder, asked.images, asked.level)
            print(f"{plant.name}: {len(rows)} verdicts, {time.perf_counter() - started:.0f} s", flush=True)
    path = asked.folder / f"verdicts-{asked.level}.json"
    path.write_text(json.dumps(rows, allow_nan=False))
    print(f"Wrote {path}; now: python -m benchmarks.verdict.told {path}")


def judged(plant: Plant, folder: Path, images: int, level: str) -> Iterator[dict[str, Any]]:
    """A row for every explanation of a planted model's pictures."""
    model = planted(plant, folder)
    found = cases(plant, model, images)
    methods = [*EVERYWHERE, *(OF_VITS if plant.architecture.startswith("vit") else OF_CNNS), *IMPOSTORS]
    explained = uh.explain(model, torch.stack([case.picture for case in found]), methods=methods)
    maps = {(e.subject.name, e.method): torch.from_numpy(e.heatmap().copy()) for e in explained}
    of = {e.subject.name: case for e, case in zip(explained[:: len(methods)], found, strict=True)}
    for verdict in check(explained, level):
        share = on_cause(maps[verdict.subject, verdict.method], of[verdict.subject])
        yield {
            "plant": plant.name,
            "kind": plant.kind,
            "half": plant.half,
            "architecture": plant.architecture,
            "mark": plant.mark,
            "method": verdict.method,
            "input": verdict.subject,
            "on_cause": share,
            "word": verdict.word,
            "score": verdict.score,
            "answers": {reason.question: reason.answer for reason in verdict.reasons},
            "checks": {key: [r.value, r.p, r.skill, r.passed] for key, r in verdict.readings.items()},
        }


def on_cause(heatmap: Tensor, case: Case) -> float:
    """The share of positive relevance on the true cause; 0 where there is none of either."""
    positive = heatmap.clamp(min=0)
    if case.mask is None or not positive.sum() > 0:
        return 0.0
    near = F.max_pool2d(case.mask[None].float(), 2 * MARGIN + 1, 1, MARGIN)[0]
    return float((positive * near).sum() / positive.sum())


if __name__ == "__main__":
    main()
