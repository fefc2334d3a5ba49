"""Ports at which an attempt's processes meet: fresh for each attempt, and the same if it is asked again."""

from pathlib import Path

import msgspec

from myriad.engines.common import ports as free_ports


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """Where one attempt meets, and where its replica listens; kept beside its logs."""

    master: int
    service: int = 0
    #: When the brain had placed it; another instant: it was another attempt, of the same name.
    placed_at: int = 0


def of_attempt(logs: Path, *, service: bool, taken: set[int], placed_at: int = 0) -> Ports:
    """The attempt's ports: those written down before, else new ones. Raises OSError."""
    path = logs / "ports.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Ports)
    except (FileNotFoundError, msgspec.DecodeError, msgspec.ValidationError):
        pass
    ports = Ports(
        master=free_ports.free(taken),
        service=free_ports.free(taken) if service else 0,
        placed_at=placed_at,
    )
    logs.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_bytes(msgspec.json.encode(ports))
    draft.replace(path)
    return ports
