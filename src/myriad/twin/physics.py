"""How long things take in the simulated world, and how much it tells of them."""

import msgspec


class Physics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long things take in this world, in seconds. Estimated, from what the local engine shows."""

    boot_s: float = 1.0
    qualify_s: float = 0.5
    start_s: float = 0.1
    load_s: float = 1.0
    stop_s: float = 0.05
    step_s: float = 0.3
    repair_s: float = 5.0
    #: Until each kind of evidence shows after a node died.
    channel_s: float = 0.005
    process_s: float = 0.010
    heartbeat_s: float = 3.0
    #: Gangs start, end and stop as one, and are told of so: what makes storms at scale cheap.
    whole_gangs: bool = False
    #: Every delay is multiplied by a draw from [1 - jitter, 1 + jitter].
    jitter: float = 0.2
