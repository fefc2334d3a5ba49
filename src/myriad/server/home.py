"""The home folder of one control plane: what lies where, who holds it, and how clients find the server."""

import fcntl
import os
from pathlib import Path

import msgspec

from myriad.kernel.errors import UserError


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What a client on this machine needs: written for the owner's eyes alone."""

    api_url: str
    gateway_url: str
    key: str
    #: Where its journal is, and what its nodes share; empty: in the home.
    journal: str = ""
    data: str = ""


class Home:
    """One folder. `hold` makes this process its control plane until it ends.

    `data` is the folder that all nodes share, and a leader with its standbys: jobs, services. The home's own,
    if no other is given.
    """

    def __init__(self, folder: Path, data: Path | None = None) -> None:
        self.folder = folder.absolute()
        self.data = data.absolute() if data else self.folder
        self.journal = self.folder / "journal.db"
        self.context_file = self.folder / "context.json"
        self.pid_file = self.folder / "server.pid"
        self.site_file = self.folder / "site.yaml"
        self.policy_file = self.folder / "policy.yaml"
        self._lock = -1

    def hold(self) -> None:
        """Become the control plane of this home. Raises UserError when another one lives."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.pid_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UserError(
                error.strerror or str(error),
                field="home",
                value=str(self.folder),
                remedy="Give a folder that this user may write (--home or MYRIAD_HOME)",
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = self.pid_file.read_text().strip()
            self.release()
            raise UserError(
                f"is held by a control plane that runs (pid {pid or 'unknown'})",
                field="home",
                value=str(self.folder),
                remedy="Stop it with myriad down, or give another --home",
                status=409,
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let another control plane have it. Idempotent."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def context(self) -> Context | None:
        """What was written at the last start, if it means something."""
        try:
            return msgspec.json.decode(self.context_file.read_bytes(), type=Context)
        except (OSError, msgspec.DecodeError, msgspec.ValidationError):
            return None

    def write_context(self, context: Context) -> None:
        """Replace the file as a whole, readable by the owner alone."""
        draft = self.context_file.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(context)))
        draft.replace(self.context_file)

    def model_of(self, job: str) -> Path:
        """Where a job's exported model lies."""
        return self.data / "jobs" / job / "output" / "model"
