"""The output of a rank as a stream of text. Following, it goes from attempt to attempt until the end.

Files are looked at ten times a second: an engine's processes write them, and they do not tell us.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from aiohttp import web

from myriad.control.records import Job, Service
from myriad.engines.common import layout, theirs
from myriad.kernel.errors import UserError
from myriad.kernel.ids import AttemptId, attempt_of
from myriad.server.plane import Plane
from myriad.server.routing import TEXT, Ask

_LOOK_EVERY_S = 0.1
_CHUNK_BYTES = 1 << 16
#: How far back `tail` looks.
_TAIL_BYTES = 4 << 20


class Owner(Protocol):
    """A job or service whose attempts have logs."""

    folder: Path
    ranks: int

    def attempt(self, number: int) -> AttemptId | None:
        """The n-th attempt (from 1); None when it has not been placed yet."""
        ...

    @property
    def newest(self) -> int:
        """Number of the newest attempt; 0: none yet."""
        ...

    def lives(self, attempt: AttemptId) -> bool:
        """Whether more output may come of it."""
        ...

    @property
    def over(self) -> bool:
        """Whether no further attempt will come."""
        ...


class OfJob:
    """The attempts of a job."""

    def __init__(self, plane: Plane, job: Job) -> None:
        self._plane, self._job = plane, job
        self.folder = layout.job_dir(plane.home.data, job.job)
        self.ranks = job.spec.chips if job.spec.launch == "chip" else job.spec.max_nodes

    def attempt(self, number: int) -> AttemptId | None:
        """The n-th attempt."""
        return attempt_of(self._job.job, number) if 0 < number <= self._job.attempts else None

    @property
    def newest(self) -> int:
        """Number of the newest attempt."""
        return self._job.attempts

    def lives(self, attempt: AttemptId) -> bool:
        """Whether its gang is there."""
        return attempt in self._plane.state.gangs

    @property
    def over(self) -> bool:
        """Whether the job ended."""
        return self._job.outcome is not None


class OfService:
    """The replicas of a service."""

    def __init__(self, plane: Plane, service: Service) -> None:
        self._plane, self._service = plane, service
        self.folder = layout.service_dir(plane.home.data, service.service)
        self.ranks = 1

    def attempt(self, number: int) -> AttemptId | None:
        """The n-th replica ever started."""
        started = 0 < number <= self._service.attempts
        return attempt_of(self._service.service, number) if started else None

    @property
    def newest(self) -> int:
        """Number of the newest replica."""
        return self._service.attempts

    def lives(self, attempt: AttemptId) -> bool:
        """Whether the replica is there."""
        return attempt in self._plane.state.gangs

    @property
    def over(self) -> bool:
        """Whether the service was removed."""
        return self._service.removed


async def stream(ask: Ask, owner: Owner, *, rank: int, tail: int, follow: bool) -> web.StreamResponse:
    """Answer with the log. Raises UserError for a rank that cannot be."""
    if rank >= owner.ranks:
        raise UserError(
            f"there are {owner.ranks} of them", field="rank", value=rank, remedy=f"Use 0 to {owner.ranks - 1}"
        )
    response = web.StreamResponse(
        headers={"Content-Type": f"{TEXT}; charset=utf-8", "Cache-Control": "no-store"}
    )
    await response.prepare(ask.request)
    try:
        async for piece in _pieces(owner, rank, tail, follow):
            await response.write(piece)
        await response.write_eof()
    except ConnectionError:
        pass  # the client has gone, as clients of a stream do
    return response


async def _pieces(owner: Owner, rank: int, tail: int, follow: bool) -> AsyncIterator[bytes]:
    number = max(1, owner.newest)
    first = True
    while True:
        while follow and owner.attempt(number) is None and not owner.over:
            await asyncio.sleep(_LOOK_EVERY_S)
        attempt = owner.attempt(number)
        if attempt is None:
            return
        path = layout.log_file(layout.logs_dir(owner.folder, attempt), rank)
        if not first:
            yield f"--- {attempt} ---\n".encode()
        start = _tail_start(owner.folder, path, tail) if first else 0
        async for piece in _file(owner, attempt, path, start, follow):
            yield piece
        if not follow:
            return
        number, first = number + 1, False


async def _file(
    owner: Owner, attempt: AttemptId, path: Path, start: int, follow: bool
) -> AsyncIterator[bytes]:
    """From `start` to the end of the file; following, until the attempt can write no more."""
    while True:
        lives = owner.lives(attempt)  # asked before reading: what came before the end is read after
        while chunk := _read(owner.folder, path, start):
            start += len(chunk)
            yield chunk
        if not (follow and lives):
            return
        await asyncio.sleep(_LOOK_EVERY_S)


def _read(folder: Path, path: Path, start: int) -> bytes:
    try:
        with os.fdopen(theirs.opened_in(folder, path), "rb") as file:
            file.seek(start)
            return file.read(_CHUNK_BYTES)
    except FileNotFoundError:
        return b""  # its process has not begun


def _tail_start(folder: Path, path: Path, lines: int) -> int:
    """Where the last so many lines begin."""
    try:
        file = os.fdopen(theirs.opened_in(folder, path), "rb")
    except FileNotFoundError:
        return 0
    with file:
        begin = max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES)
        file.seek(begin)
        body = file.read(_TAIL_BYTES)
    at = len(body)
    if body.endswith(b"\n"):
        at -= 1
    for _ in range(lines):
        at = body.rfind(b"\n", 0, at)
        if at < 0:
            return begin
    return begin + (at + 1 if lines else len(body))
