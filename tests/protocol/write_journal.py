"""Writes a frozen journal: a story of the simulated world with as many kinds of facts as it can bring about.

`python -m tests.protocol.write_journal NAME` writes journals/NAME.jsonl (one entry a line, as it is stored)
and NAME.folded.json (what it folds to, for people). A file that is there is never written again: it stands
for the journals that sites have. When SCHEMA went up, or new facts came: a new name. docs/guide/upgrading.md.
"""

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from myriad.control import holdings, views
from myriad.control.apply import apply
from myriad.control.state import State
from myriad.kernel.ids import AttemptId, JobId, KeyId, NodeId, RequestId, ServiceId, TenantId
from myriad.kernel.units import HOUR, MINUTE, SECOND
from myriad.ledger import invoices
from myriad.ledger import views as books
from myriad.ledger.ledger import Ledger
from myriad.protocol import inputs, wire
from myriad.workload.prices import PriceBook
from myriad.workload.tenants import Budget
from myriad.workload.windows import Window
from tests import build
from tests.control.world import Rig

FOLDER = Path(__file__).with_name("journals")


def told() -> list[bytes]:
    """The story's entries."""
    rig = Rig(build.site(racks=4, nodes_per_rack=4, pods=2, spares=1))
    _people(rig)
    _training(rig)
    _serving(rig)
    _maintenance(rig)
    _slow(rig)
    _others(rig)
    _disaster(rig)
    rig.give(inputs.CloseSite(at=rig.world.now, grace_ns=10 * SECOND))
    rig.pass_s(30)
    return list(rig.journal)


def _people(rig: Rig) -> None:
    now, site = rig.world.now, rig.world.site
    prices = PriceBook(currency="CNY", chip_hour={site.chip: Decimal("9.00")})
    rig.give(inputs.OpenSite(at=now, site=site, prices=prices))
    rig.give(inputs.ApplyTenant(at=now, tenant=build.tenant("beta", chips=2, borrow=4)))
    poor = msgspec.structs.replace(build.tenant("poor"), budget=Budget(amount="0.05", every="1d"))
    rig.give(inputs.ApplyTenant(at=now, tenant=poor))
    for key in ("key-1", "key-2"):
        rig.give(
            inputs.IssueKey(at=now, key=KeyId(key), key_hash="0" * 64, role="tenant", tenant=TenantId("acme"))
        )
    rig.give(inputs.RevokeKey(at=now, key=KeyId("key-2")))


def _training(rig: Rig) -> None:
    rig.submit("trains-1", name="trains", nodes=4, config={"steps": 60}, expected="2m")
    rig.submit("cancelled-1", name="cancelled", nodes=1, command=("x",), expected="1h")
    rig.submit("fails-1", name="fails", nodes=1, command=("x",), expected="1h", retries=3)
    rig.submit("too-large-1", name="too-large", nodes=999)
    rig.pass_s(6)
    lost = NodeId(rig.nodes_of("trains-1")[1])
    rig.world.kill_node(lost)
    rig.give(inputs.CancelJob(at=rig.world.now, job=JobId("cancelled-1"), by="someone"))
    for _ in range(4):
        _fail(rig, "fails-1")
        rig.pass_s(90)
    rig.submit("whole-1", name="whole", nodes=2, command=("x",), expected="1h")
    rig.pass_s(3)
    attempt = rig.core.state.jobs[JobId("whole-1")].attempt
    rig.give(inputs.CancelJob(at=rig.world.now, job=JobId("whole-1")))
    rig.give(inputs.GangGone(at=rig.world.now, attempt=AttemptId(str(attempt))))
    rig.give(inputs.UndrainNode(at=rig.world.now, node=lost))
    rig.pass_s(120)


def _fail(rig: Rig, job: str) -> None:
    attempt = rig.core.state.jobs[JobId(job)].attempt
    if attempt is None:
        return
    node = rig.nodes_of(job)[0]
    now = rig.world.now
    spoke = inputs.WorkerSpoke(at=now, attempt=attempt, node=NodeId(node), text="no such file", fatal=True)
    rig.give(spoke)
    rig.give(inputs.MemberExited(at=now, attempt=attempt, node=NodeId(node), code=1, detail="exit code 1"))


def _serving(rig: Rig) -> None:
    chat = rig.serve("chat", least=1, most=3)
    rig.pass_s(20)
    for k, load in enumerate((0.0, 30.0, 30.0, 0.0)):
        rig.give(inputs.LoadObserved(at=rig.world.now, service=chat, in_flight=load, queued=int(load)))
        for final in (False, True):
            rig.give(
                inputs.TokensMetered(
                    at=rig.world.now,
                    request=RequestId(f"req-{k}"),
                    tenant=TenantId("beta"),
                    service=chat,
                    prompt_tokens=100,
                    completion_tokens=20 * (1 + final),
                    final=final,
                )
            )
        rig.pass_s(60)
    for _ in range(4):
        _stall(rig, chat)
        rig.pass_s(40)
    rig.give(inputs.RemoveService(at=rig.world.now, service=chat))
    rig.pass_s(20)


def _stall(rig: Rig, service: ServiceId) -> None:
    for attempt in list(rig.core.state.services[service].gangs)[:1]:
        node = rig.core.state.gangs[attempt].nodes[0]
        now = rig.world.now
        rig.give(inputs.ReplicaUnready(at=now, attempt=attempt, detail="no answer"))
        rig.pass_s(1)
        if attempt in rig.core.state.gangs:
            rig.give(inputs.MemberExited(at=rig.world.now, attempt=attempt, node=node, code=1))
    rig.pass_s(0.1)
    for attempt in list(rig.core.state.services[service].gangs):
        gang = rig.core.state.gangs[attempt]
        if not gang.running_at:
            rig.give(inputs.MemberExited(at=rig.world.now, attempt=attempt, node=gang.nodes[0], code=1))


