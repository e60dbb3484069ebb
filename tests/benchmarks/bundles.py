"""What a pull costs: where nothing has changed, its parts, its time against curl and sha256sum, and many pulls at once.

`python -m tests.benchmarks.bundles` makes an archive of about 200 MB, publishes it through nginx and docker-registry on
the loopback interface, and prints tables in Markdown; `--only` selects one of them. Needs nginx, docker-registry, curl
and the extra `remote`; `tests/bundles/servers.py` starts the servers.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # where the tests have their `conftest`

MB = 1_000_000
CODE = (sys.executable, "-m", "pycachehook")


def make_archive(folder: Path, size: int) -> Path:
    """Return an archive of about `size` bytes, of modules with one constant each that zstd halves."""
    chance = random.Random(19)
    sources = folder / "sources"
    sources.mkdir()
    for number in range(max(1, size // MB)):
        (sources / f"m{number}.py").write_text(f"DATA = '{chance.randbytes(MB // 2).hex()}'\n", encoding="ascii")
    out = sources / "env.pyca"
    options = ("--invalidation-mode", "checked-hash", "--path", str(sources))
    subprocess.run([*CODE, "archive", "build", *options, str(out)], check=True, capture_output=True)
    return out


def parts(archive: Path, place: Path, key: str) -> dict[str, tuple[float, int]]:
    """Return by the name of each part of a pull the seconds that it takes and the bytes that go through it."""
    from pycachehook.bundles.compression import decompress
    from pycachehook.bundles.manifest import decode
    from pycachehook.bundles.signatures import read_public_key, verify_signature
    from pycachehook.commands import archive_verify

    manifest_path = next(place.glob("*.json"))
    payload = next(place.glob("*.zst"))
    data = manifest_path.read_bytes()
    signature = next(place.glob("*.minisig")).read_bytes()
    whole, packed = archive.stat().st_size, payload.stat().st_size
    keys = [read_public_key(key)]

    def digest(path: Path) -> None:
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")

    def unpack() -> None:
        with payload.open("rb") as file:
            decompress(file, len, whole)

    def index() -> None:
        for _ in archive_verify.entries(archive_verify.open_archive(str(archive))):
            pass

    steps: dict[str, tuple[Callable[[], object], int]] = {
        "SHA-256 of the payload": (lambda: digest(payload), packed),
        "Zstandard": (unpack, whole),
        "SHA-256 of the archive": (lambda: digest(archive), whole),
        "signature and manifest": (lambda: (verify_signature(data, signature, keys), decode(data)), len(data)),
        "index": (index, whole),
    }
    return {name: (_best(step), size) for name, (step, size) in steps.items()}


def _best(step: Callable[[], object], times: int = 3) -> float:
    found = []
    for _ in range(times):
        begin = time.process_time()
        step()
        found.append(time.process_time() - begin)
    return min(found)


UNCHANGED = ("path", "nginx", "docker-registry", "docker-registry with login")
FLOOR = """
import sys
from datetime import timedelta
from obstore import get
from obstore.store import HTTPStore
store = HTTPStore.from_url(sys.argv[1], client_options={"allow_http": True, "timeout": timedelta(seconds=60)})
get(store, sys.argv[2]).bytes()
"""


def command() -> list[str]:
    """Return the command `pycachehook` of this environment, or else `python -m pycachehook`."""
    script = shutil.which("pycachehook", path=sysconfig.get_path("scripts"))
    return [sys.executable, script] if script is not None else [*CODE]


def cpu(words: list[str], environment: dict[str, str]) -> float:
    """Run a process, and return its CPU time in milliseconds."""
    process = subprocess.Popen(words, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)
    return (usage.ru_utime + usage.ru_stime) * 1000


def unchanged(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Return the milliseconds of CPU time, beyond `python -c pass`, of each pull that has nothing to do, and the floor.

    The floor is a process that only imports obstore and makes one request.
    """
    from bundles import servers
    from bundles.conftest import make_keys

    archive, keys = make_archive(folder, MB), make_keys(folder / "keys")
    with contextlib.ExitStack() as stack:
        places: list[tuple[str, dict[str, str]]] = [(str(folder / "place"), {})]
        starts: tuple[servers.Start, ...] = (
            servers.nginx,
            servers.registry,
            functools.partial(servers.registry, login=True),
        )
        for number, start in enumerate(starts):
            (folder / str(number)).mkdir()
            places.append(stack.enter_context(start(folder / str(number))))
        push = [*command(), "archive", "push", str(archive)]
        for place, environment in (places[0], *places[2:]):
            words = [*push, place, "--sign", str(keys.secret)]
            subprocess.run(words, check=True, capture_output=True, env={**os.environ, **environment})
        shutil.copytree(folder / "place", folder / "0" / "files" / "env")
        jobs: dict[str, tuple[list[str], dict[str, str]]] = {"Python": ([sys.executable, "-c", "pass"], {})}
        for name, (place, environment) in zip(UNCHANGED, places, strict=True):
            dest = str(archive.with_name(f"{len(jobs)}.pyca"))
            words = [*command(), "archive", "pull", place, dest, "--key", str(keys.public), "--if-changed"]
            cpu(words, environment)
            jobs[name] = words, environment
        manifest = next((folder / "place").glob("*.json")).name
        jobs["floor: obstore and one request"] = [sys.executable, "-c", FLOOR, places[1][0], manifest], {}
        found = interleaved({name: lambda job=job: cpu(*job) for name, job in jobs.items()}, rounds)  # type: ignore[misc]
    bare = found.pop("Python")
    return {name: [one - other for one, other in zip(samples, bare, strict=True)] for name, samples in found.items()}


