"""Files in folders of other users: no link, pipe or lease of theirs misleads us or keeps us waiting."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from myriad.engines.common import theirs
from myriad.engines.slurm.gangs import tails
from myriad.engines.slurm.users import homes
from myriad.engines.slurm.users.users import User

ME = os.getuid()
SOMEBODY = User("somebody", 4242, 4242, "/", "/bin/sh")


def put(path: Path, what: str, secret: Path) -> None:
    """Something in the place of a file."""
    match what:
        case "link":
            path.symlink_to(secret)
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "device":
            path.symlink_to("/dev/zero")
        case "loop":
            path.symlink_to(path)


@pytest.mark.parametrize("what", ["link", "pipe", "folder", "device", "loop", "nothing"])
def test_what_is_no_file_of_theirs_is_not_there(tmp_path: Path, what: str) -> None:
    secret, path = tmp_path / "secret", tmp_path / "it"
    secret.write_text("secret\n")
    put(path, what, secret)
    with pytest.raises(FileNotFoundError):
        theirs.opened(path, ME)
    tail = tails.Tail(path, owner=ME)
    news = tail.read()
    assert news is None or not news.lines


def test_a_file_of_a_third_user_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "it"
    path.write_text("line\n")
    with pytest.raises(FileNotFoundError):
        theirs.opened(path, ME + 1)
    assert tails.Tail(path, owner=ME + 1).read() is None
    news = tails.Tail(path, owner=ME).read()
    assert news and news.lines == [b"line"] and theirs.text(path, ME, 2) == "li"


def test_a_lease_on_a_file_keeps_nobody_waiting(tmp_path: Path) -> None:
    path = tmp_path / "claim"
    path.write_text("7")
    code = (
        "import fcntl, os, signal, sys\n"
        "signal.signal(signal.SIGIO, lambda *_: None)\n"
        "fcntl.fcntl(os.open(sys.argv[1], os.O_RDWR), fcntl.F_SETLEASE, fcntl.F_WRLCK)\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    argv = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin and holder.stdout
        if holder.stdout.readline() != b"held\n":
            pytest.skip("this file system knows no leases")
        with pytest.raises(FileNotFoundError):
            theirs.text(path, ME, 8)
        assert tails.Tail(path, owner=ME).read() is None
        holder.stdin.close()
    assert theirs.text(path, ME, 8) == "7"


def test_logs_are_read_through_our_link_and_no_other(tmp_path: Path) -> None:
    place, secret = tmp_path / "jobs" / "job-a", tmp_path / "secret"
    there = homes.results(tmp_path, place, SOMEBODY)
    there.mkdir(parents=True)
    (there / "log").write_text("of the user")
    secret.write_text("ours")
    (there / "lie").symlink_to(secret)
    assert theirs.owner_of(place) == ME and theirs.owner_of(there) is None
    os.close(theirs.opened_in(place, place / "log"))
    with pytest.raises(FileNotFoundError):
        theirs.opened_in(place, place / "lie")


def test_nobody_floods_us(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * (3 << 20) + b"\n" + b"y\n" * (2 << 20))
    tail = tails.Tail(path, owner=ME)
    read = 0
    for _ in range(8):
        os.utime(path)
        if news := tail.read():
            read += sum(len(line) + 1 for line in news.lines)
            assert len(tail._rest) <= tails._LINE_BYTES
    assert tail._offset < (1 << 20) + 60 * (16 << 10) and read == 0
    own = tails.Tail(path)
    while own._offset < path.stat().st_size:
        own.read()
        os.utime(path)
