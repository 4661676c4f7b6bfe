"""`uh.audit`: from a model and data to findings in a folder, and on from where it was stopped."""

import hashlib
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import underhood as uh
from tests.support import audits
from underhood.atomic import CannotWrite
from underhood.errors import BadInput, InvalidArgument, UnknownName
from underhood.playbooks import surveying
from underhood.playbooks.audit import again
from underhood.playbooks.kept import plain
from underhood.playbooks.registry import PLAYBOOKS, as_playbooks
from underhood.playbooks.survey import Survey, surveyed
from underhood.playbooks.verify import verify
from underhood.store import Store, arrays

COUNT = 90
FILE = """
import torch
from tests.support.audits import Corner

def build():
    return Corner().eval()
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> uh.Audit:
    """An undisturbed audit of the planted model, in shards of 32."""
    return audited(tmp_path_factory.mktemp("whole") / "audit")


def audited(folder: Path | None, **changed: Any) -> uh.Audit:
    given = {"model": audits.model(), "dataset": audits.data(COUNT), "playbooks": audits.Wrong(), "shard": 32}
    return uh.audit(**{**given, **changed}, out=folder)


def content(folder: Path) -> dict[str, Any]:
    """All that has to be the same, however often an audit was stopped."""
    store = Store(folder)
    numbers, _ = store.columns()
    findings = json.loads((folder / "findings.json").read_text())
    findings["audit"].pop("time")
    return {
        "records": list(store.records()),
        "findings": findings,
        **{name: store.rows(name, numbers)[:].tobytes() for name in ("maps", "scores", "features")},
    }


def test_the_survey_says_what_the_planted_model_does(whole: uh.Audit) -> None:
    pictures = torch.stack([row.source for row in audits.data(COUNT)])
    corner = pictures[:, 0, :4, :4].mean((1, 2)).numpy()
    survey = whole.survey
    assert np.allclose(survey.scores[:], np.stack((-corner, corner), 1), atol=1e-6)
    assert np.array_equal(survey.predicted, (corner > 0).astype(int))
    assert np.allclose(survey.probability, 1 / (1 + np.exp(-2 * abs(corner))), atol=1e-6)
    wrong = np.flatnonzero(np.arange(COUNT) % 10 == 0)
    assert np.array_equal(np.flatnonzero(survey.label != survey.predicted), wrong)
    assert whole.findings[0].rows == tuple(wrong[:3])
    assert whole.findings[0].effects[0].value == pytest.approx(0.1)
    assert [r.probability for r in whole.store.records()] == pytest.approx(survey.probability.tolist())


def test_the_stored_survey_is_the_one_in_memory(whole: uh.Audit) -> None:
    """The same batches in one shard, so the same bits; maps as far as float16 goes."""
    stored = audited(None, shard=COUNT).survey
    memory = surveyed(audits.model(), audits.data(COUNT))
    assert np.array_equal(stored.scores[:], memory.scores)
    assert np.array_equal(stored.features[:], memory.features)
    assert np.array_equal(stored.label, memory.label)
    maps = np.asarray(memory.maps)
    assert np.abs(stored.maps[:] - maps).max() <= 2**-11 * maps.max()
    assert np.allclose(whole.survey.maps[[3, 80]], maps[[3, 80]], rtol=2**-10, atol=1e-6)


def test_findings_come_back_as_they_were(whole: uh.Audit) -> None:
    again = uh.Audit.open(whole.folder, model=audits.model(), dataset=audits.data(COUNT))
    (now,), (then,) = again.findings, whole.findings
    assert (now.claim, now.effects, now.rows, now.key) == (then.claim, then.effects, then.rows, then.key)
    assert now.masks is not None
    assert np.array_equal(now.masks, np.asarray(whole.survey.maps[list(now.rows)]) > 0)
    assert again.as_dict() == json.loads((whole.folder / "findings.json").read_text())


def test_every_record_says_how_it_was_made(whole: uh.Audit) -> None:
    made = whole.store.provenance(40)
    assert made["model_digest"] == audits.model().digest
    assert (made["method"], made["parameters"], made["seed"]) == ("gradcam", {"layer": "conv"}, 0)
    assert made["versions"]["torch"] == torch.__version__
    assert made["forward_passes"] == made["backward_passes"] == 32  # no pass twice
    assert made["time"]
    assert whole.provenance["data_digest"] == whole.store.data_digest()


def test_it_goes_on_where_it_was_stopped(whole: uh.Audit, tmp_path: Path) -> None:
    stop, seen = "stop", list[int]()

    def progress(done: int, total: int) -> None:
        seen.append(done)
        assert total == COUNT
        if done > 64 and len(seen) < 4:
            raise RuntimeError(stop)

    with pytest.raises(RuntimeError, match=stop):
        audited(tmp_path, progress=progress)
    assert Store(tmp_path).missing() == [2]
    assert not (tmp_path / "findings.json").exists()
    audited(tmp_path, progress=progress)
    assert seen == [32, 64, 90, 90]
    assert content(tmp_path) == content(whole.folder)


def test_what_is_done_is_not_done_again(
    whole: uh.Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(whole.folder, tmp_path, dirs_exist_ok=True)

    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(surveying, "survey_shards", never)
    monkeypatch.setattr(audits.Wrong, "__call__", never)
    assert audited(tmp_path).findings[0].claim == whole.findings[0].claim
    monkeypatch.undo()
    other = audited(tmp_path, playbooks=audits.Wrong(most=1))
    assert [len(finding.rows) for finding in other.findings] == [1]  # other parameters: done again


def test_another_audit_is_refused_and_what_differs_is_said(whole: uh.Audit) -> None:
    module = audits.Corner()
    with torch.no_grad():
        module.conv.weight.mul_(2)
    changed = [
        ({"model": uh.Model(module.eval(), labels=audits.LABELS, layer="conv")}, "the model"),
        ({"dataset": audits.data(COUNT - 1)}, "the number of pictures, the names or labels of the pictures"),
        ({"seed": 5}, "seed"),
        ({"shard": 16}, "the size of a shard"),
    ]
    other = audits.data(COUNT)
    rows = [replace(row, source=row.source + 1) for row in other.rows]
    changed.append(({"dataset": replace(other, rows=rows)}, "the names or labels of the pictures"))
    for arguments, words in changed:
        with pytest.raises(InvalidArgument, match=rf"holds another audit \(different: {words}\)"):
            audited(whole.folder, **arguments)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of two classes, one of them cut off, one empty, and a model in a file."""
    noise = np.random.default_rng(0)
    for label in audits.LABELS:
        (tmp_path / "data" / label).mkdir(parents=True)
        for n in range(5):
            pixels = noise.integers(0, 255, (audits.SIZE, audits.SIZE), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / label / f"{n}.png")
    cut = tmp_path / "data" / "dark" / "3.png"
    cut.write_bytes(cut.read_bytes()[:60])
    (tmp_path / "data" / "bright" / "1.png").write_bytes(b"")
    (tmp_path / "model.py").write_text(FILE)
    return tmp_path


