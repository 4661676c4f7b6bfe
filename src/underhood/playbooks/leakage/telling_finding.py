"""The columns of the metadata that tell the label, as a table and as `Finding`s."""

from collections.abc import Sequence
from typing import Any

from underhood.playbooks.figures import percent
from underhood.playbooks.finding import Effect, Finding
from underhood.playbooks.leakage.telling import Telling
from underhood.playbooks.statistics import holm

NOTABLE = 0.6  # AUROC from which on a column is worth a finding


def telling_findings(found: Sequence[Telling], level: float) -> tuple[Finding, ...]:
    corrected = holm([one.p for one in found])
    return tuple(
        _finding(one, float(p), len(found))
        for one, p in zip(found, corrected, strict=True)
        if p <= level and one.auroc >= NOTABLE and one.low > 0.5
    )


def table_of_columns(found: Sequence[Telling]) -> list[dict[str, Any]]:
    return [
        {
            "column": one.column,
            "AUROC": f"{one.auroc:.2f} [{one.low:.2f}, {one.high:.2f}]",
            "Cramér's V": f"{one.cramers_v:.2f}",
            "bits": f"{one.information:.3f}",
            "p": f"{p:.2g}",
        }
        for one, p in zip(found, holm([one.p for one in found]), strict=True)
    ]


def _finding(one: Telling, p: float, compared: int) -> Finding:
    return Finding(
        playbook="leakage",
        key=f"metadata:{one.column}",
        claim=f"The metadata column '{one.column}' tells the label: of two pictures with different labels it "
        f"tells which is which in {percent(one.auroc)} [{percent(one.low)}, {percent(one.high)}] of cases "
        "(AUROC on held-out rows; chance: 50 %).",
        # At most medium: whether the model can see it in the pictures is not known.
        severity="medium" if one.auroc >= 0.75 else "low",
        effects=(Effect("AUROC", one.auroc, one.low, one.high, "AUROC", one.rows, control=0.5),),
        rows=(),
        ruled_out=f"Against shuffled labels, corrected for {compared} columns by Holm: p = {p:.2g}."
        if compared > 1
        else f"Against shuffled labels: p = {p:.2g}.",
        next_step=f"Ask whether '{one.column}' can be seen in the pictures (camera, framing): then the "
        "model may read that. See the accuracy within its values (subgroups), "
        "and collect or weigh the data so that each value comes with all labels.",
        details={"Cramér's V": one.cramers_v, "bits told": one.information, "p": one.p, "p, corrected": p},
    )
