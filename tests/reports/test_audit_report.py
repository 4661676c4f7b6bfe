"""What the page of an audit says, read as text; as people use it: test_audit_report_browser.py."""

import base64
import io
import re
import tracemalloc
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from math import nan

import numpy as np
import pytest
from PIL import Image

from tests.reports import audits
from tests.reports.audits import Audit
from underhood.errors import UnderhoodError
from underhood.inputs.dataset import Dataset, Row
from underhood.playbooks.compare import Accuracy, Changed, Comparison, Stayed
from underhood.playbooks.finding import Outcome
from underhood.reports.audit import effects, names, pictures, render_audit, render_comparison
from underhood.reports.audit.answer import answer, counted, ranked, scope

HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)>'
MEGABYTE = 1_000_000


class Page(HTMLParser):
    """Tags, ids, headings, text and links of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.headings, self.links, self.words = Counter(), [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags[tag] += 1
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if "href" in given else []
        self.headings += [int(tag[1])] if re.fullmatch("h[1-6]", tag) else []
        assert not [name for name in given if name.startswith("on") or name == "style"]

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def rendered(tmp_path):
    def rendering(audit):
        render_audit(audit, tmp_path / "report.html")
        return (tmp_path / "report.html").read_text(encoding="utf-8")

    return rendering


def decoded(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB"))


# ---- the answer


@pytest.mark.parametrize(
    ("severity", "headline", "kind"),
    [
        ("high", "This model relies on something it should not.", "doubted"),
        ("medium", "This model may rely on something it should not.", "mixed"),
        ("low", "Nothing serious was found.", "slight"),
    ],
)
def test_the_headline_says_how_bad_it_is(severity, headline, kind):
    outcomes = [audits.shortcuts(audits.finding(severity))]
    said = answer(Audit(audits.survey(), outcomes), ranked(outcomes))
    assert (said.headline, said.kind) == (headline, kind)


NOTHING = Outcome("leakage", "None.")


@pytest.mark.parametrize(
    ("outcomes", "headline", "kind"),
    [
        ([audits.shortcuts()], "No shortcut found.", "firm"),
        ([audits.shortcuts(), NOTHING], "No shortcut found, and nothing else wrong.", "firm"),
        ([NOTHING], "Nothing wrong was found.", "firm"),
        ([NOTHING, Outcome("shortcuts", "Too few.")], "Shortcuts could not be looked for.", "mixed"),
        ([], "Nothing was checked.", "mixed"),
    ],
)
def test_the_headline_where_nothing_was_found(outcomes, headline, kind):
    said = answer(Audit(audits.survey(), outcomes), ranked(outcomes))
    assert (said.headline, said.kind) == (headline, kind)


def test_what_would_have_been_found_says_how_sure_that_is():
    said = answer(Audit(audits.survey(), clean := [audits.shortcuts()]), ranked(clean), problems=1)
    assert said.sure == (
        "One that moves the score by 0.4 in 5 % of a class's pictures would have been. "
        "1 thing could not be read or done."
    )
    few = [Outcome("shortcuts", "No shortcut found, but there were too few pictures to say more.", calls=9)]
    assert answer(Audit(audits.survey(), few), ranked(few)).kind == "slight"


def test_the_worst_finding_comes_first_and_a_shortcut_before_its_equals():
    other = audits.finding("high", playbook="subgroups", key="b")
    outcomes = [
        Outcome("subgroups", "", (audits.finding("low", "c"), other)),
        audits.shortcuts(audits.finding(key="a")),
    ]
    assert [f.key for f in ranked(outcomes)] == ["a", "b", "c"]


def test_findings_are_counted_by_severity():
    three = [audits.finding("high"), audits.finding("low"), audits.finding("low")]
    assert counted(three) == "1 serious finding and 2 minor ones"
    assert counted([*three[:1], audits.finding("medium"), *three[1:]]) == (
        "1 serious finding, 1 moderate one and 2 minor ones"
    )


def test_how_sure_counts_effects_that_are_clear_of_chance():
    vague = audits.finding(key="b", effects=(audits.effect(low=0.1, control_high=0.3),))
    alone = audits.finding(key="c", effects=(audits.effect(control=None),))
    outcomes = [audits.shortcuts(audits.finding(), vague, alone)]
    said = answer(Audit(audits.survey(), outcomes), ranked(outcomes)).sure
    assert said.startswith("1 of 2 main effects")
    assert "1 finding had nothing to compare with" in said


def test_accuracy_comes_with_wilsons_interval():
    """16 pictures, 14 right: 0.640 to 0.965 by Wilson's formula (R: prop.test(14, 16, correct=FALSE))."""
    assert scope(audits.survey(16)) == (
        "The model is right on 87.5 % of 16 pictures (95 % interval 64.0 % to 96.5 %)"
    )