def of_files(folder: Path) -> uh.Audit:
    plain = uh.models.preprocess.Preprocess(size=None, crop=audits.SIZE, mean=(0.5,), std=(0.5,))
    model = uh.load(f"file:{folder / 'model.py'}:build", labels=audits.LABELS, preprocess=plain, layer="conv")
    return uh.audit(model, folder / "data", audits.Wrong(), out=folder / "audit", shard=4)


def test_pictures_that_are_broken_are_listed_and_the_next_goes_on(folder: Path) -> None:
    found = of_files(folder)
    assert len(found.survey) == 8
    failures = {Path(record.name).as_posix()[-12:]: record for record in found.store.failures()}
    assert [name[-5:] for name in failures] == ["1.png", "3.png"]
    assert all("broken" in str(r.failure) or "format" in str(r.failure) for r in failures.values())
    assert len(found.problems) == 2
    for row in found.survey.dataset:  # also of those that are broken: all bytes
        record = next(found.store.records([row.number]))
        assert record.sha256 == hashlib.sha256(Path(row.source).read_bytes()).hexdigest()
    right = [r for r in found.store.records() if r.failure is None]
    assert [r.number for r in right] == found.survey.number.tolist()
    labels = [audits.LABELS.index(str(r.label)) for r in right]
    assert found.survey.label.tolist() == labels


