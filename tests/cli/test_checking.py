"""Verdicts on the command line."""

import json
import re

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
