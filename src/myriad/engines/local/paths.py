"""Where everything of one home folder lies. The server reads logs and results by these names too."""

import hashlib
import os
import stat
import tempfile
from pathlib import Path

#: Addresses of unix sockets hold 107 bytes; the longest name under the folder is `zygote.sock`.
_ADDRESS_BYTES = 107
_SHARED_MEMORY = Path("/dev/shm")


def node_dir(home: Path, node: str) -> Path:
    """What one node keeps: its record, its log, its requests."""
    return home / "nodes" / node


def agent_record(home: Path, node: str) -> Path:
    """Which process is the node's agent, and where it listens."""
    return node_dir(home, node) / "agent.json"


def agent_log(home: Path, node: str) -> Path:
    """What the agent itself has to say."""
    return node_dir(home, node) / "agent.log"


def agent_lock(home: Path, node: str) -> Path:
    """Held by the node's one agent as long as it lives."""
    return node_dir(home, node) / "agent.lock"


def attempts_seen(home: Path, node: str) -> Path:
    """Every attempt that was started or fenced here, by any incarnation of the node."""
    return node_dir(home, node) / "attempts"


def requests_file(home: Path, node: str, attempt: str) -> Path:
    """Exists while the attempt is asked to checkpoint."""
    return node_dir(home, node) / "requests" / attempt


def memory_root(home: Path) -> Path:
    """What nodes keep in memory: on a file system of the machine's memory where there is one."""
    if os.access(_SHARED_MEMORY, os.W_OK):
        return _private_dir(_SHARED_MEMORY, home)
    return home / "memory"


def memory_dir(home: Path, node: str, instance: str) -> Path:
    """What one incarnation of a node keeps in memory: a folder for each job. The next never looks at it."""
    return memory_root(home) / node / instance


def zygote_record(home: Path) -> Path:
    """Which process is the home's zygote, and where it listens."""
    return home / "nodes" / "zygote.json"


def zygote_log(home: Path) -> Path:
    """What the zygote has to say, above all why it did not start."""
    return home / "nodes" / "zygote.log"


def zygote_lock(home: Path) -> Path:
    """Held by the home's one zygote as long as it lives."""
    return home / "nodes" / "zygote.lock"


def socket(home: Path, node: str, name: str) -> Path:
    """Where `name` (agent, report, zygote) of a node listens: in the home, if an address can hold that."""
    wanted = node_dir(home, node) / f"{name}.sock" if node else home / "nodes" / f"{name}.sock"
    if len(os.fsencode(wanted)) <= _ADDRESS_BYTES:
        return wanted
    return _short_dir(home) / (f"{node}.{name}" if node else name)


def _short_dir(home: Path) -> Path:
    """A private folder with a short path that belongs to this home alone."""
    return _private_dir(Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()), home)


def _private_dir(base: Path, home: Path) -> Path:
    digest = hashlib.blake2b(os.fsencode(home), digest_size=6).hexdigest()
    folder = base / f"myriad-{os.getuid()}-{digest}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is not a private folder of this user: remove it")
    return folder
