"""The site file: the site's own keys, and beside them the optional sections `policy` and `prices`."""

from importlib import resources
from pathlib import Path
from typing import NamedTuple

from myriad.control.policy import Policy
from myriad.fleet.site import Site
from myriad.kernel import documents
from myriad.kernel.errors import UserError, near
from myriad.workload.prices import PriceBook

_SECTIONS = ("policy", "prices")


class Setup(NamedTuple):
    """All that a site file says."""

    site: Site
    policy: Policy
    prices: PriceBook


def laptop() -> str:
    """The text of the site that ships with Myriad: this machine."""
    return resources.files("myriad.server").joinpath("laptop.yaml").read_text(encoding="utf-8")


def read(path: Path) -> Setup:
    """The setup in a file. Raises UserError naming file and field."""
    return parse(documents.read(path), str(path))


def parse(text: str, source: str) -> Setup:
    """The setup of a YAML text. Raises UserError naming the field."""
    trees = list(documents.documents(text, source))
    if len(trees) > 1:
        raise UserError("holds several documents", field=source, remedy="Write one site a file")
    tree = dict(trees[0])
    sections = {name: tree.pop(name, None) or {} for name in _SECTIONS}
    for name in tree:
        if name not in Site.__struct_fields__:
            known = [*Site.__struct_fields__, *_SECTIONS]
            raise UserError("is not a known field", field=f"{source}: {name}", remedy=near(str(name), known))
    return Setup(
        site=documents.convert(tree, Site, source),
        policy=documents.convert(sections["policy"], Policy, f"{source}: policy"),
        prices=documents.convert(sections["prices"], PriceBook, f"{source}: prices"),
    )
