"""The section `slurm` of a site file: how Myriad's gangs are to look in Slurm."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from myriad.kernel import documents, units

_LEASE_S_MIN, _LEASE_S_MAX = 1.0, 600.0


class Account(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose name a tenant's gangs bear in Slurm; what is empty is as the section says."""

    #: The Unix user that its gangs run as.
    user: str = ""
    account: str = ""
    qos: str = ""
    partition: str = ""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where gangs go in Slurm, and how it is known that one is alive."""

    #: Empty: Slurm's default.
    partition: str = ""
    account: str = ""
    qos: str = ""
    #: An advance reservation of Slurm to run in.
    reservation: str = ""
    #: The Unix user that gangs of all other tenants run as; empty: Myriad's own, as burn-ins always do.
    user: str = ""
    #: Tenant -> its own user, account, QOS, partition.
    tenants: dict[str, Account] = {}
    #: What goes before `sbatch` to run it as another user: ["sudo", "-n", "-u", "{user}"]. Empty: Myriad
    #: becomes that user by itself, for which it must be root, or have CAP_SETUID and CAP_SETGID.
    submit_as: tuple[str, ...] = ()
    #: Further options of sbatch, as they are: ["--time=UNLIMITED", "--mem=0"].
    options: tuple[str, ...] = ()
    #: Name of the generic resource that counts chips; empty: chips are not told to Slurm.
    gres: str = "gpu"
    #: A node of a gang that gives no sign of life for so long has ended its part by itself. Longer than any
    #: hiccup of the shared folder; a lost node is given up no sooner.
    lease: str = "20s"
    #: What a node must pass before it gets work: the recipe (torch), a quick check, or nothing.
    burn_in: Literal["recipe", "quick", "none"] = "recipe"
    #: `node`: Myriad starts its processes on every node of a gang. `gang`: only on the first, for commands
    #: that call srun or mpirun themselves, as scripts for sbatch do.
    start: Literal["node", "gang"] = "node"
    #: Longest pause between two looks at Slurm while nothing happens.
    look_every: str = "5s"

    def __post_init__(self) -> None:
        for name in ("lease", "look_every"):
            units.check_span(name, getattr(self, name))
        if not _LEASE_S_MIN <= self.lease_s <= _LEASE_S_MAX:
            raise ValueError(f"lease {self.lease!r} must be between {_LEASE_S_MIN:.0f}s and 10m")
        if self.submit_as and not any("{user}" in word for word in self.submit_as):
            raise ValueError(f"submit_as {list(self.submit_as)} must say {{user}}: whom to become")

    @property
    def lease_s(self) -> float:
        """Seconds."""
        return units.span_ns(self.lease) / units.SECOND

    @property
    def look_every_s(self) -> float:
        """Seconds."""
        return units.span_ns(self.look_every) / units.SECOND

    def user_of(self, tenant: str) -> str:
        """The Unix user of a tenant's gangs; empty: Myriad's own."""
        return self.tenants.get(tenant, Account()).user or self.user

    @property
    def users(self) -> dict[str, str]:
        """Every user that is named, and the first field that does."""
        named = {"slurm: user": self.user}
        named |= {f"slurm: tenants: {name}: user": one.user for name, one in self.tenants.items()}
        return {user: field for field, user in reversed(named.items()) if user}

    def of_tenant(self, tenant: str) -> list[str]:
        """Options of sbatch that say whose gang it is."""
        own = self.tenants.get(tenant, Account())
        words = {
            "--partition": own.partition or self.partition,
            "--account": own.account or self.account,
            "--qos": own.qos or self.qos,
            "--reservation": self.reservation,
        }
        return [f"{name}={value}" for name, value in words.items() if value]


def read(section: Mapping[str, Any], source: str) -> Config:
    """The configuration of a section. Raises UserError naming the field."""
    return documents.convert(dict(section), Config, f"{source}: slurm")
