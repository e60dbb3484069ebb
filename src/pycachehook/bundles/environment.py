"""The interpreter and the environment that run this, and whether a bundle is for them."""

import os
import sys

from pycachehook._compat import MAGIC_NUMBER
from pycachehook.archive_format import hash_of_names, named_roots

from .errors import BundleError, printable
from .manifest import Distribution, Interpreter, Manifest, Root

NAMED = 8  # distributions that a sentence names


def this_interpreter() -> Interpreter:
    """Return what bytecode has to be made for, to run here."""
    flags = "t" if "t" in getattr(sys, "abiflags", "") else ""
    cache_tag = sys.implementation.cache_tag or ""
    return Interpreter(cache_tag, MAGIC_NUMBER.hex(), sys.flags.optimize, _platform(), flags)


def _platform() -> str:
    """Return the platform as extension modules of this interpreter are named for it, such as `x86_64-linux-gnu`."""
    multiarch: str | None = getattr(sys.implementation, "_multiarch", None)
    if multiarch:
        return multiarch
    from importlib.machinery import EXTENSION_SUFFIXES

    name = EXTENSION_SUFFIXES[0].split(".")[1]  # `cpython-312-x86_64-linux-gnu`, `cp312-win_amd64`
    return name.split("-", 2)[-1] if name.startswith("cpython-") else name.partition("-")[2] or sys.platform


def check_interpreter(manifest: Manifest) -> None:
    """Raise `BundleError` if the bundle is for another interpreter."""
    here = this_interpreter()
    if manifest.interpreter != here:
        theirs = printable(str(manifest.interpreter))
        raise BundleError(f"This bundle is for {theirs}; this interpreter is {here}.")


def check_environment(manifest: Manifest, archive: str) -> None:
    """Raise `BundleError` if the archive, once at the path `archive`, would not be for what is installed here.

    An `unchecked-hash` archive is used only where each root has the names that it had. A `checked-hash` archive checks
    each source itself, so it is refused only for other versions of its distributions.
    """
    changed = [root for root in manifest.roots if not _same(root, archive)]
    if not changed:
        return
    other = _other_versions(manifest)
    if other:
        named = ", ".join(printable(name, 80) for name in other[:NAMED])
        more = f" and {len(other) - NAMED} more" if len(other) > NAMED else ""
        raise BundleError(f"This bundle is for other versions of: {named}{more}.")
    if manifest.invalidation_mode == "unchecked-hash":
        where = printable(place_of(changed[0], archive) or changed[0].name)
        raise BundleError(f"This bundle is for another environment: {where} does not hold the same files here.")


def place_of(root: Root, archive: str) -> str | None:
    """Return where a root lies here, given where the archive does; None if it lies nowhere."""
    place = named_roots().get(root.name)
    if place is None and root.location:
        place = os.path.normpath(os.path.join(os.path.dirname(archive), root.location))
    return place


def _same(root: Root, archive: str) -> bool:
    place = place_of(root, archive)
    try:
        return place is not None and hash_of_names(place, os.path.basename(archive)).hex() == root.listing_hash
    except OSError:
        return False


def _other_versions(manifest: Manifest) -> list[str]:
    here = {_normal(each.name): each.version for each in distributions(list(named_roots().values()))}
    return sorted({each.name for each in manifest.distributions if here.get(_normal(each.name)) != each.version})


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def distributions(places: list[str]) -> tuple[Distribution, ...]:
    """Return the distributions that are installed in these directories, by name."""
    from importlib.metadata import distributions as installed

    found: dict[str, Distribution] = {}
    for each in installed(path=places):
        name, version = each.metadata["Name"], each.metadata["Version"]
        if name and version:
            found.setdefault(_normal(name), Distribution(name, version))
    return tuple(found[name] for name in sorted(found))
