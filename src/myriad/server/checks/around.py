"""Checks of what is around: the journal's end, ports, the database, and the control plane that runs."""

import http.client
import socket
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from myriad.control import policyfile, sitefile
from myriad.control.sitefile import Setup
from myriad.kernel.errors import UserError
from myriad.kernel.findings import Finding, fail, ok, skip, warn
from myriad.protocol import wire
from myriad.server.checks import folders
from myriad.store import head
from myriad.store.postgres import connection
from myriad.store.sqlite import SqliteJournal

_PATIENCE_S = 5.0


def site(path: Path | None, policy: str = "") -> tuple[Finding, Setup | None]:
    """The site file, as `myriad up` would read it."""
    if path is None:
        return skip("site file", "not given: this machine is the site"), None
    try:
        setup = sitefile.read(path)
        if policy:
            setup = setup.under(policyfile.choose(policy))
    except UserError as error:
        return fail("site file", error.problem, error.remedy or f"Mend {path}"), None
    return ok("site file", f"{setup.site.name}: {setup.site.chip_count} chips"), setup


def journal(path: Path) -> Finding:
    """Its last record is the one that was acknowledged last, whole, and of a schema we read."""
    if not path.exists():
        if mark := head.read(path):
            remedy = f"Put {path} back, with its -wal file, or restore a backup"
            return fail("journal", f"{path} is gone, {mark.seq} records were acknowledged in it", remedy)
        return ok("journal", f"{path} is made by the first myriad up")
    try:
        store = SqliteJournal(path, read_only=True)
    except UserError as error:
        return fail("journal", error.problem, error.remedy or "Run myriad journal --verify")
    try:
        mark = head.read(path)
        seq = mark.seq if mark else 0
        for record in store.read(max(0, seq - 1)):
            wire.decode(record.body)
            seq = record.seq
            if not mark:
                break
    except UserError as error:
        return fail(
            "journal", f"{error.field}: {error.problem}", error.remedy or "Run myriad journal --verify"
        )
    finally:
        store.close()
    if not mark:
        remedy = f"Run myriad journal --verify; if all is well, the next start writes {path.name}.head anew"
        return warn("journal", f"{path.name}.head is missing: a lost end would not be noticed", remedy)
    return ok("journal", f"{seq} records; the last one is whole and the one that was acknowledged")


def port(name: str, host: str, number: int, holder: int) -> Finding:
    """Free, or ours."""
    check = f"port {number}"
    if holder:
        return ok(check, f"{name}: held by our control plane (pid {holder})")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, number), family=family):
            return ok(check, f"{name}: free")
    except (OSError, OverflowError) as error:
        said = getattr(error, "strerror", "") or str(error)
        remedy = f"See who has it (ss -ltnp 'sport = :{number}'), end it, or give another port"
        return fail(check, f"{name}: {said}", remedy)


def control_plane(api_url: str) -> Iterator[Finding]:
    """The one that runs: does it answer, is it of our version, does its clock agree?"""
    parts = urlsplit(api_url)
    line = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=_PATIENCE_S)
    try:
        asked = time.time()
        line.request("GET", "/healthz")
        answer = line.getresponse()
        answered = time.time()
        date, body = answer.getheader("Date", ""), answer.read()
        if answer.status != 200:
            raise OSError(f"answers {answer.status}")
        told = msgspec.json.decode(body, type=dict[str, Any])
    except (OSError, http.client.HTTPException, msgspec.MsgspecError) as error:
        remedy = "journalctl -u myriad, or server.log of the home; then start it again"
        yield fail("control plane", f"{api_url}: {error}", remedy)
        return
    finally:
        line.close()
    ours = metadata.version("myriad")
    if told.get("version") != ours:
        remedy = "Restart it after an upgrade, or use the command of its own version"
        yield warn("control plane", f"{api_url} is version {told.get('version')}, this is {ours}", remedy)
    else:
        yield ok(
            "control plane", f"{api_url}: {told.get('role', 'leader')}, journal at {told.get('journal_seq')}"
        )
    if date:
        shown = parsedate_to_datetime(date).timestamp()  # whole seconds, rounded down
        yield folders.clock(folders.skew(shown, shown + 1.0, asked, answered), "the control plane")


def database(url: str) -> Iterator[Finding]:
    """PostgreSQL, where it is the journal: does it answer, is it new enough, does its clock agree?"""
    if not url:
        yield skip("postgresql", "not given (--journal postgresql://…)")
        return
    try:
        with connection.connect(url) as line:
            before = time.time()
            row = line.execute(
                "SELECT extract(epoch FROM clock_timestamp())::float8, current_setting('server_version'),"
                " pg_is_in_recovery()"
            ).fetchone()
            after = time.time()
    except UserError as error:
        yield fail("postgresql", error.problem, error.remedy or "Check the address")
        return
    except connection.Failure as error:
        yield fail("postgresql", str(error).strip().replace("\n", "; "), "Look into the log of PostgreSQL")
        return
    assert row
    now, version, replica = row
    if replica:
        yield fail("postgresql", f"{version}, a read-only replica", "Name the primary in --journal")
    else:
        yield ok("postgresql", f"{version}, the primary, syncs what it commits")
    yield folders.clock(folders.skew(now, now, before, after), "PostgreSQL")
