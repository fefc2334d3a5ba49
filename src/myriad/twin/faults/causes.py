"""What a fault can be: published counts of causes, and what each cause does to nodes and to work.

A mix names the counts of one publication; `CAUSES` says of each name where it strikes, how it shows, how long
until it is seen and placed, how often the right node is named, and how often the node needs repair.
"""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from myriad.kernel.errors import near

Scope = Literal["chip", "host", "software", "link", "rack", "pod", "power", "cooling"]
#: crash: processes exit · hang: no progress, nothing exits · down: the node is gone · slow: steps take
#: `factor` times as long · corrupt: wrong numbers, silently · flap: a pause that passes · false_alarm:
#: nothing is wrong
Symptom = Literal["crash", "hang", "down", "slow", "corrupt", "flap", "false_alarm"]


class Cause(NamedTuple):
    """What faults of one cause have in common. Times in seconds, with monitors on."""

    scope: Scope
    symptom: Symptom
    #: Mean time until it is seen (ByteRobust, 2025, table 3, where it names the cause; else estimated).
    detect_s: float
    #: Mean and longest time from then until the node is named (table 6, where it names the cause).
    diagnose_s: float
    diagnose_most_s: float
    #: Share whose node needs repair; the others pass with a restart. Estimated.
    permanent: float
    #: Share where the right node is named at the first attempt. 99 % of faults are of one machine and
    #: explicit ones name it (Minder, NSDI 2025; recall 0.88 of those that do not); NVIDIA's EUD finds 70 % of
    #: corrupt chips (ByteRobust, 2025). The match of causes to these three figures is estimated.
    blamed: float

    @property
    def strikes(self) -> float:
        """How often a fault of this cause is seen on average, with monitors on, until its node is taken out.

        One that is laid at another door strikes again, and then with even chances once more.
        """
        return 1.0 + self.permanent * (1.0 - self.blamed) / RIGHT_AGAIN


#: Chance that a fault that struck again is laid at the right door. Estimated.
RIGHT_AGAIN: Final = 0.5
_EXPLICIT, _INSPECTED, _PROBED = 0.98, 0.88, 0.70


def _chip(symptom: Symptom = "crash", diagnose: tuple[float, float] = (10, 10), **more: float) -> Cause:
    """A fault of one accelerator; the driver's log names it within seconds (table 3: 10 s)."""
    values: dict[str, float] = {"detect_s": 10, "permanent": 0.5, "blamed": _EXPLICIT, **more}
    return Cause("chip", symptom, values["detect_s"], *diagnose, values["permanent"], values["blamed"])


def _host(symptom: Symptom = "down", diagnose: tuple[float, float] = (10, 60), **more: float) -> Cause:
    """A fault of what chips share in a node."""
    values: dict[str, float] = {"detect_s": 10, "permanent": 0.7, "blamed": _EXPLICIT, **more}
    return Cause("host", symptom, values["detect_s"], *diagnose, values["permanent"], values["blamed"])


def _software(symptom: Symptom = "crash", diagnose: tuple[float, float] = (60, 600), **more: float) -> Cause:
    """A fault of the job or of a service it uses; no node is to blame, and none needs repair."""
    values: dict[str, float] = {"detect_s": 10, "blamed": _INSPECTED, **more}
    return Cause("software", symptom, values["detect_s"], *diagnose, 0.0, values["blamed"])


