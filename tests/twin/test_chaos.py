"""Seeded storms in a simulated world: faults on, then off, then everything that can finish does.

Every seed runs twice, in processes with different hash seeds, and must give one digest of all facts.
"""

import json
import os
import subprocess
import sys

import pytest

from myriad.control.apply import fold
from myriad.fleet.columns import NodeState
from myriad.kernel.ids import JobId, NodeId, ServiceId
from myriad.kernel.rng import Stream
from myriad.kernel.units import SECOND
from myriad.protocol import inputs
from myriad.protocol.wire import decode
from tests import build
from tests.control.world import Rig

CALM_S = 4000.0


def storm(seed: int) -> Rig:
    """Five minutes of jobs, services, drains, cancels and dying nodes; then calm."""
    chance = Stream(seed, "storm")
    rig = Rig(build.site(racks=3, nodes_per_rack=4, spares=1, pods=2, chips=2), seed=seed)
    nodes = [NodeId(node) for node in rig.core.state.nodes]
    rig.serve("chat", least=1, most=3)
    for number in range(60):
        strike(rig, chance, nodes, number)
        rig.pass_s(chance.exponential(5.0))
    for node in nodes:
        rig.world.resume_node(node)
        rig.give(inputs.UndrainNode(at=rig.world.now, node=node))
    rig.pass_s(CALM_S)
    return rig


def strike(rig: Rig, chance: Stream, nodes: list[NodeId], number: int) -> None:
    """One thing that happens to a site."""
    node = chance.choice(nodes)
    match chance.integer(0, 6):
        case 0 | 1 | 2:
            fails = {"fail_at_step": chance.integer(1, 30)} if chance.happens(0.1) else {}
            config = {
                "steps": chance.integer(1, 100),
                "checkpoint_every_steps": chance.integer(0, 9),
                **fails,
            }
            priority = chance.choice(["low", "normal", "high"])
            rig.submit(f"job-{number}", nodes=chance.integer(1, 8), config=config, priority=priority)
        case 3:
            rig.world.kill_node(node)
        case 4:
            rig.world.pause_node(node) if chance.happens(0.5) else rig.world.resume_node(node)
        case 5:
            kind = inputs.DrainNode if chance.happens(0.5) else inputs.UndrainNode
            rig.give(kind(at=rig.world.now, node=node))
        case 6:
            rig.give(inputs.CancelJob(at=rig.world.now, job=JobId(f"job-{chance.integer(0, number)}")))


@pytest.mark.parametrize("seed", range(8))
def test_a_storm_passes(seed: int) -> None:
    rig = storm(seed)
    state = rig.core.state
    unfinished = {name: (job.text, job.history[-1:]) for name, job in state.jobs.items() if not job.outcome}
    assert not unfinished
    assert set(rig.world.starts.values()) <= {1}, "something was started twice"
    assert all(state.node_state(NodeId(node)) is NodeState.READY for node in state.nodes)
    assert len(state.services[ServiceId("chat")].gangs) == 1
    folded = fold(decode(body) for body in rig.journal)
    assert folded.digest() == state.digest()


def test_one_seed_gives_one_digest_across_processes_and_hash_seeds() -> None:
    script = (
        "import json, sys; sys.path.insert(0, '.');"
        "from tests.twin.test_chaos import storm; rig = storm(3);"
        "print(json.dumps([rig.digest, rig.core.state.digest()]))"
    )
    seen = []
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True
        )
        seen.append(json.loads(done.stdout))
    assert seen[0] == seen[1]


def test_time_scale_of_a_deadline() -> None:
    """A paused node that never thaws is fenced within the silence plus the time to fence it."""
    rig = Rig()
    rig.world.pause_node(NodeId("n1"))
    before = rig.world.now
    while not any(type(fact).__name__ == "NodeLost" for fact in rig.facts()):
        rig.pass_s(0.5)
    assert rig.world.now - before < 16 * SECOND
