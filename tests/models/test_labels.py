"""Label files: a line each, or JSON of the usual shapes."""

from pathlib import Path

import pytest

from tests.support.toys import ML
from underhood.errors import BadInput, InvalidArgument
from underhood.models import Model, load
from underhood.models.labels import read_labels


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.txt", "cat\ndog\n"),
        ("labels.txt", "cat\r\n  dog \r\n\r\n"),
        ("labels.txt", "\ufeffcat\ndog"),
        ("labels.json", '["cat", "dog"]'),
        ("labels.json", '{"1": "dog", "0": "cat"}'),
        ("labels.json", '{"0": ["n02123045", "cat"], "1": ["n02084071", "dog"]}'),
    ],
)
def test_labels_are_read(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_labels(tmp_path / name) == ("cat", "dog")


def test_an_empty_line_inside_keeps_its_class(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat\n\ndog\n")
    assert read_labels(tmp_path / "labels.txt") == ("cat", "", "dog")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("labels.txt", b"", "is empty"),
        ("labels.txt", b"\xff\xfe\x00", "no text in UTF-8"),
        ("labels.json", b"{not json", "must hold a list"),
        ("labels.json", b'{"1": "dog"}', "from 0 on"),
        ("labels.json", b"5", "must hold a list"),
    ],
)
def test_broken_label_files_are_refused(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=words):
        read_labels(tmp_path / name)


def test_a_missing_label_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"There is no label file '.*none\.txt'"):
        load(ML(), labels=tmp_path / "none.txt")


def test_labels_given_as_a_text_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="not a text"):
        Model(ML(), labels="cat")
