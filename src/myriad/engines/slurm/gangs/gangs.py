"""All gangs: submitted to Slurm once, followed through files, ended through files and scancel.

Two sources say how a gang is: its members, in the shared folder, and Slurm's list of jobs. Members are
believed; Slurm speaks for those that cannot any more. While Slurm is silent nothing is concluded from it.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec

from myriad.engines.common import aloud
from myriad.engines.common.paces import Paces
from myriad.engines.common.replicas import Replicas
from myriad.engines.slurm import spool
from myriad.engines.slurm.asking import commands, reading
from myriad.engines.slurm.asking.view import View
from myriad.engines.slurm.gangs import gang, sweeping, tails
from myriad.engines.slurm.gangs.gang import Gang, Part
from myriad.engines.slurm.gangs.settling import Settler
from myriad.engines.slurm.gangs.strangers import Strangers
from myriad.engines.slurm.gangs.strays import Strays
from myriad.engines.slurm.gangs.submitting import Submitter
from myriad.engines.slurm.where import Where
from myriad.kernel.ids import AttemptId, NodeId
from myriad.kernel.units import Instant
from myriad.protocol import inputs, orders

_RETRY_S, _LOOK_S = 2.0, 0.05
#: Slurm begins a job within this, if nothing keeps it; why one waits that it has not yet looked at.
_PATIENCE_S, _NOT_LOOKED = 10.0, "None"
#: How much of a member's file a successor reads again at most, about.
_MARK_BYTES = 64 << 10
#: scancel helps the members so long after they should have ended by themselves.
_HELP_S = 1.5
#: Known ends are told again to whoever asks, for so many attempts.
_PAST = 2_000
#: An attempt that has been over for so long cannot have a job that still comes, and is forgotten.
_PRUNE_S, _PRUNE_EVERY_S = 7 * 86400.0, 6 * 3600.0
#: Commands of a kind under way at once.
_AT_ONCE = 3
#: Who looks again after so long, or a quarter of the lease, stood still, perhaps with all of the machine.
_STILL_S = 1.0


class Signs(NamedTuple):
    """Signs of life."""

    #: How long there have been none, if that is too long; else 0.
    silent_s: float
    #: When the last was given (0: not known), and whether it was seen then.
    last: Instant
    heard: bool


class Gangs:
    """Every attempt that is not over, and the last words of those that are."""

    def __init__(self, where: Where, chips_of: Callable[[NodeId], int]) -> None:
        self._at, self._chips_of = where, chips_of
        self._gangs: dict[AttemptId, Gang] = {}
        self._past: dict[AttemptId, list[inputs.Input]] = {}
        #: Gangs that are over, whose last word waits; and those whose last word the brain was given.
        self._to_clear: list[AttemptId] = []
        self._handed_over: list[AttemptId] = []
        #: Gangs with much to be read again by a successor, and what of it the brain was given.
        self._to_mark: set[AttemptId] = set()
        self._marks: dict[AttemptId, dict[str, int]] = {}
        self._cancels = asyncio.Semaphore(_AT_ONCE)
        #: When our last look at the members' files began, and when it was done.
        self._looked_at = self._looked_until = 0.0
        self._blind = False
        #: Why a gang could not be started, as it was said last.
        self._refused = ""
        self._submitter = Submitter(where, chips_of)
        self._settler = Settler(where, self._over, self._quiet_s, self._submit_again)
        self._paces = Paces()
        self._replicas = Replicas(where.tell, where.clock)

        def cancel(attempt: AttemptId, job: str) -> None:
            self._spawn(self._cancel(attempt, job))

        self._strays = Strays(where, self._gangs, self._past, cancel)
        self._strangers = Strangers(
            where, self._gangs, self._past, lambda order: self._spawn(self._stop(order)), cancel
        )

    # ---- orders ----------------------------------------------------------------------------------

    def keep(self, order: orders.KeepGangs) -> None:
        """End what is not on record; tell of what had begun, and is not here."""
        self._strangers.compare(order)

    def start(self, order: orders.StartGang) -> None:
        """Submit it, unless it was started or stopped before; else say again what is true."""
        known = self._gangs.get(order.attempt)
        if known and known.strange:
            self._spawn(self._after(known, lambda: self.start(order)))
        elif known:
            for part in known.parts.values():
                if part.started:
                    self._at.tell(known.started(self._at.clock(), part.node))
                if part.over:
                    self._at.tell(known.last_word(self._at.clock(), part))
            if known.task is None and not known.job and not known.over:
                known.task = self._spawn(self._submit_planned(known))
        elif past := self._past.get(order.attempt):
            for word in past:
                self._at.tell(msgspec.structs.replace(word, at=self._at.clock()))
        elif strangers := [m.node for m in order.members if not self._chips_of(m.node)]:
            for node in strangers:
                self._tell_gone(order.attempt, node)
        else:
            self._submitter.note(order)
            one = self._new(order.attempt, tuple(m.node for m in order.members), order.placed_at)
            one.task = self._spawn(self._start(one, order))

    def stop(self, order: orders.StopGang) -> None:
        """End it, or make sure that it never begins."""
        known = self._gangs.get(order.attempt)
        if known and known.strange:
            self._spawn(self._after(known, lambda: self.stop(order)))
        elif order.attempt in self._past:
            for member in order.members:
                self._tell_gone(order.attempt, member.node)
        else:
            self._spawn(self._stop(order))

    def ask(self, order: orders.AskCheckpoint) -> None:
        """Put the request where the workers look for it."""
        if order.attempt in self._gangs:
            self._spawn(self._ask(order))

    async def _after(self, stranger: Gang, deed: Callable[[], None]) -> None:
        """What is ordered of its namesake has to wait until nothing of it is left."""
        await stranger.cleared.wait()
        deed()

    # ---- life ------------------------------------------------------------------------------------

    def adopt(self, found: Iterable[spool.Found]) -> None:
        """Take up every attempt that has left a plan: what its members wrote is told again."""
        for one in found:
            self._adopt(one)

    def handed_over(self) -> None:
        """All that was told so far is in the brain's hands, and not yet on record."""
        self._handed_over += self._to_clear
        self._to_clear = []
        for one in (self._gangs[attempt] for attempt in self._to_mark if attempt in self._gangs):
            self._marks[one.attempt] = {node: part.heard_to for node, part in one.parts.items()}
            for part in one.parts.values():
                part.marked_to = part.heard_to
        self._to_mark.clear()

    def on_record(self) -> None:
        """What was handed over is durable: files of gangs that are over can go."""
        done, self._handed_over = self._handed_over, []
        if done:
            self._spawn(self._clear(done))
        marks, self._marks = self._marks, {}
        for attempt, mark in marks.items():
            self._spawn(self._mark(attempt, mark))

    async def prune(self) -> None:
        """Now and then, what is left of attempts that were over long ago goes too."""
        while True:
            view = await self._at.seen()
            await self._at.act()
            keep = {*self._gangs, *view.own, *view.left}
            await self._at.tasks.insist(sweeping.prune, self._at.files, keep, _PRUNE_S)
            await asyncio.sleep(_PRUNE_EVERY_S)

    async def close(self) -> None:
        """Let go of everything; gangs go on."""
        await asyncio.gather(*self._replicas.close(), return_exceptions=True)

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
        began = time.monotonic()
        if began > self._looked_until + max(_STILL_S, self._at.config.lease_s / 4):
            for _, part in parts.values():
                part.alive_at = began
        look = await asyncio.to_thread(tails.read, list(parts))
        if bool(look.why) != self._blind:
            self._blind = bool(look.why)
            self._at.tasks.say(look.why)
        for tail in look.unseen:
            parts[tail][1].alive_at = time.monotonic()
        self._looked_at, self._looked_until = began, time.monotonic()
        for news in look.news:
            one, part = parts[news.tail]
            if news.known or not one.adopted:
                part.alive_at, part.alive_wall, part.heard = time.monotonic(), self._at.clock(), True
            else:
                part.alive_wall = min(news.tail.mtime_ns, self._at.clock())
            for line in news.lines:
                self._hear(one, part, line)
            if part.over is None and not part.ended:
                part.heard_to = news.end
                if part.started and not one.serves and news.end - part.marked_to >= _MARK_BYTES:
                    self._to_mark.add(one.attempt)
        now = time.monotonic()
        for one in list(self._gangs.values()):
            if one.stop and one.job and not one.over and now >= one.cancel_at:
                one.cancel_at = now + 2 * self._at.config.lease_s
                self._spawn(self._cancel(one.attempt, one.job))
            if one.over:
                self._finish(one)

    def _hear(self, one: Gang, part: Part, line: bytes) -> None:
        address = self._at.files.address(one.attempt, part.node)
        match one.hears(part, line, address, time.monotonic()):
            case inputs.MemberStarted() as started:
                part.started = started
                self._tell(one, one.started(self._at.clock(), part.node))
            case inputs.MemberExited() | inputs.MemberGone() as over:
                self._over(one, part, over)
            case gang.EndedBySlurm():
                part.ended = True
                if one.stop:
                    self._over(one, part, inputs.MemberGone(at=0, attempt=one.attempt, node=part.node))
                self._at.hurry()
            case _ if one.strange:
                pass
            case gang.Listens(attempt=attempt, url=url):
                one.serves = True
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
        self._tell(one, one.last_word(self._at.clock(), part))
        self._at.hurry()

    def _finish(self, one: Gang) -> None:
        if one.strange:
            one.clearing = one.clearing or self._spawn(self._clear_strange(one))
            return
        at = self._at.clock()
        words = [one.started(at, part.node) for part in one.parts.values() if part.started]
        words += [one.last_word(at, part) for part in one.parts.values()]
        self._past[one.attempt] = words
        if len(self._past) > _PAST:
            del self._past[next(iter(self._past))]
        del self._gangs[one.attempt]
        self._to_clear.append(one.attempt)

    async def _clear_strange(self, one: Gang) -> None:
        """Nobody waits for its last word: it goes at once, and who has its name or its nodes may go on."""
        await self._clear([one.attempt])
        del self._gangs[one.attempt]
        one.cleared.set()

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
                self._spawn(self._settler.settle(one))
        self._strays.on_view(view)

    def _say_waiting(self, one: Gang, job: reading.Job) -> None:
        """Slurm does not start it: somebody should know why, after a while, and again when it changes."""
        why = one.waits_for = job.reason if job.pending else ""
        known = why in ("", _NOT_LOOKED, one.waiting_told)
        if not known and time.monotonic() > one.submitted_at + _PATIENCE_S:
            one.waiting_told = why
            self._tell(one, one.spoke(self._at.clock(), f"waits in Slurm as job {job.id}: {why}"))

    # ---- nodes that are given up -----------------------------------------------------------------

    def signs(self) -> dict[NodeId, Signs]:
        """Of the liveliest member on each node that has any; too long a silence is half of its lease."""
        latest: dict[NodeId, tuple[Part, float]] = {}
        for one in self._gangs.values():
            for node, part in one.parts.items():
                if part.runs and (node not in latest or part.alive_at > latest[node][0].alive_at):
                    latest[node] = (part, one.lease_s / 2)
        quiet = {node: (self._quiet_s(part), patience_s, part) for node, (part, patience_s) in latest.items()}
        return {
            node: Signs(silent_s if silent_s > patience_s else 0.0, part.alive_wall, part.heard)
            for node, (silent_s, patience_s, part) in quiet.items()
        }

    def _quiet_s(self, part: Part) -> float:
        """For how long we have looked and seen no sign of life: while we do not look, nobody is silent."""
        return self._looked_at - part.alive_at

    async def fence(self, node: NodeId) -> None:
        """Returns when nothing of any gang runs on the node, nor can begin there."""
        told, write_stop = set[AttemptId](), self._at.files.write_stop
        while True:
            left = [
                (one, part)
                for one in self._gangs.values()
                if (part := one.parts.get(node)) and part.over is None
            ]
            if not left:
                return
            for one, _ in left:
                if one.attempt not in told:
                    with contextlib.suppress(OSError):
                        await asyncio.to_thread(write_stop, one.attempt, {"grace_s": 0.0}, node)
                        told.add(one.attempt)
            view = await self._at.seen()
            for one, part in left:
                quiet_s, by_slurm = self._quiet_s(part), one.left and view.responds(node)
                # its guard has ended it by now, or Slurm has
                ended = part.ended or quiet_s > (0.5 if by_slurm else 1.25) * one.lease_s + 0.5
                # if it never came to be, it must find the order to stop
                if ended and (part.begun or one.attempt in told):
                    self._over(one, part, inputs.MemberGone(at=0, attempt=one.attempt, node=node))
            await asyncio.sleep(0.1)

    # ---- inside ----------------------------------------------------------------------------------

    def _new(self, attempt: AttemptId, nodes: tuple[NodeId, ...], placed_at: Instant) -> Gang:
        whole = self._at.config.start == "gang"
        one = Gang(self._at.files, attempt, nodes, time.monotonic(), self._at.config.lease_s, whole=whole)
        one.placed_at = placed_at
        self._gangs[attempt] = one
        return one

    def _adopt(self, found: spool.Found) -> Gang:
        nodes = tuple(NodeId(node) for node in found.nodes)
        one = self._new(AttemptId(found.attempt), nodes, found.placed_at)
        one.lease_s, one.adopted = found.lease_s or one.lease_s, True
        if found.claim == spool.STOPPED:
            self._never_begins(one)
        else:
            one.job = found.claim
            one.resume(found.heard_to)
        return one

    def _never_begins(self, one: Gang) -> None:
        """Nobody may start it any more, and nobody has."""
        for part in one.parts.values():
            if part.over is None and not part.started:
                self._over(one, part, inputs.MemberGone(at=0, attempt=one.attempt, node=part.node))

    async def _start(self, one: Gang, order: orders.StartGang) -> None:
        await self._at.act()
        try:
            if await asyncio.to_thread(self._at.files.claim, one.attempt):
                # it was started or forbidden before, and is over: else its plan would have been adopted
                self._never_begins(one)
                return
            await self._submitter.plan(one, order)
        except OSError as error:
            await self._refuse(one, f"the shared folder cannot be used: {error}")
        else:
            await self._submit(one)

    async def _submit_planned(self, one: Gang) -> None:
        """A predecessor planned it, and perhaps did not live to submit it."""
        await self._at.act()
        claim = await self._at.tasks.insist(self._at.files.claim, one.attempt)
        if claim == spool.STOPPED:
            self._never_begins(one)
        elif claim:
            one.job = one.job or claim
        else:
            await self._submit(one)

    async def _submit(self, one: Gang) -> None:
        await self._strangers.gone_from(one.nodes)
        try:
            await self._submitter.submit(one)
        except commands.SlurmError as error:
            await self._refuse(one, str(error))

    def _submit_again(self, one: Gang) -> None:
        one.task = self._spawn(self._submit(one))

    async def _refuse(self, one: Gang, why: str) -> None:
        if job := await self._at.tasks.insist(self._at.files.forbid, one.attempt):
            one.job = job  # an earlier try had been taken, and runs
            return
        if why != self._refused:  # of many gangs, tried again and again, once
            self._refused = why
            aloud.say(f"{one.attempt} cannot start: {why}")
        words = gang.refused(one, self._at.clock(), why)
        self._past[one.attempt] = words
        self._gangs.pop(one.attempt, None)
        self._to_clear.append(one.attempt)
        for word in words:
            self._at.tell(word)

    async def _stop(self, order: orders.StopGang) -> None:
        await self._at.act()
        insist = self._at.tasks.insist
        job = await insist(self._at.files.forbid, order.attempt)
        found = await insist(self._at.files.found, order.attempt)
        one = self._gangs.get(order.attempt)
        if one is None and found and order.attempt not in self._past:
            one = self._adopt(found)
        if one is None:
            for member in order.members:
                self._tell_gone(order.attempt, member.node)
            return
        if one.strange:
            while not self._looked_at:
                await asyncio.sleep(_LOOK_S)
            if one.over:
                return  # only its files had not gone yet
            aloud.unrecorded(one.attempt)
        wish = {"grace_s": order.grace_s, "forget": order.forget}
        await insist(self._at.files.write_stop, order.attempt, wish)
        submitted, one.job = one.job, job or one.job
        first, one.stop = one.stop is None, order
        cancel_at = time.monotonic() + (order.grace_s + _HELP_S if job else 0.0)
        one.cancel_at = cancel_at if first else min(one.cancel_at, cancel_at)
        if not job:  # it never began: members that were not there will not come
            if one.waits_for not in ("", _NOT_LOOKED):
                text = f"Slurm did not begin its job {submitted}: {one.waits_for}"
                self._tell(one, one.spoke(self._at.clock(), text, fatal=True))
            self._never_begins(one)
            if submitted:
                self._spawn(self._cancel(one.attempt, submitted))
        for part in one.parts.values():
            if part.over:
                self._tell(one, inputs.MemberGone(at=self._at.clock(), attempt=one.attempt, node=part.node))
            elif part.ended:
                self._over(one, part, inputs.MemberGone(at=0, attempt=one.attempt, node=part.node))
        known = {member.node for member in order.members} - set(one.nodes)
        for node in known:
            self._tell_gone(one.attempt, node)
        self._at.hurry()

    async def _ask(self, order: orders.AskCheckpoint) -> None:
        await self._at.act()
        while order.attempt in self._gangs:
            try:
                await asyncio.to_thread(self._at.files.write_request, order.attempt, order.request)
                return
            except OSError:  # the shared folder is away, or its files are, and it is over in a moment
                await asyncio.sleep(_RETRY_S)

    async def _cancel(self, attempt: str, job: str) -> None:
        """By number and name: a slurmctld that forgot jobs gives their numbers away again."""
        with contextlib.suppress(commands.SlurmSilent, commands.SlurmError):
            async with self._cancels:
                await self._at.act()
                await commands.run(["scancel", f"--jobname={self._at.prefix}{attempt}", job])

    async def _mark(self, attempt: AttemptId, mark: Mapping[str, int]) -> None:
        await self._at.act()
        with contextlib.suppress(OSError):  # a successor then reads more than it must
            await asyncio.to_thread(spool.write_json, self._at.files.heard(attempt), mark)

    async def _clear(self, attempts: list[AttemptId]) -> None:
        await self._at.act()
        await self._at.tasks.insist(sweeping.clear, self._at.files, attempts)

    def _tell(self, one: Gang, what: inputs.Input) -> None:
        if not one.strange:
            self._at.tell(what)

    def _tell_gone(self, attempt: AttemptId, node: NodeId) -> None:
        self._at.tell(inputs.MemberGone(at=self._at.clock(), attempt=attempt, node=node))

    def _spawn(self, work: Awaitable[None]) -> asyncio.Task[None]:
        return self._at.tasks.start(work)
