"""Audits that something happened to: one sentence that says what to do, and nothing made worse."""

import errno
import json
import os
import shutil
import sqlite3

import numpy as np
import pytest

from tests.support.small_audits import PREPROCESS, model, names, pictures, run, told
from underhood.playbooks.finding import Effect, Finding, Outcome
from underhood.playbooks.kept import as_document
from underhood.store import Store, arrays

COPY = "put back a copy, or make the audit again in another folder"
DESCRIPTION = f"audit.json' cannot be read as an audit's description; {COPY}"
FILE = "records.sqlite"
RECORDS = f"{FILE}' cannot be read as an audit's records"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An audit that is not to be changed."""
    folder = tmp_path_factory.mktemp("whole")
    given = ("--model", model(folder), *names(folder), *PREPROCESS, "--data", pictures(folder / "images", 4))
    assert run("audit", *given, "--out", folder / "audit", "--playbook", "errors") == 0
    return folder / "audit"


@pytest.fixture
def hurt(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "hurt")


def described(**changes):
    def damage(folder):
        about = json.loads((folder / "audit.json").read_text())
        (folder / "audit.json").write_text(json.dumps({**about, **changes}))

    return damage


def without(name):
    def damage(folder):
        about = json.loads((folder / "audit.json").read_text())
        del about[name]
        (folder / "audit.json").write_text(json.dumps(about))

    return damage


def cut(name, left):
    def damage(folder):
        (folder / name).write_bytes((folder / name).read_bytes()[:left])

    return damage


def written(name, content):
    return lambda folder: (folder / name).write_bytes(content)


DAMAGES = {
    "description cut off": (cut("audit.json", 300), DESCRIPTION),
    "description of nothing": (written("audit.json", b"{}"), DESCRIPTION),
    "description that is a list": (written("audit.json", b"[]"), DESCRIPTION),
    "a number that is none": (described(rows="x"), DESCRIPTION),
    "of another version": (described(format=2), "(its format is 2, this one reads 1); use that version"),
    "without its model": (without("model"), "lacks model; put back a copy"),
    "records that are none": (written(FILE, b"garbage" * 999), f"{RECORDS} (file is not a database)"),
    "records cut off": (cut(FILE, 9000), f"{RECORDS} (database disk image is malformed)"),
    "records emptied": (written(FILE, b""), f"{RECORDS} (no such table: shards)"),
    "records gone": (lambda folder: (folder / FILE).unlink(), f"{FILE}' is not there any more"),
}


@pytest.mark.parametrize("command", ["resume", "verify", "compare"])
@pytest.mark.parametrize("case", DAMAGES)
def test_a_damaged_audit_is_told_in_one_sentence_and_left_as_it_is(capsys, whole, hurt, case, command):
    damage, said = DAMAGES[case]
    damage(hurt)
    before = {path: path.stat().st_size for path in hurt.rglob("*") if path.name != ".lock"}
    words = {"resume": ("audit", "--resume"), "verify": ("audit", "verify"), "compare": ("compare", whole)}
    code, out, err = told(capsys, *words[command], hurt)
    assert (code, out) == (1, "")
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert said in err
    assert {path: path.stat().st_size for path in hurt.rglob("*") if path.name != ".lock"} == before


@pytest.mark.parametrize("name", ["maps.zarr", "maps.zarr/scores/zarr.json", "maps.zarr/maps/zarr.json"])
def test_arrays_that_are_gone_or_torn_are_told_where_they_are_read(capsys, hurt, name):
    path = hurt / name
    shutil.rmtree(path) if path.is_dir() else path.write_text("{")
    code, _, err = told(capsys, "audit", "verify", hurt)
    assert code == 1
    assert f"are not there any more, or are damaged; {COPY}" in err
    assert err.count("\n") == 1


def test_an_outcome_that_cannot_be_read_is_made_again_by_going_on(capsys, whole, hurt):
    (kept,) = (hurt / "outcomes").iterdir()
    kept.write_bytes(b"torn")
    code, _, err = told(capsys, "compare", whole, hurt)
    assert code == 1
    assert f"makes it again: underhood audit --resume {hurt}" in err
    assert told(capsys, "audit", "--resume", hurt)[0] == 0
    with np.load(kept) as found:
        assert not found.files  # there are no findings
    assert told(capsys, "compare", whole, hurt)[0] == 0


def test_an_outcome_that_lacks_its_arrays_is_told(capsys, whole, hurt):
    effect = Effect("removal", 1.0, 0.5, 1.5, "log-odds", 4)
    masks = np.ones((1, 2, 2), dtype=bool)
    finding = Finding("errors", "errors/1", "C.", "low", (effect,), (1,), "R.", "N.", masks=masks)
    document, _ = as_document(Outcome("errors", "S.", (finding,)))
    Store(hurt).keep("errors", Store(hurt).asked("errors"), document, {})
    code, _, err = told(capsys, "compare", whole, hurt)
    assert code == 1
    assert "What the playbook 'errors' found cannot be read any more; go on with the audit (--resume)" in err
    assert told(capsys, "audit", "--resume", hurt)[0] == 0
    assert told(capsys, "compare", whole, hurt)[0] == 0


def test_records_that_contradict_each_other_are_not_written_over(capsys, hurt):
    with sqlite3.connect(hurt / "records.sqlite") as connection:
        connection.execute("delete from shards")
    connection.close()
    before = list(Store(hurt).records())
    code, _, err = told(capsys, "audit", "--resume", hurt)
    assert code == 1
    assert err == f"Error: '{hurt}' cannot be written: UNIQUE constraint failed: records.number.\n"
    assert list(Store(hurt).records()) == before


def test_pictures_that_were_moved_can_be_named_when_going_on(capsys, tmp_path):
    given = ("--model", model(tmp_path), *names(tmp_path), *PREPROCESS)
    folder = pictures(tmp_path / "images", 2)
    asked = (*given, "--data", folder, "--out", tmp_path / "audit", "--playbook", "errors")
    assert told(capsys, "audit", *asked)[0] == 0
    folder.rename(tmp_path / "moved")
    code, _, err = told(capsys, "audit", "--resume", tmp_path / "audit")
    assert code == 1
    assert "name where they are now when you go on (--resume with --data" in err
    assert f"There is no folder '{folder}'" in err
    assert told(capsys, "audit", "--resume", tmp_path / "audit", "--data", tmp_path / "moved")[0] == 0


# Where there is none yet


def small(tmp_path):
    return ("--model", model(tmp_path), *names(tmp_path), *PREPROCESS, "--playbook", "errors")


def test_a_file_in_place_of_the_folder_is_refused(capsys, tmp_path):
    (tmp_path / "file").write_text("years of work")
    asked = (*small(tmp_path), "--data", pictures(tmp_path / "images", 2), "--out")
    code, _, err = told(capsys, "audit", *asked, tmp_path / "file")
    assert (code, err) == (1, f"Error: '{tmp_path / 'file'}' is a file; give a folder for the audit.\n")
    code, _, err = told(capsys, "audit", *asked, tmp_path / "file" / "below")
    assert (code, err) == (1, f"Error: '{tmp_path / 'file' / 'below'}' cannot be written: Not a directory.\n")
    assert (tmp_path / "file").read_text() == "years of work"


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("stop", [KeyboardInterrupt(), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))])
def test_nothing_is_left_of_an_audit_that_did_not_begin(capsys, tmp_path, monkeypatch, stop, there):
    def stopped(*_):
        raise stop

    monkeypatch.setattr(arrays, "synced", stopped)  # the arrays and the tables are made by then
    asked = (*small(tmp_path), "--data", pictures(tmp_path / "images", 2), "--out", tmp_path / "audit")
    if there:
        (tmp_path / "audit").mkdir()
    code, _, err = told(capsys, "audit", *asked)
    assert code == (130 if isinstance(stop, KeyboardInterrupt) else 1)
    assert ("Stopped. Nothing half-written was left" in err) or err.startswith("Error: The disk is full")
    assert (tmp_path / "audit").exists() == there
    assert not list(tmp_path.glob("audit/*"))
