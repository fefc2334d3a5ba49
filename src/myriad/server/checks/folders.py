"""Checks of folders: the home (rights, room, disk) and the data folder that nodes share (promises, clock)."""

import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from myriad.kernel.findings import Finding, fail, ok, skip, warn
from myriad.kernel.units import show_span

_GIB: Final = 1 << 30
_ROOM_MIN: Final = _GIB
_ROOM: Final = 10 * _GIB
_INODES_MIN: Final = 10_000
_SHARE: Final = 0.05
_SYNCS: Final = 50
_SYNC_SLOW_S: Final = 0.020
#: A shared folder's clock may differ by so much before leases and logs mislead; and before they are wrong.
_SKEW_S: Final = 1.0
_SKEW_MOST_S: Final = 5.0
_FAR: Final = ("nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "beegfs", "ceph", "fuse.", "9p", "glusterfs")
_CHRONY: Final = "Let one time service (chrony) keep both machines: chronyc tracking"


def home(folder: Path) -> Iterator[Finding]:
    """Who owns it and who may read it."""
    if not folder.exists():
        yield _unborn(folder)
        return
    found = folder.stat()
    if found.st_uid != os.geteuid():
        remedy = f"Run as its owner (user id {found.st_uid}), or: chown -R $USER {folder}"
        yield fail("home", f"{folder} belongs to user id {found.st_uid}", remedy)
    elif not folder.is_dir() or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield fail("home", f"{folder} cannot be written", f"chmod 700 {folder}")
    elif mode := stat.S_IMODE(found.st_mode) & 0o077:
        yield fail("home", f"{folder} is open to others (mode …{mode:02o})", f"chmod 700 {folder}")
    else:
        yield ok("home", f"{folder}, mode 0700")
    yield _keys(folder)
    if kind := _far(folder):
        remedy = (
            "Put the home on a local disk, or the journal into PostgreSQL (--journal); share --data instead"
        )
        yield warn("home's disk", f"{kind}: SQLite's journal is not safe on shared file systems", remedy)


def _unborn(folder: Path) -> Finding:
    parent = next(one for one in folder.parents if one.exists())
    if not os.access(parent, os.W_OK | os.X_OK):
        return fail(
            "home", f"{folder} cannot be made in {parent}", f"Give another --home, or rights on {parent}"
        )
    return ok("home", f"{folder} is made by the first myriad up")


def _keys(folder: Path) -> Finding:
    files = [folder / name for name in ("context.json", "keys.json")]
    open_to_all = [str(one) for one in files if one.exists() and stat.S_IMODE(one.stat().st_mode) & 0o077]
    if open_to_all:
        remedy = f"chmod 600 {' '.join(open_to_all)}; others read them: issue new keys and revoke these"
        return fail("keys", f"others may read {', '.join(open_to_all)}", remedy)
    there = [one.name for one in files if one.exists()]
    return ok("keys", f"{', '.join(there)}: for their owner alone" if there else "none yet")


def _far(folder: Path) -> str:
    """The type of a file system that is not of this machine; empty: it is."""
    best, kind = "", ""
    for line in Path("/proc/mounts").read_text().splitlines():
        where, what = line.split(" ")[1:3]
        where = where.replace("\\040", " ")
        inside = str(folder) == where or str(folder).startswith(where.rstrip("/") + "/")
        if inside and len(where) >= len(best):
            best, kind = where, what
    return kind if kind.startswith(_FAR) else ""


def room(name: str, folder: Path) -> Finding:
    """Free space and inodes."""
    check = f"{name}: room"
    where = folder if folder.exists() else next(one for one in folder.parents if one.exists())
    space, nodes = shutil.disk_usage(where), os.statvfs(where)
    free = f"{space.free / _GIB:.1f} GiB free of {space.total / _GIB:.0f}"
    if nodes.f_files:
        free += f", {nodes.f_favail:,} inodes"
    remedy = f"Free space on the file system of {where}, or move the folder"
    if space.free < _ROOM_MIN or (nodes.f_files and nodes.f_favail < _INODES_MIN):
        return fail(check, free, remedy)
    few = nodes.f_files and nodes.f_favail < _SHARE * nodes.f_files
    if space.free < min(_ROOM, _SHARE * space.total) or few:
        return warn(check, free, remedy)
    return ok(check, free)


def disk(folder: Path, count: int = _SYNCS) -> Finding:
    """How long a sync takes where the journal is: every answer that changes something waits for one."""
    if not folder.exists():
        return skip("disk", "the home does not exist yet")
    times = []
    path = folder / f".doctor-{os.getpid()}"
    try:
        with path.open("wb", buffering=0) as file:
            for _ in range(count):
                file.write(b"\0" * 4096)
                began = time.monotonic()
                os.fsync(file.fileno())
                times.append(time.monotonic() - began)
    except OSError as error:
        return fail(
            "disk", f"{folder} cannot be written: {error.strerror}", "Check rights, room and the disk"
        )
    finally:
        path.unlink(missing_ok=True)
    return judged(times)


def judged(times: list[float]) -> Finding:
    """What the syncs took."""
    times.sort()
    middle, late = times[len(times) // 2], times[max(0, int(len(times) * 0.99) - 1)]
    found = f"a sync takes {middle * 1e3:.1f} ms, p99 {late * 1e3:.1f} ms ({len(times)} syncs)"
    if late > _SYNC_SLOW_S:
        remedy = (
            "Put the home on an NVMe disk of its own, or the journal into PostgreSQL; see what else writes"
        )
        return warn("disk", found, remedy)
    return ok("disk", found)


def data(folder: Path) -> Iterator[Finding]:
    """What nodes and both control planes need of the folder they share."""
    if not folder.exists():
        yield skip("data", f"{folder} does not exist yet")
        return
    probe = folder / f".doctor-{os.getpid()}"
    try:
        probe.mkdir()
        yield _promises(probe)
        yield clock(_skew(probe), "the data folder")
    except OSError as error:
        remedy = f"Give this user the right to write {folder}, on every node"
        yield fail("data", f"{folder} cannot be written: {error.strerror}", remedy)
    finally:
        shutil.rmtree(probe, ignore_errors=True)


def _promises(probe: Path) -> Finding:
    """Exclusive creation and renames over a file that is there: plans and results are handed over by them."""
    remedy = "Mount it so that they work (NFS 4, no `nolock`), or take another file system"
    once, new = probe / "once", probe / "new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    os.close(os.open(once, flags, 0o600))
    try:
        os.close(os.open(once, flags, 0o600))
    except FileExistsError:
        pass
    else:
        return fail("data", "a file can be created twice with O_EXCL", remedy)
    new.write_text("new")
    os.replace(new, once)
    if new.exists() or once.read_text() != "new":
        return fail("data", "a rename does not replace a file as a whole", remedy)
    return ok("data", f"{probe.parent}: writable, O_EXCL and rename are as needed")


def _skew(probe: Path) -> float:
    """How far the clock that stamps files is ahead of ours, in seconds."""
    before = time.time()
    path = probe / "clock"
    path.write_bytes(b"x")
    after = time.time()
    stamped = path.stat().st_mtime
    # file systems stamp with the tick of a coarse clock
    return skew(stamped, stamped + 0.02, before, after)


def skew(earliest: float, latest: float, before: float, after: float) -> float:
    """How far another clock is ahead of ours that showed something of this span between our two times.

    All are seconds since the epoch. 0 within what cannot be told: an answer may have taken its time.
    """
    if latest < before:
        return latest - before
    return max(0.0, earliest - after)


def clock(skew_s: float, whose: str) -> Finding:
    """A clock that differs from ours."""
    check = f"clock: {whose.removeprefix('the ')}"
    ahead = "ahead of" if skew_s > 0 else "behind"
    found = f"{whose} is {show_span(int(abs(skew_s) * 1e9))} {ahead} this machine"
    if abs(skew_s) > _SKEW_MOST_S:
        return fail(check, found, _CHRONY)
    if abs(skew_s) > _SKEW_S:
        return warn(check, found, _CHRONY)
    return ok(check, f"{whose} and this machine agree within {_SKEW_S:.0f} s")
