"""Would Slurm take what Myriad submits? For `myriad doctor --engine slurm`; nothing is started."""

from collections.abc import Iterator

from myriad.engines.slurm.asking import commands
from myriad.engines.slurm.config import Config
from myriad.engines.slurm.users import users
from myriad.kernel.errors import UserError
from myriad.kernel.findings import Finding, fail, ok, skip, warn

_PATIENCE_S = 10.0


def findings(config: Config) -> Iterator[Finding]:
    """Account, QOS and partition of burn-ins, and of every tenant that the section names."""
    yield _tried(config, "", "", "slurm: burn-ins")
    for tenant in config.tenants:
        yield _tried(config, tenant, config.user_of(tenant), f"slurm: tenant {tenant}")


def _tried(config: Config, tenant: str, name: str, check: str) -> Finding:
    words = config.of_tenant(tenant)
    argv = [
        "sbatch",
        "--test-only",
        *words,
        *config.options,
        "--chdir=/",
        "--output=/dev/null",
        "--wrap=true",
    ]
    told = " ".join(words) or "with Slurm's defaults"
    try:
        user = users.find(name, "") if name else None
        env = users.environment(user) if user else None
        prefix = users.becoming(config, user) if user else []
        commands.run_now([*prefix, *argv], env=env, timeout_s=_PATIENCE_S)
    except UserError:
        return skip(check, f"there is no user {name}")
    except commands.SlurmSilent as error:
        return skip(check, str(error))
    except commands.SlurmError as error:
        if error.of_node:
            return warn(check, f"cannot be tried now ({told}): {error}", "See slurm: nodes")
        who = f"user={name}" if name else "user=$USER"
        remedy = f"sacctmgr show assoc {who} format=account,qos,partition; or mend slurm: in the site file"
        return fail(check, f"Slurm refuses it ({told}): {error}", remedy)
    return ok(check, f"Slurm takes it: {told}")
