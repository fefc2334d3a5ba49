"""What people write about faults and repairs: the sections `faults` and `repair` of a scenario.

Rates are events for 1,000 chip-days or node-days, as they are published, and 0 turns a kind of fault off.
Every default is that of the shipped part `faults-telecom`, or its source stands beside it.
"""

import math

import msgspec

from myriad.kernel import units
from myriad.twin.faults.ages import Age
from myriad.twin.faults.causes import mix_of
from myriad.twin.faults.events import Event

#: Days of a month, in rates that are published by the month.
MONTH_DAYS = 30.4375


def check_numbers(section: msgspec.Struct, shares: tuple[str, ...], at_least_one: tuple[str, ...]) -> None:
    """Raises ValueError, naming the field and the remedy, unless every number and span can be meant."""
    for name in section.__struct_fields__:
        value = getattr(section, name)
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            continue
        if isinstance(value, str):
            if name != "about":
                units.check_span(name, value)
        elif not 0 <= value < math.inf:
            raise ValueError(f"{name} must be 0 (off) or more, not {value}")
        elif name in shares and value > 1:
            raise ValueError(f"{name} is a share: write 0 to 1, not {value}")
        elif name in at_least_one and value < 1:
            raise ValueError(f"{name} must be 1 (no effect) or more, not {value}")


