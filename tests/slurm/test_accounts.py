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
from tools.slurm import processes

from myriad.engines.slurm import health
from myriad.engines.slurm.config import Account, Config
from myriad.engines.slurm.users import accounthealth
from tests.server.harness import Server, python, wait_for
from tests.slurm import plane
from tests.slurm.cluster import Cluster, available, wait_until

NODES, CHIPS = 4, 2
_ME = getpass.getuser()
_NO = "Batch job submission failed: Invalid account or account/partition combination specified"
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

    def why(self, job: str) -> str:
        """What `myriad explain` says of it."""
        return str(self.server.get(f"/jobs/{job}/explain")["text"])

    def wait_why(self, job: str, words: str) -> str:
        """Wait until it says this."""
        said = ""

        def says() -> bool:
            nonlocal said
            said = self.why(job)
            return words in said

        wait_for(says, lambda: f"{said} {self.server.job(job)} {self.server.said()}", plane.PATIENCE_S)
        return said

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

    def end(self, *jobs: str) -> None:
        """Cancel them, and wait until Slurm has nothing of ours."""
        for job in jobs:
            self.server.post(f"/jobs/{job}/cancel")
            self.server.wait_state(job, "cancelled", patience_s=plane.PATIENCE_S)
        wait_for(lambda: not self.cluster.run("squeue", "--noheader"), patience_s=plane.PATIENCE_S)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if problem := available(accounting=True):
        pytest.skip(f"Slurm: {problem}")
    with Cluster(tmp_path_factory.mktemp("slurm"), NODES, CHIPS, accounting=True) as found:
        book(found, "add", "qos", "gold,low")
        book(found, "add", "account", "acme-ai,beta-ai")
        book(found, "add", "user", _ME, "account=acme-ai", "qos=gold", "defaultqos=gold")
        book(found, "add", "user", _ME, "account=beta-ai", "qos=low", "defaultqos=low")
        yield found
    assert not processes.daemons(found.folder), "slurmdbd and its database end with the rest"


@pytest.fixture(scope="module")
def site(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with plane.running(cluster, tmp_path_factory.mktemp("home"), tenants=_TENANTS) as server:
        for tenant in _TENANTS:
            server.tenant(tenant, NODES * CHIPS)
        yield Site(server, cluster)


def book(cluster: Cluster, *words: str) -> None:
    """Change the accounts."""
    cluster.run("sacctmgr", "--immediate", *words)


def moved(server: Server) -> list[str]:
    """What nodes went through."""
    facts = itertools.chain.from_iterable(entry["facts"] for entry in server.journal())
    return [json.dumps(fact) for fact in facts if fact["type"] in ("NodeMoved", "NodeLost")]


@pytest.mark.timeout(240)
def test_nodes_wait_for_an_account_to_be_measured_in_and_are_not_lost(
    cluster: Cluster, tmp_path: Path
) -> None:
    file = plane.site_file(cluster, tmp_path, account="house")
    server = Server(tmp_path / "home", "--engine", "slurm", "--site", str(file), env=cluster.env)
    try:
        server.start()
        wait_for(lambda: f"burn-ins cannot begin: sbatch: sbatch: error: {_NO}" in server.said(), server.said)
        book(cluster, "add", "account", "house")
        book(cluster, "add", "user", _ME, "account=house")
        wait_for(lambda: plane.usable(server) == NODES, server.said, plane.PATIENCE_S)
        assert not [fact for fact in moved(server) if "NodeLost" in fact]
    finally:
        server.end()
        cluster.clear()


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


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("tenant", "no", "remedy"),
    [
        (
            "ghost",
            _NO,
            [("add", "account", "ghost-ai"), ("add", "user", _ME, "account=ghost-ai")],
        ),
        (
            "proud",
            "Batch job submission failed: Invalid qos specification",
            [("modify", "user", _ME, "where", "account=beta-ai", "set", "qos+=gold")],
        ),
    ],
)
def test_what_slurm_refuses_waits_until_it_is_mended_and_is_nobodys_fault(
    site: Site, tenant: str, no: str, remedy: list[tuple[str, ...]]
) -> None:
    before = moved(site.server)
    job = site.submit(tenant, nodes=2, retries=0)
    wait_for(lambda: len(site.pauses_s(job)) >= 3, lambda: f"{site.why(job)} {site.server.said()}", 60)
    assert site.pauses_s(job)[:3] == [1, 2, 4]
    said = site.wait_why(job, no)
    assert "by no fault of its own" in said and "vanished" not in said
    assert not [node for node in site.cluster.names if node in said], "no node is named for it"
    assert f"{job}.1 cannot start: sbatch: sbatch: error: {no}" in site.server.said()
    for words in remedy:
        book(site.cluster, *words)
    site.wait_running(job)
    assert moved(site.server) == before, "no node was lost, or measured again"
    site.end(job)


@pytest.mark.timeout(180)
def test_a_limit_of_slurm_holds_a_gang_and_myriad_says_which(site: Site) -> None:
    book(site.cluster, "modify", "qos", "low", "set", "MaxJobsPerUser=1")
    first = site.submit("beta")
    site.wait_running(first)
    second = site.submit("beta")
    said = site.wait_why(second, "QOSMaxJobsPerUserLimit")
    assert "waits in Slurm as job" in said
    assert site.server.job(second)["state"] == "placed"
    book(site.cluster, "modify", "qos", "low", "set", "MaxJobsPerUser=-1")
    site.wait_running(second)
    assert "QOSMaxJobsPerUserLimit" not in site.why(second) and site.server.job(second)["attempts"] == 1
    site.end(first, second)


def test_the_doctor_reads_the_accounts(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in cluster.env.items():
        monkeypatch.setenv(name, value)
    book(cluster, "add", "user", "games", "account=acme-ai", "adminlevel=operator")
    book(cluster, "add", "user", "news", "account=acme-ai")
    config = {"SlurmUser": "slurm(64030)", "AccountingStorageType": "accounting_storage/slurmdbd"}
    assert health.rights(config, "games").result == "ok"
    for user, level in {"news": "None", "nobody": "unknown"}.items():
        found = health.rights(config, user)
        assert found.result == "fail" and f"admin level {level}" in found.found, found
    own = {finding.check: finding for finding in health.findings()}["slurm: rights"]
    assert own.result == "ok", own

    section = Config(
        tenants={"acme": Account(account="acme-ai", qos="gold"), "lost": Account(account="no-ai")}
    )
    burn_ins, acme, lost = accounthealth.findings(section)
    assert burn_ins.result == acme.result == "ok", (burn_ins, acme)
    assert lost.result == "fail" and "Invalid account" in lost.found, lost
