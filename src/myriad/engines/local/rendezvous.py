"""Ports at which the processes of an attempt meet: fresh for each attempt, and the same if it is asked again.

They lie outside the range from which the kernel hands out ports, so that no outgoing connection of
anybody takes one between our choice and its use.
"""

import random
import socket
from pathlib import Path

import msgspec

_LOWEST = 15_000
_HIGHEST = 65_535
_KERNEL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """Where one attempt meets, and where its replica listens; kept beside its logs."""

    master: int
    service: int = 0


def of_attempt(logs: Path, *, service: bool, taken: set[int]) -> Ports:
    """The attempt's ports: those written down before, else new ones. Raises OSError."""
    path = logs / "ports.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Ports)
    except (FileNotFoundError, msgspec.DecodeError, msgspec.ValidationError):
        pass
    ports = Ports(master=free_port(taken), service=free_port(taken) if service else 0)
    logs.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_bytes(msgspec.json.encode(ports))
    draft.replace(path)
    return ports


def free_port(taken: set[int]) -> int:
    """A port nobody listens on, not among `taken`, which it joins. Raises OSError when there is none."""
    candidates = [port for port in candidate_ports() if port not in taken]
    random.shuffle(candidates)
    for port in candidates:
        if _bindable(port):
            taken.add(port)
            return port
    taken.clear()
    raise OSError("no port is free outside the kernel's own range")


def candidate_ports() -> list[int]:
    """Ports that the kernel does not hand out by itself."""
    low, high = (int(word) for word in _KERNEL_RANGE.read_text().split())
    below, above = range(_LOWEST, max(_LOWEST, low)), range(high + 1, _HIGHEST + 1)
    return [*below, *above]


def _bindable(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("0.0.0.0", port))  # all addresses, as torch's store will
        except OSError:
            return False
    return True
