"""What Slurm's programs print, as values. Pure, and tested on the texts of several releases."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from myriad.fleet import hostlist
from myriad.kernel.units import SECOND

#: Fields of a job, by squeue; its name comes last, since it may hold anything.
JOB_FORMAT = "%A|%T|%u|%N|%e|%r|%j"
#: Slurm's own default; `scontrol show nodes` names others.
_SLURMD_PORT = 6818
_FIELD = re.compile(r"(?:^|\s)(\w+)=(\S*)")
_REASON = re.compile(r"\sReason=(.*?)(?:\s\[([^@\]\s]+)@[^\]]*\])?(?=\s\w+=|\s*$)")
_DOWN = {"DOWN", "FUTURE", "ERROR"}
_OFF = {"POWERED_DOWN", "POWERING_DOWN", "POWER_DOWN", "INVALID_REG", "INVAL"}


class Node(NamedTuple):
    """One node as Slurm sees it."""

    name: str
    #: slurmd answers slurmctld.
    responds: bool
    #: slurmctld has begun anew and not heard of it yet, so what it says of it means nothing.
    unknown: bool
    #: Slurm gives it no job, and ended those it had.
    down: bool
    #: Slurm gives it no new job because somebody said so.
    held: bool
    reason: str
    reason_by: str
    #: When it booted, seconds since the epoch, give or take one or two; 0: not known.
    boot: int
    address: str
    #: Where its slurmd listens.
    port: int
    cpus: int
    state: str

    @property
    def usable(self) -> bool:
        """It can run something."""
        return self.responds and not self.down


class Job(NamedTuple):
    """One job that Slurm has not done with."""

    id: str
    state: str
    user: str
    nodes: tuple[str, ...]
    #: When its time limit ends it, nanoseconds since the epoch; 0: never, or not known.
    end_at: int
    reason: str
    name: str

    @property
    def pending(self) -> bool:
        """It holds no node yet."""
        return self.state in ("PENDING", "CONFIGURING") and not self.nodes

    @property
    def ending(self) -> bool:
        """Nothing more begins; `nodes` are those where it is not yet over."""
        return self.state == "COMPLETING"


class Ending(NamedTuple):
    """How a job went, when Slurm still knows."""

    state: str
    code: int  # as of a process: negative for a signal
    #: Seconds since the epoch, by slurmctld's clock.
    submitted_at: int


def nodes(text: str) -> Iterator[Node]:
    """Of `scontrol --oneliner show nodes`."""
    for line in text.split("\n"):
        if line.startswith("NodeName="):
            yield _node(line)


class Reader:
    """`nodes`, look after look: of most nodes Slurm says the same words again."""

    def __init__(self) -> None:
        self._known: dict[str, Node] = {}

    def nodes(self, text: str) -> list[Node]:
        """Of `scontrol --oneliner show nodes`; only lines that changed are read."""
        lines = [line for line in text.split("\n") if line.startswith("NodeName=")]
        self._known = {line: self._known.get(line) or _node(line) for line in lines}
        return list(self._known.values())


def _node(line: str) -> Node:
    # what people wrote into reasons and comments comes last, and may look like fields
    fields: dict[str, str] = dict(reversed(_FIELD.findall(line)))
    state = fields.get("State", "UNKNOWN")
    words = {word.rstrip("*~#!%$@^-+") for word in state.upper().split("+")}
    reason = _REASON.search(line)
    return Node(
        name=fields["NodeName"],
        responds="*" not in state and not words & {"NOT_RESPONDING", "UNKNOWN"},
        unknown="UNKNOWN" in words,
        down=bool(words & (_DOWN | _OFF)),
        held=bool(words & {"DRAIN", "FAIL", "DRAINED", "DRAINING", "FAILING"}),
        reason=reason.group(1) if reason else "",
        reason_by=(reason.group(2) or "") if reason else "",
        boot=_instant(fields.get("BootTime", "")) // SECOND,
        address=fields.get("NodeAddr") or fields["NodeName"],
        port=int(fields["Port"]) if fields.get("Port", "").isdigit() else _SLURMD_PORT,
        cpus=int(fields["CPUTot"]) if fields.get("CPUTot", "").isdigit() else 0,
        state=state,
    )


def jobs(text: str, mark: str) -> Iterator[Job]:
    """Of `squeue --format=MARK|JOB_FORMAT`: whoever names a job can put a line of his own into the answer.

    What `mark` was asked for he cannot know.
    """
    # not splitlines: names may hold more than Slurm takes for the end of a line
    for line in text.split("\n"):
        parts = line.removeprefix(f"{mark}|").split("|", 6)
        if line.startswith(f"{mark}|") and len(parts) == 7:
            number, state, user, where, end, reason, name = parts
            held = () if where in ("", "(null)", "None") else tuple(hostlist.expand(where))
            yield Job(number, state, user, held, _instant(end), reason, name)


def ending(text: str, name: str) -> Ending | None:
    """Of `scontrol --oneliner show job`. None also of another job, which was given a forgotten number."""
    # what people wrote into comments comes late, and may look like fields
    fields: dict[str, str] = dict(reversed(_FIELD.findall(text)))
    code, _, signal = fields.get("ExitCode", "").partition(":")
    if fields.get("JobName") != name or "JobState" not in fields or not code.isdigit():
        return None
    number = int(signal) if signal.isdigit() else 0
    submitted_at = _instant(fields.get("SubmitTime", "")) // SECOND
    return Ending(fields["JobState"], -number if number else int(code), submitted_at)


def booted(text: str) -> int:
    """When slurmctld began, by `scontrol show config`: seconds since the epoch; 0: it does not say."""
    found = re.search(r"^BOOT_TIME\s*=\s*(\S+)", text, re.MULTILINE)
    return _instant(found.group(1)) // SECOND if found else 0


def version(text: str) -> tuple[int, int]:
    """Of `sinfo --version`: (22, 5). (0, 0) when it says nothing of the kind."""
    found = re.search(r"(\d+)\.(\d+)", text)
    return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


def _instant(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text).timestamp()) * SECOND
    except ValueError:  # N/A, NONE, UNLIMITED
        return 0
