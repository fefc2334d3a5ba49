"""Parts of the local engine that need no processes: frames, outbox, reports, ports, health."""

import asyncio
import json
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from myriad.engines.common import burnin, health, ports, procs, reports
from myriad.engines.local import (
    attempts,
    link,
    memory,
    outbox,
    paths,
    rendezvous,
    wire,
)
from myriad.kernel.ids import AttemptId, NodeId
from myriad.protocol import inputs
from myriad.protocol.values import Signal, Tier

_JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(), inner, max_size=3),
    max_leaves=10,
)


@given(sizes=some.lists(some.integers(1, 9), max_size=30), numbers=some.lists(some.integers(0, 2**40)))
def test_frames_survive_any_cut(sizes: list[int], numbers: list[int]) -> None:
    stream = b"".join(wire.encode(wire.Ping(number=number)) for number in numbers)
    frames, found = wire.Frames(), []
    for size in [*sizes, len(stream)]:
        found += list(frames.feed(stream[:size]))
        stream = stream[size:]
    assert found == [wire.Ping(number=number) for number in numbers]


def test_a_frame_beyond_all_measure_is_refused() -> None:
    with pytest.raises(wire.Broken):
        list(wire.Frames().feed(b"\xff\xff\xff\xff"))


@given(data=some.binary() | _JSON.map(lambda tree: json.dumps(tree).encode()))
def test_no_datagram_is_fatal(data: bytes) -> None:
    reports.parse(data)


_FLOATS = some.floats() | some.none()


@given(
    parts=some.lists(
        some.tuples(some.integers(0, 2**62), some.integers(0, 2**40), _FLOATS, some.floats(), some.floats())
    ),
    pauses=some.lists(some.floats(0, 1), max_size=20),
)
def test_progress_is_summed_up_without_loss(
    parts: list[tuple[int, int, float | None, float, float]], pauses: list[float]
) -> None:
    told: list[inputs.Input] = []
    listener = reports.Listener("j.1", "n0", told.append)
    now = 0.0
    for position, (step, tokens, loss, step_s, flops) in enumerate(parts):
        body = {"kind": "progress", "attempt": "j.1", "rank": 0, "step": step, "tokens": tokens}
        body |= {"step_s": step_s, "flops": flops} | ({} if loss is None else {"loss": loss})
        report = reports.parse(json.dumps(body).encode())
        assert report is not None
        listener.hear(report, now, at=1)
        now += pauses[position % len(pauses)] if pauses else 0.0
        if listener.due_at is not None and now >= listener.due_at:
            listener.flush(now)
    listener.flush(now)
    steps = [one for one in told if isinstance(one, inputs.StepsReported)]
    assert sum(one.tokens for one in steps) == sum(part[1] for part in parts)
    for one in told:  # what cannot be written to a journal never gets that far
        assert wire.decode(wire.encode(wire.Event(seq=1, what=one))[4:]).what == one  # type: ignore[arg-type, union-attr]


def _started(attempt: str) -> inputs.MemberStarted:
    return inputs.MemberStarted(at=1, attempt=AttemptId(attempt), node=NodeId("n0"))


def _saved(attempt: str, step: int, tier: Tier = "storage") -> inputs.CheckpointReported:
    return inputs.CheckpointReported(at=1, attempt=AttemptId(attempt), step=step, path="/c", tier=tier)


def _exited(attempt: str) -> inputs.MemberExited:
    return inputs.MemberExited(at=1, attempt=AttemptId(attempt), node=NodeId("n0"), code=0)


def test_an_outbox_replays_what_runs_and_what_is_not_on_record() -> None:
    box = outbox.Outbox()
    for what in (_started("a.1"), _saved("a.1", 5), _started("b.1"), _saved("a.1", 10), _exited("b.1")):
        box.put(what)
    box.acknowledge(4, frozenset({"a.1"}))
    assert [event.what for event in box.replay()] == [_started("a.1"), _saved("a.1", 10), _exited("b.1")]
    assert [event.seq for event in box.replay()] == [1, 4, 5]
    assert box.unread == 1
    box.put(_exited("a.1"))
    box.acknowledge(99, frozenset())
    assert (list(box.replay()), box.unread) == ([], 0)
    assert box.put(_started("c.1")).seq == 7


