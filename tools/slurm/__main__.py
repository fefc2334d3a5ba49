"""A real Slurm on this machine, for trying and testing; docs/guide/slurm.md tells what to do with it.

python -m tools.slurm up        16 nodes of 8 chips; starts anew what ran before
python -m tools.slurm status    what sinfo says
python -m tools.slurm down      ends it, its jobs included; its logs stay
"""

import argparse
import sys
from pathlib import Path

from tools.slurm.cluster import Cluster, SlurmError, available

FOLDER = Path("out/slurm")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.slurm",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("do", choices=("up", "down", "status"))
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"where all of it is kept ({FOLDER})")
    parser.add_argument("--nodes", type=int, default=16, help="how many slurmd (16)")
    parser.add_argument("--chips", type=int, default=8, help="chips of a node, as Gres=gpu (8)")
    parser.add_argument("--cpus", type=int, default=16, help="cores that a node claims to have (16)")
    parser.add_argument("--accounting", action="store_true", help="with slurmdbd: accounts, QOS and limits")
    given = parser.parse_args()
    for name, most in (("nodes", 5_000), ("chips", 64), ("cpus", 512)):
        if not 1 <= getattr(given, name) <= most:
            parser.error(f"--{name} must be 1 to {most}")
    return given


def _up(slurm: Cluster) -> None:
    if slurm.controller_pid:
        print("ends what runs there", flush=True)
        slurm.stop()
    slurm.start()
    print(
        f"""
Slurm is up. In every shell that shall use it:

  export SLURM_CONF={slurm.conf}

Then, for example:

  sinfo
  srun --nodes 4 --gres gpu:{slurm.shape.chips} printenv SLURMD_NODENAME
  myriad site import-slurm --chip local-cpu > out/my-slurm.yaml
  myriad up --engine slurm --site out/my-slurm.yaml

`make slurm-down` ends it. Logs: {slurm.folder / "log"}"""
    )


def main() -> int:
    """Do what was asked; 1 if Slurm would not."""
    given = _arguments()
    slurm = Cluster(
        given.folder,
        given.nodes,
        given.chips,
        given.cpus,
        progress=lambda line: print(line, flush=True),
        accounting=given.accounting,
    )
    try:
        if problem := available():
            raise SlurmError(problem)
        if given.do == "up":
            _up(slurm)
        elif given.do == "down":
            slurm.stop()
            print(f"no Slurm runs in {slurm.folder}")
        elif not slurm.controller_pid:
            print(f"no Slurm runs in {slurm.folder}")
        else:
            print(f"SLURM_CONF={slurm.conf}\n{slurm.run('sinfo', timeout_s=10.0)}", end="")
    except SlurmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
