"""Orders follow from state. After a step: for what its facts touched. After a restart: for everything.

One mechanism for both, so an order that was lost in a crash is the order that is issued again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from myriad.control import launch
from myriad.control.policy import Policy
from myriad.control.records import Gang, GangPhase
from myriad.control.state import State
from myriad.fleet.columns import NodeState
from myriad.kernel.ids import AttemptId, JobId, NodeId, ServiceId
from myriad.kernel.units import HOUR, seconds
from myriad.protocol import facts
from myriad.protocol.facts import Fact
from myriad.protocol.orders import (
    AskCheckpoint,
    HoldNode,
    KeepGangs,
    Order,
    QualifyNode,
    RepairNode,
    Standing,
    StartGang,
    StopGang,
    WakeAt,
)


def due(state: State, policy: Policy, happened: Iterable[Fact]) -> tuple[Order, ...]:
    """What bodies must do because of these facts, which are applied already."""
    subjects: dict[tuple[str, str], None] = {}
    for fact in happened:
        if subject_of := _SUBJECTS.get(type(fact)):
            subjects[subject_of(fact)] = None
    if not subjects:
        return ()
    return tuple([order for kind, name in subjects for order in about(state, policy, kind, name)])


def _gang(fact: Any) -> tuple[str, str]:
    return "gang", fact.attempt


def _node(fact: Any) -> tuple[str, str]:
    return "node", fact.node


#: What a fact is about, where orders may follow from it: the kind, and its name.
_SUBJECTS: Final[Mapping[type[Fact], Callable[[Any], tuple[str, str]]]] = {
    facts.GangPlaced: _gang,
    facts.GangStopping: _gang,
    facts.LeaveAsked: _gang,
    facts.ReplicaStalled: _gang,
    facts.DeadlineMoved: lambda fact: _gang(fact) if fact.attempt else _node(fact),
    facts.NodeMoved: _node,
    facts.LossesForgotten: _node,
    facts.NodeCordoned: lambda fact: ("hold", fact.node),
    facts.JobHeld: lambda fact: ("job", fact.job),
    facts.ServiceHeld: lambda fact: ("service", fact.service),
    facts.ServiceScaled: lambda fact: ("service", fact.service),
    facts.LookAgain: lambda _: ("cycle", ""),
    facts.WindowSet: lambda fact: ("window", fact.window.name),
}


def outstanding(state: State, policy: Policy) -> tuple[Order, ...]:
    """Everything that should be under way: issued after a restart; engines ignore what they did already."""
    subjects: list[tuple[str, str]] = [("node", node) for node in state.nodes]
    subjects += [("hold", node) for node in state.nodes]
    subjects += [("gang", attempt) for attempt in state.gangs]
    subjects += [("job", job) for job in state.waiting]
    subjects += [("service", service) for service in state.services]
    subjects += [("window", name) for name in state.windows]
    subjects.append(("cycle", ""))
    found = [order for kind, name in subjects for order in about(state, policy, kind, name)]
    # a pause may have ended while nobody looked
    return (_keep(state), *found, WakeAt(about="pause:", wake_at=state.now))


def _keep(state: State) -> KeepGangs:
    """What may run. Gangs that have not begun, or are to end, have an order of their own."""
    waits = (GangPhase.PLACED, GangPhase.STOPPING)
    return KeepGangs(
        gangs=tuple(
            [
                Standing(
                    attempt=gang.attempt,
                    # of a member that is done nothing runs, and nobody is to be told that it is gone
                    members=tuple([member for member in gang.members if member.node in gang.left]),
                    placed_at=gang.placed_at,
                    begun=gang.phase not in waits,
                )
                for gang in state.gangs.values()
            ]
        )
    )


def about(state: State, policy: Policy, kind: str, name: str) -> Iterable[Order]:
    """The orders that one subject's present state implies. `kind:name` is also what Woke brings back."""
    if kind == "gang":
        gang = state.gangs.get(AttemptId(name))
        return _of_gang(state, policy, gang) if gang else ()
    return _of_another(state, kind, name)


