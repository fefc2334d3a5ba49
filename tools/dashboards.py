"""The Grafana dashboards of deploy/grafana from a few lines each: `python -m tools.dashboards` writes them.

A panel is a title, a unit and PromQL by legend; rows hold panels side by side. The metrics are listed in
docs/guide/production.md.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parents[1] / "deploy" / "grafana"
#: Grafana's grid is so wide; a panel is so high.
_WIDTH, _HEIGHT = 24, 8
_SOURCE = {"type": "prometheus", "uid": "${source}"}


class Panel(NamedTuple):
    """One picture. `kind`: timeseries or stat. `stack`: parts of a whole."""

    title: str
    unit: str
    queries: Mapping[str, str]
    kind: str = "timeseries"
    stack: bool = False
    help: str = ""


class Board(NamedTuple):
    """One dashboard: rows of panels."""

    name: str
    title: str
    rows: Sequence[tuple[str, Sequence[Panel]]]


def rate(metric: str, by: str = "", where: str = "") -> str:
    """Increase a second."""
    inner = f"rate({metric}{where}[$__rate_interval])"
    return f"sum by ({by}) ({inner})" if by else f"sum({inner})"


def quantile(share: float, metric: str, by: str = "") -> str:
    """Of a histogram."""
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket[$__rate_interval])))"


def quantiles(metric: str, by: str = "") -> dict[str, str]:
    """The middle and the end."""
    label = f"{{{{{by}}}}} " if by else ""
    return {f"{label}p{share:g}": quantile(share / 100, metric, by) for share in (50, 99)}


def share_of_time(bucket: str) -> str:
    """Chip-time in a bucket, of all there was. No rate: what was productive can turn out to be lost."""
    where = f'{{bucket=~"{bucket}"}}' if bucket else ""
    spent = f"sum by (bucket) (delta(myriad_chip_seconds{where}[$__rate_interval]))"
    return f"{spent} / scalar(sum(increase(myriad_capacity_chip_seconds_total[$__rate_interval])))"


def hourly(metric: str, label: str, *values: str) -> str:
    """How many in the last hour, of some kinds."""
    return f'increase({metric}{{{label}=~"{"|".join(values)}"}}[1h])'


USEFUL = "productive|serving_busy"
WASTED = "lost|detect|restart|checkpoint|straggling|exposed|throttled"
FACTS, STOPPED = "myriad_facts_total", "myriad_gangs_stopped_total"

SITE = Board(
    "site",
    "Myriad: site",
    (
        (
            "Now",
            (
                Panel("Leader", "none", {"": 'sum(myriad_role{role="leader"})'}, "stat"),
                Panel("Chips", "none", {"all": "myriad_chips", "free": "myriad_chips_free"}, "stat"),
                Panel(
                    "Jobs",
                    "none",
                    {"running": "myriad_jobs_running", "waiting": "myriad_jobs_waiting"},
                    "stat",
                ),
                Panel("Goodput", "percentunit", {"": f"sum({share_of_time(USEFUL)})"}, "stat"),
                Panel("Open incidents", "none", {"": "myriad_incidents_open"}, "stat"),
            ),
        ),
        (
            "Where the chips go",
            (
                Panel("Chips by use", "none", {"{{bucket}}": "myriad_chips_by_use"}, stack=True),
                Panel("Chip-time by bucket", "percentunit", {"{{bucket}}": share_of_time("")}, stack=True),
            ),
        ),
        (
            "Nodes",
            (
                Panel("Nodes by state", "none", {"{{state}}": "myriad_nodes"}, stack=True),
                Panel("Nodes lost an hour", "none", {"lost": "increase(myriad_node_losses_total[1h])"}),
                Panel("Incidents a day", "none", {"{{kind}}": "increase(myriad_incidents_total[1d])"}),
            ),
        ),
        (
            "Tenants and energy",
            (
                Panel("Chips held by tenant", "none", {"{{tenant}}": "myriad_tenant_chips"}, stack=True),
                Panel(
                    "Power of held chips (estimated)", "watt", {"power": rate("myriad_energy_joules_total")}
                ),
            ),
        ),
    ),
)

JOBS = Board(
    "jobs",
    "Myriad: jobs and queue",
    (
        (
            "Queue",
            (
                Panel(
                    "Waiting by reason", "none", {"{{reason}}": "myriad_jobs_waiting_by_reason"}, stack=True
                ),
                Panel("Longest wait", "s", {"oldest": "myriad_queue_oldest_wait_seconds"}),
            ),
        ),
        (
            "Jobs",
            (
                Panel("Jobs by state", "none", {"{{state}}": "myriad_jobs"}, stack=True),
                Panel(
                    "Jobs that ended, an hour",
                    "none",
                    {"{{outcome}}": "increase(myriad_jobs_ended_total[1h])"},
                ),
                Panel("Gangs", "none", {"live": "myriad_gangs"}),
            ),
        ),
        (
            "Why gangs end",
            (
                Panel(
                    "Ended gangs an hour", "none", {"{{cause}}": "increase(myriad_gangs_stopped_total[1h])"}
                ),
                Panel(
                    "Admitted and refused an hour",
                    "none",
                    {
                        "{{kind}}": hourly(FACTS, "kind", "JobAdmitted", "Refused", "JobHeld"),
                    },
                ),
            ),
        ),
    ),
)

RECOVERY = Board(
    "recovery",
    "Myriad: recovery and goodput",
    (
        (
            "Figures of merit, since the books began",
            (
                Panel("Goodput", "percentunit", {"": "myriad_goodput_ratio"}, "stat"),
                Panel("ETTR", "percentunit", {"": "myriad_ettr_ratio"}, "stat"),
                Panel("MFU", "percentunit", {"": "myriad_mfu_ratio"}, "stat"),
                Panel("Availability", "percentunit", {"": "myriad_availability_ratio"}, "stat"),
            ),
        ),
        (
            "Goodput over time",
            (
                Panel(
                    "Useful share of capacity",
                    "percentunit",
                    {"{{bucket}}": share_of_time(USEFUL)},
                    stack=True,
                ),
                Panel("What is lost", "percentunit", {"{{bucket}}": share_of_time(WASTED)}, stack=True),
            ),
        ),
        (
            "Failures",
            (
                Panel("Time between failures of a node", "s", {"MTTF": "myriad_node_mttf_seconds"}),
                Panel(
                    "Time to repair, to resume",
                    "s",
                    {"node": "myriad_node_mttr_seconds", "job": "myriad_job_recovery_seconds"},
                ),
                Panel(
                    "Work that would be lost", "s", {"oldest checkpoint": "myriad_checkpoint_age_seconds_max"}
                ),
            ),
        ),
        (
            "What is done about it, an hour",
            (
                Panel(
                    "Checkpoints and rungs",
                    "none",
                    {
                        "{{kind}}": hourly(
                            FACTS, "kind", "CheckpointRecorded", "RungTaken", "NodeCordoned", "NodeSlow"
                        )
                    },
                ),
                Panel(
                    "Gangs that ended for nodes",
                    "none",
                    {"{{cause}}": hourly(STOPPED, "cause", "node", "moved", "preempted")},
                ),
            ),
        ),
    ),
)

CONTROL = Board(
    "control",
    "Myriad: control plane",
    (
        (
            "Who runs",
            (
                Panel("Role", "none", {"{{instance}} {{role}}": "myriad_role"}, "stat"),
                Panel(
                    "Version",
                    "none",
                    {"{{instance}} {{version}} schema {{schema}}": "myriad_build_info"},
                    "stat",
                ),
                Panel("Journal", "none", {"{{instance}}": "myriad_journal_sequence"}, "stat"),
            ),
        ),
        (
            "Journal",
            (
                Panel("Commit", "s", quantiles("myriad_journal_commit_seconds")),
                Panel("Entries of a commit", "none", quantiles("myriad_journal_commit_entries")),
                Panel("Facts a second", "none", {"{{kind}}": rate("myriad_facts_total", "kind")}, stack=True),
            ),
        ),
        (
            "Deciding",
            (
                Panel("Decision", "s", quantiles("myriad_decision_seconds")),
                Panel(
                    "Inputs a second", "none", {"{{kind}}": rate("myriad_inputs_total", "kind")}, stack=True
                ),
                Panel("Turns a second", "none", {"turns": rate("myriad_turns_total")}),
            ),
        ),
        (
            "Process",
            (
                Panel("Event loop lag", "s", quantiles("myriad_event_loop_lag_seconds", "instance")),
                Panel("CPU", "percentunit", {"{{instance}}": rate("process_cpu_seconds_total", "instance")}),
                Panel("Memory", "bytes", {"{{instance}}": "process_resident_memory_bytes"}),
                Panel("Open files", "none", {"{{instance}}": "process_open_fds"}),
            ),
        ),
    ),
)

SERVING = Board(
    "serving",
    "Myriad: serving",
    (
        (
            "Requests",
            (
                Panel(
                    "Requests a second",
                    "reqps",
                    {"{{service}} {{code}}": rate("myriad_gateway_requests_total", "service, code")},
                    stack=True,
                ),
                Panel(
                    "At replicas, waiting",
                    "none",
                    {
                        "in flight": "myriad_gateway_requests_in_flight",
                        "waiting": "myriad_gateway_requests_queued",
                    },
                ),
                Panel(
                    "Broken streams a minute",
                    "none",
                    {"{{service}}": "increase(myriad_gateway_streams_broken_total[1m])"},
                ),
            ),
        ),
        (
            "Times",
            (
                Panel("First token", "s", quantiles("myriad_gateway_first_token_seconds", "service")),
                Panel("Whole answer", "s", quantiles("myriad_gateway_request_seconds", "service")),
            ),
        ),
        (
            "Replicas and tokens",
            (
                Panel(
                    "Replicas ready",
                    "none",
                    {
                        "{{service}} ready": "myriad_service_replicas_ready",
                        "{{service}} wanted": "myriad_service_replicas_wanted",
                    },
                ),
                Panel(
                    "Tokens a second",
                    "none",
                    {"{{service}} {{kind}}": rate("myriad_tokens_total", "service, kind")},
                ),
                Panel(
                    "Tokens a second by tenant",
                    "none",
                    {"{{tenant}}": rate("myriad_tokens_total", "tenant")},
                    stack=True,
                ),
            ),
        ),
    ),
)

BOARDS = (SITE, JOBS, RECOVERY, CONTROL, SERVING)


def document(board: Board) -> dict[str, Any]:
    """The dashboard as Grafana imports it."""
    source = {"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    return {
        "uid": f"myriad-{board.name}",
        "title": board.title,
        "tags": ["myriad"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [source]},
        "links": [{"type": "dashboards", "tags": ["myriad"], "title": "Myriad", "asDropdown": True}],
        "panels": list(_panels(board)),
    }


def _panels(board: Board) -> Iterator[dict[str, Any]]:
    number, y = 0, 0
    for title, panels in board.rows:
        number += 1
        yield {"id": number, "type": "row", "title": title, "collapsed": False, "panels": [],
               "gridPos": {"x": 0, "y": y, "w": _WIDTH, "h": 1}}  # fmt: skip
        y += 1
        width = _WIDTH // len(panels)
        height = 5 if all(panel.kind == "stat" for panel in panels) else _HEIGHT
        for column, panel in enumerate(panels):
            number += 1
            place = {"x": column * width, "y": y, "w": width, "h": height}
            yield _panel(panel, number, place)
        y += height


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    drawn: dict[str, Any] = {"lineWidth": 1, "fillOpacity": 30 if panel.stack else 0, "showPoints": "never"}
    if panel.stack:
        drawn["stacking"] = {"mode": "normal"}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.help,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0, "custom": drawn if panel.kind == "timeseries" else {}},
            "overrides": [],
        },
        "targets": [
            {
                "refId": chr(ord("A") + k),
                "expr": query,
                "legendFormat": legend or panel.title,
                "datasource": _SOURCE,
            }
            for k, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def text(board: Board) -> str:
    """What the file holds."""
    return json.dumps(document(board), indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    """Write them all."""
    for board in BOARDS:
        path = FOLDER / f"{board.name}.json"
        path.write_text(text(board), encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
