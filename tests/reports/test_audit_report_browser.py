"""The page of an audit as people use it: in a real browser, by keyboard, by screen reader, on paper."""

import shutil

import pytest

from scripts.screenshot import FLAGS
from tests.reports import audits
from tests.reports.audits import Audit
from tests.reports.test_audit_report import HOSTILE, comparison
from underhood.playbooks.finding import Outcome
from underhood.reports.audit import render_audit, render_comparison

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe_api = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium here to open the report in")

WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


def nasty() -> Audit:
    """Names that are long, hostile and wide, in every place there is one."""
    long = HOSTILE + "😀" * 60 + "x" * 300
    found = audits.finding(claim=long, label=long, next_step=long, ruled_out=long, details={long: long})
    wide = [{f"column {n} {long}": long for n in range(12)}]
    outcome = Outcome(
        "shortcuts", long, (found, audits.finding("low", "b")), {long: wide}, details={long: long}
    )
    return Audit(audits.survey(of=audits.model((long, long + "2"))), [outcome], [long], {long: long})


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    kinds = {
        "cheating": audits.cheating(),
        "clean": Audit(audits.survey(), (audits.shortcuts(), audits.trust())),
        "nasty": nasty(),
    }
    for name, audit in kinds.items():
        render_audit(audit, folder / f"{name}.html")
    render_comparison(comparison(), folder / "comparison.html")
    return {path.stem: path for path in folder.iterdir()}


@pytest.fixture
def opened(browser):
    """Opens a page; at the end nothing may have gone wrong in it."""
    trouble: list[str] = []
    pages = []

    def opening(path, **options):
        page = browser.new_page(**({"viewport": WIDE} | options))
        pages.append(page)
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("dialog", lambda dialog: trouble.append(f"dialog {dialog.message}"))
        page.on("request", lambda r: r.url.startswith(("file:", "data:")) or trouble.append(r.url))
        page.goto(path.as_uri())
        return page

    yield opening
    for page in pages:
        page.close()
    assert trouble == []


def unfold(page):
    page.evaluate("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")


@pytest.mark.parametrize(
    ("name", "size", "scheme"),
    [("cheating", size, scheme) for size in (WIDE, NARROW) for scheme in ("light", "dark")]
    + [(name, *look) for name in ("clean", "comparison") for look in ((WIDE, "dark"), (NARROW, "light"))],
)
def test_axe_finds_nothing_serious(opened, reports, name, size, scheme):
    page = opened(reports[name], viewport=size, color_scheme=scheme, bypass_csp=True)
    unfold(page)
    found = axe_api.Axe().run(page).response["violations"]
    assert [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in ("serious", "critical")] == []


@pytest.mark.parametrize("name", ["cheating", "clean", "nasty", "comparison"])
@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_nothing_hangs_over_the_side(opened, reports, name, size):
    page = opened(reports[name], viewport=size)
    unfold(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


@pytest.mark.parametrize("size", [WIDE, NARROW])
@pytest.mark.parametrize("name", ["cheating", "clean"])
def test_the_first_screen_answers(opened, reports, name, size):
    page = opened(reports[name], viewport=size)
    last = page.locator(".three dd").last.bounding_box()
    assert last["y"] + last["height"] <= size["height"]
    if name == "cheating" and size is WIDE:
        for part in ("h3", ".plot", ".next", ".lead img"):
            box = page.locator("#finding-1").locator(part).first.bounding_box()
            assert box["y"] + box["height"] <= size["height"], part


def test_every_claim_opens_its_evidence_without_scripts(opened, reports):
    page = opened(reports["cheating"], java_script_enabled=False)
    assert page.locator("#finding-1 .examples").is_hidden()
    page.locator("#finding-1 .evidence > summary").click()
    assert page.locator("#finding-1 .examples li").count() == 6
    assert page.locator("#finding-1 .examples").is_visible()
    assert page.locator("#finding-1 h4").all_inner_texts()[0] == "Examples"
    assert not page.locator("#all").is_visible()


def test_it_can_be_read_by_keyboard_alone(opened, reports):
    page = opened(reports["cheating"])
    for _ in range(40):
        page.keyboard.press("Tab")
        focus = page.evaluate("document.activeElement.closest('#finding-1 .evidence') !== null")
        if focus:
            break
    assert page.evaluate("document.activeElement.matches('summary:focus-visible')")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert page.locator("#finding-1 .examples").is_visible()


def test_the_button_opens_and_closes_all_evidence(opened, reports):
    page = opened(reports["cheating"])
    page.locator("#all").click()
    assert page.locator(".evidence[open]").count() == 2
    page.locator("#all").click()
    assert page.locator(".evidence[open]").count() == 0


def test_links_lead_to_their_finding(opened, reports):
    page = opened(reports["cheating"])
    page.locator("#checks a[href='#finding-2']").click()
    page.wait_for_function("document.querySelector('#finding-2').getBoundingClientRect().top < 400")


def test_pictures_and_figures_are_told_in_words(opened, reports):
    page = opened(reports["cheating"])
    assert page.locator("img:not([alt]), img[alt='']").count() == 0
    said = page.locator("#finding-1 .plot").first.get_attribute("aria-label")
    assert said.startswith(
        "Removing it: the score falls by: 2.10 log-odds, 95\N{NO-BREAK SPACE}% interval 1.80 to 2.40."
    )
    assert "Control: 0.10 (0.02 to 0.19)." in said
    assert page.locator("svg.plot:not([role=img][aria-label])").count() == 0


def test_all_pictures_are_there(opened, reports):
    page = opened(reports["cheating"])
    unfold(page)
    page.evaluate("for (const image of document.images) image.loading = 'eager'")
    sizes = page.evaluate("Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth)))")
    assert len(sizes) > 18
    assert min(sizes) == 192


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_paper_everything_is_open_and_black_on_white(opened, reports, scheme):
    page = opened(reports["cheating"], color_scheme=scheme)
    page.emulate_media(media="print", color_scheme=scheme)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#finding-1 .examples").is_visible()
    colours = page.evaluate("(s => [s.color, s.backgroundColor])(getComputedStyle(document.body))")
    assert colours == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("#finding-1 .examples").is_hidden()


def test_nothing_moves_for_those_who_asked_for_stillness(opened, reports):
    page = opened(reports["cheating"], reduced_motion="reduce")
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