# ---- effects


def test_effects_stand_where_their_values_are():
    (only,) = effects.shown([audits.effect(value=2.0, low=1.0, high=4.0, control=-1.0, control_low=None)])
    scale = 100 * (1 - 2 * effects.ROOM) / 5  # from −1 to 4
    assert only.zero == pytest.approx(100 * effects.ROOM + scale)
    assert only.mark.at - only.zero == pytest.approx(2 * scale)
    assert only.mark.high - only.mark.low == pytest.approx(3 * scale)
    assert only.control_mark.low == only.control_mark.at == pytest.approx(100 * effects.ROOM)


def test_only_effects_of_one_unit_share_an_axis():
    a, b, c = effects.shown([
        audits.effect(value=1.0), audits.effect(value=2.0),
        audits.effect(unit="share", value=0.5, low=0.4, high=0.6, control=0, control_low=0, control_high=0),
    ])  # fmt: skip
    assert b.mark.at - b.zero == pytest.approx(2 * (a.mark.at - a.zero))
    assert c.mark.high == pytest.approx(100 * (1 - effects.ROOM))


@pytest.mark.parametrize(
    ("low", "high", "control_low", "control_high", "expected"),
    [
        (1.8, 2.4, 0, 0.2, True),
        (0.1, 2.4, 0, 0.2, False),
        (-2.4, -1.8, 0, 0.2, True),
        (1.8, 2.4, None, None, True),
    ],
)
def test_an_effect_is_clear_where_the_intervals_do_not_touch(low, high, control_low, control_high, expected):
    given = audits.effect(low=low, high=high, control_low=control_low, control_high=control_high)
    assert effects.clear(given) is expected


def test_without_a_control_nothing_is_said_of_chance():
    assert effects.clear(audits.effect(control=None)) is None
    assert effects.clear(audits.effect(low=nan)) is None


def test_the_interval_of_a_share_ends_at_all():
    (only,) = effects.shown([audits.effect(value=0.984, low=0.96, high=1.008, unit="share")])
    assert only.interval == "96.0 % to 100.0 %"
    assert only.mark.high == pytest.approx(100 * (1 - effects.ROOM))


def test_a_difference_is_compared_with_zero():
    given = audits.effect("gap in accuracy", value=-0.1, low=-0.2, high=-0.05, control=None)
    assert effects.clear(given) is True
    assert effects.clear(replace(given, high=0.01)) is False


def test_a_difference_of_shares_is_told_in_points():
    given = audits.effect("gap in accuracy", value=-0.1, low=-0.2, high=0.0, unit="accuracy", control=None)
    assert (effects.told(given.value, given), effects.interval(given)) == (
        "−10.0 points", "−20.0 points to 0.0 points",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "size", "unit", "expected"),
    [
        (-0.0650, 7.83, "log-odds", "−0.07"),
        (-0.001, 7.83, "log-odds", "0.00"),
        (0.0123, 0.0456, "log-odds", "0.0123"),
        (-0.21, 7.0, "share", "−21.0 %"),
        (12345.0, 23456.0, "pixels", "12345"),
    ],
)
def test_figures_of_an_effect_are_as_fine_as_the_effect(value, size, unit, expected):
    assert effects.told(value, audits.effect(value=size, low=size, high=size, unit=unit)) == expected


