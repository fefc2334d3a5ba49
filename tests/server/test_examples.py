"""The example files are accepted, by the edge and by the brain."""

from pathlib import Path

import msgspec

from myriad.control import policyfile
from myriad.workload import files
from myriad.workload.jobs import NodeRange, TrainingJob
from tests.server.harness import Server

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def test_every_job_file_and_policy_is_read() -> None:
    for path in sorted(EXAMPLES.glob("*.yaml")):
        assert files.parse(path.read_text(), path.name), path
    for path in sorted((EXAMPLES / "policies").glob("*.yaml")):
        policyfile.choose(str(path))


def test_the_tree_is_applied_and_the_elastic_job_foreseen(asked: Server) -> None:
    for name in ("tenants-tree", "tenants"):
        specs = [
            msgspec.to_builtins(one) for one in files.parse((EXAMPLES / f"{name}.yaml").read_text(), name)
        ]
        asked.post("/tenants", {"tenants": specs})
    tree = [view["tenant"] for view in asked.get("/tenants")]
    at = tree.index("research")
    assert tree[at : at + 3] == ["research", "vision", "language"]
    (job,) = files.parse((EXAMPLES / "asks.yaml").read_text(), "asks.yaml")
    assert isinstance(job, TrainingJob) and isinstance(job.nodes, NodeRange)
    said = asked.post("/jobs?dry_run=1", {"spec": msgspec.to_builtins(job)})
    assert said["job"]["forecast"]["finish_at"] and said["explanation"]["job"].startswith("asking-llama")
