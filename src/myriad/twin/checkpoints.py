"""The checkpoints that jobs of the simulated world have: on shared storage, and in the memory of nodes."""

from typing import NamedTuple

from myriad.kernel.ids import NodeId
from myriad.recover import retention


class Copies(NamedTuple):
    """A checkpoint in memory: each rank's state is on its own node and on its partner's."""

    step: int
    holders: tuple[tuple[NodeId, int], ...]  # by rank: node and incarnation
    shift: int


class Checkpoints:
    """Of all jobs."""

    def __init__(self) -> None:
        #: Steps of complete checkpoints on storage, by job, oldest first; from which step on they only look
        #: whole, and those that do.
        self._stored: dict[str, list[int]] = {}
        self._spoiled: dict[str, list[int]] = {}
        #: Job -> its newest copies in memory, wherever they still are.
        self._copies: dict[str, Copies] = {}

    def store(self, job: str, step: int, *, spoiled: bool = False) -> None:
        """One more on storage; `spoiled`: it is whole to look at, and training fails from it."""
        steps = self._stored.setdefault(job, [])
        if step in steps:
            steps.remove(step)
        steps.append(step)
        if (index := retention.superfluous(steps)) is not None:
            del steps[index]
        bad = [one for one in self._spoiled.get(job, ()) if one != step]
        if bad or spoiled:
            self._spoiled[job] = [*bad, step] if spoiled else bad

    def copy(self, job: str, copies: Copies) -> None:
        """The newest in memory."""
        self._copies[job] = copies

    def drop_copies(self, job: str) -> None:
        """Memory is freed."""
        self._copies.pop(job, None)

    def forget(self, job: str) -> None:
        """The job never comes back."""
        for held in (self._stored, self._spoiled, self._copies):
            held.pop(job, None)

    def spoil(self, job: str) -> None:
        """The newest on storage is whole to look at, and training fails from it."""
        self._spoiled.setdefault(job, []).append(self._stored[job][-1])

    def is_spoiled(self, job: str, step: int) -> bool:
        """Whether training fails from it."""
        return step in self._spoiled.get(job, ())

    def on_storage(self, job: str, latest: int) -> int:
        """The step that can be loaded from storage; newer ones than `latest` (-1: any) are set aside."""
        steps = [step for step in self._stored.get(job, ()) if not 0 <= latest < step]
        if job in self._stored:
            self._stored[job] = steps
        return steps[-1] if steps else 0

    def in_memory(self, job: str, members: list[tuple[NodeId, int]]) -> int:
        """The step that a gang on these nodes and incarnations can load from memory; 0: something is gone."""
        copies = self._copies.get(job)
        if copies is None:
            return 0
        holds = [member == holder for member, holder in zip(members, copies.holders, strict=False)]
        whole = all(here or holds[(k + copies.shift) % len(holds)] for k, here in enumerate(holds))
        return copies.step if whole and len(holds) == len(copies.holders) else 0
