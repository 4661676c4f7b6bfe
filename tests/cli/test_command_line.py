"""The command line, run as a user runs it."""

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from underhood.cli.destination import failed
from underhood.cli.explain import _said
from underhood.demo.models import build, example
from underhood.errors import InvalidArgument
from underhood.methods.explain import METHODS


def underhood(*arguments, **more):
    command = [sys.executable, "-m", "underhood.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for name in ("ruler", "benign"):
        Image.fromarray(example(name).image).save(folder / f"{name}.png")
    return folder


def explained(folder, *arguments, inputs=("ruler.png",), out="report.html"):
    paths = [folder / name for name in inputs]
    given = ("--method", "gradcam", *arguments) if "--method" not in arguments else arguments
    return underhood("explain", *paths, "--model", "demo:cheating", "--out", folder / out, *given)


def test_explain_writes_a_report_and_says_where(folder):
    done = explained(folder, "--method", "gradcam", "--method", "saliency")
    assert done.returncode == 0, done.stderr
    assert "malignant" in done.stdout
    assert f"Wrote {folder / 'report.html'}" in done.stdout
    page = (folder / "report.html").read_text()
    assert "Grad-CAM" in page
    assert "Saliency" in page
    assert "underhood explain" in page  # how to repeat it


def test_redirected_output_has_no_progress_bar_and_no_escape_codes(folder):
    done = explained(folder)
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stderr == ""


def test_json_is_one_document_that_holds_what_was_said(folder):
    done = explained(folder, "--json", inputs=("ruler.png", "benign.png"))
    told = json.loads(done.stdout)
    assert [e["prediction"]["label"] for e in told["explanations"]] == ["malignant", "benign"]
    assert told["failures"] == {}
    assert told["explanations"][0]["provenance"]["seed"] == 0


def test_json_tells_of_a_failure_of_every_input_too(folder):
    done = explained(folder, "--json", inputs=("nosuch.png",))
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["explanations"] == []
    assert told["output"] is None
    [(name, reason)] = told["failures"].items()
    assert name.endswith("nosuch.png")
    assert done.stderr == f"Error: {reason}\n"
    assert done.stderr.count("nosuch.png") == 1


def test_that_no_file_is_there_is_told_before_a_model_is_loaded(tmp_path):
    absent = ("explain", tmp_path / "nosuch.png", "--model", f"file:{tmp_path / 'nosuch.py'}:build")
    done = underhood(*absent, "--out", tmp_path / "report.html")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Error: There is no file '{tmp_path / 'nosuch.png'}'.\n"


def test_only_a_large_gap_of_a_path_is_told_with_what_brings_it_down(folder):
    done = explained(folder, "--method", "integrated_gradients", "--json")
    [told] = json.loads(done.stdout)["explanations"]

    def said(gap, parameters=told["parameters"]):
        diagnostics = {**told["diagnostics"], "relative_gap": gap}
        record = {**told, "diagnostics": diagnostics, "parameters": parameters}
        return list(_said(record))[-1][-1]

    assert said(0.1).endswith("completeness gap 0.1 (large: take more steps, or a tolerance)")
    assert said(0.01).endswith("completeness gap 0.01")
    assert said(0.1, {"rule": "epsilon"}).endswith("completeness gap 0.1")  # of LRP, which takes no steps


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("There is no file 'a.png'.", "There is no file 'a.png'."),
        ("a.png is not a picture.", "a.png is not a picture."),
        ("There is no file 'data.png'.", "a.png: There is no file 'data.png'."),
        ("The score is not finite.", "a.png: The score is not finite."),
    ],
)
def test_what_failed_is_named_once(reason, told):
    assert failed("a.png", reason) == told


def test_several_targets_are_explained_from_one_set_of_passes(folder):
    both = ("--target", "malignant", "--target", "benign", "--json")
    done = explained(folder, *both, "--method", "saliency", "--method", "integrated_gradients")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["explanations"]
    assert [(e["target"], e["method"]) for e in told] == [
        ("malignant", "saliency"),
        ("malignant", "integrated_gradients"),
        ("benign", "saliency"),
        ("benign", "integrated_gradients"),
    ]
    scores = {c["label"]: c["score"] for c in told[0]["prediction"]["top"]}
    assert {e["target"]: e["score"] for e in told} == pytest.approx(scores, abs=1e-5)
    for path in (told[1], told[3]):
        assert path["provenance"]["backward_passes"] == 100
        assert path["provenance"]["forward_passes"] < 60
    assert "Saliency: benign" in (folder / "report.html").read_text()


