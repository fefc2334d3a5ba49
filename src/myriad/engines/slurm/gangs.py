"""All gangs: submitted to Slurm once, followed through files, ended through files and scancel.

Two sources say how a gang is: its members, in the shared folder, and Slurm's list of jobs. Members are
believed; Slurm speaks for those that cannot any more. While Slurm is silent nothing is concluded from it.
"""

import asyncio
import contextlib
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from myriad.engines.common.paces import Paces
from myriad.engines.common.replicas import Replicas
from myriad.engines.slurm import commands, gang, reading, spool, tails
from myriad.engines.slurm.gang import Gang, Part
from myriad.engines.slurm.submitting import Submitter
from myriad.engines.slurm.view import View
from myriad.engines.slurm.where import Where
from myriad.kernel.ids import AttemptId, NodeId
from myriad.protocol import inputs, orders

_RETRY_S = 10.0
#: scancel helps the members so long after they should have ended by themselves.
_HELP_S = 1.5
#: Known ends are told again to whoever asks, for so many attempts.
_PAST = 20_000
#: A job of ours that nobody ordered, as it seems, is left alone for so long.
_STRAY_S = 60.0
#: Ends that Slurm gives a job for its own reasons; one it does not know any more, it forgot in a crash.
_NOT_ITS_FAULT = (
    "NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "REVOKED", "COMPLETED", "COMPLETING", "RUNNING", "PENDING",
)  # fmt: skip


