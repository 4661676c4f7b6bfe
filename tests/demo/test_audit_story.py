"""The story, told by an audit that knows of no ruler."""

import os
import resource
import subprocess
import sys

import numpy as np
import pytest

import underhood as uh
from underhood.demo.dermoscopy import draw_many
from underhood.demo.factors import WITH_MALIGNANT
from underhood.demo.folder import Lesions, write_lesions
from underhood.playbooks.shortcuts import Shortcuts

COUNT, SEED = 120, 4711  # nothing was tuned on these pictures
SMALL = Shortcuts(scanned=32, pairs=32)


@pytest.fixture(scope="module")
def lesions(tmp_path_factory):
    lesions = Lesions(tmp_path_factory.mktemp("story") / "lesions", COUNT, SEED, WITH_MALIGNANT)
    write_lesions(lesions, processes=1)
    return lesions


def test_the_model_that_reads_the_ruler_is_found_and_the_ruler_is_where_it_is_said_to_be(lesions):
    found = uh.audit("demo:cheating", lesions.folder, SMALL)
    finding = found.findings[0]
    assert (finding.label, finding.severity) == ("malignant", "high")
    assert finding.claim.startswith("In ")
    assert "images called “malignant” the model relies on" in finding.claim
    drawn = {
        lesions.path(number).name: sample
        for number, sample in enumerate(draw_many(COUNT, SEED, ruler=WITH_MALIGNANT))
    }
    rows = finding.rows[: len(finding.masks)]
    overlaps = []
    for row, mask in zip(rows, finding.masks, strict=True):
        ruler = drawn[found.survey.dataset[row].name.rpartition("/")[2]].artefacts["ruler"]
        overlaps.append((mask & ruler).sum() / (mask | ruler).sum())
    assert np.median(overlaps) >= 0.3


@pytest.mark.slow
def test_the_honest_model_has_no_shortcut_on_the_same_pictures_and_it_is_said_what_would_have_been_found(
    lesions,
):
    found = uh.audit("demo:honest", lesions.folder, SMALL)
    assert not found.findings
    assert found.outcomes[0].summary.startswith("No shortcut found")
    assert "would have been told from chance" in found.outcomes[0].summary


def processor_seconds():
    """Of all processes begun here that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.slow
def test_the_demo_ends_with_the_finding_and_the_reports(tmp_path):
    command = [sys.executable, "-m", "underhood.cli", "demo", "--out", str(tmp_path / "out")]
    before = processor_seconds()
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}  # threads that wait for each other would count as work
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=alone)
    assert processor_seconds() - before < 130  # so that two idle cores have it in less than 90
    assert done.returncode == 0, done.stderr
    cheating, honest = done.stdout.split("demo:cheating: ")[1].split("demo:honest: ")
    assert "of images called “malignant” the model relies on" in cheating
    assert "No shortcut found" in honest
    for place in ("audit-cheating/report.html", "audit-honest/report.html", "report.html"):
        assert str(tmp_path / "out" / place) in honest
        assert (tmp_path / "out" / place).exists()
