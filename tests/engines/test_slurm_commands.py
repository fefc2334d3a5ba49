"""Slurm's programs as the engine runs them, under the event loop of the server."""

import asyncio
import os
import subprocess
from pathlib import Path

import pytest
import uvloop

from myriad.engines.slurm.asking import commands


def test_programs_may_end_before_they_have_read_what_they_are_given() -> None:
    """Under uvloop a look at Slurm died of it, and with it all looks."""

    async def many() -> None:
        for _ in range(5):
            said = await asyncio.gather(*(commands.run(["true"], feed="x" * 100_000) for _ in range(10)))
            assert said == [""] * 10
        assert await commands.run(["cat"], feed="#!/bin/sh\n") == "#!/bin/sh\n"
        assert await commands.run(["cat"]) == ""

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(many())


def test_no_answer_and_no_are_two_things() -> None:
    async def ask(*argv: str, timeout_s: float = 10.0) -> str:
        return await commands.run(argv, timeout_s=timeout_s)

    with pytest.raises(commands.SlurmError, match="sh: no such node"):
        asyncio.run(ask("sh", "-c", "echo no such node >&2; exit 1"))
    with pytest.raises(commands.SlurmSilent, match="Unable to contact"):
        asyncio.run(ask("sh", "-c", "echo Unable to contact slurm controller >&2; exit 1"))
    with pytest.raises(commands.SlurmSilent, match="no answer"):
        asyncio.run(ask("sleep", "30", timeout_s=0.2))
    with pytest.raises(commands.SlurmError, match="cannot be run"):
        asyncio.run(ask("no-such-program"))


def test_a_program_of_another_user_that_does_not_answer_is_left_to_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """We may not kill it, and must not wait for it: there are few threads, and others have to ask, too."""

    def refuse(_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(subprocess.Popen, "kill", refuse)
    os.mkfifo(held := tmp_path / "held")
    argv = ("sh", "-c", f"echo here; read -r _ <{held}; echo over >{tmp_path}/over")
    with pytest.raises(commands.SlurmSilent, match="no answer"):
        asyncio.run(commands.run(argv, timeout_s=0.5))
    assert not (tmp_path / "over").exists()
    held.write_text("go on\n")  # waits for its reader: it lives
