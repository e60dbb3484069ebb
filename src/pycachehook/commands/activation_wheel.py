"""A wheel with the activation files: installing it activates an environment, uninstalling it deactivates it.

`pycachehook enable --wheel DIR` builds it. Listed in a lock file or an index, it stays in effect when an environment is
created again. It depends on the version of this package that built it, and contains the start-up image for the
interpreter that built it; other interpreters start without an image, a little more slowly.
"""

import base64
import hashlib
import os
import stat
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pycachehook
from pycachehook import __version__, pyc
from pycachehook.config.options import Options
from pycachehook.paths import Layout

from .enable import START_FILES_ALONE, STARTUP, WHEELS, files
from .startup_image import build_image

DISTRIBUTION = "pycachehook-activation"
STEM = DISTRIBUTION.replace("-", "_")

_TIME = (1980, 1, 1, 0, 0, 0)  # the same options give the same bytes
_MODE = (stat.S_IFREG | 0o644) << 16


def wheel_path(directory: Path) -> Path:
    """Return the path of the wheel in `directory`."""
    return directory / f"{STEM}-{__version__}-py3-none-any.whl"


def write_wheel(directory: Path, options: Options) -> Path:
    """Write the wheel into `directory`, which is created if missing, by rename; return its path. Raises OSError."""
    path = wheel_path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(suffix=".tmp", prefix=f".{STEM}-", dir=directory)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _write(file, options)
            if hasattr(os, "fchmod"):
                os.fchmod(file.fileno(), 0o644 & ~_umask())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def is_installed(purelib: Path) -> bool:
    """Return whether an activation wheel is installed in the directory `purelib`."""
    return any(purelib.glob(WHEELS))


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def _write(file: IO[bytes], options: Options) -> None:
    folder = f"{STEM}-{__version__}.dist-info"
    record = []
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in [*_contents(options), *_metadata(folder)]:
            wheel.writestr(_member(name), data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
            record.append(f"{name},sha256={digest},{len(data)}\n")
        wheel.writestr(_member(f"{folder}/RECORD"), "".join([*record, f"{folder}/RECORD,,\n"]))


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, _TIME)
    member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, _MODE
    return member


def _contents(options: Options) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of each activation file, and of the image."""
    beside = Path(pycachehook.__file__).resolve().parent.parent  # as if the package were installed beside them
    for name, text in files(options, beside):
        yield name, text.encode()
    layout = Layout.current()
    if layout is not None:
        # Validated by the sources in every mode, because an installer's record of them differs between environments.
        image = build_image({**options.values(), "invalidation_mode": pyc.CHECKED_HASH}, stamped=False)
        yield f"__pycache__/{Path(layout.in_tree(f'{STARTUP}.py')).with_suffix('.image').name}", image


def _metadata(folder: str) -> Iterator[tuple[str, bytes]]:
    bound = ".".join(map(str, START_FILES_ALONE))
    python = f">={bound}" if sys.version_info >= START_FILES_ALONE else f">=3.11,<{bound}"
    metadata = [
        "Metadata-Version: 2.1",
        f"Name: {DISTRIBUTION}",
        f"Version: {__version__}",
        "Summary: Turns pycachehook on in every environment that it is installed in.",
        f"Requires-Python: {python}",
        f"Requires-Dist: pycachehook=={__version__}",
    ]
    yield f"{folder}/METADATA", ("\n".join(metadata) + "\n").encode()
    wheel = [
        "Wheel-Version: 1.0",
        f"Generator: pycachehook {__version__}",
        "Root-Is-Purelib: true",
        "Tag: py3-none-any",
    ]
    yield f"{folder}/WHEEL", ("\n".join(wheel) + "\n").encode()
