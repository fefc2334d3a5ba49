"""Where the traces and tables lie that are not part of the repository.

Next to it as `shared/data`, or where MYRIAD_SHARED_DATA says; tests that need them skip without, and say so.
"""

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("MYRIAD_SHARED_DATA") or Path(__file__).parents[3] / "shared" / "data")


def file(name: str) -> Path:
    """A file of it, or the test is skipped."""
    path = FOLDER / name
    if not path.is_file():
        pytest.skip(f"{name} is not at hand: put it in {FOLDER}, or name its folder in MYRIAD_SHARED_DATA")
    return path
