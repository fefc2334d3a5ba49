"""Do the two books agree when all is over? Slurm's, Myriad's, and what the gangs themselves left behind."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.slurm.cluster import Cluster

from bench.clusters.figures import Side
from bench.clusters.held import Plane
from bench.clusters.watch import Watch
from bench.clusters.work import Gang
from myriad.engines.slurm.asking import reading
from myriad.protocol import facts, wire
from myriad.store import opening

_SETTLE_S = 30.0


def live(slurm: Cluster, found: Plane, queue: Sequence[Gang], side: Side) -> list[str]:
    """While both still run, with nothing under way: every difference, as a sentence."""
    return [
        *_settled(slurm, found),
        *_jobs(slurm, found, len(queue)),
        *(f"gang {number} was started more than once" for number in _twice(found.folder)),
        *(f"gang {gang.number} left no mark of its {word}" for gang, word in _unmarked(queue, side)),
    ]


def _settled(slurm: Cluster, found: Plane) -> list[str]:
    """A node that was silent for a moment is well in Slurm seconds before it is in Myriad."""
    give_up_at = time.monotonic() + _SETTLE_S
    while (apart := list(_nodes(slurm, found))) and time.monotonic() < give_up_at:
        time.sleep(0.5)
    return apart


def _nodes(slurm: Cluster, found: Plane) -> Iterator[str]:
    theirs = {node.name: node for node in reading.nodes(slurm.run("scontrol", "--oneliner", "show", "nodes"))}
    ours = {view["node"]: view for view in found.ask("GET", "nodes")}
    for name in sorted(theirs.keys() ^ ours.keys()):
        yield f"{name} is known to {'Slurm' if name in theirs else 'Myriad'} alone"
    for name in sorted(theirs.keys() & ours.keys()):
        node, view = theirs[name], ours[name]
        pair = f"{name} is {node.state} in Slurm, {view['state']} in Myriad"
        if node.held != view["cordoned"]:
            yield f"{pair}: drained in one alone"
        if (node.state == "IDLE") != (view["state"] == "ready"):
            yield pair
        if view["occupied_by"] or view["attempts"] or view["chips_free"] != view["chips"]:
            yield f"{pair}, with {view['attempts'] or view['occupied_by']}"


def _jobs(slurm: Cluster, found: Plane, gangs: int) -> Iterator[str]:
    for line in slurm.run("squeue", "--noheader", "--all").splitlines():
        yield f"Slurm still has {line.strip()}"
    views = found.ask("GET", "jobs")
    states = Counter(view["state"] for view in views)
    if states != {"succeeded": gangs}:
        yield f"of {gangs} gangs, in Myriad: {dict(states)}"
    again = [view["job"] for view in views if view["attempts"] != 1]
    if again:
        yield f"{len(again)} gangs took more than one attempt: {', '.join(again[:5])}"


def _twice(folder: Path) -> list[int]:
    files = (folder / "marks").glob("*.begun")
    return sorted(int(path.stem) for path in files if path.stat().st_size > 1)


def _unmarked(queue: Sequence[Gang], side: Side) -> Iterator[tuple[Gang, str]]:
    for gang in queue:
        if gang.number not in side.begun:
            yield gang, "start"
        if gang.number not in side.ended:
            yield gang, "end"


def recorded(folder: Path, watch: Watch) -> list[str]:
    """Myriad's journal against Slurm's log: the same gangs on the same nodes, ended in the same way."""
    journal = opening.to_read(str(folder / "journal.db"))
    placed: dict[str, frozenset[str]] = {}
    stopped: Counter[str] = Counter()
    for record in journal.read():
        for fact in wire.decode(record.body).facts:
            if isinstance(fact, facts.GangPlaced):
                placed[fact.attempt] = frozenset(member.node for member in fact.members)
            elif isinstance(fact, facts.GangStopped):
                stopped[fact.cause] += 1
    journal.close()
    found = []
    claims = {path.name: path.read_text().strip() for path in (folder / "slurm" / "claims").iterdir()}
    for attempt in sorted(placed.keys() ^ claims.keys()):
        found.append(f"{attempt} has {'no claim' if attempt in placed else 'a claim that nobody ordered'}")
    for attempt in sorted(placed.keys() & claims.keys()):
        job = int(claims[attempt]) if claims[attempt].isdigit() else 0
        start, end = watch.starts.get(job), watch.ends.get(job)
        if start is None or end is None:
            found.append(f"{attempt} is job {claims[attempt]}, which Slurm did not run")
        elif frozenset(start.nodes) != placed[attempt]:
            found.append(f"{attempt} was placed on other nodes than job {job} had")
        elif not end.ok:
            found.append(f"{attempt}: job {job} did not end well in Slurm")
    surplus = watch.starts.keys() - {int(job) for job in claims.values() if job.isdigit()}
    found += [f"Slurm ran job {job}, which no gang claims" for job in sorted(surplus)]
    if stopped.keys() - {"done"}:
        found.append(f"gangs that did not end by themselves: {dict(stopped)}")
    return found
