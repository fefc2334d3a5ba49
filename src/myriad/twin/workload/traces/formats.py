"""The published formats, one function each, with columns as their publishers document them.

Helios: HeliosData, `cluster_log.csv`. Acme: AcmeTrace, `trace_seren.csv`, `trace_kalos.csv`. OpenB:
clusterdata, cluster-trace-gpu-v2023, `openb_pod_list_*.csv`. PAI: clusterdata, cluster-trace-gpu-v2020,
`pai_task_table`. Gavel's arrivals derived from Philly, and a slice of Helios in another simulator's
columns, as both are passed around.
"""

import math
from collections.abc import Callable
from typing import Final, NamedTuple

from myriad.twin.workload.traces.rows import NEVER_RAN, NO_CHIPS, Cells, Flaw, Row, ran_s

#: Seconds of one step where Gavel's arrivals say only how many: with this the mean run time is that of
#: Philly (18,006 s over 4,687,343 steps on average; derived, AcmeTrace cluster summary). It says nothing
#: about a single job.
GAVEL_STEP_S: Final = 18006.055 / 4687343.0


class Format(NamedTuple):
    """How a table is recognised, and read."""

    needs: tuple[str, ...]
    read: Callable[[Cells], Row | str]
    about: str


def helios(cells: Cells) -> Row | str:
    """One line of a Helios cluster log. Its virtual clusters have chips of their own."""
    return _batch(cells, tenant=cells.text("vc"), kind="")


def acme(cells: Cells) -> Row | str:
    """One line of an Acme trace; Seren and Kalos differ in columns that are not needed."""
    return _batch(cells, tenant=cells.text("user"), kind=cells.text("type"))


def _batch(cells: Cells, *, tenant: str, kind: str) -> Row | str:
    chips = cells.number("gpu_num")
    if chips == 0:
        return NO_CHIPS
    outcome = cells.outcome("state")
    submitted = cells.instant_s("submit_time")
    if not cells.given("start_time") and not cells.given("duration"):
        return NEVER_RAN
    return Row(
        line=cells.line,
        job=cells.text("job_id"),
        tenant=tenant,
        kind=kind,
        chips=chips,
        submit_s=submitted,
        run_s=ran_s(cells),
        wait_s=cells.number("queue") if cells.given("queue") else -1.0,
        outcome=outcome,
    )


def helios_slice(cells: Cells) -> Row | str:
    """One line of a slice of Helios in the columns of an open simulator; it submits in microseconds."""
    chips = cells.number("num_chips")
    if chips == 0:
        return NO_CHIPS
    return Row(
        line=cells.line,
        job=cells.text("job_id"),
        tenant=cells.text("tenant"),
        kind=cells.text("class"),
        chips=chips,
        submit_s=cells.number("submit_time") / 1e6,
        run_s=cells.number("duration_s"),
        wait_s=-1.0,
        outcome=cells.outcome("final_status"),
    )


def openb(cells: Cells) -> Row | str:
    """One pod. Parts of a GPU (`gpu_milli`) get whole chips; who runs at the end ends there, successfully."""
    count = cells.number("num_gpu")
    milli = cells.number("gpu_milli")
    if count == 0 or milli == 0:
        return NO_CHIPS
    created = cells.number("creation_time")
    if not cells.given("scheduled_time"):
        return NEVER_RAN
    started, ended = cells.number("scheduled_time"), cells.number("deletion_time")
    if ended < started:
        raise Flaw("deletion_time", cells.text("deletion_time"), "is before scheduled_time")
    phase = cells.text("pod_phase")
    if phase not in ("Running", "Succeeded", "Failed", "Pending"):
        raise Flaw("pod_phase", phase, "is not one of Running, Succeeded, Failed, Pending")
    return Row(
        line=cells.line,
        job=cells.text("name"),
        tenant=cells.text("qos"),
        kind=cells.text("qos"),
        chips=count * milli / 1000.0,
        submit_s=created,
        run_s=ended - started,
        wait_s=max(0.0, started - created),
        outcome="failed" if phase == "Failed" else "succeeded",
    )


def gavel(cells: Cells) -> Row | str:
    """One arrival of Gavel's Philly: gang sizes and steps, no seconds."""
    chips = cells.number("gpus")
    if chips == 0:
        return NO_CHIPS
    return Row(
        line=cells.line,
        job=str(cells.line),
        tenant=cells.text("vc"),
        kind=cells.text("model").partition(" (")[0],
        chips=chips,
        submit_s=cells.number("submit_s"),
        run_s=cells.number("steps") * GAVEL_STEP_S,
        wait_s=-1.0,
        outcome="succeeded",
    )


def pai(cells: Cells) -> Row | str:
    """One task of PAI: instances of `plan_gpu` hundredths of a GPU each; submitted when it was started."""
    if not cells.given("plan_gpu"):
        return NO_CHIPS
    each = cells.number("plan_gpu") / 100.0
    if each == 0:
        return NO_CHIPS
    if not cells.given("start_time"):
        return NEVER_RAN
    if not cells.given("end_time"):
        return NEVER_RAN if cells.text("status") == "Waiting" else "still ran when the trace was taken"
    started, ended = cells.number("start_time"), cells.number("end_time")
    if ended < started:
        raise Flaw("end_time", cells.text("end_time"), "is before start_time")
    status = cells.text("status")
    count = cells.number("inst_num")
    # instances of parts of a GPU each get a chip of their own
    chips = each if count == 1 else count * math.ceil(each)
    return Row(
        line=cells.line,
        job=f"{cells.text('job_name')}-{cells.text('task_name')}",
        tenant=cells.text("gpu_type") or "any",
        kind=cells.text("task_name"),
        chips=chips,
        submit_s=started,
        run_s=ended - started,
        wait_s=-1.0,
        outcome="succeeded" if status == "Terminated" else "failed",
    )


#: By name; the first whose columns are all there is taken.
FORMATS: Final[dict[str, Format]] = {
    "helios": Format(
        ("job_id", "vc", "gpu_num", "state", "submit_time", "duration"), helios, "Helios cluster_log.csv"
    ),
    "acme": Format(
        ("job_id", "user", "gpu_num", "type", "state", "submit_time", "duration"), acme, "Acme trace_*.csv"
    ),
    "helios-slice": Format(
        ("job_id", "tenant", "class", "submit_time", "num_chips", "duration_s", "final_status"),
        helios_slice,
        "a slice of Helios in simulator columns",
    ),
    "openb": Format(
        ("name", "num_gpu", "gpu_milli", "creation_time", "deletion_time", "scheduled_time", "pod_phase"),
        openb,
        "Alibaba 2023 openb_pod_list_*.csv",
    ),
    "philly-gavel": Format(("vc", "model", "submit_s", "gpus", "steps"), gavel, "Gavel's arrivals of Philly"),
    "pai": Format(
        ("job_name", "task_name", "inst_num", "status", "start_time", "end_time", "plan_gpu"),
        pai,
        "Alibaba 2020 pai_task_table.csv",
    ),
}
#: The task table of PAI comes without its header, which is a file of its own.
PAI_HEADER: Final = (
    *("job_name", "task_name", "inst_num", "status", "start_time", "end_time"),
    *("plan_cpu", "plan_mem", "plan_gpu", "gpu_type"),
)
