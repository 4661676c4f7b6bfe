"""Methods × checks over a data set: the same figures as asked for alone, however often it was stopped."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import underhood as uh
from underhood.checks import Benchmark, Check, CheckCard, Gini, Reading, RelevanceMass, Sample
from underhood.checks import benchmark as benchmark_function
from underhood.checks.benchmark import as_checks, every_check
from underhood.checks.complexity import GINI
from underhood.checks.journal import ABOUT, LINES, Journal
from underhood.errors import BadInput, Cancelled, InvalidArgument, UnknownName

CHEAP = ["gini", "decision"]


def small_model() -> uh.Model:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 64, 3))
    return uh.Model(net.eval(), preprocess=uh.load(net, preprocess="unit,size=8,crop=8").preprocess)


@pytest.fixture
def model() -> uh.Model:
    return small_model()


def pictures(count: int) -> Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@dataclass(frozen=True)
class Score(Check):
    """The score itself, and who asked: what is right is known."""

    key = "score"
    asked = []  # noqa: RUF012 - of all of them

    @property
    def card(self) -> CheckCard:
        return GINI

    def read(self, batch: Any) -> list[Reading]:
        self.asked.append([e.subject.name for e in batch.explanations])
        return [Reading(float(s), controls={"zero": 0.0}, p=0.025, calls=2) for s in batch.run.score]


def run(model: uh.Model, dataset: Any, out: Path | None = None, **given: Any) -> Benchmark:
    given = {"methods": ["saliency", "input_x_gradient"], "checks": CHEAP} | given
    return benchmark_function(model, dataset, out=out, **given)


def test_figures_are_those_of_the_checks_alone(model: uh.Model) -> None:
    x = pictures(21)  # more than are questioned together
    found = run(model, x, checks=["gini", "confirmed_share"], methods=["saliency"])
    alone = Gini()(uh.explain(model, x, methods="saliency"))
    cell = found["saliency", "gini"]
    assert list(cell.values) == pytest.approx(alone.values, abs=1e-6)
    assert cell.interval == pytest.approx(alone.interval, abs=1e-6)
    assert cell.controls == pytest.approx(alone.controls, abs=1e-6)
    shares = uh.checks.ConfirmedShare()(uh.explain(model, x, methods="saliency"))
    cell = found["saliency", "confirmed_share"]
    assert cell.value == pytest.approx(shares.value, abs=1e-4)
    assert cell.error == pytest.approx(shares.error, abs=1e-4)
    assert cell.calls == pytest.approx(shares.calls)


def test_a_cell_adds_up_what_is_known(model: uh.Model) -> None:
    x = pictures(3)
    found = run(model, x, checks=[Score(), "completeness"], methods=["saliency"])
    cell = found["saliency", "score"]
    scores = [e.score for e in uh.explain(model, x, methods="saliency")]
    assert cell.value == pytest.approx(np.mean(scores), abs=1e-5)
    assert (cell.ahead, cell.compared, cell.error, cell.calls) == (3, 3, 0.0, 6.0)
    nothing = found["saliency", "completeness"]
    assert (nothing.value, nothing.interval, nothing.error) == (None, None, None)
    assert dict(nothing.undefined) == {"its method promises no sum": 3}
    table = found.table()
    assert "saliency" in table
    assert "(zero)" in table
    assert "Undefined for 3 of 3 inputs: completeness of saliency" in table
    assert "nan" not in table
    told = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert told["results"][0]["value"] == cell.value
    assert told["results"][1]["undefined"] == {"its method promises no sum": 3}


def test_stopped_anywhere_it_goes_on_to_the_same_bits(model: uh.Model, tmp_path: Path) -> None:
    """Also where a line was torn, and within the inputs that are explained together."""
    x = pictures(19)
    run(model, x, tmp_path / "whole")
    lines = (tmp_path / "whole" / LINES).read_bytes()
    ends = [i + 1 for i, byte in enumerate(lines) if byte == 10]
    for number, stop in enumerate((0, 5, ends[2], ends[4] + 17, ends[15], ends[17] - 1)):
        folder = tmp_path / str(number)
        Journal(folder).begin(run(model, x[:1]).about)
        (folder / LINES).write_bytes(lines[:stop])
        found = run(model, x, folder)
        assert (folder / LINES).read_bytes() == lines
        assert found.as_dict() == Benchmark.read(tmp_path / "whole").as_dict()


def test_what_is_done_is_not_asked_for_again(model: uh.Model, tmp_path: Path) -> None:
    x = pictures(20)
    Score.asked.clear()
    run(model, x[:16], tmp_path, checks=[Score()], methods=["saliency"])
    run(model, x, tmp_path, checks=[Score()], methods=["saliency"])
    assert [len(names) for names in Score.asked] == [16, 4]
    found = run(model, x, tmp_path, checks=[Score()], methods=["saliency"])
    assert len(Score.asked) == 2
    assert found.inputs == 20


def test_a_grown_data_set_comes_to_the_figures_of_one_go(model: uh.Model, tmp_path: Path) -> None:
    """Though not to the same `calls`: the last inputs of the smaller set had fewer to share with."""
    x, checks = pictures(20), ["gini", "decision", "randomisation"]
    run(model, x[:18], tmp_path, checks=checks)
    grown, whole = run(model, x, tmp_path, checks=checks), run(model, x, checks=checks)
    for key, cell in grown.cells.items():
        assert list(cell.values) == pytest.approx(list(whole[key].values), abs=1e-5)
        assert cell.interval == pytest.approx(whole[key].interval, abs=1e-5)
        assert cell.controls == pytest.approx(whole[key].controls, abs=1e-5)


KILLED = """
import os, signal, sys
import torch
from tests.checks import test_benchmark as t

