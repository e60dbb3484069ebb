"""A table on a terminal."""

from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from .measure import sizes


def show(folder: Path) -> None:
    """Print a line for each directory of `folder`, the largest first."""
    table = Table("directory", "size")
    for name, size in sorted(sizes(folder).items(), key=lambda item: -item[1]):
        table.add_row(name, decimal(size))
    Console().print(table)
