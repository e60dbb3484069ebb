"""Imports in several threads."""

from __future__ import annotations

import pytest

from .harness import Battery

WORKERS = 8

THREADS = f"""
import importlib, sys, threading


def at_once(*names):
    \"\"\"Import the names in turn, in {WORKERS} threads that start together, and return what each thread came to.\"\"\"
    barrier, found = threading.Barrier({WORKERS}), []

    def work(number):
        barrier.wait()
        try:
            modules = [importlib.import_module(names[(number + step) % len(names)]) for step in range(len(names))]
            found.append(sorted(module.VALUE for module in modules))
        except Exception as error:
            found.append([type(error).__name__, str(error)])

    threads = [threading.Thread(target=work, args=(number,)) for number in range({WORKERS})]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


def count(name):
    counts = sys.__dict__.setdefault("counts", {{}})
    counts[name] = counts.get(name, 0) + 1
"""

BODY = "import threads, time\nthreads.count(__name__)\ntime.sleep(0.01)\n"
MANY = [f"many_{number}" for number in range(12)]

BATTERY = Battery(
    {
        "threads.py": THREADS,
        "slow.py": f"{BODY}VALUE = 1\n",
        **{f"{name}.py": f"{BODY}VALUE = {number}\n" for number, name in enumerate(MANY)},
        "pack/__init__.py": f"{BODY}VALUE = 0\n",
        "pack/left.py": f"{BODY}VALUE = 1\nfrom . import right\n",
        "pack/right.py": f"{BODY}VALUE = 2\n",
        "ring_a.py": f"{BODY}import ring_b\nVALUE = 1\n",
        "ring_b.py": f"{BODY}import ring_a\nVALUE = 2\n",
        "failing.py": f"{BODY}raise ValueError('no luck')\n",
        "broken.py": "VALUE = = 1\n",
        "starter.py": """
import threading

def work():
    global FOUND
    import slow
    FOUND = slow.VALUE

thread = threading.Thread(target=work)
thread.start()
thread.join(60)
VALUE = FOUND
""",
        "pooled.py": """
from concurrent.futures import ThreadPoolExecutor
import importlib

with ThreadPoolExecutor(4) as pool:
    VALUE = sum(module.VALUE for module in pool.map(importlib.import_module, ["many_1", "many_2", "many_3", "many_1"]))
""",
    },
    {
        "one_module": ("import threads\nreturn [threads.at_once('slow'), sys.counts['slow']]", [[[1]] * WORKERS, 1]),
        "many_modules": (
            f"import threads\nsys.counts = {{}}\nreturn [threads.at_once(*{MANY}), sorted(sys.counts.values())]",
            [[list(range(len(MANY)))] * WORKERS, [1] * len(MANY)],
        ),
        "submodules": (
            "import threads\nsys.counts = {}\nreturn [threads.at_once('pack.left', 'pack.right', 'pack'), sys.counts]",
            [[[0, 1, 2]] * WORKERS, {"pack": 1, "pack.left": 1, "pack.right": 1}],
        ),
        "circle": (
            "import threads\nsys.counts = {}\nreturn [threads.at_once('ring_a', 'ring_b'), sys.counts]",
            [[[1, 2]] * WORKERS, {"ring_a": 1, "ring_b": 1}],
        ),
        "failing": (
            """
            import threads
            sys.counts = {}
            return [threads.at_once('failing'), sys.counts['failing'], 'failing' in sys.modules]
            """,
            [[["ValueError", "no luck"]] * WORKERS, WORKERS, False],
        ),
        "broken": (
            "import threads\nreturn threads.at_once('broken')",
            [["SyntaxError", "invalid syntax (broken.py, line 1)"]] * WORKERS,
        ),
        "missing": (
            "import threads\nreturn threads.at_once('nowhere')",
            [["ModuleNotFoundError", "No module named 'nowhere'"]] * WORKERS,
        ),
        "thread_within_an_import": ("import starter\nreturn starter.VALUE", 1),
        "pool_within_an_import": ("import pooled\nreturn pooled.VALUE", 7),
    },
)


@pytest.mark.parametrize("name", BATTERY.names)
def test_threads(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A module imported by many threads runs once, and each thread gets it complete."""
    BATTERY.check(tmp_path_factory, name)
