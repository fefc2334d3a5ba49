"""Chance as an argument: named streams split from one seed.

Of `random.Random` only `random()` is promised to give the same values in every Python version, so
integers and choices are built on it here.
"""

import hashlib
import math
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Stream:
    """One reproducible sequence of draws. The same (seed, name) gives the same draws everywhere."""

    def __init__(self, seed: int, name: str = "") -> None:
        self._seed, self._name = seed, name
        digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
        self._random = random.Random(int.from_bytes(digest, "big"))

    def split(self, name: str) -> "Stream":
        """An independent stream: draws from it do not disturb this one."""
        return Stream(self._seed, f"{self._name}/{name}")

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A float in [low, high)."""
        return low + (high - low) * self._random.random()

    def integer(self, low: int, high: int) -> int:
        """An integer in [low, high], both ends included."""
        return low + int(self._random.random() * (high - low + 1))

    def choice(self, items: Sequence[T]) -> T:
        """One item of a non-empty sequence."""
        return items[self.integer(0, len(items) - 1)]

    def happens(self, probability: float) -> bool:
        """True with the given probability."""
        return self._random.random() < probability

    def exponential(self, mean: float) -> float:
        """A waiting time of the given mean, same unit."""
        return -mean * math.log(1.0 - self._random.random())