def test_log_odds_are_told_as_odds():
    (only,) = effects.shown([audits.effect(value=-np.log(8))])
    assert only.meaning == "the odds change 8.0-fold"
    assert "−2.08 log-odds" in only.spoken


def test_a_value_that_is_not_known_is_said_and_not_drawn(rendered):
    lost = audits.effect(value=nan, low=nan, high=nan, control=nan)
    (only,) = effects.shown([lost])
    assert (only.value, only.mark, only.control_mark, only.interval) == ("unknown", None, None, "")
    assert "unknown" in rendered(Audit(audits.survey(), [audits.shortcuts(audits.finding(effects=(lost,)))]))


# ---- pictures


def test_the_region_is_outlined_along_its_edge_and_nowhere_else():
    grey = np.full((96, 96, 3), 128, dtype=np.uint8)
    mask = np.zeros((96, 96), dtype=bool)
    mask[24:72, 24:72] = True
    shown = decoded(pictures.outlined(grey, mask))
    assert shown.shape == (192, 192, 3)
    yellow = (shown[..., 0].astype(int) - shown[..., 2]) > 60
    edge = 48 + np.array([0, 1, 2, 3, 4, 92, 93, 94, 95])
    assert yellow[96][edge].any()
    assert yellow[96][:46].sum() == yellow[96][56:136].sum() == yellow[96][146:].sum() == 0
    assert yellow[:, 96].any()


def test_a_region_at_the_pictures_edge_is_outlined_there_too():
    shown = decoded(
        pictures.outlined(np.full((96, 96, 3), 128, dtype=np.uint8), np.ones((96, 96), dtype=bool))
    )
    yellow = (shown[..., 0].astype(int) - shown[..., 2]) > 60
    assert yellow[:, :6].any(1).mean() > 0.95
    assert yellow[8:-8, 8:-8].sum() == 0


def test_the_heat_map_is_brightest_where_the_model_looked():
    heat = np.zeros((6, 6))
    heat[1, 4] = 1.0
    shown = decoded(pictures.looked(np.full((48, 48, 3), 90, dtype=np.uint8), heat)).astype(int).sum(2)
    row, col = np.unravel_index(shown.argmax(), shown.shape)
    assert abs(row - 1.5 * 32) < 20
    assert abs(col - 4.5 * 32) < 20


def test_a_wide_picture_keeps_its_proportions():
    assert decoded(pictures.plain(np.zeros((50, 100, 3), dtype=np.uint8))).shape == (96, 192, 3)


# ---- names


def test_odd_bytes_and_control_characters_are_escaped():
    assert names.fit(b"caf\xe9\n.png".decode("utf-8", "surrogateescape")) == "caf\\xe9\\n.png"


def test_a_long_name_keeps_its_ends():
    fit = names.fit("a" * 500 + ".png")
    assert len(fit) < 130
    assert fit.startswith("aaa")
    assert fit.endswith(".png")


def test_links_lead_from_the_report_to_the_file(tmp_path):
    odd = b"h\xffi #1?.png".decode("utf-8", "surrogateescape")
    assert names.link(tmp_path / "images" / odd, tmp_path / "audit") == "../images/h%FFi%20%231%3F.png"
    assert names.link(tmp_path / "javascript:alert(1)", tmp_path) == "javascript%3Aalert%281%29"
    assert names.link(np.zeros(3), tmp_path) is None


# ---- the page


