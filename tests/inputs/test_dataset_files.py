"""Folders and tables become data sets; what does not fit is named, left out or refused in a sentence."""

import json
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from underhood.errors import BadInput, InvalidArgument
from underhood.inputs import Dataset, as_dataset, read_picture
from underhood.inputs.names import listed, printable


def draw(folder: Path, *names: str) -> Path:
    """Pictures of four pixels, each in a colour of its own."""
    for number, name in enumerate(names):
        os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
        with open(os.path.join(folder, name), "wb") as file:
            Image.new("RGB", (2, 2), (number, 0, 0)).save(file, "PNG")
    return folder


def table(path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path.write_bytes("\n".join(lines).encode(encoding))
    return path


def rows(dataset: Dataset) -> list[tuple[str, str | None]]:
    return [(row.name, row.label) for row in dataset]


# -- a folder for each class ---------------------------------------------------------------------------


def test_folders_are_classes_at_any_depth(tmp_path: Path) -> None:
    draw(tmp_path / "skin", "nevus/b.png", "nevus/old/a.jpg", "melanoma/c.png")
    found = Dataset.from_folder(tmp_path / "skin")
    assert rows(found) == [
        ("melanoma/c.png", "melanoma"),
        ("nevus/b.png", "nevus"),
        ("nevus/old/a.jpg", "nevus"),
    ]
    assert [row.number for row in found] == [0, 1, 2]
    assert (found.name, found.labels, found.problems) == ("skin", ("melanoma", "nevus"), ())
    assert read_picture(found[0].source).getpixel((0, 0)) == (2, 0, 0)


def test_a_first_level_of_splits_is_told_from_classes(tmp_path: Path) -> None:
    draw(tmp_path / "a", "train/cat/1.png", "train/dog/2.png", "Test/cat/3.png")
    found = Dataset.from_folder(tmp_path / "a")
    assert [(row.split, row.label) for row in found] == [("Test", "cat"), ("train", "cat"), ("train", "dog")]
    draw(tmp_path / "b", "train/1.png", "car/2.png")  # of vehicles
    found = Dataset.from_folder(tmp_path / "b")
    assert [(row.split, row.label) for row in found] == [(None, "car"), (None, "train")]


def test_what_is_in_no_class_folder_is_left_out_and_named(tmp_path: Path) -> None:
    draw(tmp_path, "cat/1.png", "loose.png", ".hidden.png", "cat/._1.png", ".cache/2.png")
    (tmp_path / "cat" / "notes.txt").write_text("none")
    (tmp_path / "dog").mkdir()
    found = Dataset.from_folder(tmp_path)
    assert rows(found) == [("cat/1.png", "cat")]
    assert found.problems == (
        "Folders without a picture: 1 ('dog').",
        "Pictures in no class folder, left out: 1 ('loose.png').",
    )


def test_a_folder_of_pictures_alone_has_no_labels(tmp_path: Path) -> None:
    found = Dataset.from_folder(draw(tmp_path / "x", "1.png", "2.png"))
    assert rows(found) == [("1.png", None), ("2.png", None)]
    assert found.problems == ("The pictures in 'x' have no labels: there is no folder for each class.",)


def test_problems_stay_short_whatever_there_are(tmp_path: Path) -> None:
    draw(tmp_path, "cat/1.png", *(f"{n:04}.png" for n in range(1200)))
    (said,) = Dataset.from_folder(tmp_path).problems
    assert said == (
        "Pictures in no class folder, left out: 1,200 ('0000.png', '0001.png', '0002.png' and 1,197 more)."
    )


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    draw(tmp_path / "elsewhere", "1.png")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cat").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "round").symlink_to(tmp_path / "data")
    (tmp_path / "elsewhere" / "broken.png").symlink_to(tmp_path / "nowhere.png")
    found = Dataset.from_folder(tmp_path / "data")
    assert [row.name for row in found] == ["cat/1.png", "cat/broken.png"]
    with pytest.raises(BadInput, match="no file"):
        read_picture(found[1].source)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda p: p / "gone", "There is no folder '.*gone'"),
        (lambda p: table(p / "file.csv", "x"), "'.*file.csv' is a file; give the folder"),
        (lambda p: (p / "bare").mkdir() or p / "bare", "The folder '.*bare' is empty; give one with .jpg"),
        (lambda p: table(p / "notes.txt", "x").parent, "holds no pictures; give one with .jpg"),
    ],
)
def test_folders_that_cannot_be_used_are_refused(tmp_path: Path, made, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        Dataset.from_folder(made(tmp_path))


# -- a table ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "encoding"),
    [
        (["file,label", "a.png,nv", "b.png,mel"], "utf-8"),
        (["Image_ID;DX", "a;nv", "b;mel"], "utf-8-sig"),
        (["dx\timage name", "nv\ta.PNG", "mel\tb.jpeg"], "utf-16"),
        (["idx,name,class", "0,./a.png,nv", "1,x\\b.png,mel"], "utf-8"),
        (["", "path,diagnosis", "", '"/far/away/a.png"," nv "', "b,mel", ""], "utf-8"),
    ],
)
def test_a_table_is_read_by_its_header(tmp_path: Path, lines: Sequence[str], encoding: str) -> None:
    draw(tmp_path / "images", "a.png", "x/b.png")
    found = Dataset.from_table(tmp_path / "images", table(tmp_path / "t.csv", *lines, encoding=encoding))
    assert rows(found) == [("a.png", "nv"), ("x/b.png", "mel")]
    assert found.problems == ()


