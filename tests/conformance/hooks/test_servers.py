"""Servers that start workers, and restart when a source changes: the new code is served."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Workbench

pytestmark = [pytest.mark.full, pytest.mark.slow]

WSGI = """
    import plain

    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [plain.WORD.encode()]
"""
ASGI = """
    import plain

    async def application(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": plain.WORD.encode()})
"""
FLASK = """
    import flask, plain

    app = flask.Flask("app")

    @app.route("/")
    def word():
        return plain.WORD
"""
DJANGO = """
    import django.conf, django.core.management, django.http, django.urls, plain, sys

    def word(request):
        return django.http.HttpResponse(plain.WORD)

    urlpatterns = [django.urls.path("", word)]

    if __name__ == "__main__":
        django.conf.settings.configure(DEBUG=True, ROOT_URLCONF="app", SECRET_KEY="none", ALLOWED_HOSTS=["*"])
        django.core.management.execute_from_command_line(sys.argv)
"""
RELOADERS = {
    "django": (DJANGO, ("app.py", "runserver", "--skip-checks", "{port}")),
    "flask": (FLASK, ("-m", "flask", "--app", "app", "run", "--debug", "--port", "{port}")),
    "uvicorn": (ASGI, ("-m", "uvicorn", "--lifespan", "off", "--reload", "--port", "{port}", "app:application")),
}


@pytest.mark.parametrize("name", RELOADERS)
def test_reload_serves_new_code(name: str, activated: Workbench) -> None:
    """The server uses the new code after each edit of the same length; each version is cached."""
    application, command = RELOADERS[name]
    activated.write({"app.py": application, "plain.py": "WORD = 'one'\n"})
    log = activated.cache.with_name("lookups.log")
    with activated.serve(*command, PYCACHEHOOK_LOG=str(log)) as server:
        assert server.answers("one"), server.log
        for word in ("two", "one"):
            edit = partial(activated.write, {"plain.py": f"WORD = {word!r}\n"})
            assert server.answers(word, edit), server.log
    misses = re.findall(r": plain: miss \((.*?)\).*, compiled and stored", log.read_text(encoding="utf-8"))
    assert misses == ["absent", "stale-source", "stale-source"]
    assert activated.counted()["processes"] > 0
    assert {"app", "plain"} <= activated.entries()
    assert activated("-c", "import plain; print(plain.WORD)") == "one\n"
    counted = activated.counted()
    assert (counted["compiled"], counted["from_store"]) == (0, 1), counted
    activated.assert_clean()


@pytest.mark.parametrize("preload", [("--preload",), ()], ids=["preload", "workers"])
def test_gunicorn(preload: tuple[str, ...], activated: Workbench) -> None:
    """Two workers serve; with --preload the master loads the application, without it one of them compiles it."""
    activated.write({"app.py": WSGI, "plain.py": "WORD = 'one'\n"})
    command = ("-m", "gunicorn", "--workers", "2", "--bind", "127.0.0.1:{port}", *preload, "app:application")
    for turn in range(2):
        with activated.serve(*command) as server:
            assert server.answers("one"), server.log
        counted = activated.counted()
        assert counted["processes"] >= 1, counted
        if turn == 0:
            assert counted["stored"] == counted["compiled"] == 2, counted
        else:
            assert counted["compiled"] == 0, counted
            assert counted["from_store"] >= 2, counted
    assert {"app", "plain"} <= activated.entries()
    activated.assert_clean()
