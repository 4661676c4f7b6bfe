"""The data that the shortcut benchmark's models are trained on, and what counts as going by a mark."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("scipy")

from benchmarks.shortcuts import bases, models, planted
from benchmarks.shortcuts.bases import Base, Part, mirrored
from benchmarks.shortcuts.cases import Case, cases
from benchmarks.shortcuts.marks import IN_PLACES
from underhood.models import Model, Preprocess

CASE = Case("report", "grey", "border", "one class", 0.6, "cnn")


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """200 grey pictures of 24 x 24 whose class cannot be seen."""
    pictures = np.random.default_rng(0).integers(90, 160, (200, 24, 24, 3)).astype(np.uint8)
    part = Part(pictures, np.arange(200) % 2)
    monkeypatch.setitem(bases.BASES, "grey", lambda _: Base("grey", ("no", "yes"), 1, 2, part, part))
    return tmp_path


def test_a_mark_is_planted_in_its_class_as_often_as_asked_for(kept: Path) -> None:
    data = planted.training(CASE, kept)
    there = data.masks.any((1, 2))
    assert not there[data.classes == 0].any()
    assert there[data.classes == 1].mean() == pytest.approx(0.6, abs=0.12)
    plain = planted.held_out(CASE, kept, "nowhere")
    changed = (planted.held_out(CASE, kept).pictures != plain.pictures).any((1, 2, 3))
    assert changed.sum() > 40
    assert not (changed & (data.classes == 0)).any()


def test_moving_a_mark_leaves_it_on_the_other_class_alone(kept: Path) -> None:
    own, others = (planted.held_out(CASE, kept, where) for where in ("on its class", "on the others"))
    assert np.array_equal(own.masks.any((1, 2)), own.classes == 1)
    assert np.array_equal(others.masks.any((1, 2)), others.classes == 0)
    as_trained = planted.held_out(CASE, kept)
    same = as_trained.masks.any((1, 2))
    assert np.array_equal(as_trained.pictures[same], own.pictures[same])  # drawn alike wherever it is


def test_a_clean_case_has_its_mark_in_both_classes_or_nowhere(kept: Path) -> None:
    everywhere = planted.training(Case("report", "grey", "border", "every class", 0.6, "cnn"), kept)
    shares = [everywhere.masks.any((1, 2))[everywhere.classes == c].mean() for c in (0, 1)]
    assert shares == pytest.approx([0.6, 0.6], abs=0.15)
    assert not planted.training(Case("report", "grey", "none", "nowhere", 0.0, "cnn"), kept).masks.any()


DARK = 0.41  # between grey, 0.49, and the mark over it


class Darkness(nn.Module):
    """Says yes where the outermost pixels are dark: it reads the border, and nothing else."""

    def forward(self, x: Tensor) -> Tensor:
        edge = (x[:, :, 0].mean((1, 2)) + x[:, :, -1].mean((1, 2))) / 2 - DARK
        return torch.stack([edge, -edge], 1)


@pytest.mark.parametrize(
    ("net", "moved"), [(Darkness(), 1.0), (nn.Sequential(nn.Flatten(), nn.Linear(1728, 2)), 0.0)]
)
def test_a_model_cheats_as_far_as_moving_the_mark_costs_accuracy(
    kept: Path, net: nn.Module, moved: float
) -> None:
    if moved == 0:
        nn.init.zeros_(net[1].weight)  # type: ignore[index]
    model = Model(
        net,
        preprocess=Preprocess(size=None, crop=(24, 24), mean=(0.0,) * 3, std=(1.0,) * 3),
        labels=("no", "yes"),
    )
    found = models.accuracies(CASE, model, kept)
    assert found["on its class"] - found["on the others"] == pytest.approx(moved, abs=0.02)
    assert models.cheats(found) == (moved > 0.1)


def test_a_model_is_trained_once_and_learns_a_mark_that_tells_the_class(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case("report", "grey", "border", "one class", 0.9, "cnn")
    monkeypatch.setitem(models.RECIPES, "cnn", models.Recipe(25))
    trained = models.model(case, kept)
    assert models.cheats(models.accuracies(case, trained, kept))
    monkeypatch.setattr(models, "fit", None)  # is not called again
    again = models.model(case, kept)
    assert again.digest == trained.digest


def test_mirrored_pictures_keep_their_class() -> None:
    part = Part(np.arange(2 * 2 * 3 * 3, dtype=np.uint8).reshape(2, 2, 3, 3), np.array([0, 1]))
    four = mirrored(part, 4)
    assert four.classes.tolist() == [0, 1] * 4
    assert np.array_equal(four.pictures[6], part.pictures[0, ::-1, ::-1])


def test_the_benchmark_is_as_large_as_promised_and_its_halves_share_no_mark() -> None:
    report, tuned = ([case for case in cases() if case.half == half] for half in ("report", "set"))
    planted_ones = [case for case in report if case.placing == "one class"]
    assert len(planted_ones) >= 48
    assert len(report) - len(planted_ones) >= 24
    assert {case.mark for case in planted_ones} >= {*IN_PLACES, "tint", "texture"}
    assert {case.prevalence for case in planted_ones} == {0.1, 0.3, 0.6, 0.9}
    assert {case.architecture for case in planted_ones} == {"cnn", "resnet", "vgg"}
    assert not {case.mark for case in report} & {case.mark for case in tuned} - {"none"}
    assert len({case.name for case in cases()}) == len(cases())


def test_bases_without_their_data_are_left_out_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "small").mkdir()
    monkeypatch.setenv("UNDERHOOD_DATA", str(tmp_path))
    assert {case.base for case in models.asked_for("set")} == {"dermoscopy", "mnist", "cifar10"}
    assert "models on ham10000 are left out" in capsys.readouterr().out
