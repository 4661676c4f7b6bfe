"""The figure and the table of docs/wolves.md."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

import underhood as uh
from benchmarks.wolves.run import Case, told
from benchmarks.wolves.scenes import BACKGROUNDS, CLASSES, Scenes

ROOT = Path(__file__).resolve().parents[2]
PAGE, FIGURE = ROOT / "docs" / "wolves.md", ROOT / "docs" / "images" / "wolves.jpg"
EACH = 2  # pictures of each class before each background


def write(cases: Sequence[Case], shown: Scenes) -> None:
    drawn(cases, shown)
    text = PAGE.read_text(encoding="utf-8")
    lines = "\n\n".join(
        "\n".join([first, "", *rest]) for first, *rest in (told(case, shown) for case in cases)
    )
    head, _, rest = text.partition("<!-- table -->")
    _, _, tail = rest.partition("<!-- end -->")
    PAGE.write_text(f"{head}<!-- table -->\n{lines}\n<!-- end -->{tail}", encoding="utf-8")
    print(f"Wrote {PAGE.relative_to(ROOT)} and {FIGURE.relative_to(ROOT)}")


def drawn(cases: Sequence[Case], shown: Scenes) -> None:
    rows = chosen(shown)
    figure, grid = plt.subplots(
        1 + len(cases),
        len(rows),
        figsize=(11, 4.6),
        dpi=110,
        gridspec_kw={
            "wspace": 0.04,
            "hspace": 0.06,
            "left": 0.1,
            "right": 0.995,
            "top": 0.88,
            "bottom": 0.01,
        },
    )
    for axes, row in zip(grid[0], rows, strict=True):
        axes.imshow(shown.images[row])
        kind, background = int(shown.kind[row]), int(shown.background[row])
        swapped = "" if kind == background else " (swapped)"
        axes.set_title(f"{CLASSES[kind]},\n{BACKGROUNDS[background]}{swapped}", fontsize=8)
    labelled(grid[0, 0], "picture")
    for line, case in zip(grid[1:], cases, strict=True):
        found = uh.explain(case.model, [shown.images[row] for row in rows], methods=uh.GradCAM())
        labelled(line[0], f"trained for\nthe {case.name}")
        for axes, row, one in zip(line, rows, found, strict=True):
            over(axes, shown.images[row], np.asarray(one.heatmap()))
            answer = CLASSES[one.prediction.index]
            right = one.prediction.index == shown.kind[row]
            axes.text(
                0.03, 0.04, answer, transform=axes.transAxes, fontsize=8, color="white",
                bbox={"facecolor": "#1a7f37" if right else "#b3261e", "edgecolor": "none", "pad": 2},
            )  # fmt: skip
    for axes in grid.flat:
        axes.set_xticks([])
        axes.set_yticks([])
    figure.savefig(FIGURE, pil_kwargs={"quality": 85})


def chosen(shown: Scenes) -> list[int]:
    """The first pictures of each class before each background."""
    found: list[int] = []
    for kind in range(2):
        for background in (kind, 1 - kind):
            found += np.flatnonzero((shown.kind == kind) & (shown.background == background))[:EACH].tolist()
    return found


def labelled(axes: Axes, text: str) -> None:
    axes.text(-0.1, 0.5, text, transform=axes.transAxes, ha="right", va="center", fontsize=9)


def over(axes: Axes, image: NDArray[np.uint8], heat: NDArray[Any]) -> None:
    axes.imshow(image.mean(2), cmap="gray", vmin=0, vmax=255)
    axes.imshow(heat, cmap="inferno", alpha=0.6, vmin=0, vmax=max(float(heat.max()), 1e-9))
