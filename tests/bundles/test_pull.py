"""Push and pull by a directory: which bundles are accepted or refused, and the files that a failure leaves."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pycachehook import bundles
from pycachehook.bundles import environment
from pycachehook.bundles.errors import BundleError
from pycachehook.bundles.manifest import decode, encode
from pycachehook.bundles.pull import policy, pull
from pycachehook.bundles.push import push
from pycachehook.bundles.record import abandoned, temporary_path
from pycachehook.bundles.signatures import sign

from .conftest import assert_imports_from, digest, left_beside, only

if TYPE_CHECKING:
    from conftest import Python

    from .conftest import Keys


def resigned(place: Path, keys: Keys, **changes: Any) -> None:
    """Change fields of the manifest and sign it again, as an owner of the key could."""
    path = only(place, "*.json")
    document = {**json.loads(path.read_bytes()), **changes}
    data = encode(decode(json.dumps(document).encode()))
    path.write_bytes(data)
    only(place, "*.minisig").unlink()
    (place / f"{hashlib.sha256(data).hexdigest()}.minisig").write_bytes(sign(data, str(keys.secret), 0))


def assert_refused(place: Path, dest: Path, wanted: bundles.pull.Policy, why: str) -> None:
    """Check that the pull fails for this reason, in one sentence, and changes nothing."""
    before = digest(dest) if dest.exists() else None
    with pytest.raises(BundleError, match=why) as caught:
        pull(str(place), str(dest), wanted)
    assert "\n" not in str(caught.value)
    assert (digest(dest) if dest.exists() else None) == before
    assert not dest.parent.exists() or not left_beside(dest)


def test_there_and_back(place: Path, archive: Path, dest: Path, keys: Keys, python: Python, cache: Path) -> None:
    """The pulled archive equals the pushed one, and imports use it."""
    told: list[tuple[int, int]] = []
    pulled = pull(str(place), str(dest), keys.policy(), lambda done, total: told.append((done, total)))
    assert dest.read_bytes() == archive.read_bytes()
    assert (pulled.changed, pulled.sha256, pulled.created) == (True, digest(archive), 1_700_000_000)
    assert sum(done for done, _ in told) == told[0][1] == pulled.received == only(place, "*.zst").stat().st_size
    assert dest.stat().st_mode & 0o777 == 0o644
    assert not left_beside(dest)
    assert_imports_from(python, dest, cache)


@pytest.mark.skipif(sys.platform == "win32", reason="URLs of Windows paths are another form")
def test_a_file_url(place: Path, archive: Path, tmp_path: Path, keys: Keys) -> None:
    """A file URL with quoted characters works."""
    there = tmp_path / "a place%20"
    push(str(archive), f"file://{str(there).replace('%', '%25').replace(' ', '%20')}", str(keys.secret))
    assert {each.name for each in there.iterdir()} == {each.name for each in place.iterdir()}
    pull(there.as_uri(), str(tmp_path / "out" / "x.pyca"), keys.policy())
    with pytest.raises(BundleError, match="names another host"):
        pull("file://elsewhere/x", str(tmp_path / "x.pyca"), keys.policy())


def test_two_pushes_are_the_same_bytes(place: Path, archive: Path, tmp_path: Path, keys: Keys) -> None:
    """Two pushes write the same manifest, signature and payload."""
    push(str(archive), str(tmp_path / "again"), str(keys.secret))
    for path in place.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_source_date_epoch(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SOURCE_DATE_EPOCH sets the creation time."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert push(str(archive), str(tmp_path / "there")).created == 86400
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "tomorrow")
    with pytest.raises(BundleError, match="SOURCE_DATE_EPOCH is 'tomorrow'"):
        push(str(archive), str(tmp_path / "there"))


def test_nothing_says_what_is_authentic() -> None:
    """Without a key and a digest, pull refuses before it reads anything."""
    with pytest.raises(BundleError, match="--allow-unsigned"):
        policy()


def test_a_pin_alone(place: Path, archive: Path, dest: Path) -> None:
    """A digest suffices for a pull."""
    assert_refused(place, dest, policy(pin="0" * 64), "not the one given with --pin")
    pulled = pull(str(place), str(dest), policy(pin=digest(archive)))
    assert (pulled.changed, pulled.signer) == (True, None)


def test_a_pin_with_a_key(place: Path, archive: Path, dest: Path, other_keys: Keys) -> None:
    """With a digest and a key, both must match."""
    assert_refused(place, dest, other_keys.policy(pin=digest(archive)), "not signed by a key that was given")


def test_unsigned(place: Path, archive: Path, dest: Path, keys: Keys) -> None:
    """An unsigned bundle is accepted only on request."""
    only(place, "*.minisig").unlink()
    assert_refused(place, dest, keys.policy(), "is not signed")
    assert pull(str(place), str(dest), policy(allow_unsigned=True)).sha256 == digest(archive)


def test_nothing_changed(place: Path, dest: Path, keys: Keys) -> None:
    """An unchanged file is kept; a damaged one, or one that its record does not describe, is replaced."""
    pull(str(place), str(dest), keys.policy())
    before = dest.stat()
    only(place, "*.zst").unlink()  # nothing requests it
    for if_changed in (False, True):
        outcome = pull(str(place), str(dest), keys.policy(if_changed=if_changed))
        assert (outcome.changed, outcome.received, outcome.signer is None) == (False, 0, False)
    assert dest.stat() == before


@pytest.mark.parametrize("if_changed", [False, True])
def test_a_damaged_archive_in_place(place: Path, archive: Path, dest: Path, keys: Keys, if_changed: bool) -> None:
    """It is replaced, unless its size and mtime are those of a trusted record."""
    pull(str(place), str(dest), keys.policy())
    with dest.open("r+b") as file:
        file.seek(100)
        file.write(b"damage")
    assert pull(str(place), str(dest), keys.policy(if_changed=if_changed)).changed
    assert dest.read_bytes() == archive.read_bytes()


def test_an_archive_without_a_record(place: Path, archive: Path, dest: Path, keys: Keys) -> None:
    """An existing identical archive needs no transfer, and gets a record."""
    dest.parent.mkdir()
    shutil.copy(archive, dest)
    only(place, "*.zst").unlink()
    assert not pull(str(place), str(dest), keys.policy()).changed
    assert bundles.describe(str(dest))["digest"] == digest(archive)


def test_another_key_looks_again(place: Path, dest: Path, keys: Keys, other_keys: Keys) -> None:
    """A pull with another key verifies the bundle again."""
    pull(str(place), str(dest), keys.policy())
    assert_refused(place, dest, other_keys.policy(), "not signed by a key")


def test_older(place: Path, older_archive: Path, archive: Path, tmp_path: Path, dest: Path, keys: Keys) -> None:
    """A bundle older than the existing one is refused, unless a flag or a digest requests it."""
    older = tmp_path / "older"
    push(str(older_archive), str(older), str(keys.secret))
    pull(str(place), str(dest), keys.policy())
    assert_refused(older, dest, keys.policy(), "older than the one in place")
    assert pull(str(older), str(dest), keys.policy(allow_older=True)).changed
    assert pull(str(place), str(dest), keys.policy()).changed
    assert pull(str(older), str(dest), policy(pin=digest(older_archive))).changed


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("cache_tag", "cpython-39", "is for cpython-39"),
        ("magic_number", "00000d0a", r"magic number 00000d0a\) on"),
        ("optimization", 2, "is for cpython-.* -OO"),
        ("platform", "sparc-sun-solaris", "on sparc-sun-solaris; this interpreter is"),
        ("abiflags", "z", "is for cpython"),
        (
            "distributions",
            [{"name": "numpy", "version": "0.1"}, {"name": "a\x1bb", "version": "1"}],
            ": a b, numpy[.]$",
        ),
        ("roots", [{"name": "stdlib", "location": "", "listing_hash": "0" * 16}], "is for another environment"),
        (
            "roots",
            [{"name": "application", "location": "gone", "listing_hash": "0" * 16}],
            "is for another environment",
        ),
        ("archive", {"sha256": "0" * 64, "size": 1 << 50}, "bytes free|more than the"),
        ("payload", {"sha256": "0" * 64, "size": 10, "compression": "zstd"}, "does not exist"),
    ],
)
def test_another_interpreter_or_environment(
    place: Path, dest: Path, keys: Keys, field: str, value: Any, why: str
) -> None:
    """Another interpreter or environment is named in words, before the transfer."""
    changes = {field: value}
    if field == "distributions":
        changes["roots"] = [{"name": "stdlib", "location": "", "listing_hash": "0" * 16}]
    resigned(place, keys, **changes)
    if field != "payload":
        only(place, "*.zst").unlink()
    assert_refused(place, dest, keys.policy(), why)


def test_an_extra_package_does_not_matter_to_checked_hash(place: Path, keys: Keys, tmp_path: Path) -> None:
    """A `checked-hash` archive is refused only for other versions of its distributions."""
    manifest = decode(only(place, "*.json").read_bytes())
    changed = json.loads(encode(manifest))
    changed["roots"][0]["listing_hash"] = "0" * 16
    changed["invalidation_mode"] = "checked-hash"
    environment.check_environment(decode(json.dumps(changed).encode()), str(tmp_path / "x"))


def test_no_bundle_for_this_interpreter(tmp_path: Path, dest: Path) -> None:
    """The sentence names the interpreter without a bundle."""
    (tmp_path / "empty").mkdir()
    assert_refused(
        tmp_path / "empty", dest, policy(allow_unsigned=True), f"no bundle for.*{sys.implementation.cache_tag}"
    )


def test_the_size_is_bounded(place: Path, archive: Path, dest: Path, keys: Keys) -> None:
    """No more bytes are read than the manifest says."""
    assert_refused(place, dest, keys.policy(max_size=archive.stat().st_size - 1), "--max-size")
    assert pull(str(place), str(dest), keys.policy(max_size=archive.stat().st_size)).changed


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
@pytest.mark.parametrize("pattern", ["*.json", "*.minisig", "*.zst"])
def test_a_fifo_in_the_place_of_a_file(place: Path, dest: Path, keys: Keys, pattern: str) -> None:
    """Pull does not wait for a FIFO in place of a file."""
    path = only(place, pattern)
    path.unlink()
    os.mkfifo(path)
    assert_refused(place, dest, keys.policy(timeout=60), "no regular file")


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
def test_a_directory_that_others_may_write_to(place: Path, dest: Path, keys: Keys) -> None:
    """Nothing is transferred into a directory whose archives every start would refuse."""
    dest.parent.mkdir()
    dest.parent.chmod(0o777)
    only(place, "*.zst").unlink()
    assert_refused(place, dest, keys.policy(), "would not be trusted")


def test_dest_is_a_directory(place: Path, dest: Path, keys: Keys) -> None:
    """A directory at the destination is not replaced."""
    dest.mkdir(parents=True)
    with pytest.raises(BundleError, match="is a directory"):
        pull(str(place), str(dest), keys.policy())


def test_dest_cannot_be_made(place: Path, tmp_path: Path, keys: Keys) -> None:
    """A file in place of the destination's directory is an error in one sentence."""
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match="cannot be used"):
        pull(str(place), str(tmp_path / "file" / "x.pyca"), keys.policy())


