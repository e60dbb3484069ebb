"""Arguments and printing."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from . import archives, disk
from .aftermath import final_pass, left_overs, litter_in_tree
from .editor import ship_all
from .faulter import KINDS, available, is_for
from .report import Figures, failures, table
from .settings import Settings
from .subjects import ARCHIVE, SUBJECTS
from .supervisor import Supervisor
from .tree import Tree


def main(arguments: Sequence[str]) -> int:
    """Run; return 1 if a failure occurred, else 0."""
    parser = _parser()
    parser.parse_args([each for each in arguments if each != disk.PRIVATE])
    parsed = parser.parse_args(disk.enter_namespace(arguments))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    directory = tempfile.mkdtemp(prefix="stress-", dir=parsed.directory)
    try:
        os.chmod(directory, 0o755)  # because other users import from it
        figures = _run(parsed, directory, own_mounts=disk.owns_mounts(arguments))
    finally:
        disk.unmount(f"{directory}/disk")
        if not parsed.keep:
            shutil.rmtree(directory, ignore_errors=True)
    print(table(figures))
    if parsed.json is not None:
        parsed.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return int(bool(failures(figures)))


def _run(parsed: argparse.Namespace, directory: str, *, own_mounts: bool) -> Figures:
    os.makedirs(f"{directory}/disk")
    os.makedirs(f"{directory}/staging")
    mounted = own_mounts and disk.mount(f"{directory}/disk")
    other_user = disk.is_root() and disk.open_to_all(directory)
    settings = Settings(directory, parsed.seed, parsed.subject, parsed.lock_timeout, mounted, other_user)
    tree = Tree(settings.tree, settings.seed)
    tree.write()
    ship_all(tree)
    if parsed.subject == ARCHIVE:
        archives.build(settings)
        archives.wait()
    prefix = disk.unprivileged()
    needs = dict(available(mounted=mounted, root=disk.is_root(), unprivileged=prefix is not None))
    fitting = () if parsed.subject == "stock" else [name for name in KINDS if is_for(name, parsed.subject)]
    wanted = [name for name in fitting if name not in parsed.without]
    kinds = [name for name in wanted if not needs[name]]
    supervisor = Supervisor(settings, parsed.workers, kinds, prefix or (), parsed.patience)
    began = time.monotonic()
    record = supervisor.run(parsed.seconds)
    seconds = time.monotonic() - began
    problems = final_pass(settings, parsed.workers, prefix or (), parsed.patience)
    left = left_overs(settings, record.dead)
    problems += [f"left in the source tree: {path}" for path in litter_in_tree(tree)]
    return {
        "python": platform.python_version(),
        "seed": parsed.seed,
        "seconds": round(seconds, 1),
        "workers": parsed.workers,
        "subject": parsed.subject,
        "modules": len(tree.modules),
        "counters": supervisor.workers.totals(),
        "processes": record.processes,
        "kills": dict(record.kills),
        "stops": record.stops,
        "edits": supervisor.edits.totals(),
        "faults": {name: count for name, count in supervisor.faults.totals().items() if name in kinds},
        "unavailable": {name: need for name, need in needs.items() if need and name in wanted}
        | ({} if other_user else {"workers of another user": "root, and a directory that all may enter"}),
        "left out": [name for name in KINDS if name not in wanted],
        "crashes": record.crashes,
        "hangs": record.hangs,
        "left over": left._asdict(),
        "problems": problems,
        "reports": record.reports,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.stress", description=__doc__, allow_abbrev=False)
    parser.description = "Import through one cache while sources change, entries break and processes die."
    parser.add_argument("--seconds", type=float, default=600.0, metavar="N", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--workers", type=int, default=8, metavar="N", help="importing processes (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--directory", metavar="DIR", help="where to make the tree and the cache (default: TMPDIR)")
    parser.add_argument("--keep", action="store_true", help="leave the tree there")
    parser.add_argument(
        "--lock-timeout", type=float, default=1.0, metavar="S", help="the hook's (default: %(default)s)"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=30.0,
        metavar="S",
        help="a worker hangs if it imports nothing for this long, beyond the lock timeout (default: %(default)s)",
    )
    parser.add_argument(
        "--without", action="append", default=[], choices=list(KINDS), metavar="KIND", help="leave out a kind of fault"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--subject", default="hook", choices=list(SUBJECTS), metavar="NAME", help=", ".join(SUBJECTS))
    what.add_argument(
        "--stock",
        dest="subject",
        action="store_const",
        const="stock",
        help="test CPython's own cache instead, without faults: this must fail",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
