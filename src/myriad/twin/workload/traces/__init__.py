"""Published job traces as work for the twin.

    trace = traces.open(Path("cluster_log.csv"))      # format recognised by its header
    trace.left_out, trace.bad_rows                    # what is not in it, and why
    trace.tenants(site), trace.arrivals(site, stream, span_ns)

rows.py says what each format is read into and how errors read, formats.py and philly.py know the columns,
reading.py opens files, trace.py makes work of rows, replay.py is the section of a scenario, nodes.py makes
sites of node lists.
"""

from myriad.twin.workload.traces.nodes import openb_site
from myriad.twin.workload.traces.reading import KINDS, counts, read
from myriad.twin.workload.traces.replay import Replay
from myriad.twin.workload.traces.trace import KNOWN, Summary, Trace, summary

#: `traces.open(path)` reads as well as `traces.read(path)`.
open = read

__all__ = [
    "KINDS",
    "KNOWN",
    "Replay",
    "Summary",
    "Trace",
    "counts",
    "open",
    "openb_site",
    "read",
    "summary",
]
