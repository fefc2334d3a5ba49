"""What breaks in a swarm, and how it is repaired: published rates, many times over."""

from typing import Final

from myriad.fleet.site import Site
from myriad.kernel.rng import Stream
from myriad.kernel.units import DAY, Span
from myriad.twin.faults import Faults, Repair
from myriad.twin.faults.config import Detection, Hardware, Lemons, Network, Plant, Slow, Software

#: Hardware faults of one seed at most, on average.
_MOST: Final = 120.0


def faults(chance: Stream, site: Site, span_ns: Span) -> Faults:
    """Everything at ten to a thousand times its published rate, each kind by its own factor."""
    days, chips, nodes = span_ns / DAY, site.chip_count, site.node_count
    expected = (Hardware().chip * chips + Hardware().host * nodes) / 1000 * days
    bound = _MOST / expected

    def times(rate: float, most: float = 1000.0) -> float:
        """A rate so many times as high; some kinds are off."""
        return rate * min(10 ** chance.uniform(1, 3), bound, most) if chance.happens(0.8) else 0.0

    hardware, network, plant, slow = Hardware(), Network(), Plant(), Slow()
    return Faults(
        hardware=Hardware(chip=times(hardware.chip), host=times(hardware.host), idle=chance.uniform(0, 1)),
        mix=chance.choice(("llama3", "byterobust", "rsc")),
        lemons=Lemons(share=chance.choice((0.0, 0.05, 0.1)), factor=chance.uniform(2, 30)),
        network=Network(
            links=min(100.0, times(network.links)),
            switches=min(100.0, times(network.switches)),
            dual=chance.happens(0.5),
            switch_lasts="10m",
            flaps=times(network.flaps, 20),
            flap_harms=chance.choice((0.001, 0.1)),
        ),
        plant=Plant(
            pods=times(plant.pods) * 10,
            pod_lasts="10m",
            power=times(plant.power) * 10,
            power_lasts="20m",
            cooling=times(plant.cooling) * 10,
            cooling_lasts="15m",
        ),
        slow=Slow(
            share=chance.choice((0.0, 0.05)),
            factor=chance.uniform(1.0, 2.0),
            nodes=times(slow.nodes, 100),
            links=times(slow.links, 100),
        ),
        software=Software(rate=times(Software().rate), production=1.0),
        detection=Detection(monitors=chance.happens(0.7), timeout="2m", by_hand="5m"),
        false_alarms=times(0.4),
    )


def repair(chance: Stream) -> Repair:
    """Fast enough for a seed, and not always of help."""
    return Repair(
        reboot="1m",
        automatic="2m",
        automatic_most="8m",
        manual="10m",
        manual_most="30m",
        vendor="1h",
        manual_first=chance.uniform(0, 0.3),
        escalates=chance.uniform(0, 0.4),
        automatic_fails=chance.uniform(0, 0.6),
        burn_in=chance.choice(("10s", "90s")),
        vendor_after=chance.choice((0, 3, 5)),
        technicians=chance.choice((0, 1, 3)),
        hands_on="10m",
    )
