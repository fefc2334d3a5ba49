"""The agent of one node: a single-threaded loop that starts, watches and ends processes.

It is forked by the zygote, leads a session of its own, and outlives both the zygote and the control
plane; whoever connects last is the control plane. It has no threads, because it forks.
"""

import contextlib
import fcntl
import os
import selectors
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import msgspec

from myriad.engines.common import burnin, forking, procs, reports
from myriad.engines.local import attempts, launch, memory, outbox, paths, wire
from myriad.kernel.ids import NodeId
from myriad.protocol import inputs

#: Progress is summed up further while so much of what was told is not on record.
_UNREAD = 64
_BURN_IN_S = 120.0
_DATAGRAMS_AT_ONCE = 256
_LOCK_PATIENCE_S = 2.0
_RECEIVE_BYTES = 1 << 18


class _Connection:
    """The control plane that we talk to."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.frames = wire.Frames()
        self.unsent = bytearray()


class Agent:
    """One incarnation of a node."""

    def __init__(self, place: launch.Place, chips: int, *, use_recipe: bool) -> None:
        self._place, self._chips, self._use_recipe = place, chips, use_recipe
        self._node = NodeId(place.node)
        self._selector = selectors.DefaultSelector()
        self._connection: _Connection | None = None
        self._outbox = outbox.Outbox()
        clocks = (time.monotonic, time.time_ns)
        self._table = attempts.Table(place, self._tell, self._release, clocks)
        self._burn_in: tuple[int, float] | None = None  # pid, give up at
        self._sweep_at = 0.0
        self._dropped = 0
        self._reaped = False
        self._lock = _locked(paths.agent_lock(place.home, place.node))
        self._reports = _bound(self._address("report"), socket.SOCK_DGRAM)
        self._listener = _bound(self._address("agent"), socket.SOCK_STREAM)
        self._listener.listen()
        self._woken, self._waker = socket.socketpair()

    def record(self) -> wire.Record:
        """Who we are and where we listen; also written to agent.json."""
        own = procs.find(os.getpid())
        assert own is not None
        record = wire.Record(
            node=self._place.node,
            instance=self._place.instance,
            pid=own.pid,
            started=own.started,
            boot=procs.boot(),
            address=str(self._address("agent")),
        )
        write_record(paths.agent_record(self._place.home, self._place.node), record)
        return record

    def run(self) -> NoReturn:
        """Serve until killed."""
        for channel in (self._reports, self._listener, self._woken, self._waker):
            channel.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._woken, selectors.EVENT_READ, self._drain_wakeups)
        self._selector.register(self._reports, selectors.EVENT_READ, self._hear)
        while True:
            self._turn()

    # ---- the loop --------------------------------------------------------------------------------

    def _turn(self) -> None:
        due_at = self._due_at()
        timeout = None if due_at is None else max(0.0, due_at - time.monotonic())
        for key, events in self._selector.select(timeout):
            callback: Callable[[int], None] = key.data
            callback(events)
        if self._reaped:
            ended = procs.reap()
            # now all that they ever said is there, and is heard before their end is told
            self._hear(0)
            self._tell_ends(ended)
        self._table.advance(reaped=self._reaped)
        self._reaped = False
        now = time.monotonic()
        if self._outbox.unread < _UNREAD:
            for one in self._table.running().values():
                if one.listener.due_at is not None and one.listener.due_at <= now:
                    one.listener.flush(now)
        if self._burn_in and now >= self._burn_in[1]:
            procs.send(self._burn_in[0], signal.SIGKILL)
        if now >= self._sweep_at:
            self._sweep_at = now + memory.SWEEP_EVERY_S
            self._sweep()

    def _sweep(self) -> None:
        """Free memory in a child: giving back many gigabytes takes longer than we may be silent."""
        running = {one.start.job for one in self._table.running().values()}
        place = self._place
        aside = memory.put_aside(place.home, place.node, place.instance, running)

        def become() -> NoReturn:
            for folder in aside:
                shutil.rmtree(folder, ignore_errors=True)
            os._exit(0)

        if aside:
            with contextlib.suppress(OSError):
                forking.fork(paths.agent_log(place.home, place.node), self._release, become)

    def _due_at(self) -> float | None:
        due = [self._table.due_at(), self._sweep_at]
        if self._outbox.unread < _UNREAD:
            due += [one.listener.due_at for one in self._table.running().values()]
        if self._burn_in:
            due.append(self._burn_in[1])
        return min((at for at in due if at is not None), default=None)

    def _drain_wakeups(self, _events: int) -> None:
        self._woken.recv(4096)
        self._reaped = True

    def _tell_ends(self, ended: list[tuple[int, int]]) -> None:
        for pid, status in ended:
            if self._burn_in and pid == self._burn_in[0]:
                self._qualified(os.waitstatus_to_exitcode(status))
            else:
                self._table.reaped(pid, status)

    def _hear(self, _events: int) -> None:
        for _ in range(_DATAGRAMS_AT_ONCE):
            try:
                data, _, flags, _ = self._reports.recvmsg(reports.DATAGRAM_BYTES)
            except BlockingIOError:
                return
            report = None if flags & socket.MSG_TRUNC else reports.parse(data)
            if report is None or not self._table.hear(report):
                self._drop()

    def _drop(self) -> None:
        self._dropped += 1
        if self._dropped.bit_count() == 1:  # the first, and then ever more rarely
            _say(f"{self._dropped} reports dropped: malformed, oversized, or of no attempt here")

    # ---- the control plane -----------------------------------------------------------------------

    def _accept(self, _events: int) -> None:
        channel, _ = self._listener.accept()
        channel.setblocking(False)
        self._hang_up()
        self._connection = _Connection(channel)
        self._selector.register(channel, selectors.EVENT_READ, self._exchange)
        self._send(self._hello())
        for event in self._outbox.replay():
            self._send(event)

    def _hello(self) -> wire.Hello:
        replicas = tuple(
            wire.Replica(attempt=name, port=one.start.service_port)
            for name, one in self._table.running().items()
            if one.start.service
        )
        running = tuple(
            wire.Running(attempt=name, placed_at=one.start.placed_at)
            for name, one in self._table.running().items()
        )
        return wire.Hello(
            node=self._place.node,
            instance=self._place.instance,
            chips=self._chips,
            replicas=replicas,
            running=running,
        )

    def _exchange(self, events: int) -> None:
        connection = self._connection
        if connection is None:  # hung up since the selector looked
            return
        try:
            if events & selectors.EVENT_WRITE:
                self._push(connection)
            if events & selectors.EVENT_READ:
                data = connection.channel.recv(_RECEIVE_BYTES)
                if not data:
                    self._hang_up()
                for message in connection.frames.feed(data):
                    self._obey(message)
        except BlockingIOError:
            return
        except (OSError, wire.Broken) as error:
            _say(f"the control plane is gone: {error}")
            self._hang_up()

    def _hang_up(self) -> None:
        if self._connection:
            self._selector.unregister(self._connection.channel)
            self._connection.channel.close()
            self._connection = None

    def _send(self, message: wire.Message) -> None:
        if connection := self._connection:
            connection.unsent += wire.encode(message)
            try:
                self._push(connection)
            except OSError:
                self._hang_up()

    def _push(self, connection: _Connection) -> None:
        try:
            while connection.unsent:
                del connection.unsent[: connection.channel.send(connection.unsent)]
        except BlockingIOError:
            pass
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.unsent else 0)
        self._selector.modify(connection.channel, wanted, self._exchange)

    def _tell(self, what: inputs.Input) -> None:
        self._send(self._outbox.put(what))

    # ---- orders ----------------------------------------------------------------------------------

    def _obey(self, order: wire.AnyMessage) -> None:
        match order:
            case wire.Ping():
                told = {name: one.listener.pace() for name, one in self._table.running().items()}
                paces = {name: pace for name, pace in told.items() if pace}
                self._send(wire.Pong(number=order.number, paces=paces))
            case wire.Acknowledge():
                self._outbox.acknowledge(order.seq, frozenset(self._table.running()))
            case wire.Start():
                self._table.start(order)
            case wire.Stop():
                self._table.stop(order)
            case wire.Ask():
                self._table.ask(order)
            case wire.Qualify():
                self._qualify()
            case _:
                raise wire.Broken(f"{type(order).__name__} is not for agents")

    def _qualify(self) -> None:
        if self._burn_in is None:
            try:
                pid = burnin.start(self._answer(), self._release, use_recipe=self._use_recipe)
            except OSError as error:
                self._tell_qualified(burnin.Result(ok=False, detail=f"cannot start: {error}"))
            else:
                self._burn_in = (pid, time.monotonic() + _BURN_IN_S)

    def _qualified(self, code: int) -> None:
        self._burn_in = None
        self._tell_qualified(burnin.result(self._answer(), code))

    def _tell_qualified(self, found: burnin.Result) -> None:
        self._tell(
            inputs.NodeQualified(
                at=time.time_ns(),
                node=self._node,
                instance=self._place.instance,
                ok=found.ok,
                gemm_flops=reports.finite(found.gemm_flops),
                detail=found.detail,
            )
        )

    def _answer(self) -> Path:
        return paths.node_dir(self._place.home, self._place.node) / "burn-in.log"

    def _address(self, name: str) -> Path:
        return paths.socket(self._place.home, self._place.node, name)

    def _release(self) -> None:
        """In a forked child: let go of everything that is the agent's alone."""
        self._selector.close()
        for channel in (self._reports, self._listener, self._woken, self._waker):
            channel.close()
        if self._connection:
            self._connection.channel.close()
        os.close(self._lock)