def test_a_checkpoint_in_memory_hides_none_on_storage() -> None:
    box = outbox.Outbox()
    for what in (_saved("a.1", 5), _saved("a.1", 6, "memory"), _saved("a.1", 8, "memory")):
        box.put(what)
    box.acknowledge(3, frozenset({"a.1"}))
    assert [event.what for event in box.replay()] == [_saved("a.1", 5), _saved("a.1", 8, "memory")]


def test_checkpoints_in_memory_are_told_as_seldom_as_progress() -> None:
    told: list[inputs.Input] = []
    listener = reports.Listener("j.1", "n0", told.append)
    for step in range(1, 101):
        for report in (
            reports.Progress(attempt="j.1", step=step, tokens=1),
            reports.Saved(attempt="j.1", step=step - 1, path="/m", tier="memory"),
        ):
            now = step * 0.01
            listener.hear(report, now, at=1)
            if listener.due_at is not None and now >= listener.due_at:
                listener.flush(now)
    listener.hear(reports.Saved(attempt="j.1", step=100, path="/c"), 1.0, at=1)
    saved = [one for one in told if isinstance(one, inputs.CheckpointReported)]
    assert len(told) < 30
    assert [(one.step, one.tier) for one in saved[-2:]] == [(99, "memory"), (100, "storage")]
    done = 0
    for one in told:  # a checkpoint never comes before the progress it confirms
        if isinstance(one, inputs.StepsReported):
            done = one.step
        elif isinstance(one, inputs.CheckpointReported):
            assert one.step <= done


def test_how_long_each_rank_computes_is_kept() -> None:
    listener = reports.Listener("j.1", "n0", lambda _: None)
    for rank, seconds in ((8, 0.5), (9, 0.25), (8, 0.125), (9, float("nan"))):
        body = {"kind": "pace", "attempt": "j.1", "rank": rank, "step": 1, "compute_s": seconds}
        report = reports.parse(json.dumps(body).encode())
        assert report is not None
        listener.hear(report, 0.0, at=1)
    assert listener.compute_ns == {8: 125_000_000, 9: 0}


def test_only_memory_that_nobody_uses_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "memory_root", lambda home: home / "memory")
    mine = paths.memory_dir(tmp_path, "n0", "new")
    assert memory.put_aside(tmp_path, "n0", "new", ()) == []
    for job in ("running-1", "stopped-1", "left-1"):
        (mine / job).mkdir(parents=True)
    dead = paths.memory_dir(tmp_path, "n0", "old")
    dead.mkdir()
    other = paths.memory_dir(tmp_path, "n1", "old")
    other.mkdir(parents=True)
    for job in ("running-1", "left-1"):
        os.utime(mine / job, (1.0, 1.0))
    aside = memory.put_aside(tmp_path, "n0", "new", {"running-1"})
    assert aside == [dead, mine / ".aside-left-1"] and all(path.is_dir() for path in aside)
    assert (mine / "running-1").is_dir() and (mine / "stopped-1").is_dir() and other.is_dir()
    assert memory.put_aside(tmp_path, "n0", "new", {"running-1"}) == aside


def test_ports_are_fresh_free_remembered_and_not_the_kernels(tmp_path: Path) -> None:
    taken: set[int] = set()
    first = rendezvous.of_attempt(tmp_path / "a.1", service=True, taken=taken)
    again = rendezvous.of_attempt(tmp_path / "a.1", service=True, taken=set())
    second = rendezvous.of_attempt(tmp_path / "a.2", service=False, taken=taken)
    assert first == again
    assert len({first.master, first.service, second.master}) == 3
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert not any(low <= port <= high for port in taken)
    with socket.socket() as other:
        other.bind(("127.0.0.1", first.master))
        other.listen()
        everything_else = set(ports.candidates()) - {first.master}
        with pytest.raises(OSError, match="no port is free"):
            ports.free(everything_else)


