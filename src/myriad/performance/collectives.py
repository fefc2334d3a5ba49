"""How long chips talk: a hierarchical alpha-beta model over the levels of links.

A group of `ranks` chips, `stride` apart, fills each level's domain with `k` of its members. Where it leaves a
domain, its ring passes the boundary once, beside the rings of the other groups of that domain, so it has the
bandwidth of its own k members: bytes / (k x bandwidth). The slowest level counts. Sources: ring collectives,
Patarasuk and Yuan (2009); hierarchical use of NICs, Cho et al., BlueConnect (2019).
"""

from typing import NamedTuple

import numpy as np

from myriad.performance.columns import Column
from myriad.performance.machine import Machine


class Ring(NamedTuple):
    """A group of chips ready to exchange, whatever the size; columns of shape (n,)."""

    seconds_per_byte: Column  # of a gather; 0 for one rank
    latency_s: Column

    def gather_s(self, size_bytes: Column) -> Column:
        """All-gather of `size_bytes` in all, or reduce-scatter of as much."""
        return self.seconds_per_byte * size_bytes + self.latency_s

    def all_reduce_s(self, size_bytes: Column) -> Column:
        """Reduce-scatter and all-gather."""
        return 2 * self.gather_s(size_bytes)


def ring(machine: Machine, ranks: Column, stride: Column) -> Ring:
    """The ring of `ranks` chips, `stride` apart, with a latency for each doubling of the ranks."""
    inner = machine.levels[0]
    speed, latency = inner.bytes_per_s, inner.latency_s
    for level, outer in zip(machine.levels, machine.levels[1:], strict=False):
        inside = np.maximum(np.minimum(ranks, level.chips / stride), 1.0)
        crosses = ranks > inside + 0.5
        speed = np.where(crosses, np.minimum(speed, outer.bytes_per_s * inside), speed)
        latency = np.where(crosses, outer.latency_s, latency)
    ranks = np.maximum(ranks, 1.0)
    return Ring((ranks - 1) / ranks / speed, latency * np.log2(ranks))


def gather_s(machine: Machine, size_bytes: Column, ranks: Column, stride: Column) -> Column:
    """All-gather of `size_bytes` in all, or reduce-scatter of as much; 0 for one rank."""
    return ring(machine, ranks, stride).gather_s(size_bytes)


def all_reduce_s(machine: Machine, size_bytes: Column, ranks: Column, stride: Column) -> Column:
    """All-reduce as reduce-scatter and all-gather."""
    return ring(machine, ranks, stride).all_reduce_s(size_bytes)


def all_to_all_s(
    machine: Machine, size_bytes: Column, ranks: Column, copies: Column, dedup: Column
) -> Column:
    """Exchange in which each chip sends `size_bytes`, `copies` destinations for each token, spread evenly.

    With `dedup` a token crosses to a domain once and is forwarded inside, both at a time (DeepEP, DeepSeek-AI
    2025): of d domains each holding an equal part of the destinations it visits d (1 - (1 - 1/d)^copies).
    """
    inner = machine.levels[0]
    inside = np.maximum(np.minimum(ranks, inner.chips), 1.0)
    # of what a chip sends or has forwarded, all but what stays on a chip moves inside the domain
    local = np.where(dedup > 0, (inside - 1) / inside, (inside - 1) / ranks)
    time = local * size_bytes / inner.bytes_per_s + inner.latency_s
    for level, outer in zip(machine.levels, machine.levels[1:], strict=False):
        inside = np.maximum(np.minimum(ranks, level.chips), 1.0)
        domains = ranks / inside
        visited = (domains - 1) * (1 - (1 - 1 / domains) ** copies) / np.maximum(copies, 1.0)
        crossing = (
            np.where(dedup > 0, visited, 1 - 1 / domains) * size_bytes / outer.bytes_per_s + outer.latency_s
        )
        longer = np.where(dedup > 0, np.maximum(time, crossing), time + crossing)
        time = np.where(domains > 1.001, longer, time)
    return np.where(ranks > 1, time, 0.0)


def send_s(machine: Machine, size_bytes: Column, stride: Column) -> Column:
    """One chip to the chip `stride` further, while all others do the same."""
    speed, latency = machine.levels[0].bytes_per_s, machine.levels[0].latency_s
    for level, outer in zip(machine.levels, machine.levels[1:], strict=False):
        crosses = stride >= level.chips
        speed = np.where(crosses, outer.bytes_per_s, speed)
        latency = np.where(crosses, outer.latency_s, latency)
    return size_bytes / speed + latency
