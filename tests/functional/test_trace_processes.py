"""Recorded programs with several processes, in an enabled environment: each process is on the one picture."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Python, clean_environment
from pycachehook.commands import trace, trace_output

from .conftest import DEVELOPMENT

pytestmark = pytest.mark.skipif(os.name == "nt", reason="gunicorn needs POSIX")

WORKERS = 4


@pytest.fixture(scope="module")
def servers(make_environment: Callable[..., Python], tmp_path_factory: pytest.TempPathFactory) -> Python:
    """Return an environment with gunicorn and pytest-xdist, in which the hook is enabled."""
    python = make_environment(*DEVELOPMENT)
    python("-m", "pycachehook", "enable", "--cache-dir", tmp_path_factory.mktemp("cache"))
    return python


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Return a directory for a program, with a module that only workers import."""
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / "late.py").write_text("value = 1\n")
    return folder


def check_picture(folder: Path, workers: int, out: Path) -> list[trace.Process]:
    """Merge the recordings, require that so many processes have imported `late`, and return all of them."""
    pytest.importorskip("plotly", reason="plotly is not installed")
    processes = trace.read(str(folder))
    assert sum(any(one.name == "late" for one in each.imports) for each in processes) == workers
    assert len({each.number for each in processes}) == len(processes)
    trace_output.write(processes, str(out))
    page = out.read_text()
    assert page.count("<section>") == len(processes)
    for each in processes:
        assert f"<h2>Process {each.number}: " in page
    return processes


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["each", "preload"])
def test_gunicorn(servers: Python, program: Path, tmp_path: Path, preload: tuple[str, ...]) -> None:
    """Four workers, forked by a master that has loaded the application, or has not."""
    (program / "app.py").write_text("def application(environ, start_response):\n    raise SystemExit\n")
    reading, writing = os.pipe()
    (program / "settings.py").write_text(
        f"import os\ndef post_worker_init(worker):\n    import late\n    os.write({writing}, b'x')\n"
    )
    words = [
        "-m",
        "gunicorn",
        "--workers",
        str(WORKERS),
        "--bind",
        f"unix:{tmp_path}/socket",
        "--config",
        "settings.py",
    ]
    environment = clean_environment(PYCACHEHOOK_TRACE=str(tmp_path / "traces"), **servers.environment)
    server = subprocess.Popen(
        [servers.executable, *words, *preload, "app:application"],
        cwd=program,
        env=environment,
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read(WORKERS) == b"x" * WORKERS
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    master, *workers = check_picture(tmp_path / "traces", WORKERS, tmp_path / "a.html")
    assert "gunicorn.app.base" in {one.name for one in master.imports}
    assert len(workers) == WORKERS
    for worker in workers:
        assert ("app" in {one.name for one in worker.imports}) is not bool(preload)


def test_spawn_pool(servers: Python, program: Path, tmp_path: Path) -> None:
    """Each worker of a pool imports everything for itself."""
    (program / "pool.py").write_text(
        "import multiprocessing\n"
        "def work(barrier):\n    import late\n    barrier.wait(60)\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    with context.Manager() as manager, context.Pool(3) as pool:\n"
        "        pool.map(work, [manager.Barrier(3)] * 3, 1)\n"
        "        pool.close()\n"
        "        pool.join()\n"
    )
    servers("pool.py", cwd=program, PYCACHEHOOK_TRACE=str(tmp_path / "traces"))
    processes = check_picture(tmp_path / "traces", 3, tmp_path / "a.html")
    assert sum("multiprocessing.spawn" in {one.name for one in each.imports} for each in processes) >= 4


def test_pytest_xdist(servers: Python, program: Path, tmp_path: Path) -> None:
    """The controller and each of the workers, which execnet starts."""
    for number in range(2):
        (program / f"test_{number}.py").write_text("def test():\n    import late\n")
    said = servers(
        *("-m", "pytest", "-q", "-n", "2", "--dist", "each", "-p", "no:cacheprovider", "."),
        cwd=program,
        PYCACHEHOOK_TRACE=str(tmp_path / "traces"),
    ).stdout
    assert "4 passed" in said
    processes = check_picture(tmp_path / "traces", 2, tmp_path / "a.html")
    assert len(processes) == 3
    assert "xdist.dsession" in {one.name for one in processes[0].imports}
    assert all("execnet" in " ".join(one.name for one in each.imports) for each in processes)
