"""Host list expressions, as Slurm writes many names in one: `node[01-04,07],login`, `r[1-2]n[1-3]`.

The site file names hosts so, and engines that speak with Slurm read and write them.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

#: Names that one expression may stand for: a slip of the pen must not fill the memory.
MOST = 200_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_RANGE = re.compile(r"([0-9]+)(?:-([0-9]+))?")
_NUMBERED = re.compile(r"(.*?)([0-9]+)")


def expand(text: str) -> list[str]:
    """The names in the order they are written; of several brackets the last is fastest. Raises ValueError."""
    return list(_expanded(text))


def fold(names: Iterable[str]) -> str:
    """The shortest simple expression for names in this order: `expand(fold(names)) == list(names)`."""
    return ",".join(_folded(names))


@lru_cache(maxsize=8192)
def _expanded(text: str) -> tuple[str, ...]:
    found: list[str] = []
    for item in _items(text):
        found += _combined(item, MOST - len(found))
    return tuple(found)


def _items(text: str) -> Iterator[str]:
    """Parts between commas that stand outside brackets."""
    start, depth = 0, 0
    for at, letter in enumerate(text):
        depth += (letter == "[") - (letter == "]")
        if depth not in (0, 1):
            raise ValueError(f"{text}: has brackets that do not match. Write node[01-04,07]")
        if letter == "," and not depth:
            yield text[start:at].strip()
            start = at + 1
    if depth:
        raise ValueError(f"{text}: has a bracket that is not closed. Write node[01-04,07]")
    yield text[start:].strip()


def _combined(item: str, most: int) -> list[str]:
    """All names of one part."""
    found = [""]
    # literal, inside of brackets, literal, …
    for at, piece in enumerate(re.split(r"[\[\]]", item)):
        endings = list(_numbers(piece, item, most)) if at % 2 else [piece]
        if len(found) * len(endings) > most:
            raise ValueError(f"{item}: stands for more than {MOST:,} names. Write fewer")
        found = [name + ending for name in found for ending in endings]
    for name in found:
        if not _NAME.fullmatch(name):
            shown = f"{name!r} is" if name else "there is an empty name, which is"
            raise ValueError(
                f"{item}: {shown} no host name. Write names of letters, digits, '-', '_' and '.'"
            )
    return found


def _numbers(inside: str, item: str, most: int) -> Iterator[str]:
    for part in inside.split(","):
        match = _RANGE.fullmatch(part.strip())
        if not match:
            raise ValueError(f"{item}: {part!r} is not a range of numbers. Write node[01-04,07]")
        low, high = match[1], match[2] or match[1]
        if int(high) < int(low):
            raise ValueError(f"{item}: {part!r} counts down. Write [{high}-{low}]")
        if int(high) - int(low) >= most:
            raise ValueError(f"{item}: stands for more than {MOST:,} names. Write fewer")
        yield from (f"{number:0{len(low)}d}" for number in range(int(low), int(high) + 1))


def _folded(names: Iterable[str]) -> Iterator[str]:
    """One part for each row of names that differ in the number at their end alone."""
    prefix: str | None = None
    runs: list[tuple[str, str]] = []  # first and last number, as written
    for name in names:
        match = _NUMBERED.fullmatch(name)
        if match and match[1] == prefix:
            first, last = runs[-1]
            # the next number, written as the range would write it
            if match[2] == f"{int(last) + 1:0{len(first)}d}":
                runs[-1] = (first, match[2])
            else:
                runs.append((match[2], match[2]))
            continue
        yield from _part(prefix, runs)
        prefix, runs = (match[1], [(match[2], match[2])]) if match else (None, [])
        if not match:
            yield name
    yield from _part(prefix, runs)


def _part(prefix: str | None, runs: list[tuple[str, str]]) -> Iterator[str]:
    if prefix is None or not runs:
        return
    shown = ",".join(first if first == last else f"{first}-{last}" for first, last in runs)
    yield f"{prefix}{shown}" if shown.isdigit() else f"{prefix}[{shown}]"
