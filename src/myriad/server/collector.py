"""Python's collector of reference cycles, in a process that holds much for long.

State, books and queue have no cycles: what is over goes when nothing refers to it. The collector walks them
all the same, and nobody is answered meanwhile: the more is known, the longer.
"""

import gc
from typing import Final

#: New containers after which the newest are looked at: about those of a full turn of the wheel, most of
#: which are gone by then. Python's own 700 is reached many times within one.
_NEWEST: Final = 10_000


def spare_what_is_held() -> None:
    """What there is now, such as all that was folded, is never walked again; what comes, less often."""
    gc.collect()
    gc.freeze()
    _, older, oldest = gc.get_threshold()
    gc.set_threshold(_NEWEST, older, oldest)
