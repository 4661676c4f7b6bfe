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
        shot = [sys.executable, ROOT / "scripts" / "screenshot.py", Path(folder) / "out" / "report.html"]
        size = ["--width", "1280", "--height", "1230"]
        subprocess.run([*shot, IMAGES / "report.png", *size], check=True)
        row = ["--width", "1280", "--height", "845", "--element", ".answers"]
        subprocess.run([*shot, IMAGES / "verdict.png", *row], check=True)


if __name__ == "__main__":
    main()
