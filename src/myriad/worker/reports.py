"""Reports of a process to its node's agent, and the requests that come back.

A report is one JSON datagram. Telling must never hurt the training it tells of: an absent agent, a
full queue or a vanished socket loses the report and nothing else. While the queue is full, because the
agent had no turn on a busy machine, what recovery depends on (resumed, checkpoints, failures) is offered
for seconds; what the next report makes up for (progress, copies in memory) is dropped at once or nearly so.
"""

import errno
import json
import os
import socket
import time
from pathlib import Path
from typing import Literal

from myriad.worker import environment

#: Longer than an agent that lives goes without a turn; the kernel queues only some ten datagrams for it.
_PATIENCE_S = 10.0
#: For what may be lost: a warning, or a copy in memory that the next one replaces.
_BRIEFLY_S = 0.1
_PAUSE_S = 0.005
#: Keeps a datagram well under any socket buffer.
_TEXT_CHARS = 2000

#: Requests this process has already answered; the file may outlive the answer.
_answered: set[str] = set()


def report(
    *,
    step: int,
    tokens: int = 0,
    loss: float | None = None,
    step_s: float | None = None,
    flops: float | None = None,
) -> None:
    """One step is done: its tokens and model FLOPs over the whole gang, its loss, its duration."""
    body = {"step": step, "tokens": tokens, "loss": loss, "step_s": step_s, "flops": flops}
    _send("progress", {k: v for k, v in body.items() if v is not None}, patience_s=0.0)


def pace(*, step: int, compute_s: float) -> None:
    """How long this rank alone computed in a step, without waiting for others: a slow node shows in it."""
    _send("pace", {"step": step, "compute_s": round(compute_s, 6)}, patience_s=0.0)


def resumed(step: int) -> None:
    """State is loaded and training goes on after `step`; 0 means from scratch."""
    _send("resumed", {"step": step}, patience_s=_PATIENCE_S)


def checkpoint_saved(
    *,
    step: int,
    path: str | Path,
    bytes: int = 0,
    stall_s: float = 0.0,
    write_s: float = 0.0,
    request: str = "",
    tier: Literal["storage", "memory"] = "storage",
) -> None:
    """A checkpoint is complete, and durable unless in `memory`. `request` names the request it answers."""
    if request:
        _answered.add(request)
    _send(
        "checkpoint",
        {
            "step": step,
            "path": str(path),
            "bytes": bytes,
            "stall_s": round(stall_s, 6),
            "write_s": round(write_s, 6),
            "request": request,
            "tier": tier,
        },
        patience_s=_BRIEFLY_S if tier == "memory" else _PATIENCE_S,
    )


def should_checkpoint() -> str | None:
    """The id of a request for a checkpoint that this process has not answered yet."""
    path = environment.request_file()
    if path is None:
        return None
    try:
        request = path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return request if request and request not in _answered else None


def warn(text: str) -> None:
    """Something a person should know, though the work goes on."""
    _send("warning", {"text": text[:_TEXT_CHARS]}, patience_s=_BRIEFLY_S)


def failed(text: str) -> None:
    """Why this process is about to exit by its own fault: one line."""
    _send("failed", {"text": " ".join(text.split())[:_TEXT_CHARS]}, patience_s=_PATIENCE_S)


def _send(kind: str, body: dict[str, object], *, patience_s: float) -> None:
    path = environment.report_socket()
    if path is None:
        return
    head = {
        "kind": kind,
        "attempt": environment.attempt(),
        "rank": environment.placement().rank,
    }
    data = json.dumps(head | body).encode()
    # A socket of its own for each datagram: a forked child never shares one with its parent.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.setblocking(False)
        _offer(channel, data, path, patience_s)


def _offer(channel: socket.socket, data: bytes, path: Path, patience_s: float) -> None:
    give_up_at = time.monotonic() + patience_s
    while True:
        try:
            channel.sendto(data, os.fspath(path))
        except OSError as error:
            full = error.errno in (errno.EAGAIN, errno.ENOBUFS)
            if not full or time.monotonic() >= give_up_at:
                return
            time.sleep(_PAUSE_S)
        else:
            return
