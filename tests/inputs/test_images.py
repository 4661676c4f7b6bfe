"""Pictures of any make are read upright as 8-bit RGB or grey, in bounded memory, or refused in words."""

import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.support.data import REPOSITORY
from underhood.errors import BadInput
from underhood.inputs import find_pictures, read_picture
from underhood.inputs.images import as_picture, given_picture
from underhood.models import Preprocess

# Four colours in the corners tell every turn and mirroring apart.
CORNERS = np.zeros((40, 60, 3), np.uint8)
CORNERS[:20, :30], CORNERS[:20, 30:] = (255, 0, 0), (0, 255, 0)
CORNERS[20:, :30], CORNERS[20:, 30:] = (0, 0, 255), (255, 255, 255)


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("RGB"), dtype=int)


# -- formats -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".gif", ".tiff", ".ppm", ".webp", ".jpg", ".jfif"])
def test_formats_are_read(tmp_path: Path, suffix: str) -> None:
    options = {".webp": {"lossless": True}, ".jpg": {"quality": 95, "subsampling": 0}}.get(suffix, {})
    Image.fromarray(CORNERS).save(tmp_path / f"picture{suffix}", **options)
    read = read_picture(tmp_path / f"picture{suffix}")
    assert read.mode in ("RGB", "L")
    assert np.abs(pixels(read) - CORNERS)[5:15, 5:25].max() <= 12


def test_the_suffix_does_not_matter(tmp_path: Path) -> None:
    Image.fromarray(CORNERS).save(tmp_path / "picture.jpg", format="png")
    assert (pixels(read_picture(tmp_path / "picture.jpg")) == CORNERS).all()


def test_a_single_pixel_is_a_picture(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (10, 20, 30)).save(tmp_path / "one.png")
    read = read_picture(tmp_path / "one.png")
    assert read.size == (1, 1)
    x = Preprocess(mean=(0.0,) * 3, std=(1.0,) * 3)(read)
    assert x.shape == (3, 224, 224)
    assert (x * 255).round().flatten(1).unique(dim=1).flatten().tolist() == [10, 20, 30]


@pytest.mark.parametrize("mode", ["I;16", "I"])
def test_sixteen_bits_become_eight_without_clipping(tmp_path: Path, mode: str) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, 0)
    picture = Image.fromarray(ramp if mode == "I;16" else ramp.astype(np.int32))
    assert picture.mode == mode
    picture.save(tmp_path / "deep.png" if mode == "I;16" else tmp_path / "deep.tiff")
    read = read_picture(next(tmp_path.iterdir()))
    assert read.mode == "L"
    assert np.abs(np.asarray(read, int) - np.arange(256)).max() <= 1


def test_floating_point_pictures_are_stretched_to_their_range(tmp_path: Path) -> None:
    Image.fromarray(np.linspace(-3, 5, 256, dtype=np.float32)[None].repeat(2, 0)).save(tmp_path / "f.tiff")
    assert np.abs(np.asarray(read_picture(tmp_path / "f.tiff"), int) - np.arange(256)).max() <= 1


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_lies_on_white(tmp_path: Path, mode: str) -> None:
    picture = Image.new("RGBA", (8, 8), (200, 0, 0, 255))
    picture.paste((0, 0, 0, 0), (0, 0, 4, 8))
    if mode == "P":
        picture = picture.quantize(8)
        assert "transparency" in picture.info or picture.palette.mode == "RGBA"
    else:
        picture = picture.convert(mode)
    picture.save(tmp_path / "clear.png")
    read = pixels(read_picture(tmp_path / "clear.png"))
    assert (read[:, :4] == 255).all()
    assert (read[:, 4:] == read[0, 5]).all()
    assert read[0, 5, 0] < 255


def test_half_transparent_is_half_white(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (0, 0, 0, 128)).save(tmp_path / "half.png")
    assert np.abs(pixels(read_picture(tmp_path / "half.png")) - 127).max() <= 1


@pytest.mark.parametrize("mode", ["L", "1", "CMYK", "YCbCr"])
def test_other_modes_keep_their_look(tmp_path: Path, mode: str) -> None:
    source = Image.fromarray(CORNERS).convert(mode)
    path = tmp_path / ("picture.png" if mode in ("L", "1") else "picture.jpg")
    source.save(path)
    read = read_picture(path)
    assert read.mode in ("L", "RGB")
    assert np.abs(pixels(read) - pixels(source))[5:15, 5:25].max() <= 12


