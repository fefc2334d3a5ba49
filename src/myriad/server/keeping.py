"""Which nodes a window keeps: those named, all of a pod or a rack, or so many, chosen to disturb little."""

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from myriad.control.state import State
from myriad.fleet.columns import NodeState
from myriad.kernel import documents
from myriad.kernel.errors import UserError, near
from myriad.kernel.ids import NodeId, TenantId
from myriad.kernel.units import Instant
from myriad.workload.windows import Window

_HOW = ("nodes", "pod", "rack", "count")
#: Near misses are looked for among so many names.
_NAMES = 5000


class Keep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A window to set. Exactly one of `nodes`, `pod`, `rack`, `count` says which nodes."""

    name: str
    kind: Literal["reservation", "maintenance"]
    #: Nanoseconds since the epoch; a start of 0 is now.
    start_at: Instant = 0
    end_at: Instant
    #: Whose jobs may name it; of a reservation.
    tenant: TenantId = TenantId("")
    nodes: tuple[NodeId, ...] = ()
    pod: str = ""
    rack: str = ""
    count: int = 0
    #: With `count`: of this chip type; empty: the site's own.
    chip: str = ""
    reason: str = ""


def window(state: State, keep: Keep, now: Instant) -> Window:
    """The window asked for. Raises UserError naming field, value and remedy."""
    given = [name for name in _HOW if getattr(keep, name)]
    if len(given) != 1:
        problem = f"{' and '.join(given)} are given" if given else "is required"
        remedy = f"Give exactly one of {', '.join(_HOW)}"
        raise UserError(problem, field="nodes", remedy=remedy)
    start_at = keep.start_at or now
    if keep.end_at <= max(start_at, now):
        problem = "has passed" if keep.end_at <= now else "is not after the start"
        raise UserError(problem, field="end_at", value=keep.end_at, remedy="Give a later end")
    if keep.tenant and keep.tenant not in state.tenants:
        raise UserError(
            "there is no such tenant",
            field="tenant",
            value=keep.tenant,
            remedy=near(keep.tenant, state.tenants),
        )
    tree = {
        "name": keep.name,
        "kind": keep.kind,
        "nodes": _nodes(state, keep, start_at),
        "start_at": start_at,
        "end_at": keep.end_at,
        "tenant": keep.tenant,
        "reason": keep.reason,
    }
    return documents.convert(tree, Window, "body")


def _nodes(state: State, keep: Keep, start_at: Instant) -> Sequence[NodeId]:
    columns = state.columns
    if keep.nodes:
        for node in keep.nodes:
            if node not in state.nodes or state.node_state(node) is NodeState.RETIRED:
                remedy = near(node, columns.ids[:_NAMES])
                raise UserError("there is no such node", field="nodes", value=node, remedy=remedy)
        return tuple(dict.fromkeys(keep.nodes))
    if keep.count:
        return _so_many(state, keep, start_at)
    field, name = ("pod", keep.pod) if keep.pod else ("rack", keep.rack)
    names = columns.pods.all if keep.pod else columns.racks.all
    of = columns.pod if keep.pod else columns.rack
    if name not in names:
        raise UserError(f"there is no such {field}", field=field, value=name, remedy=near(name, names))
    number = columns.pods.index[name] if keep.pod else columns.racks.index[name]
    return [node for row, node in enumerate(columns.ids) if of[row] == number and _is_there(state, row)]


def _so_many(state: State, keep: Keep, start_at: Instant) -> Sequence[NodeId]:
    """The pod where fewest gangs must leave, then the tightest; several pods if none has enough."""
    columns = state.columns
    kinds = columns.kinds.all
    if keep.chip and keep.chip not in kinds:
        raise UserError(
            "the site has no such chip", field="chip", value=keep.chip, remedy=near(keep.chip, kinds)
        )
    kind = columns.kinds.index[keep.chip] if keep.chip else 0
    taken = _taken(state, keep, start_at)
    pods: dict[int, list[tuple[bool, bool, int, int]]] = {}
    for row, node in enumerate(columns.ids):
        pod = int(columns.pod[row])
        free = _is_there(state, row) and not columns.spare[row] and not state.nodes[node].cordoned
        if free and node not in taken and columns.pod_kind[pod] == kind:
            doubt = bool(columns.losses[row] or columns.slow[row] or columns.state[row] != NodeState.READY)
            pods.setdefault(pod, []).append(
                (_is_busy(state, node, start_at), doubt, int(columns.rack[row]), row)
            )
    most = sum(map(len, pods.values()))
    if keep.count < 0 or keep.count > most:
        raise UserError(
            f"{most} nodes can be kept in that time",
            field="count",
            value=keep.count,
            remedy=f"Ask for 1 to {most}, or another time" if most else "Choose another time",
        )
    for rows in pods.values():
        rows.sort()
    enough = {pod: rows for pod, rows in pods.items() if len(rows) >= keep.count}
    if enough:
        best = min(
            enough, key=lambda pod: (sum(row[0] for row in enough[pod][: keep.count]), len(enough[pod]), pod)
        )
        chosen = enough[best][: keep.count]
    else:
        largest = sorted(pods, key=lambda pod: (-len(pods[pod]), pod))
        chosen = [row for pod in largest for row in pods[pod]][: keep.count]
    return [columns.ids[row] for row in sorted(row[-1] for row in chosen)]


def _taken(state: State, keep: Keep, start_at: Instant) -> dict[NodeId, None]:
    """Nodes that other windows keep in that time."""

    def kept() -> Iterator[NodeId]:
        for other in state.windows.values():
            apart = other.end_at <= start_at or other.start_at >= keep.end_at
            if other.name != keep.name and not apart:
                yield from other.nodes

    return dict.fromkeys(kept())


def _is_there(state: State, row: int) -> bool:
    return bool(state.columns.state[row] != NodeState.RETIRED)


def _is_busy(state: State, node: NodeId, at: Instant) -> bool:
    """Whether something is predicted to run there then: it would have to leave. Others might not."""
    record = state.nodes[node]
    if record.taken_by and not 0 < record.taken_until <= at:
        return True
    ends = [state.ends_at(state.gangs[gang]) for gang in record.gangs]
    return any(not end or end > at for end in ends)
