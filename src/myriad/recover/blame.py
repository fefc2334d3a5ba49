"""Whose fault was it: the job's or the node's? Only the job's own faults use up its retries."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from myriad.kernel.ids import NodeId
from myriad.kernel.units import Span
from myriad.recover.policy import Policy


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
    root = next((node for node, code in exits.items() if code != 0), None)
    if root is None:
        return Blame("job", None, "ended before its work was done")
    code = exits[root]
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    if nodes > 1 and list(earlier[-1:]) == [root]:
        return Blame("node", root, f"{root} failed first twice in a row ({how})")
    return Blame("job", None, f"a process on {root} ended with {how}")


def pause_ns(faults: int, policy: Policy) -> Span:
    """Back-off before the next try after the n-th fault in a row: doubling, bounded."""
    return min(policy.ns("backoff") << min(faults - 1, 40), policy.ns("backoff_ceiling"))
