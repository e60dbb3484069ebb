"""The check of an import's result: one of the versions that its source had during the import."""

from __future__ import annotations

from .tree import WIDTH, Module


def verdict(module: Module, found: object, before: int, after: int) -> str | None:
    """Return None if `found`, the imported module, is right; otherwise one sentence that says what is wrong.

    `before` and `after` are the versions in the source before and after the import. Versions only increase.
    """
    version = getattr(found, "VERSION", None)
    if not isinstance(version, str) or len(version) != WIDTH or not version.isdecimal():
        return f"VERSION is {version!r}"
    if not before <= int(version) <= after:
        held = f"version {before}" if before == after else f"versions {before} to {after}"
        return f"code of version {int(version)} ran while the source held {held}"
    expected = {"VALUE": module.value(int(version)), "__name__": module.name, "__file__": module.path}
    for name, value in expected.items():
        if getattr(found, name, None) != value:
            return f"{name} is {getattr(found, name, None)!r} instead of {value!r}"
    compiled_from = getattr(getattr(getattr(found, "derive", None), "__code__", None), "co_filename", None)
    return None if compiled_from == module.path else f"co_filename is {compiled_from!r}"