def test_further_columns_are_kept_as_text(tmp_path: Path) -> None:
    draw(tmp_path / "images", "a.png", "b.png")
    labels = table(tmp_path / "t.csv", "image_id,dx,split,age", "a,nv,train,045", "b,mel,,")
    found = Dataset.from_table(tmp_path / "images", labels)
    assert [(row.split, row.metadata) for row in found] == [("train", {"age": "045"}), (None, {"age": ""})]


def test_whatever_does_not_match_is_counted_and_named(tmp_path: Path) -> None:
    draw(tmp_path / "images", "a.png", "b.png", "c.png", "d.png", "x/e.png", "y/e.png", "f.png")
    labels = table(
        tmp_path / "labels.csv",
        "file,label", "a.png,nv", "a,nv", "b.png,nv", "b.png,mel", "c.png,", "gone.png,nv", "e.png,nv",
        "short",
    )  # fmt: skip
    found = Dataset.from_table(tmp_path / "images", labels)
    assert rows(found) == [("a.png", "nv"), ("c.png", None)]
    assert found.problems == (
        "Names in 'labels.csv' without a picture: 2 ('gone.png', 'short').",
        "Names in 'labels.csv' that fit several pictures, left out (write paths): 1 ('e.png').",
        "Lines of 'labels.csv' that repeat a picture, left out: 2 ('a', 'b.png').",
        "Pictures with different labels in 'labels.csv', left out: 1 ('b.png').",
        "Pictures without a label in 'labels.csv', kept without one: 1 ('c.png').",
        "Pictures that are not in 'labels.csv', left out: 4 ('d.png', 'f.png', 'x/e.png' and 1 more).",
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "The table 't.csv' is empty"),
        (b" \n \n", "The table 't.csv' is empty"),
        (b"a.png,nv\nb.png,mel", "'t.csv' has no header: its first line already names the picture 'a.png'"),
        (b"file,age\na.png,3", "no column for the label: its columns are 'file', 'age'; call one of them"),
        (b"foto,label\na.png,3", "no column for the picture: its columns are 'foto', 'label'; call one of"),
        (b"file,label\n", "'t.csv' has a header and no lines below it"),
        (b"file,label\nq.png,nv", "none of the pictures: its names are 'q.png', those of the pictures 'a."),
        (b"\x89PNG\r\n\0\0\0", "'t.csv' is no table in text form"),
        (b'file,label\n"a.png,' + b"x" * 200_000, "'t.csv' cannot be read beyond line"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_used_are_refused(tmp_path: Path, content: bytes, said: str) -> None:
    draw(tmp_path / "images", "a.png", "b.png")
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(BadInput, match=said):
        Dataset.from_table(tmp_path / "images", tmp_path / "t.csv")


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"There is no table '.*/gone\.csv'"):
        Dataset.from_table(draw(tmp_path, "a.png"), tmp_path / "gone.csv")


# -- metadata and masks ----------------------------------------------------------------------------------


def test_metadata_joins_by_name_but_not_the_label_itself(tmp_path: Path) -> None:
    draw(tmp_path / "d", "nv/a.png", "mel/b.png", "mel/c.png")
    meta = table(
        tmp_path / "meta.csv",
        "image,dx,sex,split", "a,nv,f,train", "b,mel,m,test", "b,mel,f,test", "q,nv,m,test",
    )  # fmt: skip
    found = Dataset.from_folder(tmp_path / "d", metadata=meta)
    assert [(r.name, dict(r.metadata), r.split) for r in found] == [
        ("mel/b.png", {"dx": "mel", "sex": "m", "split": "test"}, "test"),
        ("mel/c.png", {}, None),
        ("nv/a.png", {"dx": "nv", "sex": "f", "split": "train"}, "train"),
    ]
    assert found.problems == (
        "Names in 'meta.csv' without a picture: 1 ('q').",
        "Lines of 'meta.csv' that repeat a picture, left out: 1 ('b').",
        "Pictures that are not in 'meta.csv', kept without metadata: 1 ('mel/c.png').",
    )
    whole = table(tmp_path / "meta.csv", "image,dx,sex", "a,nv,f", "b,mel,m", "c,mel,m")
    found = Dataset.from_folder(tmp_path / "d", metadata=whole)
    assert [row.metadata for row in found] == [{"sex": "m"}, {"sex": "m"}, {"sex": "f"}]
    assert found.problems == (
        "The column 'dx' of 'meta.csv' is the label itself; it is not taken as metadata.",
    )


