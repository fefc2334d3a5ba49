"""Two tiers of checkpoints: storage, which outlives everything, and copies in the memory of peers.

Every rank keeps its own state and that of its partner: rank r is also kept by rank (r + shift) mod n. With
half the gang as shift, pairs keep each other, so that of all ways to lose two nodes only 1 in n - 1 takes
both copies of something; and since ranks walk rack by rack, partners stand as far apart as they can. After
Gemini (Wang et al., SOSP 2023), which places copies in groups of two.
"""

from collections.abc import Sequence


def shift(nodes: int) -> int:
    """How far away in rank the partner is. Depends on nothing but the size: the same for every attempt."""
    return nodes // 2


def recoverable(holds: Sequence[bool], shift: int) -> bool:
    """Whether every rank's state is left somewhere. holds: by rank, whether its memory is still there."""
    nodes = len(holds)
    return all(here or holds[(rank + shift) % nodes] for rank, here in enumerate(holds))
