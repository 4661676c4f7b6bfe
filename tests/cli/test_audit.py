"""`underhood audit`, from pictures in files to what is printed."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

from tests.support.small_audits import PREPROCESS, model, names, pictures, run, told
from underhood.cli.app import PLAYBOOKS
from underhood.playbooks import registry
from underhood.store import Store, arrays

QUICK = ("--playbook", "shortcuts")


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A model, its classes and a folder of pictures, as arguments."""
    folder = tmp_path_factory.mktemp("given")
    return ("--model", model(folder), *names(folder), *PREPROCESS, "--data", pictures(folder / "images"))


@pytest.fixture(scope="module")
def done(given, tmp_path_factory):
    """The folder of an audit that is not to be changed."""
    out = tmp_path_factory.mktemp("done") / "audit"
    assert run("audit", *given, "--out", out, *QUICK) == 0
    return out


def test_it_prints_the_accuracy_the_answer_and_where_the_report_is(capsys, given, tmp_path):
    code, out, err = told(capsys, "audit", *given, "--out", tmp_path / "audit", *QUICK)
    assert code == 0
    assert "right on 100" in out
    assert out.rstrip().endswith(
        f"The report, to be opened in a browser: {tmp_path / 'audit' / 'report.html'}"
    )
    assert "Too few pictures to look for shortcuts" in out
    assert "\x1b" not in out + err
    assert {"report.html", "findings.json"} <= {path.name for path in (tmp_path / "audit").iterdir()}


