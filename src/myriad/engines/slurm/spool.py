"""The files in which engine and members meet, under `slurm/` of the shared folder.

    claims/<attempt>          who may start it: a Slurm job's id, or `stopped`; made once, never changed
    spool/<attempt>/plan.json what to start where
    spool/<attempt>/<node>.log  what the member there has seen, one JSON document a line
    spool/<attempt>/stop      end it: how gently
    spool/<attempt>/stop.<node>  end it on that node alone, at once: the node is given up
    spool/<attempt>/heard.json  up to where the logs are on record: a successor reads on from there
    spool/<attempt>/request   a checkpoint is asked for; spool/<attempt>/master: where the gang meets
    nodes/<node>              which incarnation of the node is in use
    burn-in/<node>.log        what the last burn-in of the node said
    wake                      touched by hooks of Slurm: look at it now

Only the standard library: members import it.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

#: What a claim says when nobody may ever start the attempt.
STOPPED = "stopped"


class Found(NamedTuple):
    """An attempt that somebody planned."""

    attempt: str
    nodes: tuple[str, ...]
    #: As `Spool.claim`.
    claim: str
    #: Of its members; 0: not said.
    lease_s: float
    #: As `Spool.heard`.
    heard_to: Mapping[str, int]
    #: When the brain placed it; 0: not said.
    placed_at: int


class Spool:
    """Names and small deeds; every write is whole or absent."""

    def __init__(self, data: Path) -> None:
        self.root = data / "slurm"

    def prepare(self) -> None:
        """Make the folders. Raises OSError."""
        for name in ("claims", "spool", "nodes", "burn-in"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
            (self.root / name).chmod(0o700)  # plans have what users put into `env`

    # ---- attempts --------------------------------------------------------------------------------

    def of(self, attempt: str) -> Path:
        """The attempt's folder."""
        return self.root / "spool" / attempt

    def plan(self, attempt: str) -> Path:
        """What to start where."""
        return self.of(attempt) / "plan.json"

    def log(self, attempt: str, node: str) -> Path:
        """What a member has seen; its mtime is the member's sign of life."""
        return self.of(attempt) / f"{node}.log"

    def heard(self, attempt: str) -> Path:
        """By node, up to where the brain has its member's log on record."""
        return self.of(attempt) / "heard.json"

    def request(self, attempt: str) -> Path:
        """Exists while the attempt is asked to checkpoint."""
        return self.of(attempt) / "request"

    def master(self, attempt: str) -> Path:
        """The port at which the gang meets, chosen on its first node."""
        return self.of(attempt) / "master"

    def stop_files(self, attempt: str, node: str) -> tuple[Path, Path]:
        """Either of them ends the attempt on the node."""
        folder = self.of(attempt)
        return folder / "stop", folder / f"stop.{node}"

    def claim_file(self, attempt: str) -> Path:
        """Who may start the attempt."""
        return self.root / "claims" / attempt

    def claim(self, attempt: str) -> str:
        """The Slurm job that started it, `stopped`, or nothing yet."""
        try:
            return self.claim_file(attempt).read_text().strip()
        except FileNotFoundError:
            return ""

    def forbid(self, attempt: str) -> str:
        """Let nobody start it from now on; the Slurm job that had come before, if any. Raises OSError."""
        path = self.claim_file(attempt)
        _make_once(path, f"{STOPPED}\n")
        found = self.claim(attempt)
        if not found:  # nobody may take it for one that never began
            raise FileNotFoundError(f"{path} is there and cannot be read")
        return "" if found == STOPPED else found

    def found(self, attempt: str) -> Found | None:
        """What is to be known of an attempt; None if it has no plan. Raises OSError."""
        tree = read_json(self.plan(attempt))
        if tree is None:
            return None
        nodes = tuple(member["node"] for member in tree["members"])
        heard = read_json(self.heard(attempt)) or {}
        lease_s, placed_at = float(tree.get("lease_s", 0.0)), int(tree.get("placed_at", 0))
        return Found(attempt, nodes, self.claim(attempt), lease_s, heard, placed_at)

    def all_found(self) -> list[Found]:
        """Every attempt that has a plan. Raises OSError."""
        names = sorted(path.parent.name for path in self.root.glob("spool/*/plan.json"))
        return [one for name in names if (one := self.found(name))]

    def standing(self, attempts: Iterable[str]) -> dict[str, tuple[str, bool]]:
        """Of each the claim, and whether there is a plan. Raises OSError."""
        return {name: (self.claim(name), self.plan(name).exists()) for name in attempts}

    def bar(self, attempt: str, node: str) -> bool:
        """Let no member of the attempt begin on the node from now on; False if one had begun. Raises OSError.

        The log that a member would make is made in its place, with its last word.
        """
        word = {"type": "MemberGone", "at": 0, "attempt": attempt, "node": node}
        return _make_once(self.log(attempt, node), json.dumps(word) + "\n")

    # ---- nodes -----------------------------------------------------------------------------------

    def life(self, node: str) -> tuple[int, int]:
        """How often the node was fenced so far, and when it had booted, as a Unix time (0: not known)."""
        try:
            generation, boot = (self.root / "nodes" / node).read_text().split()
            return int(generation), int(boot)
        except (FileNotFoundError, ValueError):
            return 0, 0

    def lives(self, nodes: Iterable[str]) -> dict[str, tuple[int, int]]:
        """The same for many. Raises OSError."""
        return {node: self.life(node) for node in nodes}

    def set_life(self, node: str, generation: int, boot: int) -> int:
        """Remember both; the generation that counts now: an older one never comes back. Raises OSError."""
        generation = max(generation, self.life(node)[0])
        replace(self.root / "nodes" / node, f"{generation} {boot}")
        return generation

    def set_boots(self, lives: Mapping[str, tuple[int, int]]) -> None:
        """Remember when many nodes had booted. Raises OSError."""
        for node, (generation, boot) in lives.items():
            self.set_life(node, generation, boot)

    def woken_ns(self) -> int:
        """When somebody last touched `wake`; 0: never, or the folder is away."""
        try:
            return os.stat(self.root / "wake").st_mtime_ns
        except OSError:
            return 0

    def burn_in(self, node: str) -> Path:
        """What the last burn-in of the node said."""
        return self.root / "burn-in" / f"{node}.log"


def _make_once(path: Path, text: str) -> bool:
    """Make a file as a whole unless there is one: also on file servers. Raises OSError."""
    draft = _draft(path)
    draft.write_text(text)
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True


def replace(path: Path, text: str) -> None:
    """Write a file as a whole. Raises OSError."""
    draft = _draft(path)
    draft.write_text(text)
    draft.replace(path)


def _draft(path: Path) -> Path:
    """A name that nobody else uses, on no machine and in no thread."""
    return path.with_name(f".{path.name}.{os.urandom(6).hex()}")


def write_json(path: Path, tree: Mapping[str, Any]) -> None:
    """Write a document as a whole. Raises OSError."""
    replace(path, json.dumps(tree))


def read_json(path: Path) -> dict[str, Any] | None:
    """The document, if there is one."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        tree = json.loads(path.read_text())
        return tree if isinstance(tree, dict) else None
    return None
