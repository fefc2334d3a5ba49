"""What people do in a swarm beside working (drains, cancels, windows, loads); nodes that die or freeze."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from myriad.fleet.site import Site
from myriad.kernel.ids import NodeId, ServiceId
from myriad.kernel.rng import Stream
from myriad.kernel.units import HOUR, MINUTE, SECOND, Instant, Span
from myriad.protocol import inputs
from myriad.protocol.inputs import Input
from myriad.twin.workload.work import Work
from myriad.workload.services import InferenceService
from myriad.workload.tenants import Tenant
from myriad.workload.windows import Window

#: How often a gateway tells of its load.
_LOADS_S = 240.0


class Deed(NamedTuple):
    """Something that is done at an instant: an intent, or something that happens to a node."""

    at: Instant
    given: Input | None = None
    #: kill, pause, resume, flap, slow, spoil, open: what `check` does to the world; empty: only the intent.
    act: str = ""
    subject: str = ""
    factor: float = 1.0


def windows(chance: Stream, site: Site, tenants: Sequence[Tenant], span_ns: Span) -> Iterator[Window]:
    """Maintenance and reservations, each on nodes of its own."""
    names = [place.node for place in site.places()]
    for number in range(chance.choice((0, 0, 1, 2, 3))):
        size = min(len(names) // 3, chance.integer(1, 6))
        if size < 1:
            return
        first = chance.integer(0, len(names) - size)
        nodes, names = names[first : first + size], names[:first] + names[first + size :]
        start = int(chance.uniform(0.1, 0.8) * span_ns)
        kind = chance.choice(("maintenance", "reservation"))
        yield Window(
            name=f"window-{number}",
            kind=kind,  # type: ignore[arg-type]
            nodes=tuple(nodes),
            start_at=start,
            end_at=start + int(chance.uniform(0.2, 2.0) * HOUR),
            tenant=chance.choice(tenants).name if kind == "reservation" else "",  # type: ignore[arg-type]
        )


def deeds(
    chance: Stream,
    site: Site,
    works: Sequence[Work],
    services: Sequence[InferenceService],
    windows: Sequence[Window],
    span_ns: Span,
) -> Iterator[Deed]:
    """All of them, in no order."""
    for window in windows:
        yield Deed(SECOND // 2, inputs.SetWindow(at=0, window=window, by="swarm"))
        if chance.happens(0.3):
            early = int(chance.uniform(window.start_at, window.end_at))
            yield Deed(early, inputs.EndWindow(at=0, name=window.name))
    names = [place.node for place in site.places()]
    yield from _by_operators(chance, names, span_ns)
    yield from _to_nodes(chance, names, span_ns)
    for _ in range(chance.integer(0, len(works) // 8)):
        one = chance.choice(works)
        at = one.at + int(chance.exponential(20 * MINUTE))
        yield Deed(at, inputs.CancelJob(at=0, job=one.job, by="swarm"))
    for service in services:
        yield from _of_service(chance, service, span_ns)
    for _ in range(chance.choice((0, 0, 1, 3))):
        yield Deed(_when(chance, span_ns), act="spoil", subject=chance.choice(works).job)
    if chance.happens(0.12):
        at = int(chance.uniform(0.3, 0.6) * span_ns)
        yield Deed(at, inputs.CloseSite(at=0, grace_ns=int(chance.uniform(1, 120)) * SECOND))
        yield Deed(at + int(chance.uniform(1, 20) * MINUTE), act="open")


def _when(chance: Stream, span_ns: Span) -> Instant:
    return int(chance.uniform(0.02, 1.0) * span_ns)


def _by_operators(chance: Stream, names: Sequence[NodeId], span_ns: Span) -> Iterator[Deed]:
    for _ in range(chance.integer(0, 8)):
        node, at = chance.choice(names), _when(chance, span_ns)
        yield Deed(at, inputs.DrainNode(at=0, node=node, by="swarm"))
        if chance.happens(0.8):
            back = at + int(chance.exponential(15 * MINUTE))
            yield Deed(back, inputs.UndrainNode(at=0, node=node))


def _to_nodes(chance: Stream, names: Sequence[NodeId], span_ns: Span) -> Iterator[Deed]:
    for _ in range(chance.choice((0, 4, 12))):
        node, at = chance.choice(names), _when(chance, span_ns)
        act = chance.choice(("kill", "pause", "flap", "slow", "slow"))
        yield Deed(at, act=act, subject=node, factor=chance.uniform(1.05, 4.0))
        if act in ("pause", "slow"):
            yield Deed(
                at + int(chance.exponential(60 if act == "pause" else 1200) * SECOND),
                act=f"un{act}",
                subject=node,
            )
    if chance.happens(0.2):
        # one node again and again: what a lemon does
        node, at = chance.choice(names), _when(chance, span_ns // 2)
        for number in range(5):
            yield Deed(at + number * 15 * MINUTE, act="kill", subject=node)


def _of_service(chance: Stream, service: InferenceService, span_ns: Span) -> Iterator[Deed]:
    """Its life, and its load: a random walk, with silences."""
    name = ServiceId(service.name)
    apply = inputs.ApplyService(at=0, service=name, spec=service, model_path="/models/x")
    yield Deed(SECOND, apply)
    load, at = 0.0, 60.0
    while at * SECOND < span_ns:
        if chance.happens(0.1):
            load = 0.0
        else:
            load = max(0.0, load + chance.uniform(-1.0, 1.3) * service.concurrency)
        given = inputs.LoadObserved(at=0, service=name, in_flight=load, queued=int(load / 3))
        yield Deed(int(at * SECOND), given)
        at += chance.exponential(_LOADS_S)
    if chance.happens(0.2):
        yield Deed(_when(chance, span_ns), msgspec.structs.replace(apply, model_path="/models/y"))
    if chance.happens(0.15):
        yield Deed(_when(chance, span_ns), inputs.RemoveService(at=0, service=name))
