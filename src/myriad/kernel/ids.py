"""Names of things. Ids are minted at the edge (`server`, `twin`) and arrive in the core as arguments."""

from typing import NewType

NodeId = NewType("NodeId", str)
TenantId = NewType("TenantId", str)
JobId = NewType("JobId", str)
ServiceId = NewType("ServiceId", str)
#: One start of a gang. Attempts are numbered by the core, so the same journal gives the same ids:
#: `<owner>.<n>`, n counting from 1.
AttemptId = NewType("AttemptId", str)
KeyId = NewType("KeyId", str)
RequestId = NewType("RequestId", str)
#: Numbered by the core: `incident-<n>`.
IncidentId = NewType("IncidentId", str)


def attempt_of(owner: str, number: int) -> AttemptId:
    """The id of the n-th attempt of a job or service (n counts from 1)."""
    return AttemptId(f"{owner}.{number}")
