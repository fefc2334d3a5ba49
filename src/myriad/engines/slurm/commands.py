"""Slurm's own programs, the only way in which this system speaks to Slurm.

Their text output has kept its form over all releases, where the JSON of `--json` changed with nearly every
one (docs/decisions/0013-slurm.md). An answer that does not come says nothing: it is no bad news of a node.
"""

import asyncio
import contextlib
import subprocess
import tempfile
from collections.abc import Sequence

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
)


class SlurmError(Exception):
    """Slurm answered no; the text is its own."""


class SlurmSilent(Exception):
    """Slurm did not answer: nothing is known, not even whether it did what was asked."""


async def run(argv: Sequence[str], *, feed: str = "", timeout_s: float = PATIENCE_S) -> str:
    """Output of a program of Slurm. Raises SlurmError, SlurmSilent."""
    # from a file: a program that ends before it has read a pipe makes uvloop raise what no asyncio does
    with tempfile.TemporaryFile() as given:
        given.write(feed.encode())
        given.seek(0)
        try:
            process = await asyncio.create_subprocess_exec(
                *argv, stdin=given, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
        except OSError as error:
            raise SlurmError(f"{argv[0]} cannot be run: {error.strerror or error}") from None
    try:
        async with asyncio.timeout(timeout_s):
            out, err = await process.communicate()
    except TimeoutError:
        raise SlurmSilent(f"{argv[0]}: no answer in {timeout_s:.0f} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return _judged(argv, process.returncode, out, err)


def run_now(argv: Sequence[str], *, timeout_s: float = PATIENCE_S) -> str:
    """The same for those who have no event loop. Raises SlurmError, SlurmSilent."""
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False
        )
    except OSError as error:
        raise SlurmError(f"{argv[0]} cannot be run: {error.strerror or error}") from None
    except subprocess.TimeoutExpired:
        raise SlurmSilent(f"{argv[0]}: no answer in {timeout_s:.0f} s") from None
    return _judged(argv, done.returncode, done.stdout, done.stderr)


def _judged(argv: Sequence[str], code: int | None, out: bytes, err: bytes) -> str:
    if code == 0:
        return out.decode(errors="replace")
    said = [line.strip() for line in err.decode(errors="replace").splitlines() if line.strip()]
    text = "; ".join(dict.fromkeys(said)) or f"exit code {code}"
    if any(word in text.lower() for word in _SILENCE):
        raise SlurmSilent(f"{argv[0]}: {text}")
    raise SlurmError(f"{argv[0]}: {text}")
