"""Test the package itself: the modules that its import loads, and its names."""

from __future__ import annotations

import json

import pytest

import pycachehook
from conftest import Python


def test_import_loads_no_other_module(python: Python) -> None:
    """`import pycachehook` loads none of its modules; each name of the API loads them on access."""
    program = (
        "import json, sys, pycachehook\n"
        "def loaded(): return sorted(name for name in sys.modules if name.startswith('pycachehook.'))\n"
        "first = loaded(); pycachehook.ConfigError; print(json.dumps([first, loaded()]))\n"
    )
    assert json.loads(python("-c", program).stdout) == [[], ["pycachehook.errors"]]


def test_a_name_that_does_not_exist() -> None:
    """A missing name raises the usual error, and no module is searched for."""
    with pytest.raises(AttributeError, match="module 'pycachehook' has no attribute 'no_such_name'"):
        pycachehook.no_such_name  # noqa: B018


@pytest.mark.parametrize(("value", "disabled"), [("1", True), ("on", True), ("0", False), ("No", False), ("", False)])
def test_kill_switch(value: str, disabled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any value except an empty string, 0, false, no and off sets the kill switch, in either case."""
    monkeypatch.setenv("PYCACHEHOOK_DISABLE", value)
    assert pycachehook.disabled_by_environment() is disabled
