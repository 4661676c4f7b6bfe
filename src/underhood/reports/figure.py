"""The static figure: each picture beside its maps, with legends and captions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from underhood.errors import InvalidArgument
from underhood.methods.explanation import Explanation
from underhood.reports import colours, encode, trust, view, words

CELL, GAP, MARGIN = 340, 28, 32
COLUMNS = 4  # cells in one row
DIM = 0.55  # of the grey picture under a map, as in the page's script
OPACITY, GAMMA = 0.9, 0.8
TALLEST = 30_000  # pixels; beyond, viewers give up
INK, SOFT, LINE, PAPER, ALARM = "#1c2024", "#5b626a", "#dfdcd4", "#ffffff", "#a3123f"
DOUBTED, FADED = "not to be trusted", 0.55  # so much paper lies over its map

_GLYPHS = str.maketrans("−×⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-x-0123456789")

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
RGB = NDArray[np.uint8]


@dataclass(frozen=True)
class Line:
    text: str
    size: int = 14
    ink: str = SOFT


def figure(explanations: Iterable[Explanation]) -> Image.Image:
    """One block per input, under each other."""
    blocks: list[Image.Image] = []
    height = 0
    for _, group in groupby(explanations, key=view.identity):
        blocks.append(block(list(group)))
        height += blocks[-1].height
        if height > TALLEST:  # at once: of what comes no more need be explained, nor held
            raise InvalidArgument(
                f"A figure of {len(blocks)} inputs or more would be taller than {TALLEST:,} pixels; "
                "write fewer inputs, or the .html report."
            )
    if not blocks:
        raise InvalidArgument("There is no explanation to write.")
    sheet = Image.new("RGB", (max(b.width for b in blocks), height), PAPER)
    top = 0
    for item in blocks:
        sheet.paste(item, (0, top))
        top += item.height
    return sheet


def block(items: Sequence[Explanation]) -> Image.Image:
    """The picture and all maps of one input, in rows of four; of several targets, a row for each method."""
    targets, first = len({item.target for item in items}), first_cell(items)
    cells = [map_cell(item, several=targets > 1) for item in view.by_method(items)]
    if 1 < targets < COLUMNS:
        empty = Image.new("RGB", (CELL, 1), PAPER)
        rows = [[empty, *cells[i : i + targets]] for i in range(0, len(cells), targets)]
        rows[0][0] = first
    else:
        cells = [first, *cells]
        rows = [cells[i : i + COLUMNS] for i in range(0, len(cells), COLUMNS)]
    heights = [max(cell.height for cell in row) for row in rows]
    across = len(rows[0])
    width = 2 * MARGIN + across * CELL + (across - 1) * GAP
    sheet = Image.new("RGB", (width, sum(heights) + GAP * (len(rows) - 1) + 2 * MARGIN), PAPER)
    top = MARGIN
    for row, height in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            sheet.paste(cell, (MARGIN + column * (CELL + GAP), top))
        top += height + GAP
    return sheet


def first_cell(items: Sequence[Explanation]) -> Image.Image:
    """The picture as the model saw it, where there is one, and what the model said."""
    item, targets = items[0], {item.target for item in items}
    said = [
        f"{label}, {words.percent(p)}, score {words.number(score)}"
        if item.prediction.has_classes
        else f"{label}, score {words.number(score)}"
        for label, p, score in item.prediction.top(also=targets)
    ]
    lines = [Line(text, 14, SOFT if i else INK) for i, text in enumerate(said)]
    name = words.base(item.subject.name)
    if item.subject.pixels is None:
        return cell(name, None, None, lines)
    picture = Image.fromarray(np.ascontiguousarray(item.subject.pixels))
    fitted = _fitted(picture, Image.Resampling.BICUBIC)
    return cell(name, fitted, None, [Line("as the model saw it", 13), *lines])


def map_cell(item: Explanation, *, several: bool = False) -> Image.Image:
    """A map; of several targets, its title names the one."""
    heatmap = view.checked_heatmap(item)
    scale = encode.scale(heatmap)
    signed = view.is_signed(item, heatmap)
    why_flat = view.why_no_signal(item, scale)
    if heatmap.ndim == 1:
        picture = bar_chart(view.bars(heatmap, item.subject.features))
    else:
        shown = np.zeros_like(heatmap) if why_flat else heatmap
        painted = Image.fromarray(overlay(shown, scale.limit, signed, item.subject.pixels))
        picture = _fitted(painted, Image.Resampling.BICUBIC)
        doubted = item.verdict is not None and item.verdict["verdict"] == DOUBTED
        if doubted:
            picture = Image.blend(picture, Image.new("RGB", picture.size, PAPER), FADED)
        if why_flat:
            stamp(picture, "no signal above noise")
        elif doubted:
            stamp(picture, DOUBTED, ALARM)
    limits = (f"−{words.number(scale.limit)}" if signed else "0", words.number(scale.limit), signed)
    clipped = f", {words.percent(scale.clipped)} clipped" if heatmap.ndim == 2 else ""
    return cell(
        f"{item.card.name}: {item.target}" if several else item.card.name,
        picture,
        limits if heatmap.ndim == 2 else None,
        [
            *([Line(verdict_in_words(item.verdict), 14, INK)] if item.verdict else []),
            Line(item.card.unit + clipped, 13),
            *([Line(f"upsampled from {item.grid[0]} × {item.grid[1]}", 13)] if item.grid else []),
            *([Line(f"No signal above noise: {why_flat}.", 13, INK)] if why_flat else []),
            *([Line(item.card.warning, 13, INK)] if item.card.warning else []),
            Line(view.caption(item), 13),
        ],
    )


def overlay(values: NDArray[np.float32], limit: float, signed: bool, pixels: RGB | None) -> RGB:
    """Colours over the dimmed grey picture, as opaque as |value| is large; alone without one."""
    part = np.clip(values / limit, -1, 1) if limit else np.zeros_like(values)
    paint = colours.colour("RdBu_r", (part + 1) / 2) if signed else colours.colour("viridis", np.abs(part))
    if pixels is None:
        return np.rint(paint).astype(np.uint8)
    if pixels.shape[:2] != values.shape:
        size = (values.shape[1], values.shape[0])
        pixels = np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize(size))
    grey = DIM * (pixels @ np.array([0.2126, 0.7152, 0.0722]))[..., None]
    cover = OPACITY * (np.abs(part) ** GAMMA)[..., None]
    mixed: RGB = np.rint(grey + cover * (paint - grey)).astype(np.uint8)
    return mixed


def cell(
    title: str,
    picture: Image.Image | None,
    limits: tuple[str, str, bool] | None,
    lines: Sequence[Line],
) -> Image.Image:
    """Title, picture, legend and lines under each other, as tall as they need."""
    wrapped = [Line(part, line.size, line.ink) for line in lines for part in wrap(line)]
    below = 40 + (picture.height if picture else -10)
    height = below + (34 if limits else 2) + sum(line.size + 6 for line in wrapped)
    sheet = Image.new("RGB", (CELL, height + 8), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((0, 0), wrap(Line(title, 18))[0], INK, font=_font(18))
    if picture:
        sheet.paste(picture, (0, 30))
    top = below
    if limits:
        legend(sheet, draw, top, limits)
        top += 34
    for line in wrapped:
        draw.text((0, top), line.text, line.ink, font=_font(line.size))
        top += line.size + 6
    return sheet


def legend(sheet: Image.Image, draw: ImageDraw.ImageDraw, top: int, limits: tuple[str, str, bool]) -> None:
    low, high, signed = typeable(limits[0]), typeable(limits[1]), limits[2]
    ramp = colours.colour("RdBu_r" if signed else "viridis", np.linspace(0, 1, CELL))
    sheet.paste(Image.fromarray(np.rint(ramp).astype(np.uint8)[None].repeat(9, axis=0)), (0, top))
    draw.rectangle((0, top, CELL - 1, top + 8), outline=LINE)
    draw.text((0, top + 12), low, INK, font=_font(13))
    if signed:
        draw.text((CELL / 2, top + 12), "0", INK, font=_font(13), anchor="ma")
    draw.text((CELL, top + 12), f"+{high}" if signed else high, INK, font=_font(13), anchor="ra")


def verdict_in_words(verdict: Mapping[str, Any]) -> str:
    word = verdict["verdict"]
    return f"{word[0].upper()}{word[1:]}, score {trust.score(verdict)}. {verdict['because']}"


def stamp(picture: Image.Image, text: str, ground: str = INK) -> None:
    """Words in the middle of a picture."""
    draw = ImageDraw.Draw(picture)
    middle = (picture.width / 2, picture.height / 2)
    left, top, right, bottom = draw.textbbox(middle, text, font=_font(16), anchor="mm")
    draw.rectangle((left - 12, top - 9, right + 12, bottom + 9), fill=ground)
    draw.text(middle, text, PAPER, font=_font(16), anchor="mm")


def bar_chart(rows: Sequence[view.Bar]) -> Image.Image:
    """Values that are no picture, as labelled bars from a common zero."""
    step, left, right = 22, 110, 80
    sheet = Image.new("RGB", (CELL, step * len(rows)), PAPER)
    draw = ImageDraw.Draw(sheet)
    span = (CELL - left - right) / 100
    for index, row in enumerate(rows):
        top = index * step
        draw.text((0, top + 3), typeable(row.label[:16]), INK, font=_font(13))
        draw.text((CELL, top + 3), typeable(row.value), INK, font=_font(13), anchor="ra")
        start = left + row.start * span
        colour = "#b2182b" if row.sign == "plus" else "#2166ac"
        draw.rectangle((start, top + 4, start + row.length * span, top + step - 5), fill=colour)
    return sheet


def wrap(line: Line) -> list[str]:
    """Lines no wider than a cell; a word that is too long is broken."""
    font, lines = _font(line.size), [""]
    for word in typeable(line.text).split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= CELL:
            lines[-1] = longer
            continue
        lines += _broken(word, font)
    return [text for text in lines if text] or [""]


def _broken(word: str, font: Font) -> list[str]:
    """A word in parts no wider than a cell."""
    parts = [""]
    for letter in word:
        if font.getlength(parts[-1] + letter) > CELL:
            parts.append("")
        parts[-1] += letter
    return parts


def typeable(text: str) -> str:
    """Pillow's own font has neither true minus, nor cross, nor superscripts."""
    return text.replace("×10", "e").translate(_GLYPHS)


def _fitted(image: Image.Image, resample: Image.Resampling) -> Image.Image:
    return image.resize((CELL, max(1, round(CELL * image.height / image.width))), resample)


def _font(size: int) -> Font:
    return ImageFont.load_default(size=size)
