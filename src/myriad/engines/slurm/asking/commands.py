"""Slurm's own programs, the only way in which this system speaks to Slurm.

Their text output has kept its form over all releases, where the JSON of `--json` changed with nearly every
one (docs/decisions/0013-slurm.md). An answer that does not come says nothing: it is no bad news of a node.
"""

import asyncio
import subprocess
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

PATIENCE_S = 30.0
#: What Slurm's programs say when slurmctld did not answer, in any release since 20.
_SILENCE = (
    "unable to contact slurm controller",
    "socket timed out",
    "connection refused",
    "connection reset",
    "connection timed out",
    "zero bytes were transmitted",
    "transport endpoint is not connected",
    "backup controller",
    "resource temporarily unavailable",
    "communication connection failure",
    "unexpected message received",
    "network is unreachable",
    "no route to host",
    "bad header",
    "missing socket",
    "slurm_msg_sendto",
)


#: Programs that run at once; more wait. Two cores start some twenty a second.
_threads = ThreadPoolExecutor(16, thread_name_prefix="slurm")


class SlurmError(Exception):
    """Slurm answered no; the text is its own."""

    @property
    def of_node(self) -> bool:
        """About the nodes that were asked for; any other is about us: our account, QOS, partition."""
        return "node" in str(self).lower()


class SlurmSilent(Exception):
    """Slurm did not answer: nothing is known, not even whether it did what was asked."""


async def run(
    argv: Sequence[str],
    *,
    feed: str = "",
    env: Mapping[str, str] | None = None,
    timeout_s: float = PATIENCE_S,
) -> str:
    """Output of a program of Slurm. Raises SlurmError, SlurmSilent.

    In a thread, and by `subprocess`, which does not copy this process to start another (vfork): uvloop's own
    way stops the loop for tens of milliseconds each, and thousands are started when a site fills.
    """
    program = _Program(argv, feed, env)
    try:
        return await asyncio.get_running_loop().run_in_executor(_threads, program.run, timeout_s)
    except asyncio.CancelledError:
        program.end()
        raise


def run_now(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout_s: float = PATIENCE_S
) -> str:
    """The same for those who have no event loop. Raises SlurmError, SlurmSilent."""
    return _Program(argv, "", env).run(timeout_s)


class _Program:
    """One that runs in a thread and may be ended from another."""

    def __init__(self, argv: Sequence[str], feed: str, env: Mapping[str, str] | None) -> None:
        self._argv, self._feed, self._env = argv, feed, env
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = threading.Event()

    def run(self, timeout_s: float) -> str:
        """What it prints. Raises SlurmError, SlurmSilent."""
        argv, pipe = self._argv, subprocess.PIPE
        if self._ended.is_set():
            raise SlurmSilent(f"{argv[0]}: was not asked")
        try:
            process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, env=self._env)
        except OSError as error:
            raise SlurmError(f"{argv[0]} cannot be run: {error.strerror or error}") from None
        self._process = process
        if self._ended.is_set():
            self._kill()
        try:
            out, err = process.communicate(self._feed.encode(), timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise SlurmSilent(f"{argv[0]}: no answer in {timeout_s:.0f} s") from None
        finally:
            if self._kill():
                _wait(process)
            else:  # not our place in the queue: others have something to ask, too
                threading.Thread(target=_wait, args=(process,), daemon=True).start()
        return _judged(argv, process.returncode, out, err)

    def end(self) -> None:
        """Nobody waits for it any more."""
        self._ended.set()
        self._kill()

    def _kill(self) -> bool:
        """False: it runs as another user, and will end by itself."""
        if self._process and self._process.returncode is None:
            try:
                self._process.kill()
            except PermissionError:
                return False
        return True


def _wait(process: subprocess.Popen[bytes]) -> None:
    with process:
        pass


def _judged(argv: Sequence[str], code: int | None, out: bytes, err: bytes) -> str:
    if code == 0:
        return out.decode(errors="replace")
    said = [line.strip() for line in err.decode(errors="replace").splitlines() if line.strip()]
    text = "; ".join(dict.fromkeys(said)) or f"exit code {code}"
    if any(word in text.lower() for word in _SILENCE):
        raise SlurmSilent(f"{argv[0]}: {text}")
    raise SlurmError(f"{argv[0]}: {text}")