def test_what_a_killed_process_left(place: Path, archive: Path, dest: Path, keys: Keys) -> None:
    """A partial payload is continued and its file removed; a damaged one is transferred again."""
    from pycachehook.bundles.download import Part

    manifest = decode(only(place, "*.json").read_bytes())
    payload = only(place, "*.zst").read_bytes()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for beginning in (payload[:20000], bytes(20000), payload[:-1] + b"x", payload):
        dest.parent.mkdir(exist_ok=True)
        dest.unlink(missing_ok=True)
        part = Part(str(dest.parent), manifest)
        part.add(beginning)
        part.close(keep=True)
        left = Path(part.path)
        left.rename(left.with_name(left.name.replace(f"-{os.getpid()}-", f"-{ended.pid}-")))
        pulled = pull(str(place), str(dest), keys.policy())
        assert pulled.received == len(payload) - (len(beginning) if payload.startswith(beginning) else 0) or (
            not payload.startswith(beginning) and pulled.received >= len(payload)
        )
        assert dest.read_bytes() == archive.read_bytes()
        assert not left_beside(dest)


def test_described(place: Path, archive: Path, dest: Path, keys: Keys) -> None:
    """A pulled archive has a digest, an age and a signer; a changed one has none."""
    assert bundles.describe(str(dest)) == {
        **dict.fromkeys(("digest", "created", "pulled", "age", "signer", "source")),
        "changed": False,
    }
    pulled = pull(str(place), str(dest), keys.policy())
    said = bundles.describe(str(dest))
    assert (said["digest"], said["created"], said["changed"]) == (digest(archive), 1_700_000_000, False)
    assert said["signer"] == pulled.signer
    assert said["signer"] in keys.public.read_text(encoding="utf-8") or len(said["signer"]) == 16
    assert said["age"] > 0
    dest.write_bytes(b"x")
    assert bundles.describe(str(dest))["changed"] is True
    Path(f"{dest}.bundle.json").write_text("[" * 5000, encoding="utf-8")
    assert bundles.describe(str(dest))["digest"] is None


