"""One preloaded parent for every test that starts a gang."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Gang = Callable[..., dict[str, Any]]

#: Small enough that a step is mostly overhead.
TINY = {
    "model": {"layers": 2, "hidden": 32, "heads": 4, "kv_heads": 2, "ffn": 64, "vocab": 300, "context": 16},
    "data": {"limit_bytes": 60_000},
    "steps": 8,
    "global_batch_sequences": 12,
    "micro_batch_sequences": 3,
    "warmup_steps": 2,
    "checkpoint_every_steps": 3,
}


@pytest.fixture(scope="session")
def gang() -> Iterator[Gang]:
    """Runs one gang of pre-training processes to its end: codes, reports, seconds."""
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("zygote.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as zygote:
        yield _runner(zygote)


def _runner(zygote: "subprocess.Popen[str]") -> Gang:
    assert zygote.stdin and zygote.stdout
    asked, answers = zygote.stdin, zygote.stdout
    hello = json.loads(answers.readline())

    def run(
        folder: Path,
        *,
        world: int = 2,
        env: Any = None,
        at: Any = None,
        nodes: list[str] | None = None,
        when: dict[str, int] | None = None,
        then: Any = None,
        slow: int | None = None,
        late: bool = False,
        **config: Any,
    ) -> Any:
        scenario = {
            "folder": str(folder),
            "world": len(nodes) if nodes else world,
            "nodes": nodes,
            "env": env or {},
            "at": at or {},
            "when": when,
            "then": then,
            "slow": slow,
            "late": late,
            "config": {**TINY, **config},
        }
        asked.write(json.dumps(scenario) + "\n")
        asked.flush()
        return hello | json.loads(answers.readline())

    return run
