"""Ports of a machine that nobody uses.

They lie outside the range from which the kernel hands out ports, so that no outgoing connection of
anybody takes one between our choice and its use. Only the standard library: see forking.
"""

import os
import socket
from pathlib import Path

_LOWEST = 15_000
_HIGHEST = 65_535
_KERNEL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free(taken: set[int]) -> int:
    """A port nobody listens on, not among `taken`, which it joins. Raises OSError when there is none."""
    known = candidates()
    # from anywhere on, one after the other: to shuffle them all takes longer than the rest of a gang's start
    first = int.from_bytes(os.urandom(4), "little") % len(known)
    for port in (*known[first:], *known[:first]):
        if port not in taken and _bindable(port):
            taken.add(port)
            return port
    taken.clear()
    raise OSError("no port is free outside the kernel's own range")


def candidates() -> list[int]:
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
