"""Which window of the corpus is sequence `index` of step `step`: a pure function, the same on every gang.

A resumed run, a run on another number of ranks and an uninterrupted run all ask this function, so
all of them see the same data at the same step. Each epoch visits every window once, in an order of
its own, by a keyed permutation (a four-round Feistel network, walked until it lands inside). No
state is kept and no table is built, so any step of any epoch costs the same.
"""

_ROUNDS = 4
_MASK = (1 << 64) - 1


def window_of(*, seed: int, step: int, index: int, batch: int, windows: int) -> int:
    """The window for sequence `index` (of `batch`) of `step` (from 1) among `windows`."""
    position = (step - 1) * batch + index
    epoch, place = divmod(position, windows)
    return permuted(place, windows, key=_mix(seed ^ _mix(epoch)))


def share(*, rank: int, world_size: int, batch: int) -> range:
    """The sequences of a step that one rank computes."""
    each = batch // world_size
    return range(rank * each, (rank + 1) * each)


def permuted(place: int, size: int, key: int) -> int:
    """Where a keyed permutation of range(size) sends `place`."""
    half_bits = max(1, ((size - 1).bit_length() + 1) // 2)
    while True:
        place = _feistel(place, half_bits, key)
        if place < size:
            return place


def _feistel(value: int, half_bits: int, key: int) -> int:
    mask = (1 << half_bits) - 1
    left, right = value >> half_bits, value & mask
    for round_ in range(_ROUNDS):
        left, right = right, left ^ (_mix(key ^ _mix(right ^ (round_ << 56))) & mask)
    return (left << half_bits) | right


def _mix(value: int) -> int:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014): 64 bits, well stirred."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
