"""How a process ended, in a number and in words.

Only the standard library: see forking.
"""

import signal
from pathlib import Path

#: Exit code of a worker that failed because a peer did: a consequence, not a cause.
PEER_LOST = 75
CANNOT_START = 126
#: Ranks that outlive a failed one of their node get this long before SIGKILL.
FAILED_GRACE_S = 2.0
_TAIL_BYTES = 4096
_DETAIL_CHARS = 500


def worse(code: int, known: int) -> bool:
    """Whether a rank's exit code says more than what is known of the node's ranks so far."""
    return bool(code) and known in (0, PEER_LOST) and code != known


def detail(rank: int, code: int, words: str, log: Path) -> str:
    """Why a process failed, in one line: its own last words, else the last line it wrote."""
    how = f"exit code {code}" if code > 0 else f"killed by signal {-code}, {signal.strsignal(-code)}"
    return f"rank {rank}: {words or _last_line(log) or 'it said nothing'} ({how})"


def _last_line(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip()[:_DETAIL_CHARS] for line in reversed(lines) if line.strip()), "")
