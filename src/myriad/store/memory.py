"""A journal in memory: the twin's, and the tests' reference for what a journal must do."""

from collections.abc import Iterator, Sequence

from myriad.kernel.ports import Record, Verification
from myriad.store import chain


class MemoryJournal:
    """Keeps records as long as the object lives."""

    def __init__(self) -> None:
        self._bodies: list[bytes] = []

    def append(self, bodies: Sequence[bytes]) -> int:
        """Append all; return the last sequence number."""
        self._bodies.extend(bytes(body) for body in bodies)
        return len(self._bodies)

    def read(self, after: int = 0) -> Iterator[Record]:
        """Records with seq > `after`, in order, up to the last one there is when reading begins."""
        for seq in range(max(after, 0) + 1, len(self._bodies) + 1):
            yield Record(seq, self._bodies[seq - 1])

    def verify(self) -> Verification:
        """Nothing can be damaged here; gives the digest to compare with."""
        return chain.walked(self.read())

    def close(self) -> None:
        """Nothing to release."""
