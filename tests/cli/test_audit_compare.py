"""`underhood compare`: two versions of a model, from their audits' folders."""

import json

import pytest

import underhood as uh
from tests.support.small_audits import PREPROCESS, model, names, pictures, run, told
from underhood.playbooks import Effect, Finding, Outcome, Playbook


class Planted(Playbook):
    """Finds what it is told to."""

    key, question = "planted", "What was planted?"
    keys: tuple[str, ...] = ()

    def __init__(self, *keys):
        object.__setattr__(self, "keys", keys)

    def parameters(self):
        return {"keys": list(self.keys)}

    def __call__(self, survey):  # noqa: ARG002
        effect = Effect("removal", -2.0, -2.5, -1.5, "log-odds", 12)
        found = tuple(
            Finding("planted", key, f"It reads the {key}.", "high", (effect,), (0,), "", "")
            for key in self.keys
        )
        return Outcome("planted", "As planted.", found)


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """The first reads rulers and ink and takes a red for a blue; the second rulers and patches."""
    folder = tmp_path_factory.mktemp("versions")
    images = pictures(folder / "images")
    for name, red, found in (("v1", 1.2, ("ruler", "ink")), ("v2", 4.0, ("ruler", "patch"))):
        net = uh.load(model(folder, name, red), labels=["red", "blue"], preprocess=PREPROCESS[1])
        uh.audit(net, images, Planted(*found), out=folder / name)
    return folder


def test_findings_accuracy_and_predictions_are_told(capsys, versions):
    code, out, err = told(capsys, "compare", versions / "v1", versions / "v2")
    assert (code, err) == (0, "")
    assert "Findings: 1 gone, 1 new, 1 stayed." in out
    assert "\nnew: It reads the patch." in out
    assert "\nstayed, unchanged: It reads the ruler." in out
    assert "\ngone: It reads the ink." in out
    assert "Right on 50.0 % of 12 labelled pictures before and 100.0 % after: +50.0 points" in out
    assert "red/0.png (labelled red): blue, then red" in out


def test_json_and_files(capsys, versions, tmp_path):
    code, out, _ = told(
        capsys, "compare", versions / "v1", versions / "v2", "--json", "--out", tmp_path / "c.json"
    )
    assert code == 0
    assert json.loads(out) == json.loads((tmp_path / "c.json").read_text())
    found = json.loads(out)
    assert [one["key"] for one in found["gone"]] == ["ink"]
    assert (found["accuracy"]["before"], found["accuracy"]["after"]) == (0.5, 1.0)
    assert len(found["changed"]) == 6
    code, out, _ = told(capsys, "compare", versions / "v1", versions / "v2", "--out", tmp_path / "c.html")
    assert code == 0
    assert f"Wrote {tmp_path / 'c.html'}" in out
    page = (tmp_path / "c.html").read_text()
    for claim in ("It reads the ruler.", "It reads the ink.", "It reads the patch.", "red/0.png"):
        assert claim in page


def test_data_that_differ_are_refused_in_one_sentence(capsys, versions, tmp_path):
    fewer = pictures(tmp_path / "images", each=2)
    arguments = ("--model", model(tmp_path), *names(tmp_path), *PREPROCESS, "--data", fewer)
    assert run("audit", *arguments, "--out", tmp_path / "other", "--playbook", "shortcuts") == 0
    code, out, err = told(capsys, "compare", versions / "v1", tmp_path / "other")
    assert (code, out) == (1, "")
    assert "different data (12 and 4 pictures), so they cannot be compared" in err
    assert err.count("\n") == 1


def test_what_is_no_audit_is_refused(capsys, versions, tmp_path):
    code, _, err = told(capsys, "compare", versions / "v1", tmp_path)
    assert code == 1
    assert f"'{tmp_path}' holds no audit" in err


def test_another_kind_of_file_is_refused_before_anything_is_read(capsys, versions, tmp_path):
    code, _, err = told(capsys, "compare", versions / "v1", versions / "v2", "--out", tmp_path / "c.pdf")
    assert code == 1
    assert ".html" in err
