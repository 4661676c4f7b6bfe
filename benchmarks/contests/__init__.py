"""Every contest, by key, in the order of the tables."""

from benchmarks.contest import Contest
from benchmarks.contests import (
    ablation,
    calls,
    cams,
    paths,
    randomisation,
    regions,
    relevance,
    removal,
    sampled,
    stability,
    together,
)

FAMILIES = (
    relevance,
    paths,
    cams,
    regions,
    sampled,
    ablation,
    together,
    calls,
    stability,
    removal,
    randomisation,
)
CONTESTS: dict[str, Contest] = {one.key: one for family in FAMILIES for one in family.CONTESTS}