@pytest.mark.parametrize("command", ["status", "doctor"])
def test_shown(command: str, place: Path, archive: Path, dest: Path, keys: Keys, python: Python, cache: Path) -> None:
    """`status` and `doctor` show a pulled archive's digest, age and signer, until another file replaces it."""
    words = ("-m", "pycachehook", command, "--archives", str(dest), "--cache-dir", str(cache))

    def bundle() -> dict[str, Any] | None:
        said = json.loads(python(*words, "--json", check=False).stdout)
        found: list[dict[str, Any] | None]
        found = [each["bundle"] for each in said["archives"]] if command == "status" else said["bundles"]
        return next(iter(found), None)

    dest.parent.mkdir()
    shutil.copy(archive, dest)
    assert bundle() is None
    pulled = pull(str(place), str(dest), keys.policy())
    found = bundle()
    assert found is not None
    assert (found["digest"], found["signer"], found["created"]) == (digest(archive), pulled.signer, 1_700_000_000)
    text = python(*words, check=False).stdout
    assert f"sha256:{digest(archive)}; made " in text
    assert f" days ago; signed by {pulled.signer}; from " in text
    dest.write_bytes(b"x")
    found = bundle()
    assert found is not None
    assert found["changed"]
    assert "replaced since `archive pull`" in python(*words, check=False).stdout


