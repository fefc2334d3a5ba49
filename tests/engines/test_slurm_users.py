"""Gangs of other users: who may be one, who may start them, whose word counts for what.

What is read of their files: `test_slurm_theirs`. Real users on a real Slurm: `tests/slurm/test_users.py`.
"""

import asyncio
import json
import os
import pwd
import shlex
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from myriad.engines.slurm import config
from myriad.engines.slurm.asking import batch
from myriad.engines.slurm.config import Config
from myriad.engines.slurm.engine import SlurmEngine
from myriad.engines.slurm.gangs import gang, sweeping
from myriad.engines.slurm.spool import STOPPED, Spool, write_json
from myriad.engines.slurm.users import homes, userhealth, users
from myriad.engines.slurm.users.users import User
from myriad.kernel.errors import UserError
from myriad.kernel.ids import AttemptId, NodeId
from myriad.protocol import inputs, orders
from myriad.server import main
from myriad.server.home import Home
from tests.engines.test_slurm_engine import _SITE as SITE
from tests.engines.test_slurm_engine import _START as START
from tests.engines.test_slurm_engine import Brain, Slurm, on_a_loop, wait_for

ATTEMPT = "job-a.1"
ME = os.getuid()
SOMEBODY = User("somebody", 4242, 4242, "/", "/bin/sh")


# ---- the section --------------------------------------------------------------------------------------


def test_a_tenants_own_user_goes_before_that_of_all() -> None:
    found = config.read({"user": "all", "tenants": {"acme": {"user": "alice"}, "beta": {"qos": "q"}}}, "site")
    assert [found.user_of(name) for name in ("acme", "beta", "other")] == ["alice", "all", "all"]
    assert found.users == {"alice": "slurm: tenants: acme: user", "all": "slurm: user"}
    assert Config().user_of("acme") == "" and Config().users == {}


def test_a_prefix_must_say_whom_to_become() -> None:
    with pytest.raises(UserError, match=r"submit_as.*{user}"):
        config.read({"submit_as": ["sudo", "-n"]}, "site")
    prefix = ("sudo", "-n", "-u", "{user}")
    assert users.becoming(Config(submit_as=prefix), SOMEBODY) == ["sudo", "-n", "-u", "somebody"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [("no-such-user", "is no user of this machine"), ("root", "cannot be a tenant's")],
)
def test_users_that_cannot_be_are_refused_by_name(name: str, problem: str) -> None:
    with pytest.raises(UserError) as caught:
        users.check(Config(tenants={"acme": config.Account(user=name)}))
    error = caught.value
    assert (error.field, error.value, error.problem) == ("slurm: tenants: acme: user", name, problem)
    assert error.remedy


def test_one_that_could_read_all_tenants_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getegid", lambda: 65534)
    with pytest.raises(UserError, match="is in Myriad's group"):
        users.find("nobody", "slurm: user")


def test_a_second_name_of_a_user_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = pwd.getpwnam("nobody")
    monkeypatch.setattr(pwd, "getpwnam", lambda _: found)
    with pytest.raises(UserError, match="another name") as caught:
        users.find("nobody@example.org", "slurm: user")
    assert caught.value.remedy.startswith("Write nobody:")


def test_where_myriad_may_not_become_a_user_it_says_how_it_could() -> None:
    prefix = ("sh", "-c", "echo a password is required >&2; exit 1", "{user}")
    with pytest.raises(UserError) as caught:
        users.check(Config(user="nobody", submit_as=prefix))
    assert "a password is required" in caught.value.problem and "sudo -n -u nobody" in caught.value.remedy
    (found,) = userhealth.findings(Config(user="nobody", submit_as=prefix), Path("/nowhere"))
    assert found.result == "fail" and "a password is required" in found.found


