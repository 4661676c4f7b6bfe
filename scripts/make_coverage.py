"""Makes docs/coverage.md by running every method on every architecture: python scripts/make_coverage.py

Given names of architectures, runs these alone and prints. Takes some minutes; nothing is downloaded.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

import underhood as uh  # noqa: E402
from tests.support import nasty, torchvision_ops  # noqa: E402, F401 - before torchvision
from tests.support.cheap import SETTINGS, cheap  # noqa: E402
from tests.support.covered import EXACT, Cell, cell  # noqa: E402

import timm  # noqa: E402  # isort: skip
import torchvision.models as tv  # noqa: E402  # isort: skip
import transformers  # noqa: E402  # isort: skip

SIZE = 64
EMBEDDINGS = "bert.embeddings"
Case = tuple[nn.Module, Tensor]


def picture(size: int = SIZE) -> Tensor:
    """A smooth random picture (3, size, size): noise alone would be unlike any picture."""
    coarse = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")[0]


def pictured(build: Callable[[], nn.Module], size: int = SIZE) -> Callable[[], Case]:
    return lambda: (build(), picture(size))


def two_inputs() -> Case:
    net = uh.Joined(nasty.TwoInputs(), [(3, 8, 8), (4,)])
    return net, net.join(picture(8)[None], torch.tensor([[1.0, -0.5, 2.0, 0.3]]))[0]


def hf_vit() -> nn.Module:
    sizes = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 96}
    return transformers.ViTForImageClassification(
        transformers.ViTConfig(image_size=SIZE, patch_size=8, num_labels=10, **sizes)
    )


def bert() -> Case:
    sizes = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 96}
    config = transformers.BertConfig(vocab_size=60, num_labels=3, initializer_range=0.2, **sizes)
    return transformers.BertForSequenceClassification(config), torch.tensor([2, 17, 33, 41, 9, 50, 3])


CASES: dict[str, Callable[[], Case]] = {
    "ResNet-18": pictured(tv.resnet18),
    "ResNet-50": pictured(tv.resnet50),
    "VGG-16": pictured(tv.vgg16),
    "MobileNetV2": pictured(tv.mobilenet_v2),
    "MobileNetV3": pictured(tv.mobilenet_v3_large),
    "EfficientNet-B0": pictured(tv.efficientnet_b0),
    "DenseNet-121": pictured(tv.densenet121),
    "ConvNeXt-tiny": pictured(tv.convnext_tiny),
    "Inception v3": pictured(lambda: tv.inception_v3(init_weights=False), 96),
    "GoogLeNet": pictured(lambda: tv.googlenet(init_weights=False)),
    "ViT-B/16": pictured(lambda: tv.VisionTransformer(SIZE, 16, 12, 12, 768, 3072)),
    "DeiT-tiny (timm)": pictured(lambda: timm.create_model("deit_tiny_distilled_patch16_224", img_size=SIZE)),
    "Swin-tiny": pictured(tv.swin_t),
    "ViT (HF)": pictured(hf_vit),
    "BERT (HF)": bert,
    "reused ReLU": pictured(nasty.ReusedReLU, 32),
    "all functional": pictured(nasty.Functional, 32),
    "all in place": pictured(nasty.InPlace, 32),
    "two inputs": two_inputs,
    "tuples": pictured(nasty.Tuples, 32),
}
MARKS = {"works": "✓", "flat": "○", "refused": "–", "fails": "✗"}


def lively(net: nn.Module) -> nn.Module:
    """Random weights throughout: of layers that start as zeros or next to nothing, nothing would be seen.

    ConvNeXt's biases too: without any, the baseline of zeros reaches the norms as zeros, where 1/σ, and with
    it the multipliers of DeepLIFT, are so large (their sum over 10⁶ times the score) that float32 cannot add
    them up.
    """
    scaled = any("layer_scale" in name for name, _ in net.named_parameters())
    with torch.no_grad():
        for name, p in net.named_parameters():
            if "layer_scale" in name:
                p.fill_(0.5)
            elif scaled and name.endswith("bias"):
                p.normal_(std=0.1)
            elif p.ndim > 1 and p.abs().max() < 1e-5:
                p.normal_(std=0.02)
    return net.eval()


def run(names: Iterable[str]) -> dict[str, dict[str, Cell]]:
    """Architecture → method → what was found."""
    found: dict[str, dict[str, Cell]] = {}
    for name in names:
        torch.manual_seed(0)
        net, x = CASES[name]()
        model = uh.Model(lively(net))
        found[name] = {}
        for key, method in cheap(x, at=None if x.is_floating_point() else EMBEDDINGS).items():
            start = time.perf_counter()
            one = found[name][key] = cell(method, model, x)
            seconds, gap = time.perf_counter() - start, "" if one.gap is None else f"{one.gap:.1e}"
            print(f"{name:18}{key:22}{one.mark:9}{seconds:6.1f} s  {gap:9}{one.why}", flush=True)
    return found


def page(found: dict[str, dict[str, Cell]]) -> str:
    """The document."""
    notes: dict[str, int] = {}
    marks, gaps = [], []
    for key in cheap():
        row = [found[name][key] for name in found]
        marks.append([f"`{key}`", *(_mark(one, notes) for one in row)])
        if any(one.gap is not None for one in row):
            gaps.append([f"`{key}`", *("" if one.gap is None else f"{one.gap:.0e}" for one in row)])
    settings = "; ".join(
        f"{key} {', '.join(f'{name}={value}' for name, value in given.items())}"
        for key, given in SETTINGS.items()
    )
    return TEMPLATE.format(
        table=_table(["", *found], marks),
        gaps=_table(["", *found], gaps),
        notes="\n".join(f"{number}. {sentence}" for sentence, number in notes.items()),
        settings=settings,
        size=SIZE,
        tolerance=f"{max(EXACT.values()):g}",
        exact=", ".join(f"`{key}`" for key in EXACT),
        embeddings=EMBEDDINGS,
    )


def _mark(one: Cell, notes: dict[str, int]) -> str:
    number = notes.setdefault(one.why, len(notes) + 1) if one.why else ""
    return f"{MARKS[one.mark]} {number}".strip()


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *[":-:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


TEMPLATE = """# Which method works on which network