def main(place: launch.Place, chips: int, ready: socket.socket, *, use_recipe: bool) -> NoReturn:
    """The life of a forked agent. Answers on `ready` once it can be talked to, or says why not."""
    os.setsid()
    procs.adopt_orphans()
    folder = paths.node_dir(place.home, place.node)
    folder.mkdir(parents=True, exist_ok=True)
    _write_to(paths.agent_log(place.home, place.node))
    try:
        agent = Agent(place, chips, use_recipe=use_recipe)
        answer: wire.Message = agent.record()
    except OSError as error:
        answer = wire.Refused(reason=str(error))
        ready.sendall(wire.encode(answer))
        os._exit(1)
    with ready, contextlib.suppress(OSError):  # who asked is gone; its successor will find our record
        ready.sendall(wire.encode(answer))
    _say(f"{place.node} is up as {place.instance}")
    agent.run()


def write_record(path: Path, record: wire.Record) -> None:
    """Replace a record as a whole."""
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_bytes(msgspec.json.encode(record))
    draft.replace(path)


def read_record(path: Path) -> wire.Record | None:
    """The record, if there is one that means something."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=wire.Record)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return None


def _bound(address: Path, kind: socket.SocketKind) -> socket.socket:
    address.unlink(missing_ok=True)  # ours to take: we hold the node's lock
    channel = socket.socket(socket.AF_UNIX, kind)
    channel.bind(os.fspath(address))
    address.chmod(0o600)
    return channel


def _locked(path: Path) -> int:
    """Hold the node's lock. Raises OSError when another agent of the node lives."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    give_up_at = time.monotonic() + _LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.01)
        else:
            return descriptor


def _write_to(path: Path) -> None:
    out = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.close(out)


def _say(text: str) -> None:
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    print(f"{stamp} {text}", file=sys.stderr, flush=True)
