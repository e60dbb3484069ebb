"""What a pull costs: its parts in MB/s, its time against curl and sha256sum, and many pulls at once.

`python -m tests.benchmarks.bundles --size 200 --pulls 200` makes an archive of about so many MB, publishes it through
nginx and docker-registry on the loopback interface, and prints a table. Needs nginx, docker-registry, curl and the extra
`remote`; `tests/bundles/servers.py` starts the servers.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
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


def against_curl(url: str, place: Path, folder: Path, rounds: int) -> tuple[float, float, float]:
    """Return the medians of a pull, of curl and then sha256sum, and of their ratios within a round; in seconds."""
    payload = next(place.glob("*.zst"))
    pulls, plain = [], []
    for number in range(rounds):
        dest = folder / f"pulled-{number}" / "env.pyca"
        begin = time.monotonic()
        pull(url, dest)
        pulls.append(time.monotonic() - begin)
        shutil.rmtree(dest.parent)
        copy = folder / "copy"
        begin = time.monotonic()
        subprocess.run(["curl", "-sS", "-o", str(copy), f"{url}/{payload.name}"], check=True)
        subprocess.run(["sha256sum", str(copy)], check=True, capture_output=True)
        plain.append(time.monotonic() - begin)
        copy.unlink()
    ratios = [one / other for one, other in zip(pulls, plain, strict=True)]
    return statistics.median(pulls), statistics.median(plain), statistics.median(ratios)


def pull(source: str, dest: Path) -> dict[str, object]:
    """Pull in a new process, and return what it says."""
    command = [*CODE, "archive", "pull", source, str(dest), "--allow-unsigned", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def at_once(source: str, folder: Path, number: int) -> tuple[float, float, int]:
    """Return the seconds until the first and the last of so many pulls at once has ended, and how many have failed."""
    begin = time.monotonic()
    running = {
        subprocess.Popen(
            [*CODE, "archive", "pull", source, str(folder / str(each) / "env.pyca"), "--allow-unsigned"],
            stdout=subprocess.DEVNULL,
        )
        for each in range(number)
    }
    ends, failed = [], 0
    while running:
        _, status = os.wait()
        ends.append(time.monotonic() - begin)
        failed += status != 0
        running = {each for each in running if each.poll() is None}
    return ends[0], ends[-1], failed


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=200, help="MB of the archive")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pulls", type=int, default=0, help="pulls at once, of an archive of 1 MB")
    given = parser.parse_args()
    from bundles import servers
    from bundles.conftest import make_keys

    with tempfile.TemporaryDirectory(dir="/var/tmp") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        archive, keys, place = make_archive(folder, given.size * MB), make_keys(folder / "keys"), folder / "place"
        command = [*CODE, "archive", "push", str(archive), str(place), "--sign", str(keys.secret)]
        subprocess.run(command, check=True, capture_output=True)
        url, _ = stack.enter_context(servers.nginx(folder))
        place.rename(folder / "files" / "env")
        place = folder / "files" / "env"
        for what, (seconds, size) in parts(archive, place, str(keys.public)).items():
            print(f"{what}: {seconds:.3f} s of CPU time, {size / MB / seconds:,.0f} MB/s")
        ours, plain, ratio = against_curl(url, place, folder, given.rounds)
        print(f"pull {ours:.2f} s, curl and sha256sum {plain:.2f} s, ratio {ratio:.2f}")
        if given.pulls:
            small = folder / "small"
            small.mkdir()
            tag, _ = stack.enter_context(servers.registry(small))
            subprocess.run([*CODE, "archive", "push", str(make_archive(small, MB)), tag], check=True)
            first, last, failed = at_once(tag, small / "out", given.pulls)
            print(f"{given.pulls} pulls at once: first {first:.1f} s, last {last:.1f} s, failed {failed}")


if __name__ == "__main__":
    main()
