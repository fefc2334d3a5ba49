"""How long things take in the simulated world, and how much it tells of them."""

import math

import msgspec

from myriad.performance.goodput import REQUEUE_CHIPS


class Physics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long things take in this world, in seconds. Estimated, from what the local engine shows.

    Scenarios bring published ones: see `scenarios/parts/physics-*.yaml`.
    """

    boot_s: float = 1.0
    qualify_s: float = 0.5
    #: Until the processes of a gang exist: at least; and `requeue_s` at 2,048 chips with so much more at each
    #: doubling. A gang on the nodes it had (`in_place`), or on most of them (`replace` more), is faster.
    start_s: float = 0.1
    requeue_s: float = 0.0
    requeue_doubling_s: float = 0.0
    in_place_s: float = 0.0
    in_place_doubling_s: float = 0.0
    replace_s: float = 0.0
    #: From processes to the first step, beside what is read from storage.
    load_s: float = 1.0
    stop_s: float = 0.05
    step_s: float = 0.3
    repair_s: float = 5.0
    #: Until each kind of evidence shows after a node died.
    channel_s: float = 0.005
    process_s: float = 0.010
    heartbeat_s: float = 3.0
    #: Training stands still so long for a save on storage and for copies to peers' memory; a save also takes
    #: its bytes at `snapshot` bytes/s of a node (0: no longer), and is durable when storage has them.
    save_s: float = 0.02
    copy_s: float = 0.001
    snapshot: float = 0.0
    #: Whether training also waits until storage has the bytes.
    save_blocks: bool = False
    #: Bytes/s of shared storage in all, and of one node (0: no limit, and no time).
    storage: float = 0.0
    node_storage: float = 0.0
    #: Gangs start, end and stop as one, and are told of so: what makes storms at scale cheap.
    whole_gangs: bool = False
    #: Progress is told of this often, and when it matters; 0: at every step. By exception a gang of months
    #: costs what one of an hour does.
    report_s: float = 0.0
    #: The body looks this often, and tells all that it sees then; 0: it tells of everything as it happens.
    poll_s: float = 0.0
    #: While nodes of a gang differ in speed, it says so this often.
    pace_s: float = 300.0
    #: Every delay is multiplied by a draw from [1 - jitter, 1 + jitter].
    jitter: float = 0.2

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if isinstance(value := getattr(self, name), float) and value < 0:
                raise ValueError(f"{name} must be 0 or more")
        if self.jitter >= 1:
            raise ValueError("jitter must be below 1")

    def starts_s(self, chips: int, known: float) -> float:
        """Until the processes of a gang exist; its job had a share `known` of these nodes before.

        The form is that of `performance.goodput`: so much at 2,048 chips, and more with each doubling.
        """
        doublings = math.log2(chips / REQUEUE_CHIPS)
        again_s = max(self.start_s, self.in_place_s + self.in_place_doubling_s * doublings)
        if self.in_place_s and known == 1:
            return again_s
        if self.replace_s and known >= 0.5:
            return self.replace_s + again_s
        return max(self.start_s, self.requeue_s + self.requeue_doubling_s * doublings)

    def save_stall_s(self, size: float, nodes: int) -> float:
        """How long training stands still for one save of `size` bytes from so many nodes."""
        stall_s = self.save_s + (size / nodes / self.snapshot if self.snapshot else 0.0)
        return stall_s + (self.write_s(size, nodes) if self.save_blocks else 0.0)

    def write_s(self, size: float, nodes: int) -> float:
        """How long storage takes for one save when nobody else writes."""
        rates = [rate for rate in (self.storage, self.node_storage * nodes) if rate]
        return size / min(rates) if rates else 0.0
