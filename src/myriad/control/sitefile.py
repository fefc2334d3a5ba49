"""The site file: the site's own keys, and beside them the optional sections `policy`, `prices`, `slurm`.

`policy` is a mapping of knobs, or the name or file of a policy.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from myriad.control import policyfile
from myriad.control.policy import Own, Policy
from myriad.control.policyfile import Chosen
from myriad.fleet.site import Site
from myriad.kernel import documents
from myriad.kernel.errors import UserError, near
from myriad.workload.prices import PriceBook

_SECTIONS = ("policy", "prices", "slurm")


class Setup(NamedTuple):
    """All that a site file says."""

    site: Site
    policy: Policy
    prices: PriceBook
    #: Policies that do not come with Myriad, and where all of it was read.
    own: Own = Own()
    policy_source: str = "default"
    #: How gangs are to look in Slurm, as the file has it; read by the engine that speaks to Slurm.
    slurm: Mapping[str, Any] = {}

    def under(self, chosen: Chosen) -> "Setup":
        """The same site under another policy."""
        return self._replace(policy=chosen.policy, own=chosen.own, policy_source=chosen.source)


def read(path: Path) -> Setup:
    """The setup in a file. Raises UserError naming file and field."""
    return parse(documents.read(path), str(path), path.parent)


def parse(text: str, source: str, folder: Path | None = None) -> Setup:
    """The setup of a YAML text; `folder` is where a policy file it names is. Raises UserError."""
    trees = list(documents.documents(text, source))
    if len(trees) > 1:
        raise UserError("holds several documents", field=source, remedy="Write one site a file")
    return of_tree(trees[0], source, folder)


def of_tree(given: Mapping[str, Any], source: str, folder: Path | None = None) -> Setup:
    """The same of a mapping that was read already. Raises UserError."""
    tree = dict(given)
    sections = {name: tree.pop(name, None) or {} for name in _SECTIONS}
    for name in tree:
        if name not in Site.__struct_fields__:
            known = [*Site.__struct_fields__, *_SECTIONS]
            raise UserError("is not a known field", field=f"{source}: {name}", remedy=near(str(name), known))
    site = documents.convert(tree, Site, source)
    prices = documents.convert(sections["prices"], PriceBook, f"{source}: prices")
    chosen = _policy(sections["policy"], source, folder or Path())
    slurm = sections["slurm"]
    if not isinstance(slurm, Mapping):
        raise UserError(
            "must be a mapping",
            field=f"{source}: slurm",
            value=str(slurm),
            remedy="Write slurm: {partition: main}",
        )
    return Setup(site, chosen.policy, prices, slurm=slurm).under(chosen)


def _policy(section: Any, source: str, folder: Path) -> Chosen:
    if isinstance(section, str):
        return policyfile.choose(section if section in policyfile.names() else str(folder / section))
    chosen = policyfile.from_tree(section, f"{source}: policy", folder)
    return chosen if section else chosen._replace(source="default")