CAUSES: Final[Mapping[str, Cause]] = {
    # ---- accelerators -------------------------------------------------------------------------------
    "gpu": _chip("crash", (10, 10), permanent=0.6),  # table 6: GPU unavailable 10/10
    "gpu memory": _chip("crash", (10, 10), permanent=0.4),  # table 6: GPU memory 10/10; HBM3 of Llama 3
    "gpu sram": _chip("crash", (10, 10), permanent=0.4),
    "gpu system processor": _chip("hang", (10, 60), permanent=0.3),
    "gpu thermal": _chip("crash", (10, 10), permanent=0.5),  # table 3: overheating 10 s
    # table 6: 93/600
    "cuda error": _chip("crash", (93, 600), permanent=0.25, blamed=_INSPECTED),
    # table 6: NaN 4289/7200; the mean of detection is how often losses and known answers are looked at
    "silent data corruption": _chip("corrupt", (4289, 7200), detect_s=3600, permanent=0.9, blamed=_PROBED),
    # ---- hosts --------------------------------------------------------------------------------------
    "host maintenance": _host(permanent=1.0, blamed=1.0),
    "nic": _host("crash", (60, 60), detect_s=30),  # table 3: NIC crash 30 s; table 6: IB 60/60
    "ssd": _host("crash", (60, 600)),
    "power supply": _host(permanent=0.9),
    "chassis": _host(permanent=0.9),
    "io expansion board": _host(permanent=0.8),
    "cpu": _host(permanent=0.7),
    "system memory": _host(permanent=0.7),
    "kernel panic": _host("down", (109, 120), detect_s=2, permanent=0.2),  # table 3: 2 s; table 6: 109/120
    "disk fault": _host("crash", (60, 600), permanent=0.8),
    "container": _host("crash", (60, 600), permanent=0.1),
    "pcie": _host("crash", (60, 600), permanent=0.6),
    "filesystem mount": _host("crash", (58, 65), permanent=0.05),  # table 6: HDFS 58/65
    # ---- one link, its ends or its cable ------------------------------------------------------------
    "network switch or cable": Cause("link", "crash", 30, 60, 60, 0.6, _INSPECTED),
    "infiniband": Cause("link", "crash", 30, 60, 60, 0.4, _EXPLICIT),  # table 3: 30 s; table 6: 60/60
    # ---- jobs and what they use ---------------------------------------------------------------------
    "software bug": _software(),
    "dependency": _software(diagnose=(57, 64)),
    "nccl watchdog": _software("hang", (93, 600)),
    "cpu overload": _software("hang", (60, 600)),
    "cpu out of memory": _software(),
    "disk space": _software(),
    "hdfs": _software(diagnose=(58, 65)),  # table 6
    "external service": _software(diagnose=(58, 65)),
    "hang": _software("hang", (93, 600), detect_s=60),
    "mfu decline": _software("slow", (600, 3600), detect_s=600),
    "nan": _software("corrupt", (4289, 7200), detect_s=60),  # table 6
    "code or data adjustment": _software(diagnose=(57, 64), blamed=1.0),  # table 6; by hand, on purpose
}

#: Counts as published: never percentages, which are misprinted in places.
MIXES: Final[Mapping[str, Mapping[str, float]]] = {
    # The Llama 3 Herd of Models (2024), table 5: 419 unexpected interruptions, 16,384 chips, 54 days
    "llama3": {
        "gpu": 148,
        "gpu memory": 72,
        "software bug": 54,
        "network switch or cable": 35,
        "host maintenance": 32,
        "gpu sram": 19,
        "gpu system processor": 17,
        "nic": 7,
        "nccl watchdog": 7,
        "silent data corruption": 6,
        "gpu thermal": 6,
        "ssd": 3,
        "power supply": 3,
        "chassis": 2,
        "io expansion board": 2,
        "dependency": 2,
        "cpu": 2,
        "system memory": 2,
    },
    # ByteRobust (2025), table 1: 778,135 jobs in three months
    "byterobust": {
        "cuda error": 19_968,
        "cpu overload": 6095,
        "cpu out of memory": 5567,
        "disk space": 2755,
        "infiniband": 1599,
        "filesystem mount": 1176,
        "hdfs": 1104,
        "container": 781,
        "kernel panic": 203,
        "gpu memory": 188,
        "external service": 128,
        "gpu": 76,
        "disk fault": 47,
        "hang": 5506,
        "mfu decline": 442,
        "nan": 148,
        "code or data adjustment": 9582,
    },
    # Kokolis et al. (HPCA 2025) name what dominates and give no counts: infiniband links, filesystem mounts,
    # accelerator memory, PCIe. Equal shares of these four and small ones of the rest. Estimated.
    "rsc": {
        "gpu memory": 20,
        "gpu": 15,
        "cuda error": 5,
        "filesystem mount": 20,
        "pcie": 20,
        "nic": 5,
        "infiniband": 20,
        "software bug": 30,
        "cpu out of memory": 10,
        "hang": 10,
    },
}


def mix_of(name_or_counts: str | Mapping[str, float]) -> Mapping[str, float]:
    """The counts of a mix, by name or as they are. Raises ValueError naming what is unknown and what is."""
    if isinstance(name_or_counts, str):
        if name_or_counts not in MIXES:
            raise ValueError(f"mix {name_or_counts!r} is not published here. {near(name_or_counts, MIXES)}")
        return MIXES[name_or_counts]
    for cause, count in name_or_counts.items():
        if cause not in CAUSES:
            raise ValueError(f"mix: cause {cause!r} is not known. {near(cause, CAUSES)}")
        if not 0 <= count < float("inf"):
            raise ValueError(f"mix.{cause} must be 0 or more, not {count}")
    return name_or_counts
