"""Whether a gang that has room now, but on more racks than it needs, waits a little for fewer.

On a full site chips come free a few at a time. Who takes the first that are enough takes them from many
racks, and gives back as many holes when it ends. A wait of a small share of the run time lets more of them
gather (delay scheduling: Zaharia et al., EuroSys 2010).
"""

import numpy as np

from myriad.fleet.columns import Columns
from myriad.kernel.units import Instant
from myriad.schedule.asks import Ask
from myriad.schedule.board import Board


def until(
    columns: Columns,
    board: Board,
    share: float,
    ask: Ask,
    nodes: int,
    racks: int,
    now: Instant,
    *,
    decides: bool,
) -> Instant:
    """Until when it waits; 0: it does not. Who `decides` begins its time; who asks only looks."""
    if not share or ask.claims or racks <= fewest(columns, nodes):
        return 0
    due = board.gathers.get(ask.owner) or now + int(share * ask.run_on(nodes))
    if decides:
        board.gathers[ask.owner] = due
    return due if due > now else 0


def fewest(columns: Columns, nodes: int) -> int:
    """Racks that a gang of so many nodes needs on an empty site."""
    sizes = np.sort([len(rows) for rows in columns.rack_rows])[::-1]
    return int(np.searchsorted(np.cumsum(sizes), nodes)) + 1
