"""What goes from the shared folder when attempts are over: their files at once, their claims much later."""

import contextlib
import os
import shutil
import time
from collections.abc import Collection, Iterable
from pathlib import Path

from myriad.engines.slurm.spool import Spool


def clear(files: Spool, attempts: Iterable[str]) -> None:
    """They are over and on record: only their claims stay, for a while from now on. Raises OSError."""
    for attempt in attempts:
        if files.owner(attempt):
            files.forbid(attempt)  # its claim is not ours: what stays is that nobody may start it again
        with contextlib.suppress(FileNotFoundError):
            os.utime(files.claim_file(attempt))
        with contextlib.suppress(FileNotFoundError):
            files.plan(attempt).unlink()  # first: what is left of a folder must not be taken up again
        for folder in ("spool", "orders"):
            shutil.rmtree(files.root / folder / attempt, ignore_errors=True)
        files.forget(attempt)


def prune(files: Spool, keep: Collection[str], age_s: float) -> None:
    """Forget claims of attempts that have been over for so long that no job of theirs can come any more,
    and what was left half done. Raises OSError."""
    oldest = time.time() - age_s
    for folder in filter(Path.exists, (files.root / name for name in ("claims", "spool", "orders"))):
        for entry in os.scandir(folder):
            with contextlib.suppress(FileNotFoundError):
                if entry.name in keep or entry.stat().st_mtime > oldest or files.plan(entry.name).exists():
                    continue
                if entry.is_dir():
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    os.unlink(entry)
