"""Windows in time on some nodes: an advance reservation for a tenant, or maintenance."""

from typing import Literal

import msgspec

from myriad.kernel.ids import NodeId, TenantId
from myriad.kernel.units import Instant
from myriad.workload.jobs import check_name


class Window(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Nodes that are kept free of other work from `start_at` to `end_at`.

    What runs there leaves, checkpointed, when the window begins; work that is predicted to run into it is
    placed elsewhere.
    """

    name: str
    kind: Literal["reservation", "maintenance"]
    nodes: tuple[NodeId, ...]
    start_at: Instant
    end_at: Instant
    #: Whose jobs may run there, if they name the reservation.
    tenant: TenantId = TenantId("")
    reason: str = ""

    def __post_init__(self) -> None:
        check_name(self.name)
        if not self.nodes:
            raise ValueError("nodes must be one or more")
        if self.end_at <= self.start_at:
            raise ValueError("end_at must be after start_at")
        if (self.kind == "reservation") != bool(self.tenant):
            raise ValueError("a reservation has a tenant, maintenance has none")
