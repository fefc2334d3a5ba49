"""What bodies say beyond the event: since when work stood still, parts of steps, how busy replicas are."""

from myriad.kernel.ids import AttemptId, NodeId
from myriad.kernel.units import SECOND
from myriad.protocol import facts, inputs
from tests.control.world import Rig


def running(rig: Rig) -> AttemptId:
    job = rig.submit(nodes=2, config={"steps": 1000})
    rig.pass_s(20)
    attempt = rig.core.state.jobs[job].attempt
    assert attempt is not None
    return attempt


def test_a_gang_that_hung_says_since_when() -> None:
    rig = Rig()
    attempt = running(rig)
    hung = rig.world.now - 5 * SECOND
    node = rig.core.state.gangs[attempt].nodes[0]
    rig.give(inputs.MemberExited(at=rig.world.now, attempt=attempt, node=node, code=9, since=hung))
    (stopping,) = rig.facts(facts.GangStopping)
    assert isinstance(stopping, facts.GangStopping)
    assert (stopping.since, stopping.cause) == (hung, "job")


def test_the_earliest_word_of_a_lost_nodes_signals_counts_for_it_and_its_gang() -> None:
    rig = Rig()
    attempt = running(rig)
    node, now = rig.core.state.gangs[attempt].nodes[0], rig.world.now
    for after, source, since in ((1, "channel", now), (2, "heartbeat", now - 3 * SECOND)):
        at = now + after * SECOND
        rig.give(signal(rig, node, at, source, since))
    (lost,), (stopping, *_) = rig.facts(facts.NodeLost), rig.facts(facts.GangStopping)
    assert isinstance(lost, facts.NodeLost)
    assert isinstance(stopping, facts.GangStopping)
    assert lost.since == stopping.since == now - 3 * SECOND
    assert rig.core.state.nodes[node].silent_since == 0


def test_a_word_that_was_taken_back_or_lies_in_the_future_is_none() -> None:
    rig = Rig()
    node, now = NodeId("n0"), rig.world.now
    rig.give(signal(rig, node, now, "channel", now - SECOND))
    assert rig.core.state.nodes[node].silent_since == now - SECOND
    rig.give(signal(rig, node, now + 1, "channel", 0, healthy=True))
    assert rig.core.state.nodes[node].silent_since == 0
    rig.give(signal(rig, node, now + 2, "channel", now + SECOND))
    assert rig.core.state.nodes[node].silent_since == 0


def signal(
    rig: Rig, node: NodeId, at: int, source: str, since: int, *, healthy: bool = False
) -> inputs.Input:
    return inputs.NodeSignalled(
        at=at,
        node=node,
        instance=rig.core.state.nodes[node].instance,
        source=source,  # type: ignore[arg-type]
        healthy=healthy,
        since=since,
    )


def test_parts_of_steps_go_on_record() -> None:
    rig = Rig()
    attempt = running(rig)
    step = rig.core.state.gangs[attempt].step + 5
    parts = {"straggled_ns": 3, "exposed_ns": 2, "throttled_ns": -1}
    rig.give(inputs.StepsReported(at=rig.world.now, attempt=attempt, step=step, tokens=1, **parts))
    done = rig.facts(facts.StepsDone)[-1]
    assert isinstance(done, facts.StepsDone)
    assert (done.straggled_ns, done.exposed_ns, done.throttled_ns) == (3, 2, 0)


def test_how_busy_a_service_is_is_told_when_it_changed_much() -> None:
    rig = Rig()
    service = rig.serve(least=2, most=2)
    rig.pass_s(20)
    for busy in (0.0, 0.02, 0.05, 0.3, 0.34, 0.36, 2.0, 0.97, 0.0):
        rig.give(inputs.LoadObserved(at=rig.world.now, service=service, in_flight=0, queued=0, busy=busy))
    told = [fact.busy for fact in rig.facts(facts.ServiceLoaded) if isinstance(fact, facts.ServiceLoaded)]
    assert told == [0.02, 0.3, 0.36, 1.0, 0.0]


def test_without_a_word_it_follows_from_requests_in_flight_and_ready_replicas() -> None:
    rig = Rig()
    service = rig.serve(least=2, most=2)
    rig.give(inputs.LoadObserved(at=rig.world.now, service=service, in_flight=3, queued=0))
    assert rig.core.state.services[service].busy == 0.0, "no replica is ready yet"
    rig.pass_s(20)
    rig.give(inputs.LoadObserved(at=rig.world.now, service=service, in_flight=12, queued=0))
    assert rig.core.state.services[service].busy == 12 / 16