def test_model_and_data_are_loaded_again_as_they_were(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_files(folder)
    monkeypatch.setattr("underhood.playbooks.registry.PLAYBOOKS", {"wrong": "tests.support.audits:Wrong"})
    again = uh.resume(folder / "audit")
    assert again.findings[0].key == "wrong/all"
    assert again.survey.model.labels == audits.LABELS
    opened = uh.Audit.open(folder / "audit")
    assert opened.survey.inputs([0]).shape == (1, 1, audits.SIZE, audits.SIZE)


def test_an_audit_with_a_playbook_of_ones_own_goes_on_in_python(folder: Path) -> None:
    of_files(folder)
    with pytest.raises(InvalidArgument, match=r"'wrong' is not one of Underhood's; go on in Python"):
        uh.resume(folder / "audit")


def test_an_audit_reproduces_until_a_picture_changes(folder: Path) -> None:
    found = of_files(folder)
    checked = verify(found.folder)
    assert checked.reproduces, checked.says
    assert checked.rows == 10
    names = ["model", "records", "data", "findings", "bytes", "reading", "scores", "predictions", "maps"]
    assert [claim.name for claim in checked.claims] == names
    picture = folder / "data" / "dark" / "0.png"
    pixels = np.array(Image.open(picture))
    pixels[:4, :4] = 255 - pixels[:4, :4]
    Image.fromarray(pixels).save(picture)
    failing = [claim.name for claim in verify(found.folder).claims if not claim.holds]
    assert failing[:2] == ["bytes", "scores"]
    picture.unlink()
    assert "data" in verify(found.folder).says


def test_verifying_notices_another_model_and_other_findings(whole: uh.Audit, tmp_path: Path) -> None:
    shutil.copytree(whole.folder, tmp_path, dirs_exist_ok=True)
    module = audits.Corner()
    with torch.no_grad():
        module.conv.weight.add_(0.2)
    other = uh.Model(module.eval(), labels=audits.LABELS, layer="conv")
    path = tmp_path / "findings.json"
    path.write_text(path.read_text().replace("9 are wrong", "8 are wrong"))
    checked = verify(tmp_path, 20, model=other, dataset=audits.data(COUNT))
    assert not checked.reproduces
    assert {claim.name for claim in checked.claims if not claim.holds} >= {"model", "findings", "scores"}
    assert checked.rows == 20
    assert "another: its digest is" in next(c.says for c in checked.claims if c.name == "model")
    same = verify(whole.folder, 20, model=audits.model(), dataset=audits.data(COUNT))
    assert same.reproduces, same.says


def test_verifying_samples_the_same_rows_for_the_same_seed(whole: uh.Audit) -> None:
    given = {"model": audits.model(), "dataset": audits.data(COUNT)}
    assert verify(whole.folder, 7, **given) == verify(whole.folder, 7, **given)


class Fussy(nn.Module):
    """Gives no number for an input that is above 5 anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = audits.Corner()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + torch.where(x.amax((1, 2, 3)) > 5, torch.nan, 0.0)[:, None]


def test_an_input_that_the_model_fails_on_is_listed_and_the_others_go_on() -> None:
    data = audits.data(40)
    rows = [replace(r, source=r.source + 9 * (r.number in (0, 7))) for r in data.rows]
    found = uh.audit(
        uh.Model(Fussy().eval(), labels=audits.LABELS, layer="inner.conv"), replace(data, rows=rows), (),
    )  # fmt: skip
    assert [r.number for r in found.store.failures()] == [0, 7]
    assert all("NaN" in str(r.failure) for r in found.store.failures())
    assert len(found.survey) == 38


def test_a_model_that_fails_on_everything_is_refused(tmp_path: Path) -> None:
    data = audits.data(40)
    rows = [replace(r, source=r.source + 9) for r in data.rows]
    model = uh.Model(Fussy().eval(), labels=audits.LABELS, layer="inner.conv")
    with pytest.raises(uh.UnderhoodError, match="NaN"):
        uh.audit(model, replace(data, rows=rows), (), out=tmp_path / "audit")
    assert not (tmp_path / "audit").exists()


def test_an_input_of_another_shape_is_listed() -> None:
    data = audits.data(10)
    rows = [replace(r, source=r.source[:, :8]) if r.number == 4 else r for r in data.rows]
    found = uh.audit(audits.model(), replace(data, rows=rows), ())
    assert found.problems == (
        "picture 4: Its input is 1 × 8 × 12, and the others' 1 × 12 × 12; a preprocessing with a crop makes "
        "them alike.",
    )


def test_a_full_disk_in_the_middle_loses_nothing(
    whole: uh.Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, calls = arrays.write, []

    def fills(*given: Any) -> None:
        calls.append(given)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        write(*given)

    with monkeypatch.context() as disk:
        disk.setattr(arrays, "write", fills)
        with pytest.raises(CannotWrite, match="The disk is full at"):
            audited(tmp_path)
    assert Store(tmp_path).missing() == [2]
    audited(tmp_path)
    assert content(tmp_path) == content(whole.folder)


@dataclass(frozen=True)
class Unfit(uh.Playbook):
    key = "unfit"
    question = "?"

    def __call__(self, survey: Survey) -> uh.Outcome:
        raise BadInput(f"There are no masks, and {len(survey)} pictures.")


def test_a_playbook_that_cannot_be_run_does_not_stop_the_others() -> None:
    found = audited(None, playbooks=[Unfit(), audits.Wrong()])
    assert [outcome.playbook for outcome in found.outcomes] == ["wrong"]
    assert found.problems == ("The playbook 'unfit' could not be run: There are no masks, and 90 pictures.",)


def test_without_a_folder_nothing_is_left_behind() -> None:
    found = audited(None)
    folder = found.folder
    assert folder.exists()
    assert len(found.findings) == 1
    del found
    assert not folder.exists()


def test_arguments_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="A shard has one row at least, not 0"):
        audited(tmp_path, shard=0)
    with pytest.raises(UnknownName, match="There is no engine named 'cloud'"):
        uh.audit(audits.model(), audits.data(3), (), engine="cloud")
    with pytest.raises(UnknownName, match="There is no playbook named 'shortcut'"):
        as_playbooks("shortcut")
    with pytest.raises(InvalidArgument, match="asked for twice"):
        as_playbooks([audits.Wrong(), audits.Wrong(most=1)])
    with pytest.raises(InvalidArgument, match="A sample has one row at least"):
        verify(tmp_path, 0)


def test_numbers_that_are_none_come_back_as_none_in_an_effect(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Odd(uh.Playbook):
        key = "odd"
        question = "?"

        def __call__(self, survey: Survey) -> uh.Outcome:  # noqa: ARG002
            effect = uh.Effect("e", 1.0, float("nan"), float("nan"), "share", 3)
            details = {"counts": np.arange(2), "none": np.float32("nan")}
            finding = uh.Finding(
                "odd", "odd", "C.", "low", (effect,), (np.int64(1),), "-", "-", details=details
            )  # type: ignore[arg-type]
            return uh.Outcome("odd", "S.", (finding,), {"T": [{"a": np.int64(3)}]})

    found = audited(tmp_path, playbooks=Odd())
    (finding,) = found.findings
    assert np.isnan(finding.effects[0].low)
    assert finding.details == {"counts": [0, 1], "none": None}
    assert found.outcomes[0].tables == {"T": [{"a": 3}]}
    json.loads((tmp_path / "findings.json").read_text(), parse_constant=pytest.fail)


def test_an_audit_is_not_opened_with_another_model_or_other_data(whole: uh.Audit) -> None:
    with pytest.raises(InvalidArgument, match="The model is not the one that was audited"):
        uh.Audit.open(whole.folder, model=uh.Model(Fussy().eval()), dataset=audits.data(COUNT))
    with pytest.raises(InvalidArgument, match="The data set has 89 pictures, and had 90"):
        uh.Audit.open(whole.folder, model=audits.model(), dataset=audits.data(COUNT - 1))
    with pytest.raises(InvalidArgument, match="does not say where its model Corner came from"):
        uh.Audit.open(whole.folder)
    with pytest.raises(InvalidArgument, match="were given in memory; give them again"):
        uh.Audit.open(whole.folder, model=audits.model())


def test_a_picture_that_breaks_its_library_is_listed_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Image.open

    def breaks(path: Any, *rest: Any) -> Any:
        if "bright" in str(path) and str(path).endswith("2.png"):
            raise IndexError("index out of range.")
        return opened(path, *rest)

    monkeypatch.setattr(Image, "open", breaks)
    told = [str(record.failure) for record in of_files(folder).store.failures()]
    assert told[1] == "It is broken and cannot be read (IndexError: index out of range)."
    assert len(told) == 3


@pytest.mark.parametrize("key", PLAYBOOKS)
def test_every_playbook_comes_back_from_its_record(key: str) -> None:
    one = as_playbooks(key)[0]
    recorded = json.loads(json.dumps({"key": key, "parameters": plain(one.parameters())}))
    assert again(recorded) == one
