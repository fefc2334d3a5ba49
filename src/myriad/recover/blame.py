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
#: A job that fails first on so many nodes without progress in between takes its fault along.
_MANY: Final = 3
#: So many failures on one node since the last progress, beside this one, may be the node's. Estimated.
_TWICE: Final = 2


class Blame(NamedTuple):
    """The verdict on one attempt that failed by exit codes alone."""

    culprit: Literal["job", "node"]
    node: NodeId | None  # to be qualified again before it gets more work
    why: str


def judge(
    exits: Mapping[NodeId, int],
    nodes: int,
    earlier: Sequence[NodeId],
    *,
    policy: Policy,
    stuck: Sequence[NodeId] = (),
    elsewhere: int = 0,
) -> Blame:
    """Judge an attempt whose nodes all answer.

    exits: node -> first exit code, in the order they arrived; the first non-zero one is the root, since
    its peers fail after it when their connections close. earlier: the root nodes of this job's failures
    just before; stuck: of those since it made progress. elsewhere: how many other jobs failed first on the
    root lately.

    Many jobs, one node: the node. One job, many nodes: the job. One job, and the same node first again
    while the rest of the gang varies in nothing else: the node, until it has been held against it twice.
    """
    root = root_of(exits)
    if root is None:
        return Blame("job", None, "ended before its work was done")
    code = exits[root]
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    many = len({*stuck, root})
    if 1 + elsewhere >= policy.blame_jobs:
        return Blame("node", root, f"{1 + elsewhere} jobs failed first on {root} lately ({how})")
    if many >= _MANY:
        return Blame("job", None, f"failed first on {many} nodes in turn, now {root} ({how})")
    if nodes > 1 and stuck.count(root) > _TWICE:
        # it was qualified again meanwhile: a job that always fails on its first rank must not go on for ever
        return Blame("job", None, f"failed first on {root} again and again ({how})")
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