def test_a_control_plane_with_a_wrong_user_does_not_start(tmp_path: Path) -> None:
    site = "name: t\nchip: local-cpu\nchips_per_node: 2\npods: [{name: p, hosts: {r: 'n[0-1]'}}]\n"
    (tmp_path / "site.yaml").write_text(f"{site}slurm: {{tenants: {{acme: {{user: no-such-user}}}}}}\n")
    argv = [sys.executable, "-m", "myriad.server", "--home", str(tmp_path / "home"), "--engine", "slurm"]
    argv += ["--site", str(tmp_path / "site.yaml"), "--port", "0", "--gateway-port", "0"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and not (tmp_path / "home" / "context.json").exists()
    assert "slurm: tenants: acme: user: is no user of this machine (got 'no-such-user')" in done.stderr


def test_what_myriad_knows_does_not_go_with_their_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "secret")
    env = users.environment(SOMEBODY)
    assert "PGPASSWORD" not in env and env["USER"] == "somebody" and env["PATH"] == os.environ["PATH"]


# ---- folders ------------------------------------------------------------------------------------------


def test_a_folder_that_others_may_write_holds_no_users(tmp_path: Path) -> None:
    named = Config(user="somebody")
    for mode in (0o777, 0o1777, 0o775):
        tmp_path.chmod(mode)
        with pytest.raises(UserError, match="may be written by others"):
            homes.prepare(tmp_path, named, {"somebody": SOMEBODY})


def test_a_users_folder_is_made_by_root_and_asked_for_by_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError

    named, known = Config(user="somebody"), {"somebody": SOMEBODY}
    place = tmp_path / "users" / "somebody"
    with monkeypatch.context() as patch:
        patch.setattr(os, "chown", forbidden)
        with pytest.raises(UserError, match=f"install -d -o 4242 -g {os.getegid()} -m 2750 {place}"):
            homes.prepare(tmp_path, named, known)
    assert not place.exists()
    if ME == 0:
        monkeypatch.setattr(homes, "closed_to", lambda *_: None)  # as folders of tests are
        homes.prepare(tmp_path, named, known)
        homes.prepare(tmp_path, named, known)
        found = place.stat()
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (4242, os.getegid(), 0o2750)
        place.chmod(0o755)
        with pytest.raises(UserError, match=r"is 4242:.*mode 0755"):
            homes.prepare(tmp_path, named, known)


def test_users_do_not_enter_the_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for data in (None, home / "data"):
        with pytest.raises(UserError, match="is in Myriad's home"):
            main._check_apart(Home(home, data))
    main._check_apart(Home(home, tmp_path / "data"))


def test_results_of_one_user_never_become_anothers(tmp_path: Path) -> None:
    place = tmp_path / "jobs" / "job-a"
    there = homes.results(tmp_path, place, SOMEBODY)
    assert there == tmp_path / "users" / "somebody" / "jobs" / "job-a"
    there.mkdir(parents=True)
    assert place.resolve() == there and homes.results(tmp_path, place, SOMEBODY) == there
    for other in (SOMEBODY._replace(name="other"), None):
        with pytest.raises(FileExistsError, match="begun as another user"):
            homes.results(tmp_path, place, other)
    own = tmp_path / "jobs" / "job-b"
    assert homes.results(tmp_path, own, None) == own
    own.mkdir()
    with pytest.raises(FileExistsError, match="begun as another user"):
        homes.results(tmp_path, own, SOMEBODY)


