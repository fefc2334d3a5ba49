"""The units are what systemd understands, ask for nothing the CLI does not know, and keep what jobs need."""

import configparser
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from myriad.cli.main import cli

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))


def read(unit: Path) -> configparser.ConfigParser:
    """Sections and options of a unit."""
    found = configparser.ConfigParser(interpolation=None, strict=False, delimiters=("=",))
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read_string(unit.read_text())
    return found


def environment() -> dict[str, str]:
    """The example of the environment file, as systemd reads it."""
    lines = FOLDER.joinpath("myriad.env").read_text().splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: "".join(shlex.split(value)) if '"' in value else value for name, _, value in pairs}


def test_there_are_both() -> None:
    assert [unit.name for unit in UNITS] == ["myriad-standby.service", "myriad.service"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_finds_no_fault(unit: Path, tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze on this machine")
    # the program is not installed where the unit has it
    text = unit.read_text().replace("/opt/myriad/bin/myriad ", "/bin/true ")
    (tmp_path / unit.name).write_text(text)
    argv = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(tmp_path / unit.name)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    complaints = [line for line in done.stderr.splitlines() if unit.name in line]
    assert done.returncode == 0 and not complaints, done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_what_they_start_is_a_command_of_ours(unit: Path) -> None:
    words = shlex.split(read(unit)["Service"]["ExecStart"])
    given = [*words[2:-1], *shlex.split(environment()["MYRIAD_OPTIONS"])]
    assert words[:2] == ["/opt/myriad/bin/myriad", "up"] and words[-1] == "$MYRIAD_OPTIONS"
    known = {name for one in cli.commands["up"].params for name in (*one.opts, *one.secondary_opts)}
    asked = [word for word in given if word.startswith("--")]
    assert "--foreground" in asked and {*asked} <= known
    assert ("--standby" in asked) == ("standby" in unit.stem)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_jobs_survive_and_may_use_what_training_needs(unit: Path) -> None:
    service = read(unit)["Service"]
    assert service["Type"] == "notify" and service["Restart"] == "always" and service["KillMode"] == "process"
    assert service["EnvironmentFile"] == "/etc/myriad/myriad.env" and float(service["RestartSec"][:-1]) >= 1
    assert service["WatchdogSec"] and service["User"] != "root"
    closes = {
        "PrivateDevices",
        "ProtectClock",
        "DevicePolicy",
        "MemoryDenyWriteExecute",
        "PrivateTmp",
        "PrivateNetwork",
    }
    assert not closes & set(service), (
        "these take accelerators, /tmp, the network or compiled kernels away from jobs"
    )


def test_the_two_differ_only_in_what_a_standby_is() -> None:
    one, other = (read(unit)["Service"] for unit in UNITS)
    assert {name for name in one if one[name] != other.get(name)} == {"ExecStart"} and set(one) == set(other)
