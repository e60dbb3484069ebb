"""Execute this directory's Dockerfile without an engine, start the image twice, and count.

`FROM` is replaced by this machine's programs and this Python, mounted read-only. `COPY`, `ENV`, `WORKDIR`, `USER`,
`CMD` and `RUN` have their usual effect, as root in the image's root file system; only `RUN pip ...` copies the packages
from the environment that runs this, instead of downloading them.
"""

import json
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.dont_write_bytecode = True  # for this program's own modules
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from container import Container  # noqa: E402
from steps import COUNTERS, counters, stop, table, take_stats  # noqa: E402

HERE = Path(__file__).resolve().parent
CONTEXT = HERE.parents[1]


def instructions(dockerfile: str) -> Iterator[tuple[str, str]]:
    """Yield each instruction's keyword and arguments."""
    lines = (line for line in dockerfile.splitlines() if not line.lstrip().startswith("#"))
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word.upper(), rest.strip()


class Build:
    """Executes instructions in a container; `user` and `command` are those of the image's processes."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self.folder = "/"
        self.user = 0
        self.command: list[str] = []

    def step(self, word: str, rest: str) -> None:
        """Execute one instruction, and print it with its output."""
        method = getattr(self, f"_{word.lower()}", None)
        if method is None:
            stop(f"This example cannot carry out {word}, which is in its Dockerfile.")
        print(f"{word} {rest}", flush=True)
        method(rest)

    def _from(self, rest: str) -> None:
        """Do nothing, because the container has its base already."""

    def _env(self, rest: str) -> None:
        name, _, value = rest.partition("=")
        known = self.container.environment
        known[name] = re.sub(r"\$(\w+)", lambda match: known.get(match[1], ""), value)

    def _copy(self, rest: str) -> None:
        *sources, target = shlex.split(rest)
        for source in sources:
            into = f"{target}{Path(source).name}" if target.endswith("/") else target
            self.container.copy(CONTEXT / source, Path(into))

    def _workdir(self, rest: str) -> None:
        self.folder = rest
        self.container.inside(Path(rest)).mkdir(parents=True, exist_ok=True)

    def _run(self, rest: str) -> None:
        program, *words = shlex.split(rest)
        if program == "pip":
            names = words[words.index("install") + 1 :]
            self.container.install(*(name for name in names if not name.startswith(("-", "/"))))
            return
        for line in self.container.run("sh", "-c", rest, folder=self.folder).splitlines():
            print(f"    {line}")

    def _user(self, rest: str) -> None:
        self.user = int(rest.partition(":")[0])

    def _cmd(self, rest: str) -> None:
        self.command = json.loads(rest)


def main() -> None:
    """Print every instruction with its output, and a line for each start."""
    with tempfile.TemporaryDirectory() as folder:
        build = Build(Container(Path(folder)))
        for word, rest in instructions((HERE / "Dockerfile").read_text(encoding="utf-8")):
            build.step(word, rest)
        print()
        rows = []
        text = (HERE / "README.md").read_text(encoding="utf-8")
        for which in ("first start", "second start"):
            page = build.container.run(
                *build.command,
                user=build.user,
                read_only=True,
                folder=build.folder,
                environment={"PYCACHEHOOK_STATS": "/output/stats.jsonl"},
                standard_input=text,
            )
            (title,) = re.findall("<title>(.*)</title>", page)
            (stats,) = take_stats(build.container.output / "stats.jsonl")
            rows.append((which, build.user, title, *counters(stats)))
        table(("", "user", "title of the page", *COUNTERS), rows)
        compiled = list(build.container.inside(Path("/app")).rglob("*.pyc"))
        print(f"bytecode beside the sources in /app: {len(compiled)}")


if __name__ == "__main__":
    main()
