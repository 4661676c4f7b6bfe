"""A picture of a report: screenshot.py REPORT.html OUT.png [--width N] [--height N|full] [--element CSS]."""

import argparse
import shutil
import sys
from pathlib import Path

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WAITING = ".panel:has(canvas):not([data-state])"


def screenshot(
    report: Path, out: Path, width: int, height: int | None, *, dark: bool, element: str = ""
) -> None:
    """`height` None takes the whole page; of an `element`, the first that matches, it is the most."""
    from playwright.sync_api import sync_playwright

    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=FLAGS)
        page = browser.new_page(
            viewport={"width": width, "height": height or 900},
            color_scheme="dark" if dark else "light",
        )
        page.goto(report.resolve().as_uri())
        if page.locator("body.many").count() == 0:  # else only what is in view is painted
            page.wait_for_function(f"!document.querySelector('{WAITING}')")
        clip = page.locator(element).first.bounding_box() if element else None
        if clip and height:
            clip["height"] = min(clip["height"], height)
        page.screenshot(path=out, full_page=bool(clip) or height is None, clip=clip)
        browser.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", default="full", help="pixels, or 'full' for the whole page")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--element", default="", help="a selector, such as .panel")
    given = parser.parse_args()
    height = None if given.height == "full" else int(given.height)
    screenshot(given.report, given.out, given.width, height, dark=given.dark, element=given.element)
    return 0


if __name__ == "__main__":
    sys.exit(main())
