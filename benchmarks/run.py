"""`make bench`: every comparison, written to benchmarks/RESULTS.md.

python -m benchmarks.run [--networks resnet18,vit_tiny] [--only gradcam,occlusion] [--rounds 3] [--out FILE]
"""

import argparse
import platform
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import torch

import underhood as uh
from benchmarks import methods
from benchmarks.floor import floor, forward, forward_backward
from benchmarks.measure import Cost, alternating
from benchmarks.memory import measured
from benchmarks.networks import BUILDERS, network, pictures

RESULTS = Path(__file__).parent / "RESULTS.md"
PATH_METHODS = {"integrated_gradients": 50, "smoothgrad": 50}
STRIDES = {"resnet18": 8, "resnet50": 24, "vgg16": 24, "vit_tiny": 8}  # of full passes


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--networks", default=",".join(BUILDERS))
    parser.add_argument("--only", default=",".join(TABLES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    only = chosen.only.split(",")
    lines = [*_about(chosen.rounds)]
    for title, table in TABLES.items():
        if title in only:
            print(f"# {title}", flush=True)
            lines += [*table(chosen.networks.split(","), chosen.rounds)]
    chosen.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"Wrote {chosen.out}")


def _about(rounds: int) -> Iterator[str]:
    bfloat16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    yield "# Benchmarks"
    yield ""
    yield (
        f"Repeat with `make bench`. {platform.machine()}, {psutil.cpu_count()} cores, "
        f"{torch.backends.cpu.get_cpu_capability()}, bfloat16 instructions: {'yes' if bfloat16 else 'no'}; "
        f"torch {torch.__version__}, underhood {uh.__version__}. Medians of {rounds} alternating runs in one "
        "process; × is the cost over the floor in CPU seconds, with wall time in brackets. The floor is the "
        "passes that the maths needs and nothing else, float32, at the best batch and memory format. "
        "Memory is the peak beyond the loaded network, each in a process of its own. Weights are random "
        "and seeded; pictures 224 × 224."
    )


def _path_table(method: str, names: list[str], rounds: int) -> Iterator[str]:
    count = PATH_METHODS[method]
    yield from _head(f"{method}, {count} steps", "floor (CPU s, setting)", "underhood", "captum",
                     "underhood MiB", "captum MiB")  # fmt: skip
    for name in names:
        module, x = network(name), pictures()
        base, setting = floor(module, x, count, forward_backward)
        cost = alternating({"floor": base, **getattr(methods, method)(name, module, x)}, rounds)
        memory = [f"{measured(method, name, tool):.0f}" for tool in ("underhood", "captum")]
        yield _row(name, f"{cost['floor'].cpu:.2f}, {setting}", _times(cost, "underhood"),
                   _times(cost, "captum"), *memory)  # fmt: skip


def _occlusion_table(names: list[str], rounds: int) -> Iterator[str]:
    """Costs of a window; slow networks' passes over all windows are measured on fewer of them."""
    yield from _head(
        "occlusion, 625 windows of 32", "work", "floor (CPU ms a window, setting)", "underhood float32",
        "underhood auto", "captum", "floor / underhood float32", "captum / underhood auto",
        "rank correlation auto/float32", "difference from full passes",
    )  # fmt: skip
    for name in names:
        module, x, few = network(name), pictures(), STRIDES[name]
        base, setting = floor(module, x, _windows(few), forward)
        exact, auto = (
            methods.occlusion(name, module, x, precision=p)["underhood"] for p in ("float32", "auto")
        )
        captum = methods.occlusion(name, module, x, stride=few)["captum"]
        runs = {"floor": base, "captum": captum, "underhood float32": exact, "underhood auto": auto}
        spent = alternating(runs, rounds)
        counts = {"floor": _windows(few), "captum": _windows(few)}
        cost = {tool: each.over(counts.get(tool, _windows(8))) for tool, each in spent.items()}
        found, rough = exact(), auto()
        maps = [np.asarray(each.heatmap()).ravel() for each in (found, rough)]
        yield _row(name, found.diagnostics["work"], f"{1000 * cost['floor'].cpu:.1f}, {setting}",
                   *(_times(cost, tool) for tool in ("underhood float32", "underhood auto", "captum")),
                   f"{cost['floor'].cpu / cost['underhood float32'].cpu:.2f} ×",
                   f"{cost['captum'].cpu / cost['underhood auto'].cpu:.2f} ×",
                   f"{_rank_correlation(*maps):.4f}", f"{_difference(module, x):.0e}")  # fmt: skip


def _windows(stride: int) -> int:
    return (-(-(224 - 32) // stride) + 1) ** 2


def _difference(module: torch.nn.Module, x: torch.Tensor) -> float:
    """Greatest difference between the map and that of captum's full passes, as a share of the greatest score.

    On windows side by side, as captum adds up where windows overlap.
    """
    from captum.attr import Occlusion

    side = (3, 32, 32)
    theirs = Occlusion(module).attribute(x, target=0, sliding_window_shapes=side, strides=side)[0, 0]
    ours = torch.from_numpy(uh.Occlusion(32, 32)(uh.Model(module), x, 0, precision="float32").values)
    return float((ours - theirs).abs().max() / module(x).abs().max())


def _gradcam_table(names: list[str], rounds: int) -> Iterator[str]:
    yield from _head("Grad-CAM", "batch", "one forward pass, no graph (CPU ms)", "underhood", "captum",
                     "pytorch-grad-cam", "against pytorch-grad-cam")  # fmt: skip
    for name in names:
        module = network(name)
        for batch in (1, 16):
            x = pictures(batch)
            cost = _gradcam_cost(name, module, x, 4 * rounds if batch == 1 else rounds)
            gain = cost["pytorch-grad-cam"].cpu / cost["underhood"].cpu
            yield _row(name, str(batch), f"{1000 * cost['floor'].cpu:.0f}",
                       *(_times(cost, tool) for tool in ("underhood", "captum", "pytorch-grad-cam")),
                       f"{gain:.2f} × faster")  # fmt: skip


def _gradcam_cost(name: str, module: torch.nn.Module, x: torch.Tensor, rounds: int) -> dict[str, Cost]:
    from benchmarks.floor import prepared

    last = prepared(module, channels_last=True)
    plain = prepared(module, channels_last=False)
    tried = alternating({"last": lambda: forward(last, x), "plain": lambda: forward(plain, x)}, rounds)
    best = last if tried["last"].cpu < tried["plain"].cpu else plain
    runs = {"floor": lambda: forward(best, x), **methods.gradcam(name, module, x)}
    return alternating(runs, rounds)


# Inputs explained at once, and forward and backward passes of each that count as the floor.
RULED = {"deeplift": (8, 2), "deepshap": (1, 20), "guided_backprop": (8, 1)}


def _ruled_table(method: str, names: list[str], rounds: int) -> Iterator[str]:
    batch, passes = RULED[method]
    yield from _head(f"{method}, {batch} inputs", "floor (CPU s, setting)", "underhood", "captum",
                     "underhood MiB", "captum MiB")  # fmt: skip
    for name in names:
        module, x = network(name), pictures(batch)
        base, setting = floor(module, x[:1], batch * passes, forward_backward)
        runs, memory = {"floor": base}, {"captum": "fails"}
        for tool, run in getattr(methods, method)(name, module, x).items():
            try:
                run()
            except (RuntimeError, AssertionError):  # captum's, where modules are reused
                continue
            runs[tool], memory[tool] = run, f"{measured(method, name, tool):.0f}"
        cost = alternating(runs, rounds)
        told = [_times(cost, tool) if tool in cost else "fails" for tool in ("underhood", "captum")]
        yield _row(name, f"{cost['floor'].cpu:.2f}, {setting}", *told, memory["underhood"], memory["captum"])


def _lrp_table(names: list[str], rounds: int) -> Iterator[str]:
    composites = ("epsilon-plus-flat", "epsilon-gamma-box")
    yield from _head(
        "LRP, batch 16", "composite", "forward + backward (CPU s, setting)", "underhood", "zennit"
    )
    for name in [name for name in names if not name.startswith("vit")]:  # zennit has no rules for those
        module, x = network(name), pictures(16)
        base, setting = floor(module, x[:1], 16, forward_backward)
        for composite in composites:
            cost = alternating({"floor": base, **methods.lrp(name, module, x, composite)}, rounds)
            yield _row(name, composite, f"{cost['floor'].cpu:.2f}, {setting}",
                       *(_times(cost, tool) for tool in ("underhood", "zennit")))  # fmt: skip


TABLES = {
    "lrp": _lrp_table,
    "deeplift": lambda names, rounds: _ruled_table("deeplift", names, rounds),
    "deepshap": lambda names, rounds: _ruled_table("deepshap", names, rounds),
    "guided_backprop": lambda names, rounds: _ruled_table("guided_backprop", names, rounds),
    "gradcam": _gradcam_table,
    "integrated_gradients": lambda names, rounds: _path_table("integrated_gradients", names, rounds),
    "smoothgrad": lambda names, rounds: _path_table("smoothgrad", names, rounds),
    "occlusion": _occlusion_table,
}


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(a, b).statistic)


def _times(cost: dict[str, Cost], tool: str) -> str:
    floor_cost = cost["floor"]
    return f"{cost[tool].cpu / floor_cost.cpu:.2f} × ({cost[tool].wall / floor_cost.wall:.2f})"


def _head(title: str, *columns: str) -> Iterator[str]:
    yield ""
    yield f"## {title}"
    yield ""
    yield _row("network", *columns)
    yield _row(*["---"] * (len(columns) + 1))


def _row(*cells: str) -> str:
    row = f"| {' | '.join(cells)} |"
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main()
