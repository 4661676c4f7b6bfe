"""What the shortcut benchmark tells: tables and plots for the docs.

python -m benchmarks.shortcuts.told out/shortcuts/results.jsonl
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.shortcuts.cases import ON, PREVALENCES
from benchmarks.shortcuts.planted import over_all
from benchmarks.shortcuts.run import read
from benchmarks.shortcuts.scored import RIGHT
from underhood.playbooks.statistics import wilson

Row = dict[str, Any]
Told = Callable[[Row], bool]
DOCS = Path(__file__).parents[2] / "docs"
MARK = "<!-- what follows is written by benchmarks/shortcuts/told.py -->"
# The demo has a ruler, too, and the playbook was tried on it; bar codes and arrows came after it was settled.
PARTS = {
    "the same without rulers": lambda mark: mark != "ruler",
    "bar codes and arrows alone": lambda mark: mark in ("barcode", "arrow"),
}
PEERS = {"lrp": "SpRAy on LRP", "gradcam": "SpRAy on Grad-CAM"}


def main(path: Path) -> None:
    rows = read(path)
    page = DOCS / "shortcut-benchmark.md"
    head, _, _ = page.read_text().partition(MARK) if page.exists() else ("", "", "")
    told = "\n\n".join(tables(rows))
    page.write_text(head + MARK + "\n\n" + told + "\n")
    print(told)
    by_prevalence(rows, DOCS / "images" / "shortcut_benchmark.png")
    examples(rows, path.parent / "examples", DOCS / "images" / "shortcut_examples.png")


def tables(rows: Sequence[Row]) -> Iterator[str]:
    for half, title in (("report", "Reported marks"), ("set", "Marks on which the playbook was tuned")):
        mine = [row for row in rows if row["half"] == half]
        if mine:
            yield f"## {title}"
            yield headline(mine, rows)
            yield by("mark", mine, rows)
            if half == "report":
                for key in ("base", "prevalence", "architecture"):
                    yield by(key, mine, rows)
            yield lists(mine)


def cheating(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["cheats"]]


def clean(rows: Sequence[Row]) -> list[Row]:
    """Never trained on a shortcut. One that goes by its mark all the same is counted here as well."""
    return [row for row in rows if row["placing"] != "one class"]


def harmless(rows: Sequence[Row]) -> list[Row]:
    """Trained on a shortcut, but moving it changes little."""
    return [row for row in rows if row["placing"] == "one class" and not row["cheats"]]


def detected(row: Row) -> bool:
    """The top finding is the mark: by its region, or by its name where it is all over the picture."""
    return bool(row["findings"]) and bool(row["findings"][0]["right"])


def alarmed(row: Row) -> bool:
    return bool(row["findings"])


def flagged(peer: str, rows: Sequence[Row]) -> Told:
    """SpRAy says a model is suspicious: its threshold is the best there is on the tuning models."""
    limit = threshold(peer, [row for row in rows if row["half"] == "set"])
    return lambda row: separation(peer, row) >= limit


def spotted(peer: str, rows: Sequence[Row]) -> Told:
    """Suspicious, and its region is the mark's: the better one of its two. It has no names to give."""
    suspicious = flagged(peer, rows)

    def right(row: Row) -> bool:
        found = row["spray"][peer]
        if not suspicious(row) or over_all(row["mark"]):
            return False
        return bool(max(found["overlap_mean"], found["overlap_each"]) >= RIGHT)

    return right


def separation(peer: str, row: Row) -> float:
    found = row["spray"][peer]
    return -1.0 if found is None else float(found["separation"])


def threshold(peer: str, rows: Sequence[Row]) -> float:
    """That which keeps cheating and clean models apart best."""
    hits, alarms = (
        np.array([separation(peer, row) for row in part]) for part in (cheating(rows), clean(rows))
    )
    limits = np.unique(np.concatenate([hits, alarms]))
    if not len(hits) or not len(alarms):
        return float("inf")
    gains = [(hits >= limit).mean() - (alarms >= limit).mean() for limit in limits]
    return float(limits[int(np.argmax(gains))])


def share(told: Told, rows: Sequence[Row]) -> str:
    """ "12 of 16, 75 % (51 to 90)"."""
    if not rows:
        return "–"
    count = sum(map(told, rows))
    low, high = wilson(count, len(rows))
    return f"{count} of {len(rows)}: {count / len(rows):.0%} ({low:.0%} to {high:.0%})"


def headline(mine: Sequence[Row], rows: Sequence[Row]) -> str:
    groups = cheating(mine), clean(mine), harmless(mine)
    in_places = [row for row in groups[0] if not over_all(row["mark"])]
    seconds = np.median([row["seconds"] for row in mine])
    lines = [
        "| | cheating models: the mark found | those with a region | clean models: false alarms | does not "
        "cheat: something found |",
        "|---|---|---|---|---|",
        playbooks("**shortcuts playbook**", mine),
    ]
    for name, counts in PARTS.items():
        part = [row for row in mine if counts(row["mark"])]
        if part and len(part) < len(mine):
            lines.append(playbooks(name, part))
    for peer, name in PEERS.items():
        right, suspicious = spotted(peer, rows), flagged(peer, rows)
        lines.append(
            f"| {name} | {share(right, groups[0])} | {share(right, in_places)} | "
            f"{share(suspicious, groups[1])} | {share(suspicious, groups[2])} |"
        )
    anything = [f"{name} flags {share(flagged(peer, rows), groups[0])}" for peer, name in PEERS.items()]
    return "\n".join(lines) + (
        f"\n\nRight or not, of the cheating models the playbook finds something in "
        f"{share(alarmed, groups[0])}; {'; '.join(anything)}. "
        f"An audit takes {seconds:.1f} s (median) on one core."
    )