def test_the_archive_in_its_own_root(tmp_path: Path, keys: Keys) -> None:
    """The archive, its record and its lock do not make an archive of their own root outdated."""
    root = tmp_path / "app"
    root.mkdir()
    (root / "module.py").write_text("x = 1\n", encoding="utf-8")
    from pycachehook.archive import Archive
    from pycachehook.commands import archive_build

    out = root / "app.pyca"
    archive_build.build(str(out), [str(root / "module.py")], paths=[str(root)], mode="unchecked-hash")
    push(str(out), str(tmp_path / "place"), str(keys.secret))
    out.unlink()
    assert pull(str(tmp_path / "place"), str(out), keys.policy()).changed
    assert not pull(str(tmp_path / "place"), str(out), keys.policy()).changed
    assert Archive(str(out), ()).reason is None


def test_what_is_not_pushed(archive: Path, tmp_path: Path) -> None:
    """Push refuses a damaged archive, a missing one, and one whose environment has changed."""
    bad = tmp_path / "bad.pyca"
    data = bytearray(archive.read_bytes())
    data[1000] ^= 1
    bad.write_bytes(data)
    for path in (bad, tmp_path / "gone.pyca"):
        with pytest.raises(BundleError, match=r"^[^\n]+\.$"):
            push(str(path), str(tmp_path / "there"))
    root = tmp_path / "app"
    root.mkdir()
    (root / "module.py").write_text("x = 1\n", encoding="utf-8")
    from pycachehook.commands import archive_build

    out = tmp_path / "out.pyca"
    archive_build.build(str(out), [str(root / "module.py")], paths=[str(root)], mode="checked-hash")
    (root / "new.py").touch()
    with pytest.raises(BundleError, match="no longer what the archive was built from"):
        push(str(out), str(tmp_path / "there"))


@pytest.mark.parametrize("source", ["ftp://host/x", "oci://", "oci://x", "http://", "s3://", "http://[::1", "file://"])
def test_what_is_no_place(source: str, dest: Path) -> None:
    """An invalid location is an error in one sentence, without the URL's password."""
    pytest.importorskip("obstore", reason="needs the extra `remote`: obstore")
    pytest.importorskip("oras", reason="needs the extra `remote`: oras")
    with pytest.raises(BundleError, match=r"^[^\n]+$") as caught:
        pull(source.replace("host", "user:secret@host"), str(dest), policy(allow_unsigned=True, timeout=5))
    assert "secret" not in str(caught.value)


