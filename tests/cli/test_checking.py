"""Verdicts on the command line."""

import json
import re
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

from underhood.cli.app import underhood
from underhood.cli.errors import guarded
from underhood.demo.models import example


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for name in ("ruler", "benign"):
        Image.fromarray(example(name).image).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def run(capsys, monkeypatch, folder):
    """The command inside this process: (exit code, stdout, stderr)."""
    monkeypatch.chdir(folder)

    def running(*arguments):
        code = guarded(lambda: underhood.main(list(map(str, arguments)), standalone_mode=False))
        said = capsys.readouterr()
        return code, said.out, said.err

    return running


TWO = ("--method", "gradcam", "--method", "guided_backprop")


def test_explain_checks_tells_the_cost_first_and_says_each_verdict(run, folder):
    code, out, err = run("explain", "ruler.png", "--model", "demo:cheating", *TWO, "--check", "quick")
    assert code == 0
    assert re.fullmatch(r"Checking 2 methods of 1 picture: about \d+ forward passes \(quick\).\n", err)
    lines = [line.strip() for line in out.splitlines()]
    after = {name: lines[at + 1] for name in ("gradcam", "guided_backprop")
             for at, line in enumerate(lines) if line.startswith(name)}  # fmt: skip
    assert re.match(r"(corroborated|contested), score 0\.\d\d\. ", after["gradcam"])
    assert after["guided_backprop"].startswith("not to be trusted, score 0.")
    assert "made random" in after["guided_backprop"]
    page = (folder / "report.html").read_text()
    assert "words-across" in page


def test_json_holds_the_verdicts_and_the_level_may_be_left_out(run):
    given = ("--model", "demo:cheating", "--method", "saliency", "--json", "--out", "a.png")
    code, out, err = run("explain", "--check", "ruler.png", *given)
    assert code == 0
    assert "(standard)" in err
    [record] = json.loads(out)["explanations"]
    assert record["verdict"]["level"] == "standard"
    assert record["verdict"]["readings"]["rank_stability"]["calls"] > 0


def test_an_unknown_level_is_refused_before_the_work(run):
    code, out, err = run("explain", "ruler.png", "--model", "demo:cheating", "--check", "thorough")
    assert code == 1
    assert err == "Error: The level of a check is one of quick, standard, full, not 'thorough'.\n"
    assert out == ""


@pytest.fixture
def saved(run):
    assert run("explain", "ruler.png", "--model", "demo:cheating", *TWO, "--out", "saved.json")[0] == 0
    return "saved.json"


def test_a_saved_explanation_is_checked_and_its_map_stays_as_it_was(run, folder, saved):
    code, out, err = run("check", saved, "--level", "quick", "--out", "checked.json")
    assert code == 0
    assert "Checking 2 methods of 1 picture" in err
    head, gradcam, guided, wrote = out.splitlines()
    assert head.split()[:4] == ["input", "method", "verdict", "score"]
    assert gradcam.startswith("ruler.png  gradcam ")
    assert "not to be trusted" in guided
    assert wrote == "Wrote checked.json"
    before, after = (json.loads((folder / name).read_text()) for name in (saved, "checked.json"))
    assert [r["values"] for r in before] == [r["values"] for r in after]
    assert [r["verdict"] is None for r in before] == [True, True]
    assert after[1]["verdict"]["verdict"] == "not to be trusted"


def test_it_says_the_same_as_explain_with_check(run, saved):
    explained = run("explain", "ruler.png", "--model", "demo:cheating", *TWO, "--check", "quick", "--json")
    checked = run("check", saved, "--level", "quick", "--json")
    verdicts = [[e["verdict"] for e in json.loads(done[1])["explanations"]] for done in (explained, checked)]
    for one, other in zip(*verdicts, strict=True):
        assert one["verdict"] == other["verdict"]
        assert one["score"] == pytest.approx(other["score"], abs=1e-6)


def test_the_report_of_a_check_shows_the_picture_again(run, folder, saved):
    (folder / "moved").mkdir(exist_ok=True)
    (folder / "ruler.png").rename(folder / "moved" / "lesion.png")
    try:
        refused = run("check", saved, "--level", "quick")
        done = run("check", saved, "--level", "quick", "--input", "moved", "--out", "checked.html")
    finally:
        (folder / "moved" / "lesion.png").rename(folder / "ruler.png")
    assert refused[0] == 1
    assert refused[2] == (
        "Error: There is no file 'ruler.png' here, which the record names as the input; "
        "give it with --input FILE.\n"
    )
    assert done[0] == 0
    page = (folder / "checked.html").read_text()
    assert "data:image/png" in page
    assert "words-across" in page
    assert "underhood" in page


REFUSED = {
    "another model": (("--model", "demo:honest"), "The model demo:honest is not the one that was explained"),
    "another input": (("--input", "benign.png"), "No input is the 'ruler.png' that was explained"),
    "another preprocessing": (("--preprocess", "unit,size=128,crop=128"), "the same preprocessing"),
    "an unknown level": (("--level", "thorough"), "one of quick, standard, full"),
    "an unknown suffix": (("--out", "a.doc"), ".html"),
    "no weights": (("--weights", "absent.pt"), "absent.pt"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_in_one_sentence(run, folder, saved, case):
    (folder / "report.html").unlink(missing_ok=True)
    arguments, told = REFUSED[case]
    code, out, err = run("check", saved, *arguments)
    assert code == 1
    assert told in err
    assert err.count("\n") == 1
    assert out == ""
    assert not (folder / "report.html").exists()


def test_a_file_that_is_no_explanation_is_refused(run, folder, saved):
    (folder / "cut.json").write_text((folder / saved).read_text()[:5000])
    code, _, err = run("check", "cut.json")
    assert (code, err) == (1, "Error: 'cut.json' was cut off before its end; write it again.\n")
    assert run("check", "ruler.png")[0] == 1
    assert run("check")[0] == 2


def test_stopped_half_way_nothing_half_written_is_left(tmp_path, folder):
    command = [sys.executable, "-m", "underhood.cli", "explain", folder / "ruler.png",
               "--model", "demo:cheating", "--method", "gradcam", "--check", "full"]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith("Checking 1 method")  # then the checks begin
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.endswith("Stopped. Nothing half-written was left behind.\n")
    assert list(tmp_path.iterdir()) == []
