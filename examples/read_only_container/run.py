"""Start an application as an unprivileged user from a read-only root file system, before and after `precompile`.

Root builds the image: a virtual environment, the packages, the application. Then it is started as a container. In
between, root fills a cache in the image, as the last step of a build.
"""

import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True  # for this program's own modules
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from container import NOBODY, ROOT, VENV, Container  # noqa: E402
from steps import COUNTERS, counters, table, take_stats  # noqa: E402

HERE = Path(__file__).resolve().parent
CACHE = "/var/cache/usage"
PYTHON = f"{VENV}/bin/python"


def build(container: Container) -> None:
    """Build the image without pycachehook."""
    container.run("python3", "-m", "venv", "--without-pip", str(VENV))
    container.install("rich")
    container.copy(HERE / "usage", Path("/app/usage"))


def precompile(container: Container) -> str:
    """Execute the additional steps: root fills the cache, and later starts only read it."""
    command = (PYTHON, "-m", "pycachehook", "precompile", "--cache-dir", CACHE)
    environment = container.run(*command, "--exclude", "*/test/*", "--exclude", "*/tests/*", "--exclude", "*/lib2to3/*")
    return environment + container.run(*command, "/app")


def start(container: Container) -> list[object]:
    """Start the application as a user without write access, and return its counters."""
    container.run(
        *(PYTHON, "-m", "pycachehook", "run", "--cache-dir", CACHE, "-m", "usage", "/opt/venv"),
        user=NOBODY,
        read_only=True,
        folder="/app",
        environment={"PYCACHEHOOK_STATS": "/output/stats.jsonl"},
    )
    (stats,) = take_stats(container.output / "stats.jsonl")
    return counters(stats)


def attempt_to_write(container: Container, user: int) -> str:
    """Return the error message for a user who tries to write beside the sources of a running container."""
    command = ("touch", "/app/usage/file")
    return container.run(*command, user=user, read_only=True, check=False).strip()


def main() -> None:
    """Print a line for each start, and the results of attempts to write."""
    with tempfile.TemporaryDirectory() as folder:
        container = Container(Path(folder))
        build(container)
        rows = [("not precompiled", which, *start(container)) for which in ("first", "second")]
        said = precompile(container)
        rows += [("precompiled by root", which, *start(container)) for which in ("first", "second")]
        print(said)
        table(("image", "start", *COUNTERS), rows)
        print()
        for user in (ROOT, NOBODY):
            print(f"user {user}: {attempt_to_write(container, user)}")
        print(f"bytecode beside the sources in /app: {len(list(container.inside(Path('/app')).rglob('*.pyc')))}")


if __name__ == "__main__":
    main()
