"""`gc = "freeze"` with real programs: everything that ran at exit or was collected without it still does."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conftest import Python

MODULES = 60  # more than `gc_control.MODULES`

# A module is used right after its import, so that it is also loaded there with lazy imports enabled everywhere.
HEAD = """
import gc, os, sys
import pycachehook
pycachehook.install(sys.argv[1], gc=sys.argv[2])
"""

# By effect: the last module of a long start, and the program that imports it.
PROGRAMS = {
    "a file in a class": (
        """
        class Log:
            file = open("out", "w")
        Log.file.write("written at import")
        """,
        "",
    ),
    "a file in a cycle": (
        """
        class Log:
            def __init__(self):
                self.me, self.file = self, open("out", "w")
                self.file.write("written at import")
        log = Log()
        """,
        "",
    ),
    "a file in a dropped cycle": (
        """
        class Log:
            def __init__(self):
                self.me, self.file = self, open("out", "w")
                self.file.write("written at import")
        Log()
        """,
        "",
    ),
    "a file that the program puts into a class": (
        "class Log: file = None",
        "big.last.Log.file = open('out', 'w'); big.last.Log.file.write('written later')",
    ),
    "a file that the program puts into a cycle": (
        """
        class Log: pass
        log = Log()
        log.me = log
        """,
        "big.last.log.file = open('out', 'wb'); big.last.log.file.write(b'written later')",
    ),
    "a file that writes something when it is closed": (
        """
        import io, os
        class Compressed(io.BufferedIOBase):
            def close(self, write=os.write, out=os.open("out", os.O_CREAT | os.O_WRONLY)):
                if not self.closed: write(out, b"trailer")
                super().close()
        class Log: file = Compressed()
        """,
        "",
    ),
    "a temporary file": (
        """
        import tempfile
        for name in dir(tempfile): getattr(tempfile, name)  # its finalizer can resolve no lazy import at exit
        class Log: file = tempfile.NamedTemporaryFile(dir=".")
        """,
        "",
    ),
    "a database": (
        """
        import sqlite3
        class Log: database = None
        """,
        """
        database = big.last.Log.database = big.last.sqlite3.connect("out.db")
        del database
        big.last.Log.database.execute("pragma journal_mode=wal")
        big.last.Log.database.execute("create table t (x)")
        """,
    ),
    "a finalizer of an object made at import": (
        """
        import os
        class Guard:
            def __del__(self, write=os.write, out=os.open("out", os.O_CREAT | os.O_WRONLY)): write(out, b"finalized")
        class Holder: guard = Guard()
        """,
        "",
    ),
    "a finalizer of an object without weak references": (
        """
        import os
        class Guard:
            __slots__ = ("me",)
            def __del__(self, write=os.write, out=os.open("out", os.O_CREAT | os.O_WRONLY)): write(out, b"finalized")
        class Holder: guard = Guard()
        """,
        "",
    ),
    "a callback of a weak reference to an object with a method": (
        "import weakref",
        """
        class Item:
            def method(self): pass
        item = Item()
        item.me = item
        space = {"write": os.write, "out": os.open("out", os.O_CREAT | os.O_WRONLY)}
        exec("def call(_, write=write, out=out): write(out, b'called')", space)
        sys.kept = big.last.weakref.ref(item, space["call"])
        """,
    ),
    "a finalizer of the program's own object": (
        "class Holder: guard = None",
        """
        import os
        class Guard:
            def __del__(self, write=os.write, out=os.open("out", os.O_CREAT | os.O_WRONLY)): write(out, b"finalized")
        guard = Guard()
        guard.me, guard.holder = guard, big.last.Holder
        big.last.Holder.guard = Guard()
        """,
    ),
    "a finalizer that a class inherits": (
        """
        import os
        class Base:
            def __del__(self, write=os.write, out=os.open("out", os.O_CREAT | os.O_WRONLY)): write(out, type(self).__name__.encode())
        class Meta(type):
            def __getattr__(cls, name): raise RuntimeError(name)
        class Guard(Base, metaclass=Meta): pass
        class Holder: guard = Guard()
        """,
        "",
    ),
    "a generator that was suspended at import": (
        """
        import os
        def steps(write, out):
            try: yield
            finally: write(out, b"closed")
        class Holder: steps = steps(os.write, os.open("out", os.O_CREAT | os.O_WRONLY))
        next(Holder.steps)
        """,
        "",
    ),
    "a generator that the program begins": (
        """
        import os
        def steps(write, out):
            try: yield
            finally: write(out, b"closed")
        class Holder: steps = steps(os.write, os.open("out", os.O_CREAT | os.O_WRONLY))
        """,
        "next(big.last.Holder.steps)",
    ),
    "weakref.finalize": (
        """
        import weakref
        class Guard: pass
        class Holder: guard = Guard()
        weakref.finalize(Holder.guard, open("out", "w", 1).write, "finalized")
        """,
        "",
    ),
    "a callback of a weak reference to the program's own object": (
        "class Node: pass",
        """
        import weakref
        node = big.last.Node()
        node.me = node
        out = os.open("out", os.O_CREAT | os.O_WRONLY)
        sys.kept = weakref.ref(node, lambda _, write=os.write, out=out: write(out, b"called back"))
        """,
    ),
    "atexit": (
        """
        import atexit
        file = open("out", "w")
        class Log: stream = file
        atexit.register(file.write, "called at exit")
        """,
        "",
    ),
    "a thread that ends after the program": (
        """
        import threading
        class Log: file = None
        """,
        """
        def work():
            big.last.threading.main_thread().join()
            big.last.Log.file = open("out", "w")
            big.last.Log.file.write("written by a thread")
        big.last.threading.Thread(target=work).start()
        """,
    ),
    "a forked child": (
        "class Log: file = None",
        """
        child = os.fork()
        if child == 0:
            big.last.Log.file = open("out", "w")
            big.last.Log.file.write("written by a child")
        else:
            os.waitpid(child, 0)
        """,
    ),
    "an exception": (
        "class Log: file = open('out', 'w')",
        "big.last.Log.file.write('before'); raise ValueError('the end')",
    ),
    "standard output that the program has replaced": (
        "import io",
        "sys.stdout = big.last.io.TextIOWrapper(open('out', 'wb')); print('printed')",
    ),
}


@pytest.fixture
def start(
    python: Python, tree: Callable[[Mapping[str, str]], Path], tmp_path: Path
) -> Callable[[str, str, str], list[str]]:
    """Return a function that runs a program after a long start, and returns its output and the files that it leaves."""

    def run(last: str, program: str, option: str) -> list[str]:
        members = {f"big/m{number}.py": MEMBER for number in range(MODULES)}
        names = ", ".join(f"m{number}" for number in range(MODULES))
        root = tree(
            {**members, "big/__init__.py": f"from . import {names}, last\n{names}, last\n", "big/last.py": dedent(last)}
        )
        (root / "program.py").write_text(HEAD + "import big.last\nbig.last\n" + CHECK + dedent(program))
        folder = tmp_path / option
        folder.mkdir()
        done = python(root / "program.py", tmp_path / "cache", option, cwd=folder, check=False)
        left = [f"{each.name}: {each.read_bytes()!r}" for each in sorted(folder.iterdir())]
        return [done.stdout, done.stderr, str(done.returncode), *left]

    return run


MEMBER = """
class One:
    def method(self): pass
