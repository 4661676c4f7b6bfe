"""The benchmarks' own machinery, on a network that takes no time."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

for peer in ("captum", "pytorch_grad_cam", "zennit", "lime", "shap", "scipy", "matplotlib"):
    pytest.importorskip(peer)

from benchmarks import contest, measure, plot, run  # noqa: E402
from benchmarks.contests import CONTESTS, cams  # noqa: E402
from benchmarks.contests.ablation import _scaled  # noqa: E402
from benchmarks.contests.calls import Calls  # noqa: E402
from benchmarks.measure import Cost, alternating  # noqa: E402
from benchmarks.rows import Row, merged, page, read, table, write  # noqa: E402

CPU = torch.device("cpu")


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(3, 4, 3, 8), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x).relu().mean((2, 3)))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (3, 16, 16)
    monkeypatch.setattr(measure.gc, "collect", int)  # which takes longer than the network
    monkeypatch.setattr(contest, "network", lambda _: Small().eval())
    monkeypatch.setattr(contest, "pictures", lambda count=1: torch.rand(count, *shape))
    monkeypatch.setitem(cams.CAM_LAYERS, "resnet18", "conv")


def row(**given: Any) -> Row:
    known = {"contest": "gradcam", "network": "resnet18", "case": "batch 1", "device": "CPU", "base": 0.5}
    known |= {"unit": "CPU s", "setting": "batch 1", "over": {"underhood": (1.25, 1.5), "captum": (2.5, 3.0)}}
    return Row(**(known | given))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("key", ["all_cams", "expected_gradients", "deeplift", "together"])
def test_a_contest_is_measured_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str) -> None:
    monkeypatch.setattr(contest, "measured", lambda *_: 12.0)
    monkeypatch.setattr(measure, "OFTEN", 1)
    out = tmp_path / "found.md"
    run.main(["--only", key, "--networks", "resnet18", "--rounds", "1", "--out", str(out)])
    (found,) = read(out.with_suffix(".json"))
    assert found.contest == key
    assert found.base > 0
    assert all(cost and min(cost) > 0 for cost in found.over.values())
    assert f"<!-- {key} -->\n| network |" in out.read_text()


@pytest.mark.usefixtures("small")
def test_all_six_cams_take_one_forward_and_one_backward_pass() -> None:
    match = CONTESTS["all_cams"].match(contest.Scene("resnet18"))  # type: ignore[attr-defined]
    assert list(match.notes().values()) == ["1 forward, 1 backward above the layer"]


def test_a_peer_that_fails_is_left_out_and_ours_may_not() -> None:
    def broken() -> None:
        raise RuntimeError("boom")

    assert alternating({"ours": int, "peer": broken}, 1, may_fail=["peer"]).keys() == {"ours"}
    with pytest.raises(RuntimeError, match="boom"):
        alternating({"ours": broken}, 1, may_fail=["peer"])


def test_the_median_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    walls = iter([50.0, 1.0, 9.0, 2.0])  # the first warms up
    monkeypatch.setattr(measure, "cost_of", lambda _: Cost((wall := next(walls)), 2 * wall))
    assert alternating({"": int}, 3) == {"": Cost(2.0, 4.0)}
    assert Cost(2.0, 4.0).on(CPU) == 4.0
    assert Cost(2.0, 4.0).on(torch.device("cuda")) == 2.0


def test_rows_come_back_from_their_file_and_new_ones_take_the_place_of_old(tmp_path: Path) -> None:
    old, new = [row(), row(case="batch 16")], [row(over={"underhood": [1.0, 1.0]}, rounds=5)]
    both = merged(old, new)
    assert [one.rounds for one in both] == [5, 1]
    write(tmp_path / "rows.json", both)
    assert read(tmp_path / "rows.json")[0] == both[0]
    assert read(tmp_path / "none.json") == []


def test_a_table_has_what_there_is() -> None:
    failed = row(network="vgg16", over={"underhood": (1.0, 1.1), "captum": None}, memory={"underhood": 99.6})
    assert list(table([row(), failed])) == [
        "| network | case | base (CPU s, setting) | underhood | captum | best peer / ours | underhood MiB "
        "| rounds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| resnet18 | batch 1 | 0.5, batch 1 | 1.25 × (1.50) | 2.50 × (3.00) | 2.00 × |  | 1 |",
        "| vgg16 | batch 1 | 0.5, batch 1 | 1.00 × (1.10) | fails |  | 100 | 1 |",
    ]


def test_a_card_has_images_a_second() -> None:
    lines = list(table([row(device="H", unit="s", base=0.01, inputs=16, over={"underhood": (1.6, 1.6)})]))
    assert "1.60 ×, 1e+03 images/s" in lines[-1]


def test_only_the_table_of_a_page_changes() -> None:
    text = "# Title\n\n<!-- gradcam -->\nold\n<!-- /gradcam -->\n\nIn words.\n"
    headings = {"gradcam": "## Grad-CAM", "lrp": "## LRP"}
    found = page(text, [row(), row(contest="lrp")], headings)
    assert found.startswith("# Title\n\n<!-- gradcam -->\n| network |")
    assert "old" not in found
    assert "<!-- /gradcam -->\n\nIn words.\n\n## LRP\n\n<!-- lrp -->\n| network |" in found
    assert page(found, [row(), row(contest="lrp")], headings) == found


def test_fewer_calls_are_a_gain() -> None:
    calls = CONTESTS["calls"]
    assert isinstance(calls, Calls)
    found = calls._row("demo:vit", "LIME to 2%", {"underhood": 100.0, "lime": 250.0})
    assert (found.base, found.gain, found.over["underhood"]) == (250, 2.5, (0.4, 0.4))


def test_without_a_card_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="no CUDA device"):
        run.main(["--device", "cuda"])


def test_the_page_shows_the_rows_that_are_kept() -> None:
    text = run.RESULTS.read_text("utf-8")
    assert page(text, read(run.beside(run.RESULTS)), run.HEADINGS) == text


def test_the_plot_is_drawn(tmp_path: Path) -> None:
    write(tmp_path / "rows.json", [row(), row(network="vgg16"), row(device="Card X", unit="s")])
    plot.main(tmp_path / "rows.json", tmp_path / "bench.png")
    assert {path.name for path in tmp_path.glob("*.png")} == {"bench.png", "bench-card-x.png"}


def test_maps_are_scaled_to_one() -> None:
    assert _scaled(torch.tensor([2.0, 4, 3]).numpy()).tolist() == [0, 1, 0.5]
