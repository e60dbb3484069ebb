"""Programs that start other processes, and programs inside archives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Workbench

pytestmark = [pytest.mark.full, pytest.mark.slow]


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_multiprocessing(method: str, bench: Workbench) -> None:
    """A multiprocessing worker loads a module through the cache; only the first run compiles it."""
    bench.write(
        {
            "plain.py": "def double(number):\n    return number * 2\n",
            "app.py": f"""
                import multiprocessing
                INSTALL

                def work(number):
                    import plain, pycachehook
                    stats = pycachehook.active().stats
                    return plain.double(number), stats.stored, stats.hits_by_place["store"]

                if __name__ == "__main__":
                    with multiprocessing.get_context("{method}").Pool(1) as pool:
                        print(pool.apply(work, (21,)))
                        pool.close()
                        pool.join()
            """,
        }
    )
    assert bench("app.py", PYCACHEHOOK_STATS="") == "(42, 1, 0)\n"
    assert bench("app.py", PYCACHEHOOK_STATS="") == "(42, 0, 1)\n"
    assert "plain" in bench.entries()
    bench.assert_clean()


def test_zipapp(activated: Workbench) -> None:
    """A module in the zip file is imported by zipimport, one beside it through the cache."""
    activated.write(
        {
            "packed/__main__.py": """
                import inside, plain
                print(inside.VALUE + plain.VALUE, type(inside.__loader__).__name__, type(plain.__loader__).__name__)
            """,
            "packed/inside.py": "VALUE = 40\n",
            "plain.py": "VALUE = 2\n",
        }
    )
    activated("-m", "zipapp", "packed")
    output = activated.twice("packed.pyz", PYTHONPATH=str(activated.tree))
    assert output == "42 zipimporter CachingLoader\n"
    assert activated.entries() == {"plain"}


def test_pex(activated: Workbench) -> None:
    """A pex file that uses its own environment loads its unpacked modules through the cache.

    Without PEX_INHERIT_PATH it restarts with the environment's base interpreter, in which nothing is activated.
    """
    activated.write({"app.py": "import plain\n\ndef main():\n    print(plain.VALUE)\n", "plain.py": "VALUE = 42\n"})
    activated("-m", "pex", "-D", ".", "-e", "app:main", "-o", "../app.pex", "--no-wheel")
    unpacked = activated.cache.with_name("unpacked")
    assert activated("../app.pex", PEX_ROOT=str(unpacked), PEX_INHERIT_PATH="fallback") == "42\n"
    first = activated.counted()
    assert activated("../app.pex", PEX_ROOT=str(unpacked), PEX_INHERIT_PATH="fallback") == "42\n"
    second = activated.counted()
    assert first["stored"] > 0
    assert (second["compiled"], second["from_store"] > 0) == (0, True)
    assert list((activated.cache / str(unpacked)[1:]).rglob("plain.*.pyc"))
    assert not list(unpacked.rglob("*.pyc"))
    activated.assert_clean()