class Hardware(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hazard of the machines: means of a fleet, lemons included, over a life (see `age`).

    Apart for a chip and for what the chips of a node share, because a node of 16 chips has twice the chips of
    one of 8 and not twice the hosts.
    """

    #: Faults of an accelerator, for 1,000 chip-days. Llama 3's is 0.30: 268 of 419 interruptions are of
    #: chips, on 16,384 of them in 54 days (table 5). Nothing is published for Zhenwu; 0.38, with `host` 1.6
    #: and links, adds up to 0.5 for 1,000 chip-days of 16-chip nodes, near the 0.47 of Llama 3. Estimated.
    chip: float = 0.38
    #: Faults of a host, for 1,000 node-days. Llama 3's is 0.48: 53 of 419. Estimated.
    host: float = 1.6
    #: How often an idle node fails, over a busy one. 1: load has no effect. Estimated.
    idle: float = 1.0

    def __post_init__(self) -> None:
        check_numbers(self, ("idle",), ())


class Lemons(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nodes that fail again and again. Only a return to the vendor cures them."""

    #: Share of the nodes. Published: 40 lemons found in Meta's clusters, 1.2 % of RSC-1 (HPCA 2025).
    share: float = 0.012
    #: How often they fail, over a healthy node. AIReSim (2026) takes 5 for 15 % of its servers; Meta's fall
    #: of failing large jobs from 14 % to 4 % once they are gone asks for far more. Estimated.
    factor: float = 30.0

    def __post_init__(self) -> None:
        check_numbers(self, ("share",), ("factor",))


class Network(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Links from nodes to switches, and the switches of racks."""

    #: NIC-to-switch links of a node for each chip: one port a chip; 2 where two planes are cabled. Estimated.
    links_per_chip: float = 1.0
    #: Links that fail in a month, in percent. Published: 0.057 (HPN, SIGCOMM 2024).
    links: float = 0.057
    #: Rack switches that crash in a month, in percent. Published: 0.051 (HPN).
    switches: float = 0.051
    switches_per_rack: int = 1
    #: Whether nodes hang on two switches: a crash then slows the rack by `half`, else it takes the rack.
    dual: bool = True
    half: float = 1.5
    #: Mean time until a switch is back. Estimated: reboot or exchange by hand.
    switch_lasts: str = "1h"
    #: Flaps of one link in a day. Derived: 5,000 to 60,000 a day (HPN) in a cluster of some 30,000 links; the
    #: geometric mean.
    flaps: float = 0.6
    #: Share of flaps that a job feels: the others are over before a collective has waited. Estimated.
    flap_harms: float = 0.001
    #: How long and how much such a flap slows a job. Estimated.
    flap_lasts: str = "30s"
    flap_factor: float = 2.0

    def __post_init__(self) -> None:
        check_numbers(self, ("flap_harms",), ("half", "flap_factor"))
        for name in ("links", "switches"):
            if getattr(self, name) > 100:
                raise ValueError(f"{name} is percent in a month: write 0 to 100, not {getattr(self, name)}")


class Plant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pods, feeds and cooling: rare events that take or slow many nodes. All rates are estimated."""

    #: Outages of a pod's own network, for 1,000 pod-days. Estimated: one in ten years.
    pods: float = 0.27
    pod_lasts: str = "2h"
    #: Losses of a feed that its reserve does not catch, for 1,000 days of one feed. Estimated: one in ten
    #: years.
    power: float = 0.27
    power_lasts: str = "4h"
    #: Cooling faults for 1,000 pod-days; the chips of the pod slow down. Estimated: one in three years.
    cooling: float = 0.9
    cooling_lasts: str = "2h"
    cooling_factor: float = 1.5

    def __post_init__(self) -> None:
        check_numbers(self, (), ("cooling_factor",))


class Slow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nodes and links that work, but slowly (fail-slow)."""

    #: Share of nodes that are always slow, and how much. MegaScale (NSDI 2024): about 0.5 % of machines, 10
    #: %. From memory of the paper.
    share: float = 0.005
    factor: float = 1.1
    #: Nodes that become slow for a while, for 1,000 node-days, how much and how long. GREYHOUND (ATC 2025)
    #: sees ten minutes on average; the rate is estimated.
    nodes: float = 1.0
    node_factor: float = 1.2
    node_lasts: str = "10m"
    #: The same for links: 24 minutes, and twenty times as often (40 % against under 2 % of its runs;
    #: GREYHOUND).
    links: float = 20.0
    link_factor: float = 1.2
    link_lasts: str = "24m"

    def __post_init__(self) -> None:
        check_numbers(self, ("share",), ("factor", "node_factor", "link_factor"))


class Software(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hazard of a running job by its own software: code, data, services, and what a restart meets again.

    Of a trial of new code, faults a day are 8 rate / 1000 x (chips / 8)^growth; of a production run,
    production x min(chips / production_at, 1). The share of trials is exp(-(chips / trials_to)^2): see
    `software`, which says why.
    """

    #: Of a trial on eight chips, for 1,000 chip-days. Derived: 8-chip jobs of RSC-1 fail every 47.7 days, 6.5
    #: of their 21.0 faults for 1,000 node-days by hardware (Kokolis et al., HPCA 2025): (20.96 - 6.50) / 8.
    rate: float = 1.808
    #: Power of a trial's size; 1: proportional. Derived: jobs of 1,024 chips fail every 7.9 h.
    growth: float = 1.0487
    #: Size at which most runs are production: rehearsed at smaller sizes first. Estimated.
    trials_to: int = 4096
    #: Software faults a day of a production run of `production_at` chips; of smaller ones in proportion, of
    #: larger ones the same. Derived: 63 in 54 days (Llama 3, table 5). At 9,600 chips that makes 0.69 a day,
    #: between 0.36 and 1.5 (32 in 90 and 45 in 30 days; ByteRobust, table 4).
    production: float = 1.1667
    production_at: int = 16_384
    #: Multiplier of a job that begins to run over one that has run long, and how fast it falls to 1/e. Off;
    #: 73 % of the tasks of Aegis (NSDI 2025) that fail do so within ten minutes, which the workload models.
    young: float = 1.0
    settles: str = "6h"

    def __post_init__(self) -> None:
        check_numbers(self, (), ("young", "trials_to", "production_at"))
        if not units.span_ns(self.settles):
            raise ValueError("settles must be more than 0, for example 6h")


class Detection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How faults are seen and placed. Times of each cause: `causes`."""

    #: Whether nodes are inspected and hangs watched for (ByteRobust, 2025, table 3). Without, what does not
    #: exit is seen when a collective gives up, and people look for the node.
    monitors: bool = True
    #: Collectives give up after this. Published: PyTorch's default is ten minutes.
    timeout: str = "10m"
    #: A process that exits is seen within this, with or without monitors. Estimated: one heartbeat.
    exit: str = "10s"
    #: Mean time in which people find the node. Published: more than 30 minutes (Minder, NSDI 2025).
    by_hand: str = "30m"
    #: Share where people name the right node first. Estimated.
    by_hand_blamed: float = 0.7
    #: Standard deviation over mean of all these times. Estimated.
    spread: float = 0.5
    #: Multiplies all these times; 0: seen and placed at once, where a restart already has them in it.
    factor: float = 1.0

    def __post_init__(self) -> None:
        check_numbers(self, ("by_hand_blamed",), ())


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that goes wrong on a site, how often, and how it shows."""

    about: str = ""
    hardware: Hardware = Hardware()
    #: Causes by count: the name of a published mix (llama3, byterobust, rsc), or cause -> weight. The counts
    #: of one scope share that scope's rate.
    mix: str | dict[str, float] = "llama3"
    age: Age = Age()
    lemons: Lemons = Lemons()
    network: Network = Network()
    plant: Plant = Plant()
    slow: Slow = Slow()
    software: Software = Software()
    detection: Detection = Detection()
    #: Healthy nodes that are called unhealthy, for 1,000 node-days. Derived: precision 0.904 (Minder, NSDI
    #: 2025) at 3.8 true faults for 1,000 node-days.
    false_alarms: float = 0.4
    #: What strikes at a stated time, beside chance.
    events: tuple[Event, ...] = ()

    def __post_init__(self) -> None:
        mix_of(self.mix)
        if not 0 <= self.false_alarms < math.inf:
            raise ValueError(f"false_alarms must be 0 (off) or more, not {self.false_alarms}")


class Repair(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is done about a node: restart, automatic repair, hands, vendor; and the check after it."""

    about: str = ""
    #: A node that needs no repair boots again. Estimated.
    reboot: str = "10m"
    #: Automatic repair takes between these two. Published: 60 to 180 minutes (fleetsim); AIReSim (2026): two
    #: hours.
    automatic: str = "60m"
    automatic_most: str = "180m"
    #: By hand. Published: one to three days (fleetsim); AIReSim: two days.
    manual: str = "1d"
    manual_most: str = "3d"
    #: Return to the vendor, mean. Estimated: days to weeks.
    vendor: str = "14d"
    #: Share that goes to hands at once. Published: 10 % (fleetsim).
    manual_first: float = 0.1
    #: Repairs that fail and say so, and go up one rung. Estimated. AIReSim (2026) escalates 80 % of its
    #: repairs.
    escalates: float = 0.2
    #: Repairs that do not help and do not say so. Published: 40 % and 20 % (AIReSim, 2026).
    automatic_fails: float = 0.4
    manual_fails: float = 0.2
    #: Check before return, and the share of unmended nodes that it catches. Published: a full check takes
    #: under ten minutes (Aegis, NSDI 2025), and NVIDIA's EUD finds 70 % (ByteRobust, 2025).
    burn_in: str = "10m"
    recall: float = 0.7
    #: How often a node that came back unmended fails, over a healthy one. Estimated.
    unmended: float = 50.0
    #: Losses of one node after which it is sent to the vendor whatever is found; 0: never. Estimated; the
    #: brain's own lemon policy is apart from this.
    vendor_after: int = 5
    #: Who can work at once on repairs by hand, and how long each is at it; 0: as many as it takes.
    technicians: int = 0
    hands_on: str = "4h"

    def __post_init__(self) -> None:
        shares = ("manual_first", "escalates", "automatic_fails", "manual_fails", "recall")
        check_numbers(self, shares, ("unmended",))
        for name in ("automatic", "manual"):
            if units.span_ns(getattr(self, name)) > units.span_ns(getattr(self, f"{name}_most")):
                raise ValueError(f"{name} must be at most {name}_most ({getattr(self, f'{name}_most')})")

    def seconds(self, name: str) -> float:
        """A span field in seconds."""
        return units.seconds(units.span_ns(getattr(self, name)))
