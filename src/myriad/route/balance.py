"""Which replica takes a request: rendezvous hashing on the prompt's prefix, with bounded loads.

Requests that open alike go to the same replica, whose KV cache already holds the opening. Highest
random weight (Thaler and Ravishankar 1998) gives each prefix its own order of all replicas, so when one
comes or goes only its own prefixes move. The bound (Mirrokni, Thorup and Zadimoghaddam 2016, "Consistent
hashing with bounded loads") keeps a popular prefix from drowning its replica: the first replica in the
prefix's order that is below the bound takes the request, so the overflow is kept together too.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence


def choose(replicas: Sequence[str], load: Mapping[str, int], prefix: str, factor: float) -> str:
    """The replica for a prompt that opens with `prefix`; the least loaded one when it is empty.

    `load` is requests in flight by replica (absent: none). After the request, none chosen here holds
    more than ceil(factor x average). The same arguments give the same answer, in any order of replicas.
    """
    assert replicas and factor >= 1.0
    if not prefix:
        return min(replicas, key=lambda name: (load.get(name, 0), name))
    bound = math.ceil(factor * (sum(load.get(name, 0) for name in replicas) + 1) / len(replicas))
    # never empty: the least loaded holds at most the average, and the bound counts one request more
    below = [name for name in replicas if load.get(name, 0) < bound]
    return max(below, key=lambda name: (_weight(prefix, name), name))


def _weight(prefix: str, name: str) -> bytes:
    # prompts may hold lone surrogates, which JSON can spell
    return hashlib.blake2b(f"{name}\0{prefix}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
