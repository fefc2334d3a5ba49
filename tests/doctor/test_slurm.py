"""What the doctor says of a Slurm: one that is well, and each thing broken. Its programs are scripts here."""

import datetime
import getpass
from pathlib import Path

import pytest

from myriad.engines.slurm import health
from myriad.kernel.findings import Finding
from tests.slurm.cluster import Cluster

NODES = """\
NodeName=node01 Arch=x86_64 CPUTot=8 State=IDLE BootTime=2026-11-28T10:00:00
NodeName=node02 Arch=x86_64 CPUTot=8 State=IDLE+DRAIN Reason=cable [root@2026-11-28T10:00:00]
"""


class Slurm:
    """A folder of programs that say what a test wants."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        now = datetime.datetime.now().isoformat(timespec="seconds")
        config = f"Configuration data as of {now}\nAuthType                = auth/munge\n"
        config += f"SlurmUser               = {getpass.getuser()}(1000)\n"
        config += "AccountingStorageType   = accounting_storage/none\n"
        self.config = config
        for name in health.PROGRAMS:
            self.say(name, "")
        self.say("sinfo", "main|up|main*\nother|down|other", version="slurm-wlm 22.05.8")
        self.scontrol("Slurmctld(primary) at head is UP", config, NODES)
        self.say("munge", "MUNGE:AwQ:")
        self.say("unmunge", "STATUS: Success (0)")

    def say(self, name: str, text: str, *, code: int = 0, version: str = "slurm 24.11.1") -> None:
        """The program prints this."""
        path = self.folder / name
        path.write_text(
            f"#!/bin/sh\n[ \"$1\" = --version ] && echo '{version}' && exit 0\n"
            f"cat <<'END' {'>&2' if code else ''}\n{text}\nEND\nexit {code}\n"
        )
        path.chmod(0o755)

    def scontrol(self, ping: str, config: str, nodes: str) -> None:
        """Its three answers."""
        path = self.folder / "scontrol"
        cases = {"ping*": ping, "*config*": config, "*nodes*": nodes}
        body = "".join(f"{case}) cat <<'END'\n{text}\nEND\n;;\n" for case, text in cases.items())
        path.write_text(f'#!/bin/sh\ncase "$*" in\n{body}esac\n')
        path.chmod(0o755)

    def found(self, partition: str = "", *wanted: str) -> dict[str, Finding]:
        """By what is checked."""
        return {one.check.removeprefix("slurm: "): one for one in health.findings(partition, wanted)}


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return Slurm(tmp_path)


def failed(found: Finding, *words: str) -> None:
    assert found.result == "fail" and found.remedy
    assert all(word in found.found + found.remedy for word in words), found


def test_a_slurm_that_is_well(fake: Slurm) -> None:
    found = fake.found()
    assert {one.result for one in found.values()} == {"ok"}, found
    assert found["version"].found == "22.05" and found["nodes"].found == "2 of 2 answer, 1 of them drained"
    assert found["partition"].found == "main is up"


def test_a_site_file_with_nodes_that_slurm_does_not_know_or_keeps_elsewhere(fake: Slurm) -> None:
    lines = [f"{line} Partitions=main" for line in NODES.splitlines()]
    fake.scontrol("Slurmctld(primary) at head is UP", fake.config, "\n".join(lines))
    assert fake.found("main", "node01", "node02")["site"].result == "ok"
    failed(fake.found("", "node02", "node03", "node04")["site"], "node[03-04]", "import-slurm")
    failed(fake.found("other", "node01", "node02")["site"], "not in partition other: node[01-02]")


def test_programs_that_are_missing(fake: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(fake.folder))
    (fake.folder / "sbatch").unlink()
    found = fake.found()
    failed(found["programs"], "sbatch not found", "PATH")
    assert len(found) == 1


def test_a_release_that_is_too_old(fake: Slurm) -> None:
    fake.say("sinfo", "main|up|main*", version="slurm 20.11.4")
    failed(fake.found()["version"], "20.11", "22.05")


def test_a_slurmctld_that_is_down(fake: Slurm) -> None:
    fake.scontrol("Slurmctld(primary) at head is DOWN", fake.config, NODES)
    found = fake.found()
    failed(found["slurmctld"], "DOWN", "systemctl status slurmctld")
    assert found["the rest"].result == "skip"


def test_a_backup_that_is_down(fake: Slurm) -> None:
    fake.scontrol("Slurmctld(primary) at a is UP\nSlurmctld(backup) at b is DOWN", fake.config, NODES)
    assert fake.found()["slurmctld"].result == "warn"


def test_a_user_who_may_not_drain(fake: Slurm) -> None:
    failed(health.rights({"SlurmUser": "slurm(64030)"}, "somebody"), "somebody may not drain", "as slurm")
    fake.say("sacctmgr", "Operator")
    accounting = {"SlurmUser": "slurm(64030)", "AccountingStorageType": "accounting_storage/slurmdbd"}
    assert health.rights(accounting, "somebody").result == "ok"
    fake.say("sacctmgr", "None")
    failed(health.rights(accounting, "somebody"), "admin level None", "adminlevel=operator")


def test_a_slurmctld_with_another_clock() -> None:
    text = "Configuration data as of 2026-11-28T12:00:00\n"
    at = datetime.datetime.fromisoformat("2026-11-28T12:00:00").timestamp()
    assert health.clock(text, at + 2).result == "ok" and health.clock("nothing", at).result == "skip"
    late = health.clock(text, at + 300)
    assert late.result == "warn" and "-300 s" in late.found


def test_munge_that_does_not_work(fake: Slurm) -> None:
    fake.say("munge", "munge: Error: Failed to access socket: No such file or directory", code=6)
    failed(fake.found()["munge"], "Failed to access", "munged")
    fake.say("munge", "MUNGE:AwQ:")
    fake.say("unmunge", "unmunge: Error: Invalid credential", code=8)
    failed(fake.found()["munge"], "Invalid credential", "munge.key")
    assert health.munge({"AuthType": "auth/slurm"}).result == "skip"


def test_partitions(fake: Slurm) -> None:
    failed(fake.found("batch")["partition batch"], "there is no batch", "main, other")
    failed(fake.found("other")["partition other"], "other is down", "State=UP")
    fake.say("sinfo", "main|up|main")
    failed(fake.found()["partition"], "no default partition")


def test_nodes_that_do_not_answer(fake: Slurm) -> None:
    config = fake.config
    fake.scontrol("Slurmctld(primary) at head is UP", config, NODES.replace("State=IDLE B", "State=DOWN* B"))
    found = fake.found()["nodes"]
    assert found.result == "warn" and "1 of 2 answer" in found.found and "node01 DOWN*" in found.found
    fake.scontrol("Slurmctld(primary) at head is UP", config, NODES.replace("State=IDLE", "State=DOWN*"))
    failed(fake.found()["nodes"], "0 of 2")


def test_a_real_slurm(slurm: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", slurm.env["SLURM_CONF"])
    monkeypatch.setenv("PATH", slurm.env["PATH"])
    found = {one.check.removeprefix("slurm: "): one for one in health.findings()}
    assert not [one for one in found.values() if one.result not in ("ok", "skip")]
    assert found["nodes"].found.startswith("16 of 16 answer") and found["clock"].result == "ok"
