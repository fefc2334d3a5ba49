"""The policy in force."""

import msgspec

from myriad.control import policyfile
from myriad.control.policy import Policy
from myriad.control.policyfile import Chosen
from myriad.server.routing import Ask, Route


class InForce(msgspec.Struct, frozen=True, kw_only=True):
    """Every knob as it is, where the file was, and the classes that do not come with Myriad, by section."""

    source: str
    policy: Policy
    classes: dict[str, str]


async def look(ask: Ask) -> InForce:
    """What the brain decides by."""
    setup = ask.plane.setup
    chosen = Chosen(setup.policy, setup.own, setup.policy_source)
    return InForce(source=setup.policy_source, policy=setup.policy, classes=dict(policyfile.classes(chosen)))


ROUTES = (Route("GET", "/api/v1/policy", look, "site", "The policy in force", InForce),)
