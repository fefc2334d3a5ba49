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

Of a gang that runs as another user than Myriad (`users`), who writes what is told apart:

    orders/<attempt>/         stop, stop.<node>, request: to be read by whoever knows the attempt's name
    orders/<attempt>/go       it may start: its job looks for that after its claim, a stop takes it away first
    users/<user>/gangs/<attempt>/  claim, <node>.log, master, and the members' own copy of the plan

Only the standard library: members import it.
"""

import contextlib
import json
import os
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from myriad.engines.common import theirs

#: What a claim says when nobody may ever start the attempt.
STOPPED = "stopped"


#: A claim of somebody else's is a number, and no more is read of it.
_CLAIM_BYTES = 32
_ATTEMPT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")


#: A gang's job; what may be left of one that is over, and can be nothing else; somebody else's.
Whose = Literal["ours", "left", "theirs"]


class Owner(NamedTuple):
    """Another user whose gang it is."""

    name: str
    uid: int
    #: What the members write, and orders to them.
    says: Path
    hears: Path
    #: By node, where its replica may be.
    addresses: Mapping[str, str]


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

    def __init__(self, data: Path, users: Collection[str] = ()) -> None:
        """`users`: names of those whose gangs are not Myriad's own."""
        self.root, self._data, self._users = data / "slurm", data, users
        self._owners: dict[str, Owner] = {}

    def prepare(self) -> None:
        """Make the folders. Raises OSError."""
        for name in ("claims", "spool", "nodes", "burn-in"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
            (self.root / name).chmod(0o700)  # plans have what users put into `env`
        if self._users:
            (self.root / "orders").mkdir(exist_ok=True)
            for folder in (self.root, self.root / "orders"):
                folder.chmod(0o711)

    # ---- whose gang it is ------------------------------------------------------------------------

    def belongs(self, attempt: str, user: str, uid: int, addresses: Mapping[str, str]) -> None:
        """It runs as that user: its files are elsewhere, and read with care."""
        says, hears = self._data / "users" / user / "gangs" / attempt, self.root / "orders" / attempt
        self._owners[attempt] = Owner(user, uid, says, hears, addresses)

    def owner(self, attempt: str) -> Owner | None:
        """Whose it is; None: our own, or not known."""
        return self._owners.get(attempt)

    def address(self, attempt: str, node: str) -> str | None:
        """Where alone a replica there may be; None: wherever it says, as it is our own."""
        owner = self._owners.get(attempt)
        return owner.addresses.get(node, "") if owner else None

    def forget(self, attempt: str) -> None:
        """It is over."""
        self._owners.pop(attempt, None)

    def whose(self, name: str, user: str, me: str) -> Whose:
        """What a job of that user is which is called as ours are: anybody may call a job so."""
        owner = self._owners.get(name)
        if user == (owner.name if owner else me):
            return "ours"
        # an attempt that is over is nobody's any more: what is left of it in Slurm is to be ended. What is no
        # name of an attempt must not become one of a file either
        left = not owner and user in self._users and _ATTEMPT.fullmatch(name)
        return "left" if left else "theirs"

    # ---- attempts --------------------------------------------------------------------------------

    def of(self, attempt: str) -> Path:
        """The attempt's folder."""
        return self.root / "spool" / attempt

    def _says(self, attempt: str) -> Path:
        owner = self._owners.get(attempt)
        return owner.says if owner else self.of(attempt)

    def _hears(self, attempt: str) -> Path:
        owner = self._owners.get(attempt)
        return owner.hears if owner else self.of(attempt)

    def plan(self, attempt: str) -> Path:
        """What to start where."""
        return self.of(attempt) / "plan.json"

    def log(self, attempt: str, node: str) -> Path:
        """What a member has seen; its mtime is the member's sign of life."""
        return self._says(attempt) / f"{node}.log"

    def heard(self, attempt: str) -> Path:
        """By node, up to where the brain has its member's log on record."""
        return self.of(attempt) / "heard.json"

    def request(self, attempt: str) -> Path:
        """Exists while the attempt is asked to checkpoint."""
        return self._hears(attempt) / "request"

    def master(self, attempt: str) -> Path:
        """The port at which the gang meets, chosen on its first node."""
        return self._says(attempt) / "master"

    def stop_files(self, attempt: str, node: str) -> tuple[Path, Path]:
        """Either of them ends the attempt on the node."""
        folder = self._hears(attempt)
        return folder / "stop", folder / f"stop.{node}"

    def write_stop(self, attempt: str, wish: Mapping[str, Any], node: str = "") -> None:
        """End it, everywhere or on one node. Raises OSError."""
        everywhere, here = self.stop_files(attempt, node)
        self._open_orders(attempt)
        self._order(attempt, here if node else everywhere, json.dumps(wish))

    def write_request(self, attempt: str, request: str) -> None:
        """Ask it for a checkpoint. Raises OSError."""
        self._order(attempt, self.request(attempt), request)

    def _open_orders(self, attempt: str) -> None:
        folder = self._hears(attempt)
        folder.mkdir(parents=True, exist_ok=True)
        if attempt in self._owners:
            folder.chmod(0o711)

    def _order(self, attempt: str, path: Path, text: str) -> None:
        replace(path, text, 0o644 if attempt in self._owners else None)

    # ---- who may start it ------------------------------------------------------------------------

    def claim_file(self, attempt: str) -> Path:
        """Who may start the attempt."""
        return self.root / "claims" / attempt

    def claim(self, attempt: str) -> str:
        """The Slurm job that started it, `stopped`, or nothing yet."""
        if job := self._their_claim(attempt):
            return job
        try:
            return self.claim_file(attempt).read_text().strip()
        except FileNotFoundError:
            return ""

    def _their_claim(self, attempt: str) -> str:
        owner = self._owners.get(attempt)
        if owner is None:
            return ""
        try:
            theirs.look_anew(owner.says.parent, owner.says)
            job = theirs.text(owner.says / "claim", owner.uid, _CLAIM_BYTES).strip()
        except FileNotFoundError:
            return ""
        return job if job.isascii() and job.isdigit() else ""

    def allow(self, attempt: str) -> None:
        """A job of another user may start it, unless somebody has forbidden it. Raises OSError."""
        self._open_orders(attempt)
        go = self._hears(attempt) / "go"
        self._order(attempt, go, "go\n")
        if self.claim_file(attempt).exists():
            go.unlink(missing_ok=True)

    def forbid(self, attempt: str) -> str:
        """Let nobody start it from now on; the Slurm job that had come before, if any. Raises OSError."""
        path = self.claim_file(attempt)
        _make_once(path, f"{STOPPED}\n")
        # a job of another user looks for it after it has claimed; we look for its claim after this
        (self.root / "orders" / attempt / "go").unlink(missing_ok=True)
        self._know(attempt, read_json(self.plan(attempt)) or {})
        found = self.claim(attempt)
        if not found:  # nobody may take it for one that never began
            raise FileNotFoundError(f"{path} is there and cannot be read")
        return "" if found == STOPPED else found

    def found(self, attempt: str) -> Found | None:
        """What is to be known of an attempt; None if it has no plan. Raises OSError."""
        tree = read_json(self.plan(attempt))
        if tree is None:
            return None
        self._know(attempt, tree)
        nodes = tuple(member["node"] for member in tree["members"])
        heard = read_json(self.heard(attempt)) or {}
        lease_s, placed_at = float(tree.get("lease_s", 0.0)), int(tree.get("placed_at", 0))
        return Found(attempt, nodes, self.claim(attempt), lease_s, heard, placed_at)

    def _know(self, attempt: str, plan: Mapping[str, Any]) -> None:
        if user := plan.get("user", ""):
            addresses = {member["node"]: member["address"] for member in plan["members"]}
            self.belongs(attempt, user, plan["uid"], addresses)

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
        if owner := self._owners.get(attempt):
            # its log is not ours to make; it looks for this when it has made it
            self.write_stop(attempt, {"grace_s": 0.0}, node)
            return not theirs.exists(owner.says / f"{node}.log")
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


def replace(path: Path, text: str, mode: int | None = None) -> None:
    """Write a file as a whole. Raises OSError."""
    draft = _draft(path)
    draft.write_text(text)
    if mode is not None:
        draft.chmod(mode)
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
