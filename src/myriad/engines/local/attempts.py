"""The attempts of one node: which were started, which processes they have, and how they end.

An attempt's id is written down before its first process is forked, and when it is fenced; what is
written down is never started again, not even by a later incarnation of the node.
"""

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from myriad.engines.common import endings, procs, reports
from myriad.engines.local import launch, memory, paths, wire
from myriad.kernel.ids import AttemptId, NodeId
from myriad.protocol import inputs

#: SIGKILL is repeated so often until nothing is left.
_AGAIN_S = 0.02


class Child:
    """One process that we forked."""

    def __init__(self, rank: int, log: Path) -> None:
        self.rank, self.log = rank, log
        self.ended_by_us = False


class Attempt:
    """One attempt's processes here."""

    def __init__(self, start: wire.Start, listener: reports.Listener) -> None:
        self.start, self.listener = start, listener
        self.children: dict[int, Child] = {}
        self.groups: set[int] = set()
        self.code = 0
        self.detail = ""
        #: Set once it is on its way out: how, and when to (re)send SIGKILL.
        self.ending: Literal["", "exit", "stop"] = ""
        self.kill_at = 0.0
        self.over: inputs.MemberExited | inputs.MemberGone | None = None
        #: Its job never comes back.
        self.forget = False


class Table:
    """All attempts that this node has ever heard of."""

    def __init__(
        self,
        place: launch.Place,
        tell: Callable[[inputs.Input], None],
        release: Callable[[], None],
        clocks: tuple[Callable[[], float], Callable[[], int]],
    ) -> None:
        self._place, self._tell, self._release = place, tell, release
        self._now, self._at = clocks
        self._node = NodeId(place.node)
        self._attempts: dict[str, Attempt] = {}
        self._seen_file = paths.attempts_seen(place.home, place.node)
        self._seen = read_seen(self._seen_file)

    def running(self) -> dict[str, Attempt]:
        """Attempts that are not over, by id."""
        return {name: one for name, one in self._attempts.items() if one.over is None}

    # ---- orders ----------------------------------------------------------------------------------

    def start(self, order: wire.Start) -> None:
        """Start it, if it was never started or fenced on this node; else say again what is true."""
        if known := self._attempts.get(order.attempt):
            self._tell_started(order.attempt)
            if known.over:
                self._tell(known.over)
        elif order.attempt in self._seen:
            self._tell(self._gone(order.attempt))
        else:
            self._start(order)

    def stop(self, order: wire.Stop) -> None:
        """End it, or make sure that it never begins; confirmed when nothing of it is left."""
        attempt = self._attempts.get(order.attempt)
        if attempt is not None and order.forget:
            attempt.forget = True
        if attempt is None or attempt.over is not None:
            if attempt is not None:
                self._abandon(attempt)
            with contextlib.suppress(OSError):  # a full disk: this incarnation knows it all the same
                self._remember(order.attempt)
            self._tell(self._gone(order.attempt))
            return
        deadline = self._now() + order.grace_s
        if attempt.ending != "stop":
            attempt.ending, attempt.kill_at = "stop", deadline
            if order.grace_s > 0:
                self._terminate(attempt)
        attempt.kill_at = min(attempt.kill_at, deadline)

    def ask(self, order: wire.Ask) -> None:
        """Put the request where the attempt's processes look for it."""
        if order.attempt in self.running():
            path = paths.requests_file(self._place.home, self._place.node, order.attempt)
            draft = path.with_name(f".{path.name}")
            try:
                draft.write_text(order.request)
                draft.replace(path)
            except OSError as error:
                self._attempts[order.attempt].listener.note(
                    f"cannot ask for a checkpoint: {error}", self._at()
                )

    # ---- what processes do -----------------------------------------------------------------------

    def hear(self, report: reports.Report) -> bool:
        """A worker's report; False when it is of no attempt that runs here."""
        attempt = self._attempts.get(report.attempt)
        if attempt is None or attempt.over is not None:
            return False
        attempt.listener.hear(report, self._now(), self._at())
        return True

    def reaped(self, pid: int, status: int) -> None:
        """A child of ours ended."""
        for attempt in self.running().values():
            if child := attempt.children.pop(pid, None):
                self._ended(attempt, child, os.waitstatus_to_exitcode(status))

    def due_at(self) -> float | None:
        """When `advance` has something to do, if nothing happens before."""
        ending = [one.kill_at for one in self.running().values() if one.ending]
        return min(ending, default=None)

    def advance(self, *, reaped: bool) -> None:
        """Kill what is due, and confirm what is over. Called after children were reaped, and when due."""
        now = self._now()
        ending = [one for one in self.running().values() if one.ending]
        if not any(reaped or now >= one.kill_at for one in ending):
            return
        everybody = procs.table()
        for attempt in ending:
            remains = self._remains(attempt, everybody)
            if not remains and not attempt.children:
                self._over(attempt)
            elif now >= attempt.kill_at:
                attempt.kill_at = now + _AGAIN_S
                for process in remains:
                    procs.send(process.pid, signal.SIGKILL)

    # ---- inside ----------------------------------------------------------------------------------

    def _start(self, order: wire.Start) -> None:
        listener = reports.Listener(order.attempt, self._place.node, self._tell)
        attempt = self._attempts[order.attempt] = Attempt(order, listener)
        try:
            self._remember(order.attempt)
            launch.prepare(self._place, order)
            for planned in launch.processes(self._place, order, os.environ):
                pid = launch.start_process(self._place, order, planned, self._release)
                attempt.children[pid] = Child(planned.rank, planned.log)
                attempt.groups.add(pid)
        except OSError as error:
            attempt.code, attempt.detail = endings.CANNOT_START, f"cannot start: {error}"
            attempt.ending, attempt.kill_at = "exit", self._now()
        self._tell_started(order.attempt)

    def _ended(self, attempt: Attempt, child: Child, code: int) -> None:
        if not child.ended_by_us and endings.worse(code, attempt.code):
            words = attempt.listener.last_words.get(child.rank, "")
            attempt.code, attempt.detail = code, endings.detail(child.rank, code, words, child.log)
        if attempt.ending:
            return
        if not attempt.children:
            attempt.ending, attempt.kill_at = "exit", self._now()
        elif code:
            attempt.ending, attempt.kill_at = "exit", self._now() + endings.FAILED_GRACE_S
            self._terminate(attempt)

    def _terminate(self, attempt: Attempt) -> None:
        for child in attempt.children.values():
            child.ended_by_us = True
        for process in self._remains(attempt, procs.table()):
            procs.send(process.pid, signal.SIGTERM)

    def _remains(self, attempt: Attempt, everybody: list[procs.Process]) -> list[procs.Process]:
        """All that lives of the attempt: its groups, what carries its marker, and their descendants."""
        session = os.getsid(0)
        marker = f"{self._place.instance}/{attempt.start.attempt}"
        roots = [
            p
            for p in everybody
            if (p.group in attempt.groups and p.session == session) or procs.marked(p.pid, marker)
        ]
        return procs.with_descendants(roots, everybody)

    def _over(self, attempt: Attempt) -> None:
        name = attempt.start.attempt
        attempt.listener.flush(self._now())
        paths.requests_file(self._place.home, self._place.node, name).unlink(missing_ok=True)
        if attempt.ending == "stop":
            attempt.over = self._gone(name)
            self._abandon(attempt)
        else:
            attempt.over = inputs.MemberExited(
                at=self._at(),
                attempt=AttemptId(name),
                node=self._node,
                code=attempt.code,
                detail=attempt.detail,
            )
        self._tell(attempt.over)

    def _abandon(self, attempt: Attempt) -> None:
        place = self._place
        if attempt.forget and attempt.start.job:
            memory.abandon(place.home, place.node, place.instance, attempt.start.job)

    def _tell_started(self, attempt: str) -> None:
        self._tell(inputs.MemberStarted(at=self._at(), attempt=AttemptId(attempt), node=self._node))

    def _gone(self, attempt: str) -> inputs.MemberGone:
        return inputs.MemberGone(at=self._at(), attempt=AttemptId(attempt), node=self._node)

    def _remember(self, attempt: str) -> None:
        if attempt not in self._seen:
            self._seen.add(attempt)
            remember(self._seen_file, attempt)


def read_seen(path: Path) -> set[str]:
    """Ids of attempts that must not be started on this node."""
    try:
        return set(path.read_text().split())
    except FileNotFoundError:
        return set()


def remember(path: Path, attempt: str) -> None:
    """Write down that the attempt was started or fenced here."""
    with path.open("a") as file:
        file.write(f"{attempt}\n")
