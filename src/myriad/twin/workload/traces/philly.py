"""Philly's `cluster_job_log`: one JSON array of jobs, each with its attempts and the GPUs they had."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from myriad.kernel import documents
from myriad.kernel.errors import UserError
from myriad.twin.workload.traces.rows import NEVER_RAN, OUTCOMES, STILL_RAN, Flaw, Row, instant_s


def entries(path: Path) -> Iterator[tuple[int, Any]]:
    """Line number and value of each entry of the array. Raises UserError where the JSON is broken."""
    text = documents.read(path)
    decoder = json.JSONDecoder()
    line, counted = 1, 0
    at = _skip(text, 0)
    if text[at : at + 1] != "[":
        raise UserError(
            "must be a JSON array of jobs", field=f"{path.name}, line 1", value=text[at : at + 20]
        )
    at = _skip(text, at + 1)
    while text[at : at + 1] not in ("]", ""):
        line, counted = line + text.count("\n", counted, at), at
        try:
            value, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise UserError(
                error.msg,
                field=f"{path.name}, line {error.lineno}, column {error.colno}",
                remedy="Mend the JSON there: what follows cannot be told apart",
            ) from None
        yield line, value
        at = _skip(text, at)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
    if text[at : at + 1] != "]":
        line += text.count("\n", counted)
        raise UserError("ends within the array", field=f"{path.name}, line {line}", remedy="Fetch it anew")


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def read(line: int, entry: Any) -> Row | str:
    """One job. What it ran is the sum of its attempts: Philly starts what failed again, up to three times."""
    if not isinstance(entry, dict):
        raise Flaw("(entry)", str(entry)[:40], "is not a job")
    status = _text(entry, "status")
    outcome = OUTCOMES.get(status.upper())
    if outcome is None:
        raise Flaw("status", status, "is not one of Pass, Killed, Failed")
    submitted = instant_s("submitted_time", _text(entry, "submitted_time"))
    attempts = entry.get("attempts") or []
    if not isinstance(attempts, list):
        raise Flaw("attempts", str(attempts)[:40], "is not a list")
    ran, chips, first = 0.0, 0, -1.0
    for attempt in attempts:
        if not isinstance(attempt, dict) or _none(attempt.get("start_time")):
            continue
        started = instant_s("attempts.start_time", str(attempt["start_time"]))
        first = started if first < 0 else first
        if _none(attempt.get("end_time")):
            if attempt is attempts[-1]:
                return STILL_RAN
            continue
        ended = instant_s("attempts.end_time", str(attempt["end_time"]))
        if ended < started:
            raise Flaw("attempts.end_time", attempt["end_time"], "is before start_time")
        ran += ended - started
        chips = max(chips, _chips(attempt))
    if first < 0:
        return NEVER_RAN
    if chips == 0:
        raise Flaw("attempts.detail.gpus", "none", "names no GPU in any attempt")
    return Row(
        line=line,
        job=_text(entry, "jobid"),
        tenant=_text(entry, "vc"),
        kind="",
        chips=float(chips),
        submit_s=submitted,
        run_s=ran,
        wait_s=max(0.0, first - submitted),
        outcome=outcome,
    )


def _chips(attempt: dict[str, Any]) -> int:
    detail = attempt.get("detail") or []
    try:
        return sum(len(node["gpus"]) for node in detail)
    except (TypeError, KeyError):
        raise Flaw("attempts.detail", str(detail)[:40], "is not a list of {ip, gpus}") from None


def _text(entry: dict[str, Any], name: str) -> str:
    value = entry.get(name)
    if value is None:
        raise Flaw(name, None, "is missing")
    return str(value)


def _none(value: object) -> bool:
    return value is None or value in ("", "None")
