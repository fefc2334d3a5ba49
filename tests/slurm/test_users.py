"""Tenants that are Unix users, on a real Slurm: their gangs run as them, and neither reaches the other's.

Daemons and Myriad run as root here, which alone may submit for others without sudo.
"""

import contextlib
import hashlib
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.end_to_end import sites
from tests.server.harness import ROOT, Answer, Server, wait_for
from tests.slurm import plane
from tests.slurm.cluster import Cluster, available, wait_until

NODES, CHIPS = 4, 2
#: Counts, and keeps a checkpoint every five steps; says who it is; asked to end, says so and ends.
_TRAIN = """
import os, pathlib, signal, sys, time
import myriad.worker as worker

def leave(*_):
    print("asked to end", flush=True)
    sys.exit(0)

signal.signal(signal.SIGTERM, leave)
print("i am", os.getuid(), os.getgid(), sorted(os.getgroups()), oct(os.umask(0o027)), flush=True)
kept = worker.checkpoint_dir()
step = max((int(one.name) for one in kept.iterdir()), default=0)
worker.resumed(step)
while True:
    time.sleep(0.05)
    step += 1
    worker.report(step=step, tokens=1, step_s=0.05)
    if step % 5 == 0 and os.environ["RANK"] == "0":
        (kept / str(step)).touch()
        worker.checkpoint_saved(step=step, path=kept / str(step))
"""
#: What one tenant may try against another: it prints what it could do, and then puts links where its log was.
_PRY = """
import os, pathlib, sys, time
from myriad.worker import output_dir

def tried(what, deed):
    try:
        print(what, "done:", deed(), flush=True)
    except OSError as error:
        print(what, "refused:", error.strerror, flush=True)

folder, job, attempt, pid, data = sys.argv[1:]
tried("results", lambda: os.listdir(folder))
tried("log", lambda: open(f"{folder}/jobs/{job}/logs/{attempt}/rank-0.log").read())
tried("plan", lambda: open(f"{data}/slurm/spool/{attempt}/plan.json").read())
tried("claim", lambda: open(f"{data}/slurm/claims/{attempt}", "w"))
tried("stop", lambda: open(f"{data}/slurm/orders/{attempt}/stop", "w"))
tried("others", lambda: os.listdir(f"{data}/slurm/orders"))
tried("environment", lambda: open(f"/proc/{pid}/environ").read())
tried("signal", lambda: os.kill(int(pid), 15))
print("pried", flush=True)
log = output_dir().parent / "logs" / os.environ["MYRIAD_ATTEMPT"] / "rank-0.log"
while not os.path.exists(f"{data}/go"):
    time.sleep(0.05)
log.rename(output_dir() / "mine")
log.symlink_to(f"{data}/secret")
print("linked", flush=True)
time.sleep(600)
"""


class Two(NamedTuple):
    """A site of two tenants, acme and beta, and their users."""

    server: Server
    cluster: Cluster
    data: Path
    python: str
    users: dict[str, pwd.struct_passwd]

    def of(self, tenant: str) -> Path:
        """All that the tenant's gangs leave."""
        return self.data / "users" / self.users[tenant].pw_name

    def submit(self, tenant: str, code: str, *words: str, **more: Any) -> str:
        """A job of that tenant."""
        argv = [self.python, "-c", code, *words]
        spec = {"name": f"of-{tenant}", "tenant": tenant, "command": argv, "launch": "node"}
        return self.server.submit(spec | {"nodes": 1, "chips_per_node": CHIPS} | more)

    def log(self, job: str, rank: int = 0) -> str:
        """As `myriad logs` shows it."""
        answer = self.server.ask("GET", f"/jobs/{job}/logs?rank={rank}")
        return answer.text if answer.status == 200 else ""

    def wait_log(self, job: str, words: str) -> str:
        """Wait until the log has these words."""
        wait_for(lambda: words in self.log(job), lambda: f"{self.server.job(job)}: {self.log(job)}", 60)
        return self.log(job)


@pytest.fixture(scope="module")
def users() -> dict[str, pwd.struct_passwd]:
    if os.geteuid() != 0:
        pytest.skip("only root may run gangs as other users")
    found = []
    for name in ("games", "nobody", "mail", "news"):
        with contextlib.suppress(KeyError):
            found.append(pwd.getpwnam(name))
    if len(found) < 2:
        pytest.skip("this machine has no two users that may be borrowed")
    return dict(zip(("acme", "beta"), found, strict=False))