def _of_another(state: State, kind: str, name: str) -> Iterator[Order]:
    subject = f"{kind}:{name}"
    if kind == "cycle" and state.look_again_at > state.now:
        yield WakeAt(about=subject, wake_at=state.look_again_at)
    elif kind == "window" and (window := state.windows.get(name)):
        yield WakeAt(
            about=subject, wake_at=window.end_at if state.now >= window.start_at else window.start_at
        )
    elif kind == "node":
        yield from _of_node(state, NodeId(name))
        if until := state.nodes[NodeId(name)].until:
            yield WakeAt(about=subject, wake_at=until)
    elif kind == "hold" and state.node_state(NodeId(name)) is not NodeState.RETIRED:
        record = state.nodes[NodeId(name)]
        yield HoldNode(node=NodeId(name), held=record.cordoned, reason=record.cordon_reason)
    elif kind == "job" and (job := state.jobs.get(JobId(name))) and job.held_until:
        # even if that has passed: a turn of many inputs may have gone beyond it
        yield WakeAt(about=subject, wake_at=job.held_until)
    elif kind == "service" and (service := state.services.get(ServiceId(name))):
        if service.until:
            yield WakeAt(about=subject, wake_at=service.until)
        if service.held_until:
            yield WakeAt(about=f"pause:{name}", wake_at=service.held_until)


def _of_gang(state: State, policy: Policy, gang: Gang) -> list[Order]:
    found = _to_body(state, policy, gang)
    if gang.until:
        found.append(WakeAt(about=f"gang:{gang.attempt}", wake_at=gang.until))
    if not gang.job:
        return found
    job = state.jobs[gang.job]
    if job.spec.budget:
        chip = job.spec.chip or (state.site.chip if state.site else "")
        if price := state.prices.chip_hour.get(chip, Decimal(0)):
            left_ns = int(Decimal(job.spec.budget) / price * HOUR) - job.held_chip_ns
            wake_at = gang.placed_at + max(0, left_ns) // gang.chips
            found.append(WakeAt(about=f"budget:{gang.attempt}", wake_at=wake_at))
    if len(gang.nodes) < job.sizes[0]:
        wake_at = gang.placed_at + policy.elastic.ns("settle")
        found.append(WakeAt(about=f"grow:{gang.attempt}", wake_at=wake_at))
    return found


def _to_body(state: State, policy: Policy, gang: Gang) -> list[Order]:
    """What those who run the gang must do."""
    if gang.phase is GangPhase.PLACED:
        if gang.job:
            started_as = launch.of_job(state, policy, state.jobs[gang.job], gang.nodes)
        else:
            started_as = launch.of_replica(state.services[gang.service])
        return [
            StartGang(
                attempt=gang.attempt,
                placed_at=gang.placed_at,
                job=gang.job,
                service=gang.service,
                tenant=gang.tenant,
                members=gang.members,
                launch=started_as,
            )
        ]
    if gang.phase is GangPhase.STOPPING:
        members = tuple([m for m in gang.members if m.node not in gang.fenced and m.node not in gang.lost])
        in_peace = gang.cause not in ("node", "job")
        grace_s = seconds(policy.recover.ns("stop_grace")) if in_peace else 0.0
        forget = bool(gang.job) and gang.cause == "cancelled"
        stop = StopGang(attempt=gang.attempt, members=members, grace_s=grace_s, forget=forget)
        return [stop] if members else []
    if gang.leave_request and gang.job:
        return [AskCheckpoint(attempt=gang.attempt, members=gang.members, request=gang.leave_request)]
    return []


def _of_node(state: State, node: NodeId) -> Iterator[Order]:
    kind = state.node_state(node)
    if kind is NodeState.BURN_IN:
        yield QualifyNode(node=node)
    elif kind is NodeState.REPAIRING:
        yield RepairNode(node=node, instance=state.nodes[node].instance)
