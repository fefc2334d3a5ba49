"""How every benchmark ends: one JSON line that says what was measured, against what, and the ratio."""

import json
import os
import platform
from collections.abc import Sequence

import numpy as np


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest of the rounds."""
    return {
        "median": round(float(np.median(values)), 6),
        "min": round(min(values), 6),
        "max": round(max(values), 6),
    }


def finish(
    name: str,
    value: float,
    unit: str,
    peer: str,
    peer_value: float,
    *,
    better: str = "higher",
    **more: object,
) -> None:
    """Print the last line. `ratio` is value / peer_value; `better` says which way is good."""
    line = {
        "name": name,
        "value": round(value, 6),
        "unit": unit,
        "peer": peer,
        "peer_value": round(peer_value, 6),
        "ratio": round(value / peer_value, 3) if peer_value else None,
        "better": better,
        **more,
        "machine": f"{os.cpu_count()} x {platform.machine()}, Python {platform.python_version()}",
        "load_1m": round(os.getloadavg()[0], 2),
    }
    print(json.dumps(line), flush=True)