Made by `python scripts/make_coverage.py`, which runs every cell; none is written by hand.

- ✓ a finite map of the right shape, the same to the bit when asked again; the model untouched; where a method
  promises an exact sum, the promise kept
- ○ all of this, but this map is zero everywhere, and the explanation says why (see the note)
- – refused; the sentence that the user gets is in the note
- ✗ a bug

{table}

Notes

{notes}

## What the sums miss

|sum − what it should be|, as a share of the larger of |S(x)| and |S(x) − S(x′)|. Held to
{tolerance}: {exact}. The path methods approach their sum with more steps (here there are very few;
`tolerance=` adds them), expected gradients with more samples, and LRP leaves to the biases what is
theirs.

{gaps}

## How

Seeded random weights in the architectures of torchvision, timm and transformers; nothing is
downloaded. Class 1 of one smooth random picture of {size} × {size} (96 × 96 for Inception v3, 32 ×
32 for the last networks, 8 × 8 beside four numbers for the one of two inputs, which `Joined` makes
one of a single row). ViT-B/16 has its true width, depth and patch; the transformers of HF have
three narrow layers. BERT takes token ids; methods with `at=` explain them at `{embeddings}`.
Settings are as cheap as they go, to see that it works, not to read the maps: {settings}.
"""


def main() -> None:
    if names := sys.argv[1:]:
        run(names)
        return
    torch.set_num_threads(1)  # of networks so small, more only wait for each other
    with suppress(AttributeError):
        os.nice(5)
    (ROOT / "docs" / "coverage.md").write_text(page(run(CASES)), encoding="utf-8")


if __name__ == "__main__":
    main()