def interleaved(jobs: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Return the results of each job in each round, after a first one that warms up; each other round is in reverse."""
    found: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(rounds + 1):
        for name in list(jobs) if number % 2 else reversed(jobs):
            result = jobs[name]()
            if number:
                found[name].append(result)
    return found


def against_curl(url: str, place: Path, archive: Path, rounds: int) -> dict[str, list[float]]:
    """Return the seconds, in each round, of a pull, of its transfer alone, and of curl and then sha256sum."""
    from pycachehook.bundles.deadline import Deadline
    from pycachehook.bundles.download import Part, download
    from pycachehook.bundles.manifest import decode
    from pycachehook.bundles.transports import open_transport

    payload = next(place.glob("*.zst"))
    manifest = decode(next(place.glob("*.json")).read_bytes())
    dest, copy = archive.with_name("pulled.pyca"), archive.with_name("copy")
    (place / archive.name).hardlink_to(archive)

    def timed(step: Callable[[], object]) -> float:
        begin = time.monotonic()
        step()
        taken = time.monotonic() - begin
        for left in (dest, dest.with_name(dest.name + ".bundle.json"), copy):
            left.unlink(missing_ok=True)
        return taken

    def transfer() -> None:
        part = Part(str(archive.parent), manifest)
        download(open_transport(url, 60), manifest, part, Deadline(60), lambda _size: None)
        part.close(keep=False)

    def plain(name: str) -> None:
        subprocess.run(["curl", "-sS", "-o", str(copy), f"{url}/{name}"], check=True)
        subprocess.run(["sha256sum", str(copy)], check=True, capture_output=True)

    return interleaved(
        {
            "transfer and SHA-256 of the payload": lambda: timed(transfer),
            "curl and sha256sum of the payload": lambda: timed(lambda: plain(payload.name)),
            "the whole pull": lambda: timed(lambda: pull(url, dest)),
            "curl and sha256sum of the archive": lambda: timed(lambda: plain(archive.name)),
        },
        rounds,
    )


def pull(source: str, dest: Path) -> dict[str, object]:
    """Pull in a new process, and return what it says."""
    words = [*command(), "archive", "pull", source, str(dest), "--allow-unsigned", "--json"]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def spread_of(samples: list[float], digits: int) -> str:
    """Return the median and the quartiles."""
    low, half, high = statistics.quantiles(samples, n=4)
    return f"{half:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def at_once(source: str, folder: Path, number: int) -> tuple[list[float], int]:
    """Return the seconds after which each of so many pulls at once has ended, in order, and how many have failed."""
    begin = time.monotonic()
    running = {
        subprocess.Popen(
            [*command(), "archive", "pull", source, str(folder / str(each) / "env.pyca"), "--allow-unsigned"],
            stdout=subprocess.DEVNULL,
        ).pid
        for each in range(number)
    }
    ends, failed = [], 0
    while running:
        process, status = os.wait()
        if process in running:
            running.remove(process)
            ends.append(time.monotonic() - begin)
            failed += status != 0
    return ends, failed


def print_unchanged(folder: Path, given: argparse.Namespace) -> None:
    """Print the table of pulls that have nothing to do."""
    print("| nothing has changed at | CPU time beyond starting Python, ms (quartiles) |\n|---|---|")
    for name, samples in unchanged(folder, given.rounds).items():
        print(f"| {name} | {spread_of(samples, 0)} |")


def print_transfer(folder: Path, given: argparse.Namespace) -> None:
    """Print the tables of the parts of a pull, and of pulls against curl and sha256sum."""
    from bundles import servers
    from bundles.conftest import make_keys

    archive, keys, place = make_archive(folder, given.size * MB), make_keys(folder / "keys"), folder / "place"
    words = [*command(), "archive", "push", str(archive), str(place), "--sign", str(keys.secret)]
    subprocess.run(words, check=True, capture_output=True)
    with servers.nginx(folder) as (url, _):
        place.rename(folder / "files" / "env")
        place = folder / "files" / "env"
        print("| part of a pull | CPU time | MB/s |\n|---|---|---|")
        for what, (seconds, size) in parts(archive, place, str(keys.public)).items():
            print(f"| {what} | {seconds:.3f} s | {size / MB / seconds:,.0f} |")
        found = against_curl(url, place, archive, given.rounds)
    print("\n| | seconds | ratio within a round (quartiles) |\n|---|---|---|")
    names = list(found)
    for ours, plain in zip(names[::2], names[1::2], strict=True):
        ratios = [one / other for one, other in zip(found[ours], found[plain], strict=True)]
        print(f"| {ours} | {statistics.median(found[ours]):.2f} | {spread_of(ratios, 2)} |")
        print(f"| {plain} | {statistics.median(found[plain]):.2f} | 1 |")


def print_at_once(folder: Path, given: argparse.Namespace) -> None:
    """Print the table of many pulls at once from one registry."""
    from bundles import servers

    with servers.registry(folder) as (tag, _):
        archive = make_archive(folder, MB)
        subprocess.run([*command(), "archive", "push", str(archive), tag], check=True, capture_output=True)
        ends, failed = at_once(tag, archive.parent, given.pulls)
    print("| pulls at once | failed | first ends after | half of them | last |\n|---|---|---|---|---|")
    print(f"| {given.pulls} | {failed} | {ends[0]:.1f} s | {ends[len(ends) // 2]:.1f} s | {ends[-1]:.1f} s |")


TABLES = {"unchanged": print_unchanged, "transfer": print_transfer, "at-once": print_at_once}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=tuple(TABLES), help="print one table")
    parser.add_argument("--size", type=int, default=200, help="MB of the archive")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--pulls", type=int, default=200, help="pulls at once, of an archive of 1 MB")
    given = parser.parse_args()
    for name, table in TABLES.items():
        if given.only in (None, name):
            with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
                table(Path(folder), given)
            print(flush=True)


if __name__ == "__main__":
    main()