def test_the_doctor_names_what_is_closed_to_a_user(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(0o700)
    (tmp_path / "closed" / "python").touch()
    nobody = users.find("nobody", "")
    assert homes.closed_to(nobody, Path("/usr/bin/env")) is None
    found = homes.closed_to(nobody, tmp_path / "closed" / "python")
    assert found and found in (tmp_path / "closed" / "python").parents


def test_the_doctor_checks_every_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Slurm(tmp_path, monkeypatch)  # its programs
    named = Config(user="nobody", tenants={"a": config.Account(user="gone")}, submit_as=("env", "U={user}"))
    monkeypatch.setattr(homes, "trouble", lambda *_: ("/x is closed to it", "chmod o+x /x"))
    place = homes.folder(tmp_path, "nobody")
    place.mkdir(parents=True)
    found = {one.check: one for one in userhealth.findings(named, tmp_path)}
    assert found["slurm: user gone"].found == "slurm: tenants: a: user: is no user of this machine"
    assert found["slurm: user nobody"].remedy == "chmod o+x /x"
    monkeypatch.setattr(homes, "trouble", lambda *_: None)
    found = {one.check: one for one in userhealth.findings(named, tmp_path)}
    assert found["slurm: user nobody"].result == "ok"
    tmp_path.chmod(0o777)
    found = {one.check: one for one in userhealth.findings(named, tmp_path)}
    assert "may be written by others" in found["slurm: user nobody"].found


# ---- who may start ------------------------------------------------------------------------------------


class Theirs:
    """A gang of another user, whom we play ourselves."""

    def __init__(self, data: Path) -> None:
        self.data, self.files = data, Spool(data, ["me"])
        self.files.prepare()
        self.files.belongs(ATTEMPT, "me", ME, {})
        self.files.of(ATTEMPT).mkdir()
        (data / "users" / "me").mkdir(parents=True)
        self.plan = {"attempt": ATTEMPT, "user": "me", "uid": ME, "members": [], "env": "it's \\ $HOME\n"}
        logs = data / "users" / "me" / "logs"
        plain = Config(start="gang", gres="")
        body = batch.their_script(plain, self.files, data, "m/a", self.plan, logs, {"A": "b c"})
        head, _, _ = body.rpartition("exec ")
        (data / "script").write_text(f'{head}echo "$SLURM_JOB_ID $A" >>{shlex.quote(str(data))}/ran\n')
        self.files.allow(ATTEMPT)

    @property
    def gang(self) -> Path:
        owner = self.files.owner(ATTEMPT)
        assert owner
        return owner.says

    def run(self, job: int) -> int:
        """The batch script, as job of that number."""
        env = os.environ | {"SLURM_JOB_ID": str(job)}
        return subprocess.run(["sh", self.data / "script"], env=env, check=False).returncode

    def ran(self) -> list[str]:
        path = self.data / "ran"
        return path.read_text().splitlines() if path.exists() else []


def test_of_many_jobs_of_a_user_one_starts_and_has_the_plan(tmp_path: Path) -> None:
    one = Theirs(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(one.run, list(range(1, 17)) * 2))
    assert set(codes) == {0}
    (ran,) = one.ran()
    assert ran.split(maxsplit=1) == [one.files.claim(ATTEMPT), "b c"]
    assert json.loads((one.gang / "plan.json").read_text()) == one.plan
    assert stat.S_IMODE((one.gang / "plan.json").stat().st_mode) == 0o640


def test_a_stop_that_comes_first_wins_also_over_a_leader_that_wakes_up(tmp_path: Path) -> None:
    one = Theirs(tmp_path)
    assert one.files.forbid(ATTEMPT) == ""
    one.files.allow(ATTEMPT)  # of one that was deposed in the middle of it
    assert one.run(7) == 0 and one.ran() == []
    assert one.files.forbid(ATTEMPT) == "7", "it had claimed, and finds by itself that it may not start"


def test_a_stop_of_an_attempt_that_another_leader_planned_finds_its_job(tmp_path: Path) -> None:
    one = Theirs(tmp_path)
    write_json(one.files.plan(ATTEMPT), one.plan)
    one.run(7)
    other = Spool(tmp_path, ["me"])
    assert other.forbid(ATTEMPT) == "7" and one.ran() == ["7 b c"]


def test_a_start_and_a_stop_at_once_are_never_both_unaware(tmp_path: Path) -> None:
    for number in range(12):
        one = Theirs(tmp_path / str(number))
        with ThreadPoolExecutor(2) as pool:
            ran = pool.submit(one.run, 9)
            stopped = pool.submit(one.files.forbid, ATTEMPT)
        ran.result()
        assert stopped.result() == "9" or not one.ran()


def test_what_is_over_may_not_start_and_goes_with_the_next_gang(tmp_path: Path) -> None:
    one = Theirs(tmp_path)
    old = one.gang.with_name("job-z.1")
    old.mkdir(parents=True)
    assert one.run(7) == 0 and not old.exists() and one.gang.exists()
    mine = one.gang
    sweeping.clear(one.files, [ATTEMPT])
    assert one.files.claim(ATTEMPT) == STOPPED and one.files.owner(ATTEMPT) is None
    assert not (one.files.root / "orders" / ATTEMPT).exists() and mine.exists(), "it is not ours to remove"


def test_where_orders_cannot_be_seen_nobodys_folder_goes(tmp_path: Path) -> None:
    one = Theirs(tmp_path)
    old = one.gang.with_name("job-z.1")
    old.mkdir(parents=True)
    seen, script = one.files.root / "orders", tmp_path / "script"
    away = f"mv {shlex.quote(str(seen))} {shlex.quote(str(tmp_path / 'away'))}\nfor old in"
    script.write_text(script.read_text().replace("for old in", away))
    assert one.run(7) == 0 and one.ran() == ["7 b c"] and old.exists() and one.gang.exists()


def test_claims_that_are_none_count_for_nothing(tmp_path: Path) -> None:
    one = Theirs(tmp_path)
    one.gang.mkdir(parents=True)
    claim = one.gang / "claim"
    for text in ("stopped", "7; reboot", "", "٧"):
        claim.write_text(text)
        assert one.files.claim(ATTEMPT) == ""
    claim.unlink()
    (tmp_path / "number").write_text("8\n")
    claim.symlink_to(tmp_path / "number")
    assert one.files.claim(ATTEMPT) == ""
    claim.unlink()
    os.mkfifo(claim)
    assert one.files.claim(ATTEMPT) == ""


def test_a_member_that_begins_finds_that_it_was_spoken_for(tmp_path: Path) -> None:
    one = Theirs(tmp_path)
    assert one.files.bar(ATTEMPT, "n1") and not one.gang.exists()
    assert json.loads(one.files.stop_files(ATTEMPT, "n1")[1].read_text()) == {"grace_s": 0.0}
    one.gang.mkdir(parents=True)
    one.files.log(ATTEMPT, "n2").touch()
    assert not one.files.bar(ATTEMPT, "n2")


def test_orders_are_readable_and_plans_are_not(tmp_path: Path) -> None:
    before = os.umask(0o077)  # as of a unit of systemd
    try:
        one = Theirs(tmp_path / "data")
        one.files.write_stop(ATTEMPT, {"grace_s": 1.0})
    finally:
        os.umask(before)
    orders = one.files.root / "orders"
    modes = [
        orders,
        orders / ATTEMPT,
        orders / ATTEMPT / "go",
        orders / ATTEMPT / "stop",
        one.files.root / "spool",
    ]
    assert [stat.S_IMODE(path.stat().st_mode) for path in modes] == [0o711, 0o711, 0o644, 0o644, 0o700]


# ---- whose word counts for what -----------------------------------------------------------------------


def test_a_job_counts_as_ours_only_when_its_user_is_the_gangs(tmp_path: Path) -> None:
    files = Spool(tmp_path, ["alice", "bob"])
    files.belongs(ATTEMPT, "alice", 1, {})
    found = {user: files.whose(ATTEMPT, user, "myriad") for user in ("alice", "bob", "myriad", "eve")}
    assert found == {"alice": "ours", "bob": "theirs", "myriad": "theirs", "eve": "theirs"}
    # one of Myriad's own, or one that nobody knows: another user's is never taken for it, but may be ended
    found = {user: files.whose("job-b.1", user, "myriad") for user in ("alice", "myriad", "eve")}
    assert found == {"alice": "left", "myriad": "ours", "eve": "theirs"}
    for name in ("burn-in/n0/n0.0", "../../../dev/zero", "", ".", "x" * 300):
        assert (files.whose(name, "bob", "myriad"), files.whose(name, "myriad", "myriad")) == (
            "theirs",
            "ours",
        )


def said(kind: str, **more: object) -> bytes:
    return json.dumps({"type": kind, "at": 1, "attempt": ATTEMPT, "node": "n0", **more}).encode()


def test_a_member_speaks_for_itself_alone() -> None:
    assert isinstance(gang.parse(said("MemberGone"), ATTEMPT, "n0", ""), inputs.MemberGone)
    lies = [
        said("MemberGone", attempt="job-b.1"),
        said("MemberGone", node="n1"),
        said("CheckpointReported", attempt="job-b.1", step=1, path="/x"),
        said("CheckpointReported", step=-1, path="/x"),
        said("CheckpointReported", step=1, path="/" * 100_000),
        said("CheckpointReported", step=2**63, path="/x"),
        said("StepsReported", step=10**40, tokens=1),
        said("StepsReported", step=1, tokens=1, loss=1e300),
        b'{"type": "StepsReported", "at": 1, "attempt": "job-a.1", "step": 1, "tokens": 1, "loss": NaN}',
        b"[" * 100_000,
        b"\xff",
    ]
    assert [gang.parse(lie, ATTEMPT, "n0", "") for lie in lies] == [None] * len(lies)


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.2:80",
        "http://10.0.0.1@10.0.0.2:80",
        "http://10.0.0.1:80/admin",
        "http://10.0.0.1:80#@10.0.0.2",
        "https://10.0.0.1:80",
        "file:///etc/passwd",
        "http://10.0.0.1",
        "http://10.0.0.1:٨",
    ],
)
def test_a_replica_is_where_its_member_is(url: str) -> None:
    assert gang.parse(said("Listens", url=url), ATTEMPT, "n0", "10.0.0.1") is None
    good = gang.parse(said("Listens", url="http://10.0.0.1:8080"), ATTEMPT, "n0", "10.0.0.1")
    assert isinstance(good, gang.Listens)