def _maintenance(rig: Rig) -> None:
    rig.submit("drained-1", name="drained", nodes=2, config={"steps": 150}, expected="10m")
    rig.pass_s(10)
    node = NodeId(rig.nodes_of("drained-1")[0])
    rig.give(inputs.DrainNode(at=rig.world.now, node=node, by="operator", reason="new cable"))
    rig.pass_s(60)
    rig.give(inputs.UndrainNode(at=rig.world.now, node=node))
    now = rig.world.now
    rig.give(inputs.NodeOccupied(at=now, node=NodeId("n31"), by="others: job 4711"))
    window = Window(
        name="launch",
        kind="reservation",
        tenant=TenantId("beta"),
        nodes=(NodeId("n30"),),
        start_at=now + MINUTE,
        end_at=now + HOUR,
        reason="release",
    )
    rig.give(inputs.SetWindow(at=now, window=window, by="operator"))
    rig.pass_s(90)
    rig.give(inputs.EndWindow(at=rig.world.now, name="launch"))
    rig.give(inputs.NodeOccupied(at=rig.world.now, node=NodeId("n31"), by=""))


def _slow(rig: Rig) -> None:
    rig.submit("paced-1", name="paced", nodes=8, command=("x",), expected="2h")
    rig.pass_s(20)
    gang = rig.core.state.gangs[AttemptId(str(rig.core.state.jobs[JobId("paced-1")].attempt))]
    for _ in range(40):
        attempt = rig.core.state.jobs[JobId("paced-1")].attempt
        if attempt == gang.attempt:
            work = {node: 150 if node == gang.nodes[2] else 100 for node in gang.nodes}
            rig.give(inputs.GangPaced(at=rig.world.now, attempt=attempt, paces=work))
        rig.pass_s(30)
    for name in ("spends-1", "spent-1"):
        rig.submit(name, name=name[:-2], tenant="poor", nodes=1, command=("x",), expected="1h")
        rig.pass_s(60)
    for name in ("waits-1", "waits-2"):
        rig.submit(name, name=name[:-2], nodes=11, command=("x",), expected="1h", priority="high")
        rig.pass_s(5)
    for name in ("waits-1", "waits-2", "paced-1", "spends-1", "spent-1"):
        rig.give(inputs.CancelJob(at=rig.world.now, job=JobId(name)))
        rig.pass_s(5)


def _others(rig: Rig) -> None:
    """People who come through the cluster's own scheduler: to free nodes, and to one where a gang is."""
    rig.submit("beside-1", name="beside", nodes=2, config={"steps": 100})
    rig.pass_s(10)
    nodes = (NodeId(rig.nodes_of("beside-1")[0]), NodeId("n12"), NodeId("n13"))
    for by in ("slurm: ann", ""):
        for node in nodes:
            until = rig.world.now + HOUR if by else 0
            rig.give(inputs.NodeOccupied(at=rig.world.now, node=node, by=by, until=until))
        rig.pass_s(300)


def _disaster(rig: Rig) -> None:
    for k in (16, 17, 18, 19):
        rig.world.kill_node(NodeId(f"n{k}"))
    rig.pass_s(5)
    for k in (20, 21, 22, 23):
        rig.world.kill_node(NodeId(f"n{k}"))
    rig.pass_s(600)
    rig.pass_s(7 * 24 * 3600)


def folded(entries: Iterable[bytes]) -> dict[str, Any]:
    """What a journal folds to: chosen fields, so that it does not change when views learn more."""
    state, ledger = State(), Ledger()
    kinds: Counter[str] = Counter()
    for body in entries:
        for fact in wire.decode(body).facts:
            apply(state, fact)
            ledger.fold(fact)
            kinds[type(fact).__name__] += 1
    ledger.advance(state.now)
    jobs = {
        one.job: [one.state, one.attempts, one.step, one.kept_step, [ended.cause for ended in one.history]]
        for one in views.jobs(state)
    }
    bills = {
        name: str(invoices.invoice(invoices.usage(ledger, TenantId(name))).total) for name in state.tenants
    }
    return {
        "now": state.now,
        "jobs": jobs,
        "nodes": {one.node: [one.state, one.chips_free, one.cordoned] for one in views.nodes(state)},
        "services": {one.service: one.wanted for one in views.services(state)},
        "tenants": {
            one.tenant: [one.chips_quota, one.chips_used] for one in holdings.tenants(state, state.now)
        },
        "keys": {one.key: one.role for one in state.keys.values()},
        "incidents": {one.incident: [one.kind, one.domain] for one in views.incidents(state)},
        "chip_ns": {name: spent for name, spent in books.site(ledger).buckets.items() if spent},
        "bills": bills,
        "facts": dict(sorted(kinds.items())),
    }


def digest(summary: dict[str, Any]) -> str:
    """One digest of what a journal folds to."""
    text = json.dumps(summary, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def main(name: str) -> None:
    """Write both files, unless they are there."""
    path = FOLDER / f"{name}.jsonl"
    if path.exists():
        raise SystemExit(
            f"{path} stands for the journals that sites have: it never changes. Take a new name."
        )
    entries = told()
    summary = folded(entries)
    path.write_bytes(b"".join(body + b"\n" for body in entries))
    path.with_suffix(".folded.json").write_bytes(msgspec.json.format(msgspec.json.encode(summary)) + b"\n")
    print(f"{path}: {len(entries)} entries, folds to {digest(summary)}")


if __name__ == "__main__":
    main(sys.argv[1])