def test_a_folder_and_a_glob_are_searched(folder):
    by_folder = underhood("explain", folder, "--model", "demo:cheating", "--method", "saliency", "--json",
                          "--out", folder / "a.html")  # fmt: skip
    by_glob = underhood("explain", f"{folder}/*.png", "--model", "demo:cheating", "--method", "saliency",
                        "--json", "--out", folder / "b.html")  # fmt: skip
    names = [[e["input"]["name"] for e in json.loads(d.stdout)["explanations"]] for d in (by_folder, by_glob)]
    assert names[0] == names[1]
    assert len(names[0]) == 2


def test_a_missing_file_among_many_is_listed_and_the_others_are_done(folder):
    done = explained(folder, "--json", inputs=("ruler.png", "absent.png", "benign.png"))
    told = json.loads(done.stdout)
    assert done.returncode == 1
    assert len(told["explanations"]) == 2
    assert list(told["failures"]) == [str(folder / "absent.png")]
    assert "There is no file" in done.stderr
    assert "absent.png" in (folder / "report.html").read_text()


def test_the_layer_and_the_baseline_reach_every_method_that_takes_one():
    from underhood.cli.explain import _methods

    everything = {m.key: m.parameters() for m in _methods(["all"], "grey", "features.3")}
    for key, given in everything.items():
        if key != "raw_attention":
            assert given.get("layer", "features.3") == given.get("at", "features.3") == "features.3"
        assert given.get("baseline", "grey") == "grey"
    assert everything["raw_attention"]["layer"] is None  # attention has layers of its own
    [attention] = _methods(["raw_attention"], None, "blocks.1.attn")
    assert attention.layer == "blocks.1.attn"
    gradcam, integrated, _ = _methods([], None, "features.3")
    assert (gradcam.layer, integrated.at) == ("features.3", None)
    with pytest.raises(InvalidArgument, match="--layer is for methods that look at one"):
        _methods(["rise"], None, "features.3")


