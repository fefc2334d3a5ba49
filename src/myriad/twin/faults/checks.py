"""Whether what a scenario says of faults can be meant on its site: names that it has, rates with causes."""

from myriad.fleet.site import Site
from myriad.kernel.errors import UserError, near
from myriad.twin.faults.causes import CAUSES, mix_of
from myriad.twin.faults.config import Faults
from myriad.twin.faults.events import nodes_of


def check_faults(faults: Faults, site: Site, field: str) -> None:
    """Raises UserError naming the field, before anything is simulated."""
    places = site.places() if faults.events else ()
    for number, event in enumerate(faults.events):
        nodes_of(event, places, f"{field}.events[{number}]")
    pods = [pod.name for pod in site.pods]
    for name in faults.age.pods:
        if name not in pods:
            raise UserError(
                "is no pod of the site", field=f"{field}.age.pods", value=name, remedy=near(name, pods)
            )
    rates = {"chip": faults.hardware.chip, "host": faults.hardware.host, "link": faults.network.links}
    known = [CAUSES[name].scope for name, count in mix_of(faults.mix).items() if count > 0]
    for scope, rate in rates.items():
        if rate and scope not in known:
            raise UserError(
                f"has no cause of scope {scope}, which has a rate of {rate:g}",
                field=f"{field}.mix",
                value=str(faults.mix),
                remedy=f"Name a cause of scope {scope}, or set the rate to 0",
            )
