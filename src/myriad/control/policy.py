"""All policies of a site in one value, as the `policy:` section of a site file gives them."""

import msgspec

from myriad.recover.policy import Policy as Recover
from myriad.route.policy import Policy as Route


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Knobs of the brain, each owned by the package it belongs to."""

    recover: Recover = Recover()
    route: Route = Route()