kept = [[] for _ in range(100)]
kept.append(kept)
"""
CHECK = "assert (gc.get_freeze_count() > 5000) == (sys.argv[2] == 'freeze'), gc.get_freeze_count()\n"


@pytest.mark.parametrize(("last", "program"), PROGRAMS.values(), ids=PROGRAMS)
def test_an_exit_is_as_without_it(last: str, program: str, start: Callable[[str, str, str], list[str]]) -> None:
    """The output, exit code and files of the program are the same; with the option, everything imported is frozen."""
    stock = start(last, program, "default")
    assert ("Error" in stock[1]) == ("raise" in program), stock[1]
    assert start(last, program, "freeze") == stock


@pytest.fixture
def after_a_start(
    python: Python, tree: Callable[[Mapping[str, str]], Path], tmp_path: Path
) -> Callable[[str], list[str]]:
    """Return a function that runs a program with `freeze` and returns its output as words.

    The program can import the packages `big`, `late` and `failing`, which are long starts, and `small`, which is not.
    """

    def run(program: str) -> list[str]:
        names = ", ".join(f"m{number}" for number in range(MODULES))
        sources = {
            f"{package}/m{number}.py": MEMBER for package in ("big", "late", "failing") for number in range(MODULES)
        }
        sources |= {f"{package}/__init__.py": f"from . import {names}\n{names}\n" for package in ("big", "late")}
        sources["failing/__init__.py"] = (
            f"import gc\nfrom . import {names}\n{names}\nfrozen = gc.get_freeze_count()\nraise ImportError(frozen)\n"
        )
        sources["small.py"] = MEMBER
        sources["program.py"] = HEAD + dedent(program)
        done = python(tree(sources) / "program.py", tmp_path / "cache", "freeze", cwd=tmp_path)
        return done.stdout.split()

    return run


def test_late_imports_leave_their_garbage_to_the_collector(after_a_start: Callable[[str], list[str]]) -> None:
    """After 1,000 late imports of different modules there are no more objects than after 10, frozen or not."""
    program = """
        import big; big
        with open(big.m0.__file__) as file: text = file.read()
        def load(number):
            with open(f"{sys.path[0]}/late_{number}.py", "w") as file: file.write(text)
            __import__(f"late_{number}")
            del sys.modules[f"late_{number}"]
            sys.path_importer_cache.clear()
        def count(): return gc.collect() * 0 + len(gc.get_objects()) + gc.get_freeze_count()
        for number in range(10): load(number)
        before = count()
        for number in range(10, 1010): load(number)
        print(count() - before)
    """
    (grown,) = after_a_start(program)
    assert abs(int(grown)) < 100


def test_a_package_that_is_loaded_again_and_again_is_frozen_once(after_a_start: Callable[[str], list[str]]) -> None:
    """A repeated load of the same modules is not frozen, so the old modules can be collected."""
    program = """
        import big; big
        before = gc.get_freeze_count()
        for _ in range(5):
            for name in [name for name in sys.modules if name.startswith("big")]: del sys.modules[name]
            import big; big
        del big
        for name in [name for name in sys.modules if name.startswith("big")]: del sys.modules[name]
        print(before > 5000, gc.get_freeze_count() <= before, gc.collect() > 0, len(gc.get_objects()) < 2000)
    """
    assert after_a_start(program) == ["True", "True", "True", "True"]


@pytest.mark.parametrize("loaded_first", ["big", "small"])
def test_what_requests_have_made_is_not_frozen(loaded_first: str, after_a_start: Callable[[str], list[str]]) -> None:
    """A late import, however long, freezes nothing while many other objects are alive."""
    program = f"""
        import {loaded_first}; {loaded_first}
        before = gc.get_freeze_count()
        class Request: pass
        requests = [Request() for _ in range(20_000)]
        for each in requests: each.me = each
        import late; late
        print(gc.get_freeze_count() <= before)
        import weakref
        alive = weakref.ref(requests[0])
        del requests, each
        gc.collect()
        print(alive() is None)
    """
    assert after_a_start(program) == ["True", "True"]


def test_an_import_in_a_thread_is_not_frozen(after_a_start: Callable[[str], list[str]]) -> None:
    """An import in a thread other than the main thread is not frozen."""
    program = """
        import threading
        before = gc.get_freeze_count()  # Python 3.12 has frozen some itself
        def handle(): import late
        thread = threading.Thread(target=handle)
        thread.start()
        thread.join()
        print(gc.get_freeze_count() <= before)
    """
    assert after_a_start(program) == ["True"]


def test_an_import_that_fails_leaves_nothing_frozen(after_a_start: Callable[[str], list[str]]) -> None:
    """A failed import leaves nothing frozen, because its objects may be garbage."""
    program = """
        try: import failing
        except ImportError as error: print(int(str(error)) > 0)
        print(gc.get_freeze_count(), gc.get_threshold()[0] < 100_000)
    """
    assert after_a_start(program) == ["True", "0", "True"]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("gc.disable()", "(False, True)"),
        ("gc.disable(); import late; late; gc.enable()", "(True, True)"),
        ("gc.unfreeze(); import late; late", "(True, False)"),
    ],
)
def test_what_the_program_says_of_the_collector_stays(
    statement: str, expected: str, after_a_start: Callable[[str], list[str]]
) -> None:
    """A program may turn the collector off and on, and unfreeze everything; a later import does not undo it."""
    program = f"""
        import big; big
        {statement}
        print(f"{{gc.isenabled(), gc.get_freeze_count() > 0}}")
    """
    assert " ".join(after_a_start(program)) == expected


def test_the_collector_as_programs_mock_it_is_not_used(after_a_start: Callable[[str], list[str]]) -> None:
    """A mocked `gc` is used neither during an import nor at exit."""
    program = """
        def fail(*arguments): raise RuntimeError
        count = gc.get_freeze_count
        for name in ("freeze", "unfreeze", "get_objects", "get_count", "get_threshold", "set_threshold", "get_freeze_count"):
            setattr(gc, name, fail)
        sys.modules["gc"] = None
        import builtins
        builtins.map = builtins.filter = fail
        import big; big
        print(count() > 5000)
    """
    assert after_a_start(program) == ["True"]


def test_what_is_frozen_at_exit(after_a_start: Callable[[str], list[str]]) -> None:
    """The program's own objects are frozen at exit, unless one of them might have an effect when it is deallocated."""
    words = after_a_start("""
        import big, mmap, weakref
        from pycachehook.gc_control import start
        big, mmap, weakref
        class Own:
            __slots__ = ("value", "__weakref__")
        class Item(dict):
            def __init__(self, value): self.value = value
        kept = [[Item(i)] for i in range(3000)]
        def is_spared(item):
            young = [item, [item]]
            before = gc.get_freeze_count()
            start.exit()
            return gc.get_freeze_count() == before
        print(is_spared(None), is_spared(Own()), is_spared(weakref.ref(kept[0][0].__class__)))
        print(is_spared(mmap.mmap(-1, 1)), is_spared(type("Sub", (mmap.mmap,), {})(-1, 1)))
        import select
        nested = (select.poll(),)
        gc.collect()  # the tuple, and a dictionary that contains it, are not tracked from now on
        print(gc.is_tracked(nested), is_spared(nested), is_spared({1: nested}), is_spared({1: (1,)}))
    """)
    assert words == ["False", "False", "False", "True", "True", "False", "True", "True", "False"]
