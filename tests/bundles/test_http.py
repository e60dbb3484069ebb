"""HTTP: the requests of a pull, broken connections, and 1,000 damaged transfers."""

from __future__ import annotations

import http.server
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pycachehook.bundles import download, pull
from pycachehook.bundles.errors import BundleError, DeadlineError
from pycachehook.bundles.push import push

from .conftest import Server, build, digest, left_beside, only, send

if TYPE_CHECKING:
    from .conftest import Keys

    Behaviour = Callable[[http.server.BaseHTTPRequestHandler, bytes], bool]

pytest.importorskip("obstore", reason="needs the extra `remote`: obstore")

Serve = Callable[[Path], Server]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the pauses between attempts."""
    monkeypatch.setattr(download, "_FIRST_WAIT", 0.001)


def test_requests(place: Path, archive: Path, dest: Path, keys: Keys, serve: Serve) -> None:
    """A pull makes three requests, or one if nothing changed."""
    server = serve(place)
    assert pull.pull(server.url, str(dest), keys.policy()).changed
    names = [only(place, pattern).name for pattern in ("*.json", "*.minisig", "*.zst")]
    assert server.requests == [f"/{name}" for name in names]
    assert dest.read_bytes() == archive.read_bytes()
    server.requests.clear()
    assert not pull.pull(server.url, str(dest), keys.policy(if_changed=True)).changed
    assert server.requests == [f"/{names[0]}"]


def test_below_a_prefix(place: Path, dest: Path, keys: Keys, serve: Serve) -> None:
    """The URL may end with or without a slash or name the manifest; user and password are not recorded."""
    server = serve(place.parent)
    for source in (f"/{place.name}", f"/{place.name}/", f"/{place.name}/{only(place, '*.json').name}"):
        dest.unlink(missing_ok=True)
        assert pull.pull(server.url + source, str(dest), keys.policy()).source.startswith("http://127.0.0.1:")
    dest.unlink()
    named = server.url.replace("http://", "http://me:secret@") + f"/{place.name}"
    assert "secret" not in pull.pull(named, str(dest), keys.policy()).source
    assert b"secret" not in Path(f"{dest}.bundle.json").read_bytes()


def test_nothing_there(place: Path, dest: Path, keys: Keys, serve: Serve) -> None:
    """A server that answers 404 has no bundle, or no signature; its page is not a part of the message."""
    server = serve(place)
    with pytest.raises(BundleError, match=r"/gone has no bundle for this interpreter, .*[.]$"):
        pull.pull(f"{server.url}/gone", str(dest), keys.policy())
    only(place, "*.minisig").unlink()
    with pytest.raises(BundleError, match=r"^The bundle is not signed[.]$"):
        pull.pull(server.url, str(dest), keys.policy())
    assert not dest.exists()


def test_cut_connections_are_resumed(place: Path, archive: Path, dest: Path, keys: Keys, serve: Serve) -> None:
    """Each transfer continues at the byte at which it was cut off."""
    server = serve(place)

    def cut(handler: http.server.BaseHTTPRequestHandler, data: bytes) -> bool:
        if not handler.path.endswith(".zst"):
            return False
        start = int((handler.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        rest = len(data) - start
        if rest <= 6000:
            return False
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.send_header("Content-Length", str(rest))
        handler.send_header("ETag", '"x"')
        handler.end_headers()
        handler.wfile.write(data[start : start + 6000])
        handler.close_connection = True
        return True

    server.behave = cut
    pulled = pull.pull(server.url, str(dest), keys.policy())
    assert pulled.received == only(place, "*.zst").stat().st_size
    assert dest.read_bytes() == archive.read_bytes()


def test_a_server_without_ranges(place: Path, archive: Path, dest: Path, keys: Keys, serve: Serve) -> None:
    """A transfer from a server without ranges starts again from the beginning."""
    server = serve(place)
    cuts = 0

    def whole_only(handler: http.server.BaseHTTPRequestHandler, data: bytes) -> bool:
        nonlocal cuts
        del handler.headers["Range"]
        if not handler.path.endswith(".zst") or cuts == 2:
            return False
        cuts += 1
        send(handler, data[:5000], len(data))
        handler.close_connection = True
        return True

    server.behave = whole_only
    pull.pull(server.url, str(dest), keys.policy())
    assert dest.read_bytes() == archive.read_bytes()


def test_the_time_is_bounded(place: Path, dest: Path, keys: Keys, serve: Serve) -> None:
    """A body that never ends, and a server that never answers, cause an error in time."""
    server = serve(place)
    over = threading.Event()

    def drip(handler: http.server.BaseHTTPRequestHandler, data: bytes) -> bool:
        if handler.path.endswith(".zst"):
            send(handler, b"", len(data))
            for number in range(len(data)):
                handler.wfile.write(data[number : number + 1])
                handler.wfile.flush()
                over.wait(0.02)
        return handler.path.endswith(".zst")

    def silence(_handler: http.server.BaseHTTPRequestHandler, _data: bytes) -> bool:
        over.wait(60)
        return False

    for behaviour in (drip, silence):
        server.behave = behaviour
        began = time.monotonic()
        with pytest.raises((DeadlineError, BundleError), match=r"^[^\n]+\.$"):
            pull.pull(server.url, str(dest), keys.policy(timeout=1.5))
        assert time.monotonic() - began < 30  # less than the duration of the server's answer
        assert not dest.exists()
    over.set()


class Damage:
    """Kinds of faults in a transfer, each with random choices from one seed."""

    def __init__(self, place: Path, older: Path, foreign: Path) -> None:
        self.place, self.older, self.foreign = place, older, foreign

    def behaviour(self, number: int) -> tuple[str, Behaviour]:
        """Return the name of a kind of fault, and the server's behaviour."""
        names = sorted(name for name in dir(self) if name.startswith("do_"))
        name = names[number % len(names)]
        made: Behaviour = getattr(self, name)(random.Random(number))
        return name, made

    @staticmethod
    def _on(
        suffixes: tuple[str, ...], answer: Callable[[http.server.BaseHTTPRequestHandler, bytes], None]
    ) -> Behaviour:
        def behave(handler: http.server.BaseHTTPRequestHandler, data: bytes) -> bool:
            if not handler.path.endswith(suffixes):
                return False
            answer(handler, data)
            return True

        return behave

    def do_cut(self, chance: random.Random) -> Behaviour:
        """Every connection breaks at one point."""
        suffix, where = chance.choice((".json", ".minisig", ".zst")), chance.random()

        def answer(handler: http.server.BaseHTTPRequestHandler, data: bytes) -> None:
            end = int(where * len(data))
            start = int((handler.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
            if start >= end:
                handler.close_connection = True
                return
            del handler.headers["Range"]
            send(handler, data[:end], len(data))
            handler.close_connection = True

        return self._on((suffix,), answer)

    def do_short(self, chance: random.Random) -> Behaviour:
        """The server sends and announces fewer bytes."""
        suffix, where = chance.choice((".json", ".minisig", ".zst")), chance.random()
        return self._on((suffix,), lambda handler, data: send(handler, data[: int(where * len(data))]))

    def do_flip(self, chance: random.Random) -> Behaviour:
        """The server sends one wrong bit, except in a signature's comment, which is not signed."""
        suffix, where, bit = chance.choice((".json", ".minisig", ".zst")), chance.random(), 1 << chance.randrange(8)

        def answer(handler: http.server.BaseHTTPRequestHandler, data: bytes) -> None:
            begin = data.index(b"\n") + 1 if suffix == ".minisig" else 0
            bad = bytearray(data)
            bad[begin + int(where * (len(data) - 1 - begin))] ^= bit
            send(handler, bytes(bad))

        return self._on((suffix,), answer)

    def do_more(self, chance: random.Random) -> Behaviour:
        """The server sends more bytes than the manifest says."""
        junk = chance.randbytes(chance.randrange(1, 3000))
        return self._on((".zst", ".minisig"), lambda handler, data: send(handler, data + junk))

    def do_announce(self, chance: random.Random) -> Behaviour:
        """The server announces ten gigabytes."""
        suffix = chance.choice((".json", ".minisig", ".zst"))

        def answer(handler: http.server.BaseHTTPRequestHandler, data: bytes) -> None:
            send(handler, data, 10 << 30)
            handler.close_connection = True

        return self._on((suffix,), answer)

    def do_endless(self, chance: random.Random) -> Behaviour:
        """The server sends a body without an end."""
        suffix, chunked = chance.choice((".json", ".minisig", ".zst")), chance.random() < 0.5

        def answer(handler: http.server.BaseHTTPRequestHandler, _data: bytes) -> None:
            handler.send_response(200)
            if chunked:
                handler.send_header("Transfer-Encoding", "chunked")
            else:
                handler.send_header("Content-Length", str(1 << 40))
            handler.end_headers()
            block = b"10000\r\n" + b"x" * 65536 + b"\r\n" if chunked else b"x" * 65536
            handler.close_connection = True
            while True:
                handler.wfile.write(block)

        return self._on((suffix,), answer)

    def do_swap(self, chance: random.Random) -> Behaviour:
        """The server sends the manifest, the signature or the payload of another bundle."""
        suffix, other = chance.choice((".json", ".minisig", ".zst")), chance.choice((self.older, self.foreign))
        data = only(other, f"*{suffix}").read_bytes()
        return self._on((suffix,), lambda handler, _data: send(handler, data))

    def do_foreign(self, _chance: random.Random) -> Behaviour:
        """The server sends a complete bundle signed by an untrusted key."""
        return lambda handler, _data: self._from(self.foreign, handler)

    def do_older(self, _chance: random.Random) -> Behaviour:
        """The server sends the bundle that was the newest a day before."""
        return lambda handler, _data: self._from(self.older, handler)

    @staticmethod
    def _from(place: Path, handler: http.server.BaseHTTPRequestHandler) -> bool:
        send(handler, (place / handler.path.lstrip("/")).read_bytes())
        return True

    def do_status(self, chance: random.Random) -> Behaviour:
        """The server answers with a status that means failure, refusal or absence."""
        suffix, status = chance.choice((".json", ".minisig", ".zst")), chance.choice((204, 401, 403, 404, 410, 418))

        def answer(handler: http.server.BaseHTTPRequestHandler, _data: bytes) -> None:
            handler.send_response(status)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        return self._on((suffix,), answer)

    def do_redirect(self, chance: random.Random) -> Behaviour:
        """The server redirects to itself, or to a missing page."""
        suffix = chance.choice((".json", ".minisig", ".zst"))
        target = chance.choice(("", "http://127.0.0.1:1", "file:///etc"))

        def answer(handler: http.server.BaseHTTPRequestHandler, _data: bytes) -> None:
            handler.send_response(302)
            handler.send_header("Location", target + handler.path)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        return self._on((suffix,), answer)

    def do_garbage(self, chance: random.Random) -> Behaviour:
        """The server sends no HTTP, or a page of HTML."""
        suffix, page = chance.choice((".json", ".minisig", ".zst")), chance.random() < 0.5
        junk = chance.randbytes(chance.randrange(1, 2000))

        def answer(handler: http.server.BaseHTTPRequestHandler, _data: bytes) -> None:
            if page:
                send(handler, b"<html><body>Please log in</body></html>")
                return
            handler.wfile.write(junk)
            handler.close_connection = True

        return self._on((suffix,), answer)


@pytest.mark.full
@pytest.mark.parametrize("batch", [*range(4), *(pytest.param(batch, marks=pytest.mark.slow) for batch in range(4, 10))])
def test_damaged_transfers(
    place: Path,
    older_archive: Path,
    tmp_path: Path,
    keys: Keys,
    other_keys: Keys,
    serve: Serve,
    batch: int,
) -> None:
    """In each of a thousand damaged transfers, pull fails in one sentence and keeps the existing archive."""
    older, foreign, between = tmp_path / "older", tmp_path / "foreign", tmp_path / "between"
    push(str(older_archive), str(older), str(keys.secret))
    push(str(older_archive), str(foreign), str(other_keys.secret))
    push(str(build(tmp_path / "third", "wave", created=1_700_000_000 - 100)), str(between), str(keys.secret))
    dest = tmp_path / "pulled" / "env.pyca"
    pull.pull(str(between), str(dest), keys.policy())  # so that the newest is expected, and the older one refused
    before = digest(dest)
    damage = Damage(place, older, foreign)
    server = serve(place)
    for number in range(batch * 100, batch * 100 + 100):
        name, server.behave = damage.behaviour(number)
        try:
            pull.pull(server.url, str(dest), keys.policy(timeout=20))
        except BundleError as error:
            assert "\n" not in str(error), (number, name)  # noqa: PT017
            assert len(str(error)) < 600, (number, name)  # noqa: PT017
        else:
            pytest.fail(f"{number}: {name} was accepted")
        assert digest(dest) == before, (number, name)
        for each in left_beside(dest):
            assert ".part" in each, (number, name)
            (dest.parent / each).unlink()
    server.behave = lambda _handler, _data: False
    assert pull.pull(server.url, str(dest), keys.policy()).changed
