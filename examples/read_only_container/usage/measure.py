"""Sizes of directories."""

from pathlib import Path


def sizes(folder: Path) -> dict[str, int]:
    """Return the bytes in all files below each directory of `folder`."""
    parts = sorted(path for path in folder.iterdir() if path.is_dir())
    return {part.name: sum(file.stat().st_size for file in part.rglob("*") if file.is_file()) for part in parts}