@pytest.fixture(scope="module")
def python(users: dict[str, pwd.struct_passwd]) -> str:
    """One that the users may run: that of the tests, unless it is in a folder of somebody's own."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for found in (sys.executable, shutil.which(version, path="/usr/bin:/usr/local/bin")):
        if found and all(_runs(found, user) for user in users.values()):
            return found
    pytest.skip(f"no {version} that other users may run")


def _runs(program: str, user: pwd.struct_passwd) -> bool:
    argv = [program, "-c", "import msgspec, myriad.worker"]
    try:
        done = subprocess.run(
            argv, user=user.pw_uid, group=user.pw_gid, env=_path(), check=False, capture_output=True
        )
    except OSError:
        return False
    return done.returncode == 0


def _path() -> dict[str, str]:
    return {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{sysconfig.get_path('purelib')}"}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """One that every user may enter; those of tests are closed."""
    made = Path(tempfile.mkdtemp(prefix="myriad-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
def both(users: dict[str, pwd.struct_passwd], python: str, folder: Path) -> Iterator[Two]:
    if problem := available():
        pytest.skip(f"Slurm: {problem}")
    tools, data = folder / "tools", folder / "data"
    for made in (tools, data, folder / "model"):
        made.mkdir()
    (data / "secret").touch(0o600)
    (data / "secret").write_text("for Myriad alone")
    vllm = tools / "vllm"
    vllm.write_text(f'#!/bin/sh\nexec {python} {ROOT / "tests/server/fake_vllm.py"} "$@"\n')
    vllm.chmod(0o755)
    (folder / "model" / "config.json").write_text("{}")
    named = {tenant: {"user": user.pw_name} for tenant, user in users.items()}
    with Cluster(folder / "s", NODES, CHIPS) as cluster:
        site = plane.site_file(cluster, folder, {"stop_grace": "30s"}, tenants=named)
        env = cluster.env | _path() | {"PATH": f"{tools}{os.pathsep}{cluster.env['PATH']}", "SECRET": "s3"}
        server = Server(
            folder / "home", "--engine", "slurm", "--site", str(site), "--data", str(data), env=env
        )
        server.python = python
        try:
            server.start()
            wait_for(lambda: plane.usable(server) == NODES, server.said, plane.PATIENCE_S)
            for tenant in users:
                server.tenant(tenant, NODES * CHIPS)
            yield Two(server, cluster, data, python, users)
        finally:
            server.end()
            digest = hashlib.blake2b(os.fsencode(data), digest_size=4).hexdigest()
            for left in Path("/dev/shm").glob(f"myriad-*-{digest}-*"):
                shutil.rmtree(left)


@pytest.fixture
def two(both: Two) -> Two:
    """Nothing runs, and all nodes are in service, whatever the test before left."""
    both.cluster.whole()
    if both.server.process is None or both.server.process.poll() is not None:
        both.server.start(plane.PATIENCE_S)
    plane.empty(both.server)
    plane.mend(both.server, both.cluster)
    return both


@pytest.mark.timeout(240)
def test_gangs_of_tenants_run_as_their_users_and_are_closed_to_one_another(two: Two) -> None:
    acme = two.users["acme"]
    trained = two.submit("acme", _TRAIN, nodes=2)
    groups = sorted(os.getgrouplist(acme.pw_name, acme.pw_gid))
    said = two.wait_log(trained, "i am")
    assert f"i am {acme.pw_uid} {acme.pw_gid} {groups} 0o27" in said
    rows = two.cluster.run("squeue", "--noheader", "--format=%u %j").splitlines()
    assert any(row.startswith(f"{acme.pw_name} ") and row.endswith(f"{trained}.1") for row in rows), rows
    until_kept(two, trained, 5)

    pid = _rank_of(acme.pw_uid)
    pried = two.submit("beta", _PRY, str(two.of("acme")), trained, f"{trained}.1", str(pid), str(two.data))
    said = two.wait_log(pried, "pried")
    assert said.count("refused: Permission denied") == 7 and "refused: Operation not permitted" in said, said
    assert "done" not in said

    # links in a tenant's own folder lead Myriad nowhere
    (two.data / "go").touch()
    wait_until(lambda: log_file(two, "beta", pried).is_symlink(), "the log is a link")
    assert log_file(two, "beta", pried).read_text() == "for Myriad alone" and two.log(pried) == ""

    step = two.server.job(trained)["kept_step"]
    before = list(two.server.job(trained)["placed_on"])
    two.cluster.kill_slurmd(before[1])
    resumed = int(sites.until_fact(two.server, "GangRunning", attempt=f"{trained}.2").get("step", 0))
    assert resumed >= step and before[1] not in two.server.job(trained)["placed_on"]
    two.cluster.start_slurmd(before[1])

    two.server.kill()
    two.server.start()
    until_kept(two, trained, resumed + 5)
    view = two.server.job(trained)
    assert (view["state"], view["attempts"]) == ("running", 2), "it was adopted"
    for job in (trained, pried):
        two.server.post(f"/jobs/{job}/cancel")
    two.server.wait_state(trained, "cancelled")
    two.server.wait_state(pried, "cancelled")
    assert "asked to end" in log_file(two, "acme", trained, 2).read_text()
    plane.wait_node(two.server, before[1], "ready", "spare")
    wait_for(lambda: not two.cluster.run("squeue", "--noheader"), patience_s=60)
    for tenant, user in two.users.items():
        found = [path.lstat() for path in two.of(tenant).rglob("*") if not path.is_symlink()]
        assert {one.st_uid for one in found} == {user.pw_uid}, "Myriad writes nothing there"
        # it reads there by its group, without being root too
        assert {one.st_gid for one in found} == {os.getegid()}
        assert all(one.st_mode & 0o040 and not one.st_mode & 0o007 for one in found)


@pytest.mark.timeout(120)
def test_a_job_of_somebody_else_is_not_the_gangs_however_it_is_called(two: Two) -> None:
    job = two.submit("acme", "import time; time.sleep(600)")
    two.server.wait_state(job, "running")
    _, name = two.cluster.job_of(f"{job}.1")
    (taken,) = two.server.job(job)["placed_on"]
    free, other = [node for node in two.cluster.names if node != taken][:2]
    row = f"1|RUNNING|{two.users['acme'].pw_name}|{other}|N/A|None|{name}"
    lies = [as_user(two, "beta", free, name), as_user(two, "beta", free, f"x\n{row}")]
    try:
        plane.wait_node(two.server, free, "occupied")
        two.server.kill()
        two.server.start()
        shown = plane.wait_node(two.server, free, "occupied")
        assert f"of {two.users['beta'].pw_name}" in shown["occupied_by"]
        assert plane.node(two.server, other)["state"] in ("ready", "spare")
        view = two.server.job(job)
        assert (view["state"], view["attempts"], view["placed_on"]) == ("running", 1, [taken])
        assert two.cluster.job_state(lies[0]) == "RUNNING", "and it is let alone"
    finally:
        two.cluster.run("scancel", *lies)
    two.server.post(f"/jobs/{job}/cancel")
    two.server.wait_state(job, "cancelled")
    plane.wait_node(two.server, free, "ready", "spare")


def as_user(two: Two, tenant: str, node: str, name: str) -> str:
    """A job that the tenant's user submits by hand; its number."""
    user = two.users[tenant]
    words = ["sbatch", "--parsable", f"--nodelist={node}", f"--job-name={name}", "--output=/dev/null"]
    done = subprocess.run(
        [*words, "--chdir=/", "--wrap=sleep 600"],
        user=user.pw_uid, group=user.pw_gid, extra_groups=[], env=two.cluster.env,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_a_service_of_a_tenant_runs_as_its_user_and_answers(two: Two) -> None:
    server = two.server
    spec = {
        "name": "coder",
        "tenant": "acme",
        "engine": "vllm",
        "model": {"path": str(two.data.parent / "model")},
    }
    spec |= {"chips_per_replica": CHIPS, "replicas": {"min": 1, "max": 1}}
    key = server.tenant("acme")
    server.post("/services", {"spec": spec}, key=key)

    def ready() -> list[Any]:
        return [one for one in server.get("/services")[0]["replicas"] if one["state"] == "ready"]

    wait_for(ready, lambda: str(server.get("/services")), plane.PATIENCE_S)
    body = {"model": "coder", "messages": [{"role": "user", "content": "hello"}]}
    headers = {"Authorization": f"Bearer {key}"}
    answer = Answer(server.client.post(f"{server.gateway}/v1/chat/completions", json=body, headers=headers))
    assert answer.status == 200, answer.text
    pid = int(answer.tree["choices"][0]["message"]["content"].split()[1])
    assert os.stat(f"/proc/{pid}").st_uid == two.users["acme"].pw_uid
    environment = Path(f"/proc/{pid}/environ").read_text()
    assert "SECRET=" not in environment, "what Myriad knows is not for tenants"
    server.ask("DELETE", "/services/coder")
    wait_for(lambda: server.get("/services") == [], patience_s=60)


def until_kept(two: Two, job: str, step: int) -> None:
    """Wait for a checkpoint of at least that step."""
    wait_for(
        lambda: two.server.job(job)["kept_step"] >= step,
        lambda: f"{two.server.job(job)}: {two.log(job)} {two.server.said()}",
        plane.PATIENCE_S,
    )


def log_file(two: Two, tenant: str, job: str, attempt: int = 1) -> Path:
    """Of the first rank, where the tenant's processes write it."""
    return two.of(tenant) / "jobs" / job / "logs" / f"{job}.{attempt}" / "rank-0.log"


def _rank_of(uid: int) -> int:
    """A process of that user which is a rank."""
    found: list[int] = []

    def look() -> bool:
        for name in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                its = name.isdigit() and os.stat(f"/proc/{name}").st_uid == uid
                if its and "RANK=" in Path(f"/proc/{name}/environ").read_text():
                    found.append(int(name))
        return bool(found)

    wait_until(look, "a rank runs")
    return found[0]