BAD = {
    "unknown label": (("--target", "malignent"), "malignant"),
    "unknown layer": (("--layer", "featurs"), "features"),
    "unknown method": (("--method", "gradcm"), "gradcam"),
    "unknown baseline": (("--baseline", "blurr"), "blur"),
    "unknown preset": (("--preprocess", "imagnet"), "imagenet"),
    "class out of range": (("--target", "7"), "has 2"),
    "a contrast with itself": (("--target", "malignant", "--against", "1"), "contrasted with itself"),
    "bad memory": (("--memory", "lots"), "512MB"),
    "no such device": (("--device", "cuda:9"), "cuda:9"),
    "no such folder": (("--out", "/nowhere/report.html"), "/nowhere"),
    "unknown suffix": (("--out", "report.doc"), ".html"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_word_is_refused_in_one_sentence_that_helps(folder, case):
    arguments, hint = BAD[case]
    done = explained(folder, *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert hint in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broken_picture_is_refused_and_leaves_no_report(tmp_path):
    (tmp_path / "text.jpg").write_text("not a picture")
    done = underhood("explain", tmp_path / "text.jpg", "--model", "demo:honest", "--out", tmp_path / "r.html")
    assert done.returncode == 1
    assert "not a picture" in done.stderr
    assert not (tmp_path / "r.html").exists()


def test_an_empty_folder_is_refused(tmp_path):
    done = underhood("explain", tmp_path, "--model", "demo:honest", "--out", tmp_path / "r.html")
    assert done.returncode == 1
    assert "holds no pictures" in done.stderr


class Payload:
    def __reduce__(self):
        return (os.system, ("touch /tmp/underhood_payload_ran",))


def test_a_pickle_with_code_in_it_is_refused_and_named(folder, tmp_path):
    with (tmp_path / "evil.pt").open("wb") as file:
        pickle.dump({"state_dict": Payload()}, file)
    done = explained(folder, "--weights", tmp_path / "evil.pt")
    assert done.returncode == 1
    assert f"evil.pt holds the Python object '{os.name}.system'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not os.path.exists("/tmp/underhood_payload_ran")


def test_weights_of_another_architecture_are_reported_by_name(folder, tmp_path):
    save_file(build("vit").state_dict(), tmp_path / "vit.safetensors")
    done = explained(folder, "--weights", tmp_path / "vit.safetensors")
    assert done.returncode == 1
    assert "missing" in done.stderr
    assert "unexpected" in done.stderr


def test_nan_in_weights_is_named(folder, tmp_path):
    state = build("honest").state_dict()
    name = next(n for n, t in state.items() if t.is_floating_point())
    state[name] = torch.full_like(state[name], float("nan"))
    save_file({n: t.contiguous() for n, t in state.items()}, tmp_path / "nan.safetensors")
    done = explained(folder, "--weights", tmp_path / "nan.safetensors")
    assert done.returncode == 1
    assert f"'{name}'" in done.stderr


def test_maps_can_be_saved_as_numbers(folder):
    done = explained(folder, out="maps.npz")
    assert done.returncode == 0, done.stderr
    with np.load(folder / "maps.npz") as maps:
        assert maps["0/gradcam"].shape == (128, 128)


ONE_OUTPUT = """
import torch
def build():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 224 * 224, 1))
"""


def test_the_one_output_of_a_regression_is_shown_with_its_value_and_no_probability(folder, tmp_path):
    (tmp_path / "one.py").write_text(ONE_OUTPUT)
    done = underhood("explain", folder / "ruler.png", "--model", f"file:{tmp_path}/one.py:build",
                     "--method", "saliency", "--out", tmp_path / "r.html")  # fmt: skip
    assert done.returncode == 0, done.stderr
    value = re.search(r"ruler.png: output (-?\d+\.\d{3})\n  explained: output, score (\S+)\n", done.stdout)
    assert value
    assert value[1] == value[2]
    page = (tmp_path / "r.html").read_text()
    assert "gives <b>output</b>" in page
    assert "class 0" not in page
    assert "prob." not in page


SLOW_MODEL = """
import pathlib, time, torch
class Slow(torch.nn.Module):
    def forward(self, x):
        (pathlib.Path(__file__).parent / "running").touch()
        time.sleep(0.5)
        return x.mean((2, 3))
def build():
    return Slow()
"""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda s: s.name)
def test_a_stopped_run_keeps_the_old_report_and_leaves_nothing_half_written(folder, tmp_path, stop):
    (tmp_path / "slow.py").write_text(SLOW_MODEL)
    report = tmp_path / "report.html"
    report.write_text("old")
    command = [sys.executable, "-m", "underhood.cli", "explain", str(folder), "--model",
               f"file:{tmp_path}/slow.py:build", "--method", "occlusion", "--out", str(report)]  # fmt: skip
    # A shell starts background jobs with Ctrl-C ignored, and these tests may be one.
    heard = lambda: signal.signal(stop, signal.SIG_DFL)  # noqa: E731
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heard)  # noqa: PLW1509
    while not (tmp_path / "running").exists():
        assert running.poll() is None
        time.sleep(0.1)
    running.send_signal(stop)
    _, told = running.communicate(timeout=60)
    assert running.returncode == 130
    assert told.strip() == "Stopped. Nothing half-written was left behind."
    assert report.read_text() == "old"
    left = {p.name for p in tmp_path.iterdir()} - {"__pycache__", "running"}
    assert left == {"report.html", "slow.py"}


def test_a_run_that_is_not_to_be_hung_up_is_not():
    code = (
        "import signal; from underhood.cli import main; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "try: main()\nfinally: assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN"
    )
    assert subprocess.run([sys.executable, "-c", code, "--version"], check=False).returncode == 0


def test_help_and_import_do_not_load_torch():
    code = "import sys, underhood.cli, underhood; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert "explain" in underhood("--help").stdout


def test_benchmark_prints_its_table_and_goes_on_where_it_was(folder, tmp_path):
    command = ("benchmark", folder, "--model", "demo:cheating", "--method", "saliency", "--check", "gini")
    done = underhood(*command, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert re.search(r"saliency +0\.\d+ \[", done.stdout)
    assert "2 inputs" in done.stdout
    (tmp_path / "no.png").write_text("no picture")
    more = underhood(*command, tmp_path / "no.png", "--out", tmp_path / "out", "--json")
    assert more.returncode == 1
    told = json.loads(more.stdout)
    assert told["inputs"] == 2
    assert list(told["failures"]) == [str(tmp_path / "no.png")]


def test_methods_lists_every_card():
    told = json.loads(underhood("methods", "--json").stdout)
    assert set(told) == {method.key for method in METHODS}
    table = underhood("methods").stdout
    for card in told.values():
        assert card["question"] in table


def test_layers_names_shapes_and_the_default_with_its_reason():
    told = json.loads(underhood("layers", "--model", "demo:vit", "--json").stdout)
    assert told["default"] == "blocks.3.norm1"
    assert "attention" in told["reason"]
    assert "blocks.3.norm1" in underhood("layers", "--model", "demo:vit").stdout
