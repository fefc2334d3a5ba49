"""How a member ended that did not say it itself: what Slurm says of its job, and what that is worth."""

from pathlib import Path

import pytest

from myriad.engines.slurm.asking.reading import Ending
from myriad.engines.slurm.gangs import gang
from myriad.engines.slurm.spool import Spool
from myriad.kernel.ids import AttemptId, NodeId
from myriad.protocol import inputs


@pytest.mark.parametrize(
    ("state", "begun", "blamed"),
    [
        ("TIMEOUT", True, True),
        ("OUT_OF_MEMORY", True, True),
        ("CANCELLED", True, True),
        ("CANCELLED", False, False),  # slurmd would not launch it
        ("FAILED", True, False),  # the member was killed: by its guard, when the shared folder was away
        ("FAILED", False, True),  # there is no such Python on the node
        ("NODE_FAIL", True, False),
        ("COMPLETED", False, False),
        ("", True, False),  # forgotten
    ],
)
def test_what_slurm_says_of_a_job(tmp_path: Path, state: str, begun: bool, blamed: bool) -> None:
    attempt, node = AttemptId("job-a.1"), NodeId("n1")
    one = gang.Gang(Spool(tmp_path), attempt, (node,), 0.0, whole=False, lease_s=4.0)
    part = one.parts[node]
    if begun:
        part.started = inputs.MemberStarted(at=0, attempt=attempt, node=node)
    over = gang.inferred(one, part, Ending(state, 1, 0) if state else None, 5)
    assert isinstance(over, inputs.MemberExited if blamed else inputs.MemberGone)
