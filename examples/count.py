"""A program of one's own: runs under torchrun or Myriad alike, goes on where its last checkpoint was."""

import argparse
import json
import os
import time
from pathlib import Path

from myriad import worker


def main() -> None:
    """Count to --steps, all ranks together, and save now and then."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--step-seconds", type=float, default=0.2)
    options = parser.parse_args()
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    folder = Path(worker.checkpoint_dir() or ".")
    step = load(folder)
    print(f"{os.environ.get('GREETING', 'hi')} from rank {rank} of {world}, going on after step {step}")
    worker.resumed(step)
    while step < options.steps:
        step += 1
        time.sleep(options.step_seconds)
        if rank == 0:
            worker.report(step=step, tokens=world, loss=1.0 / step, step_s=options.step_seconds)
            asked = worker.should_checkpoint()
            if asked or step % 10 == 0:
                path = save(folder, step)
                worker.checkpoint_saved(step=step, path=str(path), request=asked or "")
    print(f"rank {rank} counted to {step}")


def load(folder: Path) -> int:
    """The step of the last checkpoint; 0 when there is none."""
    path = folder / "count.json"
    return int(json.loads(path.read_text())["step"]) if path.exists() else 0


def save(folder: Path, step: int) -> Path:
    """Write a checkpoint whole or not at all."""
    path, building = folder / "count.json", folder / "count.json.new"
    building.write_text(json.dumps({"step": step}))
    os.replace(building, path)
    return path


if __name__ == "__main__":
    main()
