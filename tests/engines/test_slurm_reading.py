"""What Slurm's programs print, in several releases, read as the same values."""

from datetime import datetime

import pytest

from myriad.engines.slurm.asking import reading
from myriad.kernel.units import SECOND

_TAIL = (
    "Partitions=main BootTime=2026-11-28T20:40:56 SlurmdStartTime=2026-11-28T21:02:53 "
    "CfgTRES=cpu=16,mem=1000M,billing=16 AllocTRES= CapWatts=n/a"
)
#: Release -> a line of `scontrol --oneliner show nodes`, with room for state and what follows.
_NODES = {
    "22.05": "NodeName=node01 Arch=x86_64 CoresPerSocket=16  CPUAlloc=0 CPUEfctv=16 CPUTot=16 CPULoad=3.65 "
    "AvailableFeatures=(null) ActiveFeatures=(null) Gres=gpu:8 NodeAddr=10.0.0.1 NodeHostName=vm Port=14072 "
    "Version=22.05.8 OS=Linux 6.1 #1 SMP PREEMPT_DYNAMIC @0  RealMemory=1000 State={state} ThreadsPerCore=1 "
    + _TAIL
    + "{more}",
    "24.05": "NodeName=node01 Arch=x86_64 CoresPerSocket=16 CPUAlloc=0 CPUEfctv=16 CPUTot=16 CPULoad=0.10 "
    "AvailableFeatures=a,b ActiveFeatures=a,b Gres=gpu:h100:8(S:0-1) NodeAddr=10.0.0.1 NodeHostName=vm "
    "Port=14072 Version=24.05.3 OS=Linux 6.1 #1 SMP State={state} ThreadsPerCore=1 TmpDisk=0 Weight=1 "
    + _TAIL
    + " LastBusyTime=Unknown ResumeAfterTime=None{more}",
}


@pytest.mark.parametrize("release", _NODES)
@pytest.mark.parametrize(
    ("state", "responds", "down", "held"),
    [
        ("IDLE", True, False, False),
        ("MIXED", True, False, False),
        ("ALLOCATED+COMPLETING", True, False, False),
        ("IDLE+PLANNED", True, False, False),
        ("IDLE*", False, False, False),
        ("DOWN*", False, True, False),
        ("DOWN*+DRAIN", False, True, True),
        ("DOWN+NOT_RESPONDING", False, True, False),
        ("IDLE+DRAIN", True, False, True),
        ("ALLOCATED+DRAIN", True, False, True),
        ("MIXED+DRAIN+NOT_RESPONDING", False, False, True),
        ("IDLE+FAIL", True, False, True),
        ("IDLE+CLOUD+POWERED_DOWN", True, True, False),
        ("DOWN+INVALID_REG", True, True, False),
        ("UNKNOWN*", False, False, False),
        ("UNKNOWN", False, False, False),
    ],
)
def test_states_of_a_node(release: str, state: str, responds: bool, down: bool, held: bool) -> None:
    (node,) = reading.nodes(_NODES[release].format(state=state, more="") + "\n")
    assert (node.responds, node.down, node.held) == (responds, down, held)
    assert node.usable == (responds and not down)
    assert node.unknown == state.startswith("UNKNOWN")
    assert (node.name, node.address, node.port, node.cpus) == ("node01", "10.0.0.1", 14072, 16)
    assert node.boot == int(datetime.fromisoformat("2026-11-28T20:40:56").timestamp())


@pytest.mark.parametrize("release", _NODES)
@pytest.mark.parametrize(
    ("more", "reason", "by"),
    [
        (" Reason=fan is loud [root@2026-11-28T21:00:00]", "fan is loud", "root"),
        (" Reason=myriad: a lemon [me@2026-11-28T21:00:00] Comment=x", "myriad: a lemon", "me"),
        (" Reason=Not responding [slurm@2026-11-28T21:00:00]", "Not responding", "slurm"),
        (" Reason=bare", "bare", ""),
        ("", "", ""),
    ],
)  # fmt: skip
def test_reasons(release: str, more: str, reason: str, by: str) -> None:
    (node,) = reading.nodes(_NODES[release].format(state="IDLE+DRAIN", more=more))
    assert (node.reason, node.reason_by) == (reason, by)


def test_jobs() -> None:
    text = (
        "m|33|RUNNING|root|node[01-04]|2026-11-29T21:00:00|None|myriad-5/tiny|a.1\n"
        "m|34|PENDING|alice||N/A|Resources|train\n"
        "m|35|COMPLETING|bob|node09|2026-11-29T21:00:00|None|x\n"
        "m|36|RUNNING|bob|node[09,11]|UNLIMITED|None|y\n"
    )
    ours, waits, ends, forever = reading.jobs(text, "m")
    assert (ours.nodes, ours.name, ours.pending) == (
        ("node01", "node02", "node03", "node04"),
        "myriad-5/tiny|a.1",
        False,
    )
    assert ours.end_at == int(datetime(2026, 11, 29, 21).timestamp()) * SECOND
    assert (waits.pending, waits.nodes, waits.end_at, waits.reason) == (True, (), 0, "Resources")
    assert ends.ending and not ours.ending
    assert (forever.end_at, forever.nodes) == (0, ("node09", "node11"))


def test_a_name_that_goes_on_in_another_line_is_no_other_job() -> None:
    """As `sbatch --job-name` takes it, and squeue prints it."""
    text = "m|33|PENDING|bob||N/A|None|x\n34|RUNNING|root|node02|N/A|None|myriad-5/a.1\n"
    (found,) = reading.jobs(text, "m")
    assert found.id == "33"
    said = "JobId=7 JobName=m/a.1 JobState=RUNNING ExitCode=0:0 Comment=JobState=NODE_FAIL JobState=NODE_FAIL"
    assert reading.ending(said, "m/a.1") == ("RUNNING", 0, 0)


def test_when_slurmctld_began() -> None:
    text = "Configuration data as of 2026-11-28T22:00:00\nBOOT_TIME               = 2026-11-28T21:00:00\n"
    assert reading.booted(text) == int(datetime.fromisoformat("2026-11-28T21:00:00").timestamp())
    assert reading.booted("") == 0


_TIME = "2026-11-28T21:00:00"


def test_endings() -> None:
    def of(state: str, code: str, name: str = "m/a.1") -> reading.Ending | None:
        return reading.ending(
            f"JobId=7 JobName=m/a.1 JobState={state} ExitCode={code} SubmitTime={_TIME}", name
        )

    at = int(datetime.fromisoformat(_TIME).timestamp())
    assert of("FAILED", "3:0") == ("FAILED", 3, at)
    assert of("FAILED", "0:9") == ("FAILED", -9, at)
    assert of("TIMEOUT", "0:0") == ("TIMEOUT", 0, at)
    assert of("CANCELLED", "0:15", "m/b.1") is None, "its number was given to another"
    assert reading.ending("slurm_load_jobs error: Invalid job id specified", "m/a.1") is None


@pytest.mark.parametrize(
    ("text", "version"),
    [("slurm-wlm 22.05.8", (22, 5)), ("slurm 24.05.3-1", (24, 5)), ("nothing", (0, 0))],
)
def test_versions(text: str, version: tuple[int, int]) -> None:
    assert reading.version(text) == version