def test_masks_go_by_the_stem(tmp_path: Path) -> None:
    draw(tmp_path / "d", "nv/a.jpg", "mel/b.jpg", "mel/c.jpg")
    draw(tmp_path / "m", "a_mask.png", "mel/b.png", "other.png")
    found = Dataset.from_folder(tmp_path / "d", masks=tmp_path / "m")
    assert [row.mask and os.path.basename(row.mask) for row in found] == ["b.png", None, "a_mask.png"]
    assert found.problems == (
        "Pictures without a mask: 1 ('mel/c.jpg').",
        "Masks without a picture: 1 ('other.png').",
    )


@pytest.mark.parametrize("where", ["d", "d/masks"])
def test_masks_among_the_pictures_are_no_pictures(tmp_path: Path, where: str) -> None:
    draw(tmp_path / "d", "nv/a.jpg")
    draw(tmp_path / where, "nv/a_mask.png")
    found = Dataset.from_folder(tmp_path / "d", masks=tmp_path / where)
    assert rows(found) == [("nv/a.jpg", "nv")]
    assert found[0].mask == str(tmp_path / where / "nv/a_mask.png")


def test_masks_that_fit_nothing_are_refused(tmp_path: Path) -> None:
    draw(tmp_path / "d", "nv/a.jpg")
    with pytest.raises(BadInput, match=r"No mask in 'm' goes with a picture.*'z.png'.*'nv/a.jpg'"):
        Dataset.from_folder(tmp_path / "d", masks=draw(tmp_path / "m", "z.png"))


@pytest.mark.parametrize("white", [255, 1, 38])
def test_masks_are_read_whatever_stands_for_white(tmp_path: Path, white: int) -> None:
    draw(tmp_path / "d", "nv/a.png")
    truth = np.array([[True, False], [False, False]])
    (tmp_path / "m").mkdir()
    Image.fromarray((truth * white).astype(np.uint8)).save(tmp_path / "m/a.png")
    read = Dataset.from_folder(tmp_path / "d", masks=tmp_path / "m")[0].read_mask()
    assert read is not None
    assert (read == truth).all()


# -- names of any bytes ----------------------------------------------------------------------------------


def test_names_that_are_no_utf8_survive_everywhere(tmp_path: Path) -> None:
    strange = os.fsdecode(b"caf\xe9\n.png")
    draw(tmp_path / "d", f"nv/{strange}", "nv/plain.png")
    labels = tmp_path / "t.csv"
    labels.write_bytes(b'file,label\n"caf\xe9\n.png",n\xe6vus\nplain.png,nv\n')
    for found in (Dataset.from_folder(tmp_path / "d"), Dataset.from_table(tmp_path / "d", labels)):
        row = found[0]
        assert row.name == "nv/caf\\xe9\\n.png"
        assert row.name in json.loads(json.dumps([row.name]))
        assert sqlite3.connect(":memory:").execute("select ?", (row.name,)).fetchone() == (row.name,)
        assert row.name.encode("utf-8").decode("utf-8") == row.name
        assert read_picture(row.source).getpixel((0, 0)) == (0, 0, 0)
    assert found[0].label == "nævus"
    assert found.problems == (
        "The table 't.csv' is not in UTF-8; it was read as Windows-1252 (Western European).",
    )
    os.remove(found[0].source)
    with pytest.raises(BadInput, match=r"caf\\xe9\\n.png") as refused:
        read_picture(found[0].source)
    assert str(refused.value).encode("utf-8")


def test_accents_may_be_spelt_in_two_ways(tmp_path: Path) -> None:
    draw(tmp_path / "d", "cafe\u0301.png")
    assert rows(
        Dataset.from_table(tmp_path / "d", table(tmp_path / "t.csv", "file,label", "caf\u00e9,x"))
    ) == [("cafe\u0301.png", "x")]