def test_the_first_frame_of_an_animation_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert (pixels(read_picture(tmp_path / "moving.gif")) == [255, 0, 0]).all()


# -- upright -----------------------------------------------------------------------------------------


def turned(orientation: int) -> Image.Image:
    """A picture as a camera stores it, so that it is upright once its orientation tag is obeyed."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    upright = Image.fromarray(CORNERS)
    return upright.transpose(undo[orientation]) if orientation in undo else upright


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"webp": {"lossless": True}, "jpg": {"quality": 95, "subsampling": 0}}.get(suffix, {})
    turned(orientation).save(tmp_path / f"turned.{suffix}", exif=exif, **options)
    read = read_picture(tmp_path / f"turned.{suffix}")
    assert read.size == (60, 40)
    middles = np.s_[10::20, 15::30]
    assert np.abs(pixels(read)[middles] - CORNERS[middles]).max() <= 8
    opened = Image.open(tmp_path / f"turned.{suffix}")
    assert (pixels(given_picture(opened)) == pixels(read)).all()  # the same picture, opened by the user


# -- bad files ---------------------------------------------------------------------------------------


def truncated(suffix: str) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, suffix)
    return file.getvalue()[: len(file.getvalue()) // 2]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"just a text, whatever the file is called", "not a picture in a format that can be read"),
        (b"", "not a picture"),
        (b"\xff\xd8\xff", "picture.jpg"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 30, "picture.jpg"),
        (truncated("jpeg"), "is broken and cannot be decoded"),
        (truncated("png"), "is broken and cannot be decoded"),
        (truncated("gif"), "is broken and cannot be decoded"),
        (truncated("tiff"), "is broken and cannot be decoded"),
        (truncated("webp"), "picture.jpg"),
    ],
)
def test_bad_files_are_refused_in_one_sentence(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "picture.jpg").write_bytes(content)
    with pytest.raises(BadInput, match=words) as refused:
        read_picture(tmp_path / "picture.jpg")
    assert str(refused.value).startswith("'picture.jpg' ")
    assert "\n" not in str(refused.value)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jpg", tmp_path, tmp_path / ("x" * 300)):
        with pytest.raises(BadInput, match=r"There is no file|The folder .* holds no pictures"):
            read_picture(path)


def test_arrays_that_are_no_picture_are_refused() -> None:
    for shape in ((3,), (2, 4, 4, 3), (4, 4, 2), (3, 40, 40)):
        with pytest.raises(BadInput, match="is no picture"):
            as_picture(np.zeros(shape, np.uint8))
    for shape in ((4, 5), (4, 5, 1), (4, 5, 3), (4, 5, 4)):
        assert as_picture(np.zeros(shape, np.uint8)).size == (5, 4)


# -- names -------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.png", "a.PNG", "deep/c.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(CORNERS).save(tmp_path / name, format="png")
    return tmp_path


def test_folders_are_searched_in_order(folder: Path) -> None:
    assert [p.relative_to(folder).as_posix() for p in find_pictures([folder])] == [
        "a.PNG",
        "b.png",
        "deep/c.png",
    ]


def test_globs_files_and_folders_may_be_mixed_and_come_once(folder: Path) -> None:
    found = find_pictures([folder / "b.png", f"{folder}/*.png", f"{folder}/**/*.png", folder])
    assert [p.name for p in found] == ["b.png", "c.png", "a.PNG"]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(folder: Path) -> None:
    (folder / "b.png").rename(folder / "[b].png")
    assert [p.name for p in find_pictures([folder / "[b].png"])] == ["[b].png"]


def test_a_name_that_leads_nowhere_is_passed_on_so_that_it_is_reported(folder: Path) -> None:
    names = [folder / "none.png", f"{folder}/*.webp", folder / "b.png"]
    assert [p.name for p in find_pictures(names)] == ["none.png", "*.webp", "b.png"]


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no pictures"):
        read_picture(next(iter(find_pictures([tmp_path]))))


def test_names_that_are_no_utf8_are_read(tmp_path: Path) -> None:
    name = os.fsdecode(b"lesion-\xff\xe9.png")
    Image.fromarray(CORNERS).save(tmp_path / name)
    (found,) = find_pictures([tmp_path])
    assert (pixels(read_picture(found)) == CORNERS).all()
    (tmp_path / name).write_text("no picture")
    with pytest.raises(BadInput) as refused:
        read_picture(found)
    assert str(refused.value).encode("utf-8", "surrogateescape")


# -- huge pictures -----------------------------------------------------------------------------------


def huge_jpeg(path: Path, side: int = 20_000) -> None:
    """Grey, `side` × `side`: one row of blocks is encoded, and the file repeats it."""
    row = io.BytesIO()
    Image.new("L", (side, 8), 90).save(row, "jpeg", restart_marker_rows=1)
    data = row.getvalue()
    start_of_frame = data.index(b"\xff\xc0")
    scan = data.index(b"\xff\xda")
    first = scan + 2 + struct.unpack(">H", data[scan + 2 : scan + 4])[0]
    header = bytearray(data[:first])
    header[start_of_frame + 5 : start_of_frame + 7] = struct.pack(">H", side)
    blocks = data[first:-2]
    rows = [blocks + bytes([0xFF, 0xD0 + i % 8]) for i in range(side // 8 - 1)]
    path.write_bytes(bytes(header) + b"".join(rows) + blocks + b"\xff\xd9")


def huge_png(path: Path, side: int = 20_000, channels: int = 1) -> None:
    """Black, `side` × `side`, written row by row."""
    squeeze, row = zlib.compressobj(1), bytes(1 + side * channels)
    body = b"".join(squeeze.compress(row) for _ in range(side)) + squeeze.flush()
    colour = {1: 0, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", side, side, 8, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, chunks)))


def _chunk(kind_and_data: tuple[bytes, bytes]) -> bytes:
    kind, data = kind_and_data
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


MEASURE = r"""
import re, sys
from pathlib import Path
from underhood.errors import BadInput
from underhood.inputs import read_picture
from underhood.models import Preprocess