def playbooks(name: str, part: Sequence[Row]) -> str:
    """A line of the headline."""
    bad = cheating(part)
    in_places = [row for row in bad if not over_all(row["mark"])]
    return (
        f"| {name} | {share(detected, bad)} | {share(detected, in_places)} | "
        f"{share(alarmed, clean(part))} | {share(alarmed, harmless(part))} |"
    )


def by(key: str, mine: Sequence[Row], rows: Sequence[Row]) -> str:
    right = spotted("lrp", rows)
    lines = [
        f"| {key} | cheating models: the mark found | mean IoU | SpRAy on LRP | false alarms | "
        "does not cheat |",
        "|---|---|---|---|---|---|",
    ]
    for value in dict.fromkeys(row[key] for row in sorted(mine, key=lambda row: str(row[key]))):
        part = [row for row in mine if row[key] == value]
        bad = cheating(part)
        tops = [row["findings"][0] for row in bad if row["findings"] and not over_all(row["mark"])]
        mean = f"{np.mean([top['overlap'] or 0 for top in tops]):.2f}" if tops else "–"
        lines.append(
            f"| {value} | {share(detected, bad)} | {mean} | {share(right, bad)} | "
            f"{share(alarmed, clean(part))} | {len(harmless(part))} |"
        )
    return "\n".join(lines)


def lists(rows: Sequence[Row]) -> str:
    """Every miss and every false alarm, with what was said."""
    parts = []
    missed = [row for row in cheating(rows) if not detected(row)]
    alarms = [row for row in clean(rows) if alarmed(row)]
    for title, wrong in (
        ("Cheating models whose mark was not the top finding", missed),
        ("False alarms", alarms),
    ):
        parts.append(f"{title}: {len(wrong) or 'none'}.")
        parts += ["\n".join(line(row) for row in wrong)] if wrong else []
    return "\n\n".join(parts)


def line(row: Row) -> str:
    fall = row["accuracy"]["on its class"] - row["accuracy"]["on the others"]
    name = f"{row['mark']} {row['prevalence']:g} on {row['base']}, {row['architecture']}"
    if not row["findings"]:
        return f"- {name} (accuracy falls by {fall:.2f}): nothing found"
    top = row["findings"][0]
    place = "" if row["first_right"] is None else f"; the mark is finding {row['first_right'] + 1}"
    overlap = "" if top["overlap"] is None else f", IoU {top['overlap']:.2f}"
    said = f"{top['key']}{overlap}{place}"
    return f"- {name} (accuracy falls by {fall:.2f}): {said}"


def by_prevalence(rows: Sequence[Row], path: Path) -> None:
    """How often the mark is found, against how often it is in its class; and on which pictures."""
    import matplotlib.pyplot as plt

    mine = [row for row in rows if row["half"] == "report"]
    methods: dict[str, tuple[Told, str]] = {
        "shortcuts playbook": (detected, "#0072b2"),
        **{
            PEERS[peer]: (spotted(peer, rows), colour)
            for peer, colour in (("lrp", "#e69f00"), ("gradcam", "#999999"))
        },
    }
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained", sharey=True)
    for axis, key, values in ((axes[0], "prevalence", PREVALENCES), (axes[1], "base", ON)):
        for shift, (name, (told, colour)) in enumerate(methods.items()):
            for place, value in enumerate(values):
                part = [row for row in cheating(mine) if row[key] == value]
                if not part:
                    continue
                count = sum(map(told, part))
                low, high = wilson(count, len(part))
                middle = count / len(part)
                reach = np.maximum([[middle - low], [high - middle]], 0)  # rounding can be below
                axis.errorbar(
                    place + 0.12 * (shift - 1), middle, reach, fmt="o",
                    color=colour, capsize=3, label=name if place == 0 else None,
                )  # fmt: skip
        counts = [sum(row[key] == value for row in cheating(mine)) for value in values]
        axis.set_xticks(range(len(values)), [f"{v}\nn={n}" for v, n in zip(values, counts, strict=True)])
    axes[0].set(xlabel="share of its class that has the mark", ylabel="cheating models whose mark is found",
        ylim=(-0.05, 1.05))  # fmt: skip
    axes[1].set(xlabel="pictures")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def examples(rows: Sequence[Row], kept: Path, path: Path) -> None:
    """One cheating model of each mark: a picture, where the mark is (green) and what was found (magenta)."""
    import matplotlib.pyplot as plt

    shown = {}
    for row in cheating([row for row in rows if row["half"] == "report"]):
        if (kept / f"{row['name']}.npz").exists() and not over_all(row["mark"]):
            shown.setdefault((row["mark"], row["base"]), row)
    chosen = list(shown.values())[:: max(1, len(shown) // 12)][:12]
    if not chosen:
        return
    figure, axes = plt.subplots(2, 6, figsize=(12, 4.2), layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    for axis, row in zip(axes.flat, chosen, strict=False):
        with np.load(kept / f"{row['name']}.npz") as found:
            axis.imshow(found["pictures"][0])
            for masks, colour in (("true", "#00c060"), ("found", "#ff20c0")):
                axis.contour(found[masks][0], levels=[0.5], colors=colour, linewidths=1.4)
        axis.set_title(f"{row['mark']}, {row['base']}, {row['prevalence']:g}", fontsize=8)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
