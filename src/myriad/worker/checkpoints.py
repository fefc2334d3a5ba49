"""Checkpoint folders: what is complete, which is newest, what may go. Files alone, no torch.

A job's folder holds `step-00000050/` folders. One of them is a checkpoint only when its manifest,
`complete.json`, is there and every file it lists has the listed size and checksum. The manifest is
written last, after the data is on disk, so a crash at any instant leaves either a checkpoint or
something that is never taken for one.
"""

import json
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from myriad.kernel.errors import UserError

MANIFEST = "complete.json"
_FOLDER = re.compile(r"step-(\d{8,})")
_REJECTED = re.compile(r"step-(\d{8,})\.rejected")
_CHUNK_BYTES = 1 << 20


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a checkpoint, as it was when the checkpoint was completed."""

    name: str
    bytes: int
    #: CRC-32: meant for rot and truncation, not for malice.
    crc32: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The content of `complete.json`."""

    step: int
    files: tuple[File, ...]
    #: Of the manifest itself, as it is encoded with a zero here.
    crc32: int = 0


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint known to be complete."""

    step: int
    path: Path
    bytes: int


class Unusable(Exception):
    """Why a folder is no checkpoint: half-written or corrupt."""


def folder(root: Path, step: int) -> Path:
    """Where the checkpoint of a step belongs."""
    return root / f"step-{step:08d}"


def complete(path: Path, step: int) -> Checkpoint:
    """Make the files under `path` a checkpoint: flush them, then write the manifest that lists them."""
    files = tuple(_measured(path, name, durable=True) for name in _names(path))
    _write_durably(path / MANIFEST, _encoded(Manifest(step=step, files=files)))
    _sync_folder(path.parent)
    return Checkpoint(step=step, path=path, bytes=sum(file.bytes for file in files))


def verify(path: Path) -> Checkpoint:
    """The checkpoint in a folder, every byte of it read. Raises Unusable with the reason."""
    manifest = _manifest(path)
    for file in manifest.files:
        _verify_file(path, file)
    total = sum(file.bytes for file in manifest.files)
    return Checkpoint(step=manifest.step, path=path, bytes=total)


def at(path: Path) -> Checkpoint:
    """The checkpoint somebody named. Raises UserError when it is not whole."""
    try:
        return verify(path)
    except Unusable as reason:
        raise UserError(
            f"is not a usable checkpoint ({reason})",
            field="checkpoint",
            value=str(path),
            remedy="Name another step of that folder, or none to take the newest whole one",
        ) from None


def newest_complete(
    root: Path,
    warn: Callable[[str], None],
    *,
    after: int = -1,
    latest: int | None = None,
    otherwise: str = "starting from scratch",
) -> Checkpoint | None:
    """The newest checkpoint that is whole; each newer one that is not is warned about and passed over.

    Only steps later than `after` count, and none later than `latest`: whole as they are, training failed
    from them. `otherwise` tells what is done when there is none.
    """
    rejected = []
    found = None
    for path in _newest_first(root):
        if latest is not None and _step(path) > latest:
            rejected.append((path.name, f"training failed from it; told to go back to step {latest}"))
            continue
        if _step(path) <= after:
            break
        try:
            found = verify(path)
            break
        except Unusable as reason:
            rejected.append((path.name, str(reason)))
    using = f"using {found.path.name}" if found else otherwise
    for name, problem in rejected:
        warn(f"checkpoint {name} is unusable ({problem}): {using}")
    return found


def set_aside_after(root: Path, step: int) -> None:
    """Rename what lies after `step`, so that its stale files never mix with the ones to come.

    Called with the step resumed from: everything newer was just found unusable or is not to be used. It
    is kept (renamed) for whoever wants to know why, until `prune` passes it.
    """
    for path in _newest_first(root):
        if _step(path) <= step:
            return
        aside = path.with_name(path.name + ".rejected")
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)


def prune(root: Path, keep: int) -> None:
    """Keep the newest `keep` complete checkpoints; the newest always stays.

    Only folders older than the oldest kept one go, complete or not: a newer folder without a manifest
    may be one that is being written right now.
    """
    kept = [path for path in _newest_first(root) if (path / MANIFEST).exists()][: max(keep, 1)]
    if not kept:
        return
    for path in root.iterdir():
        match = _FOLDER.fullmatch(path.name) or _REJECTED.fullmatch(path.name)
        if match and int(match[1]) < _step(kept[-1]):
            # Without its manifest first: a crash in the middle leaves no half a checkpoint.
            (path / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(path, ignore_errors=True)


def _manifest(path: Path) -> Manifest:
    try:
        data = (path / MANIFEST).read_bytes()
        manifest = msgspec.json.decode(data, type=Manifest)
    except FileNotFoundError:
        raise Unusable("half-written: it has no manifest") from None
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise Unusable(f"its manifest cannot be read: {error}") from None
    if _encoded(manifest) != data:
        raise Unusable("its manifest has a wrong checksum")
    return manifest


def _encoded(manifest: Manifest) -> bytes:
    plain = msgspec.structs.replace(manifest, crc32=0)
    crc = zlib.crc32(msgspec.json.encode(plain))
    return msgspec.json.encode(msgspec.structs.replace(manifest, crc32=crc))


def _newest_first(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    found = [path for path in root.iterdir() if _FOLDER.fullmatch(path.name)]
    return sorted(found, key=_step, reverse=True)


def _step(path: Path) -> int:
    match = _FOLDER.fullmatch(path.name)
    assert match, path
    return int(match[1])


def _names(path: Path) -> Iterator[str]:
    for found in sorted(path.rglob("*")):
        if found.is_file() and found.name != MANIFEST:
            yield found.relative_to(path).as_posix()


def _measured(path: Path, name: str, *, durable: bool = False) -> File:
    size, crc = 0, 0
    with (path / name).open("rb") as stream:
        if durable:
            os.fsync(stream.fileno())
        while chunk := stream.read(_CHUNK_BYTES):
            size, crc = size + len(chunk), zlib.crc32(chunk, crc)
    return File(name=name, bytes=size, crc32=crc)


def _verify_file(path: Path, expected: File) -> None:
    try:
        size = (path / expected.name).stat().st_size
        if size != expected.bytes:
            raise Unusable(f"{expected.name} has {size} bytes instead of {expected.bytes}")
        if _measured(path, expected.name) != expected:
            raise Unusable(f"{expected.name} has a wrong checksum")
    except OSError as error:
        raise Unusable(f"{expected.name} cannot be read: {error.strerror}") from None


def write_json(path: Path, value: object) -> None:
    """A JSON file that is either the old one or the new one, whatever happens."""
    _write_durably(path, json.dumps(value, indent=2).encode())


def _write_durably(path: Path, data: bytes) -> None:
    half = path.with_name(path.name + ".tmp")
    with half.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    half.replace(path)
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
