"""Leader and standby as real processes over a real PostgreSQL: killed, stopped, without their database."""

import json
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from bench.peers.postgres import Cluster

from tests.server import exposition
from tests.server.harness import Clients, Server, command, members_of, python, wait_for

_CLIENTS = 4
_TWO_NODES = """
name: two
chip: local-cpu
chips_per_node: 1
spares: 0
pods: [{name: p0, racks: 1, nodes_per_rack: 2}]
"""
_TAKEOVER_S = 15.0  # of a busy machine; the benchmark knows how long it takes


class Pair:
    """A leader and its standbys on one database."""

    def __init__(self, stack: ExitStack, folder: Path, url: str, *options: str) -> None:
        self._stack, self._folder = stack, folder
        self._options = ("--journal", url, *options)
        self.leader = self.add("leader")

    def add(self, name: str, *more: str) -> Server:
        """One more control plane."""
        server = Server(self._folder / name, *self._options, *more)
        self._stack.callback(server.end)
        return server.start()

    def standby(self, name: str = "standby") -> Server:
        """One more that waits, and knows the leader."""
        server = self.add(name, "--standby")
        wait_for(lambda: role(server).get("leader_url") == self.leader.url, lambda: str(role(server)))
        return server


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Ends every process."""
    with ExitStack() as made:
        yield made


@pytest.fixture
def pair(stack: ExitStack, tmp_path: Path, postgres: Cluster) -> Pair:
    """A leader over the simulated world."""
    return Pair(stack, tmp_path, postgres.database(), "--engine", "memory")


def role(server: Server) -> dict[str, object]:
    """What its health says, a moment without an answer aside."""
    try:
        return dict(server.ask("GET", "//healthz", key="").tree)
    except (httpx.TransportError, json.JSONDecodeError):
        return {}


def wait_lead(*candidates: Server) -> Server:
    """Wait until one of them leads, for good; know its key."""
    found: list[Server] = []

    def leads() -> bool:
        found[:] = [one for one in candidates if role(one).get("role") == "leader"]
        return bool(found)

    wait_for(leads, lambda: "\n".join(one.said() for one in candidates), _TAKEOVER_S)
    (one,) = found
    wait_for(lambda: bool(json.loads((one.home / "context.json").read_text())["key"]))
    one.key = json.loads((one.home / "context.json").read_text())["key"]
    return one


class Load(Clients):
    """Clients that submit without pause, each intent again under its own key until it is acknowledged.

    They ask one server after the other until one takes it: who is deposed, or stands by, answers 503.
    """

    def __init__(self, *servers: Server) -> None:
        self.servers = list(servers)
        self.acknowledged: dict[str, str] = {}
        self.unexpected: list[str] = []
        super().__init__(_CLIENTS)

    def run(self, number: int) -> None:
        count, tries = 0, number
        while not self.over.is_set():
            once, server = f"{number}-{count}", self.servers[tries % len(self.servers)]
            try:
                answer = server.ask(
                    "POST",
                    "/jobs",
                    {"spec": command("x", name=f"l{once}")},
                    headers={"Idempotency-Key": once},
                    timeout=5,
                )
            except (httpx.TransportError, json.JSONDecodeError):
                tries += 1
                time.sleep(0.02)
                continue
            if answer.status in (200, 201):
                self.acknowledged[once] = answer.tree["job"]["job"]
                count += 1
            elif answer.status == 503:
                tries += 1
            else:
                self.unexpected.append(answer.text)
            time.sleep(0.01)


def check_kept(server: Server, load: Load) -> None:
    """Every acknowledged intent is there, none is there twice, and the journal folds to the live state."""
    assert not load.unexpected, load.unexpected[:3]
    acknowledged = list(load.acknowledged)
    jobs = Counter(one["name"] for one in server.get("/jobs"))
    assert max(jobs.values()) == 1
    missing = {f"l{once}" for once in acknowledged} - set(jobs)
    assert not missing, f"of {len(acknowledged)} acknowledged: {missing}"
    verified = server.post("/journal/verify")
    assert verified["equal"] and not verified["problem"], verified


def test_a_killed_leader_is_followed_by_one_of_two_standbys_and_nothing_acknowledged_is_lost(
    pair: Pair,
) -> None:
    standbys = [pair.standby("one"), pair.standby("two")]
    answer = standbys[0].ask("POST", "/jobs", {})
    assert answer.status == 503 and pair.leader.url in answer.tree["remedy"], answer.text
    assert answer.tree["value"] == pair.leader.url
    assert httpx.get(standbys[0].gateway + "/v1/models").status_code == 503
    roles = [one.ask("GET", "//metrics").text for one in (pair.leader, standbys[0])]
    for text, who in zip(roles, ("leader", "standby"), strict=True):
        families = exposition.parsed(text)
        is_it = {dict(one.labels)["role"]: value for one, value in families["myriad_role"].samples.items()}
        assert is_it == {"leader": who == "leader", "standby": who == "standby"}
        assert "myriad_journal_sequence" in families and "process_resident_memory_bytes" in families
    pair.leader.tenant()
    with Load(pair.leader) as load:
        wait_for(lambda: len(load.acknowledged) > 40)
        pair.leader.kill()
    next_one = wait_lead(*standbys)
    (other,) = (one for one in standbys if one is not next_one)
    check_kept(next_one, load)
    wait_for(lambda: role(next_one).get("term") == 2)
    assert httpx.get(next_one.gateway + "/healthz").status_code == 200
    next_one.tenant_keys = pair.leader.tenant_keys
    assert next_one.submit(command("x", name="after"))
    follows = {"role": "standby", "leader_url": next_one.url}
    wait_for(lambda: follows.items() <= role(other).items(), lambda: str(role(other)))
    assert other.stop() == 0
    assert next_one.stop() == 0


def test_a_second_one_without_standby_is_refused_and_names_the_leader(pair: Pair, tmp_path: Path) -> None:
    second = Server(tmp_path / "second")
    process = second.spawn(*pair.leader.options)
    assert process.wait(30) == 2
    assert f"is led by another control plane: {role_name()}" in second.said(), second.said()
    assert pair.leader.url in second.said() and "--standby" in second.said()
    assert "Traceback" not in second.said()
    assert pair.leader.get("/site")["open"]


def role_name() -> str:
    """The machine, as a leader names itself."""
    import socket

    return socket.gethostname()


def test_a_leader_that_stops_cleanly_is_followed_at_once_and_a_closed_site_ends_its_standby(
    pair: Pair,
) -> None:
    standby = pair.standby()
    assert pair.leader.stop() == 0
    wait_lead(standby)
    third = pair.leader = standby
    waiting = pair.standby("third")
    third.post("/site/close", {"grace_s": 0})
    assert third.process and third.process.wait(20) == 0
    assert waiting.process and waiting.process.wait(20) == 0
    assert "the site was closed by its leader" in waiting.said()


def test_what_a_frozen_leader_still_wanted_to_do_has_no_effect(
    stack: ExitStack, tmp_path: Path, postgres: Cluster
) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(_TWO_NODES)
    data = tmp_path / "data"
    pair = Pair(stack, tmp_path, postgres.database(), "--site", str(site), "--data", str(data))
    old, starts = pair.leader, tmp_path / "starts"
    end = Server(data)
    stack.callback(end.end)  # the nodes are those of the shared folder
    old.tenant()
    old.wait_ready(2)
    code = "import os, time; open(%r, 'a').write(os.environ['MYRIAD_ATTEMPT'] + '\\n'); time.sleep(600)"
    job = old.submit(python(code % str(starts), name="long"))
    old.wait_state(job, "running")
    new = pair.standby()
    assert old.process
    old.process.send_signal(signal.SIGSTOP)
    late: list[object] = []
    asking = threading.Thread(target=lambda: late.append(_status(old, "/jobs", command("x", name="late"))))
    asking.start()
    wait_lead(new)
    new.wait_state(job, "running")
    new.post(f"/jobs/{job}/cancel")
    new.wait_state(job, "cancelled")
    wait_for(lambda: not members_of(data))
    old.process.send_signal(signal.SIGCONT)
    assert old.process.wait(20) == 3
    assert "another control plane leads" in old.said() and "Traceback" not in old.said()
    asking.join()
    assert late[0] in (503, "gone"), late
    assert {one["name"] for one in new.get("/jobs")} == {"long"}
    time.sleep(0.5)  # for an order that must not come
    assert not members_of(data)
    assert starts.read_text().split() == [f"{job}.1"], "adopted, not started again"
    assert new.post("/journal/verify")["equal"]


def _status(server: Server, path: str, spec: object) -> object:
    try:
        return server.ask("POST", path, {"spec": spec}).status
    except httpx.TransportError:
        return "gone"


@pytest.mark.parametrize(
    "how",
    # a clean restart is the gentler of the two, and takes as long
    [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGQUIT],
    ids=["restarted", "crashed"],
)
def test_the_database_may_go_away_under_load(pair: Pair, postgres: Cluster, how: int) -> None:
    standby = pair.standby()
    pair.leader.tenant()
    with Load(pair.leader) as load:
        for _ in range(2):
            before = len(load.acknowledged)
            wait_for(lambda before=before: len(load.acknowledged) > before + 30)
            postgres.stop(how)
            time.sleep(0.3)
            postgres.start()
        before = len(load.acknowledged)
        wait_for(lambda: len(load.acknowledged) > before + 30, pair.leader.said)
    check_kept(pair.leader, load)
    # its term is the first one still: a database that was away deposes nobody
    wait_for(lambda: role(pair.leader).get("term") == 1, lambda: str(role(pair.leader)))
    wait_for(lambda: role(standby).get("leader_url") == pair.leader.url)
    assert standby.stop() == 0 and pair.leader.stop() == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_whatever_happens_to_whom(pair: Pair, postgres: Cluster) -> None:
    """Minutes, because a lease passes each time: leaders killed, frozen, stopped, the database crashed."""
    chance, first = random.Random(11), pair.leader
    servers = [first, pair.standby("one"), pair.standby("two")]
    first.tenant()
    for server in servers:
        server.key = first.key
    with Load(*servers) as load:
        for number in range(20):
            before = len(load.acknowledged)
            _happen(
                chance.choice(["kill", "freeze", "stop", "database", "standby", "both"]), servers, postgres
            )
            wait_for(lambda before=before: len(load.acknowledged) > before + 20, patience_s=60)
            if number % 4 == 0:
                check_kept(_leader(servers), load)
    check_kept(_leader(servers), load)
    assert len(load.acknowledged) > 400


def _leader(servers: list[Server]) -> Server:
    found: list[Server] = []

    def one_leads() -> bool:
        found[:] = [one for one in servers if _runs(one) and role(one).get("role") == "leader"]
        return len(found) == 1

    wait_for(one_leads, lambda: "\n".join(one.said()[-800:] for one in servers), 60)
    return found[0]


def _runs(server: Server) -> bool:
    return bool(server.process) and server.process.poll() is None  # type: ignore[union-attr]


def _happen(what: str, servers: list[Server], postgres: Cluster) -> None:
    """One mishap; afterwards everyone who ended is back, as a standby."""
    leader = _leader(servers)
    others = [one for one in servers if one is not leader]
    assert leader.process
    if what in ("kill", "both"):
        leader.kill()
    if what in ("database", "both"):
        postgres.stop(signal.SIGQUIT)
        time.sleep(1)
        postgres.start()
    if what == "stop":
        assert leader.stop() == 0
    if what == "standby":
        others[0].kill()
    if what == "freeze":
        leader.process.send_signal(signal.SIGSTOP)
        _leader(others)
        leader.process.send_signal(signal.SIGCONT)
        assert leader.process.wait(20) == 3, leader.said()[-2000:]
    for one in servers:
        if not _runs(one):
            one.options = (*one.options, "--standby")
            key = one.key
            one.start()
            one.key = key
