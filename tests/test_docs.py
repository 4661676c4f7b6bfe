"""What the documentation shows is run."""

import re
from pathlib import Path

import torch
from torch import nn

import underhood as uh
from scripts.make_playbook_index import FOLDER, index
from underhood.demo.factors import WITH_MALIGNANT
from underhood.demo.folder import Lesions, write_lesions
from underhood.demo.models import example

ROOT = Path(__file__).resolve().parents[1]


def code_of(page, number=0):
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)[number]


def test_the_method_of_add_a_method_runs():
    code = code_of("add-a-method.md")
    scope = {"picture": example("ruler").image, "__name__": "add_a_method"}
    exec(code, scope)
    explanation = scope["explanation"]
    assert explanation.heatmap().shape == (128, 128)
    assert explanation.parameters == {"factor": 0.5}


class Sided(nn.Module):
    """Class 1 where the left half is brighter, or where `fair`, where either half is."""

    def __init__(self, fair):
        super().__init__()
        self.conv, self.fair = nn.Conv2d(3, 3, 1), fair
        nn.init.dirac_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)

    def forward(self, x):
        x = self.conv(x).mean(1)
        lead = x[:, :, :4].mean((1, 2)) - x[:, :, 4:].mean((1, 2))
        lead = lead.abs() - 0.5 if self.fair else lead
        return torch.stack([-lead, lead], 1)


def test_the_playbook_of_add_a_playbook_finds_what_minds_mirroring_and_nothing_else():
    pictures = torch.zeros(20, 3, 8, 8)
    pictures[::2, :, :, :4] = 1
    pictures[1::2, :, :, 4:] = 1
    found = {}
    for fair in (False, True):
        scope = {"uh": uh, "model": uh.Model(Sided(fair)), "__name__": "add_a_playbook"}
        scope["dataset"] = uh.Dataset.of(pictures, ["1", "0"] * 10)
        exec(code_of("add-a-playbook.md"), scope)
        found[fair] = scope["audit"]
    (finding,) = found[False].findings
    assert finding.prevalence == 1
    assert sorted(finding.rows) == list(range(20))
    assert finding.effects[0].low > 0.8
    assert not found[True].findings
    assert found[True].outcomes[0].summary.startswith("Mirroring is harmless")


def test_the_audit_of_the_guide_runs(tmp_path, monkeypatch):
    write_lesions(Lesions(tmp_path / "images", 12, 3, WITH_MALIGNANT), processes=1)
    names = sorted(path.relative_to(tmp_path / "images") for path in tmp_path.rglob("*.png"))
    (tmp_path / "meta.csv").write_text("file,site\n" + "".join(f"{name},arm\n" for name in names))
    monkeypatch.chdir(tmp_path)
    code = next(c for n in range(9) if "uh.audit(" in (c := code_of("guide.md", n)))
    scope = {"__name__": "guide"}
    exec(code, scope)
    assert (tmp_path / "audit" / "report.html").exists()
    assert len(scope["again"].survey) == 12


def test_the_index_of_playbooks_is_made_from_them():
    """If this fails: python scripts/make_playbook_index.py"""
    assert (FOLDER / "README.md").read_text() == index()


def test_every_link_in_the_docs_leads_somewhere():
    pages = [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]
    for page in pages:
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
