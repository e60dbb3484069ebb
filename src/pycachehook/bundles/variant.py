"""The properties of the running interpreter that bytecode depends on, and the name of the bundle for it."""

import sys

from pycachehook._compat import MAGIC_NUMBER


def own_properties() -> tuple[str, str, int, str, str]:
    """Return cache tag, magic number in hexadecimal, optimization, platform and "t" or "" of this interpreter."""
    flags = "t" if "t" in getattr(sys, "abiflags", "") else ""
    return sys.implementation.cache_tag or "", MAGIC_NUMBER.hex(), sys.flags.optimize, _platform(), flags


def variant_name(cache_tag: str, magic_number: str, optimization: int, platform: str, abiflags: str) -> str:
    """Return the name of the bundle for such an interpreter, among those in one place."""
    return f"{cache_tag}{abiflags}-{magic_number}-opt{optimization}-{platform}"


def _platform() -> str:
    """Return the platform in the names of this interpreter's extension modules, such as `x86_64-linux-gnu`."""
    multiarch: str | None = getattr(sys.implementation, "_multiarch", None)
    if multiarch:
        return multiarch
    from importlib.machinery import EXTENSION_SUFFIXES

    name = EXTENSION_SUFFIXES[0].split(".")[1]  # `cpython-312-x86_64-linux-gnu`, `cp312-win_amd64`
    return name.split("-", 2)[-1] if name.startswith("cpython-") else name.partition("-")[2] or sys.platform