class Gangs:
    """Every attempt that is not over, and the last words of those that are."""

    def __init__(self, where: Where, chips_of: Callable[[NodeId], int]) -> None:
        self._at, self._chips_of = where, chips_of
        self._gangs: dict[AttemptId, Gang] = {}
        self._past: dict[AttemptId, list[inputs.Input]] = {}
        self._to_clear: list[AttemptId] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._submitter = Submitter(where, chips_of)
        self._paces = Paces()
        self._replicas = Replicas(where.tell, where.clock)
        self._strays: dict[str, float] = {}

    # ---- orders ----------------------------------------------------------------------------------

    def start(self, order: orders.StartGang) -> None:
        """Submit it, unless it was started or stopped before; else say again what is true."""
        if known := self._gangs.get(order.attempt):
            for part in known.parts.values():
                if part.started:
                    self._at.tell(known.started(self._at.clock(), part.node))
                if part.over:
                    self._at.tell(known.last_word(self._at.clock(), part))
            if known.task is None and not known.job and self._unclaimed(known):
                # planned by a predecessor that did not live to submit it
                known.task = self._spawn(self._submit(known))
        elif past := self._past.get(order.attempt):
            for word in past:
                self._at.tell(msgspec.structs.replace(word, at=self._at.clock()))
        elif strangers := [m.node for m in order.members if not self._chips_of(m.node)]:
            for node in strangers:
                self._tell_gone(order.attempt, node)
        else:
            one = self._new(order.attempt, tuple(m.node for m in order.members))
            one.task = self._spawn(self._start(one, order))

    def stop(self, order: orders.StopGang) -> None:
        """End it, or make sure that it never begins."""
        if order.attempt in self._past:
            for member in order.members:
                self._tell_gone(order.attempt, member.node)
        else:
            self._spawn(self._stop(order))

    def ask(self, order: orders.AskCheckpoint) -> None:
        """Put the request where the workers look for it."""
        if order.attempt in self._gangs:
            self._spawn(self._ask(order))

    # ---- life ------------------------------------------------------------------------------------

    def adopt(self) -> None:
        """Take up every attempt that has left a plan: what its members wrote is told again."""
        for attempt in self._at.files.attempts():
            if attempt not in self._gangs:
                self._adopt(AttemptId(attempt))

    def on_record(self) -> None:
        """What was told so far is durable: files of gangs that are over can go."""
        done, self._to_clear = self._to_clear, []
        if done:
            self._spawn(self._clear(done))

    async def close(self) -> None:
        """Let go of everything; gangs go on."""
        tasks = [*self._tasks, *self._replicas.close()]
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def lively(self) -> bool:
        """Whether files should be looked at often."""
        return any(one.lively for one in self._gangs.values())

    def waits_for_slurm(self) -> bool:
        """Whether something is only to be learnt from Slurm."""
        return any(one.stop or not one.job or one.waits_for for one in self._gangs.values())

    # ---- what members write ----------------------------------------------------------------------

    async def read(self) -> None:
        """Everything new in the files of members."""
        parts = {
            part.tail: (one, part)
            for one in self._gangs.values()
            for part in one.parts.values()
            if part.over is None
        }
        for news in await asyncio.to_thread(tails.read, list(parts)):
            one, part = parts[news.tail]
            part.alive_at, part.alive_wall = time.monotonic(), self._at.clock()
            for line in news.lines:
                self._hear(one, part, line)
        now = time.monotonic()
        for one in list(self._gangs.values()):
            if one.stop and one.job and not one.over and now >= one.cancel_at:
                one.cancel_at = now + 2 * self._at.config.lease_s
                self._spawn(self._cancel(one.attempt, one.job))
            if one.over:
                self._finish(one)

    def _hear(self, one: Gang, part: Part, line: bytes) -> None:
        match gang.parse(line):
            case inputs.MemberStarted() as started:
                part.started = started
                self._at.tell(one.started(self._at.clock(), part.node))
            case inputs.MemberExited() | inputs.MemberGone() as over:
                self._over(one, part, over)
            case gang.EndedBySlurm():
                part.ended = True
                if one.stop:
                    self._over(one, part, inputs.MemberGone(at=0, attempt=one.attempt, node=part.node))
                self._at.hurry()
            case gang.Listens(attempt=attempt, url=url):
                self._replicas.watch(attempt, url)
            case gang.Paced(attempt=attempt, node=node, pace_ns=pace):
                if told := self._paces.hear(attempt, node, pace, self._at.clock()):
                    self._at.tell(told)
            case None:
                pass
            case said:
                self._at.tell(msgspec.structs.replace(said, at=self._at.clock()))

    def _over(self, one: Gang, part: Part, over: gang.Over) -> None:
        part.over = over
        self._paces.forget(one.attempt)
        self._replicas.forget(one.attempt)
        self._at.tell(one.last_word(self._at.clock(), part))
        self._at.hurry()

    def _finish(self, one: Gang) -> None:
        at = self._at.clock()
        words = [one.started(at, part.node) for part in one.parts.values() if part.started]
        words += [one.last_word(at, part) for part in one.parts.values()]
        self._past[one.attempt] = words
        if len(self._past) > _PAST:
            del self._past[next(iter(self._past))]
        del self._gangs[one.attempt]
        self._to_clear.append(one.attempt)

    # ---- what Slurm says -------------------------------------------------------------------------

    def on_view(self, view: View) -> None:
        """Compare with Slurm's list of jobs."""
        for one in list(self._gangs.values()):
            if not one.job and (known := view.own.get(one.attempt)):
                one.job = known[0].id
            job = view.job(one.attempt, one.job) if one.job else None
            ends = job.ending if job else bool(one.job) and view.asked_at > one.submitted_at
            if job is not None and not ends:
                one.left = False
                self._say_waiting(one, job)
            elif ends and not one.left:
                one.left = True
                self._spawn(self._settle(one))
        self._cancel_strays(view)

    def _say_waiting(self, one: Gang, job: reading.Job) -> None:
        """Slurm does not start it: somebody should know why."""
        why = job.reason if job.pending and time.monotonic() > one.submitted_at + 10 else ""
        if why and why != one.waits_for:
            text = f"waits in Slurm as job {job.id}: {why}"
            node = one.nodes[0]
            self._at.tell(inputs.WorkerSpoke(at=self._at.clock(), attempt=one.attempt, node=node, text=text))
        one.waits_for = job.reason if job.pending else ""

    def _cancel_strays(self, view: View) -> None:
        """Jobs that may not start, since another was first or somebody forbade it, only take up room."""
        now = time.monotonic()
        seen: dict[str, float] = {}
        for attempt, jobs in view.own.items():
            if attempt.startswith("burn-in/"):
                continue
            one = self._gangs.get(AttemptId(attempt))
            for job in jobs:
                if one and (one.job == job.id or not one.job):
                    continue
                seen[job.id] = self._strays.get(job.id, now)
                claim = self._at.files.claim(attempt)
                if claim == job.id and AttemptId(attempt) not in self._past:
                    continue
                if claim not in ("", job.id) or now - seen[job.id] > _STRAY_S:
                    self._spawn(self._cancel(attempt, job.id))
        self._strays = seen

    async def _settle(self, one: Gang) -> None:
        """Slurm ends its job, or has ended it: speak for members that did not say their last word."""
        ending = await self._ending(one)
        try:
            claim = await asyncio.to_thread(self._at.files.claim, one.attempt)
            if claim not in ("", spool.STOPPED, one.job):
                # another job of the attempt was first, submitted by somebody who got no answer: it counts
                one.left, one.job = False, claim
                return
            if ending is None and not one.stop and not claim and not any(p.begun for p in one.parts.values()):
                # slurmctld was restarted from a state older than the job: nothing has begun, nothing is lost
                one.left, one.job = False, ""
                one.task = self._spawn(self._submit(one))
                return
            await self._at.act()
            await asyncio.to_thread(self._at.files.forbid, one.attempt)
            while not one.over and one.left:
                await asyncio.sleep(self._at.config.lease_s / 8)
                if ending and ending.state == "COMPLETING":
                    ending = await self._ending(one)
                await self._speak_for(one, ending)
        except OSError:
            one.left = False  # the shared folder is away: the next look at Slurm begins anew

    async def _speak_for(self, one: Gang, ending: reading.Ending | None) -> None:
        view = await self._at.seen()
        job = view.job(one.attempt, one.job)
        for part in one.parts.values():
            quiet = time.monotonic() - part.alive_at
            if part.over or (part.begun and not part.ended and quiet < self._at.config.lease_s / 2):
                continue
            # a node that Slurm does not hear may still run it: the node's own loss is told elsewhere
            done_there = job is None or part.node not in job.nodes
            if not part.ended and not (done_there and view.responds(part.node)):
                continue
            # one that begins this very moment says by itself how it goes on
            if part.begun or await asyncio.to_thread(self._at.files.bar, one.attempt, part.node):
                self._over(one, part, self._inferred(one, part, ending))

    async def _ending(self, one: Gang) -> reading.Ending | None:
        with contextlib.suppress(commands.SlurmSilent, commands.SlurmError):
            words = ["scontrol", "--oneliner", "show", "job", one.job]
            return reading.ending(await commands.run(words))
        return None

    def _unclaimed(self, one: Gang) -> bool:
        return not self._at.files.claim(one.attempt) and not any(p.started for p in one.parts.values())

    def _inferred(self, one: Gang, part: Part, ending: reading.Ending | None) -> gang.Over:
        """Without its own word: gone is the site's doing, an exit is the job's."""
        at = self._at.clock()
        if one.stop or ending is None or ending.state.split("+")[0] in _NOT_ITS_FAULT:
            return inputs.MemberGone(at=at, attempt=one.attempt, node=part.node)
        detail = f"job {one.job} was ended by Slurm: {ending.state}"
        return inputs.MemberExited(
            at=at, attempt=one.attempt, node=part.node, code=ending.code or -15, detail=detail
        )

    # ---- nodes that are given up -----------------------------------------------------------------

    def silent_s(self) -> dict[NodeId, tuple[float, int]]:
        """How long the liveliest member on each node has been silent, and since when; of nodes with any."""
        latest: dict[NodeId, Part] = {}
        for one in self._gangs.values():
            for node, part in one.parts.items():
                if part.runs and (node not in latest or part.alive_at > latest[node].alive_at):
                    latest[node] = part
        now = time.monotonic()
        return {node: (now - part.alive_at, part.alive_wall) for node, part in latest.items()}

    async def fence(self, node: NodeId) -> None:
        """Returns when nothing of any gang runs on the node, nor can begin there."""
        while True:
            left = [
                (one, part)
                for one in self._gangs.values()
                if (part := one.parts.get(node)) and part.over is None
            ]
            if not left:
                return
            for one, _ in left:
                with contextlib.suppress(OSError):
                    await asyncio.to_thread(self._write_stop, one.attempt, {"grace_s": 0.0}, node)
            view = await self._at.seen()
            for one, part in left:
                quiet = time.monotonic() - part.alive_at
                # its guard has ended it by now, or it never came to be and will find the order to stop
                ended = quiet > 1.25 * self._at.config.lease_s + 0.5
                if ended or (one.left and view.responds(node)):
                    self._over(one, part, inputs.MemberGone(at=0, attempt=one.attempt, node=node))
            await asyncio.sleep(0.1)

    # ---- inside ----------------------------------------------------------------------------------

    def _new(self, attempt: AttemptId, nodes: tuple[NodeId, ...]) -> Gang:
        whole = self._at.config.start == "gang"
        one = Gang(self._at.files, attempt, nodes, time.monotonic(), whole=whole)
        self._gangs[attempt] = one
        return one

    def _adopt(self, attempt: AttemptId) -> Gang | None:
        tree = spool.read_json(self._at.files.plan(attempt))
        if tree is None:
            return None
        one = self._new(attempt, tuple(NodeId(member["node"]) for member in tree["members"]))
        claim = self._at.files.claim(attempt)
        one.job = "" if claim == spool.STOPPED else claim
        return one

    async def _start(self, one: Gang, order: orders.StartGang) -> None:
        await self._at.act()
        try:
            if await asyncio.to_thread(self._at.files.claim, one.attempt):
                # it was started or forbidden before, and is over: else its plan would have been adopted
                del self._gangs[one.attempt]
                for node in one.nodes:
                    self._tell_gone(one.attempt, node)
                return
            await self._submitter.plan(order)
        except OSError as error:
            await self._refuse(one, f"the shared folder cannot be used: {error}")
        else:
            await self._submit(one)

    async def _submit(self, one: Gang) -> None:
        try:
            await self._submitter.submit(one)
        except commands.SlurmError as error:
            await self._refuse(one, str(error))

    async def _refuse(self, one: Gang, why: str) -> None:
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._at.files.forbid, one.attempt)
        words = gang.refused(one, self._at.clock(), why)
        self._past[one.attempt] = words
        self._gangs.pop(one.attempt, None)
        self._to_clear.append(one.attempt)
        for word in words:
            self._at.tell(word)

    async def _stop(self, order: orders.StopGang) -> None:
        await self._at.act()
        try:
            job = await asyncio.to_thread(self._at.files.forbid, order.attempt)
            one = self._gangs.get(order.attempt) or self._adopt(order.attempt)
            if one is not None:
                wish = {"grace_s": order.grace_s, "forget": order.forget}
                await asyncio.to_thread(self._write_stop, order.attempt, wish)
        except OSError as error:
            await asyncio.sleep(_RETRY_S)  # the shared folder is away
            self._at.tell(_note(order, self._at.clock(), f"cannot be stopped: {error}"))
            self._spawn(self._stop(order))
            return
        if one is None:
            for member in order.members:
                self._tell_gone(order.attempt, member.node)
            return
        one.job = one.job or job
        first, one.stop = one.stop is None, order
        cancel_at = time.monotonic() + (order.grace_s + _HELP_S if job else 0.0)
        one.cancel_at = cancel_at if first else min(one.cancel_at, cancel_at)
        if not job:  # it never began: members that were not there will not come
            for part in one.parts.values():
                if part.over is None and not part.started:
                    self._over(one, part, inputs.MemberGone(at=0, attempt=one.attempt, node=part.node))
            if one.job:
                self._spawn(self._cancel(one.attempt, one.job))
        for part in one.parts.values():
            if part.over:
                self._tell_gone(one.attempt, part.node)
        known = {member.node for member in order.members} - set(one.nodes)
        for node in known:
            self._tell_gone(one.attempt, node)
        self._at.hurry()

    def _write_stop(self, attempt: str, wish: Mapping[str, object], node: str = "") -> None:
        self._at.files.of(attempt).mkdir(parents=True, exist_ok=True)
        everywhere, here = self._at.files.stop_files(attempt, node)
        spool.write_json(here if node else everywhere, wish)

    async def _ask(self, order: orders.AskCheckpoint) -> None:
        await self._at.act()
        with contextlib.suppress(OSError):
            await asyncio.to_thread(spool.replace, self._at.files.request(order.attempt), order.request)

    async def _cancel(self, attempt: str, job: str) -> None:
        """By number and name: a slurmctld that forgot jobs gives their numbers away again."""
        await self._at.act()
        with contextlib.suppress(commands.SlurmSilent, commands.SlurmError):
            await commands.run(["scancel", f"--jobname={self._at.prefix}{attempt}", job])

    async def _clear(self, attempts: list[AttemptId]) -> None:
        await self._at.act()
        for attempt in attempts:
            await asyncio.to_thread(shutil.rmtree, self._at.files.of(attempt), True)

    def _tell_gone(self, attempt: AttemptId, node: NodeId) -> None:
        self._at.tell(inputs.MemberGone(at=self._at.clock(), attempt=attempt, node=node))

    def _spawn(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _note(order: orders.StopGang, at: int, text: str) -> inputs.WorkerSpoke:
    return inputs.WorkerSpoke(at=at, attempt=order.attempt, node=order.members[0].node, text=text)
