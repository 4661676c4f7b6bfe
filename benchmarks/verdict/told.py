"""What the verdicts of planted causes tell: tables and plots for the docs.

python -m benchmarks.verdict.told out/verdict/verdicts-standard.json
"""

import json
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

Row = dict[str, Any]
HIT = 0.5  # share of positive relevance on the cause from which on a map hits it
IMPOSTORS = ("edges", "constant", "centre")
DOCS = Path(__file__).parents[2] / "docs"


def main(path: Path) -> None:
    rows = json.loads(path.read_text())
    page = DOCS / "verdict-benchmark.md"
    head, _, _ = page.read_text().partition(MARK) if page.exists() else ("", "", "")
    page.write_text(head + MARK + "\n\n" + "\n\n".join(tables(rows)) + "\n")
    plot(rows, DOCS / "images" / "verdict_benchmark.png")
    print("\n\n".join(tables(rows)))


MARK = "<!-- what follows is written by benchmarks/verdict/told.py -->"


def tables(rows: Sequence[Row]) -> list[str]:
    found = []
    for half, title in (("report", "Reported half"), ("set", "Half on which the rules were set")):
        mine = [row for row in rows if row["half"] == half]
        if mine:
            found += [f"## {title}", separation(mine), words(mine), by_method(mine)]
    return found


def explanations(rows: Sequence[Row]) -> list[Row]:
    """Without what is passed off as an explanation, and without guided backprop, whose maps may hit the cause
    but show the picture whatever the model has learned."""
    return [row for row in rows if row["method"] not in (*IMPOSTORS, "guided_backprop")]


def separation(rows: Sequence[Row]) -> str:
    """AUROC of the score, of each check alone, and of how pretty the map is."""
    mine = explanations(rows)
    all_of_them = [row for row in rows if row["method"] not in IMPOSTORS]
    planted = [row for row in mine if row["kind"] == "planted"]
    lines = [
        "| | all | with guided backprop | planted models alone |",
        "|---|---|---|---|",
        f"| explanations (hits) | {told(mine)} | {told(all_of_them)} | {told(planted)} |",
    ]
    for name, value in {"**verdict's score**": score, **singles(rows)}.items():
        figures = [
            auroc(list(map(value, part)), [hit(r) for r in part]) for part in (mine, all_of_them, planted)
        ]
        lines.append(f"| {name} | " + " | ".join(f"{f:.3f}" for f in figures) + " |")
    low, high = interval(mine)
    return "\n".join(lines) + f"\n\nThe score's 95 % interval, models resampled: {low:.3f} to {high:.3f}."


def told(rows: Sequence[Row]) -> str:
    return f"{len(rows)} ({sum(map(hit, rows))})"


def hit(row: Row) -> bool:
    return bool(row["on_cause"] >= HIT)


def score(row: Row) -> float:
    return float(row["score"])


def singles(rows: Sequence[Row]) -> dict[str, Callable[[Row], float]]:
    """Every check alone, in the direction that speaks for the map; what is undefined comes last."""
    lower = {"randomisation", "class_sensitivity", "max_sensitivity", "completeness"}
    keys = dict.fromkeys(key for row in rows for key in row["checks"])

    def of(key: str) -> Callable[[Row], float]:
        def value(row: Row) -> float:
            found = row["checks"].get(key, [None])[0]
            return -1e9 if found is None else -abs(found) if key in lower else found

        return value

    return {key + (" (how pretty)" if key == "gini" else ""): of(key) for key in keys}


def auroc(scores: Sequence[float], hits: Sequence[bool]) -> float:
    """The chance that a hit has the higher score; ties count half."""
    s, y = np.asarray(scores, float), np.asarray(hits, bool)
    if y.all() or not y.any():
        return float("nan")
    more = (s[y][:, None] > s[~y]).mean()
    return float(more + 0.5 * (s[y][:, None] == s[~y]).mean())


def interval(rows: Sequence[Row]) -> tuple[float, float]:
    """Bootstrap over models: explanations of one model are not independent."""
    by_plant = defaultdict(list)
    for row in rows:
        by_plant[row["plant"]].append(row)
    random, names, found = np.random.default_rng(0), list(by_plant), []
    for _ in range(500):
        drawn = [row for name in random.choice(names, len(names)) for row in by_plant[name]]
        found.append(auroc(list(map(score, drawn)), list(map(hit, drawn))))
    low, high = np.nanquantile(found, [0.025, 0.975])
    return float(low), float(high)


def words(rows: Sequence[Row]) -> str:
    """How often each verdict is given, to hits, misses and what is passed off as an explanation."""
    mine = explanations(rows)
    groups = {
        "maps that hit the cause": [r for r in mine if hit(r)],
        "maps that miss it": [r for r in mine if not hit(r)],
        "guided backprop": [r for r in rows if r["method"] == "guided_backprop"],
        **{name: [r for r in rows if r["method"] == name] for name in IMPOSTORS},
    }
    lines = ["| | n | corroborated | contested | not to be trusted |", "|---|---|---|---|---|"]
    for name, part in groups.items():
        if part:
            shares = [np.mean([r["word"] == word for r in part]) for word in WORDS]
            lines.append(f"| {name} | {len(part)} | " + " | ".join(f"{s:.1%}" for s in shares) + " |")
    return "\n".join(lines)


WORDS = ("corroborated", "contested", "not to be trusted")


def by_method(rows: Sequence[Row]) -> str:
    lines = ["| method | n | hits the cause | corroborated | mean score |", "|---|---|---|---|---|"]
    for name in dict.fromkeys(row["method"] for row in rows):
        part = [row for row in rows if row["method"] == name]
        hits, called = np.mean([hit(r) for r in part]), np.mean([r["word"] == WORDS[0] for r in part])
        lines.append(
            f"| {name} | {len(part)} | {hits:.0%} | {called:.0%} | {np.mean([score(r) for r in part]):.2f} |"
        )
    return "\n".join(lines)


def plot(rows: Sequence[Row], path: Path) -> None:
    """The score of hits, misses and impostors; how often a map of a given score is a hit."""
    import matplotlib.pyplot as plt

    mine = [row for row in rows if row["half"] == "report"]
    real = explanations(mine)
    groups = {
        "hits the cause": ([score(r) for r in real if hit(r)], "#0072b2"),
        "misses it": ([score(r) for r in real if not hit(r)], "#e69f00"),
        "edges, constant, centre, guided backprop": ([score(r) for r in mine if r not in real], "#999999"),
    }
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    left.hist([v for v, _ in groups.values()], bins=np.linspace(0, 1, 11).tolist(), label=list(groups),
        color=[c for _, c in groups.values()])  # fmt: skip
    left.set(xlabel="verdict's score", ylabel="explanations", title="Scores of maps whose truth is known")
    left.legend(frameon=False)
    edges = np.linspace(0, 1, 6)
    for low, high in pairwise(edges):
        part = [hit(r) for r in real if low <= score(r) < high or score(r) == high == 1]
        if part:
            share, error = (
                np.mean(part),
                1.96 * np.sqrt(max(np.mean(part) * (1 - np.mean(part)), 0.01) / len(part)),
            )
            right.errorbar((low + high) / 2, share, error, fmt="o", color="#0072b2", capsize=3)
            right.annotate(f"n={len(part)}", ((low + high) / 2, share), (6, -12), textcoords="offset points")
    right.plot([0, 1], [0, 1], color="#999999", linestyle=":")
    right.set(xlabel="verdict's score", ylabel="share that hits the cause", xlim=(0, 1), ylim=(-0.05, 1.05),
        title="Is the score a probability?")  # fmt: skip
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
