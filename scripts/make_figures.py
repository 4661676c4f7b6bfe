"""Makes every figure that the documentation shows: python scripts/make_figures.py (needs chromium)."""

import subprocess
import sys
import tempfile
from pathlib import Path

from underhood.demo.sheet import sheet

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    sheet().save(IMAGES / "dermoscopy.jpg", quality=88)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "underhood.cli", "demo", "--out", "out"]
        subprocess.run(command, check=True, cwd=folder)
        out = Path(folder) / "out"
        _shot(out / "audit-cheating" / "report.html", "audit.png", 660)
        _shot(out / "report.html", "report.png", 1230)
        _shot(out / "report.html", "verdict.png", 845, "--element", ".answers")


def _shot(page: Path, name: str, height: int, *more: str) -> None:
    command = [sys.executable, ROOT / "scripts" / "screenshot.py", page, IMAGES / name]
    subprocess.run([*command, "--width", "1280", "--height", str(height), *more], check=True)


if __name__ == "__main__":
    main()
