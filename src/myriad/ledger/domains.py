"""The books by pod and by rack, and by the size of jobs. Read-only."""

from collections.abc import Iterable
from typing import Literal

from myriad.kernel.units import Span
from myriad.ledger import figures
from myriad.ledger.accounts import summed
from myriad.ledger.books import Books
from myriad.ledger.buckets import HELD, KEPT, SERVING_BUSY, SERVING_HEADROOM, by_bucket, total
from myriad.ledger.classes import INTERRUPTIONS, Class
from myriad.ledger.records import Gang, Job, Node
from myriad.ledger.views import View
from myriad.protocol.values import Outcome, StopCause

_TRAINING = tuple(slot for slot in HELD if slot not in (SERVING_BUSY, SERVING_HEADROOM))
Kind = Literal["pod", "rack"]


class DomainView(View, frozen=True, kw_only=True):
    """Nodes that stand together. The buckets sum to its capacity, exactly."""

    kind: Kind
    name: str
    nodes: int
    capacity_chip_ns: Span
    buckets: dict[str, Span]
    goodput: float | None
    availability: float | None
    #: Of the chip-time that training held here: in steps that were kept.
    ettr: float | None
    mfu: float | None
    node_losses: int
    mttf_s: float | None
    mttr_s: float | None


class SizeView(View, frozen=True, kw_only=True):
    """Jobs of more than half of `chips` and at most so many."""

    chips: int
    #: Jobs that ended: outcome -> how many; and how gangs ended: cause -> times.
    jobs: dict[Outcome, int]
    ends: dict[StopCause, int]
    #: Time of gangs from their first useful moment to their last.
    running_s: float
    #: Ends by a fault, of the job or of a node; and running time between two of them.
    interruptions: int
    mtti_s: float | None
    ettr: float | None
    #: From the end of useful work until the next attempt's first useful moment.
    recovery_s: float | None


def domains(books: Books, kind: Kind = "pod") -> list[DomainView]:
    """Every pod, or every rack, in site order. Costs a step for each node."""
    found: dict[str, list[Node]] = {}
    for node in books.nodes.values():
        found.setdefault(node.pod if kind == "pod" else node.rack, []).append(node)
    return [_domain(books, kind, name, nodes) for name, nodes in found.items()]


def _domain(books: Books, kind: Kind, name: str, nodes: list[Node]) -> DomainView:
    books.settle()
    parts = [(node.terms, books.node_totals(node)) for node in nodes]
    times = summed(one for _, one in parts)
    capacity, losses = sum(times.values()), sum(node.losses for node in nodes)
    repairs, repair_ns = sum(node.repairs for node in nodes), sum(node.repair_ns for node in nodes)
    flops = sum(node.flops + sum(_share(gang, node) for gang in node.gangs.values()) for node in nodes)
    # a pod has one type of chip, and earlier terms of it differ in price alone
    return DomainView(
        kind=kind,
        name=name,
        nodes=len(nodes),
        capacity_chip_ns=capacity,
        buckets=by_bucket(times),
        goodput=figures.goodput(times, capacity),
        availability=figures.availability(times, capacity),
        ettr=figures.ratio(total(times, KEPT), total(times, _TRAINING)),
        mfu=figures.mfu(books, flops, {nodes[0].terms: times}),
        node_losses=losses,
        mttf_s=figures.mean_s(sum(node.served_ns(books.now) for node in nodes), losses),
        mttr_s=figures.mean_s(repair_ns, repairs),
    )


def _share(gang: Gang, node: Node) -> float:
    return gang.flops * gang.members[node.node] / gang.chips


def sizes(books: Books) -> list[SizeView]:
    """Jobs by size, smallest first: those that ended, and those that live as far as they are."""
    live: dict[int, list[Job]] = {}
    for job in books.open_jobs.values():
        if job.first_placed_at is not None:
            live.setdefault(books.classes.of(job.spec.chips).chips, []).append(job)
    return [
        _size(books, books.classes.all[chips], live.get(chips, ())) for chips in sorted(books.classes.all)
    ]


def _size(books: Books, found: Class, live: Iterable[Job]) -> SizeView:
    gangs = [gang for job in live for gang in job.gangs.values()]
    running = found.running_ns + sum(_running_ns(books, gang) for gang in gangs)
    interruptions = sum(found.ends.get(cause, 0) for cause in INTERRUPTIONS)
    jobs = [(found.kept_ns, found.wall_ns), *(figures.effective(books, job) for job in live)]
    return SizeView(
        chips=found.chips,
        jobs=dict(found.outcomes),
        ends=dict(found.ends),
        running_s=figures.mean_s(running, 1) or 0.0,
        interruptions=interruptions,
        mtti_s=figures.mean_s(running, interruptions),
        ettr=figures.ettr(jobs),
        recovery_s=figures.mean_s(found.recovery_ns, found.recoveries),
    )


def _running_ns(books: Books, gang: Gang) -> Span:
    if gang.useful_at is None:
        return 0
    return (books.now if gang.ended_at is None else gang.ended_at) - gang.useful_at
