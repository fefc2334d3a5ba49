"""What engines say to operators by themselves: lines on stderr, as the server's own for people look."""

import sys
import time


def say(text: str) -> None:
    """One event."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    print(f"{stamp} myriad: {text}", file=sys.stderr, flush=True)


def unrecorded(attempt: str) -> None:
    """It is ended."""
    say(f"{attempt} is not on record in the journal: it is ended")


def nowhere(attempt: str) -> None:
    """It is taken to be over."""
    say(f"{attempt} is on record in the journal, and nowhere: it is over")
