"""How a gang looks to sbatch: its options and its script."""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from myriad.engines.slurm.config import Config
from myriad.engines.slurm.spool import Spool
from myriad.fleet import hostlist

_MEMBER = "myriad.engines.slurm.member"
_WHOSE = """#!/bin/sh
# {name}: written by Myriad. Only the first Slurm job of an attempt may start it, whoever submitted it.
# Nor does it start twice: a slurmctld that was killed may forget that it had begun, and begin again.
"""
#: A claim appears as a whole, with its content, or not at all: a link, as `Spool.forbid` makes one too.
_CLAIM = """claim={claim}
mine="$claim.$SLURM_JOB_ID"
echo "$SLURM_JOB_ID" >"$mine"
ln "$mine" "$claim" 2>/dev/null
[ "$mine" -ef "$claim" ]
first=$?
rm -f "$mine"
[ "$first" = 0 ] || exit 0
"""
_SCRIPT = _WHOSE + _CLAIM + "exec {command}\n"
#: The same for a job of another user: what it writes is in that user's folder; that it may start is said in
#: one of ours, and `forbid` takes that away before it looks for a claim. The plan comes with the job, as only
#: that user may read it. Gangs that have no orders any more are over, and their folders go,
#: unless our own orders cannot be seen either: then nothing can be, or we are over ourselves.
_THEIR_SCRIPT = (
    _WHOSE
    + """umask 027
{exports}
export SLURM_UMASK=0027
mkdir -p {gang} {logs} && cd {logs} || exit 1
exec >>slurm.log 2>&1
"""
    + _CLAIM
    + """read -r go <{orders}/go || exit 0
for old in {gang}/../*; do
  [ -e {orders}/../"${{old##*/}}" ] || [ ! -e {orders}/go ] || rm -rf "$old"
done
cat >{gang}/plan.json <<'{end}'
{plan}
{end}
exec {command}
"""
)
_END = "end of the plan"


def options(
    config: Config, name: str, tenant: str, nodes: Sequence[str], *, chips: int, whole: bool, cpus: int
) -> list[str]:
    """Words after `sbatch` for a gang on exactly these nodes, with so many chips of each."""
    found = [
        "--parsable",
        "--no-requeue",
        f"--job-name={name}",
        f"--nodes={len(nodes)}",
        f"--ntasks={len(nodes)}",
        "--ntasks-per-node=1",
        f"--nodelist={hostlist.fold(nodes)}",
        *config.of_tenant(tenant),
    ]
    if config.gres:
        found.append(f"--gres={config.gres}:{chips}")
    found += ["--exclusive"] if whole else [f"--cpus-per-task={max(1, cpus)}"]
    return [*found, *config.options]


def script(config: Config, files: Spool, data: Path, attempt: str, name: str, count: int, logs: Path) -> str:
    """The batch script: claims the attempt, then becomes what starts the members."""
    command = _command(config, [str(data), attempt], count, logs)
    return _SCRIPT.format(name=name, claim=shlex.quote(str(files.claim_file(attempt))), command=command)


def their_script(
    config: Config,
    files: Spool,
    data: Path,
    name: str,
    plan: Mapping[str, Any],
    logs: Path,
    passed: Mapping[str, str],
) -> str:
    """The same for a gang of another user; `passed` are variables that it needs of ours."""
    attempt = plan["attempt"]
    owner = files.owner(attempt)
    assert owner
    return _THEIR_SCRIPT.format(
        name=name,
        exports="\n".join(f"export {key}={shlex.quote(value)}" for key, value in passed.items()),
        gang=shlex.quote(str(owner.says)),
        claim=shlex.quote(str(owner.says / "claim")),
        orders=shlex.quote(str(owner.hears)),
        logs=shlex.quote(str(logs)),
        plan=json.dumps(plan),
        end=_END,
        command=_command(config, [str(data), attempt, owner.name], len(plan["members"]), logs),
    )


def _command(config: Config, about: Sequence[str], count: int, logs: Path) -> str:
    member = [sys.executable, "-m", _MEMBER, *about]
    srun = [
        "srun",
        f"--nodes={count}",
        f"--ntasks={count}",
        "--ntasks-per-node=1",
        "--kill-on-bad-exit=0",
        "--mpi=none",
        f"--output={logs}/member-%n.log",
    ]
    return shlex.join(member if config.start == "gang" else [*srun, *member])


def burn_in(config: Config, name: str, node: str, output: Path, chips: int) -> tuple[list[str], str]:
    """Options and script of a burn-in."""
    words = options(config, name, "", [node], chips=chips, whole=True, cpus=1)
    recipe = ["-m", "myriad.worker.run", "qualify"]
    module = recipe if config.burn_in == "recipe" else ["-m", "myriad.engines.common.burnin"]
    command = shlex.join([sys.executable, *module])
    return [*words, f"--output={output}", "--open-mode=truncate"], f"#!/bin/sh\nexec {command}\n"