def test_a_gang_of_somebody_else_has_no_more_to_say_than_an_honest_one(tmp_path: Path) -> None:
    files = Spool(tmp_path)
    one = gang.Gang(files, AttemptId(ATTEMPT), (NodeId("n0"),), 0.0, 4.0, whole=False)
    (part,) = one.parts.values()
    word, report = said("WorkerSpoke", text="hello"), said("StepsReported", step=1, tokens=1)

    def heard(line: bytes, count: int, now: float, address: str | None = "") -> int:
        return sum(one.hears(part, line, address, now) is not None for _ in range(count))

    assert heard(word, 1500, 0.0) == 1000 and heard(report, 25_000, 0.0) == 20_000
    assert heard(word, 10, 20.0) == 2 and heard(report, 5000, 20.0) == 1000
    assert heard(said("MemberGone"), 1, 20.0) == 1, "its last word is always heard"
    part.over = inputs.MemberGone(at=1, attempt=one.attempt, node=part.node)
    assert heard(said("MemberGone"), 9, 20.0) == 0, "and once"
    assert heard(word, 5, 20.0, None) == 5, "our own members count for themselves"


@on_a_loop
async def test_the_engine_submits_as_the_user_and_takes_no_other_users_job_for_the_gangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm = Slurm(tmp_path, monkeypatch)
    (slurm.folder / "as").write_text('#!/bin/sh\necho "as $*" >>"$(dirname "$0")/asked"\nshift\nexec "$@"\n')
    (slurm.folder / "as").chmod(0o755)
    section = Config(burn_in="none", look_every="1s", user="nobody", submit_as=("as", "{user}"))
    engine = SlurmEngine(slurm.data, SITE, time.time_ns, section)
    name = f"{slurm.prefix}{START.attempt}"
    slurm.jobs(f"7|RUNNING|{pwd.getpwuid(ME).pw_name}|n1|N/A|None|{name}")
    await engine.open()
    brain = Brain(engine)
    try:
        await brain.until(lambda: brain.of(inputs.NodeJoined, "n1"))
        engine.obey(START)
        async with asyncio.timeout(15):
            while not slurm.asked("as nobody sbatch"):
                await asyncio.sleep(0.02)
        (asked,) = slurm.asked("as nobody sbatch")
        assert "--output=/dev/null" in asked and f"--job-name={name}" in asked
        await brain.until(lambda: any(one.by for one in brain.of(inputs.NodeOccupied, "n1")))  # type: ignore[attr-defined]
        place = slurm.data / "jobs" / "job-a"
        assert os.readlink(place) == "../users/nobody/jobs/job-a"
        slurm.jobs(f"7|RUNNING|nobody|n[0-1]|N/A|None|{name}")
        await brain.until(lambda: not brain.of(inputs.NodeOccupied, "n1")[-1].by)  # type: ignore[attr-defined]
    finally:
        await engine.close()