def test_the_page_says_all_there_is_to_a_finding(rendered):
    page = Page(rendered(audits.cheating()))
    found = audits.finding()
    for part in (
        "This model relies on something it should not.", "Yes: 1 serious finding and 1 moderate one.",
        "Do not rely on this model until the serious finding is dealt with.",
        found.claim.split(". ", 1)[1], found.ruled_out, found.next_step,
        "concerns 38 % of the class malignant", "of 16 pictures",
        "1.80 to 2.40; control 0.10 (0.02 to 0.19)", "54.0 % to 68.0 %", "picture 15", "Of 64 maps",
        "'IMG_0034.jpg' is not a picture", audits.PROVENANCE["model_digest"], "versions torch",
    ):  # fmt: skip
        assert part in page.text


def test_tables_without_rows_are_left_out_and_each_playbook_has_a_line(rendered):
    given = audits.cheating()
    outcome = replace(given.outcomes[0], tables={"Empty one": [], "Something": [{"a": 1}]})
    asked = [{"key": "shortcuts", "parameters": {"scanned": 96, "names": []}}]
    given = replace(given, outcomes=(outcome,), provenance={**given.provenance, "playbooks": asked})
    page = Page(rendered(given))
    assert "Something" in page.text
    assert "Empty one" not in page.text
    assert "playbook shortcuts scanned 96, names none" in page.text


def test_a_figure_and_its_per_cent_stay_on_one_line(rendered):
    assert "38\N{NO-BREAK SPACE}%" in rendered(audits.cheating())


def test_ids_are_unique_headings_in_order_and_inner_links_lead_somewhere(rendered):
    page = Page(rendered(audits.cheating()))
    assert max(Counter(page.ids).values()) == 1
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)


def test_hostile_names_do_nothing(rendered):
    dataset = Dataset(
        [
            Row(
                i,
                f"{HOSTILE}{i}\udcff\u202e.png",
                audits.lesion(i, ruler=True),
                HOSTILE,
                None,
                {HOSTILE: HOSTILE},
            )
            for i in range(4)
        ],
        HOSTILE,
    )
    survey = audits.survey(dataset=dataset, of=audits.model((HOSTILE, "😀" * 400)))
    nasty = audits.finding(
        rows=(0, 1, 2), label=HOSTILE, claim=HOSTILE * 3, key=HOSTILE, details={HOSTILE: HOSTILE}
    )
    table = {HOSTILE: [{HOSTILE: HOSTILE, "n": 3}]}
    outcome = Outcome("shortcuts", HOSTILE, (nasty,), tables=table, details={HOSTILE: [HOSTILE]})
    page = Page(text := rendered(Audit(survey, [outcome], [HOSTILE], {HOSTILE: {HOSTILE: HOSTILE}})))
    assert page.tags["script"] == 1
    assert page.tags["img"] == text.count("data:image/")
    assert HOSTILE in page.text


def test_no_shortcut_found_says_what_would_have_been(rendered):
    page = Page(rendered(Audit(audits.survey(), [audits.shortcuts()])))
    assert "No shortcut found." in page.text
    assert "One that moves the score by 0.4 in 5 % of a class's pictures would have been." in page.text
    assert "findings" not in page.ids


def test_what_was_not_checked_is_not_called_fine(rendered):
    assert "This was not checked." in Page(rendered(Audit(audits.survey(), [audits.shortcuts()]))).text


