"""How long training stands still for a checkpoint in memory and for one on storage: one gang, one run.

Four ranks on this machine, each a node with a folder in memory, sharing one folder as storage. That is a
local disk here; real shared storage is slower, which the stall hardly shows, because both are written in the
background. Stall is what rank 0 reports: from the end of a step until training goes on. Safe: complete.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import report

RANKS = 4
PATIENCE_S = 300.0
#: 5.9 million parameters: 71 MB of state, some 18 MB on each rank. Short sequences: it is about copying.
CONFIG: dict[str, Any] = {
    "model": {
        "layers": 6, "hidden": 288, "heads": 6, "kv_heads": 2, "ffn": 768, "vocab": 2048, "context": 32,
    },
    "data": {"limit_bytes": 400_000},
    "global_batch_sequences": RANKS,
    "micro_batch_sequences": 1,
    "warmup_steps": 2,
    "memory_every_steps": 2,
}  # fmt: skip


def main() -> None:
    """Print each checkpoint's stall, the medians of either tier, and the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="checkpoints on storage")
    rounds = parser.parse_args().rounds
    memory = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else Path(tempfile.gettempdir())
    with (
        tempfile.TemporaryDirectory(prefix="myriad-bench-") as home,
        tempfile.TemporaryDirectory(prefix="myriad-bench-", dir=memory) as nodes,
    ):
        config = CONFIG | {"checkpoint_every_steps": 8, "steps": 8 * (rounds + 1)}
        saved = ran(Path(home), Path(nodes), config)
    stalls, safe = {}, {}
    for tier in ("memory", "storage"):
        # the first of either pays for what is set up once, the last is followed by the end of the run
        of_tier = [one for one in saved if one["tier"] == tier][1:-1]
        stalls[tier] = report.spread([one["stall_s"] for one in of_tier])
        safe[tier] = report.spread([one["write_s"] for one in of_tier])
        size = of_tier[0]["bytes"] / 1e6
        stall, done = stalls[tier], safe[tier]
        print(
            f"{tier:>8}: {len(of_tier):3} checkpoints of {size:.0f} MB, stall {1e3 * stall['median']:.1f} ms"
            f" (to {1e3 * stall['max']:.1f}), safe after {1e3 * done['median']:.0f} ms",
            flush=True,
        )
    report.finish(
        "tiers",
        1e3 * stalls["memory"]["median"],
        "ms of stall for a checkpoint in memory",
        "a checkpoint on storage in the same run (torch's async_save)",
        1e3 * stalls["storage"]["median"],
        better="lower",
        stall_s=stalls,
        safe_after_s=safe,
        ranks=RANKS,
    )


def ran(home: Path, nodes: Path, config: dict[str, Any]) -> list[dict[str, Any]]:
    """Train to the end; every checkpoint that was reported."""
    (home / "config.json").write_text(json.dumps(config))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear, socket.socket() as probe:
        ear.bind(str(home / "ear"))
        ear.settimeout(0.5)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        gang = [started(home, nodes, rank, port) for rank in range(RANKS)]
        try:
            return heard(ear, gang, home)
        finally:
            for process in gang:
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)
                process.wait()
            shutil.rmtree(home / "checkpoints", ignore_errors=True)


def started(home: Path, nodes: Path, rank: int, port: int) -> "subprocess.Popen[bytes]":
    place = {
        "RANK": rank, "GROUP_RANK": rank, "WORLD_SIZE": RANKS, "LOCAL_RANK": 0, "MASTER_PORT": port,
        "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": 1, "MYRIAD_ATTEMPT": "bench.1",
        "MYRIAD_CHECKPOINT_DIR": home / "checkpoints", "MYRIAD_OUTPUT_DIR": home / "output",
        "MYRIAD_MEMORY_DIR": nodes / str(rank), "MYRIAD_REPORT": home / "ear",
    }  # fmt: skip
    environment = os.environ | {name: str(value) for name, value in place.items()}
    argv = [sys.executable, "-m", "myriad.worker.run", "pretrain", "--config", str(home / "config.json")]
    with (home / f"log-{rank}").open("wb") as log:
        return subprocess.Popen(argv, env=environment, stdout=log, stderr=log)


def heard(ear: socket.socket, gang: list["subprocess.Popen[bytes]"], home: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    give_up_at = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up_at:
        try:
            one = json.loads(ear.recv(65536))
        except TimeoutError:
            codes = [process.poll() for process in gang]
            if any(codes):
                raise SystemExit(f"bench.tiers: {codes}: {(home / 'log-0').read_text()[-2000:]}") from None
            if None not in codes:
                return found
        else:
            found += [one] if one["kind"] == "checkpoint" else []
    raise SystemExit(f"bench.tiers: not done after {PATIENCE_S:.0f} s")


if __name__ == "__main__":
    main()
