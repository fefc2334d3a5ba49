"""Coverage marks: how often what is rare has happened, so that tests can demand that it did."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from myriad.fleet.columns import NodeState
from myriad.kernel.ids import AttemptId, JobId
from myriad.protocol import facts
from myriad.protocol.facts import Fact

#: Every mark, and what it means.
MARKS: Final[Mapping[str, str]] = {
    "preempted": "a gang gave way to another",
    "preempted with a checkpoint": "it saved first, as it was asked to",
    "left too late": "a gang that should leave did not checkpoint in time",
    "resized": "an elastic gang came back in another size",
    "shrunk": "a job went on with fewer nodes",
    "moved": "a gang left a node that was drained",
    "several jobs on a node": "a node was shared",
    "start timed out": "a gang did not start in time",
    "stop timed out": "nodes did not stop a gang in time and were fenced",
    "stopped while starting": "a gang was stopped before it ran",
    "lost while stopping": "a node was lost under a gang that was stopping",
    "restart": "the ladder: again, in place",
    "replace": "the ladder: without the node that failed",
    "shrink": "the ladder: on what is left",
    "roll_back": "the ladder: from an earlier checkpoint",
    "give_up": "the ladder: no more",
    "back-off": "a job paused after its own fault",
    "memory restart": "copies in memory were what was left of a gang's work",
    "spare taken in": "a hot spare got work",
    "spare kept": "a node became a hot spare",
    "node lost": "evidence was enough",
    "suspect and well again": "a node was suspected and nothing came of it",
    "burn-in failed": "a node was qualified and was not good enough",
    "lemon kept out": "a node was lost too often",
    "slow node": "a node lagged for so long that work avoids it",
    "incident opened": "losses that came together were one event",
    "incident widened": "a wider incident explained a narrower one",
    "incident closed": "all nodes of one were back",
    "drained": "an operator emptied a node",
    "window drained": "maintenance emptied a node",
    "reservation cleared": "work left nodes that a tenant had reserved",
    "reservation used": "a job ran in its reservation",
    "job budget spent": "a job ended because it had cost what it might",
    "cancelled while running": "someone cancelled a job that ran",
    "cancelled while waiting": "someone cancelled a job that waited",
    "refused": "an intent could not be granted",
    "scaled up": "a service got more replicas",
    "scaled down": "a service gave replicas back",
    "scaled to zero": "a service gave back its last",
    "replica lost": "a replica was lost with its node",
    "idle: fragmentation": "free chips fitted nobody",
    "idle: quota": "free chips were beyond somebody's quota",
    "waits: quota": "jobs said that they waited for this, and so on below",
    "waits: capacity": "",
    "waits: fragmentation": "",
    "waits: priority": "",
    "waits: topology": "",
    "waits: budget": "",
    "waits: reservation": "",
    "waits: backoff": "",
    "waits: site_closed": "",
    "site closed": "the site closed and opened again",
    "crash": "the control plane died between two steps",
    "crash before orders": "it died when facts were durable and orders were not given",
    "nobody led": "and nobody took its place for a while",
    "repeated message": "an observation came twice",
    "late message": "an observation came late, and out of order",
}


class Marks:
    """Follows the facts."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._jobs: dict[JobId, facts.JobAdmitted] = {}
        self._placed: dict[AttemptId, facts.GangPlaced] = {}
        self._asked: dict[AttemptId, facts.LeaveAsked] = {}
        self._phase: dict[AttemptId, str] = {}
        self._sizes: dict[JobId, int] = {}
        self._used: Counter[str] = Counter()
        self._wanted: dict[str, int] = {}
        self._on: Mapping[type[Fact], Callable[[Any], None]] = {
            facts.JobAdmitted: self._admitted,
            facts.JobEnded: self._ended,
            facts.GangPlaced: self._was_placed,
            facts.GangRunning: self._running,
            facts.LeaveAsked: self._leaves,
            facts.CheckpointRecorded: self._saved,
            facts.GangStopping: self._stopping,
            facts.GangStopped: self._stopped,
            facts.RungTaken: lambda fact: self.hit(fact.rung),
            facts.JobHeld: lambda _: self.hit("back-off"),
            facts.NodeSpared: self._spared,
            facts.NodeLost: self._lost,
            facts.NodeMoved: self._moved,
            facts.NodeCordoned: self._cordoned,
            facts.NodeSlow: lambda fact: self.hit("slow node", fact.slow),
            facts.IncidentOpened: lambda _: self.hit("incident opened"),
            facts.IncidentClosed: lambda fact: self.hit(
                "incident widened" if fact.into else "incident closed"
            ),
            facts.CancelRequested: self._cancelled,
            facts.Refused: lambda _: self.hit("refused"),
            facts.ServiceScaled: self._scaled,
            facts.IdleExplained: lambda fact: self.hit(
                f"idle: {fact.reason}", f"idle: {fact.reason}" in MARKS
            ),
            facts.SiteClosed: lambda _: self.hit("site closed"),
        }

    def hit(self, mark: str, when: bool = True) -> None:
        """It has happened once more."""
        self.counts[mark] += when

    def follow(self, happened: Sequence[Fact]) -> None:
        """Look at each fact."""
        for fact in happened:
            if on := self._on.get(type(fact)):
                on(fact)

    # ---- jobs and gangs --------------------------------------------------------------------------

    def _admitted(self, fact: facts.JobAdmitted) -> None:
        self._jobs[fact.job] = fact

    def _ended(self, fact: facts.JobEnded) -> None:
        self._jobs.pop(fact.job, None)
        self._sizes.pop(fact.job, None)

    def _was_placed(self, fact: facts.GangPlaced) -> None:
        self._placed[fact.attempt], self._phase[fact.attempt] = fact, "placed"
        for member in fact.members:
            self.hit("several jobs on a node", self._used[member.node] > 0)
            self._used[member.node] += 1
        if fact.job:
            self.hit("shrunk", len(fact.members) < self._sizes.get(fact.job, 0))
            self._sizes[fact.job] = len(fact.members)
            self.hit("reservation used", bool(self._jobs[fact.job].spec.reservation))

    def _running(self, fact: facts.GangRunning) -> None:
        self._phase[fact.attempt] = "running"

    def _leaves(self, fact: facts.LeaveAsked) -> None:
        self._asked[fact.attempt] = fact
        self.hit("reservation cleared", fact.why.startswith("reservation"))

    def _saved(self, fact: facts.CheckpointRecorded) -> None:
        asked = self._asked.get(fact.attempt)
        answers = asked is not None and fact.request == asked.request and asked.cause == "preempted"
        self.hit("preempted with a checkpoint", answers)

    def _stopping(self, fact: facts.GangStopping) -> None:
        self.hit("stopped while starting", self._phase.get(fact.attempt) == "placed")
        self.hit("lost while stopping", self._phase.get(fact.attempt) == "stopping" and fact.cause == "node")
        self.hit("left too late", "did not checkpoint in time" in fact.why)
        self.hit("start timed out", "did not start in time" in fact.why)
        self._phase[fact.attempt] = "stopping"

    def _stopped(self, fact: facts.GangStopped) -> None:
        placed = self._placed.pop(fact.attempt)
        phase = self._phase.pop(fact.attempt)
        self._asked.pop(fact.attempt, None)
        for member in placed.members:
            self._used[member.node] -= 1
        del phase
        self.hit(fact.cause, fact.cause in ("preempted", "resized", "moved"))
        self.hit("memory restart", fact.tier == "memory")
        self.hit("replica lost", bool(placed.service) and fact.cause == "node")

    def _cancelled(self, fact: facts.CancelRequested) -> None:
        if fact.by.startswith("its budget"):
            self.hit("job budget spent")
        else:
            runs = any(placed.job == fact.job for placed in self._placed.values())
            self.hit("cancelled while running" if runs else "cancelled while waiting")

    # ---- nodes -----------------------------------------------------------------------------------

    def _spared(self, fact: facts.NodeSpared) -> None:
        self.hit("spare kept" if fact.spare else "spare taken in")

    def _lost(self, fact: facts.NodeLost) -> None:
        self.hit("node lost")
        self.hit("burn-in failed", fact.detail.startswith("burn-in failed"))
        self.hit("stop timed out", fact.detail.startswith("did not stop"))

    def _moved(self, fact: facts.NodeMoved) -> None:
        self.hit("suspect and well again", fact.why == "well again")
        self.hit("drained", fact.state is NodeState.DRAINED)

    def _cordoned(self, fact: facts.NodeCordoned) -> None:
        self.hit("lemon kept out", fact.cordoned and fact.reason.startswith("lemon"))
        self.hit("window drained", fact.cordoned and fact.by.startswith("window "))

    # ---- services --------------------------------------------------------------------------------

    def _scaled(self, fact: facts.ServiceScaled) -> None:
        before = self._wanted.get(fact.service, 1)
        self._wanted[fact.service] = fact.replicas
        self.hit("scaled up", fact.replicas > before)
        self.hit("scaled down", fact.replicas < before)
        self.hit("scaled to zero", fact.replicas == 0 < before)


def table(counts: Sequence[Mapping[str, int]]) -> list[tuple[str, int, int]]:
    """Each mark: how often over all seeds, and in how many of them."""
    return [
        (mark, sum(one.get(mark, 0) for one in counts), sum(one.get(mark, 0) > 0 for one in counts))
        for mark in MARKS
    ]
