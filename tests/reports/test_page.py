"""The report as text: complete, inert, small, and written whole or not at all."""

import gc
import re
import tracemalloc
import weakref
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.reports import fakes
from underhood.errors import InvalidArgument, UnderhoodError
from underhood.methods.explanation import Explanations, Subject
from underhood.models.prediction import Prediction
from underhood.reports import encode, render_html, write_html

EVIL = "</script><img src=x onerror=alert(1)>\"'&{{ 7*7 }}"


class Elements(HTMLParser):
    """All tags with their attributes, and the text of each element kind."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def of(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def packed(page: str) -> list[str]:
    return re.findall(r'<script type="text/plain" class="values">([^<]*)</script>', page)


def test_names_and_labels_of_any_kind_are_inert():
    item = fakes.explanation(
        subject=Subject(EVIL, EVIL, fakes.picture(32)),
        prediction=Prediction(np.array([1.0, 2.0], dtype=np.float32), (EVIL, EVIL)),
        target=EVIL,
        parameters={EVIL: EVIL, "baseline": EVIL},
        diagnostics={EVIL: EVIL},
        card=fakes.card(name=EVIL, answers=EVIL, misleads=EVIL, source=EVIL),
        no_signal=EVIL,
        provenance={EVIL: EVIL, "notes": [EVIL]},
        method=EVIL,
    )
    clean = Elements(render_html([fakes.explanation(no_signal="x")], {"a": "b"}, "c"))
    dirty = Elements(render_html([item], {EVIL: EVIL}, EVIL))
    assert not [a for _, a in dirty.found if any(name.startswith("on") for name in a)]
    assert len(dirty.of("img")) == len(clean.of("img"))
    assert len(dirty.of("script")) == len(clean.of("script"))
    assert "49" not in {text.strip() for text in re.findall(r">([^<]*)<", render_html([item]))}


def test_nothing_is_loaded_from_elsewhere():
    page = Elements(render_html(fakes.six_methods(Subject("a", "b", fakes.picture()))))
    places = [a[key] for _, a in page.found for key in ("src", "href", "action") if a.get(key)]
    assert places
    assert all(place.startswith(("data:image/", "#")) for place in places)
    [policy] = [a["content"] for a in page.of("meta") if "http-equiv" in a]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy


def test_six_maps_of_a_noisy_picture_stay_below_a_megabyte():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (224, 224, 3), dtype=np.uint8)
    subject = Subject("noise.png", "0" * 64, pixels)
    maps = [
        fakes.explanation(rng.uniform(-1, 1, (224, 224)), subject=subject, method=f"m{k}") for k in range(6)
    ]
    assert len(render_html(maps).encode()) < 1_000_000


@pytest.mark.parametrize(("targets", "columns"), [(2, "by-2"), (3, "by-3"), (4, "by-2"), (5, None)])
def test_maps_of_several_targets_stand_side_by_side(targets, columns):
    names = [f"class {i}" for i in range(targets)]
    page = render_html(
        fakes.explanation(target=name, method=key, card=fakes.card(key))
        for name in names
        for key in ("Grad-CAM", "LayerCAM")
    )
    headings = re.findall(r"<h4>([^<]*)</h4>", page)
    assert headings == [f"{key}: {name}" for key in ("Grad-CAM", "LayerCAM") for name in names]
    [answers] = [a["class"] for _, a in Elements(page).found if "answers" in a.get("class", "").split()]
    assert re.findall(r"by-\d", answers) == ([columns] if columns else [])
    contents = re.findall(r'<a href="#map-[^"]*">([^<]*)</a>', page)
    assert contents == (["Grad-CAM", "LayerCAM"] if targets > 3 else [])


def test_the_page_carries_the_values():
    item = fakes.explanation(fakes.blob(48, 0.3, 0.6, 0.2))
    [text] = packed(render_html([item]))
    back = encode.unpack(text, (48, 48)) / 127 * encode.scale(item.heatmap()).limit
    inside = np.abs(item.heatmap()) <= encode.scale(item.heatmap()).limit
    assert np.abs(back - item.heatmap())[inside].max() < 0.004


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_map_with_nan_or_infinity_is_refused(bad):
    values = np.ones((8, 8), dtype=np.float32)
    values[2, 2] = bad
    with pytest.raises(InvalidArgument, match=r"Grad-CAM for 'both.png' has 1 values that are NaN"):
        render_html([fakes.explanation(values)])


def test_a_map_that_is_no_picture_becomes_bars():
    page = render_html([fakes.explanation(np.array([0.5, -0.25]), subject=Subject("row", "x"))])
    assert not packed(page)
    assert page.count('<rect class="plus"') == page.count('<rect class="minus"') == 1


def test_a_map_without_signal_says_so_and_why():
    page = render_html([fakes.explanation(no_signal="2.1 standard errors, 3 are needed")])
    assert "No signal above noise:</b> 2.1 standard errors, 3 are needed." in page


def test_a_map_of_zeros_has_no_signal():
    assert "every value is zero" in render_html([fakes.explanation(np.zeros((8, 8)))])


def test_questions_stand_in_their_order_with_their_sentence():
    page = render_html(fakes.six_methods(Subject("a", "b", fakes.picture(64)), 64))
    kinds = re.findall(r'<span class="kind">(\w+)</span> ([^<]+)</h3>', page)
    assert [kind for kind, _ in kinds] == ["sensitivity", "attribution", "reconstruction", "focus"]
    assert kinds[0][1] == "Where would a small change of the input change the score most?"


def test_a_warning_stands_with_the_figure_and_few_maps_need_no_list():
    page = render_html([fakes.explanation(card=fakes.card(warning="Fails the randomisation test."))])
    assert '<p class="warning">Fails the randomisation test.</p>' in page
    assert 'class="contents"' not in page
    assert "<summary><h3>" not in page


def test_the_index_shows_the_base_name_of_a_long_path():
    long = "/a/very/long/folder/with/many/parts/and/more/of/them/photo.png"
    items = [fakes.explanation(subject=Subject(n, n, fakes.picture(32))) for n in (long, "b.png")]
    page = render_html(items)
    assert f'<span class="name" title="{long}">photo.png</span>' in page


def test_the_same_explanations_give_the_same_page():
    assert render_html([fakes.explanation()]) == render_html([fakes.explanation()])


def test_failures_that_the_explanations_carry_are_listed():
    page = render_html(Explanations([fakes.explanation()], {"broken.jpg": "ends early"}))
    assert "broken.jpg" in page
    assert "ends early" in page


def test_nothing_to_write_is_an_error():
    with pytest.raises(InvalidArgument, match="no explanation"):
        render_html([])


def test_failures_alone_make_a_report():
    assert "ends early" in render_html([], {"broken.jpg": "ends early"})


def test_two_models_on_one_input_have_their_own_sections():
    first = fakes.explanation()
    second = replace(first, provenance={**first.provenance, "model_digest": "other"})
    assert render_html([first, second]).count('class="input"') == 2


def stream(count: int, size: int = 64):
    rng = np.random.default_rng(0)
    for index in range(count):
        subject = Subject(f"{index}.png", f"{index}", fakes.picture(size, index))
        yield fakes.explanation(rng.normal(size=(size, size)), subject=subject)


def test_written_report_equals_rendered_report(tmp_path):
    write_html(stream(3), tmp_path / "report.html", {"x": "y"}, "underhood explain")
    written = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert written == render_html(stream(3), {"x": "y"}, "underhood explain")


def test_failures_found_on_the_way_are_listed(tmp_path):
    failures: dict[str, str] = {}

    def work():
        yield from stream(1)
        failures["late.png"] = "found on the way"

    for given in (failures, lambda: failures):
        failures.clear()
        write_html(work(), tmp_path / "report.html", given)
        assert "found on the way" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_explanations_written_are_not_kept(tmp_path):
    alive: list[weakref.ref] = []
    most = 0

    def work():
        nonlocal most
        for item in stream(40):
            alive.append(weakref.ref(item.subject))
            gc.collect()
            most = max(most, sum(ref() is not None for ref in alive))
            yield item

    write_html(work(), tmp_path / "report.html")
    assert most <= 6


def test_memory_does_not_grow_with_the_inputs(tmp_path):
    def peak(count: int) -> int:
        tracemalloc.start()
        write_html(stream(count), tmp_path / "report.html")
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(2)  # imports and templates
    few, many = peak(8), peak(48)
    written = (tmp_path / "report.html").stat().st_size
    assert many - few < 0.3 * written * 40 / 48


@pytest.mark.parametrize("problem", [ValueError("broken"), KeyboardInterrupt()])
def test_a_stopped_report_leaves_the_old_one_and_nothing_else(tmp_path, problem):
    path = tmp_path / "report.html"
    path.write_text("old")

    def work():
        yield from stream(2)
        raise problem

    with pytest.raises(type(problem)):
        write_html(work(), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_sentence_and_the_old_report_stays(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("underhood.reports.page.pieces", full)
    with pytest.raises(UnderhoodError, match=r"report\.html.*No space left on device"):
        write_html(stream(1), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(UnderhoodError, match="No such file or directory"):
        write_html(stream(1), tmp_path / "nowhere" / "report.html")
