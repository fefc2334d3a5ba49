"""What the tests of faults share: shipped parts, and a list of faults."""

from pathlib import Path

from myriad.kernel import documents
from myriad.kernel.rng import Stream
from myriad.kernel.units import DAY, Instant
from myriad.twin.faults import Fault, Faults, Hazards, Repair, Terrain

PARTS = Path(__file__).parents[3] / "scenarios" / "parts"


def faults(text: str = "", part: str = "") -> Faults:
    """Of a YAML text, or a shipped part."""
    text = (PARTS / f"faults-{part}.yaml").read_text() if part else text
    return documents.convert(next(documents.documents(text, "test")) if text else {}, Faults, "faults")


def repair(text: str = "", part: str = "") -> Repair:
    """The same of a repair."""
    text = (PARTS / f"repair-{part}.yaml").read_text() if part else text
    return documents.convert(next(documents.documents(text, "test")) if text else {}, Repair, "repair")


def happened(given: Faults, terrain: Terrain, days: float, seed: int = 1) -> list[tuple[Instant, Fault]]:
    """Every fault of so many days."""
    hazards = Hazards(given, terrain, Stream(seed))
    return list(until(hazards, int(days * DAY)))


def until(hazards: Hazards, end: Instant, now: Instant = 0):
    """The faults of a sampler up to an instant."""
    while True:
        now, fault = hazards.next(now)
        if now > end:
            return
        yield now, fault