def test_evidence_is_told_at_first_and_when_it_changes() -> None:
    told: list[tuple[Signal, bool]] = []
    evidence = health.Evidence(lambda source, healthy, _: told.append((source, healthy)))
    for healthy in (True, True, False, False, True, True):
        evidence.say("channel", healthy)
    evidence.say("heartbeat", False)
    assert told == [("channel", True), ("channel", False), ("channel", True), ("heartbeat", False)]


def test_a_heart_is_not_blamed_for_our_own_absence() -> None:
    heart = health.Heart(patience_s=3.0, now=0.0)
    for tick in range(1, 7):
        assert heart.silent_s(tick * 0.5, 0.5) == 0.0
    assert heart.silent_s(3.5, 0.5) == 3.5
    heart.answered(3.6)
    assert heart.silent_s(4.0, 0.5) == 0.0
    assert heart.silent_s(60.0, 0.5) == 0.0  # the control plane was held up, not the agent
    assert heart.silent_s(60.5, 0.5) == 0.0


def test_processes_are_told_apart() -> None:
    own = procs.find(os.getpid())
    assert own is not None and procs.alive(own.pid, own.started)
    assert not procs.alive(own.pid, own.started + 1)  # another one with the same number
    assert own.pid not in [p.pid for p in procs.table()]
    assert procs.find(2**22 + 1) is None
    assert not procs.marked(own.pid, "anything")


def test_sockets_stay_within_what_an_address_can_hold(tmp_path: Path) -> None:
    assert paths.socket(Path("/h"), "n0", "agent") == Path("/h/nodes/n0/agent.sock")
    deep = tmp_path / ("x" * 120)
    addresses = {paths.socket(deep, node, name) for node in ("n0", "n1", "") for name in ("agent", "report")}
    assert len(addresses) == 6 and all(len(os.fsencode(address)) <= 107 for address in addresses)


def test_a_burn_in_that_fails_says_why(tmp_path: Path) -> None:
    answer = tmp_path / "burn-in.log"
    assert not burnin.result(answer, 0).ok
    answer.write_text("noise\n" + json.dumps(burnin.measure()) + "\n\n")
    assert burnin.result(answer, 0).ok
    assert burnin.result(answer, 0).gemm_flops > 0
    answer.write_text("noise\nRuntimeError: no device\n")
    assert "no device" in burnin.result(answer, 1).detail
    assert "no device" in burnin.result(answer, 0).detail


def test_attempts_seen_are_remembered(tmp_path: Path) -> None:
    file = tmp_path / "attempts"
    assert attempts.read_seen(file) == set()
    attempts.remember(file, "a.1")
    attempts.remember(file, "b.2")
    assert attempts.read_seen(file) == {"a.1", "b.2"}


def test_orders_wait_until_it_is_certain_that_they_are_ours_to_give() -> None:
    class Silent:
        """Hears what nodes say, and does nothing."""

        def on_hello(self, *_: object, **__: object) -> None: ...

        on_event = on_paces = on_evidence = on_hello

    async def story() -> None:
        leads, sent = [True], list[wire.Message]()
        line = link.Link(NodeId("n0"), 1, Silent(), lambda: leads[0], ping_every_s=0.01, silence_s=9)
        line._send = sent.append  # type: ignore[assignment,method-assign]
        line.joined = True
        beating = asyncio.create_task(line._beat())
        line.give("a", wire.Stop(attempt="a", grace_s=0))
        leads[0] = False
        line.give("b", wire.Stop(attempt="b", grace_s=0))
        await asyncio.sleep(0.05)
        assert [one.attempt for one in sent if isinstance(one, wire.Stop)] == ["a"]
        line.settle("a")
        leads[0] = True
        await asyncio.sleep(0.05)
        assert [one.attempt for one in sent if isinstance(one, wire.Stop)] == ["a", "b"]
        beating.cancel()

    asyncio.run(story())
