"""Whose fault was it: the job's or the node's? Only the job's own faults use up its retries."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from myriad.kernel.ids import NodeId
from myriad.kernel.units import Span
from myriad.recover.policy import Policy

#: Exit codes with a meaning of their own. `EX_TEMPFAIL` of sysexits.h: a peer is gone, not my fault.
#: A recipe that exits with `REFUSED` would refuse again: its configuration or its data is wrong.
PEER_GONE: Final = 75
REFUSED: Final = 2


class Blame(NamedTuple):
    """The verdict on one attempt that failed by exit codes alone."""

    culprit: Literal["job", "node"]
    node: NodeId | None  # to be qualified again before it gets more work
    why: str


def judge(exits: Mapping[NodeId, int], nodes: int, earlier: Sequence[NodeId]) -> Blame:
    """Judge an attempt whose nodes all answer.

    exits: node -> first exit code, in the order they arrived; the first non-zero one is the root, since
    its peers fail after it when their connections close. earlier: the root nodes of this job's failures
    just before. The same node first, again and again, while the rest of the gang varies in nothing else:
    that is the node.
    """
    root = root_of(exits)
    if root is None:
        return Blame("job", None, "ended before its work was done")
    code = exits[root]
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    if nodes > 1 and list(earlier[-1:]) == [root]:
        return Blame("node", root, f"{root} failed first twice in a row ({how})")
    return Blame("job", None, f"a process on {root} ended with {how}")


def root_of(exits: Mapping[NodeId, int]) -> NodeId | None:
    """The node where a failure began: the first that failed by itself and not because a peer was gone."""
    failed = [node for node, code in exits.items() if code != 0]
    return next((node for node in failed if exits[node] != PEER_GONE), failed[0] if failed else None)


def pause_ns(faults: int, policy: Policy) -> Span:
    """Pause before the next try after the n-th fault in a row: none at first, then doubling, bounded."""
    if faults <= 1:
        return 0
    return min(policy.ns("backoff") << min(faults - 2, 40), policy.ns("backoff_ceiling"))