def test_lists_of_names_are_short() -> None:
    assert listed(["a", "b"]) == "'a', 'b'"
    assert listed([str(n) for n in range(1004)]) == "'0', '1', '2' and 1,001 more"
    assert printable("plain ü") == "plain ü"


def test_a_data_set_can_be_read_again_from_what_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "d", "nv/a.png", "mel/b.png")
    draw(tmp_path / "m", "a.png", "b.png")
    told = str(table(tmp_path / "t.csv", "file,label,sex", "a,0,f", "b,1,m"))
    monkeypatch.chdir(tmp_path)
    asked = (
        Dataset.from_folder("d"),
        Dataset.from_folder("d", metadata="t.csv", masks="m"),
        Dataset.from_table("d", "t.csv", metadata=Path("t.csv")),
    )
    monkeypatch.chdir("/")
    for dataset in asked:
        again = as_dataset(**json.loads(json.dumps(dataset.loaded)))
        assert [(r.name, r.label, r.metadata) for r in again] == [
            (r.name, r.label, r.metadata) for r in dataset
        ]
        assert [row.read_mask() is None for row in again] == ["masks" not in dataset.loaded] * 2
    assert asked[2].loaded == {"data": str(tmp_path / "d"), "labels": told, "metadata": told}
    assert not as_dataset(torch.zeros(1, 3, 2, 2)).loaded


# -- whatever the user has ---------------------------------------------------------------------------------


def test_as_dataset_takes_what_there_is(tmp_path: Path) -> None:
    draw(tmp_path / "d", "nv/a.png", "mel/b.png")
    labels = table(tmp_path / "t.csv", "file,label", "a,0", "b,1")
    folder = tmp_path / "d"
    assert rows(as_dataset(folder)) == [("mel/b.png", "mel"), ("nv/a.png", "nv")]
    assert rows(as_dataset(str(folder), labels=labels)) == [("mel/b.png", "1"), ("nv/a.png", "0")]
    assert rows(as_dataset((folder, labels))) == rows(as_dataset(folder, labels=labels))
    paths = [folder / "nv/a.png", folder / "mel/b.png"]
    assert rows(as_dataset(paths, labels=["x", None])) == [("nv/a.png", "x"), ("mel/b.png", None)]
    assert rows(as_dataset(paths[:1])) == [("a.png", None)]
    assert rows(as_dataset(tuple(map(str, paths)))) == [("nv/a.png", None), ("mel/b.png", None)]
    tensors = torch.zeros(2, 3, 4, 4)
    for given in ([1, 0], np.array([1.0, 0.0]), torch.tensor([1, 0]), ["1", "0"]):
        assert rows(as_dataset((tensors, given))) == [("picture 0", "1"), ("picture 1", "0")]
    made = as_dataset(np.zeros((2, 4, 4, 3), np.uint8), masks=torch.ones(2, 4, 4), metadata=[{"a": "b"}] * 2)
    assert made[1].read_mask() is not None
    assert made[1].read_mask().all()
    assert as_dataset(made) is made


@pytest.mark.parametrize(
    ("given", "options", "said"),
    [
        (3, {}, "must be a Dataset, a folder, a list of paths"),
        ([], {}, "no pictures"),
        ((torch.zeros(2, 3, 4, 4), [1]), {}, "2 pictures and 1 labels"),
        ((torch.zeros(2, 3, 4, 4), torch.eye(2)), {}, "not a row of them"),
        (torch.zeros(2, 3, 4, 4), {"labels": "t.csv"}, "goes with a folder"),
        (torch.zeros(2, 3, 4, 4), {"masks": "folder"}, "one of the masks for each picture"),
        ("here", {"masks": [1]}, "give the masks as the path of a folder"),
        (Dataset.of(torch.zeros(1, 3, 4, 4)), {"labels": ["x"]}, "already has its labels"),
    ],
)
def test_what_is_no_data_set_is_refused(given: object, options: dict, said: str) -> None:
    with pytest.raises((BadInput, InvalidArgument), match=said):
        as_dataset(given, **options)


def test_a_hundred_thousand_rows_are_small(tmp_path: Path) -> None:
    import tracemalloc

    from underhood.inputs.joined_tables import labelled
    from underhood.inputs.tables import Table

    count = 20_000
    names = [f"part_{n % 10}/ISIC_{n:07}.jpg" for n in range(count)]
    lines = (f"{name},{'nv' if n % 3 else 'mel'},{n % 90},m" for n, name in enumerate(names))
    opened = Table.open(table(tmp_path / "t.csv", "image,dx,age,sex", *lines))
    tracemalloc.start()
    drafts, problems = labelled(names, opened)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(drafts), problems) == (count, ())
    assert held / count < 600  # bytes
