"""A developer's checkout stays unchanged for git: no tool writes bytecode into it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .conftest import DEVELOPMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from conftest import Python

pytestmark = pytest.mark.full

CHECKOUT = {
    "pyproject.toml": """
        [build-system]
        requires = ["hatchling"]
        build-backend = "hatchling.build"
        [project]
        name = "demo"
        version = "1.0"
        [project.scripts]
        demo = "demo.greeting:main"
        [tool.hatch.build.targets.wheel]
        packages = ["src/demo"]
    """,
    "src/demo/__init__.py": "from demo.greeting import greet\n",
    "src/demo/greeting.py": "def greet():\n    return 'hello'\n\ndef main():\n    print(greet())\n",
    "tests/conftest.py": "import pytest\n\n@pytest.fixture\ndef expected():\n    import helper\n    return helper.EXPECTED\n",
    "tests/helper.py": "EXPECTED = 'hello'\n",
    "tests/test_greeting.py": "import demo\n\ndef test_greet(expected):\n    assert demo.greet() == expected\n",
}


@pytest.fixture(scope="module")
def pytest_environment(make_environment: Callable[..., Python]) -> Python:
    """Return a virtual environment with the wheel, pytest, and the project's build backend."""
    return make_environment(*DEVELOPMENT)


@pytest.fixture(params=[True, False], ids=["hook", "stock"])
def hooked(request: pytest.FixtureRequest, pytest_environment: Python, cache: Path) -> Iterator[bool]:
    """Return whether the hook is enabled in the environment, which differs between the two runs."""
    if request.param:
        pytest_environment("-m", "pycachehook", "enable", "--cache-dir", cache)
    yield request.param
    pytest_environment("-m", "pycachehook", "disable")


def test_install_and_test_leave_no_bytecode(
    hooked: bool, pytest_environment: Python, cache: Path, tree: Callable[[Mapping[str, str]], Path]
) -> None:
    """`pip install -e .`, `pytest` and a console script leave a `__pycache__` only without the hook."""
    checkout = tree(CHECKOUT)
    scripts = Path(pytest_environment.executable).parent
    options = ("--quiet", "--disable-pip-version-check", "--no-build-isolation")  # which would download the backend
    pytest_environment("-m", "pip", "install", *options, "-e", ".", cwd=checkout)
    tested = pytest_environment("-m", "pytest", "-q", cwd=checkout)
    pytest_environment(scripts / "pytest", "-q", cwd=checkout)
    greeted = pytest_environment(scripts / "demo", cwd=checkout / "src")

    left = sorted(str(path.relative_to(checkout)) for path in checkout.rglob("__pycache__"))
    assert "1 passed" in tested.stdout
    assert greeted.stdout == "hello\n"
    if hooked:
        assert left == []
        entries = {path.name.partition(".")[0] for path in (cache / str(checkout)[1:]).rglob("*.pyc")}
        assert entries == {"__init__", "greeting", "conftest", "helper", "test_greeting"}
    else:
        assert left == ["src/demo/__pycache__", "tests/__pycache__"]
