"""A control plane over real processes: work, logs, adoption after restarts, closing the site."""

import os
import threading
import time

import httpx

from tests.server.harness import Server, members_of, python, wait_for

TALK = "import os; print('hello of', os.environ['RANK'], 'on', os.environ['MYRIAD_NODE'])"
FOREVER = "import time, os; print('up', os.getpid(), flush=True)\nwhile True: time.sleep(1)"
#: Writes who started it to a file that all attempts of the job share, then stays.
MARK = """
import os, time
with open("starts", "a") as file:
    file.write(f"{os.environ['MYRIAD_ATTEMPT']} {os.environ['RANK']} {os.getpid()}\\n")
while True:
    time.sleep(1)
"""


def test_a_job_runs_and_leaves_logs_a_report_and_an_invoice(local: Server) -> None:
    key = local.tenant()
    job = local.submit(python(TALK, nodes=2, expected="1s"), key=key)
    view = local.wait_state(job, "succeeded")
    assert view["forecast"]["chip_ns"] > 0
    log = local.ask("GET", f"/jobs/{job}/logs?rank=1", key=key)
    assert log.headers["content-type"].startswith("text/plain") and log.text.startswith("hello of 1 on n")
    assert local.ask("GET", f"/jobs/{job}/logs?rank=2").tree["field"] == "rank"
    report = local.get(f"/jobs/{job}/report", key=key)
    told = [moment["fact"] for moment in report["story"]]
    assert told[0] == "JobAdmitted" and told[-1] == "JobEnded" and all(m["cause"] for m in report["story"])
    assert sum(report["buckets"].values()) == report["chip_ns"] > 0
    lines = local.get("/invoices/acme", key=key)["lines"]
    assert job in [line["subject"] for line in lines]
    opened, now = local.get("/invoices/acme", key=key)["start"], time.time_ns()
    middle = opened + (now - opened) // 2
    parts = [(0, now), (0, middle), (middle, now)]
    bills = [local.get(f"/invoices/acme?from={start}&to={end}", key=key)["lines"] for start, end in parts]
    whole, first, second = (sum(line["exact"] for line in bill) for bill in bills)
    assert whole == first + second > 0
    assert local.ask("GET", f"/invoices/acme?from={now}&to={opened}", key=key).tree["field"] == "from"
    books = local.get("/ledger")["site"]
    assert sum(books["buckets"].values()) == books["capacity_chip_ns"]
    assert local.post("/journal/verify")["equal"]


def test_followed_logs_go_from_attempt_to_attempt(local: Server) -> None:
    local.tenant()
    followed = local.home / "followed"
    code = f"""
import os, sys, time
print("attempt", os.environ["MYRIAD_ATTEMPT"], flush=True)
if os.environ["MYRIAD_ATTEMPT"].endswith(".2"):
    sys.exit(0)
while not os.path.exists({str(followed)!r}):
    time.sleep(0.02)
sys.exit(3)
"""
    job = local.submit(python(code))
    url = f"{local.url}/api/v1/jobs/{job}/logs?follow=1"
    with local.client.stream("GET", url, headers={"Authorization": f"Bearer {local.key}"}) as answer:
        lines = answer.iter_lines()
        assert next(lines) == f"attempt {job}.1"
        followed.touch()
        assert list(lines) == [f"--- {job}.2 ---", f"attempt {job}.2"]
    assert local.job(job)["state"] == "succeeded" and local.job(job)["history"][0]["cause"] == "job"


def test_the_tail_of_a_log(local: Server) -> None:
    local.tenant()
    job = local.submit(python("for k in range(1000): print('line', k)"))
    local.wait_state(job, "succeeded")
    tail = local.ask("GET", f"/jobs/{job}/logs?tail=3").text
    assert tail.splitlines() == ["line 997", "line 998", "line 999"]
    assert local.ask("GET", f"/jobs/{job}/logs?tail=0").text == ""


def test_a_restarted_control_plane_adopts_what_runs(local: Server) -> None:
    local.tenant()
    job = local.submit(python(MARK, nodes=3))
    local.wait_state(job, "running")
    wait_for(lambda: len(members_of(local.home)) == 3)
    before = sorted(members_of(local.home))
    for how in (local.kill, local.stop):
        how()
        assert sorted(members_of(local.home)) == before, "gangs do not need the control plane"
        local.start()
        local.wait_ready()
        view = local.job(job)
        assert view["state"] == "running" and view["attempts"] == 1, view
        assert sorted(members_of(local.home)) == before
    starts = (local.home / "jobs" / job / "output" / "starts").read_text().splitlines()
    assert len(starts) == 3
    local.post(f"/jobs/{job}/cancel")
    local.wait_state(job, "cancelled")
    wait_for(lambda: not members_of(local.home))
    assert local.post("/journal/verify")["equal"]


def test_a_job_that_ends_while_nobody_watches_is_told_afterwards(local: Server) -> None:
    local.tenant()
    flag = local.home / "go"
    code = f"import os, time\nwhile not os.path.exists({str(flag)!r}): time.sleep(0.02)"
    job = local.submit(python(code))
    local.wait_state(job, "running")
    local.kill()
    flag.touch()
    wait_for(lambda: not members_of(local.home))
    local.start()
    local.wait_state(job, "succeeded")
    assert local.job(job)["attempts"] == 1


def test_closing_the_site_ends_everything_and_work_goes_on_later(local: Server) -> None:
    local.tenant()
    job = local.submit(python(FOREVER, nodes=2))
    local.wait_state(job, "running")
    closed = local.post("/site/close", {"grace_s": 0.5})
    assert closed["gangs_left"] == []
    assert local.process and local.process.wait(20) == 0
    assert not members_of(local.home)
    local.start()
    local.wait_ready()
    view = local.wait_state(job, "running")
    assert view["attempts"] == 2 and view["history"][0]["cause"] == "moved"
    local.post(f"/jobs/{job}/cancel")
    local.wait_state(job, "cancelled")


def test_events_stream_facts_as_they_become_durable(local: Server) -> None:
    local.tenant()
    local.wait_ready()
    heard: list[str] = []
    begun, ended = threading.Event(), threading.Event()

    def listen() -> None:
        headers = {"Authorization": f"Bearer {local.key}"}
        with httpx.stream("GET", f"{local.url}/api/v1/events", headers=headers, timeout=30) as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            for line in answer.iter_lines():
                begun.set()
                heard.append(line)
                if line == "event: closed":
                    ended.set()
                    return

    listener = threading.Thread(target=listen)
    listener.start()
    assert begun.wait(10)
    job = local.submit(python(TALK))
    local.wait_state(job, "succeeded")
    local.stop()
    assert ended.wait(10)
    listener.join()
    local.start()
    local.wait_ready()
    kinds = [line.removeprefix("event: ") for line in heard if line.startswith("event: ")]
    assert [kind for kind in kinds if kind in ("JobAdmitted", "GangPlaced", "JobEnded")] == [
        "JobAdmitted",
        "GangPlaced",
        "JobEnded",
    ]
    numbers = [int(line.removeprefix("id: ")) for line in heard if line.startswith("id: ")]
    assert numbers == sorted(numbers)


def test_the_environment_of_a_command_holds_no_key(local: Server) -> None:
    local.tenant()
    job = local.submit(python("import os; print(dict(os.environ))"))
    local.wait_state(job, "succeeded")
    assert local.key not in local.ask("GET", f"/jobs/{job}/logs").text
    assert os.environ.get("MYRIAD_KEY") is None
