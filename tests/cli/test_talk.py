"""What people read: tables that fit, JSON that programs can read, and errors in one line with a remedy."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from myriad.cli import show
from tests.cli.conftest import Myriad
from tests.cli.fake import Fake

NODE = {
    "node": "n0", "pod": "p0", "rack": "p0/r0", "state": "ready", "chips": 1, "chips_free": 0, "spare": False,
    "cordoned": False, "attempts": ["tiny-llama-1.1"], "why": "qualified", "losses": 2, "gemm_flops": 1.5e10,
}  # fmt: skip
JOB = {
    "job": "tiny-llama-1", "name": "tiny-llama", "tenant": "acme", "state": "running", "priority": "normal",
    "nodes": 4, "chips": 4, "submitted_at": 1_700_000_000_000_000_000, "first_placed_at": 0, "ended_at": 0,
    "attempt": "tiny-llama-1.1", "placed_on": ["n0", "n1", "n2", "n3"], "attempts": 1, "step": 60,
    "steps": 120,
    "kept_step": 40, "loss": 4.8088, "tokens": 245760, "step_ns": 500_000_000, "ends_at": 0, "forecast": None,
    "history": [], "text": "",
}  # fmt: skip
EXPLANATION = {
    "job": "tiny-llama-1", "state": "admitted", "text": "4 chips are needed, 2 are free",
    "reasons": [{"code": "capacity", "text": "4 chips are needed, 2 are free", "remedy": "wait for big-1"}],
    "queue_position": 1, "queue_length": 2, "starts_at": 0, "starts_early_at": 0,
    "starts_late_at": 0, "finish_early_at": 0, "finish_late_at": 0,
}  # fmt: skip
TENANTS = "kind: tenant\nname: acme\nquota: {chips: 4}\n"
TRAINING = "kind: training\nname: count\ntenant: acme\nnodes: 1\ncommand: [python, x.py]\nworkdir: work\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tenants.yaml").write_text(TENANTS)
    (tmp_path / "job.yaml").write_text(TRAINING)
    (tmp_path / "broken.yaml").write_text("kind: training\nname: [\n")
    (tmp_path / "typo.yaml").write_text(TRAINING.replace("nodes", "node"))
    return tmp_path


def test_tables_are_plain_and_fit_and_show_units_for_people(fake: Fake, myriad: Myriad) -> None:
    fake.says(
        "GET /api/v1/nodes", [NODE, {**NODE, "node": "n1", "cordoned": True, "why": "long words " * 20}]
    )
    fake.says("GET /api/v1/jobs", [JOB])
    nodes, jobs = myriad("nodes").output, myriad("jobs").output
    assert "15" in nodes and "ready (cordoned)" in nodes and "tiny-llama-1.1" in nodes
    assert "60/120" in jobs and "4.809" in jobs
    for line in (nodes + jobs).splitlines():
        assert len(line) <= 100 and line == line.rstrip() and "\x1b" not in line


def test_json_is_what_the_server_said(fake: Fake, myriad: Myriad) -> None:
    fake.says("GET /api/v1/jobs", [JOB])
    done = myriad("jobs", "--json", "--tenant", "acme")
    assert json.loads(done.output) == [JOB]
    assert fake.asked[-1][0] == "GET /api/v1/jobs?tenant=acme"


def test_empty_lists_say_what_to_do_next(fake: Fake, myriad: Myriad) -> None:
    for name, command in (("jobs", "submit"), ("services", "serve"), ("tenants", "tenant apply")):
        fake.says(f"GET /api/v1/{name}", [])
        asked = ("tenant", "list") if name == "tenants" else (name,)
        assert f"myriad {command} examples/" in myriad(*asked).output


def test_explain_names_what_is_missing_and_what_would_help(fake: Fake, myriad: Myriad) -> None:
    fake.says("GET /api/v1/jobs/tiny-llama/explain", EXPLANATION)
    said = myriad("explain", "tiny-llama").output
    assert "2 are free" in said and "wait for big-1" in said and "1 of 2" in said


def test_a_problem_is_told_in_one_line_with_exit_code_2(fake: Fake, myriad: Myriad) -> None:
    parts: dict[str, Any] = {
        "problem": "is too large",
        "field": "spec: nodes",
        "value": 9,
        "remedy": "Take 6",
    }
    fake.refuses("POST /api/v1/nodes/n9/drain", 422, detail="all of it", **parts)
    done = myriad("drain", "n9")
    assert done.exit_code == 2 and done.stdout == ""
    assert done.stderr == "error: spec: nodes: is too large (got 9). Take 6\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("submit", "tenants.yaml"), "Use: myriad tenant apply tenants.yaml"),
        (("serve", "job.yaml"), "Use: myriad submit job.yaml"),
        (("tenant", "apply", "job.yaml"), "Use: myriad submit job.yaml"),
        (("submit", "nothing.yaml"), "nothing.yaml"),
        (("submit", "broken.yaml"), "broken.yaml, line"),
        (("submit", "typo.yaml"), "typo.yaml: node: is not a known field. Did you mean nodes?"),
        (("jbos",), "Did you mean jobs?"),
        (("--as", "nobody", "jobs"), "there is no key on this machine"),
        (("down", "--grace", "30"), "has no unit"),
    ],
)
def test_mistakes_name_the_remedy_and_ask_the_server_nothing(
    arguments: tuple[str, ...],
    said: str,
    folder: Path,
    fake: Fake,
    myriad: Myriad,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    done = myriad(*arguments)
    assert done.exit_code == 2 and done.stderr.startswith("error: ") and said in done.stderr, done.stderr
    assert not fake.asked


def test_a_silent_server_and_a_missing_one_say_how_to_start(
    fake: Fake, myriad: Myriad, tmp_path: Path
) -> None:
    for arguments in (("--url", "http://127.0.0.1:9", "jobs"), ("--home", str(tmp_path / "none"), "jobs")):
        done = myriad(*arguments)
        assert done.exit_code == 2 and "myriad up" in done.stderr, done.stderr


def test_an_answer_of_another_version_is_no_traceback(fake: Fake, myriad: Myriad) -> None:
    fake.says("GET /api/v1/jobs", [{"job": 7}])
    done = myriad("jobs")
    assert done.exit_code == 2 and "same version" in done.stderr


def test_keys_of_tenants_are_shown_once_kept_privately_and_used(
    fake: Fake, myriad: Myriad, home: Path, folder: Path
) -> None:
    fake.says("POST /api/v1/tenants", {"applied": ["acme"], "keys": {"acme": "acme-key"}})
    fake.says("GET /api/v1/jobs", [])
    assert "acme-key" in myriad("tenant", "apply", str(folder / "tenants.yaml")).output
    assert stat.S_IMODE((home / "keys.json").stat().st_mode) == 0o600
    myriad("--as", "acme", "jobs")
    myriad("jobs")
    myriad("--as", "acme", "jobs", MYRIAD_KEY="from-the-environment")
    assert fake.keys[-3:] == ["acme-key", "operator-key", "from-the-environment"]


def test_a_working_folder_is_beside_its_file(fake: Fake, myriad: Myriad, folder: Path) -> None:
    fake.says("POST /api/v1/jobs", {"job": JOB, "explanation": EXPLANATION})
    assert "would be submitted" in myriad("submit", str(folder / "job.yaml"), "--dry-run").output
    path, body = fake.asked[-1]
    assert path.endswith("?dry_run=1") and body["spec"]["workdir"] == str(folder / "work")


def test_watching_ends_with_the_job_and_says_by_its_exit_code_how(
    fake: Fake, myriad: Myriad, folder: Path
) -> None:
    fake.says("POST /api/v1/jobs", {"job": JOB, "explanation": EXPLANATION})
    for state, code in (("succeeded", 0), ("failed", 1)):
        fake.says("GET /api/v1/jobs/tiny-llama-1", {**JOB, "state": state})
        done = myriad("submit", str(folder / "job.yaml"), "--watch")
        assert done.exit_code == code and state in done.output


def test_chat_prints_what_streams_and_explains_a_refusal(fake: Fake, myriad: Myriad) -> None:
    pieces = [{"choices": [{"delta": {"content": text}}]} for text in ("def ", "f(x):")]
    stream = "".join(f"data: {json.dumps(piece)}\n\n" for piece in pieces) + "data: [DONE]\n\n"
    fake.answers["POST /v1/chat/completions"] = 200, stream.encode()
    assert myriad("chat", "tiny", "hello", "--max-tokens", "5").output == "def f(x):\n"
    assert fake.asked[-1][1]["max_tokens"] == 5
    fake.says("POST /v1/chat/completions", {"error": {"message": "no such model", "param": "model"}}, 404)
    done = myriad("chat", "tiny", "hello")
    assert done.exit_code == 2 and done.stderr == "error: model: no such model\n"


@pytest.mark.parametrize(("share", "length"), [(0.0, 0), (1e-9, 1), (0.5, 15), (1.0, 30)])
def test_bars_show_anything_above_nothing(share: float, length: int) -> None:
    assert len(show.bar(share)) == length


def test_nodes_that_others_use_say_who_and_until_when(fake: Fake, myriad: Myriad) -> None:
    beside = NODE | {"state": "allocated", "occupied_by": "ann"}
    alone = NODE | {"state": "occupied", "why": "used by ann", "occupied_by": "ann", "occupied_until": 1}
    fake.says("GET /api/v1/nodes", [alone, beside])
    words = myriad("nodes").output.split()
    assert " ".join(words).count("used by ann") == 2
    assert words.count("occupied") == words.count("until") == words.count("(shared)") == 1
