"""All nodes: who is there and well, who is kept out by whom, whom others use, and how one comes back.

Health is one truth. What people do in Slurm (drain, fail, resume, down) is told to the brain as what it is;
what the brain decides (cordon, repair) is done in Slurm, with a reason that begins with `myriad:`. Both are
compared at every look, so neither a restart nor a lost command leaves them apart.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Iterable

from myriad.engines.common import burnin, health
from myriad.engines.slurm import batch, commands, reading
from myriad.engines.slurm.gangs import Gangs
from myriad.engines.slurm.view import View
from myriad.engines.slurm.where import Where
from myriad.fleet import hostlist
from myriad.fleet.site import NodePlace
from myriad.kernel.ids import NodeId
from myriad.protocol import inputs, orders
from myriad.protocol.values import Signal

#: How reasons begin: of what the brain keeps out, in Slurm; of what people keep out in Slurm, in the brain.
OURS, THEIRS = "myriad:", "slurm:"
_BURN_IN_S = 300.0
#: Slurm's word of when a node booted varies by a second or two.
_BOOT_S = 60
_PROBE_S = 2.0
_RETRY_S = 2.0
#: What is to be changed in Slurm within so long is changed at once.
_GATHER_S = 0.05
#: A node that Slurm calls down although its slurmd answers is asked back no more often than this.
_RESUME_EVERY_S = 10.0


class Place:
    """One node."""

    def __init__(self, node: NodeId, chips: int) -> None:
        self.node, self.chips = node, chips
        self.instance = ""
        self.joined = False
        self.to_qualify = False
        self.evidence = health.Evidence(lambda *_: None)
        self.seen: reading.Node | None = None
        #: The brain's last word on whether it is kept out, and whether Slurm has shown it since.
        self.ordered: bool | None = None
        self.why = ""
        self.shown = False
        #: The brain was told that people keep it out in Slurm.
        self.told_held = False
        #: None: the brain was not told yet, since the node joined.
        self.occupied_by: str | None = None
        self.refuses = False
        self.resumed_at = 0.0
        self.repair: asyncio.Task[None] | None = None
        self.burning: asyncio.Task[None] | None = None


class Nodes:
    """The nodes of the site that Slurm manages for us."""

    def __init__(self, where: Where, places: Iterable[NodePlace], gangs: Gangs) -> None:
        self._at, self._gangs = where, gangs
        self._places = {place.node: Place(place.node, place.chips) for place in places}
        self._lives = {node: where.files.life(node) for node in self._places}
        for node, place in self._places.items():
            place.instance = f"{node}.{self._lives[node][0]}"
        self._silent: dict[NodeId, tuple[float, int]] = {}
        #: Nodes that are about to be changed alike: state and reason -> nodes, and the work itself.
        self._updates: dict[tuple[str, str], tuple[list[NodeId], asyncio.Task[None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._probes: dict[NodeId, asyncio.Task[None]] = {}

    # ---- orders ----------------------------------------------------------------------------------

    def hold(self, order: orders.HoldNode) -> None:
        """Keep it out in Slurm as well, or give it back there."""
        place = self._places.get(order.node)
        if place is None:
            return
        before, place.ordered, place.why = place.ordered, order.held, order.reason
        if order.held and order.reason.startswith(THEIRS):
            place.told_held = True  # only repeats what people did in Slurm, and holds as long as that does
        place.shown = order.held and (place.told_held or bool(place.seen and place.seen.held))
        if not order.held and (before or self._ours(place)) and place.seen and place.seen.held:
            self._spawn(self._update(place.node, "undrain"))
        self._at.hurry()

    def repair(self, order: orders.RepairNode) -> None:
        """Fence the incarnation, then let the node come back as another."""
        place = self._places.get(order.node)
        if place is None or (order.instance and order.instance != place.instance):
            # that one was fenced before its successor was allowed to begin
            self._tell_fenced(order.node, order.instance)
            if place and place.joined:
                self._tell_joined(place)
        elif place.repair is None or place.repair.done():
            place.repair = self._spawn(self._replace(place))

    def qualify(self, order: orders.QualifyNode) -> None:
        """Run burn-in as a Slurm job on that node."""
        place = self._places.get(order.node)
        if place:
            place.to_qualify = True  # begun when it has joined
            self._qualify(place)

    def _qualify(self, place: Place) -> None:
        if place.joined and place.to_qualify and (place.burning is None or place.burning.done()):
            place.to_qualify = False
            place.burning = self._spawn(self._burn_in(place, place.instance))

    def instance(self, node: NodeId) -> str:
        """The incarnation in use."""
        place = self._places.get(node)
        return place.instance if place else ""

    async def close(self) -> None:
        """Let go; nothing in Slurm changes."""
        tasks = [*self._tasks, *self._probes.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def waits_for_slurm(self) -> bool:
        """Whether something is only to be learnt from Slurm."""
        return any(
            (p.repair and not p.repair.done()) or (p.burning and not p.burning.done()) or not p.joined
            for p in self._places.values()
        )

    # ---- what Slurm says -------------------------------------------------------------------------

    def on_view(self, view: View) -> None:
        """Compare every node with what was told of it."""
        for node, place in self._places.items():
            found = view.nodes.get(node)
            place.seen = found
            if found is None:
                continue
            if place.repair is None or place.repair.done():
                self._compare(place, found)
            self._compare_holds(place, found)
            if place.joined:
                self._compare_use(place, view.others.get(node))

    def _compare(self, place: Place, found: reading.Node) -> None:
        generation, boot = self._lives[place.node]
        if found.boot and not boot:
            self._live(place.node, generation, found.boot)
        elif found.boot > boot + _BOOT_S and boot:
            # it went down and came up again: what ran there is dead, and is fenced as on any lost node
            place.repair = self._spawn(self._replace(place))
        elif found.usable and not place.joined:
            self._join(place, f"{place.node}.{generation}")
        elif place.joined:
            silent = "" if found.responds else f"slurmctld hears nothing of it ({found.state})"
            down = f"Slurm says {found.state}: {found.reason}" if found.down else ""
            refused = "its slurmd cannot be reached" if place.refuses else ""
            place.evidence.say("channel", not silent and not found.down, silent or down)
            place.evidence.say("process", not down and not refused, down or refused)

    def _join(self, place: Place, instance: str) -> None:
        place.instance, place.joined, place.occupied_by, place.refuses = instance, True, None, False

        def tell(source: Signal, healthy: bool, detail: str) -> None:
            _, since = self._silent.get(place.node, (0.0, 0))
            self._at.tell(
                inputs.NodeSignalled(
                    at=self._at.clock(),
                    node=place.node,
                    instance=instance,
                    source=source,
                    healthy=healthy,
                    detail=detail,
                    since=0 if healthy else since,
                )
            )

        place.evidence = health.Evidence(tell)
        self._tell_joined(place)
        self._qualify(place)

    def _compare_holds(self, place: Place, found: reading.Node) -> None:
        """Drains in both directions. Ours are known by their reason."""
        ours, by = self._ours(place), f"{THEIRS} {found.reason_by or 'somebody'}"
        repairing = place.repair is not None and not place.repair.done()
        if found.held and not ours and not place.told_held:
            place.told_held = True
            reason = found.reason or "drained in Slurm"
            self._at.tell(
                inputs.DrainNode(at=self._at.clock(), node=place.node, by=by, reason=f"{by}: {reason}")
            )
        elif not found.held and place.told_held:
            place.told_held = place.shown = False
            if place.ordered:
                place.ordered = None  # until the brain has heard
                self._at.tell(inputs.UndrainNode(at=self._at.clock(), node=place.node))
        elif place.ordered and not found.held and place.shown:
            # we had drained it, and somebody gave it back there
            place.ordered, place.shown = None, False
            self._at.tell(inputs.UndrainNode(at=self._at.clock(), node=place.node))
        elif place.ordered and not found.held:
            self._spawn(self._update(place.node, "drain", f"{OURS} {place.why or 'cordoned'}"))
        elif place.ordered:
            place.shown = True
        elif found.held and ours and place.ordered is False and not repairing:
            self._spawn(self._update(place.node, "undrain"))

    def _compare_use(self, place: Place, other: reading.Job | None) -> None:
        by = f"job {other.id} of {other.user}" if other else ""
        if by != place.occupied_by:
            place.occupied_by = by
            until = other.end_at if other else 0
            self._at.tell(inputs.NodeOccupied(at=self._at.clock(), node=place.node, by=by, until=until))

    def _ours(self, place: Place) -> bool:
        return bool(place.seen and place.seen.held and place.seen.reason.startswith(OURS))

    # ---- what members say ------------------------------------------------------------------------

    def on_files(self) -> None:
        """A node whose members all fell silent is suspect; its slurmd is asked at once."""
        patience_s = self._at.config.lease_s / 2
        self._silent = self._gangs.silent_s()
        for place in self._places.values():
            if not place.joined or (place.repair and not place.repair.done()):
                continue
            silent_s, _ = self._silent.get(place.node, (0.0, 0))
            if silent_s > patience_s:
                place.evidence.say("heartbeat", False, f"its processes are silent for {silent_s:.1f} s")
                if place.node not in self._probes:
                    probe = asyncio.ensure_future(self._probe(place))
                    self._probes[place.node] = probe
                    probe.add_done_callback(lambda _, node=place.node: self._probes.pop(node, None))  # type: ignore[misc]
            else:
                place.evidence.say("heartbeat", True)

    async def _probe(self, place: Place) -> None:
        """Is anybody at the port of its slurmd?"""
        if place.seen is None:
            return
        try:
            async with asyncio.timeout(_PROBE_S):
                _, writer = await asyncio.open_connection(place.seen.address, place.seen.port)
            writer.close()
            place.refuses = False
        except (OSError, TimeoutError):
            place.refuses = True
            place.evidence.say("process", False, "its slurmd cannot be reached")
        await asyncio.sleep(_PROBE_S)

    # ---- incarnations ----------------------------------------------------------------------------

    async def _replace(self, place: Place) -> None:
        place.joined = False
        if place.burning:
            place.burning.cancel()
        await self._at.act()
        if place.seen and not place.seen.held:
            await self._update(place.node, "drain", f"{OURS} being repaired")
        await self._gangs.fence(place.node)
        await self._cancel_burn_ins(place.node)
        generation, _ = self._lives[place.node]
        self._live(place.node, generation + 1, place.seen.boot if place.seen else 0)
        self._tell_fenced(place.node, place.instance)
        await self._await_return(place)

    def _live(self, node: NodeId, generation: int, boot: int) -> None:
        """Raises OSError: an old incarnation must never be mistaken for a new one."""
        self._at.files.set_life(node, generation, boot)
        self._lives[node] = generation, boot

    async def _await_return(self, place: Place) -> None:
        """Until Slurm hears the node again and would use it; what we had marked is taken back."""
        while True:
            self._at.hurry()
            await asyncio.sleep(_RETRY_S / 4)
            found = (await self._at.seen()).nodes.get(place.node)
            if found is None or not found.responds:
                continue
            marked = found.held and found.reason.startswith(OURS) and not place.ordered
            # down although its slurmd answers: Slurm's own mark for a node that was away
            left_down = found.down and found.reason.startswith(("Not responding", OURS, "Node unexpectedly"))
            if (marked or left_down) and time.monotonic() > place.resumed_at + _RESUME_EVERY_S:
                place.resumed_at = time.monotonic()
                await self._update(place.node, "resume")
            elif not found.down and not marked:
                return

    async def _cancel_burn_ins(self, node: NodeId) -> None:
        for name, jobs in (await self._at.seen()).own.items():
            if name.startswith(f"burn-in/{node}/"):
                for job in jobs:
                    with contextlib.suppress(commands.SlurmSilent, commands.SlurmError):
                        await commands.run(["scancel", job.id])

    # ---- burn-in ---------------------------------------------------------------------------------

    async def _burn_in(self, place: Place, instance: str) -> None:
        config, by = self._at.config, place.occupied_by
        view = await self._at.seen()
        if config.burn_in == "none" or by or place.node in view.others:
            why = f"not measured: {by or 'others'} use it" if by or place.node in view.others else ""
            self._tell_qualified(place, instance, burnin.Result(ok=True, detail=why))
            return
        try:
            found = await self._run_burn_in(place, instance)
        except TimeoutError:
            found = burnin.Result(ok=False, detail=f"burn-in was not done in {_BURN_IN_S:.0f} s")
        except commands.SlurmError as error:
            found = burnin.Result(ok=False, detail=str(error))
        self._tell_qualified(place, instance, found)

    async def _run_burn_in(self, place: Place, instance: str) -> burnin.Result:
        name = f"burn-in/{place.node}/{instance}"
        output = self._at.files.burn_in(place.node)
        words, body = batch.burn_in(self._at.config, self._at.prefix + name, place.node, output, place.chips)
        job, submitted_at = "", 0.0
        async with asyncio.timeout(_BURN_IN_S):
            while True:
                view = await self._at.seen()
                if known := view.own.get(name):
                    job = known[0].id
                elif job and view.asked_at > submitted_at:
                    break
                elif not job:
                    await self._at.act()
                    with contextlib.suppress(commands.SlurmSilent):
                        said = await commands.run(["sbatch", *words], feed=body)
                        job, submitted_at = said.strip().partition(";")[0], time.monotonic()
                self._at.hurry()
                await asyncio.sleep(0.3)
        ending = None
        with contextlib.suppress(commands.SlurmSilent, commands.SlurmError):
            ending = reading.ending(await commands.run(["scontrol", "--oneliner", "show", "job", job]))
        return await asyncio.to_thread(burnin.result, output, ending.code if ending else 0)

    # ---- words -----------------------------------------------------------------------------------

    async def _update(self, node: NodeId, state: str, reason: str = "") -> None:
        """Change it in Slurm, with all that is to be changed alike: a pod is drained by one command."""
        nodes, done = self._updates.get((state, reason), ([], None))
        if done is None:
            done = self._spawn(self._update_all(nodes, state, reason))
            self._updates[state, reason] = nodes, done
        nodes.append(node)
        await asyncio.shield(done)

    async def _update_all(self, nodes: list[NodeId], state: str, reason: str) -> None:
        await asyncio.sleep(_GATHER_S)
        del self._updates[state, reason]
        await self._at.act()
        words = ["scontrol", "update", f"nodename={hostlist.fold(nodes)}", f"state={state}"]
        with contextlib.suppress(commands.SlurmSilent, commands.SlurmError):  # compared again at every look
            await commands.run([*words, *([f"reason={reason}"] if reason else [])])
        self._at.hurry()

    def _tell_joined(self, place: Place) -> None:
        self._at.tell(
            inputs.NodeJoined(
                at=self._at.clock(), node=place.node, instance=place.instance, chips=place.chips
            )
        )

    def _tell_fenced(self, node: NodeId, instance: str) -> None:
        self._at.tell(inputs.NodeFenced(at=self._at.clock(), node=node, instance=instance))

    def _tell_qualified(self, place: Place, instance: str, found: burnin.Result) -> None:
        self._at.tell(
            inputs.NodeQualified(
                at=self._at.clock(),
                node=place.node,
                instance=instance,
                ok=found.ok,
                gemm_flops=found.gemm_flops,
                detail=found.detail,
            )
        )

    def _spawn(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