class TestCommands:
    """Push and pull from the command line."""

    def test_json(self, archive: Path, tmp_path: Path, keys: Keys, python: Python) -> None:
        """Each command prints one line; exit codes are 0, 1 and 2."""
        place, dest = tmp_path / "there", tmp_path / "out" / "x.pyca"
        command = ("-m", "pycachehook", "archive")
        pushed = json.loads(python(*command, "push", archive, place, "--sign", keys.secret, "--json").stdout)
        assert (pushed["sha256"], pushed["signed"]) == (digest(archive), True)
        pulled = json.loads(python(*command, "pull", place, dest, "--key", keys.public, "--json").stdout)
        assert (pulled["sha256"], pulled["changed"]) == (digest(archive), True)
        again = python(*command, "pull", place, dest, "--pin", f"sha256:{digest(archive)}", "--if-changed")
        assert "unchanged" in again.stdout
        for wrong, code in ((("--pin", "x"), 2), (("--timeout", "0"), 2), (("--max-size", "-1"), 2), ((), 1)):
            failed = python(*command, "pull", place, dest, *wrong, check=False)
            assert failed.returncode == code
            assert "Traceback" not in failed.stderr
            if code == 1:
                assert len(failed.stderr.splitlines()) == 1

    @pytest.mark.parametrize("missing", ["minisign", "zstandard", "obstore", "oras"])
    def test_a_missing_library(self, place: Path, tmp_path: Path, keys: Keys, python: Python, missing: str) -> None:
        """The message names the missing library and the extra that provides it."""
        if missing == "zstandard" and sys.version_info >= (3, 14):
            pytest.skip("the standard library has it from Python 3.14 on")
        hide = f"import sys; sys.modules[{missing!r}] = None; from pycachehook.cli.main import main; sys.exit(main())"
        source = {"obstore": "s3://bucket/x", "oras": "oci://127.0.0.1:1/x:1"}.get(missing, str(place))
        arguments = ("archive", "pull", source, tmp_path / "out" / "x.pyca", "--key", keys.public)
        failed = python("-c", hide, *arguments, check=False)
        assert failed.returncode == 1
        assert failed.stderr.count("\n") == 1
        assert "pip install 'pycachehook[remote]'" in failed.stderr


@pytest.mark.full
class TestProcesses:
    """Simultaneous processes, killed ones, and locks without an effect."""

    @pytest.mark.parametrize("locks", [True, False])
    def test_eight_pulls_at_once(
        self, place: Path, archive: Path, dest: Path, keys: Keys, python: Python, tmp_path: Path, locks: bool
    ) -> None:
        """All succeed, even if every process gets the lock, as on some network file systems."""
        environment = {}
        if not locks:
            folder = tmp_path / "site"
            folder.mkdir()
            (folder / "sitecustomize.py").write_text("import fcntl\nfcntl.flock = lambda *a: None\n", encoding="utf-8")
            environment["PYTHONPATH"] = str(folder)
        command = ("-m", "pycachehook", "archive", "pull", place, dest, "--key", keys.public, "--json")
        running = [python.within(environment).start(*command) for _ in range(8)]
        said = [each.communicate(timeout=120) for each in running]
        assert [each.returncode for each in running] == [0] * 8, said
        changed = sum(json.loads(output)["changed"] for output, _ in said)
        assert changed == 1 if locks else changed >= 1
        assert dest.read_bytes() == archive.read_bytes()
        assert not left_beside(dest)

    def test_killed_at_any_point(
        self, place: Path, archive: Path, older_archive: Path, tmp_path: Path, dest: Path, keys: Keys, python: Python
    ) -> None:
        """After each of 50 kills the file is the old or the new archive, and a pull succeeds."""
        import random
        import time

        older = tmp_path / "older"
        push(str(older_archive), str(older), str(keys.secret))
        pull(str(older), str(dest), keys.policy())
        whole = {digest(archive), digest(older_archive)}
        sources, chance = (place, older), random.Random(19)
        began = time.monotonic()
        python("-m", "pycachehook", "archive", "pull", place, dest, "--key", keys.public)
        takes = time.monotonic() - began
        done = 0
        for number in range(50):
            arguments = (sources[number % 2], dest, "--key", keys.public, "--allow-older")
            process = python.start("-m", "pycachehook", "archive", "pull", *arguments)
            try:
                process.wait(chance.uniform(0.3, 1.1) * takes)
                done += 1
            except subprocess.TimeoutExpired:
                process.kill()
            process.communicate()
            assert digest(dest) in whole
        assert 0 < done < 50
        for each in (older, place):
            pull(str(each), str(dest), keys.policy(allow_older=True))
        assert digest(dest) == digest(archive)
        assert not left_beside(dest)


def test_temporary_files_that_vanish(tmp_path: Path) -> None:
    """Another process may rename or remove its temporary files while this one looks for abandoned ones."""
    for _ in range(3):
        paths = [Path(temporary_path(str(tmp_path), "0" * 64, "part")) for _ in range(1000)]
        for path in paths:
            path.touch()
        remover = threading.Thread(target=lambda found=paths: [path.unlink() for path in found])
        remover.start()
        while remover.is_alive():
            assert abandoned(str(tmp_path)) == []
        remover.join()


def test_two_archives_in_one_place(archive: Path, older_archive: Path, tmp_path: Path, dest: Path, keys: Keys) -> None:
    """A pull gets the archive of the last push."""
    there = tmp_path / "there"
    for each in (older_archive, archive):
        push(str(each), str(there), str(keys.secret))
    assert pull(str(there), str(dest), keys.policy()).sha256 == digest(archive)