def test_json_is_one_document_with_the_outcomes(capsys, given, tmp_path):
    code, out, _ = told(capsys, "audit", *given, "--out", tmp_path / "audit", *QUICK, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["read"] == 12
    assert [outcome["playbook"] for outcome in found["outcomes"]] == ["shortcuts"]
    assert found["audit"]["data_digest"]
    assert found["report"] == str(tmp_path / "audit" / "report.html")


def test_labels_come_from_a_table_too_and_metadata_and_masks_beside(capsys, given, tmp_path):
    folder = pictures(tmp_path / "classes", each=2)
    (tmp_path / "flat").mkdir()
    (tmp_path / "masks").mkdir()
    lines = ["file,label"]
    for path in sorted(folder.rglob("*.png")):
        name = f"{path.parent.name}_{path.name}"
        path.rename(tmp_path / "flat" / name)
        Image.new("L", (16, 16), 255).save(tmp_path / "masks" / name)
        lines.append(f"{name},{path.parent.name}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    (tmp_path / "meta.csv").write_text("file,site\nred_0.png,arm\nblue_0.png,leg\n")
    code, out, err = told(
        capsys, "audit", *given[:-1], tmp_path / "flat", "--labels", tmp_path / "labels.csv", "--metadata",
        tmp_path / "meta.csv", "--masks", tmp_path / "masks", "--out", tmp_path / "audit", *QUICK, "--json",
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["read"] == 4
    records = {record.name: record.label for record in Store(tmp_path / "audit").records()}
    assert records == {"blue_0.png": "blue", "blue_1.png": "blue", "red_0.png": "red", "red_1.png": "red"}
    assert any("'blue_1.png'" in problem for problem in json.loads(out)["problems"])  # that has no metadata


def test_a_corrupt_picture_is_listed_and_left_out_and_the_audit_is_done(capsys, given, tmp_path):
    folder = pictures(tmp_path / "images", each=2)
    (folder / "red" / "broken.png").write_bytes(b"not a picture")
    code, out, err = told(capsys, "audit", *given[:-1], folder, "--out", tmp_path / "audit", *QUICK, "--json")
    assert code == 0
    assert json.loads(out)["read"] == 4
    assert any("broken.png" in problem for problem in json.loads(out)["problems"])
    code, out, err = told(capsys, "audit", "--resume", tmp_path / "audit")
    assert code == 0
    assert "Note: red/broken.png" in err


BAD = {
    "no such table of labels": (("--labels", "/nowhere/labels.csv"), "no table '/nowhere/labels.csv'"),
    "unknown playbook": (("--playbook", "shortcut"), "did you mean 'shortcuts'"),
    "unknown engine": (("--engine", "locl"), "did you mean 'local'"),
    "no such folder": (("--data", "/nowhere/images"), "There is no folder '/nowhere/images'"),
    "no such masks": (("--masks", "/nowhere/masks"), "There is no folder '/nowhere/masks'"),
    "no such class names": (("--classes", "/nowhere/names.txt"), "names.txt"),
    "bad memory": (("--memory", "lots"), "512MB"),
    "no such device": (("--device", "cuda:9"), "cuda:9"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_word_is_refused_in_one_sentence_that_helps(capsys, given, tmp_path, case):
    arguments, hint = BAD[case]
    code, out, err = told(capsys, "audit", *given, "--out", tmp_path / "audit", *QUICK, *arguments)
    assert (code, out) == (1, "")
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert hint in err
    assert not (tmp_path / "audit" / "audit.json").exists()


def test_labels_without_pictures_are_listed(capsys, given, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("file,label\nred/0.png,red\nblue/0.png,blue\nred/gone.png,red\n")
    code, _, err = told(
        capsys, "audit", *given, "--labels", table, "--out", tmp_path / "audit", "--playbook", "shortcuts"
    )
    assert code == 0
    assert "Names in 'labels.csv' without a picture: 1 ('red/gone.png')." in err


def test_an_empty_folder_is_refused(capsys, given, tmp_path):
    (tmp_path / "empty").mkdir()
    code, _, err = told(capsys, "audit", *given[:-1], tmp_path / "empty", "--out", tmp_path / "audit")
    assert code == 1
    assert re.search(r"The folder '.*empty' is empty", err)


def test_the_folder_of_another_audit_is_refused_and_left_as_it_was(capsys, given, done, tmp_path):
    before = (done / "findings.json").read_bytes()
    other = pictures(tmp_path / "images", each=2)
    code, _, err = told(capsys, "audit", *given[:-1], other, "--out", done, *QUICK)
    assert code == 1
    assert f"'{done}' holds another audit" in err
    assert (done / "findings.json").read_bytes() == before


def test_a_folder_of_other_things_is_refused(capsys, given, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    code, _, err = told(capsys, "audit", *given, "--out", tmp_path)
    assert code == 1
    assert "holds files of another kind" in err


def test_a_full_disk_is_told_in_one_sentence_and_the_audit_goes_on_later(
    capsys, given, tmp_path, monkeypatch
):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(arrays, "write", full)
        code, _, err = told(capsys, "audit", *given, "--out", tmp_path / "audit", *QUICK)
    assert code == 1
    assert err.startswith("Error: The disk is full")
    assert err.count("\n") == 1
    code, out, _ = told(capsys, "audit", "--resume", tmp_path / "audit")
    assert code == 0
    assert "12 pictures" in out


WRONG_USAGE = {
    "nothing": ((), "Missing option '--model'"),
    "no folder for it": (("--model", "demo:honest", "--data", "x"), "Missing option '--out'"),
    "pictures without their option": (("images",), "--data"),
    "options before verify": (("--model", "demo:honest", "verify", "x"), "--model is not for"),
}


@pytest.mark.parametrize("case", WRONG_USAGE)
def test_wrong_usage_is_told_from_a_failure_by_its_exit_code(capsys, case):
    arguments, hint = WRONG_USAGE[case]
    code, _, err = told(capsys, "audit", *arguments)
    assert code == 2
    assert hint in err


def test_the_help_names_the_playbooks_that_there_are():
    named = re.split(", | or ", PLAYBOOKS)
    assert named == list(registry.PLAYBOOKS)


@pytest.mark.slow
def test_several_processes_find_the_same(capsys, given, done, tmp_path):
    code, _, err = told(capsys, "audit", *given, "--out", tmp_path / "two", *QUICK, "--workers", "2")
    assert code == 0, err
    one, two = (list(Store(folder).records()) for folder in (done, tmp_path / "two"))
    assert [record.probability for record in one] == [record.probability for record in two]


# Going on


def test_resume_does_nothing_again_that_was_done(capsys, done):
    kept = {path: path.stat().st_mtime_ns for path in (done / "scalars").iterdir()}
    code, out, _ = told(capsys, "audit", "--resume", done)
    assert code == 0
    assert "12 pictures" in out
    assert {path: path.stat().st_mtime_ns for path in (done / "scalars").iterdir()} == kept


def test_resume_refuses_what_the_audit_has_fixed(capsys, done, tmp_path):
    for option, value in (("--seed", "3"), ("--out", tmp_path / "x"), ("--playbook", "errors")):
        code, _, err = told(capsys, "audit", "--resume", done, option, value)
        assert code == 1
        assert f"{option} is not for --resume" in err


def test_resume_of_what_is_no_audit_is_refused(capsys, tmp_path):
    code, _, err = told(capsys, "audit", "--resume", tmp_path)
    assert code == 1
    assert "holds no audit" in err


SLOW = """
import os, pathlib, time, torch
from torch import nn
class Slow(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
    def forward(self, x):
        if (here := pathlib.Path(__file__).parent / "slow").exists():
            (here.parent / "running").touch()
            time.sleep(0.3 if len(x) == 1 else 30)
        return self.conv(x).mean((2, 3))
def build():
    torch.manual_seed(0)
    return Slow()
"""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_a_stopped_audit_says_how_to_go_on_and_does(capsys, tmp_path, stop):
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "slow").touch()
    out = tmp_path / "audit"
    command = [
        sys.executable, "-m", "underhood.cli", "audit", "--model", f"file:{tmp_path}/slow.py:build",
        *PREPROCESS, "--data", str(pictures(tmp_path / "images", each=3)), "--out", str(out), *QUICK,
    ]  # fmt: skip
    # A shell starts background jobs with Ctrl-C ignored, and these tests may be one.
    heard = lambda: signal.signal(stop, signal.SIG_DFL)  # noqa: E731
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heard)  # noqa: PLW1509
    while not (out / "audit.json").exists():
        assert running.poll() is None
        time.sleep(0.05)
    running.send_signal(stop)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert said.strip() == f"Stopped. What was done is kept; go on with: underhood audit --resume {out}"
    (tmp_path / "slow").unlink()
    code, printed, err = told(capsys, *re.search(r"underhood (audit .*)", said)[1].split())
    assert code == 0, err
    assert "6 pictures" in printed


# Verifying


def test_an_audit_reproduces(capsys, done):
    code, out, _ = told(capsys, "audit", "verify", done)
    assert code == 0
    assert "FAILS" not in out
    assert f"The audit in '{done}' reproduces" in out


@pytest.fixture
def own(tmp_path):
    """An audit whose model and pictures may be changed."""
    arguments = ("--model", model(tmp_path), *names(tmp_path), *PREPROCESS)
    folder = pictures(tmp_path / "images", each=3)
    assert run("audit", *arguments, "--data", folder, "--out", tmp_path / "audit", *QUICK) == 0
    return tmp_path


def test_a_changed_picture_is_noticed(capsys, own):
    Image.new("RGB", (16, 16), (200, 0, 0)).save(own / "images" / "red" / "1.png")
    code, out, _ = told(capsys, "audit", "verify", own / "audit")
    assert code == 1
    assert "red/1.png" in out
    assert "does not reproduce" in out


def test_a_changed_weight_is_noticed(capsys, own):
    model(own, red=4.001)
    code, out, _ = told(capsys, "audit", "verify", own / "audit", "--json")
    found = json.loads(out)
    assert code == 1
    assert not found["reproduces"]
    assert next(claim["name"] for claim in found["claims"] if not claim["holds"]) == "model"


def test_what_is_no_audit_cannot_be_verified(capsys, tmp_path):
    code, _, err = told(capsys, "audit", "verify", tmp_path)
    assert code == 1
    assert "holds no audit" in err