@on_a_loop
async def test_what_is_on_record_and_left_nothing_is_not_gone_while_its_user_has_a_job_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm = Slurm(tmp_path, monkeypatch)
    section = Config(burn_in="none", look_every="1s", user="nobody")
    engine = SlurmEngine(slurm.data, SITE, time.time_ns, section)
    slurm.jobs(f"7|RUNNING|nobody|n[0-1]|N/A|None|{slurm.prefix}{START.attempt}")
    await engine.open()
    brain = Brain(engine)
    try:
        known = orders.Standing(attempt=START.attempt, members=START.members, placed_at=1, begun=True)
        engine.obey(orders.KeepGangs(gangs=(known,)))
        await brain.until(lambda: brain.of(inputs.NodeJoined, "n1"))
        await wait_for(lambda: slurm.asked("scancel"))
        assert slurm.files.claim(START.attempt) == STOPPED and not brain.of(inputs.MemberGone)
        slurm.jobs()
        await brain.until(lambda: brain.of(inputs.MemberGone, "n0") and brain.of(inputs.MemberGone, "n1"))
    finally:
        await engine.close()


# ---- the member ---------------------------------------------------------------------------------------


def test_the_member_is_told_whose_it_is(tmp_path: Path) -> None:
    """And looks for its plan where its job has put it, and for orders where we do."""
    one = Theirs(tmp_path)
    argv = [sys.executable, "-m", "myriad.engines.slurm.member", str(tmp_path), ATTEMPT, "me"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "there is no plan" in done.stderr
    launch = {"command": ["true"], "recipe": "", "config": {}, "env": {}, "workdir": "", "per_node": True}
    launch |= {"checkpoint_every_s": 0.0, "memory_every_s": 0.0, "memory_shift": 1, "resume_step": -1}
    member = {"node": "n0", "chips": [0], "instance": "n0.0", "address": "127.0.0.1"}
    plan = {"attempt": ATTEMPT, "job": "", "service": "s", "lease_s": 30.0, "owner": str(tmp_path / "out")}
    plan |= {"whole": False, "memory": "", "launch": launch, "members": [member]}
    one.gang.mkdir(parents=True)
    write_json(one.gang / "plan.json", plan)
    one.files.write_stop(ATTEMPT, {"grace_s": 0.0}, "n0")
    assert subprocess.run(argv, env=os.environ | {"SLURMD_NODENAME": "n0"}, check=False).returncode == 0
    (last,) = (json.loads(line) for line in (one.gang / "n0.log").read_text().splitlines())
    assert last["type"] == "MemberGone"
