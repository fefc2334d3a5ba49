"""The two seams of the system: where facts are kept (`Journal`) and who carries out orders (`Engine`).

Both are small on purpose. `store/` implements journals; `engines/` and `twin/` implement engines, and
one contract suite runs against all of them.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

OrderT = TypeVar("OrderT", contravariant=True)
InputT = TypeVar("InputT", covariant=True)


class Record(NamedTuple):
    """One durable line of a journal."""

    seq: int  # counts from 1, without gaps
    body: bytes  # one encoded protocol.Entry


class Verification(NamedTuple):
    """What a walk over the whole journal found."""

    records: int  # good records, from the first
    digest: str  # of the chain up to the last good record
    problem: str  # empty when every record is good; else names the first bad one and the remedy


class Journal(Protocol):
    """An append-only, ordered, durable list of records."""

    def append(self, bodies: Sequence[bytes]) -> int:
        """Append all or none; return the last sequence number once it is durable."""
        ...

    def read(self, after: int = 0) -> Iterator[Record]:
        """Records with seq > `after` up to the last one there is when reading begins, in order.

        So it ends, however fast a writer goes on. Raises UserError at a damaged record.
        """
        ...

    def verify(self) -> Verification:
        """Walk everything and check the chain of digests."""
        ...

    def close(self) -> None:
        """Release files and locks. Idempotent."""
        ...


class Engine(Protocol[OrderT, InputT]):
    """A body: it obeys orders and reports what it sees. Orders are idempotent and carry attempt ids.

    The contract (tests/contract holds it for every engine):
    - `obey` never blocks and never raises for what the world does; the answer is an observation.
    - A gang's processes start at most once per attempt, whatever is repeated.
    - After `StopGang(attempt)` nothing of the attempt runs, and none of it ever starts again; each
      member is confirmed by `MemberGone`.
    - After `open` the engine reports every node (`NodeJoined`) and everything that still runs on it,
      so a control plane that was restarted can adopt it; and how each node is, also those that are well: what
      the control plane before was told last, the engine does not know.
    - `KeepGangs`, the first order after a start, says what is on record: whatever else runs is ended, and
      nothing begins on its nodes before it is gone; what is on record and nowhere is told gone.
    - Observations may come late, twice, or out of order across nodes; per node they are in order.
    """

    async def open(self) -> None:
        """Connect to, or start, the nodes of the site."""
        ...

    def obey(self, order: OrderT) -> None:
        """Begin to carry out an order."""
        ...

    async def observe(self) -> Sequence[InputT]:
        """Wait for the next observations; returns at least one, or none when the engine closed."""
        ...

    async def close(self) -> None:
        """Let go of the nodes, without stopping what runs on them."""
        ...
