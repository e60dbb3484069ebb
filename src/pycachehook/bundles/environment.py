"""The running interpreter and environment, and whether a bundle fits them."""

import os

from pycachehook.archive_format import hash_of_names, named_roots

from .errors import BundleError, printable
from .manifest import Distribution, Interpreter, Manifest, ManifestRoot
from .variant import own_properties

NAMED = 8  # distributions named in a message at most


def this_interpreter() -> Interpreter:
    """Return the properties that bytecode must have to run here."""
    return Interpreter(*own_properties())


def check_interpreter(manifest: Manifest) -> None:
    """Raise `BundleError` if the bundle is for another interpreter."""
    own = this_interpreter()
    if manifest.interpreter != own:
        other = printable(str(manifest.interpreter))
        raise BundleError(f"This bundle is for {other}; this interpreter is {own}.")


def check_environment(manifest: Manifest, archive: str) -> None:
    """Raise `BundleError` if the archive, at the path `archive`, would not fit the installed packages.

    An `unchecked-hash` archive requires that each root has the recorded names. A `checked-hash` archive checks every
    source itself, so it is refused only if other versions of its distributions are installed.
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
        where = printable(directory_of(changed[0], archive) or changed[0].name)
        raise BundleError(f"This bundle is for another environment: {where} does not hold the same files here.")


def directory_of(root: ManifestRoot, archive: str) -> str | None:
    """Return the directory of a root on this machine, for an archive at the path `archive`, or None."""
    directory = named_roots().get(root.name)
    if directory is None and root.location:
        directory = os.path.normpath(os.path.join(os.path.dirname(archive), root.location))
    return directory


def _same(root: ManifestRoot, archive: str) -> bool:
    directory = directory_of(root, archive)
    try:
        return directory is not None and hash_of_names(directory, os.path.basename(archive)).hex() == root.listing_hash
    except OSError:
        return False


def _other_versions(manifest: Manifest) -> list[str]:
    installed = {
        _normal(distribution.name): distribution.version for distribution in distributions(list(named_roots().values()))
    }
    return sorted(
        {
            distribution.name
            for distribution in manifest.distributions
            if installed.get(_normal(distribution.name)) != distribution.version
        }
    )


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def distributions(directories: list[str]) -> tuple[Distribution, ...]:
    """Return the distributions installed in these directories, sorted by name."""
    from importlib.metadata import distributions as installed

    by_name: dict[str, Distribution] = {}
    for distribution in installed(path=directories):
        name, version = distribution.metadata["Name"], distribution.metadata["Version"]
        if name and version:
            by_name.setdefault(_normal(name), Distribution(name, version))
    return tuple(by_name[name] for name in sorted(by_name))
