"""Print how much space each directory below the given one takes."""

import sys
from pathlib import Path

from .report import show

show(Path(sys.argv[1]))
