"""What the documentation shows is run."""

import re
from pathlib import Path

from underhood.demo.models import example

ROOT = Path(__file__).resolve().parents[1]


def test_the_method_of_add_a_method_runs():
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs/add-a-method.md").read_text(), re.DOTALL)[1]
    scope = {"picture": example("ruler").image, "__name__": "add_a_method"}
    exec(code, scope)
    explanation = scope["explanation"]
    assert explanation.heatmap().shape == (128, 128)
    assert explanation.parameters == {"factor": 0.5}


def test_every_link_in_the_docs_leads_somewhere():
    pages = [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]
    for page in pages:
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
