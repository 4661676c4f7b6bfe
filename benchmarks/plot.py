"""Draws docs/images/bench.png from benchmarks/results.json: python -m benchmarks.plot [FILE.json]

A panel for each contest, a line for each network, a mark for each library; the dashed line is what ours may
cost at most.
"""

import sys
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib

from benchmarks.contests import CONTESTS
from benchmarks.rows import OURS, Row, read
from benchmarks.run import RESULTS, beside

matplotlib.use("Agg")
IMAGE = Path(__file__).resolve().parents[1] / "docs" / "images" / "bench.png"
ROWS = beside(RESULTS)
COLUMNS = 3
# Okabe & Ito's colours, which the colour-blind tell apart; a shape each as well.
MARKS = {
    OURS: ("#0072B2", "o"),
    f"{OURS} auto": ("#56B4E9", "o"),
    "captum": ("#E69F00", "s"),
    "pytorch-grad-cam": ("#009E73", "^"),
    "zennit": ("#D55E00", "D"),
    "quantus": ("#CC79A7", "X"),
    "lime": ("#CC79A7", "v"),
    "shap": ("#000000", "X"),
}


def main(path: Path = ROWS, image: Path = IMAGE) -> None:
    rows = read(path)
    for device in dict.fromkeys(row.device for row in rows):
        name = image if device == "CPU" else image.with_stem(f"{image.stem}-{_slug(device)}")
        draw([row for row in rows if row.device == device], device, name)
        print(f"Wrote {name}")


def draw(rows: Sequence[Row], device: str, image: Path) -> None:
    from matplotlib import pyplot as plt

    shown = [key for key in CONTESTS if any(row.contest == key for row in rows)]
    lines = [[row for row in rows if row.contest == key] for key in shown]
    bands = [lines[i : i + COLUMNS] for i in range(0, len(lines), COLUMNS)]
    heights = [max(map(len, band)) + 2.6 for band in bands]
    figure, axes = plt.subplots(
        len(bands), COLUMNS, figsize=(5.0 * COLUMNS, 0.27 * sum(heights) + 0.9), squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )  # fmt: skip
    for axis, key, of in zip(axes.flat, shown, lines, strict=False):
        panel(axis, CONTESTS[key].title, CONTESTS[key].limit, of)
    for axis in axes.flat[len(shown) :]:
        axis.axis("off")
    drawn = {tool: mark for tool, mark in MARKS.items() if any(tool in row.over for row in rows)}
    handles = [plt.Line2D([], [], color=c, marker=m, ls="", label=tool) for tool, (c, m) in drawn.items()]
    handles.append(plt.Line2D([], [], color="0.35", ls="--", label="the most that ours may cost"))
    figure.suptitle(f"Cost, × what the method must take at least ({device}); further left is better")
    figure.legend(handles=handles, ncol=ceil(len(handles)), loc="lower center", frameon=False)
    figure.tight_layout(rect=(0, 0.35 / figure.get_figheight(), 1, 1))
    figure.savefig(image, dpi=100)
    plt.close(figure)


def panel(axis: Any, title: str, limit: float, rows: Sequence[Row]) -> None:
    for y, row in enumerate(rows):
        costs = {tool: cost[0] for tool, cost in row.over.items() if cost and tool in MARKS}
        axis.plot([min(costs.values()), max(costs.values())], [y, y], color="0.8", lw=1.5, zorder=1)
        for tool, cost in reversed(costs.items()):  # ours on top
            colour, mark = MARKS[tool]
            axis.scatter(cost, y, color=colour, marker=mark, s=42 if tool == OURS else 30, zorder=2)
    axis.axvline(limit, color="0.35", ls="--", lw=1, zorder=0)
    axis.set_xscale("log")
    values = [cost[0] for row in rows for cost in row.over.values() if cost] + [limit, 0.9, 1.2]
    low, high = min(values) / 1.2, max(values) * 1.2
    axis.set_xlim(low, high)
    ticks = [
        t for t in (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 30, 100, 300, 1000) if low <= t <= high
    ]
    if high / low > 30:
        ticks = [t for t in ticks if t in (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)]
    axis.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axis.set_xticks([], minor=True)
    axis.set_yticks(
        range(len(rows)), [f"{row.network}, {row.case}" if row.case else row.network for row in rows]
    )
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_title(fill(title, 48), fontsize=9)
    axis.grid(axis="x", alpha=0.25)
    axis.tick_params(labelsize=8.5)


def _slug(text: str) -> str:
    return "-".join(text.lower().split())


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
