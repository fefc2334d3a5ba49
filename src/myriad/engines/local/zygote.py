"""The zygote of a home: imports once what workers need, then forks node agents on request.

`python -m myriad.engines.local.zygote HOME [--preload]`. It has no threads, because it forks, and does
nothing else: it may die at any time without any agent noticing.
"""

import argparse
import fcntl
import importlib
import os
import signal
import socket
import sys
from pathlib import Path

from myriad.engines.common import forking, procs
from myriad.engines.local import agent, launch, paths, wire

#: A client that does not speak up is sent away: nobody else is served meanwhile.
_PATIENCE_S = 2.0


def main(argv: list[str]) -> int:
    """Serve until killed; 0 at once when the home has a zygote already."""
    parser = argparse.ArgumentParser(prog=f"python -m {launch.ZYGOTE}", description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--preload", action="store_true", help="import torch and the recipes first")
    options = parser.parse_args(argv)
    home: Path = options.home
    lock = os.open(paths.zygote_lock(home), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0
    if options.preload:
        _preload()
    listener = _listen(home)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    while True:
        client, _ = listener.accept()
        with client:
            _serve(home, client, (listener, lock), preloaded=options.preload)


def _preload() -> None:
    try:
        worker = importlib.import_module(forking.WORKER)
        worker.preload("pretrain", "serve")
    except ImportError as error:
        print(f"recipes will start slowly or not at all: {error}", file=sys.stderr, flush=True)


def _listen(home: Path) -> socket.socket:
    address = paths.socket(home, "", "zygote")
    address.unlink(missing_ok=True)  # ours to take: we hold the lock
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(os.fspath(address))
    address.chmod(0o600)
    listener.listen(64)
    own = procs.find(os.getpid())
    assert own is not None
    record = wire.Record(
        node="",
        instance="",
        pid=own.pid,
        started=own.started,
        boot=procs.boot(),
        address=str(address),
    )
    agent.write_record(paths.zygote_record(home), record)
    return listener


def _serve(home: Path, client: socket.socket, ours: tuple[socket.socket, int], *, preloaded: bool) -> None:
    client.settimeout(_PATIENCE_S)
    try:
        asked = _receive(client)
    except (OSError, wire.Broken):
        return
    if not isinstance(asked, wire.Spawn) or os.fork():
        return
    try:
        listener, lock = ours
        listener.close()
        os.close(lock)
        client.settimeout(None)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        place = launch.Place(home, asked.node, asked.instance)
        agent.main(place, asked.chips, client, use_recipe=preloaded)
    except BaseException as error:  # noqa: BLE001 - an agent must never return into the zygote's loop
        print(f"the agent of {asked.node} failed: {error!r}", file=sys.stderr, flush=True)
    finally:
        os._exit(1)


def _receive(client: socket.socket) -> wire.AnyMessage | None:
    frames = wire.Frames()
    while data := client.recv(65536):
        for message in frames.feed(data):
            return message
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
