"""The Slurm that tests break: `tools.slurm.Cluster`, with what only tests ask."""

import time
from collections.abc import Callable

from tools.slurm.cluster import Cluster as _Cluster
from tools.slurm.cluster import SlurmError, available

__all__ = ["Cluster", "SlurmError", "available"]

#: A slurmd that slurmctld does not hear for so long does not come back by itself.
_SILENT_S = 30.0


class Cluster(_Cluster):
    """A real Slurm on this machine, and what tests want to know about it."""

    def job_state(self, job: str) -> str:
        """RUNNING, PENDING, COMPLETED, NODE_FAIL, …; empty if Slurm has forgotten it."""
        words = ("--states=all", "--noheader", "--format=%T", f"--jobs={job}")
        return self.run("squeue", *words, check=False).strip()

    def job_of(self, attempt: str) -> tuple[str, str]:
        """Number and name of the one job of an attempt; what others left may still be completing."""
        rows = [row.split() for row in self.run("squeue", "--noheader", "--format=%A %j").splitlines()]
        ((number, name),) = [row for row in rows if row[1].endswith(f"/{attempt}")]
        return number, name

    def wait_saved(self, job: str) -> None:
        """Until slurmctld has written what it knows now. A SIGKILL sooner, and jobs of 5 s are forgotten."""
        for _ in range(2):  # the first may have been gathered before, and is only being written
            now = time.time()
            self.run("scontrol", "update", f"jobid={job}", "nice=0")  # something to write
            saved = self.folder / "state" / "job_state"
            wait_until(lambda saved=saved, now=now: saved.stat().st_mtime > now, "the state is saved")  # type: ignore[misc]

    def batch(self, script: str, *options: str) -> str:
        """Submit a batch job and return its id."""
        folder = self.folder / "jobs"
        folder.mkdir(exist_ok=True)
        output = f"--output={folder}/%j.out"
        return self.run("sbatch", "--parsable", output, *options, f"--wrap={script}").strip()

    def revive(self) -> list[str]:
        """Start again what stays silent by itself, as an operator would; the names, which are printed."""
        give_up_at = time.monotonic() + _SILENT_S
        while (off := self._silent()) and time.monotonic() < give_up_at:
            time.sleep(1.0)
        for name in off:
            pid, said = self.slurmd_pid(name), (self.folder / "log" / f"{name}.log").read_text()[-1000:]
            print(f"slurmd of {name} (process {pid or 'gone'}) is silent: {said}", flush=True)
            self.kill_slurmd(name)
            self.start_slurmd(name)
        if stuck := self._gave_up():
            print(f"slurmd gave up ending processes, and drained {stuck}", flush=True)
            self.run("scontrol", "update", f"nodename={','.join(stuck)}", "state=resume")
        return off + stuck

    def _gave_up(self) -> list[str]:
        """Nodes that slurmd drained since a process had no turn to die for as long as it waits."""
        said = self.run("sinfo", "--Node", "--noheader", "--format=%N %E", check=False)
        return [line.split()[0] for line in said.splitlines() if line.endswith(" Kill task failed")]

    def silenced(self) -> int:
        """How often slurmctld gave a node up so far, by its log."""
        log = self.folder / "log" / "slurmctld.log"
        return log.read_text(errors="replace").count("setting DOWN") if log.exists() else 0

    def _silent(self) -> list[str]:
        return [name for name, state in self.states().items() if state.endswith("*") or state == "down"]

    def whole(self) -> None:
        """All of its daemons run."""
        if not self.controller_pid:
            self.start_slurmctld()
        for name in self.names:
            if not self.slurmd_pid(name):
                self.start_slurmd(name)

    def clear(self) -> None:
        """As it was at first: no jobs, and every node idle with a slurmd."""
        self.whole()
        if jobs := self.run("squeue", "--noheader", "--format=%A").split():
            self.run("scancel", "--signal=KILL", *jobs, check=False)  # some may have ended since
            self.run("scancel", *jobs, check=False)
        try:
            wait_until(lambda: not self.run("squeue", "--noheader"), "no jobs", 5.0)
        except AssertionError:
            # a slurmd that was dead when slurmctld told it to end a job is told again minutes later
            self.run("scontrol", "update", "nodename=ALL", "state=down", "reason=cleared")
            wait_until(lambda: not self.run("squeue", "--noheader"), "no jobs")
        wait_until(lambda: len(self.states()) == len(self.names), "slurmctld answers")
        off = [name for name, state in self.states().items() if state.rstrip("*") not in ("idle", "unknown")]
        if off:
            self.run("scontrol", "update", f"nodename={','.join(off)}", "state=resume")
        self.revive()
        self.wait_state("idle", self.names, 90.0)


def wait_until(holds: Callable[[], object], what: str, patience_s: float = 30.0) -> None:
    """Until that holds; an AssertionError names it otherwise."""
    give_up_at = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < give_up_at, f"after {patience_s:.0f} s still not: {what}"
        time.sleep(0.05)
