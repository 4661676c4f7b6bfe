"""Makes docs/gallery.md, every method on a photo and on a lesion: python scripts/make_gallery.py

The photo comes with scikit-image; its model is a ViT-Tiny whose weights are looked for in UNDERHOOD_DATA.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import underhood as uh
from underhood.demo.models import example
from underhood.demo.photos import photo
from underhood.engine import Settings
from underhood.methods import METHODS, QUESTIONS, Explanation
from underhood.methods.explain import explain_with
from underhood.reports import encode, view
from underhood.reports.figure import overlay, typeable

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("UNDERHOOD_DATA") or ROOT / "../shared/data")
IMAGES = ROOT / "docs" / "images"
TILE, GAP, NAME, ACROSS = 200, 10, 22, 5
BUDGETS = {  # smaller than the defaults, where a gallery need not wait for the last digit
    "guided_ig": uh.GuidedIG(steps=30),
    "occlusion": uh.Occlusion(size=32, stride=16),
    "kernel_shap": uh.KernelSHAP(n=300),
    "shapley_sampling": uh.ShapleySampling(permutations=4),
    "partition_shap": uh.PartitionSHAP(n=200),
    "lime": uh.LIME(n=300),
    "rise": uh.RISE(n=600),
}
HEAD = """# Gallery

Every method that suits the model, on one photo and on one lesion, by the question it answers. Made by
`scripts/make_gallery.py`, with smaller budgets than the defaults for what samples. Colours as in the report:
red for and blue against where a map is signed, yellow for much where it is not. Each map has its own scale,
which ends at its 99.5th percentile, so that strengths do not compare between maps.
[Which method when](which-method.md) says how to choose.
"""


def main() -> None:
    weights = DATA / "models" / "vit_tiny_patch16_224.pth"
    labels = DATA / "imagenet" / "imagenet-simple-labels.json"
    cat = uh.load("timm:vit_tiny_patch16_224", weights=weights, labels=labels, preprocess="half")
    lesion = uh.load("demo:cheating")
    page = [HEAD]
    page += chapter("lesion", lesion, Image.fromarray(example("ruler").image), "A lesion beside a ruler, "
        "and `demo:cheating`, which reads the ruler")  # fmt: skip
    page += chapter("cat", cat, photo("cat"), "A cat (scikit-image's `chelsea`), and a ViT-Tiny")
    (ROOT / "docs" / "gallery.md").write_text("\n".join(page) + "\n")


def chapter(name: str, model: uh.Model, picture: Image.Image, title: str) -> Iterator[str]:
    """The chapter's text; the pictures are written."""
    methods = [BUDGETS.get(method.key, method()) for method in METHODS]
    found = explain_with(methods, model, picture, None, Settings(), skip_unfit=True)
    yield f"\n## {title}\n\nIt says *{found[0].prediction.label}*, and that is explained.\n"
    for question, sentence in QUESTIONS.items():
        items = [e for e in found if e.card.question == question]
        path = IMAGES / f"gallery_{name}_{question}.jpg"
        sheet(items).save(path, quality=82, optimize=True)
        names = ", ".join(e.card.name for e in items)
        warnings = " ".join(dict.fromkeys(f"*{e.card.warning}*" for e in items if e.card.warning))
        yield f"**{question.capitalize()}.** {sentence} {warnings}".rstrip() + "\n"
        yield f"![{names}](images/{path.name})\n"
    notes = dict.fromkeys(n for e in found for n in e.provenance["notes"] if "left out" in n)
    yield from (f"{note}\n" for note in notes)


def sheet(items: list[Explanation]) -> Image.Image:
    """Maps in rows, each with its name above."""
    across, down = min(len(items), ACROSS), -(-len(items) // ACROSS)
    size = (across * (TILE + GAP) - GAP, down * (TILE + NAME + GAP) - GAP)
    whole = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(whole), ImageFont.load_default(14)
    for i, item in enumerate(items):
        x, y = (i % ACROSS) * (TILE + GAP), (i // ACROSS) * (TILE + NAME + GAP)
        draw.text((x, y + 3), typeable(item.card.name), "#1c2024", font=font)
        heatmap = view.checked_heatmap(item)
        flat = view.why_no_signal(item, encode.scale(heatmap))
        shown = np.zeros_like(heatmap) if flat else heatmap
        limit, signed = encode.scale(heatmap).limit, view.is_signed(item, heatmap)
        tile = Image.fromarray(overlay(shown, limit, signed, item.subject.pixels))
        whole.paste(tile.resize((TILE, TILE), Image.Resampling.BICUBIC), (x, y + NAME))
        if flat:
            draw.text((x + 8, y + NAME + 8), "no signal above noise", "white", font=font)
    return whole


if __name__ == "__main__":
    main()