def test_a_picture_that_vanished_leaves_a_placeholder(rendered, tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for number, path in enumerate(paths):
        Image.fromarray(audits.lesion(number, ruler=True)).save(path)
    survey = audits.survey(dataset=Dataset.of(paths, ["malignant"] * 4))
    paths[1].unlink()
    paths[2].write_bytes(b"no picture")
    page = Page(rendered(Audit(survey, [audits.shortcuts(audits.finding(rows=(0, 1, 2, 3)))])))
    assert page.text.count("The picture cannot be shown now.") == 2
    assert "There is no file" in page.text
    assert "3.png" in page.links


def test_a_row_that_was_never_read_is_named(rendered):
    survey = audits.survey()
    survey = replace(survey, number=survey.number[:8], label=survey.label[:8], predicted=survey.predicted[:8])
    page = Page(rendered(Audit(survey, [audits.shortcuts(audits.finding(rows=(12, 1)))])))
    assert "could not be read when the audit was made" in page.text
    assert "not read" in page.text


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_pictures_without_labels_or_masks(rendered, channels):
    pictures_ = [np.full((20, 30), 9 * number, dtype=np.uint8) for number in range(4)]
    survey = audits.survey(dataset=Dataset.of(pictures_), of=audits.model(None, channels))
    bare = audits.finding(rows=(0, 3), masks=None, arrays={}, label=None, prevalence=None, effects=())
    page = Page(rendered(Audit(survey, [audits.shortcuts(bare)])))
    assert "4 pictures, none with a label of the model's." in page.text
    assert page.tags["img"] == 5  # the lead, two pictures, two maps


def test_inputs_that_are_no_pictures(rendered):
    import torch

    survey = audits.survey(dataset=Dataset.of([torch.zeros(5, 8, 8)] * 3))
    assert "This input is no picture." in rendered(
        Audit(survey, [audits.shortcuts(audits.finding(rows=(0,)))])
    )


def test_nothing_at_all(rendered):
    page = Page(rendered(Audit(audits.survey(dataset=Dataset([])), (), ["No picture could be read."], {})))
    assert "Nothing was checked." in page.text
    assert "No provenance was recorded." in page.text


def test_a_thousand_classes_and_long_tables_are_bounded(rendered):
    labels = [f"class number {number}" for number in range(1000)]
    rows = [{"class": label, "accuracy": 0.5, "inputs": 10} for label in labels]
    outcome = Outcome(
        "confusions", "Many.", tables={"By class": rows}, details={str(n): n for n in range(5000)}
    )
    survey = audits.survey(of=audits.model(labels))
    text = rendered(Audit(survey, [outcome], [f"problem {n}" for n in range(5000)]))
    page = Page(text)
    assert len(text) < MEGABYTE
    assert "(40 of 1,000 rows)" in page.text
    assert "1,000: class number 0" in page.text
    assert "4,900 more are in findings.json" in page.text


# ---- size, memory, safety


class Drawn:
    """Ten thousand rows that are drawn when asked for; it counts how often."""

    def __init__(self, count):
        self.count, self.asked = count, 0

    def __len__(self):
        return self.count

    def __getitem__(self, number):
        if number >= self.count:
            raise IndexError(number)
        self.asked += 1
        noise = np.random.default_rng(number).integers(0, 256, (96, 96, 3), dtype=np.uint8)
        return Row(number, f"{number}.png", noise, audits.LABELS[number % 2])


def test_thirty_findings_in_ten_thousand_pictures_stay_under_five_megabytes(rendered):
    few = audits.survey(16)
    rows = Drawn(10_000)
    tiled = {name: np.tile(getattr(few, name), 625) for name in ("label", "predicted")}
    survey = replace(
        few, dataset=Dataset(rows), number=np.arange(10_000), **tiled,
        scores=np.tile(few.scores, (625, 1)), maps=np.random.default_rng(0).random((10_000, 6, 6)),
    )  # fmt: skip
    masks = np.ones((12, 96, 96), dtype=bool)
    found = [audits.finding(key=str(n), rows=tuple(range(n, 9000, 30)), masks=masks) for n in range(30)]
    text = rendered(Audit(survey, [audits.shortcuts(*found)]))
    assert len(text.encode()) < 5 * MEGABYTE
    assert text.count('class="card ') == 30
    assert text.count("data:image/webp") > 200
    assert rows.asked < 30 * 50  # the listed and the shown, never all
    assert "the first 24 of 300" in Page(text).text


def test_memory_does_not_grow_with_the_findings_pictures(tmp_path):
    survey = audits.survey(dataset=Dataset(Drawn(400)))

    def peak(count):
        found = [
            audits.finding(key=str(n), rows=tuple(range(n, n + 6)), masks=None, arrays={})
            for n in range(count)
        ]
        tracemalloc.start()
        render_audit(Audit(survey, [audits.shortcuts(*found)]), tmp_path / "report.html")
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(1)  # imports and templates
    few, many = peak(2), peak(10)
    written = (tmp_path / "report.html").stat().st_size
    assert many - few < 0.3 * written


def test_more_findings_than_are_shown_are_counted(rendered):
    found = [audits.finding("low", str(n), rows=(), masks=None, arrays={}) for n in range(75)]
    text = rendered(Audit(audits.survey(), [audits.shortcuts(*found)]))
    assert text.count('class="card ') == 60
    assert "15 further findings" in text
    assert set(re.findall('href="#(finding-[0-9]+)"', text)) <= set(re.findall('id="(finding-[0-9]+)"', text))


def test_the_same_audit_gives_the_same_page(rendered):
    assert rendered(audits.cheating()) == rendered(audits.cheating())


def test_a_stopped_report_leaves_the_old_one_and_nothing_else(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")

    class Broken(Drawn):
        def __getitem__(self, number):
            if self.asked > 10:
                raise KeyboardInterrupt
            return super().__getitem__(number)

    survey = audits.survey(dataset=Dataset(Drawn(16)))
    with pytest.raises(KeyboardInterrupt):
        render_audit(
            Audit(replace(survey, dataset=Dataset(Broken(16))), [audits.shortcuts(audits.finding())]), path
        )
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(UnderhoodError, match="No such file or directory"):
        render_audit(audits.cheating(), tmp_path / "nowhere" / "report.html")


# ---- two versions


def comparison(**changes):
    old, new = audits.finding(key="ruler"), audits.finding("medium", key="ink")
    weaker = replace(old, effects=(audits.effect(value=0.6, low=0.4, high=0.8),))
    given = Comparison(
        "audit-v1", "audit-v2", ("derm-v1", "derm-v2"), 2000,
        Accuracy(2000, 0.91, 0.94, 0.03, 0.01, 0.05, 0.002),
        (Changed(HOSTILE, "malignant", "benign", "malignant"),) * 300,
        gone=(audits.finding("high", key="corner"),), new=(new,),
        stayed=(Stayed(old, weaker, audits.effect(value=-1.5, low=-1.9, high=-1.1, control=None)),),
    )  # fmt: skip
    return replace(given, **changes)


@pytest.fixture
def compared(tmp_path):
    def rendering(given):
        render_comparison(given, tmp_path / "comparison.html")
        return Page((tmp_path / "comparison.html").read_text(encoding="utf-8"))

    return rendering


def test_a_comparison_says_what_is_new_what_stayed_and_what_is_gone(compared):
    page = compared(comparison())
    for part in (
        "The new version has 1 moderate finding the old one had not.", "1 new, 1 stayed, 1 gone; 300",
        "91.0 % right before, 94.0 % after: +3.0 points (+1.0 to +5.0).", "weaker",
        "the score falls by, before", "the score falls by, after", "0.600 log-odds",
        "The first 40 of 300.", HOSTILE,
    ):  # fmt: skip
        assert part in page.text
    assert page.tags["script"] == 1


@pytest.mark.parametrize(
    ("changes", "headline"),
    [
        ({"new": (), "stayed": ()}, "What was found in the old version is gone."),
        ({"new": ()}, "1 of 2 findings are gone; nothing new came."),
        ({"new": (), "gone": ()}, "The new version has the findings of the old one."),
        (
            {"new": (), "gone": (), "stayed": (), "accuracy": None, "changed": ()},
            "Nothing was found in either version.",
        ),
    ],
)
def test_the_headline_of_a_comparison(compared, changes, headline):
    page = compared(comparison(**changes))
    assert headline in page.text
    assert max(Counter(page.ids).values()) == 1


def test_a_difference_that_chance_may_account_for_is_said_so(compared):
    page = compared(comparison(accuracy=Accuracy(100, 0.90, 0.91, 0.01, -0.02, 0.04, 0.4)))
    assert "+1.0 points (−2.0 to +4.0). Chance alone may account for that." in page.text
