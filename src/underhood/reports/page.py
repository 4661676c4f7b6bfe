"""The page, piece by piece: what was written need not be kept."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from underhood.errors import InvalidArgument
from underhood.methods.explanation import Explanation
from underhood.reports import Failures, colours, shell, view, words

KEPT_VALUES = 6  # of one provenance entry; of more, their number is given


@dataclass
class Tally:
    """What the foot of the page needs to know of the sections written before it."""

    index: list[tuple[int, str, str, str | None]] = field(default_factory=list)
    methods: dict[str, None] = field(default_factory=dict)
    maps: int = 0
    provenance: dict[str, dict[str, None]] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)  # when the first and the last map were

    def add(self, section: view.Section, items: list[Explanation]) -> None:
        said = f"{section.predicted} {section.said}"
        self.index.append((section.number, section.name, said, section.thumbnail))
        self.maps += len(items)
        for item in items:
            self.methods[item.card.name] = None
            if time := item.provenance.get("time"):
                times = [*self.made, str(time)]
                self.made = [min(times), max(times)]
            for key, value in item.provenance.items():
                if key not in view.PER_MAP and (said := words.describe(value)):
                    known = self.provenance.setdefault(words.spaced(str(key)), {})
                    if len(known) <= KEPT_VALUES:
                        known[said] = None

    def repeat(self) -> list[tuple[str, list[str], bool]]:
        """Provenance as (key, values, whether there are more)."""
        made = [("made", [words.period(*self.made)], False)] if self.made else []
        return made + [
            (key, list(values)[:KEPT_VALUES], len(values) > KEPT_VALUES)
            for key, values in self.provenance.items()
        ]


def pieces(explanations: Iterable[Explanation], failures: Failures | None, command: str) -> Iterator[str]:
    """The page in order. Input by input is explained and written; failures are read at the end."""
    tally = Tally()
    if failures is None:
        failures = getattr(explanations, "failures", {})

    def failed() -> dict[str, str]:
        found: Mapping[str, str] = failures() if callable(failures) else failures
        if not tally.maps and not found:
            raise InvalidArgument("There is no explanation to write.")
        return dict(found)

    def written() -> Iterator[view.Section]:
        for section, items in view.sections(explanations):
            tally.add(section, items)
            yield section

    stream = (
        shell.environment()
        .get_template("report.html.j2")
        .stream(sections=written(), tally=tally, failed=failed, command=command, **_assets())
    )
    stream.enable_buffering(64)
    return iter(stream)


@cache
def _assets() -> dict[str, Any]:
    return {
        **shell.assets("report"),
        "colours": colours.as_json(),
        "caveat": words.CAVEAT,
        "short": words.short,
        "base": words.base,
    }
