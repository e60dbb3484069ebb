"""The recorded starts of the page `explanation/start.md`: their summaries, and pictures of their HTML pages.

`python docs/recorded_starts.py [DIRECTORY]` runs the page's programs with `pycachehook run --trace`, prints the
summaries, and writes `start-django.png` and `start-sympy.png`, by default to `docs/pages/assets`. It needs Chromium, and
in the same environment Django, sympy and the extra `trace`, installed with `pip install --no-compile`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE / "pages" / "explanation" / "start.md"
SIZE = (1280, 860)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main(folder: Path) -> None:
    """Print the summaries, and write the pictures."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"None of {', '.join(BROWSERS)} is installed.")
    program = re.search(r"```python\n(.+?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    if program is None:
        sys.exit(f"{PAGE} contains no program.")
    with tempfile.TemporaryDirectory() as name:
        temporary = Path(name)
        (temporary / "app.py").write_text(program[1], encoding="utf-8")
        for subject, arguments in (("django", ["app.py"]), ("sympy", ["-c", "import sympy"])):
            for recording in (f"{subject}-cold.json", f"{subject}.html"):
                record(temporary, recording, arguments)
            take(browser, temporary / f"{subject}.html", folder / f"start-{subject}.png")


def record(folder: Path, recording: str, arguments: list[str]) -> None:
    """Run a program with a cache in the directory, and print the command and the summary."""
    print(f"$ pycachehook run --trace {recording} {' '.join(arguments)}", flush=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYCACHEHOOK_"))}
    command = [sys.executable, "-m", "pycachehook", "run", "--trace", recording, *arguments]
    environment = {**kept, "PYCACHEHOOK_CACHE_DIR": str(folder / "cache")}
    process = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)
    print((process.stdout + process.stderr).replace(sys.executable, "python"), flush=True)
    path = folder / recording
    path.write_text(path.read_text(encoding="utf-8").replace(sys.executable, "python"), encoding="utf-8")


def take(browser: str, page: Path, picture: Path) -> None:
    """Write the upper part of a page, as a browser shows it, to a PNG file."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=10000"]
    size = f"--window-size={SIZE[0]},{SIZE[1]}"
    words = [browser, *options, size, f"--screenshot={picture}", page.as_uri()]
    subprocess.run(words, check=True, stderr=subprocess.DEVNULL, timeout=120)
    print(f"wrote {picture}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else HERE / "pages" / "assets")
