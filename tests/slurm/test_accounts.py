"""Accounts, QOS and limits of a real Slurm with slurmdbd: whose name gangs bear, and what a no of Slurm does.

One user runs all of it, with a right to the accounts of two tenants; nobody needs to be root.
"""

import getpass
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from myriad.engines.slurm import health
from tests.server.harness import Server, python, wait_for
from tests.slurm import plane
from tests.slurm.cluster import Cluster, available, wait_until

NODES, CHIPS = 4, 2
_ME = getpass.getuser()
_SLEEP = "import time; time.sleep(600)"
#: `ghost` has an account that does not exist, and `proud` a QOS that its account may not use.
_TENANTS = {
    "acme": {"account": "acme-ai", "qos": "gold"},
    "beta": {"account": "beta-ai", "qos": "low"},
    "ghost": {"account": "ghost-ai"},
    "proud": {"account": "beta-ai", "qos": "gold"},
}


class Site(NamedTuple):
    """Myriad over a Slurm that keeps accounts."""

    server: Server
    cluster: Cluster

    def submit(self, tenant: str, code: str = _SLEEP, **more: Any) -> str:
        """A job of that tenant."""
        spec = {"nodes": 1, "chips_per_node": CHIPS, "launch": "node", "name": f"of-{tenant}"} | more
        return self.server.submit(python(code, **spec) | {"tenant": tenant})

    def book(self, *words: str) -> None:
        """Change the accounts."""
        self.cluster.run("sacctmgr", "--immediate", *words)

    def why(self, job: str) -> str:
        """What `myriad explain` says of it."""
        return str(self.server.get(f"/jobs/{job}/explain")["text"])

    def wait_why(self, job: str, words: str) -> str:
        """Wait until it says this."""
        wait_for(
            lambda: words in self.why(job),
            lambda: f"{self.why(job)} {self.server.job(job)} {self.server.said()}",
            plane.PATIENCE_S,
        )
        return self.why(job)

    def wait_running(self, job: str) -> None:
        """Wait until it runs."""
        wait_for(
            lambda: self.server.job(job)["state"] == "running",
            lambda: f"{self.why(job)} {self.server.said()}",
            plane.PATIENCE_S,
        )

    def pauses_s(self, job: str) -> list[int]:
        """How long it was held back after each attempt."""
        return [
            round((fact["until"] - fact["at"]) / 1e9)
            for entry in self.server.journal()
            for fact in entry["facts"]
            if fact["type"] == "JobHeld" and fact["job"] == job
        ]

    def moved(self) -> list[str]:
        """Every state that a node was ever in."""
        facts = itertools.chain.from_iterable(entry["facts"] for entry in self.server.journal())
        return [json.dumps(fact) for fact in facts if fact["type"] in ("NodeMoved", "NodeLost")]

    def end(self, *jobs: str) -> None:
        """Cancel them, and wait until Slurm has nothing of ours."""
        for job in jobs:
            self.server.post(f"/jobs/{job}/cancel")
            self.server.wait_state(job, "cancelled")
        wait_for(lambda: not self.cluster.run("squeue", "--noheader"), patience_s=plane.PATIENCE_S)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if problem := available(accounting=True):
        pytest.skip(f"Slurm: {problem}")
    with Cluster(tmp_path_factory.mktemp("slurm"), NODES, CHIPS, accounting=True) as cluster:
        book = Site(Server(Path()), cluster).book
        book("add", "qos", "gold,low")
        book("add", "account", "acme-ai,beta-ai")
        book("add", "user", _ME, "account=acme-ai", "qos=gold", "defaultqos=gold")
        book("add", "user", _ME, "account=beta-ai", "qos=low", "defaultqos=low")
        with plane.running(cluster, tmp_path_factory.mktemp("home"), tenants=_TENANTS) as server:
            for tenant in _TENANTS:
                server.tenant(tenant, NODES * CHIPS)
            yield Site(server, cluster)


@pytest.mark.timeout(120)
def test_gangs_bear_the_account_and_the_qos_of_their_tenant(site: Site) -> None:
    jobs = {tenant: site.submit(tenant, "pass", nodes=2) for tenant in ("acme", "beta")}
    for job in jobs.values():
        site.server.wait_state(job, "succeeded")

    def booked() -> set[str]:
        words = (
            "--noheader",
            "--parsable2",
            "--allocations",
            "--format=JobName,User,Account,QOS,NNodes,State",
        )
        return set(site.cluster.run("sacct", *words).splitlines())

    wanted = {
        f"{jobs[tenant]}.1|{_ME}|{account['account']}|{account['qos']}|2|COMPLETED"
        for tenant, account in _TENANTS.items()
        if tenant in jobs
    }
    wait_until(lambda: wanted <= {row.partition("/")[2] for row in booked()}, f"{wanted} in {booked()}")
    burned = {row for row in booked() if "burn-in" in row}
    assert len(burned) == NODES, "which are Myriad's own, and bear the name of its default account"


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("tenant", "no", "remedy"),
    [
        (
            "ghost",
            "Invalid account or account/partition combination specified",
            [("add", "account", "ghost-ai"), ("add", "user", _ME, "account=ghost-ai")],
        ),
        (
            "proud",
            "Invalid qos specification",
            [("modify", "user", _ME, "where", "account=beta-ai", "set", "qos+=gold")],
        ),
    ],
)
def test_what_slurm_refuses_waits_until_it_is_mended_and_is_nobodys_fault(
    site: Site, tenant: str, no: str, remedy: list[tuple[str, ...]]
) -> None:
    before = site.moved()
    job = site.submit(tenant, nodes=2, retries=0)
    wait_for(lambda: len(site.pauses_s(job)) >= 3, lambda: f"{site.why(job)} {site.server.said()}", 60)
    assert site.pauses_s(job)[:3] == [1, 2, 4]
    said = site.wait_why(job, no)
    assert "by no fault of its own" in said and "vanished" not in said
    assert not [node for node in site.cluster.names if node in said], "no node is named for it"
    assert no in site.server.said(), "operators are told, too"
    for words in remedy:
        site.book(*words)
    site.wait_running(job)
    assert site.moved() == before, "no node was lost, or measured again"
    site.end(job)


@pytest.mark.timeout(180)
def test_a_limit_of_slurm_holds_a_gang_and_myriad_says_which(site: Site) -> None:
    site.book("modify", "qos", "low", "set", "MaxJobsPerUser=1")
    first = site.submit("beta")
    site.wait_running(first)
    second = site.submit("beta")
    said = site.wait_why(second, "QOSMaxJobsPerUserLimit")
    assert "waits in Slurm as job" in said
    assert site.server.job(second)["state"] == "placed"
    site.book("modify", "qos", "low", "set", "MaxJobsPerUser=-1")
    site.wait_running(second)
    assert "QOSMaxJobsPerUserLimit" not in site.why(second) and site.server.job(second)["attempts"] == 1
    site.end(first, second)


def test_who_may_drain_is_read_from_the_accounts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in site.cluster.env.items():
        monkeypatch.setenv(name, value)
    site.book("add", "user", "games", "account=acme-ai", "adminlevel=operator")
    site.book("add", "user", "news", "account=acme-ai")
    config = {"SlurmUser": "slurm(64030)", "AccountingStorageType": "accounting_storage/slurmdbd"}
    assert health.rights(config, "games").result == "ok"
    for user, level in {"news": "None", "nobody": "unknown"}.items():
        found = health.rights(config, user)
        assert found.result == "fail" and f"admin level {level}" in found.found, found
    own = {finding.check: finding for finding in health.findings()}["slurm: rights"]
    assert own.result == "ok", own
