"""How fast sampled Shapley values and LIME weights reach exact ones, beside peers, at equal model calls.

python scripts/shapley_convergence.py draws docs/images/shapley_convergence.png and prints the tables of
docs/shapley.md, from the games of benchmarks/games.py. Needs the extras demo, dev and peers.
"""

import sys
import warnings
from pathlib import Path

import matplotlib

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.games import (  # noqa: E402
    BUDGETS,
    LIMES,
    REPEATS,
    SHAPLEY,
    M,
    calls_needed,
    errors,
    game,
    lime_weights,
    shapley_values,
)

matplotlib.use("Agg")
IMAGE = ROOT / "docs" / "images" / "shapley_convergence.png"


def plot(games: dict[str, dict[str, list[float]]]) -> None:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(games), figsize=(5.2 * len(games), 4.4), sharey=True)
    for axis, (name, lines) in zip(axes, games.items(), strict=True):
        for label, line in lines.items():
            ours, permutation = label.startswith("Underhood"), "erm" in label or "Sampling" in label
            colour = "#d1495b" if ours else "#2e6f95" if label.startswith("shap") else "#7a7a7a"
            axis.loglog(
                BUDGETS, line, "--" if permutation else "-", color=colour, lw=2 if ours else 1.3, label=label,
                marker="o" if ours else "s", ms=3.5,
            )  # fmt: skip
        axis.set(title=name, xlabel="model calls")
        axis.grid(alpha=0.25, which="both")
    axes[0].set_ylabel("RMS error / largest exact value")
    axes[0].legend(fontsize=8)
    figure.suptitle(f"Error against exact Shapley values of {M} superpixels, {REPEATS} seeds")
    figure.tight_layout()
    figure.savefig(IMAGE, dpi=110)


def table(lines: dict[str, list[float]]) -> None:
    print(f"| | {' | '.join(map(str, BUDGETS))} |\n|---|{'---|' * len(BUDGETS)}")
    for label, line in lines.items():
        print(f"| {label} | {' | '.join(f'{100 * error:.2g}' for error in line)} |")


def ratio(lines: dict[str, list[float]], ours: str, peer: str) -> None:
    """How many times more calls the peer took to the error that it has at the last but one budget."""
    budget, level = BUDGETS[-2], lines[peer][-2]
    calls = calls_needed(lines[ours], level)
    print(
        f"{peer}: {100 * level:.2g} % after {budget}; {ours} after {calls:.0f}: {budget / calls:.1f} × fewer"
    )


def main() -> None:
    warnings.filterwarnings("ignore")
    drawn: dict[str, dict[str, list[float]]] = {}
    for name in ("demo:honest", "demo:vit"):
        worth = game(name, 1)
        drawn[name] = errors(SHAPLEY, worth, shapley_values(worth))
        weights = errors(LIMES, worth, lime_weights(worth))
        print(f"\n{name}: error in % of the largest exact value, by model calls\n")
        table(drawn[name] | weights)
        ratio(drawn[name], "Underhood KernelSHAP", "shap KernelExplainer")
        ratio(drawn[name], "Underhood ShapleySampling", "shap PermutationExplainer")
        ratio(weights, "Underhood LIME", "lime")
    plot(drawn)


if __name__ == "__main__":
    main()
