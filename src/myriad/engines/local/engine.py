"""The engine of this machine: orders become messages to agents, their answers become observations.

Everything that runs belongs to agents, so this object may vanish at any moment: the next one over the
same home folder finds the agents by their records and hears from each what runs there.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from myriad.engines.common import aloud, layout
from myriad.engines.common.paces import Paces
from myriad.engines.common.replicas import Replicas
from myriad.engines.local import attempts, nursery, paths, rendezvous, wire
from myriad.engines.local.link import Link
from myriad.fleet.site import Site
from myriad.kernel.ids import AttemptId, NodeId
from myriad.protocol import inputs, orders
from myriad.protocol.values import Signal

_CANNOT_START = 126
_RETRY_S, _RETRY_S_MAX = 0.5, 10.0


class LocalEngine:
    """Implements kernel.ports.Engine. Asking `observe` again says that the last batch is on record."""

    def __init__(
        self,
        home: Path,
        site: Site,
        clock: Callable[[], int],
        preload: bool = True,
        *,
        may_act: Callable[[], bool] = lambda: True,
        ping_every_s: float = 0.5,
        silence_s: float = 3.0,
    ) -> None:
        self._home = home.absolute()
        self._clock = clock
        self._nursery = nursery.Nursery(self._home, preload=preload)
        self._links = {
            place.node: Link(
                place.node, place.chips, self, may_act, ping_every_s=ping_every_s, silence_s=silence_s
            )
            for place in site.places()
        }
        #: What is on record, once we were told; and nodes whose agents were there before us, not heard yet.
        self._kept: tuple[orders.Standing, ...] | None = None
        self._to_compare: set[NodeId] = set()
        self._replicas = Replicas(self._tell, clock)
        self._paces = Paces()
        self._service_ports: dict[str, int] = {}
        self._ports_taken: set[int] = set()
        self._ready: list[inputs.Input] = []
        #: Highest event number in `_ready`, and in the batch handed out, by node and incarnation.
        self._to_hand: dict[tuple[NodeId, str], int] = {}
        self._handed: dict[tuple[NodeId, str], int] = {}
        self._news = asyncio.Event()
        self._closed = False

    # ---- the port --------------------------------------------------------------------------------

    async def open(self) -> None:
        """Adopt the agents that live; the others are brought up in the background and join when they are."""
        (self._home / "nodes").mkdir(parents=True, exist_ok=True)
        known = {record.node: record for record in nursery.records(self._home)}
        for node, record in known.items():
            if not (node in self._links and nursery.is_alive(record)):
                await self._fence(NodeId(node), record)
        for node, link in self._links.items():
            found = known.get(node)
            if found and nursery.is_alive(found):
                self._to_compare.add(node)
                link.watch(found)
            else:
                link.repair = asyncio.create_task(self._raise(link))

    def obey(self, order: orders.AnyOrder) -> None:
        """Begin to carry out an order; the answer is an observation. WakeAt is the driver's."""
        match order:
            case orders.KeepGangs():
                self._keep(order)
            case orders.StartGang():
                self._start(order)
            case orders.StopGang():
                self._stop(order)
            case orders.AskCheckpoint():
                self._ask(order)
            case orders.QualifyNode():
                self._qualify(order)
            case orders.RepairNode():
                self._repair(order)
            case orders.HoldNode() | orders.WakeAt():
                pass  # no scheduler but the brain places anything here

    async def observe(self) -> Sequence[inputs.Input]:
        """The next observations; what the call before returned is taken to be on record now."""
        for (node, instance), seq in self._handed.items():
            self._links[node].acknowledge(instance, seq)
        self._handed = {}
        while not self._ready and not self._closed:
            self._news.clear()
            await self._news.wait()
        if self._closed:
            return ()
        batch, self._ready = tuple(self._ready), []
        self._handed, self._to_hand = self._to_hand, {}
        return batch

    async def close(self) -> None:
        """Let go; everything keeps running."""
        self._closed = True
        self._news.set()
        tasks = self._replicas.close()
        for link in self._links.values():
            tasks += link.let_go()
            if link.repair:
                link.repair.cancel()
                tasks.append(link.repair)
        await asyncio.gather(*tasks, return_exceptions=True)
        self._nursery.reap()

    async def shutdown(self) -> None:
        """Close, and end every process of the home: workers, agents, zygote."""
        await self.close()
        await nursery.end_all(self._home)
        self._nursery.reap()

    # ---- orders ----------------------------------------------------------------------------------

    def _keep(self, order: orders.KeepGangs) -> None:
        self._kept = order.gangs
        for link in self._links.values():
            self._compare(link)

    def _compare(self, link: Link) -> None:
        """What the agent ran when it was first heard, with what is on record: once, when both are known."""
        if self._kept is None or link.found is None:
            return
        found, link.found = link.found, None
        here = {one.attempt: one.placed_at for one in found}
        kept = {one.attempt: one for one in self._kept if any(m.node == link.node for m in one.members)}
        strange = [
            name
            for name, at in here.items()
            if name not in kept or at not in (0, kept[AttemptId(name)].placed_at)
        ]
        for name in strange:
            aloud.unrecorded(f"{name} on {link.node}")
        link.rid(strange)
        for one in kept.values():
            if one.begun and one.attempt not in here:
                # it answers that it is gone, after whatever it has to tell of its end
                link.give(f"stop {one.attempt}", wire.Stop(attempt=one.attempt))

    def _start(self, order: orders.StartGang) -> None:
        owner = layout.owner_dir(self._home, order.job, order.service)
        logs = layout.logs_dir(owner, order.attempt)
        try:
            ports = rendezvous.of_attempt(
                logs, service=bool(order.service), taken=self._ports_taken, placed_at=order.placed_at
            )
        except OSError as error:
            for member in order.members:
                self._refuse(order.attempt, member.node, f"cannot start: {error}")
            return
        if ports.placed_at not in (0, order.placed_at):
            # the name is spent, by an attempt that the journal does not know any more
            self._stop(orders.StopGang(attempt=order.attempt, members=order.members))
            return
        if order.service:
            self._service_ports[order.attempt] = ports.service
        sizes = [1 if order.launch.per_node else member.chip_count for member in order.members]
        for number, member in enumerate(order.members):
            if (link := self._links.get(member.node)) is None:
                self._gone(order.attempt, member.node)
                continue
            start = wire.Start(
                attempt=order.attempt,
                placed_at=order.placed_at,
                job=order.job,
                service=order.service,
                launch=order.launch,
                chips=member.chips,
                group_rank=number,
                group_size=len(sizes),
                first_rank=sum(sizes[:number]),
                world_size=sum(sizes),
                master_port=ports.master,
                service_port=ports.service,
            )
            link.give(f"start {order.attempt}", start)

    def _stop(self, order: orders.StopGang) -> None:
        for member in order.members:
            if link := self._links.get(member.node):
                link.settle(f"start {order.attempt}")
                stop = wire.Stop(attempt=order.attempt, grace_s=order.grace_s, forget=order.forget)
                link.give(f"stop {order.attempt}", stop)
            else:  # agents outside the site were fenced when we opened
                self._gone(order.attempt, member.node)

    def _ask(self, order: orders.AskCheckpoint) -> None:
        for member in order.members:
            if link := self._links.get(member.node):
                link.give(f"ask {order.attempt}", wire.Ask(attempt=order.attempt, request=order.request))

    def _qualify(self, order: orders.QualifyNode) -> None:
        if link := self._links.get(order.node):
            link.give("qualify", wire.Qualify())

    def _repair(self, order: orders.RepairNode) -> None:
        link = self._links.get(order.node)
        if link is None:
            self._tell(inputs.NodeFenced(at=self._clock(), node=order.node, instance=order.instance))
            return
        if order.instance and order.instance not in (link.instance, link.fencing):
            # that one was fenced before its successor was allowed to begin
            self._tell(inputs.NodeFenced(at=self._clock(), node=order.node, instance=order.instance))
            if link.joined:
                self._joined(link)
        elif link.repair is None or link.repair.done():
            link.repair = asyncio.create_task(self._replace(link))

    # ---- incarnations ----------------------------------------------------------------------------

    async def _replace(self, link: Link, after_s: float = 0.0) -> None:
        await asyncio.sleep(after_s)
        record = link.record
        link.let_go()
        if record:
            link.fencing = record.instance
            await self._fence(link.node, record)
            link.fencing = ""
        await self._raise(link)

    async def _fence(self, node: NodeId, record: wire.Record) -> None:
        """Kill the incarnation; answer the orders it will never carry out."""
        await nursery.fence(self._home, record)
        if link := self._links.get(node):
            for attempt in link.replicas:
                self._replicas.forget(attempt)
            link.replicas.clear()
            seen = paths.attempts_seen(self._home, node)
            for order in list(link.pending.values()):
                if isinstance(order, wire.Start | wire.Stop):
                    with contextlib.suppress(OSError):  # a full disk must not keep the node away
                        attempts.remember(seen, order.attempt)
                    self._gone(AttemptId(order.attempt), node)
            link.pending.clear()
        self._tell(inputs.NodeFenced(at=self._clock(), node=node, instance=record.instance))

    async def _raise(self, link: Link) -> None:
        """Bring up a new incarnation, however often it takes."""
        pause_s = _RETRY_S
        answer: wire.Record | wire.Refused
        while True:
            try:
                answer = await self._nursery.spawn(link.node, secrets.token_hex(4), link.chips)
            except (nursery.Failed, OSError) as error:
                answer = wire.Refused(reason=str(error))
            if isinstance(answer, wire.Refused):
                # one that was on its way when the control plane before us died may hold the node
                known = {record.node: record for record in nursery.records(self._home)}
                found = known.get(link.node)
                if not (found and nursery.is_alive(found)):
                    self.on_evidence(link, "process", False, answer.reason)
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, _RETRY_S_MAX)
                    continue
                answer = found
            link.watch(answer)
            return

    # ---- what nodes say --------------------------------------------------------------------------

    def on_hello(self, link: Link, hello: wire.Hello, *, first: bool) -> None:
        """The agent answers."""
        if first:
            self._joined(link)
            if link.node in self._to_compare:
                self._to_compare.discard(link.node)
                link.found = hello.running
                self._compare(link)
        for replica in hello.replicas:
            if replica.attempt in link.strangers:
                continue
            self._service_ports[replica.attempt] = replica.port
            self._watch_replica(link, replica.attempt)

    def on_event(self, link: Link, event: wire.Event) -> None:
        """Stamp it, note which orders it answers, and pass it on."""
        self._to_hand[link.node, link.instance] = event.seq
        if getattr(event.what, "attempt", "") in link.strangers:
            if isinstance(event.what, inputs.MemberExited | inputs.MemberGone):
                link.is_rid(event.what.attempt)
                self._forget_attempt(link, event.what.attempt)  # it may have been heard before we knew
            return
        match event.what:
            case inputs.MemberStarted(attempt=attempt):
                link.settle(f"start {attempt}")
                self._watch_replica(link, attempt)
            case inputs.MemberExited(attempt=attempt):
                link.settle(f"start {attempt}", f"ask {attempt}")
                self._forget_attempt(link, attempt)
            case inputs.MemberGone(attempt=attempt):
                link.settle(f"start {attempt}", f"ask {attempt}", f"stop {attempt}")
                self._forget_attempt(link, attempt)
            case inputs.CheckpointReported(attempt=attempt, request=request) if request:
                link.settle(f"ask {attempt}")
            case inputs.NodeQualified():
                link.settle("qualify")
            case _:
                pass
        self._tell(msgspec.structs.replace(event.what, at=self._clock()))

    def on_paces(self, link: Link, paces: dict[str, int]) -> None:
        """Told on when the gang's others were heard too."""
        for attempt, pace in paces.items():
            if told := self._paces.hear(AttemptId(attempt), link.node, pace, self._clock()):
                self._tell(told)

    def on_evidence(self, link: Link, source: Signal, healthy: bool, detail: str) -> None:
        """A source changed its mind."""
        self._tell(
            inputs.NodeSignalled(
                at=self._clock(),
                node=link.node,
                instance=link.instance,
                source=source,
                healthy=healthy,
                detail=detail,
            )
        )
        if source == "process" and link.record and not link.joined:
            # it died before anybody was told that it lives, so nobody will order its repair
            link.repair = asyncio.create_task(self._replace(link, after_s=_RETRY_S))

    def _watch_replica(self, link: Link, attempt: str) -> None:
        if port := self._service_ports.get(attempt):
            link.replicas.add(attempt)
            self._replicas.watch(attempt, f"http://127.0.0.1:{port}")

    def _forget_attempt(self, link: Link, attempt: str) -> None:
        self._paces.forget(AttemptId(attempt))
        link.replicas.discard(attempt)
        self._service_ports.pop(attempt, None)
        self._replicas.forget(attempt)

    def _joined(self, link: Link) -> None:
        joined = inputs.NodeJoined(at=self._clock(), node=link.node, instance=link.instance, chips=link.chips)
        self._tell(joined)

    def _gone(self, attempt: AttemptId, node: NodeId) -> None:
        self._tell(inputs.MemberGone(at=self._clock(), attempt=attempt, node=node))

    def _refuse(self, attempt: AttemptId, node: NodeId, detail: str) -> None:
        self._tell(
            inputs.MemberExited(
                at=self._clock(), attempt=attempt, node=node, code=_CANNOT_START, detail=detail
            )
        )

    def _tell(self, what: inputs.Input) -> None:
        self._ready.append(what)
        self._news.set()
