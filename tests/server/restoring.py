"""A site whose journal goes back to a backup: what began since then is unknown to it, on any engine."""

import os
from pathlib import Path

from click.testing import CliRunner

from myriad.cli.main import cli
from tests.server.harness import Server, python, wait_for

#: Holds its node as long as it lives, and says so if somebody else does; ends when the file `go` is there.
_WORK = """
import fcntl, os, time
folder, attempt, fails = {folder!r}, os.environ["MYRIAD_ATTEMPT"], {fails!r}
held = open(os.path.join(folder, "held." + os.environ["MYRIAD_NODE"]), "a")
try:
    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    open(os.path.join(folder, "clashes"), "a").write(attempt + "\\n")
open(os.path.join(folder, "starts"), "a").write(attempt + " " + os.environ["RANK"] + "\\n")
while not os.path.exists(os.path.join(folder, "go")):
    if fails and attempt.endswith(".1") and os.path.exists(os.path.join(folder, "fail")):
        os._exit(1)
    time.sleep(0.05)
"""


class Past:
    """A backup is made, more happens, the control plane dies, and its journal is that of the backup."""

    def __init__(self, server: Server, data: Path, folder: Path, *, nodes: int, chips: int) -> None:
        self.server, self.data, self.folder, self.chips = server, data, folder, chips
        self.backup = folder / "backup.db"
        server.tenant(chips=nodes * chips)
        self.stays = self._submit("stays", 1)
        self.again = self._submit("again", 2, fails=True)
        self.ends = self._submit("ends", nodes - 4)
        for job in (self.stays, self.again, self.ends):
            server.wait_state(job, "running")
        self.waits = self._submit("waits", nodes - 4)
        wait_for(lambda: len(self.starts()) == nodes - 1)

    def _submit(self, name: str, nodes: int, *, fails: bool = False) -> str:
        code = _WORK.format(folder=str(self.folder), fails=fails)
        return self.server.submit(
            python(code, name=name, nodes=nodes, chips_per_node=self.chips, launch="node", retries=3)
        )

    def starts(self) -> list[str]:
        """Attempt and rank of every process that began."""
        path = self.folder / "starts"
        return path.read_text().splitlines() if path.exists() else []

    def alive(self) -> set[str]:
        """Attempts of the data folder with a process that lives."""
        found = set()
        for folder in Path("/proc").iterdir():
            try:
                words = (folder / "environ").read_bytes().split(b"\0") if folder.name.isdigit() else []
            except OSError:
                continue
            own = [word for word in words if word.startswith(b"MYRIAD_ATTEMPT=")]
            if own and any(os.fsencode(str(self.data)) in word for word in words):
                found.add(own[0].partition(b"=")[2].decode())
        return found

    def go_back(self) -> str:
        """After the backup an attempt fails and the next one begins, a job is cancelled and another gets its
        nodes, a third one is submitted. That one, which no journal knows any more."""
        server = self.server
        self._myriad("backup", str(self.backup))
        (self.folder / "fail").touch()
        wait_for(lambda: f"{self.again}.2" in self.alive(), server.said, 60)
        server.post(f"/jobs/{self.ends}/cancel")
        wait_for(lambda: f"{self.waits}.1" in self.alive(), server.said, 60)
        unknown = self._submit("unknown", 1)
        wait_for(lambda: f"{unknown}.1" in self.alive(), server.said, 60)
        server.kill()
        (self.folder / "fail").unlink()
        for path in server.home.glob("journal.db*"):
            path.unlink()
        self._myriad("restore", str(self.backup))
        server.start()
        return unknown

    def _myriad(self, *words: str) -> None:
        done = CliRunner().invoke(cli, ["--home", str(self.server.home), *words])
        assert done.exit_code == 0, done.output

    def check(self, unknown: str) -> None:
        """Nothing unknown is left, nothing ran beside it, and what is known finishes, blamed for nothing."""
        server, known = self.server, (self.stays, self.again, self.ends)
        lost = {f"{unknown}.1", f"{self.again}.2", f"{self.waits}.1"}
        wait_for(lambda: not lost & self.alive(), lambda: f"{self.alive()} {server.said()}", 60)
        for attempt in lost:
            assert f"{attempt} " in server.said(), "people are told"
        # whose attempt was lost may pause, and find its nodes taken by the one that waited
        wait_for(lambda: len(self.alive()) > 1, lambda: str([server.job(job) for job in known]), 60)
        assert f"{self.stays}.1" in self.alive() and not lost & self.alive()
        assert self._submit("unknown", 1) != unknown, "what that one left in the folder is not for another"
        (self.folder / "go").touch()
        for job in (*known, self.waits):
            view = server.wait_state(job, "succeeded", "failed")
            causes = [one["cause"] for one in view["history"]]
            assert view["state"] == "succeeded" and set(causes[:-1]) <= {"node"}, view
        assert server.job(self.stays)["attempts"] == 1
        assert not (self.folder / "clashes").exists()
        assert len(self.starts()) == len(set(self.starts())), "no rank of an attempt began twice"
        wait_for(lambda: not self.alive())
        assert server.post("/journal/verify")["equal"]
