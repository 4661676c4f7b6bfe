"""The report as people use it, in a real browser without a network."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from scripts.screenshot import FLAGS
from tests.reports import fakes
from tests.reports.fakes import verdict
from underhood.methods.explanation import Subject
from underhood.reports import encode, write_html

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium here to open the report in")

SIZE = 56
READBACK = "willReadFrequently"  # a hint about how often these tests read a canvas
PIXELS = """canvas => {
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return [...data];
}"""


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def items():
    return list(fakes.six_methods(Subject("both.png", "b7" * 32, fakes.picture(SIZE)), SIZE))


@pytest.fixture(scope="module")
def report(items, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_html(items, path, command="underhood explain both.png")
    return path


@pytest.fixture
def opened(browser):
    """Opens a report and waits for its maps; at the end nothing may have gone wrong in it."""
    trouble: list[str] = []
    pages = []

    def opening(path, wait=6, **options):
        page = browser.new_page(**({"viewport": {"width": 1280, "height": 900}} | options))
        pages.append(page)
        page.on("console", lambda message: READBACK in message.text or trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("dialog", lambda dialog: trouble.append(f"dialog {dialog.message}"))
        page.on(
            "request",
            lambda request: (
                request.url.startswith(("file://", "data:", "blob:"))
                or trouble.append(f"asked for {request.url}")
            ),
        )
        page.goto(path.as_uri())
        for figure in page.locator(".panel:has(canvas)").all()[:wait]:
            figure.locator(":scope[data-state]").wait_for()
        return page

    yield opening
    for page in pages:
        page.close()
    assert trouble == []


def panel(page, name):
    return page.locator("figure.panel", has=page.locator(f"h4:text-is('{name}')"))


def pixels(figure):
    return np.array(figure.locator(".stage canvas").evaluate(PIXELS)).reshape(SIZE, SIZE, 4)


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)
    settle(page)


def settle(page):
    """Let the frame that repaints pass."""
    page.evaluate("() => new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")


def point(page, figure, row, col):
    box = figure.locator(".stage").bounding_box()
    x, y = (np.array([col, row]) + 0.5) / SIZE
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])


def value_read(figure):
    text = figure.locator(".readout b").inner_text()
    digits = str.maketrans("−⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "--0123456789")
    return float(re.sub("×10", "e", text.lstrip("≤≥ ")).translate(digits))


def test_every_map_is_painted_and_nothing_complains(opened, report):
    page = opened(report)
    assert page.locator("figure.panel[data-state=painted]").count() == 5
    assert page.locator("figure.panel[data-state=flat]").count() == 1
    colourful = np.ptp(pixels(panel(page, "Grad-CAM"))[..., :3], axis=2)
    assert colourful.max() > 60


def test_red_is_positive_and_blue_is_negative(opened, report, items):
    page = opened(report)
    painted = pixels(panel(page, "Occlusion"))
    heatmap = items[3].heatmap()
    high = np.unravel_index(heatmap.argmax(), heatmap.shape)
    low = np.unravel_index(heatmap.argmin(), heatmap.shape)
    assert painted[high][0] > painted[high][2]
    assert painted[low][2] > painted[low][0]


@pytest.mark.parametrize("name", ["Saliency", "Integrated Gradients", "Occlusion"])
@pytest.mark.parametrize("place", [(17, 30), (44, 33), (0, 0), (55, 55)])
def test_hover_tells_the_value(opened, report, items, name, place):
    row, col = place
    page = opened(report)
    figure = panel(page, name)
    figure.locator(".stage").scroll_into_view_if_needed()
    point(page, figure, row, col)
    heatmap = next(item for item in items if item.card.name == name).heatmap()
    limit = encode.scale(heatmap).limit
    true = float(np.clip(heatmap[row, col], -limit, limit))
    assert f"row {row} col {col}" in figure.locator(".readout").inner_text()
    assert value_read(figure) == pytest.approx(true, rel=0.005, abs=0.5 * limit / 127 + 1e-12)
    steps = np.abs(encode.quantise(heatmap, limit).astype(int))
    step = steps[row, col]
    rank = 100 * ((steps > step).mean() + (steps == step).mean() / 2)
    said = figure.locator(".readout span").last.inner_text()
    assert float(re.findall(r"[\d.]+", said)[0]) == pytest.approx(rank, abs=0.06)


def test_one_crosshair_stands_in_all_maps_of_an_input(opened, report):
    page = opened(report)
    point(page, panel(page, "Saliency"), 20, 10)
    tops = page.locator(".across").evaluate_all("all => all.map(a => a.style.top)")
    assert len(tops) == 7
    assert len(set(tops)) == 1
    assert page.locator(".stage.pointed").count() == 7
    assert "RGB" in page.locator(".subject .readout").inner_text()


def test_threshold_keeps_the_share_it_says(opened, report, items):
    page = opened(report)
    figure = panel(page, "Integrated Gradients")
    page.locator("input[name=threshold]").fill("0.5")
    settle(page)
    assert page.locator("#threshold-said").inner_text() == "top 25.0 %"
    said = re.search(r"([\d.]+) % of pixels shown", figure.locator(".kept").inner_text())
    shown = np.ptp(pixels(figure)[..., :3], axis=2) > 0
    assert float(said[1]) == pytest.approx(25, abs=2)
    assert shown.mean() <= 0.27
    heatmap = np.abs(items[2].heatmap())
    assert heatmap[shown].min() >= np.quantile(heatmap, 0.73)


def test_threshold_by_value(opened, report, items):
    page = opened(report)
    figure = panel(page, "Occlusion")
    page.locator("select[name=mode]").select_option("value")
    page.locator("input[name=threshold]").fill("0.5")
    settle(page)
    limit = encode.scale(items[3].heatmap()).limit
    shown = np.ptp(pixels(figure)[..., :3], axis=2) > 0
    assert np.abs(items[3].heatmap())[shown].min() >= 0.49 * limit


def test_sign_hides_the_other_sign(opened, report, items):
    page = opened(report)
    figure = panel(page, "Occlusion")
    heatmap = items[3].heatmap()
    strong = encode.scale(heatmap).limit / 4
    press(page, "2")
    chroma = np.ptp(pixels(figure)[..., :3], axis=2)
    assert chroma[heatmap < -strong].max() == 0
    assert chroma[heatmap > strong].min() > 0
    press(page, "3")
    chroma = np.ptp(pixels(figure)[..., :3], axis=2)
    assert chroma[heatmap > strong].max() == 0
    assert chroma[heatmap < -strong].min() > 0


def test_magnitude_has_the_colours_of_magnitudes(opened, report):
    page = opened(report)
    press(page, "4")
    figure = panel(page, "Occlusion")
    assert figure.locator(".low").inner_text() == "0"
    assert not figure.locator(".high").inner_text().startswith("+")


@pytest.mark.parametrize(
    ("field", "choice", "name"),
    [
        ("signed", "PuOr", "Occlusion"),
        ("magnitude", "cividis", "Grad-CAM"),
        ("magnitude", "inferno", "Saliency"),
    ],
)
def test_another_colour_map_repaints(opened, report, field, choice, name):
    page = opened(report)
    before = pixels(panel(page, name))
    page.locator(f"select[name={field}]").select_option(choice)
    settle(page)
    assert (pixels(panel(page, name)) != before).any()


def test_opacity_zero_leaves_the_grey_picture(opened, report):
    page = opened(report)
    page.locator("input[name=opacity]").fill("0")
    settle(page)
    assert np.ptp(pixels(panel(page, "Occlusion"))[..., :3], axis=2).max() == 0


def test_without_the_picture_the_map_is_alone_and_solid(opened, report):
    page = opened(report)
    press(page, "b", "b")
    painted = pixels(panel(page, "Grad-CAM"))
    assert (painted[..., 3] == 255).all()
    assert painted[0, 0].tolist()[:3] == [0x44, 0x01, 0x54]  # viridis at zero


def test_a_shared_scale_holds_among_maps_of_one_unit(opened, tmp_path):
    weak, strong = fakes.blob(SIZE, 0.3, 0.3, 0.1), 10 * fakes.blob(SIZE, 0.7, 0.7, 0.1)
    both = [
        fakes.explanation(values, card=fakes.card(name, "attribution", unit="score"), method=name)
        for name, values in (("Weak", weak), ("Strong", strong))
    ]
    write_html(both, tmp_path / "report.html")
    page = opened(tmp_path / "report.html")
    highs = [panel(page, name).locator(".high") for name in ("Weak", "Strong")]
    assert highs[0].inner_text() != highs[1].inner_text()
    press(page, "g")
    assert highs[0].inner_text() == highs[1].inner_text()
    assert "shared by 2 maps" in panel(page, "Weak").locator(".scope").inner_text()


def test_without_smoothing_an_upsampled_map_shows_its_cells(opened, report):
    page = opened(report)
    figure = panel(page, "Grad-CAM")
    press(page, "b", "b", "s")
    painted = pixels(figure)
    cells = painted.reshape(7, SIZE // 7, 7, SIZE // 7, 4)
    assert (cells == cells[:, :1, :, :1]).all()
    assert len(np.unique(cells[:, 0, :, 0].reshape(49, 4), axis=0)) > 5
    assert "upsampled from 7 × 7" in figure.locator(".scale").inner_text()


def test_keys_move_the_crosshair(opened, report, items):
    page = opened(report)
    figure = panel(page, "Occlusion")
    figure.locator(".stage").focus()
    press(page, "ArrowRight", "ArrowDown", "Shift+ArrowUp")
    assert "row 19 col 29" in figure.locator(".readout").inner_text()
    press(page, "m")
    heatmap = np.abs(items[3].heatmap())
    row, col = map(int, re.findall(r"\d+", figure.locator(".readout span").first.inner_text()))
    assert heatmap[row, col] >= encode.scale(heatmap).limit * 126 / 127


def test_keys_steer_and_reset(opened, report):
    page = opened(report)
    values = "f => Object.fromEntries(new FormData(f))"
    before = page.locator("#controls").evaluate(values)
    press(page, "]", "]", "t", "3", ",", "c", "g", "b", "s")
    during = page.locator("#controls").evaluate(values)
    assert during == {
        "sign": "minus",
        "threshold": "0.1",
        "mode": "value",
        "opacity": "0.8",
        "scale": "input",
        "signed": "PuOr",
        "magnitude": "cividis",
        "picture": "colour",
    }
    press(page, "r")
    assert page.locator("#controls").evaluate(values) == before


def test_question_mark_opens_help(opened, report):
    page = opened(report)
    press(page, "?")
    assert page.locator("#help").is_visible()
    press(page, "Escape")
    assert not page.locator("#help").is_visible()


def test_a_map_without_signal_is_flat_until_it_is_asked_for(opened, report):
    page = opened(report)
    figure = panel(page, "SmoothGrad")
    assert "no signal above noise" in figure.locator(".flat").inner_text()
    assert np.ptp(pixels(figure)[..., :3], axis=2).max() == 0
    figure.locator(".anyway").click()
    assert np.ptp(pixels(figure)[..., :3], axis=2).max() > 30
    assert figure.locator(".flat").is_visible()
    figure.locator(".anyway").click()
    assert np.ptp(pixels(figure)[..., :3], axis=2).max() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_hangs_over_the_side(opened, report, width, scheme):
    page = opened(report, viewport={"width": width, "height": 844}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(("width", "rows"), [(1280, 2), (390, 4)])
def test_the_maps_of_two_targets_share_a_row_where_there_is_room(opened, tmp_path, width, rows):
    both = [
        fakes.explanation(target=target, method=key, card=fakes.card(key))
        for target in ("dog", "cat")
        for key in ("Grad-CAM", "LayerCAM")
    ]
    write_html(both, tmp_path / "report.html")
    page = opened(tmp_path / "report.html", wait=4, viewport={"width": width, "height": 844})
    tops = [round(box["y"]) for box in (s.bounding_box() for s in page.locator(".panel .stage").all())]
    assert len(set(tops)) == rows
    assert tops == sorted(tops)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_long_names_do_not_widen_the_page(opened, tmp_path):
    name = "x" * 300
    long = fakes.explanation(
        subject=Subject(name, "b7" * 32, fakes.picture(32)),
        target=name,
        parameters={name: name},
        no_signal=name,
        provenance={name: name},
    )
    write_html([long], tmp_path / "report.html", {name: name}, name)
    page = opened(tmp_path / "report.html", viewport={"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_names_that_are_markup_do_nothing(opened, tmp_path):
    evil = "</script><img src=x onerror=alert(1)><script>alert(2)</script>"
    item = fakes.explanation(
        subject=Subject(evil, evil, fakes.picture(32)), method=evil, target=evil, no_signal=evil
    )
    write_html([item], tmp_path / "report.html", {evil: evil}, evil)
    page = opened(tmp_path / "report.html")
    assert page.locator("main h2").inner_text() == evil


def test_of_many_methods_a_list_leads_to_each_and_questions_fold(opened, tmp_path):
    questions = ("sensitivity", "attribution", "reconstruction", "focus")
    warned = {"warning": "Fails the randomisation test."}
    maps = [
        fakes.explanation(
            fakes.blob(SIZE, 0.5, 0.5, 0.2),
            method=f"m{i}",
            card=fakes.card(f"Method {i}", questions[i % 4], **(warned if i == 2 else {})),
        )
        for i in range(28)
    ]
    write_html(maps, tmp_path / "report.html")
    page = opened(tmp_path / "report.html", wait=28, viewport={"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator(".contents a").count() == 28
    assert page.locator(".contents p").count() == 4
    assert panel(page, "Method 2").locator(".warning").is_visible()
    page.locator("details.question > summary").nth(3).click()
    last = panel(page, "Method 27")
    assert not last.is_visible()
    page.locator(".contents a", has_text="Method 27").click()
    assert last.is_visible()
    assert last.evaluate("f => Math.abs(f.getBoundingClientRect().top) < innerHeight / 2")


def test_words_are_there_without_scripts(browser, report):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    text = page.locator("body").inner_text()
    for words in ("scripts are", "bull mastiff", "64.3\N{NO-BREAK SPACE}%", "Beware", "How to repeat it"):
        assert words in text
    assert not page.locator("#controls").is_visible()
    context.close()


def test_of_many_inputs_only_the_near_ones_are_painted(opened, tmp_path):
    subjects = [Subject(f"{i}.png", str(i), fakes.picture(SIZE, i)) for i in range(70)]
    maps = (fakes.explanation(fakes.blob(SIZE, 0.5, 0.5, 0.2), subject=s) for s in subjects)
    write_html(maps, tmp_path / "report.html")
    page = opened(tmp_path / "report.html", wait=1)
    assert page.locator("#index li").count() == 70
    assert 0 < page.locator("figure[data-state]").count() < 20
    page.locator("#index a").nth(60).click()
    page.locator("#input-61 figure[data-state=painted]").wait_for()
    page.locator("#input-1 figure:not([data-state])").wait_for(state="attached")


@pytest.fixture(scope="module")
def judged(items, tmp_path_factory):
    """Six maps: one is not to be trusted, one contested, the others corroborated."""
    words = ["not to be trusted", "contested", *["corroborated"] * 4]
    path = tmp_path_factory.mktemp("judged") / "report.html"
    write_html([replace(i, verdict=verdict(w)) for i, w in zip(items, words, strict=True)], path)
    return path


def test_a_map_not_to_be_trusted_is_faded_until_asked_for(opened, judged):
    page = opened(judged)
    figure = panel(page, "Saliency")
    across, button = figure.locator(".words-across"), figure.locator(".plainly")
    style = "e => getComputedStyle(e).filter"
    assert across.is_visible()
    assert "opacity" in figure.locator(".stage canvas").evaluate(style)
    button.focus()
    press(page, "Enter")
    assert not across.is_visible()
    assert figure.locator(".stage canvas").evaluate(style) == "none"
    assert button.get_attribute("aria-pressed") == "true"
    assert panel(page, "Grad-CAM").locator(".words-across").count() == 0


def test_the_figures_open_by_key_and_are_printed_where_they_are_open(opened, judged):
    page = opened(judged)
    evidence = panel(page, "Occlusion").locator(".evidence details")
    evidence.locator("summary").focus()
    press(page, "Enter")
    assert evidence.get_attribute("open") is not None
    assert evidence.locator(".figures").is_visible()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert evidence.locator(".figures").is_visible()
    assert not panel(page, "Saliency").locator(".figures").is_visible()
    assert panel(page, "Saliency").locator("figcaption .details").is_visible()
    assert panel(page, "Saliency").locator(".words-across").is_visible()
    assert not panel(page, "Saliency").locator(".plainly").is_visible()


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_of_a_verdict_is_cut_off(opened, judged, width):
    page = opened(judged, viewport={"width": width, "height": 800})
    for summary in page.locator(".evidence summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wider = "e => e.scrollWidth > e.clientWidth + 1"
    assert not any(e.evaluate(wider) for e in page.locator(".evidence, .trust").all())
