"""What fails on a site, when, and how it is mended: pure sampling, without a world.

`config` (what people write: `Faults`, `Repair`) -> `hazards` (the next fault of a site), `software` (of one
running job), `repair` (what is done about a node). Below them: `causes` (published mixes, and what each cause
does), `ages` (a site's life), `weights` (one node of many in log time), `laws` and `times` (with a spread).
`gang` is one job under failures as a Monte Carlo, to compare with the closed forms of `performance.goodput`.

All chance comes from a `kernel.rng.Stream`; a draw costs the same at 8 chips and at 100,000. Instants are
integer nanoseconds; rates in files are events for 1,000 chip-days or node-days, as they are published.
"""

from myriad.twin.faults.config import Faults, Repair
from myriad.twin.faults.hazards import Fault, Hazards, Terrain
from myriad.twin.faults.repair import Plan, Workshop
from myriad.twin.faults.software import software_fault

__all__ = ["Fault", "Faults", "Hazards", "Plan", "Repair", "Terrain", "Workshop", "software_fault"]
