"""Test the exceptions that programs catch."""

from __future__ import annotations

import pytest

import pycachehook
from pycachehook import errors


@pytest.mark.parametrize("name", ["PycacheHookError", "ConfigError", "CacheDirError"])
def test_each_is_part_of_the_api_and_has_one_base(name: str) -> None:
    """`except pycachehook.PycacheHookError` catches every exception of the package."""
    assert getattr(pycachehook, name) is getattr(errors, name)
    assert issubclass(getattr(errors, name), errors.PycacheHookError)


def test_a_wrong_option_is_a_value_error() -> None:
    """Programs may also catch the error for a wrong option as a ValueError."""
    with pytest.raises(ValueError, match="layout = 'wrong'"):
        pycachehook.install(layout="wrong")  # type: ignore[arg-type]
    assert not issubclass(errors.CacheDirError, (ValueError, OSError))
