"""All nodes: who is there and well, who is kept out by whom, whom others use, and how one comes back.

Health is one truth. What people do in Slurm (drain, fail, resume, down) is told to the brain as what it is;
what the brain decides (cordon, repair) is done in Slurm, with a reason that begins with `myriad:`. Both are
compared at every look, so neither a restart nor a lost command leaves them apart.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Iterable, Mapping

from myriad.engines.common import burnin, health
from myriad.engines.slurm import batch, commands, reading
from myriad.engines.slurm.gangs import Gangs
from myriad.engines.slurm.view import View
from myriad.engines.slurm.where import Where
from myriad.fleet import hostlist
from myriad.fleet.site import NodePlace
from myriad.kernel.ids import NodeId
from myriad.kernel.units import SECOND
from myriad.protocol import inputs, orders
from myriad.protocol.values import Signal

#: How reasons begin: of what the brain keeps out, in Slurm; of what people keep out in Slurm, in the brain.
OURS, THEIRS = "myriad:", "slurm:"
_BURN_IN_S = 300.0
#: Slurm's word of when a node booted varies by a second or two.
_BOOT_S = 60
#: Drains of nodes that slurmctld makes by itself when it has given a number away that it had forgotten in
#: a crash, and which still ran there. It never takes them back.
_FORGOT = "Duplicate jobid"
#: What clocks of machines, and seconds cut off, may differ by.
_CLOCKS_S = 2
_PROBE_S = 2.0
_UNDRAIN_S = 60.0
_EAGER_S = 120.0
_REASON_CHARS = 200
#: Commands under way at once.
_AT_ONCE = 3
_BY_SLURM: tuple[Signal, ...] = ("channel", "process")
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
        #: When Slurm last showed it as kept out, seconds since the epoch.
        self.held_at = 0
        self.asking: asyncio.Task[None] | None = None
        #: The brain was told that people keep it out in Slurm.
        self.told_held = False
        #: By whom and until when; None: the brain was not told yet, since the node joined.
        self.occupied: tuple[str, int] | None = None
        self.refuses = False
        self.resumed_at = 0.0
        #: One that does not come for so long is not worth a look four times a second.
        self.eager_until = time.monotonic() + _EAGER_S
        self.update: asyncio.Task[None] | None = None
        self.repair: asyncio.Task[None] | None = None
        self.burning: asyncio.Task[None] | None = None


class Nodes:
    """The nodes of the site that Slurm manages for us."""

    def __init__(self, where: Where, places: Iterable[NodePlace], gangs: Gangs) -> None:
        self._at, self._gangs = where, gangs
        self._places = {place.node: Place(place.node, place.chips) for place in places}
        self._lives = dict.fromkeys(self._places, (0, 0))
        self._booted: set[NodeId] = set()
        self._noting: asyncio.Task[None] | None = None
        self._slots = asyncio.Semaphore(_AT_ONCE)
        #: Nodes that are about to be changed alike: state and reason -> nodes, and the work itself.
        self._updates: dict[tuple[str, str], tuple[list[NodeId], asyncio.Task[None]]] = {}
        self._silent: dict[NodeId, tuple[float, int]] = {}
        self._probes: dict[NodeId, asyncio.Task[None]] = {}

    def take_up(self, lives: Mapping[str, tuple[int, int]]) -> None:
        """What the shared folder says of every node: which incarnation it is in, and when it had booted."""
        self._lives = {node: lives[node] for node in self._places}
        for node, place in self._places.items():
            place.instance = f"{node}.{self._lives[node][0]}"

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
            self._keep(place, "undrain")
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

    def waits_for_slurm(self) -> bool:
        """Whether something is only to be learnt from Slurm."""
        now = time.monotonic()
        return any(
            (now < place.eager_until and not place.joined) or (place.burning and not place.burning.done())
            for place in self._places.values()
        )

    # ---- what Slurm says -------------------------------------------------------------------------

    def on_view(self, view: View) -> None:
        """Compare every node with what was told of it."""
        for node, place in self._places.items():
            found = view.nodes.get(node)
            place.seen = found
            if found is None:
                if place.joined and view.nodes:
                    self._say_unknown(place)
                continue
            # of a node that slurmctld has not heard since it began there is no news
            if not found.unknown and (place.repair is None or place.repair.done()):
                self._compare(place, found)
            self._compare_holds(place, found)
            if place.joined:
                self._compare_use(place, view.others.get(node))
        if self._booted and (self._noting is None or self._noting.done()):
            self._noting = self._spawn(self._note_boots())

    def _say_unknown(self, place: Place) -> None:
        """It left Slurm's configuration: nothing can be there, nor come there."""
        for source in _BY_SLURM:
            place.evidence.say(source, False, "Slurm does not know it any more")

    def _compare(self, place: Place, found: reading.Node) -> None:
        generation, boot = self._lives[place.node]
        if found.boot and not boot:
            self._lives[place.node] = generation, found.boot
            self._booted.add(place.node)
        lively = self._silent.get(place.node, (1.0, 0))[0] == 0.0
        if found.boot > boot + _BOOT_S and boot and not lively:
            # it went down and came up again: what ran there is dead, and is fenced as on any lost node. If
            # that gives signs of life, it was the node's clock that was set, from which Slurm reckons
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
        place.instance, place.joined, place.occupied, place.refuses = instance, True, None, False

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
        if found.held:
            place.held_at = self._at.clock() // SECOND
        if found.held and found.reason == _FORGOT:
            if time.monotonic() > place.resumed_at + _RESUME_EVERY_S:
                place.resumed_at, place.shown = time.monotonic(), False
                self._spawn(self._update(place.node, "undrain"))
        elif found.held and not ours and not place.told_held:
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
            if place.asking is None or place.asking.done():
                place.asking = self._spawn(self._given_back(place))
        elif place.ordered and not found.held:
            self._keep(place, "drain", f"{OURS} {place.why or 'cordoned'}")
        elif place.ordered:
            place.shown = True
        elif found.held and ours and place.ordered is False and not repairing:
            self._keep(place, "undrain")

    async def _given_back(self, place: Place) -> None:
        """We had drained it. Either somebody gave it back there, or slurmctld forgot it in a crash."""
        try:
            began_at = reading.booted(await commands.run(["scontrol", "show", "config"]))
        except (commands.SlurmSilent, commands.SlurmError):
            return  # asked again at the next look
        place.shown = False
        if place.ordered and began_at + _CLOCKS_S < place.held_at:
            place.ordered = None  # until the brain has heard
            self._at.tell(inputs.UndrainNode(at=self._at.clock(), node=place.node))

    def _compare_use(self, place: Place, other: reading.Job | None) -> None:
        by, until = (f"job {other.id} of {other.user}", other.end_at) if other else ("", 0)
        if (by, until) != place.occupied:
            place.occupied = by, until
            self._at.tell(inputs.NodeOccupied(at=self._at.clock(), node=place.node, by=by, until=until))

    def _ours(self, place: Place) -> bool:
        return bool(place.seen and place.seen.held and place.seen.reason.startswith(OURS))

    # ---- what members say ------------------------------------------------------------------------

    def on_files(self) -> None:
        """A node whose members all fell silent is suspect; its slurmd is asked at once."""
        self._silent = self._gangs.silent_s()
        for place in self._places.values():
            if not place.joined or (place.repair and not place.repair.done()):
                continue
            silent_s, _ = self._silent.get(place.node, (0.0, 0))
            if silent_s:
                place.evidence.say("heartbeat", False, f"its processes are silent for {silent_s:.1f} s")
                if place.node not in self._probes:
                    probe = self._spawn(self._probe(place))
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
        place.joined, place.eager_until = False, time.monotonic() + _EAGER_S
        if place.burning:
            place.burning.cancel()
        await self._at.act()
        if place.seen and not place.seen.held:
            await self._update(place.node, "drain", f"{OURS} being repaired")
        await self._gangs.fence(place.node)
        await self._cancel_burn_ins(place.node)
        self._booted.discard(place.node)
        if self._noting:
            await asyncio.wait([self._noting])  # two must not write the same
        generation, boot = self._lives[place.node][0] + 1, place.seen.boot if place.seen else 0
        await self._at.act()
        # an old incarnation must never be mistaken for a new one
        generation = await self._at.tasks.insist(self._at.files.set_life, place.node, generation, boot)
        self._lives[place.node] = generation, boot
        self._tell_fenced(place.node, place.instance)
        await self._await_return(place)

    async def _note_boots(self) -> None:
        await self._at.act()
        booted, self._booted = self._booted, set()
        lives = {node: self._lives[node] for node in booted}
        await self._at.tasks.insist(self._at.files.set_boots, lives)

    async def _await_return(self, place: Place) -> None:
        """Until Slurm hears the node again and would use it; what we had marked is taken back."""
        while True:
            if time.monotonic() < place.eager_until:
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
        await self._await_undrain(place)
        try:
            if self._at.config.burn_in == "none":
                found = burnin.Result(ok=True)
            else:
                found = await self._run_burn_in(place, instance)
        except commands.SlurmError as error:
            found = burnin.Result(ok=False, detail=str(error))
        self._tell_qualified(place, instance, found)

    async def _run_burn_in(self, place: Place, instance: str) -> burnin.Result:
        name = f"burn-in/{place.node}/{instance}"
        output = self._at.files.burn_in(place.node)
        words, body = batch.burn_in(self._at.config, self._at.prefix + name, place.node, output, place.chips)
        job, submitted_at, began_at = "", 0.0, 0.0
        while True:
            view = await self._at.seen()
            known = view.own.get(name, [])
            pending = not known or known[0].pending
            if pending and (why := self._not_measurable(place, view)):
                await self._cancel_burn_ins(place.node)
                return burnin.Result(ok=True, detail=f"not measured: {why}")
            if known:
                job, began_at = known[0].id, 0.0 if pending else began_at or view.asked_at
                if not pending and view.asked_at - began_at > _BURN_IN_S:
                    await self._cancel_burn_ins(place.node)
                    return burnin.Result(ok=False, detail=f"burn-in was not done in {_BURN_IN_S:.0f} s")
            elif job and view.asked_at > submitted_at:
                break
            elif not job:
                with contextlib.suppress(commands.SlurmSilent):
                    async with self._slots:
                        await self._at.act()
                        said = await commands.run(["sbatch", *words], feed=body)
                    job, submitted_at = said.strip().partition(";")[0], time.monotonic()
            self._at.hurry()
            await asyncio.sleep(0.3)
        ending = None
        with contextlib.suppress(commands.SlurmSilent, commands.SlurmError):
            said = await commands.run(["scontrol", "--oneliner", "show", "job", job])
            ending = reading.ending(said, self._at.prefix + name)
        return await asyncio.to_thread(burnin.result, output, ending.code if ending else 0)

    def _not_measurable(self, place: Place, view: View) -> str:
        """Why Slurm would not start a burn-in there, for as long as that is so."""
        if place.seen and place.seen.held:
            return f"it is kept out of service ({place.seen.reason or 'drained'})"
        if other := view.others.get(place.node):
            return f"job {other.id} of {other.user} uses it"
        return ""

    async def _await_undrain(self, place: Place) -> None:
        """What the brain has just given back must be given back in Slurm before anything can begin there."""
        give_up_at = time.monotonic() + _UNDRAIN_S
        await self._at.seen()
        while place.seen and place.seen.held and place.ordered is False and time.monotonic() < give_up_at:
            self._at.hurry()
            await asyncio.sleep(0.3)

    # ---- words -----------------------------------------------------------------------------------

    def _keep(self, place: Place, state: str, reason: str = "") -> None:
        """Change its state in Slurm, once at a time."""
        if place.update is None or place.update.done():
            place.update = self._spawn(self._update(place.node, state, reason))

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
        try:
            await self._change(nodes, state, reason)
        except commands.SlurmError:  # perhaps of one of them: the others shall not wait for it
            for node in nodes if len(nodes) > 1 else ():
                with contextlib.suppress(commands.SlurmError):
                    await self._change([node], state, reason)
        self._at.hurry()

    async def _change(self, nodes: list[NodeId], state: str, reason: str) -> None:
        words = ["scontrol", "update", f"nodename={hostlist.fold(nodes)}", f"state={state}"]
        if reason:
            words.append(f"reason={' '.join(reason.split())[:_REASON_CHARS]}")
        with contextlib.suppress(commands.SlurmSilent):  # compared again at every look
            async with self._slots:
                await self._at.act()
                await commands.run(words)

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
        return self._at.tasks.start(work)
