"""One seed's whole world: the site, its policy, its tenants, and how the body behaves; the rest is beside."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final, Literal, NamedTuple

import msgspec

from myriad.control import policyfile
from myriad.control.policyfile import Chosen
from myriad.control.sitefile import Setup
from myriad.fleet.site import Pod, Site
from myriad.kernel.ids import TenantId
from myriad.kernel.rng import Stream
from myriad.kernel.units import HOUR, Span, seconds, show_span
from myriad.twin.checkers.watched import Noise
from myriad.twin.faults import Faults, Repair
from myriad.twin.physics import Physics
from myriad.twin.swarm import deeds, troubles, work
from myriad.twin.swarm.deeds import Deed
from myriad.twin.workload.work import Work
from myriad.workload.prices import PriceBook
from myriad.workload.services import InferenceService
from myriad.workload.tenants import Budget, Quota, Tenant

_CHIPS: Final = ("zhenwu-810e", "h20", "ascend-910c")
#: Nodes of a site at most, as far as whole racks allow.
_NODES: Final = 200


class Swarm(NamedTuple):
    """Everything that one seed decides."""

    seed: int
    setup: Setup
    tenants: tuple[Tenant, ...]
    works: tuple[Work, ...]
    services: tuple[InferenceService, ...]
    deeds: tuple[Deed, ...]
    faults: Faults
    repair: Repair
    physics: Physics
    noise: Noise
    span_ns: Span

    def words(self) -> str:
        """For people, in one line."""
        site, noise, faults = self.setup.site, self.noise, self.faults
        whole = "gangs told of as one" if self.physics.whole_gangs else "members told of one by one"
        return (
            f"{site.node_count} nodes in {len(site.pods)} pods, {site.chip_count} chips, "
            f"spares {site.spares}, policy {self.setup.policy_source}, "
            f"{len(self.tenants)} tenants, {len(self.works)} jobs, "
            f"{len(self.services)} services, {len(self.deeds)} deeds in {show_span(self.span_ns)}, "
            f"{faults.hardware.chip:.3g} chip and {faults.hardware.host:.3g} host faults in 1,000 days, "
            f"mix {faults.mix}, {whole}, {noise.repeats:.1%} of messages repeated, {noise.late:.1%} late, "
            f"{noise.crashes_most} crashes at most, nobody leads for {noise.away_s:g} s after one"
        )


def draw(seed: int) -> Swarm:
    """The same seed, the same swarm."""
    chance = Stream(seed, "swarm")
    site = _site(chance.split("site"))
    span_ns = int(chance.uniform(1.5, 6.0) * HOUR)
    tenants = tuple(_tenants(chance.split("tenants"), site, span_ns))
    physics = _physics(chance.split("physics"))
    services = tuple(work.services(chance.split("services"), site, tenants))
    windows = tuple(deeds.windows(chance.split("windows"), site, tenants, span_ns))
    works = tuple(work.works(chance.split("work"), site, tenants, windows, physics, span_ns))
    prices = PriceBook(chip_hour=dict.fromkeys(site.kinds(), Decimal(1)))
    chosen = _policy(chance.split("policy"))
    return Swarm(
        seed,
        Setup(site, chosen.policy, prices).under(chosen),
        tenants,
        works,
        services,
        tuple(deeds.deeds(chance.split("deeds"), site, works, services, windows, span_ns)),
        troubles.faults(chance.split("faults"), site, span_ns),
        troubles.repair(chance.split("repair")),
        physics,
        _noise(chance.split("noise")),
        span_ns,
    )


def _site(chance: Stream) -> Site:
    """Eight nodes to two hundred, mostly few, in one to four pods of one or two chip types."""
    chip, per_node = chance.choice(_CHIPS), chance.choice((1, 2, 4, 8, 8, 16))
    most = chance.choice((12, 24, 24, 48, 48, _NODES))
    pods: list[Pod] = []
    nodes = 0
    for number in range(chance.integer(1, 4)):
        racks, each = chance.integer(1, 5), chance.integer(2, 8)
        while nodes + racks * each > most and racks > 1:
            racks -= 1
        if pods and nodes >= 8 and nodes + racks * each > most:
            break
        other = bool(pods) and chance.happens(0.25)
        kind, chips = (chance.choice(_CHIPS), chance.choice((2, 8))) if other else ("", 0)
        core = "core" if chance.happens(0.7) else f"core-{number}"
        power = "feed" if chance.happens(0.3) else ""
        pods.append(
            Pod(
                name=f"p{number}",
                racks=racks,
                nodes_per_rack=max(each, 8 // racks) if not pods else each,
                chip=kind,
                chips_per_node=chips,
                core=core,
                power=power,
            )
        )
        nodes += pods[-1].node_count
    choices: tuple[int | Literal["auto"], ...] = (0, 0, 1, 2, "auto")
    spares = chance.choice(choices)
    return Site(name="swarm", chip=chip, pods=tuple(pods), chips_per_node=per_node, spares=spares)


def _tenants(chance: Stream, site: Site, span_ns: Span) -> Iterator[Tenant]:
    """One to three organisations, some with parts; who is tight, who may borrow, who has a budget."""
    total, count = site.chip_count, chance.integer(1, 3)
    for number in range(1, count + 1):
        chips = max(1, int(total * chance.uniform(0.3, 1.2) / count))
        yield _tenant(chance, f"org-{number}", "", chips, total, span_ns)
        left = chips
        for part in range(1, chance.choice((0, 2, 3)) + 1):
            own = int(left * chance.uniform(0.1, 0.6))
            left -= own
            yield _tenant(chance, f"team-{number}-{part}", f"org-{number}", own, total, span_ns)


def _tenant(chance: Stream, name: str, parent: str, chips: int, total: int, span_ns: Span) -> Tenant:
    budget = None
    if chance.happens(0.15):
        hours = max(1.0, total * seconds(span_ns) / 3600 * chance.uniform(0.02, 0.3))
        budget = Budget(amount=f"{hours:.2f}", every="1d")
    borrow = int(total * chance.choice((0.0, 0.3, 1.0)))
    return Tenant(
        name=TenantId(name),
        parent=TenantId(parent),
        quota=Quota(chips=chips, borrow=borrow),
        weight=chance.uniform(0.5, 3.0),
        budget=budget,
    )


def _policy(chance: Stream) -> Chosen:
    """One of those that come with Myriad, with some knobs turned."""
    chosen = policyfile.choose(chance.choice(policyfile.names()))
    policy, change = chosen.policy, msgspec.structs.replace
    policy = change(
        policy,
        order=change(
            policy.order,
            period=chance.choice(("1s", "1m", "5m")),
            half_life=chance.choice(("1h", "7d")),
            starvation=chance.choice(("30m", "3d", policy.order.starvation)),
            search=chance.choice((0, 0, 0, 30)),
            search_queue=8,
        ),
        placement=change(
            policy.placement,
            policy=chance.choice(("packed", "packed", "first-fit")),
            wait_for_pod=chance.happens(0.5),
            wait_for_racks=chance.split("racks").choice((0.0, 0.0, 0.05, 0.3)),
        ),
        backfill=change(
            policy.backfill,
            reservations=chance.choice((1, 4, 32)),
            depth=chance.choice((100, 1000)),
            slack=chance.choice((1.0, 2.0)),
        ),
        preemption=change(
            policy.preemption,
            policy=policy.preemption.policy if chance.happens(0.7) else "cheapest",
            min_run=chance.choice(("10s", "1m", "10m")),
            patience=chance.choice(("1s", "1m", "10m")),
            worth=chance.choice((1.0, 10.0, 1000.0)),
        ),
        elastic=change(
            policy.elastic,
            grow=chance.happens(0.8),
            settle=chance.choice(("30s", "5m")),
            gain=chance.choice((0.5, 3.0)),
        ),
    )
    recover = change(
        policy.recover,
        silence=chance.choice(("5s", "10s", "30s")),
        lemon_losses=chance.integer(2, 4),
        lemon_window=chance.choice(("1h", "24h")),
        leave_grace=chance.choice(("10s", "60s", "3m")),
        stop_timeout=chance.choice(("5s", "20s")),
        repair_timeout=chance.choice(("3m", "10m")),
        slow_span=chance.choice(("30s", "5m")),
        slow_ratio=chance.choice((1.05, 1.1)),
        roll_back_after=chance.integer(1, 2),
        incident_nodes=chance.integer(2, 3),
        move_cost=chance.choice(("10s", "8m")),
    )
    return chosen._replace(policy=change(policy, recover=recover))


def _physics(chance: Stream) -> Physics:
    """Fast and slow bodies; those that speak of members and those that speak of gangs."""
    stored = chance.happens(0.5)
    return Physics(
        boot_s=chance.uniform(1, 30),
        start_s=chance.choice((0.1, 5.0, 40.0)),
        in_place_s=chance.choice((0.0, 2.0)),
        load_s=chance.uniform(0.1, 20),
        stop_s=chance.choice((0.05, 1.0)),
        save_s=chance.choice((0.02, 2.0)),
        copy_s=chance.choice((0.001, 0.2)),
        snapshot=1e10 if stored else 0.0,
        storage=chance.choice((1e10, 1e11)) if stored else 0.0,
        node_storage=chance.choice((0.0, 2e9)),
        save_blocks=chance.happens(0.3),
        heartbeat_s=chance.choice((1.0, 10.0)),
        whole_gangs=chance.happens(0.5),
        report_s=chance.choice((0.0, 60.0, 600.0)),
        pace_s=chance.choice((30.0, 300.0)),
        jitter=chance.choice((0.0, 0.2, 0.5)),
        poll_s=chance.choice((0.0, 0.0, 2.0)),
    )


def _noise(chance: Stream) -> Noise:
    """Messages between body and brain."""
    return Noise(
        repeats=chance.choice((0.0, 0.02, 0.1)),
        late=chance.choice((0.0, 0.0, 0.01, 0.05)),
        late_s=chance.choice((0.5, 5.0, 60.0)),
        crashes=chance.choice((0.0, 0.001, 0.005)),
        crashes_most=chance.integer(1, 4),
        away_s=chance.choice((0.0, 5.0, 120.0)),
    )