def kibibytes(what):
    return int(re.search(what + r":\s+(\d+) kB", Path("/proc/self/status").read_text())[1])

before = kibibytes("VmRSS")
try:
    picture = read_picture(sys.argv[1])
    print("read", *picture.size, *Preprocess()(picture).shape)
except BadInput as error:
    print("refused", error)
print((kibibytes("VmHWM") - before) // 1024)
"""


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (huge_jpeg, "read 2048 2048 3 224 224"),
        (huge_png, "refused 'huge' has too many pixels to decode in bounded memory"),
        (lambda path: huge_png(path, 10_000), "refused 'huge' has too many pixels"),
        (lambda path: huge_png(path, 8_000, 4), "read 2048 2048 3 224 224"),
        (lambda path: huge_png(path, 4_800, 4), "read 4800 4800 3 224 224"),
    ],
    ids=["20,000² JPEG", "20,000² PNG", "10,000² PNG", "8,000² RGBA PNG", "4,800² RGBA PNG"],
)
@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's account of memory")
def test_huge_pictures_are_read_in_bounded_memory_or_refused(
    tmp_path: Path, write: Callable[[Path], None], expected: str
) -> None:
    write(tmp_path / "huge")
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "huge")]
    output = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY).stdout
    what, mebibytes = output.splitlines()
    assert what.startswith(expected)
    assert int(mebibytes) < 600


def test_the_huge_jpeg_is_what_it_says(tmp_path: Path) -> None:
    huge_jpeg(tmp_path / "small.jpg", side=256)
    read = Image.open(tmp_path / "small.jpg")
    assert read.size == (256, 256)
    assert set(np.unique(np.asarray(ImageOps.exif_transpose(read)))) == {90}


def test_a_large_progressive_jpeg_is_refused_as_it_is_decoded_whole(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("L", (64, 64)).save(file, "jpeg", progressive=True)
    data = bytearray(file.getvalue())
    frame = data.index(b"\xff\xc2")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 12_000, 12_000)
    (tmp_path / "huge.jpg").write_bytes(bytes(data))
    with pytest.raises(BadInput, match="baseline JPEG of that size can be read"):
        read_picture(tmp_path / "huge.jpg")