class Dies(t.Score):
    def read(self, batch):
        if batch.explanations[0].subject.name == "input 16":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(batch)

t.run(t.small_model(), t.pictures(20), t.Path(sys.argv[1]), checks=[Dies()], methods=["saliency"])
"""


def test_a_kill_loses_no_more_than_was_in_work(model: uh.Model, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "a")],
        cwd=root, env={**os.environ, "PYTHONPATH": f"{root / 'src'}:{root}"}, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    assert Benchmark.read(tmp_path / "a").inputs == 16
    found = run(model, pictures(20), tmp_path / "a", checks=[Score()], methods=["saliency"])
    run(model, pictures(20), tmp_path / "b", checks=[Score()], methods=["saliency"])
    assert found.inputs == 20
    assert (tmp_path / "a" / LINES).read_bytes() == (tmp_path / "b" / LINES).read_bytes()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"methods": ["saliency"]}, "different: methods"),
        ({"checks": [Gini(), "completeness"]}, "different: checks"),
        ({"seed": 1}, "different: seed"),
        ({"target": 1, "seed": 2}, "different: target, seed"),
    ],
)
def test_another_benchmarks_folder_is_refused(
    model: uh.Model, tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    run(model, pictures(1), tmp_path)
    with pytest.raises(InvalidArgument, match=told):
        run(model, pictures(1), tmp_path, **change)


def test_another_model_or_data_set_is_refused(model: uh.Model, tmp_path: Path) -> None:
    run(model, pictures(2), tmp_path)
    other = small_model()
    nn.init.zeros_(other.module[0].weight)
    with pytest.raises(InvalidArgument, match="different: model digest"):
        run(other, pictures(2), tmp_path)
    with pytest.raises(InvalidArgument, match="holds more inputs"):
        run(model, pictures(1), tmp_path)
    with pytest.raises(InvalidArgument, match=r"its input 0 is 'input 0', not '.*a\.png'"):
        run(model, [tmp_path / "a.png"], tmp_path)
    assert run(model, pictures(3), tmp_path).inputs == 3  # which has only grown


def test_other_inputs_of_the_same_name_are_refused(model: uh.Model, tmp_path: Path) -> None:
    """By the digest of what the network sees, in a chunk that was done as in one that was begun."""
    x = pictures(18)
    found = run(model, x, tmp_path / "out")
    records = [json.loads(line) for line in (tmp_path / "out" / LINES).read_text().splitlines()]
    assert [r["sha256"] for r in records] == [
        e.subject.digest for e in uh.explain(model, x, methods="saliency")
    ]
    for number in (3, 17):
        other = x.clone()
        other[number] = other[number] * 5 + 1
        with pytest.raises(
            InvalidArgument, match=rf"its input {number}, 'input {number}', had the digest \w+…"
        ):
            run(model, other, tmp_path / "out")
    assert run(model, x, tmp_path / "out").as_dict() == found.as_dict()
    (tmp_path / "a.png").write_bytes(b"no picture")
    run(model, [x[0], tmp_path / "a.png"], tmp_path / "pictures")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(InvalidArgument, match="had none, as it cannot be read, and the one given has the"):
        run(model, [x[0], tmp_path / "a.png"], tmp_path / "pictures")


def test_a_resume_reads_what_is_done_without_a_pass(tmp_path: Path) -> None:
    passes: list[int] = []
    net = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    x = torch.rand(5, 6)
    run(uh.Model(net), x, tmp_path)
    net.register_forward_hook(lambda *_: passes.append(1))
    run(uh.Model(net), x, tmp_path)
    assert not passes


def test_a_damaged_folder_is_told(model: uh.Model, tmp_path: Path) -> None:
    run(model, pictures(2), tmp_path)
    (tmp_path / LINES).write_text("nonsense\n")
    with pytest.raises(BadInput, match="Line 1 of"):
        run(model, pictures(2), tmp_path)
    (tmp_path / ABOUT).write_text("nonsense")
    with pytest.raises(BadInput, match="cannot be read"):
        run(model, pictures(2), tmp_path)
    (tmp_path / ABOUT).unlink()
    with pytest.raises(InvalidArgument, match="is in the way"):
        run(model, pictures(2), tmp_path)


def test_broken_pictures_are_listed_and_left_out(model: uh.Model, tmp_path: Path) -> None:
    for name in "abd":
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 9, 3), np.uint8)).save(
            tmp_path / f"{name}.png"
        )
    (tmp_path / "c.png").write_bytes(b"no picture")
    found = run(model, tmp_path, tmp_path / "out")
    assert found.inputs == 3
    assert list(found.failures) == [str(tmp_path / "c.png")]
    assert "Left out" in found.table()
    again = run(model, tmp_path, tmp_path / "out")
    assert again.as_dict() == found.as_dict()


def test_no_table_where_nothing_was_read(model: uh.Model, tmp_path: Path) -> None:
    none = tmp_path / "none"
    told = f"No input was explained.\nLeft out: {none}: There is no file '{none}'."
    assert run(model, none).table() == told


class Fails(nn.Module):
    """NaN for one input."""

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        return torch.where(flat[:, :1] > 5, torch.nan, flat[:, :2])


def test_an_input_that_the_model_fails_on_is_left_out_alone() -> None:
    x = torch.rand(4, 6)
    x[1, 0] = 9.0
    found = run(uh.Model(Fails()), x)
    assert found.inputs == 3
    assert list(found.failures) == ["input 1"]
    with pytest.raises(uh.UnderhoodError):
        run(uh.Model(Fails()), x[1:2])


def test_memory_holds_a_chunk_of_inputs(model: uh.Model) -> None:
    """An endless data set is read as it goes, and no input is kept."""
    held: list[int] = []

    def endless() -> Iterator[Tensor]:
        for number in range(40):
            held.append(number)
            yield torch.rand(3, 8, 8)
        raise KeyboardInterrupt

    Score.asked.clear()
    with pytest.raises(KeyboardInterrupt):
        run(model, endless(), checks=[Score()], methods=["saliency"])
    assert [len(names) for names in Score.asked] == [16, 16]


def test_targets_and_masks_come_with_the_inputs(model: uh.Model) -> None:
    x, mask = pictures(4), torch.zeros(8, 8)
    mask[:4] = 1
    samples: list[Any] = [(x[0], 2), Sample(x[1], 1, mask), (x[2], None, mask.numpy()), x[3]]
    found = run(model, samples, checks=[Score(), "relevance_mass"], methods=["saliency"], target=0)
    expected = uh.explain(model, x, [2, 1, 0, 0], methods="saliency")
    assert list(found["saliency", "score"].values) == pytest.approx([e.score for e in expected], abs=1e-5)
    mass = found["saliency", "relevance_mass"]
    assert list(mass.values) == pytest.approx(
        [RelevanceMass(mask)(expected[i])[0].value for i in (1, 2)], abs=1e-5
    )
    assert dict(mass.undefined) == {"no mask was given with this input": 2}
    with pytest.raises(InvalidArgument, match=r"The mask of 'input 0' has shape \(3, 3\)"):
        run(model, [(x[0], 0, torch.ones(3, 3))], checks="relevance_mass")


def test_masks_of_all_inputs_find_theirs(model: uh.Model, tmp_path: Path) -> None:
    """Also after inputs that were left out, and in a later chunk."""
    x, masks = pictures(18), torch.rand(19, 8, 8, generator=torch.Generator().manual_seed(2)) > 0.5
    data = [*x[:3], tmp_path / "none.png", *x[3:]]
    found = run(model, data, checks=[RelevanceMass(masks)], methods=["saliency"])
    kept = masks[[i for i in range(19) if i != 3]]
    expected = RelevanceMass(kept)(uh.explain(model, x, methods="saliency")).values
    assert list(found["saliency", "relevance_mass"].values) == pytest.approx(expected, abs=1e-5)
    with pytest.raises(InvalidArgument, match="There are 5 masks"):
        run(model, x, checks=[RelevanceMass(masks[:5])])


def test_contrasts_units_and_mixed_shapes(model: uh.Model) -> None:
    x = pictures(4)
    asked = [uh.Contrast(0, 1), uh.Unit("0", 1), uh.Contrast(0, 1), None]
    found = run(model, zip(x, asked, strict=True), checks=[Score()], methods=["saliency"])
    expected = [
        uh.explain(model, one, t, methods="saliency")[0].score for one, t in zip(x, asked, strict=True)
    ]
    assert list(found["saliency", "score"].values) == pytest.approx(expected, abs=1e-5)
    pooled = uh.Model(nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 2)))
    mixed = [torch.rand(3, 8, 8), torch.rand(3, 9, 9), torch.rand(3, 8, 8)]
    assert run(pooled, mixed).inputs == 3


def test_cancelling_stops_between_checks(model: uh.Model, tmp_path: Path) -> None:
    event = threading.Event()

    class Cancels(Score):
        def read(self, batch: Any) -> list[Reading]:
            event.set()
            return super().read(batch)

    with pytest.raises(Cancelled):
        run(model, pictures(3), tmp_path, checks=[Cancels(), "decision"], cancel=event)
    assert Benchmark.read(tmp_path).inputs == 0


def test_checks_by_key_class_instance_and_level(model: uh.Model) -> None:
    assert [c.key for c in as_checks(["Gini", uh.checks.Entropy])] == ["gini", "entropy"]
    assert {"confirmed_share", "decision"} <= {c.key for c in as_checks("quick")}
    with pytest.raises(UnknownName, match="did you mean 'gini'"):
        as_checks("ginni")
    with pytest.raises(InvalidArgument, match="asked for twice"):
        as_checks(["gini", "quick"])
    with pytest.raises(InvalidArgument, match="at least one"):
        as_checks([])
    with pytest.raises(InvalidArgument, match="There are no inputs"):
        run(model, [])
    with pytest.raises(InvalidArgument, match="holds 2 inputs"):
        run(model, [pictures(2)])
    with pytest.raises(InvalidArgument, match="A data set is"):
        run(model, 3)
    with pytest.raises(InvalidArgument, match="one target for all inputs"):
        run(model, pictures(2), target=[0, 1])
    with pytest.raises(UnknownName, match="no check in this benchmark"):
        run(model, pictures(1))["saliency", "deletion"]


@pytest.mark.parametrize("key", every_check())
def test_every_check_can_be_named(key: str) -> None:
    """Or it is said what it needs."""
    needed = [f.name for f in fields(every_check()[key]) if f.default is f.default_factory is MISSING]
    if set(needed) <= {"mask"}:
        assert as_checks(key)[0].key == key
    else:
        with pytest.raises(
            InvalidArgument, match=rf"'{key}' needs {needed[0]}.*; give it as \w+\({needed[0]}="
        ):
            as_checks(key)
