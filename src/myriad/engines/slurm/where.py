"""What the parts of the engine share: where things are, whom to tell, and what to wait for."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from myriad.engines.slurm import spool
from myriad.engines.slurm.asking.view import View
from myriad.engines.slurm.config import Config
from myriad.engines.slurm.tasks import Tasks
from myriad.engines.slurm.users.users import User
from myriad.kernel.ids import NodeId
from myriad.protocol import inputs


class Where(NamedTuple):
    """What the engine shares with its parts."""

    data: Path
    files: spool.Spool
    config: Config
    prefix: str
    memory: str
    tell: Callable[[inputs.Input], None]
    clock: Callable[[], int]
    #: Returns once it is certain that we lead: awaited before everything that changes the world.
    act: Callable[[], Awaitable[None]]
    #: The latest look at Slurm; waits for the first.
    seen: Callable[[], Awaitable[View]]
    #: Everybody whose gangs are not Myriad's own, by name.
    users: Mapping[str, User]
    #: What a node's incarnation is called.
    instance: Callable[[NodeId], str]
    #: Look at Slurm soon.
    hurry: Callable[[], None]
    #: What goes on beside the looks, and how the shared folder is written.
    tasks: Tasks
