"""Makes the figure and the table of docs/checks/randomisation.md: python scripts/make_randomisation_figure.py

Adebayo et al. 2018 found that some maps hardly change when a model's weights are made random. The same is
seen here on the demo's network that reads lesions, with 12 pictures of which the first is shown.
"""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray

import underhood as uh
from underhood.checks import Checked, Randomisation, batches
from underhood.checks.controls import edges
from underhood.checks.remade import parts_of
from underhood.checks.weights import Redrawn
from underhood.demo.dermoscopy import draw
from underhood.engine.passes import Log
from underhood.methods import Drawn, Method

ROOT = Path(__file__).resolve().parents[1]
PAGE, FIGURE = ROOT / "docs" / "checks" / "randomisation.md", ROOT / "docs" / "images" / "randomisation.jpg"
PICTURES = 12
METHODS: dict[str, Method] = {
    "Gradient": uh.Saliency("signed"),
    "SmoothGrad": uh.SmoothGrad(n=20),
    "Grad-CAM": uh.GradCAM(),
    "Integrated gradients": uh.IntegratedGradients(steps=16),
    "Guided backprop": uh.GuidedBackprop(),
    "Edges (control)": Drawn(edges, "edges"),
}
SHOWN = {"head": "head", "features.4.0": "block 5", "features.3.0": "block 4", "features.2.0": "block 3",
         "features.1.0": "block 2", "features.0.0": "all"}  # fmt: skip
CHECK = Randomisation(draws=3)
COLOURS = ("#0072b2", "#56b4e9", "#009e73", "#e69f00", "#d55e00", "#666666")


def main() -> None:
    torch.set_num_threads(1)  # networks this small gain nothing from a second
    model = uh.load("demo:honest")
    pictures = [draw(number, malignant=number % 2 == 0).image for number in range(PICTURES)]
    checked, shown = {}, {}
    for name, method in METHODS.items():
        checked[name] = CHECK(uh.explain(model, pictures, methods=method))
        shown[name] = maps(uh.explain(model, pictures[:1], methods=method))
        print(name, checked[name].value, flush=True)
    picture(pictures[0], shown, checked)
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition("<!-- table -->")
    _, _, tail = rest.partition("<!-- end -->")
    lines = "\n".join(table(checked))
    PAGE.write_text(f"{head}<!-- table -->\n{lines}\n<!-- end -->{tail}", encoding="utf-8")


def maps(found: uh.Explanations) -> list[NDArray[np.float32]]:
    """The map as it is, and with ever more of the network random."""
    (batch,) = batches(found)
    parts, redrawn = parts_of(batch, Log()), Redrawn(batch.model, "normal", 0)
    drawn, names = [batch.maps[0].numpy()], []
    for part in parts:
        names += part.parameters
        if part.name in SHOWN:
            drawn.append(batch.explained(batch.asked_of(redrawn.of(names)))[0].numpy())
    return drawn


def picture(
    image: NDArray[np.uint8], shown: dict[str, list[NDArray[np.float32]]], checked: dict[str, Checked]
) -> None:
    columns = ["as trained", *SHOWN.values()]
    figure = plt.figure(figsize=(10.5, 12.6), dpi=110)
    above, below = figure.subfigures(2, 1, height_ratios=(3.35, 1))
    grid = above.subplots(len(shown), len(columns), gridspec_kw={"wspace": 0.05, "hspace": 0.0})
    above.subplots_adjust(left=0.17, right=0.985, top=0.93, bottom=0.01)
    above.suptitle("Maps of one picture, its network made random from the top down to …", fontsize=12)
    for axes, column in zip(grid[0], columns, strict=True):
        axes.set_title(column, fontsize=10)
    for row, (name, drawn) in zip(grid, shown.items(), strict=True):
        row[0].text(-0.1, 0.5, name, transform=row[0].transAxes, ha="right", va="center", fontsize=10)
        for axes, heatmap in zip(row, drawn, strict=True):
            one_map(axes, heatmap)
    inset = above.add_axes((0.015, 0.94, 0.055, 0.055))
    inset.imshow(image)
    inset.axis("off")
    curves(below, checked)
    figure.savefig(FIGURE, pil_kwargs={"quality": 82})
    print(f"Wrote {FIGURE}")


def one_map(axes: Axes, heatmap: NDArray[np.float32]) -> None:
    limit = max(float(np.quantile(np.abs(heatmap), 0.995)), 1e-12)
    signed = heatmap.min() < 0
    axes.imshow(heatmap, cmap="RdBu_r" if signed else "viridis", vmin=-limit if signed else 0, vmax=limit)
    axes.set_xticks([])
    axes.set_yticks([])


def curves(figure: mpl.figure.SubFigure, checked: dict[str, Checked]) -> None:
    panels = figure.subplots(1, 2, sharey=True)
    figure.subplots_adjust(left=0.07, right=0.8, top=0.86, bottom=0.27, wspace=0.06)
    for axes, key, title in zip(panels, ("spearman", "spearman_abs"), ("with signs", "|map|"), strict=True):
        for (name, found), colour in zip(checked.items(), COLOURS, strict=True):
            values = [mean(found, n, key) for n in range(len(found[0].details["stages"]))]
            axes.plot(values, "o-", color=colour, label=name, markersize=3.5)
        labels = [stage["part"].replace("features.", "") for stage in found[0].details["stages"]]
        axes.set_xticks(range(len(labels)), labels, rotation=60, fontsize=8)
        axes.axhline(0, color="#999999", linewidth=0.6)
        axes.set_title(f"Rank correlation with the map as trained, {title}", fontsize=9)
        axes.set_xlabel("random from the output down to", fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    panels[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)


def table(checked: dict[str, Checked]) -> list[str]:
    lines = [
        "| method | value | passes | ρ head | ρ upper half | ρ all | ρ of \\|map\\|: head | upper half "
        "| all | SSIM, HOG of \\|map\\|, upper half | untrained against untrained |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, found in checked.items():
        half, full = found[0].details["counted"]
        cells = [
            *(cell for key in ("spearman", "spearman_abs") for cell in (
                f"{mean(found, 0, key):.2f}", counted(found, half, key), counted(found, full, key),
            )),
            f"{counted(found, half, 'ssim_abs')}, {counted(found, half, 'hog_abs')}",
        ]  # fmt: skip
        passed = f"{sum(bool(reading.passed) for reading in found)} of {len(found)}"
        value, fresh = found.value, found.controls["fresh"]
        lines.append(f"| {name} | {value:.2f} | {passed} | {' | '.join(cells)} | {fresh:.2f} |")
    return lines


def mean(found: Checked, stage: int, key: str) -> float:
    values = [reading.details["stages"][stage][key] for reading in found]
    return float(np.mean([value for value in values if value is not None]))


def counted(found: Checked, stage: str, key: str) -> str:
    values = [reading.details["counted"][stage][key] for reading in found]
    return f"{np.mean([value for value in values if value is not None]):.2f}"


if __name__ == "__main__":
    main()
